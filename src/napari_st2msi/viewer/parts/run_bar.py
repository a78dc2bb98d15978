"""The one button that matters in a dock; while its work runs, progress, time left and Cancel."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QSizePolicy, QVBoxLayout, QWidget
from superqt import QElidingLabel

_STEPS = 1000


class RunBar(QWidget):
    """A full-width button with a verb that becomes a progress bar.

    Parameters
    ----------
    verb
        What the button does.
    """

    #: The button was pressed.
    pressed = Signal()
    #: Cancel was pressed.
    cancel_pressed = Signal()

    def __init__(self, verb: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.button = QPushButton(verb)
        self.button.setProperty("role", "primary")
        self.button.clicked.connect(self.pressed)
        self.bar = QProgressBar()
        self.bar.setRange(0, _STEPS)
        self.bar.setFormat("%p %")
        self.cancel = QPushButton("Cancel")
        self.cancel.setProperty("role", "flat")
        self.cancel.clicked.connect(self._on_cancel)
        self.doing = QElidingLabel()
        self.doing.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.left = QLabel()
        self.left.setAlignment(Qt.AlignmentFlag.AlignRight)
        for label in (self.doing, self.left):
            label.setProperty("role", "note")

        self._running = QWidget()
        upper, lower = QHBoxLayout(), QHBoxLayout()
        upper.addWidget(self.bar, 1)
        upper.addWidget(self.cancel)
        lower.addWidget(self.doing, 1)
        lower.addWidget(self.left)
        rows = QVBoxLayout(self._running)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(3)
        rows.addLayout(upper)
        rows.addLayout(lower)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.button)
        layout.addWidget(self._running)
        self._running.hide()

    def set_verb(self, verb: str, *, enabled: bool = True, why_not: str = "") -> None:
        """Say what the button does, and while it cannot, why."""
        self.button.setText(verb)
        self.button.setEnabled(enabled)
        self.button.setToolTip("" if enabled else why_not)

    @property
    def running(self) -> bool:
        """Whether progress is shown instead of the button."""
        return not self._running.isHidden()

    def begin(self, title: str = "") -> None:
        """Show progress instead of the button."""
        self.bar.setRange(0, 0)  # moves without a number until the first step is known
        self.doing.setText(title)
        self.left.setText("")
        self.cancel.setEnabled(True)
        self.cancel.setText("Cancel")
        self.button.hide()
        self._running.show()

    def progress(self, fraction: float, message: str, seconds_left: float | None) -> None:
        """Show how far work has come."""
        if fraction > 0:
            self.bar.setRange(0, _STEPS)
            self.bar.setValue(round(fraction * _STEPS))
        if not self.cancel.isEnabled():
            return  # it stops, and nobody knows how long this step takes
        if message:
            self.doing.setText(message)
        self.left.setText("" if seconds_left is None else f"{duration(seconds_left)} left")

    def end(self) -> None:
        """Show the button again."""
        self._running.hide()
        self.button.show()

    def _on_cancel(self) -> None:
        self.cancel.setEnabled(False)
        self.cancel.setText("Stopping")
        self.doing.setText("Stopping after this step")
        self.left.setText("")
        self.cancel_pressed.emit()


def duration(seconds: float) -> str:
    """Return a duration in words, no finer than it is worth: ``40 s``, ``3 min``, ``1 h 20 min``."""
    if seconds < 10:
        return f"{max(1, round(seconds))} s"
    if seconds < 90:
        return f"{5 * round(seconds / 5)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
