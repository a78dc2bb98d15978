"""The pages of the Explore dock: the ions, the genes behind one of them, and what changed genes would change."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QTabWidget

from napari_st2msi.viewer.docks.explore_change import ChangePage
from napari_st2msi.viewer.docks.explore_genes import GenesPage
from napari_st2msi.viewer.docks.explore_ions import IonsPage
from napari_st2msi.viewer.explore_source import Gathered
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
        self._pictures = pictures
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
