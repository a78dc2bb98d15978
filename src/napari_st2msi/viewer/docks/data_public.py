"""Public data from the Data dock: DOI, licence and size first, then where to, then the download."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from napari.utils.history import get_open_history, update_open_history
from qtpy.QtWidgets import QFileDialog

from napari_st2msi.io.public.catalogue import public_data
from napari_st2msi.io.public.download import SOURCE, download, public_record
from napari_st2msi.io.public.records import Record, in_bytes
from napari_st2msi.progress import Progress
from napari_st2msi.viewer.jobs import Job
from napari_st2msi.viewer.parts.dock import Dock


class PublicDownloads:
    """Downloads for one dock.

    Parameters
    ----------
    dock
        Its messages and its jobs are used.
    found
        Called with the sections that can be opened, if there are any.
    """

    def __init__(self, dock: Dock, found: Callable[[Sequence[Path]], None]) -> None:
        self._dock, self._found = dock, found

    def look_up(self, name: str) -> None:
        """Ask the repository what a data set holds, and show it."""

        def call(*, progress: Progress, cancelled: Callable[[], bool]) -> Record:
            return public_record(data)

        data = public_data(name)
        if not self._dock.busy():
            self._dock.run(Job(f"Asking {data.site.partition('//')[2]}", call), self.offer)

    def offer(self, record: Record) -> None:
        """Say what would be downloaded and under which licence; a button downloads it."""
        data, files = record.data, record.choose()
        names = ", ".join(file.name for file in files[:6]) + (f" and {len(files) - 6} more" if len(files) > 6 else "")
        self._dock.messages.show_warning(
            f"{data.title}. {data.about}\n"
            f"DOI: {data.doi}\n"
            f"Licence: {record.licence}\n"
            f"{in_bytes(sum(file.size for file in files))}: {names}",
            action=("Download to…", partial(self.ask, record)),
        )

    def ask(self, record: Record) -> None:
        """Ask for a folder, and download into it."""
        folder = QFileDialog.getExistingDirectory(
            self._dock, f"Where to put '{record.data.name}'", get_open_history()[0]
        )
        if folder:
            self.download(record, Path(folder))

    def download(self, record: Record, folder: Path) -> None:
        """Download what is needed to open the data; what is there already is not fetched again."""
        if not self._dock.busy():
            job = Job(f"Downloading {record.data.name}", partial(download, record, folder))
            self._dock.run(job, partial(self._on_downloaded, record, folder))

    def _on_downloaded(self, record: Record, folder: Path, sections: Sequence[Path]) -> None:
        update_open_history(str(folder))
        text = f"Downloaded to '{folder}'. Licence and what to cite are in its {SOURCE}."
        if not sections:
            self._dock.messages.show_warning(f"{text} Nothing in it is a section that can be opened.")
            return
        self._found(sections)
        names = ", ".join(str(section.relative_to(folder)) for section in sections[:20])
        self._dock.messages.show_result(f"{text} Sections in it: {names}. The first is entered above; press Open.")
