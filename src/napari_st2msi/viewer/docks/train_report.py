"""Writing the report of a training from the Train dock."""

from __future__ import annotations

from collections.abc import Mapping
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
    """Writes reports for one dock: of what was trained on the section looked at, and nothing where nothing was.

    Parameters
    ----------
    dock
        Its state, messages and jobs are used.
    trained
        What was trained last on each section, and by which recipe; looked up when a report is asked for.
    """

    def __init__(self, dock: Dock, trained: Mapping[Section, tuple[Recipe, Trained]]) -> None:
        self._dock, self._trained = dock, trained

    def ask(self) -> None:
        """Ask for a file, and write the report there."""
        section = self._dock.state.section
        if section is None or section not in self._trained:
            return
        start = str(Path(get_save_history()[0]) / f"{section.name}-report.html")
        path, _ = QFileDialog.getSaveFileName(self._dock, "Save the report", start, "Web page (*.html)")
        if path:
            self.write(Path(path))

    def write(self, path: Path) -> None:
        """Write the report; a name without ending gets ``.html``."""
        section = self._dock.state.section
        if section is None or section not in self._trained or self._dock.busy():
            return
        recipe, trained = self._trained[section]
        path = path if path.suffix else path.with_suffix(".html")
        call = partial(train_work.write_report, path, trained, recipe)
        self._dock.run(Job("Writing the report", call), partial(say_saved, self._dock.messages))
