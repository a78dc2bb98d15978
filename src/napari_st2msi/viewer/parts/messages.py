"""The last result or error of a dock, in words, with details that unfold."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QFrame, QHBoxLayout, QLabel, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from napari_st2msi.viewer.parts.style import restyle


class MessageArea(QFrame):
    """Shows one message at a time and nothing when there is none."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "message")
        self.label = QLabel()
        self.label.setWordWrap(True)
        self.label.setTextFormat(Qt.TextFormat.PlainText)
        self.label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.action = _flat("")
        self.toggle = _flat("Details")
        self.toggle.setCheckable(True)
        self.copy = _flat("Copy")
        self.close_button = _flat("Dismiss")
        self.details = QPlainTextEdit()
        self.details.setReadOnly(True)
        self.details.setProperty("role", "details")
        self.details.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.details.setFixedHeight(150)
        buttons = QHBoxLayout()
        buttons.addWidget(self.action)
        buttons.addWidget(self.toggle)
        buttons.addWidget(self.copy)
        buttons.addStretch()
        buttons.addWidget(self.close_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 6, 6)
        layout.addWidget(self.label)
        layout.addLayout(buttons)
        layout.addWidget(self.details)
        self._on_action: Callable[[], object] | None = None
        self.toggle.toggled.connect(self.details.setVisible)
        self.copy.clicked.connect(self._copy)
        self.close_button.clicked.connect(self.clear)
        self.action.clicked.connect(self._act)
        self.clear()

    @property
    def text(self) -> str:
        """The message shown, empty when there is none."""
        return str(self.label.text())

    @property
    def level(self) -> str:
        """``good``, ``warning`` or ``error``."""
        return str(self.property("level") or "")

    def show_result(self, text: str, *, action: tuple[str, Callable[[], object]] | None = None) -> None:
        """Say what was done."""
        self._show("good", text, "", action)

    def show_warning(self, text: str, *, action: tuple[str, Callable[[], object]] | None = None) -> None:
        """Say what needs attention, and offer a button (its words, what it does) that does it."""
        self._show("warning", text, "", action)

    def show_error(self, text: str, details: str = "") -> None:
        """Say what went wrong; the traceback, if any, is folded away."""
        self._show("error", text, details, None)

    def clear(self) -> None:
        """Show nothing."""
        self.label.clear()
        self.details.clear()
        self.hide()

    def _show(self, level: str, text: str, details: str, action: tuple[str, Callable[[], object]] | None) -> None:
        self.setProperty("level", level)
        restyle(self)
        self.label.setText(text)
        self.details.setPlainText(details)
        self.toggle.setChecked(False)
        self.details.hide()
        self.toggle.setVisible(bool(details))
        self.copy.setVisible(level == "error")
        self.action.setVisible(action is not None)
        self._on_action = None
        if action is not None:
            self.action.setText(action[0])
            self._on_action = action[1]
        self.show()

    def _act(self) -> None:
        if self._on_action is not None:
            self._on_action()

    def _copy(self) -> None:
        QApplication.clipboard().setText("\n\n".join(filter(None, (self.text, self.details.toPlainText()))))


def _flat(text: str) -> QPushButton:
    button = QPushButton(text)
    button.setProperty("role", "flat")
    return button
