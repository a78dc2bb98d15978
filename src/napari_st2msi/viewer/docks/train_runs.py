"""Trainings under way, kept in a folder of the user, so that one that was cut off goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from qtpy.QtCore import QStandardPaths

from napari_st2msi.errors import FileProblem
from napari_st2msi.recipe import Recipe

_FACTS = "run.json"
_KEPT_S = 30 * 24 * 3600


@dataclass(frozen=True)
class Run:
    """A training that was begun and not finished.

    Attributes
    ----------
    folder
        With what its networks have learned so far.
    recipe, sections
        What was trained, and on sections of which names.
    since
        When it was begun, in seconds since 1970.
    """

    folder: Path
    recipe: Recipe
    sections: tuple[str, ...]
    since: float

    @property
    def when(self) -> str:
        """When it was begun, in the words of a clock."""
        return datetime.fromtimestamp(self.since).strftime("%d %b, %H:%M").lstrip("0")


def user_folder() -> Path:
    """Return the folder of this user for trainings under way."""
    place = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.GenericCacheLocation)
    return Path(place) / "napari-st2msi" / "trainings"


def begin(recipe: Recipe, sections: Sequence[str]) -> Path:
    """Return the folder for the checkpoints of a training; the same training gets the same again.

    Raises
    ------
    FileProblem
        It cannot be made.
    """
    home, text = user_folder(), recipe.model_dump_json()
    name = hashlib.sha256(json.dumps([text, *sections]).encode()).hexdigest()[:16]
    folder = home / name
    facts = {"recipe": json.loads(text), "sections": list(sections), "since": time.time(), "process": os.getpid()}
    try:
        _forget_old(home)
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".{_FACTS}.part"
        draft.write_text(json.dumps(facts), encoding="utf-8")
        os.replace(draft, folder / _FACTS)
    except OSError as error:
        raise FileProblem(f"What networks learn cannot be kept in '{folder}': {error}") from error
    return folder


def forget(folder: Path) -> None:
    """Remove what is kept of a training."""
    shutil.rmtree(folder, ignore_errors=True)


def cut_off(sections: Sequence[str], under_way: Sequence[Path] = ()) -> Run | None:
    """Return the training of some of these sections that was cut off last, None if there is none.

    Parameters
    ----------
    under_way
        Folders of trainings that run here. Those that run in another napari are left out, too.
    """
    found = [run for run in map(_read, _folders(user_folder())) if run is not None]
    found = [run for run in found if set(run.sections) <= set(sections) and run.folder not in under_way]
    return max(found, key=lambda run: run.since, default=None)


def _read(folder: Path) -> Run | None:
    """Return what is kept in a folder; None if it is not readable or its process still runs."""
    try:
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        if not any(folder.glob("network-*")) or _lives(int(facts["process"])):
            return None
        return Run(folder, Recipe.model_validate(facts["recipe"]), tuple(facts["sections"]), float(facts["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _lives(process: int) -> bool:
    """Return whether another process is still there."""
    if process == os.getpid() or sys.platform == "win32":  # there, asking would end it
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _forget_old(home: Path) -> None:
    for folder in _folders(home):
        with suppress(OSError):
            if time.time() - (folder / _FACTS).stat().st_mtime > _KEPT_S:
                forget(folder)


def _folders(home: Path) -> list[Path]:
    return [path for path in home.iterdir() if path.is_dir()] if home.is_dir() else []
