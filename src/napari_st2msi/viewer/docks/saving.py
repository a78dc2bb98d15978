"""Saving a section from a dock: where to, what is in the way, and what was written."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from napari.utils.history import get_save_history, update_save_history
from qtpy.QtWidgets import QFileDialog

from napari_st2msi import pipeline
from napari_st2msi.progress import Progress
from napari_st2msi.section import Section
from napari_st2msi.viewer.jobs import Job
from napari_st2msi.viewer.parts.dock import Dock
from napari_st2msi.viewer.parts.messages import MessageArea


class Saving:
    """Writes sections as zarr for one dock.

    Parameters
    ----------
    dock
        Its messages and its jobs are used.
    written
        Returns what was written, in words that begin with a blank, for the message.
    """

    def __init__(self, dock: Dock, written: Callable[[Section], str] = lambda _: "") -> None:
        self._dock, self._written = dock, written

    def save(self, section: Section) -> None:
        """Write what changed into the zarr that the section came from; ask where to if there is none."""
        if section.path is not None and section.path.suffix == ".zarr":
            self._start(section, None)
        else:
            self.ask(section)

    def ask(self, section: Section) -> None:
        """Ask where to write the section, and write it there."""
        start = str(Path(get_save_history()[0]) / f"{section.name}.zarr")
        dialog = QFileDialog(self._dock, "Save the section as zarr", start, "SpatialData zarr (*.zarr)")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setFileMode(QFileDialog.FileMode.AnyFile)
        dialog.selectFile(start)
        if dialog.exec():
            self.save_as(section, Path(dialog.selectedFiles()[0]))

    def save_as(self, section: Section, path: Path, *, overwrite: bool = False) -> None:
        """Write the section as a new zarr; one that is there is replaced only when that was said."""
        path = path if path.suffix == ".zarr" else path.with_name(f"{path.name}.zarr")
        if path.exists() and not overwrite:
            again = partial(self.save_as, section, path, overwrite=True)
            self._dock.messages.show_warning(f"'{path.name}' is already there.", action=("Replace it", again))
            return
        self._start(section, path, overwrite=overwrite)

    def _start(self, section: Section, path: Path | None, *, overwrite: bool = False) -> None:
        def call(*, progress: Progress, cancelled: Callable[[], bool]) -> Path:
            return pipeline.save(section, path, overwrite=overwrite)

        if self._dock.busy():
            return
        self._dock.run(Job(f"Saving {section.name}", call), partial(self._on_saved, section))

    def _on_saved(self, section: Section, path: Path) -> None:
        if section in self._dock.state.sections:
            self._dock.state.mark_saved(section)
        say_saved(self._dock.messages, path, self._written(section))


def say_saved(messages: MessageArea, path: Path, more: str = "") -> None:
    """Say where something was written, and begin there next time; `more` begins with a blank."""
    update_save_history(str(path))
    messages.show_result(f"Saved as '{path}'.{more}")
