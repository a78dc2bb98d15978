"""Buttons for what is not the main thing a dock does."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QSize
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QPushButton, QToolButton, QWidget
from superqt import QFlowLayout

_SPACING = 4


def flat(text: str, tip: str = "") -> QPushButton:
    """Return a flat button; the tip says what it does where its words do not."""
    button = QPushButton(text)
    button.setProperty("role", "flat")
    button.setToolTip(tip)
    return button


def tool(text: str, tip: str = "", *, checkable: bool = False) -> QToolButton:
    """Return a flat button that leaves the keys where they are when it is clicked."""
    button = QToolButton()
    button.setText(text)
    button.setToolTip(tip)
    button.setCheckable(checkable)
    button.setProperty("role", "flat")
    return button


class ButtonRow(QWidget):
    """Buttons beside each other, and below each other where a narrow dock or a large font leaves no room.

    Like `Words`, it insists on its height as soon as it knows its width, because nested layouts do not
    ask again.
    """

    def __init__(self, *buttons: QWidget) -> None:
        super().__init__()
        self._flow = QFlowLayout(self)
        self._flow.setContentsMargins(0, 0, 0, 0)
        self._flow.setHorizontalSpacing(_SPACING)
        self._flow.setVerticalSpacing(_SPACING)
        self._buttons = buttons
        for button in buttons:
            self._flow.addWidget(button)

    def sizeHint(self) -> QSize:
        """Return the size of all buttons in one line."""
        hints = [button.sizeHint() for button in self._buttons if not button.isHidden()]
        # One more than they take: in just their width, the layout wraps.
        width = sum(hint.width() + _SPACING for hint in hints) - _SPACING + 1
        return QSize(max(width, 0), max((hint.height() for hint in hints), default=0))

    def event(self, event: QEvent | None) -> bool:
        """Follow buttons that come, go, or get other words."""
        handled = bool(super().event(event))
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            self._insist()
        return handled

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Take the height that the buttons need at the new width."""
        super().resizeEvent(event)
        self._insist()

    def _insist(self) -> None:
        self.setMinimumHeight(self._flow.heightForWidth(self.width()))
