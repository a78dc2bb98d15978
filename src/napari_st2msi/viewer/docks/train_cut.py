"""Offers to go on with a training that was cut off."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from napari_st2msi.viewer.docks import train_runs
from napari_st2msi.viewer.docks.train_runs import Run
from napari_st2msi.viewer.parts.buttons import flat
from napari_st2msi.viewer.parts.choice_words import words_for
from napari_st2msi.viewer.parts.words import Words


class CutView(QWidget):
    """What was cut off, with buttons to go on or to forget it; hidden where there is nothing."""

    #: Go on with the training that is shown.
    continue_pressed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.shown: Run | None = None
        self.label = Words()
        self.go_on = flat("Continue", "Train on with the choices of then, from what the networks had learned")
        self.discard = flat("Discard", "Remove what its networks had learned")
        self.go_on.clicked.connect(self.continue_pressed)
        self.discard.clicked.connect(self._discard)
        buttons = QHBoxLayout()
        buttons.addWidget(self.go_on)
        buttons.addWidget(self.discard)
        buttons.addStretch()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 6)
        layout.setSpacing(4)
        layout.addWidget(self.label)
        layout.addLayout(buttons)
        self.hide()

    def offer(self, run: Run | None) -> None:
        """Show a training that was cut off, or nothing."""
        self.shown = run
        self.setVisible(run is not None)
        if run is not None:
            name = words_for(run.recipe.model.name).partition(" (")[0]
            self.label.setText(f"{name}, trained on {' and '.join(run.sections)}, was cut off ({run.when}).")

    def _discard(self) -> None:
        if self.shown is not None:
            train_runs.forget(self.shown.folder)
            self.offer(None)
