"""Landmarks kept outside the section while they are edited, so that a crash costs none."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from qtpy.QtCore import QCoreApplication, QObject, QStandardPaths, QTimer, Signal

from napari_st2msi.errors import FileProblem
from napari_st2msi.io.store import in_words
from napari_st2msi.progress import Progress, never
from napari_st2msi.section import Section
from napari_st2msi.viewer.docks.register_context import RegisterContext
from napari_st2msi.viewer.jobs import Job, Jobs

_VERSION = 1
_DEBOUNCE_MS = 1000
_DAMAGED = "The landmarks kept in '{path}' are damaged and cannot be resumed. Remove the file."


class Autosave(QObject):
    """Writes the landmarks of the editor a second after the last change, to a folder of the user.

    What is kept is removed once the landmarks are saved into their section, or undone to what is
    saved there.

    Parameters
    ----------
    context
        What the parts of the Register dock share.
    folder
        Where to; the user's data folder when None.
    """

    #: Landmarks were written; carries the path.
    written = Signal(object)
    #: Why they could not be written, in words, and the traceback. Said once until writing works again.
    failed = Signal(str, str)

    def __init__(self, context: RegisterContext, folder: Path | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.context = context
        self.folder = user_folder() if folder is None else folder
        self.jobs = Jobs(context.state, self, lasting=True)
        self._pending: tuple[Section, dict[str, Any]] | None = None
        self._ours: set[Path] = set()
        # By what each section was kept while it was at hand.
        self._known: WeakKeyDictionary[Section, set[Path]] = WeakKeyDictionary()
        self._writer, self._numbers = _Writer(), count(1)
        self._failing = False
        self._clock = QTimer(self)
        self._clock.setSingleShot(True)
        self._clock.setInterval(_DEBOUNCE_MS)
        self._clock.timeout.connect(self._write)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(0)
        self._soon.timeout.connect(self._note)
        self.jobs.done.connect(self._on_written)
        self.jobs.failed.connect(self._on_failed)
        self.jobs.ended.connect(self._on_ended)
        # The editor changes before the section does when another one is opened. A moment later both agree.
        context.editor.changed.connect(self._on_changed)
        context.section_changed.connect(self._on_section)
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.flush)

    # -- what is kept ---------------------------------------------------------------------------

    def path(self, section: Section) -> Path:
        """Return the file for a section: by where it was read from, else by its name."""
        key = section.name if section.path is None else str(Path(section.path).resolve())
        readable = re.sub(r"[^\w.-]+", "_", section.name).strip("._")[:40] or "section"
        return self.folder / f"{readable}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.json"

    def resume(self, section: Section) -> dict[str, Any] | None:
        """Return what was kept for a section, for `LandmarkEditor.restore`; None where there is nothing.

        Raises
        ------
        FileProblem
            It cannot be read or is damaged.
        """
        path = self.path(section)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise FileProblem(f"The landmarks kept in '{path}' cannot be read: {error.strerror or error}.") from error
        except UnicodeDecodeError as error:
            raise FileProblem(_DAMAGED.format(path=path)) from error
        try:
            facts = json.loads(text)
            if facts["version"] != _VERSION:
                raise FileProblem(
                    f"The landmarks kept in '{path}' are of version {facts['version']}, which this version of "
                    "napari-st2msi does not know. Update napari-st2msi, or remove the file."
                )
            landmarks = facts["landmarks"]
            if not isinstance(landmarks, dict):
                raise TypeError
        except (ValueError, KeyError, TypeError) as error:
            raise FileProblem(_DAMAGED.format(path=path)) from error
        return landmarks

    def offer(self) -> dict[str, Any] | None:
        """Return what was kept for the section at hand where the editor holds something else; see `resume`."""
        section = self.context.section
        kept = None if section is None else self.resume(section)
        return None if kept == json.loads(json.dumps(self.context.editor.to_dict())) else kept

    def discard(self) -> None:
        """Remove what was kept for the section at hand."""
        if self.context.section is not None:
            self.forget(self.context.section)

    def when(self, section: Section) -> datetime | None:
        """Return when landmarks of a section were kept last, in local time; None where there are none."""
        try:
            return datetime.fromtimestamp(self.path(section).stat().st_mtime, UTC).astimezone()
        except OSError:
            return None

    def forget(self, section: Section) -> None:
        """Remove what was kept, because it was saved into the section or is not wanted."""
        if self._pending is not None and self._pending[0] is section:
            self._pending = None
            self._clock.stop()
        self._soon.stop()
        # A section that was saved as something else was kept by what it was before.
        for path in {self.path(section), *self._known.pop(section, ())}:
            self._ours.discard(path)
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                words = f"'{path}' cannot be removed: {error.strerror or error}. It will be offered again."
                self.failed.emit(words, "")

    def flush(self) -> None:
        """Write at once what still waits; for when the window closes."""
        if self._soon.isActive():
            self._soon.stop()
            self._note()
        if self._pending is None:
            return
        (section, landmarks), self._pending = self._pending, None
        self._clock.stop()
        try:
            self._writer(next(self._numbers), self.path(section), section.name, landmarks)
        except FileProblem as problem:
            self._on_failed(str(problem), "")

    # -- writing --------------------------------------------------------------------------------

    def _on_changed(self) -> None:
        self._soon.start()

    def _note(self) -> None:
        """Remember what is to be written, or remove what is kept once it holds nothing new."""
        section, editor = self.context.section, self.context.editor
        if section is None:
            return
        # What an earlier session kept is still to be offered, so it is left alone until something is edited.
        begun = self.path(section) in self._ours
        if editor.dirty or (begun and self._unsaved(section)):
            self._pending = (section, editor.to_dict())
            self._clock.start()
        elif begun:
            self.forget(section)

    def _unsaved(self, section: Section) -> bool:
        """Tell whether landmarks were put into the section and it was not written since."""
        return section in self.context.state.sections and self.context.state.work(section).unsaved

    def _on_section(self, section: Section | None) -> None:
        if section is not None:
            self._known.setdefault(section, set()).add(self.path(section))
        if self._pending is not None:  # of the section before
            self._write()

    def _write(self) -> None:
        if self._pending is None or self.jobs.running:
            return  # what runs looks for more when it ends
        (section, landmarks), self._pending = self._pending, None
        self._clock.stop()
        path = self.path(section)
        self._ours.add(path)
        self.jobs.start(
            Job("Keeping landmarks", partial(self._writer, next(self._numbers), path, section.name, landmarks))
        )

    def _on_written(self, path: Path) -> None:
        self._failing = False
        if path not in self._ours:  # saved into the section while this was written
            path.unlink(missing_ok=True)
            return
        self.written.emit(path)

    def _on_failed(self, words: str, details: str) -> None:
        if not self._failing:
            self._failing = True
            self.failed.emit(words, details)

    def _on_ended(self) -> None:
        if self._pending is not None and not self._clock.isActive():
            self._write()


class _Writer:
    """Writes from any thread; what is older than what was written is dropped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest = 0

    def __call__(
        self,
        number: int,
        path: Path,
        name: str,
        landmarks: dict[str, Any],
        *,
        progress: Progress = Progress(),
        cancelled: Callable[[], bool] = never,
    ) -> Path:
        with self._lock:
            if number > self._newest:
                keep(path, name, landmarks)
                self._newest = number
        return path


def keep(path: Path, name: str, landmarks: dict[str, Any]) -> None:
    """Write landmarks; the file is the old one or the new one at any moment.

    Raises
    ------
    FileProblem
        The disk is full, or nobody may write there.
    """
    facts = {
        "version": _VERSION,
        "section": name,
        "kept": datetime.now(UTC).isoformat(timespec="seconds"),
        "landmarks": landmarks,
    }
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("w", encoding="utf-8") as file:
            json.dump(facts, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise FileProblem(
            f"{in_words(error, path)} The landmarks are still in the window: save the section to have them on disk."
        ) from error


def user_folder() -> Path:
    """Return the folder of this user for landmarks that are being edited."""
    place = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.GenericDataLocation)
    return Path(place) / "napari-st2msi" / "landmarks"
