"""MSI over ST in the left canvas, as the registration at hand lays it, while landmarks are moved."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_st2msi.viewer.docks.register_context import RegisterContext
from napari_st2msi.viewer.docks.register_views import ViewsPanel


class PreviewPanel(QWidget):
    """How MSI is drawn over ST: not at all, blended, as a checkerboard, or up to a line.

    Parameters
    ----------
    context
        What the parts of the Register dock share; the preview follows its registration.
    fixed, moving
        The panels whose pictures are laid over each other.
    """

    #: The way of previewing changed.
    changed = Signal()
    #: New pixels are in the layer.
    drawn = Signal()
    #: Something went wrong: what, in words, and the traceback.
    failed = Signal(str, str)

    def __init__(self, context: RegisterContext, fixed: ViewsPanel, moving: ViewsPanel) -> None:
        super().__init__()
        self.context = context

    def summary(self) -> str:
        """Return the way of previewing, in few words."""
        return "off"
