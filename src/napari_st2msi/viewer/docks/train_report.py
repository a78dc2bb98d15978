"""Writing the report of a training from the Train dock."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from napari.utils.history import get_save_history
from qtpy.QtWidgets import QFileDialog

from napari_st2msi.recipe import Recipe
from napari_st2msi.section import Section
from napari_st2msi.viewer.docks import train_work
from napari_st2msi.viewer.docks.saving import say_saved
from napari_st2msi.viewer.docks.train_work import Trained
from napari_st2msi.viewer.jobs import Job
from napari_st2msi.viewer.parts.dock import Dock


class Reporting:
    """Writes reports for one dock.

    Parameters
    ----------
    dock
        Its messages and its jobs are used.
    """

    def __init__(self, dock: Dock) -> None:
        self._dock = dock

    def ask(self, section: Section, recipe: Recipe, trained: Trained) -> None:
        """Ask for a file, and write the report of what was trained on a section by a recipe."""
        start = str(Path(get_save_history()[0]) / f"{section.name}-report.html")
        path, _ = QFileDialog.getSaveFileName(self._dock, "Save the report", start, "Web page (*.html)")
        if path:
            self.write(Path(path), recipe, trained)

    def write(self, path: Path, recipe: Recipe, trained: Trained) -> None:
        """Write the report of what was trained by a recipe; a name without ending gets ``.html``."""
        if self._dock.busy():
            return
        path = path if path.suffix else path.with_suffix(".html")
        call = partial(train_work.write_report, path, trained, recipe)
        self._dock.run(Job("Writing the report", call), partial(say_saved, self._dock.messages))
