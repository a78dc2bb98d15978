"""Text in docks that wraps and is never cut."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QLabel, QSizePolicy


class Words(QLabel):
    """A label as high as its text needs at its width.

    Nested layouts ask a label for its height before they know its width, and then cut what wraps.
    This one insists on its height as soon as it knows.

    Parameters
    ----------
    role
        Which style it has: ``note`` for what is said beside.
    """

    def __init__(self, text: str = "", *, role: str = "") -> None:
        super().__init__(text)
        self.setWordWrap(True)
        self.setProperty("role", role)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setMinimumWidth(60)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)

    def setText(self, text: str | None) -> None:
        """Show other words."""
        super().setText(text)
        self._insist()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Take the height that the words need at the new width."""
        super().resizeEvent(event)
        self._insist()

    def _insist(self) -> None:
        # The height for a width counts the least height, so that has to go first.
        self.setMinimumHeight(0)
        self.setMinimumHeight(max(self.heightForWidth(self.width()), 0))
