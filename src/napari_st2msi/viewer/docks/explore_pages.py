"""The pages of the Explore dock: the ions, the genes behind one of them, and what changed genes would change."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtWidgets import QTabWidget

from napari_st2msi.section import Section
from napari_st2msi.training.folder import TrainedModel
from napari_st2msi.viewer import explaining
from napari_st2msi.viewer.docks.explore_change import ChangePage
from napari_st2msi.viewer.docks.explore_genes import GenesPage
from napari_st2msi.viewer.docks.explore_ions import IonsPage
from napari_st2msi.viewer.explore_source import Gathered
from napari_st2msi.viewer.jobs import Job, Jobs
from napari_st2msi.viewer.parts.dock import Dock
from napari_st2msi.viewer.pictures import Picture, Pictures


class Pages(QTabWidget):
    """Three pages about the same ion; each shows its own layers on the canvas and hides them when it is left.

    Parameters
    ----------
    dock
        The dock that these are pages of.
    ions
        The page with the table.
    pictures
        The layers of that page.
    """

    def __init__(self, dock: Dock, ions: IonsPage, pictures: Pictures) -> None:
        super().__init__()
        self.ions, self.genes, self.change = ions, GenesPage(dock), ChangePage(dock)
        self._pictures, self._state = pictures, dock.state
        self._read: tuple[Section | None, TrainedModel | None] = (None, None)
        self._due = False
        for page in (self.genes, self.change):
            page.drawn.connect(pictures.fit_titles)
        self._clusters = Jobs(dock.state, self)
        self._clusters.done.connect(self._offer_clusters)
        self._clusters.failed.connect(dock.messages.show_error)
        self.setDocumentMode(True)
        for page, title in ((ions, "Ions"), (self.genes, "Genes behind"), (self.change, "Changed genes")):
            self.addTab(page, title)
        self.currentChanged.connect(self._on_page)

    def show_gathered(self, gathered: Gathered) -> None:
        """Take the ions and their words."""
        frame = gathered.frame
        labels = {str(ion): str(label) for ion, label in frame["label"].items()}
        best = frame.sort_values("r2", ascending=False).index if gathered.scored else frame.index
        for page in (self.genes, self.change):
            page.set_ions(labels, best.astype(str).tolist())

    def refresh(self, *_: Any) -> None:
        """Follow another section, model or ion."""
        self.genes.refresh()
        self.change.refresh()
        if self.currentWidget() is not self.ions:
            self._pictures.put_away()
        self._read_clusters()

    def toggle_genes(self) -> None:
        """Turn to the genes behind the ion, or back to the ions."""
        self.setCurrentWidget(self.genes if self.currentWidget() is self.ions else self.ions)

    def show_picture(self, picture: Picture) -> None:
        """Show a picture of the ion, on the page that it belongs to; there, as its button does."""
        if self.currentWidget() is self.ions:
            self.ions.show_picture(picture)
            return
        self.setCurrentWidget(self.ions)
        if not self.ions.buttons[picture].isChecked():
            self.ions.show_picture(picture)

    def _on_page(self, number: int) -> None:
        front = self.widget(number)
        for page in (self.genes, self.change):
            if page.front and page is not front:
                page.leave()
        if front is self.ions:
            self._pictures.arrange()
            return
        self._pictures.put_away()
        for page in (self.genes, self.change):
            if page is front:
                page.enter()
        self._read_clusters()

    def _read_clusters(self) -> None:
        """Find out once which clusters of the model the spots are in, as soon as a page that offers them is seen."""
        section, model = self._state.section, self._state.model
        if self._read[0] is not section or self._read[1] is not model:
            self._read, self._due = (section, model), True
            self._clusters.shut()
            self._offer_clusters(None)
        if not self._due or self.currentWidget() is self.ions:
            return
        self._due = False
        if section is not None and section.has_st and model is not None and explaining.has_clusters(model):
            self._clusters.start(Job("Find clusters", partial(explaining.clusters, model, section)))

    def _offer_clusters(self, labels: NDArray[np.str_] | None) -> None:
        for page in (self.genes, self.change):
            page.spots.set_learned(labels)
