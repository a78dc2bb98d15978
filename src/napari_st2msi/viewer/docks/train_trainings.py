"""Trainings of the dock: one that runs, with its curves, and those that wait."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from napari_st2msi.errors import FileProblem
from napari_st2msi.models.deep.following import Told
from napari_st2msi.recipe import Recipe
from napari_st2msi.recipe.networks import trains_networks
from napari_st2msi.viewer.docks import train_runs, train_work
from napari_st2msi.viewer.docks.train_curves import LossCurve
from napari_st2msi.viewer.docks.train_queue import QueueView, Waiting
from napari_st2msi.viewer.docks.train_view import LiveScore
from napari_st2msi.viewer.docks.train_work import Trained
from napari_st2msi.viewer.jobs import Job
from napari_st2msi.viewer.parts.close_guard import CloseGuard
from napari_st2msi.viewer.parts.dock import Dock
from napari_st2msi.viewer.parts.style import Look


class Trainings(QWidget):
    """Runs one training after the other in a dock, and shows how it goes.

    Parameters
    ----------
    dock
        Whose jobs and messages to use.
    done
        Called with what a training gave.

    Attributes
    ----------
    under_way
        The training that runs, None if none does.
    """

    #: The choices of now are to be trained after what runs.
    add_pressed = Signal()

    def __init__(self, dock: Dock, done: Callable[[Recipe, Trained], None]) -> None:
        super().__init__()
        self._dock, self._done = dock, done
        self.under_way: Waiting | None = None
        self._folder: Path | None = None  # where its networks keep what they have learned
        self.live, self.curve, self.queue = LiveScore(), LossCurve(), QueueView()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for part in (self.live, self.curve, self.queue):
            layout.addWidget(part)
            part.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.guard = CloseGuard(self.loses, parent=self)
        self.queue.add_pressed.connect(self.add_pressed)
        dock.jobs.told.connect(self._on_told)
        dock.jobs.ended.connect(self._on_end)
        self.refresh()

    def begin(self, one: Waiting) -> None:
        """Train, now or after what runs."""
        dock, state = self._dock, self._dock.state
        if dock.jobs.running:
            self.queue.add(one)
            return
        works = {section: state.work(section).paired for section in one.sections if section in state.sections}
        parts = {section: paired for section, paired in works.items() if paired is not None}
        if not parts:  # closed while it waited
            self._begin_next()
            return
        try:
            names = [section.name for section in parts]
            self._folder = train_runs.begin(one.recipe, names) if trains_networks(one.recipe.model) else None
        except FileProblem as error:
            dock.messages.show_error(str(error))
            return
        self.under_way = one
        self.live.clear()
        self.curve.clear()
        call = partial(train_work.train, list(parts), list(parts.values()), one.recipe, self._folder)
        dock.run(Job("Training", call, tells="told"), partial(self._done, one.recipe))
        self.refresh()

    def refresh(self) -> None:
        """Show what there is to show."""
        self.live.setVisible(self.under_way is not None)
        self.queue.setVisible(self.under_way is not None)
        self.curve.setVisible(self.under_way is not None and bool(self.curve.held))

    def set_look(self, look: Look) -> None:
        """Draw in the colours and the font size of the theme."""
        self.live.set_colour(look.good)
        self.curve.set_look(look)

    def loses(self) -> str:
        """Return what closing napari would stop, and whether it could go on."""
        if self.under_way is None:
            return ""
        words = "A training is running, and closing napari stops it. "
        words += (
            "Nothing of it would be kept."
            if self._folder is None
            else "What its networks have learned is kept, and it can go on next time."
        )
        n = len(self.queue.waiting)
        return words + (f" {n} more {'waits' if n == 1 else 'wait'} and would be forgotten." if n else "")

    def _on_told(self, value: float | Told) -> None:
        if not isinstance(value, Told):
            self.live.add(value)
            return
        self.curve.add_epoch(value)
        self.refresh()

    def _on_end(self) -> None:
        if self.under_way is None:
            return
        self.under_way = self._folder = None
        self.refresh()
        # What became of it is said first.
        QTimer.singleShot(0, self._begin_next)

    def _begin_next(self) -> None:
        if not self._dock.jobs.running and (one := self.queue.next()) is not None:
            said = self._dock.messages.text
            self.queue.say_before(f"Before: {said}" if said else "")
            self.begin(one)
