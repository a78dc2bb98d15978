"""Automatic registration in the Register dock: run it, watch it, and take or leave what it proposes."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_st2msi.viewer.docks.register_context import RegisterContext
from napari_st2msi.viewer.parts.style import Look


class AutomaticPanel(QWidget):
    """Finds or refines a registration in the background and shows it as a proposal.

    While a proposal is open, it is the registration at hand of the context, so the preview shows it.

    Parameters
    ----------
    context
        What the parts of the Register dock share.
    """

    #: A proposal is there to be judged; carries the `Registration`.
    proposed = Signal(object)
    #: The user takes the proposal; carries the `Registration`. Applying it is up to the dock.
    accepted = Signal(object)
    #: The user leaves the proposal; the registration at hand is the one from before.
    discarded = Signal()
    #: Something went wrong: what, in words, and the traceback.
    failed = Signal(str, str)

    def __init__(self, context: RegisterContext) -> None:
        super().__init__()
        self.context = context

    @property
    def running(self) -> bool:
        """Whether a search is under way."""
        return False

    def summary(self) -> str:
        """Return how it stands, in few words."""
        return ""

    def set_look(self, look: Look) -> None:
        """Draw in the colours of the theme."""
