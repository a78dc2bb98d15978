"""The keys of the Register dock: on both canvases and in the dock, while it is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakSet

from napari.layers import Layer
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeyEvent, QKeySequence
from qtpy.QtWidgets import QShortcut, QWidget

from napari_st2msi.viewer.keys import Keys

#: Key as napari writes it → as Qt writes it, and what it does, in the order of the list that ``?`` shows.
KEYS = {
    "add": (("L",), "L", "add landmarks, or stop adding"),
    "accept": (("Enter",), "Enter", "accept where the selected landmark is predicted"),
    "disable": (("E",), "E", "leave the selected landmark out, or use it again"),
    "delete": (("Delete", "Backspace"), "Del", "delete the selected landmark"),
    "stop": (("Escape",), "Esc", "stop adding, or select nothing"),
    "undo": (("Control-Z",), "Ctrl+Z", "undo"),
    "redo": (("Control-Shift-Z",), "Ctrl+Shift+Z", "redo"),
}
WORDS = (
    *((words, what) for _, words, what in KEYS.values()),
    ("Ctrl+S", "register, and save the section"),
    ("?", "this list"),
)


class RegisterKeys(QObject):
    """Holds the keys while wanted.

    On the canvases they are napari's own key bindings, in the dock Qt's shortcuts. Ctrl+S is napari's
    for saving layers: on the canvases and in the dock it is taken before napari's menu sees it.

    Parameters
    ----------
    dock
        The Register dock.
    viewers
        Those of both canvases.
    actions
        What each of `KEYS` does.
    save
        What Ctrl+S does.
    """

    def __init__(
        self,
        dock: QWidget,
        viewers: tuple[Any, ...],
        actions: Mapping[str, Callable[[], None]],
        save: Callable[[], None],
    ) -> None:
        super().__init__(dock)
        self._dock, self._save = dock, save
        presses = {key: actions[name] for name, (keys, _, _) in KEYS.items() for key in keys}
        self._keys = [Keys(viewer, presses) for viewer in viewers]
        self._canvases: WeakSet[QWidget] = WeakSet()
        for name, (_, words, _) in KEYS.items():
            if name == "accept":
                continue  # in the dock, Enter is for its fields and buttons
            shortcut = QShortcut(QKeySequence(words), dock)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(actions[name])
        dock.installEventFilter(self)

    def bind(self, canvases: tuple[QWidget, ...]) -> None:
        """Take the keys of the canvases drawn by these widgets."""
        for keys in self._keys:
            keys.bind()
        self._canvases = WeakSet(canvases)
        for canvas in canvases:
            canvas.installEventFilter(self)

    def release(self) -> None:
        """Give the keys back."""
        for keys in self._keys:
            keys.release()
        for canvas in self._canvases:
            canvas.removeEventFilter(self)
        self._canvases.clear()

    def claim(self, layer: Layer) -> None:
        """Let our keys win over the uses that a layer's kind has for them."""
        for keys in self._keys:
            keys.claim(layer)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Take Ctrl+S."""
        if isinstance(event, QKeyEvent) and event.matches(QKeySequence.StandardKey.Save):
            if event.type() == QEvent.Type.ShortcutOverride:
                event.accept()
                return True
            if event.type() == QEvent.Type.KeyPress:
                self._save()
                return True
        return False
