"""A line edit that finds one of many names while typing: genes, ions."""

from __future__ import annotations

from collections.abc import Iterable

from qtpy.QtCore import QStringListModel, Qt, Signal
from qtpy.QtGui import QFocusEvent
from qtpy.QtWidgets import QCompleter, QLineEdit, QWidget

from napari_st2msi.viewer.parts.style import restyle


class SearchEdit(QLineEdit):
    """Finds one of many choices by any part of its words.

    Parameters
    ----------
    placeholder
        What can be typed here.
    """

    #: A choice was made; carries its key.
    chosen = Signal(str)
    #: Return was pressed on what chooses nothing; carries what is wrong with it.
    missed = Signal(str)

    def __init__(self, placeholder: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._keys: dict[str, str] = {}
        self._words: dict[str, str] = {}
        self._key: str | None = None
        self._model = QStringListModel(self)
        completer = QCompleter(self._model, self)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        completer.setMaxVisibleItems(12)
        completer.activated[str].connect(self._choose)
        self.setCompleter(completer)
        self.setPlaceholderText(placeholder)
        self.setClearButtonEnabled(True)
        self.returnPressed.connect(self._on_return)
        self.textEdited.connect(lambda _: self._mark(False))

    def focusInEvent(self, event: QFocusEvent | None) -> None:
        """Give the list of choices, which is a window of its own, the colours of the theme."""
        super().focusInEvent(event)
        popup = self.completer().popup()
        popup.setPalette(self.palette())
        popup.setFont(self.font())

    def set_choices(self, choices: Iterable[tuple[str, str]]) -> None:
        """Set what can be chosen, as (key, words); equal words keep the first key."""
        self._keys, self._words = {}, {}
        for key, words in choices:
            self._keys.setdefault(words, key)
            self._words[key] = words
        self._model.setStringList(list(self._keys))
        if self._key not in self._words:
            self.choose(None)

    @property
    def key(self) -> str | None:
        """The key chosen last, None when nothing is chosen."""
        return self._key

    def choose(self, key: str | None) -> None:
        """Show a choice without announcing it."""
        self._key = key if key in self._words else None
        self._show("" if self._key is None else self._words[self._key])
        self._mark(False)

    def _on_return(self) -> None:
        words = self.text().strip()
        match = words if words in self._keys else self._only_match(words)
        if match is not None:
            self._choose(match)
            return
        self._mark(bool(words))
        if words:
            self.missed.emit(self.toolTip())

    def _only_match(self, words: str) -> str | None:
        """Return the one choice meant: equal but for case, or else the only one that contains the words."""
        lower = words.lower()
        if not lower:
            return None
        equal = [choice for choice in self._keys if choice.lower() == lower]
        found = equal or [choice for choice in self._keys if lower in choice.lower()]
        return found[0] if len(found) == 1 or equal else None

    def _choose(self, words: str) -> None:
        self._key = self._keys[words]
        self._show(words)
        self._mark(False)
        self.chosen.emit(self._key)

    def _show(self, words: str) -> None:
        self.setText(words)
        self.setCursorPosition(0)  # of long words the beginning is seen

    def _in_words(self) -> str:
        """Return why what is typed chooses nothing."""
        words = self.text().strip()
        n = sum(words.lower() in choice.lower() for choice in self._keys)
        if not n:
            return f"There is no '{words}' here. Type a part of a name, and pick one from the list."
        return f"'{words}' is a part of {n:,} names. Pick one from the list."

    def _mark(self, wrong: bool) -> None:
        self.setProperty("wrong", "true" if wrong else "false")
        self.setToolTip(self._in_words() if wrong else "")
        restyle(self)
