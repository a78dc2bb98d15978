"""What a dock shows while there is nothing to show: what to do next, and the button that does it."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget


class EmptyState(QWidget):
    """Words and, where there is something to press, a button."""

    #: The button was pressed.
    pressed = Signal()

    def __init__(self, text: str = "", verb: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.label = QLabel()
        self.label.setWordWrap(True)
        self.label.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.button = QPushButton()
        self.button.setProperty("role", "primary")
        self.button.clicked.connect(self.pressed)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 24, 12, 24)
        layout.setSpacing(12)
        layout.addStretch(1)
        layout.addWidget(self.label)
        layout.addWidget(self.button)
        layout.addStretch(2)
        self.say(text, verb)

    def say(self, text: str, verb: str = "") -> None:
        """Set the words, and what the button does (none without a verb)."""
        self.label.setText(text)
        self.button.setText(verb)
        self.button.setVisible(bool(verb))
