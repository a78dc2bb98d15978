"""Where results go: refused before the work what would fail after it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from napari_st2msi.errors import FileProblem


def check_file(path: Path | None, endings: Collection[str] = (), *, overwrite: bool = True) -> None:
    """Check that a file can be written, as far as its name tells; None is not asked for.

    Raises
    ------
    FileProblem
        Its name ends in none of `endings`, a folder is in the way, the file is there and may not be replaced, or
        there is no folder to write it into.
    """
    if path is None:
        return
    if endings and path.suffix not in endings:
        raise FileProblem(f"'{path}' is of no kind that is written here. End it in {' or '.join(endings)}.")
    if path.is_dir():
        raise FileProblem(f"'{path}' is a folder. Name a file.")
    _check_free(path, overwrite)
    if not path.resolve().parent.is_dir():
        raise FileProblem(f"There is no folder '{path.parent}' to write '{path.name}' into.")


def check_folder(path: Path, *, overwrite: bool) -> None:
    """Check that a folder of results can be written; those that it lies in are made.

    Raises
    ------
    FileProblem
        A file is in the way, or the folder is there and may not be written into.
    """
    if path.exists() and not path.is_dir():
        raise FileProblem(f"'{path}' is a file. Name a folder.")
    _check_free(path, overwrite)


def _check_free(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise FileProblem(f"'{path}' is already there. Choose another name, or add --overwrite.")
