"""Trainings that wait for the one that runs."""

from __future__ import annotations

from dataclasses import dataclass

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from napari_st2msi.recipe import Recipe
from napari_st2msi.section import Section
from napari_st2msi.viewer.parts.buttons import flat
from napari_st2msi.viewer.parts.words import Words


@dataclass(frozen=True, eq=False)
class Waiting:
    """A training that waits.

    Attributes
    ----------
    words
        What it is, in few words.
    """

    recipe: Recipe
    sections: tuple[Section, ...]
    words: str


class QueueView(QWidget):
    """Lists what waits, each with a button that takes it out; and what became of the one before."""

    #: The choices of now are to be trained after what runs.
    add_pressed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Waiting] = []
        self.before = Words(role="note")
        self.before.hide()
        self.button = flat("Train this next", "Train with the choices as they are now, after what runs and what waits")
        self.button.clicked.connect(self.add_pressed)
        self._list = QVBoxLayout()
        self._list.setSpacing(2)
        self._rows: list[QWidget] = []
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 4)
        layout.setSpacing(4)
        layout.addWidget(self.before)
        layout.addLayout(self._list)
        line = QHBoxLayout()
        line.addWidget(self.button)
        line.addStretch()
        layout.addLayout(line)

    def add(self, waiting: Waiting) -> None:
        """Put a training at the end of the queue."""
        self.waiting.append(waiting)
        self._show()

    def take_out(self, waiting: Waiting) -> None:
        """Take a training out of the queue."""
        if waiting in self.waiting:
            self.waiting.remove(waiting)
            self._show()

    def next(self) -> Waiting | None:
        """Take out and return what comes next, None if nothing waits."""
        if not self.waiting:
            return None
        first = self.waiting.pop(0)
        self._show()
        return first

    def say_before(self, text: str) -> None:
        """Say what became of the training before, which the messages of the next would hide."""
        self.before.setText(text)
        self.before.setVisible(bool(text))

    def _show(self) -> None:
        for row in self._rows:
            self._list.removeWidget(row)
            row.deleteLater()
        self._rows = []
        for number, waiting in enumerate(self.waiting, 1):
            row = QWidget()
            line = QHBoxLayout(row)
            line.setContentsMargins(0, 0, 0, 0)
            out = flat("Take out", f"Do not train {waiting.words}")
            out.clicked.connect(lambda _, one=waiting: self.take_out(one))
            line.addWidget(Words(f"{number}. {waiting.words}"), 1)
            line.addWidget(out)
            self._list.addWidget(row)
            self._rows.append(row)
