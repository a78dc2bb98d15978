"""Landmarks and registrations in and out of the Register dock as files."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from napari.utils.history import get_open_history, get_save_history, update_open_history, update_save_history
from qtpy.QtCore import QEvent, QObject, Signal
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton, QVBoxLayout, QWidget

from napari_st2msi.progress import Progress, never
from napari_st2msi.registration import displacement
from napari_st2msi.registration.landmark_files import FORMATS, read_landmarks, write_landmarks
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.section import Section
from napari_st2msi.viewer.docks.register_context import RegisterContext
from napari_st2msi.viewer.jobs import Job, Jobs
from napari_st2msi.viewer.parts.buttons import ButtonRow, flat
from napari_st2msi.viewer.parts.words import Words

_ENDINGS = {"json": ".json", "elastix": ".txt", "spatialdata": ".zarr"}
_READABLE = (".json", ".csv", ".tsv", ".txt", ".pts", ".zarr")
_HINT = "A file of landmarks can also be dropped on this dock."
_ALL = f"Landmarks ({' '.join('*' + ending for ending in _READABLE)});;All files (*)"


class FilesPanel(QWidget):
    """Imports and exports landmarks, and exports the displacement field; files may be dropped on the dock.

    Parameters
    ----------
    context
        What the parts of the Register dock share; imported landmarks go into its editor.
    """

    #: What was done or needs attention: ``good`` or ``warning``, and the words.
    message = Signal(str, str)
    #: Something went wrong: what, in words, and the traceback.
    failed = Signal(str, str)

    def __init__(self, context: RegisterContext) -> None:
        super().__init__()
        self.context = context
        self.jobs = Jobs(context.state, self)
        self._then: Callable[[Any], None] | None = None

        self.import_button = flat("Import", "Read landmarks from a file; undo brings back those from before")
        self.export_button = flat("Export", "Write the landmarks for this or other programs")
        self.field_button = flat("Displacement field…", "Write where each place of the ST lies in the MSI, for ITK")
        _menu(self.import_button, {"File…": self.ask_for_file, "SpatialData zarr…": self.ask_for_folder})
        _menu(self.export_button, {f"{words}…": partial(self.ask_where, key) for key, words in FORMATS.items()})
        self.field_button.clicked.connect(self.ask_where_to_field)
        self.note = Words(_HINT, role="note")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 4)
        layout.setSpacing(4)
        layout.addWidget(ButtonRow(self.import_button, self.export_button, self.field_button))
        layout.addWidget(self.note)

        self.jobs.done.connect(self._on_done)
        self.jobs.failed.connect(self.failed)
        self.jobs.started.connect(lambda title: self.note.setText(f"{title} in the background."))
        self.jobs.ended.connect(lambda: self.note.setText(_HINT))
        context.section_changed.connect(self._refresh)
        context.registration_changed.connect(self._refresh)
        context.editor.changed.connect(self._refresh)
        self._refresh()

    def summary(self) -> str:
        """Return what it is for, in few words."""
        return "import, export, displacement field"

    # -- dropping -------------------------------------------------------------------------------

    def accept_drops(self, dock: QWidget) -> None:
        """Take landmark files that are dropped anywhere on a widget."""
        dock.setAcceptDrops(True)
        dock.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Take what is dropped if it may hold landmarks; anything else goes on to napari, which opens it."""
        if isinstance(event, (QDragEnterEvent, QDropEvent)) and self.context.section is not None:
            paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
            wanted = [path for path in paths if path.suffix.lower() in _READABLE]
            if wanted:
                event.acceptProposedAction()
                if event.type() == QEvent.Type.Drop:
                    # Of the two files of elastix either will do.
                    self.read(wanted[0])
                return True
        return bool(super().eventFilter(watched, event))

    # -- reading --------------------------------------------------------------------------------

    def ask_for_file(self) -> None:
        """Ask for a file of landmarks, and load it."""
        path, _ = QFileDialog.getOpenFileName(self, "Import landmarks", get_open_history()[0], _ALL)
        if path:
            self.read(Path(path))

    def ask_for_folder(self) -> None:
        """Ask for a SpatialData zarr, and load its landmarks."""
        path = QFileDialog.getExistingDirectory(self, "Import landmarks of a SpatialData zarr", get_open_history()[0])
        if path:
            self.read(Path(path))

    def read(self, path: Path) -> None:
        """Load a file of landmarks into the editor; that can be undone."""
        section = self.context.section
        if section is not None and not self._busy():
            self._run("Reading landmarks", partial(_read, section, path), partial(self._on_read, section, path))

    def _on_read(self, section: Section, path: Path, result: tuple[Landmarks, list[str]]) -> None:
        if section is not self.context.section:
            return
        landmarks, notes = result
        editor = self.context.editor
        replaced = len(editor.pairs)
        editor.load(landmarks)
        update_open_history(str(path))
        text = f"Read {_count(len(landmarks))} from '{path.name}'."
        if replaced:
            text += f" They replace {_count(replaced)}; undo brings those back."
        self.message.emit("warning" if notes else "good", " ".join([text, *notes]))

    # -- writing --------------------------------------------------------------------------------

    def ask_where(self, format: str) -> None:
        """Ask for a file, and write the landmarks in a format."""
        ending = _ENDINGS.get(format, ".csv")
        if (path := self._ask(f"Export landmarks: {FORMATS[format]}", f"landmarks{ending}", ending)) is not None:
            self.write(path, format)

    def write(self, path: Path, format: str) -> None:
        """Write the landmarks in a format of `landmark_files.FORMATS`."""
        section, landmarks = self.context.section, self.context.editor.landmarks
        if section is not None and not self._busy():
            call = partial(_write, section, landmarks, path, format)
            self._run("Writing landmarks", call, partial(self._on_written, len(landmarks)))

    def _on_written(self, number: int, result: tuple[list[Path], list[str]]) -> None:
        paths, notes = result
        update_save_history(str(paths[0]))
        where = " and ".join(f"'{path}'" for path in paths)
        self.message.emit("warning" if notes else "good", " ".join([f"Wrote {_count(number)} to {where}.", *notes]))

    def ask_where_to_field(self) -> None:
        """Ask for a file, and write the displacement field."""
        if (path := self._ask("Export the displacement field", "field.mha", *displacement.FORMATS)) is not None:
            self.write_field(path)

    def write_field(self, path: Path) -> None:
        """Write the registration at hand as displacement field for ITK."""
        section, registration = self.context.section, self.context.registration
        if section is not None and registration is not None and not self._busy():
            call = partial(displacement.write_displacement_field, section, registration, path)
            self._run("Writing the displacement field", call, self._on_field)

    def _on_field(self, path: Path) -> None:
        update_save_history(str(path))
        self.message.emit("good", f"Wrote the displacement field to '{path}'. Its vectors lead from ST to MSI, in µm.")

    # -- how ------------------------------------------------------------------------------------

    def _ask(self, title: str, name: str, *endings: str) -> Path | None:
        section = self.context.section
        start = Path(get_save_history()[0]) / (name if section is None else f"{section.name}-{name}")
        kinds = f"{' or '.join(endings)} ({' '.join('*' + ending for ending in endings)})"
        text, _ = QFileDialog.getSaveFileName(self, title, str(start), kinds)
        if not text:
            return None
        path = Path(text)
        return path if path.suffix else path.with_suffix(endings[0])

    def _run(self, title: str, call: Callable[..., Any], then: Callable[[Any], None]) -> None:
        self._then = then
        self.jobs.start(Job(title, call))

    def _on_done(self, result: object) -> None:
        assert self._then is not None
        self._then(result)

    def _busy(self) -> bool:
        if self.jobs.running:
            self.message.emit("warning", "Another file is still being read or written. Try again when it is done.")
        return self.jobs.running

    def _refresh(self, *_: Any) -> None:
        open, some = self.context.section is not None, bool(len(self.context.editor.landmarks))
        self.import_button.setEnabled(open)
        self.export_button.setEnabled(open and some)
        self.field_button.setEnabled(open and self.context.registration is not None)


def _read(
    section: Section, path: Path, *, progress: Progress = Progress(), cancelled: Callable[[], bool] = never
) -> tuple[Landmarks, list[str]]:
    notes: list[str] = []
    return read_landmarks(section, path, notes=notes), notes


def _write(
    section: Section,
    landmarks: Landmarks,
    path: Path,
    format: str,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> tuple[list[Path], list[str]]:
    notes: list[str] = []
    return write_landmarks(section, landmarks, path, format, notes=notes), notes


def _menu(button: QPushButton, actions: dict[str, Callable[[], None]]) -> None:
    menu = QMenu(button)
    for words, act in actions.items():
        menu.addAction(words, act)
    button.setMenu(menu)


def _count(number: int) -> str:
    return f"{number} landmark{'s' * (number != 1)}"
