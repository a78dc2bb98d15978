"""Files that a config names, wherever in it: where they lie, and what is known of them without opening any."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from napari_st2msi.benchmarking.config import Data
from napari_st2msi.errors import FileProblem

Chosen = TypeVar("Chosen", bound=BaseModel)


def placed(choices: Chosen, place: Callable[[Path], Path]) -> Chosen:
    """Return choices with other paths, also in choices inside of them.

    Parameters
    ----------
    place
        From a path to what takes its place.
    """
    changed: dict[str, object] = {}
    for name, value in choices:
        if isinstance(value, Path):
            changed[name] = place(value)
        elif isinstance(value, BaseModel):
            changed[name] = placed(value, place)
        elif isinstance(value, tuple) and any(isinstance(each, Path) for each in value):
            changed[name] = tuple(place(each) for each in value)
    return choices.model_copy(update=changed)


def files_in(choices: BaseModel) -> list[Path]:
    """Return the paths that choices name."""
    found: list[Path] = []

    def seen(path: Path) -> Path:
        found.append(path)
        return path

    placed(choices, seen)
    return found


def located(data: Data, folder: Path) -> Data:
    """Return data whose files, also those of their opening, are named as they lie.

    Raises
    ------
    FileProblem
        One is missing.
    """

    def place(path: Path) -> Path:
        if not (folder / path).exists():
            raise FileProblem(f"Of the data '{data.name}', '{folder / path}' is missing. Paths start from '{folder}'.")
        return folder / path

    return placed(data, place)


def inside(paths: Iterable[Path]) -> str:
    """Return 32 hexadecimal digits that change with the name, size or time of any file inside of folders.

    Workflows look at the time of the folder itself, which stays when a file deep inside changes.
    """
    digest = blake2b(digest_size=16)
    for file in sorted(file for path in paths if path.is_dir() for file in path.rglob("*") if file.is_file()):
        state = file.stat()
        digest.update(f"{file}\x00{state.st_size}\x00{state.st_mtime_ns}\x01".encode())
    return digest.hexdigest()
