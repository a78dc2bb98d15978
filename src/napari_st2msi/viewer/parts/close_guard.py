"""Ask before a window is closed while something runs that would be lost."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QMainWindow, QMessageBox, QWidget


class CloseGuard(QObject):
    """Keeps a main window open when the user, asked, would rather wait.

    Parameters
    ----------
    running
        What runs, as a sentence that says what closing does to it; empty when nothing runs.
    ask
        Asks the user and returns whether to close; given the window and the sentence.
    """

    def __init__(
        self,
        running: Callable[[], str],
        ask: Callable[[QWidget, str], bool] | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._running, self._ask = running, stop_and_close if ask is None else ask
        self._window: QMainWindow | None = None

    def watch(self, widget: QWidget) -> None:
        """Watch the main window that a widget lies in, also from a dock that floats."""
        window: QObject | None = widget
        while window is not None and not isinstance(window, QMainWindow):
            window = window.parent()
        if window is None or window is self._window:
            return
        if self._window is not None:
            self._window.removeEventFilter(self)
        self._window = window
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Stop the closing of the window if the user wants to wait."""
        if event is None or watched is not self._window or event.type() != QEvent.Type.Close:
            return False
        sentence = self._running()
        assert self._window is not None
        if not sentence or self._ask(self._window, sentence):
            return False
        event.ignore()
        return True


def stop_and_close(window: QWidget, sentence: str) -> bool:
    """Ask whether to close nevertheless; waiting is what Enter and Escape do."""
    box = QMessageBox(window)
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle("Close napari")
    box.setText(sentence)
    wait = box.addButton("Wait", QMessageBox.ButtonRole.RejectRole)
    stop = box.addButton("Stop and close", QMessageBox.ButtonRole.DestructiveRole)
    box.setDefaultButton(wait)
    box.setEscapeButton(wait)
    box.exec()
    return box.clickedButton() is stop
