"""Genes × ions over some spots: what genes bring to several ions, or what these attend to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_st2msi.explain.attribution import strongest
from napari_st2msi.section import Section
from napari_st2msi.training.folder import TrainedModel
from napari_st2msi.viewer import explaining
from napari_st2msi.viewer.docks.explore_page import column_in
from napari_st2msi.viewer.jobs import Job, Jobs
from napari_st2msi.viewer.parts.buttons import flat
from napari_st2msi.viewer.parts.dock import Dock
from napari_st2msi.viewer.parts.heatmap import Heatmap
from napari_st2msi.viewer.parts.run_bar import RunBar
from napari_st2msi.viewer.parts.words import Words

if TYPE_CHECKING:
    from anndata import AnnData

_ROWS = 14


@dataclass(frozen=True)
class Wanted:
    """What to compare.

    Attributes
    ----------
    genes
        The spots × genes of the section, as they are now.
    ions
        Their names, and what they are called.
    spots, where
        Which spots, None for all; and that in words.
    attention
        Whether attention is asked for, instead of contributions.
    """

    section: Section
    genes: AnnData
    model: TrainedModel
    ions: dict[str, str]
    spots: NDArray[np.bool_] | None
    where: str
    attention: bool

    def is_of(self, section: Section | None) -> bool:
        """Return whether these are the spots that a section has now."""
        return section is self.section and section.has_st and section.st is self.genes


class Comparison(QWidget):
    """A button, and the heatmap that it brings.

    Parameters
    ----------
    dock
        Its state and messages are used.
    wanted
        Returns what to compare, None for nothing.
    """

    #: The user clicked a cell; carries the gene and the ion.
    chosen = Signal(str, str)

    def __init__(self, dock: Dock, wanted: Callable[[], Wanted | None]) -> None:
        super().__init__()
        self._dock, self._wanted = dock, wanted
        self._of: Wanted | None = None
        self.button = flat("Compare ions", "Genes behind the favourites and the best predicted ions")
        self.button.clicked.connect(self.compare)
        self.run_bar = RunBar("")
        self.run_bar.hide()
        self.heatmap = Heatmap("Genes by ions")
        self.heatmap.chosen.connect(self.chosen)
        self.words = Words(role="note")
        layout = column_in(self)
        for part in (self.button, self.run_bar, self.heatmap, self.words):
            layout.addWidget(part)
        self._jobs = Jobs(dock.state, self)
        self._jobs.done.connect(self._on_compared)
        self._jobs.failed.connect(dock.messages.show_error)
        self._jobs.progressed.connect(self.run_bar.progress)
        self._jobs.ended.connect(self._on_ended)
        self.run_bar.cancel_pressed.connect(self._jobs.cancel)

    @property
    def running(self) -> bool:
        """Whether ions are being compared."""
        return self._jobs.running

    def follow(self, section: Section | None, model: TrainedModel | None) -> None:
        """Take away what is of another section or model, or of other spots than the section has now."""
        if self._of is None or (self._of.model is model and self._of.is_of(section)):
            return
        self._jobs.shut()
        self._on_ended()
        self._of = None
        self.heatmap.show_values(np.zeros((0, 0)), [], [])
        self.words.setText("")

    def compare(self) -> None:
        """Compare what is wanted now."""
        wanted = self._wanted()
        if wanted is None:
            return
        self._of = wanted
        self.button.hide()
        self.run_bar.show()
        self.run_bar.begin("Comparing ions")
        work = explaining.compare_attention if wanted.attention else explaining.compare
        call = partial(work, wanted.model, wanted.section, list(wanted.ions), wanted.spots)
        self._jobs.start(Job("Compare ions", call))

    def _on_compared(self, found: pd.DataFrame) -> None:
        # A job that was superseded is never heard of again, so this is what the last one was about.
        assert self._of is not None
        genes = strongest(found.abs(), _ROWS)
        columns = [(str(ion), self._of.ions[str(ion)]) for ion in found.columns]
        values: NDArray[np.float64] = found.loc[genes].to_numpy()
        self.heatmap.show_values(values, genes.astype(str).tolist(), columns, signed=not self._of.attention)
        if self._of.attention:
            what = f"Mean share of attention over {self._of.where}, each ion scaled to what it attends to most."
        else:
            what = f"Strength in {self._of.where}, each ion scaled to its strongest gene. Red: more of the gene, more "
            what += "of the ion."
        self.words.setText(f"{what} Click a cell to look at it.")

    def _on_ended(self) -> None:
        self.run_bar.hide()
        self.button.show()
