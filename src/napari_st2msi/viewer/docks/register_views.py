"""What either canvas of the Register dock shows while landmarks are picked, and how it is turned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_st2msi.viewer.docks.register_context import RegisterContext

if TYPE_CHECKING:
    from napari_st2msi.registration.views import View

Side = Literal["moving", "fixed"]


class ViewsPanel(QWidget):
    """Chooses the picture of one side and turns its canvas; landmarks are never touched.

    Parameters
    ----------
    context
        What the parts of the Register dock share.
    side
        ``fixed`` for ST (the left canvas), ``moving`` for MSI (the right one).
    """

    #: Another picture is shown; carries the `View`, or None while there is nothing to show.
    view_changed = Signal(object)
    #: Something went wrong: what, in words, and the traceback (empty for errors in the user's words).
    failed = Signal(str, str)

    def __init__(self, context: RegisterContext, side: Side) -> None:
        super().__init__()
        self.context, self.side = context, side
        self.view: View | None = None

    def summary(self) -> str:
        """Return what is shown, in few words."""
        return "" if self.view is None else self.view.name

    def turn(self, quarters: int) -> None:
        """Turn the canvas clockwise by so many times 90°."""

    def mirror(self) -> None:
        """Exchange left and right of the canvas."""
