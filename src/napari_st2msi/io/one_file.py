"""Single files onto disk, such that at any moment either the old content or the new one is there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from napari_st2msi.errors import FileProblem
from napari_st2msi.io.store import in_words


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a place beside a file to write to; what was written there takes the file's place at the end.

    Where writing fails or is stopped, nothing is left of it, and what was there before is untouched.

    Raises
    ------
    FileProblem
        The folder is missing or may not be written, the disk is full, or a folder is in the way.
    """
    # Of this process alone: another may write the same file.
    beside = path.with_name(f".{path.stem}.{os.getpid()}.st2msi-new{path.suffix}")
    try:
        yield beside
        os.replace(beside, path)
    except OSError as error:
        raise FileProblem(in_words(error, path)) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def write_texts(texts: Mapping[Path, str]) -> None:
    """Write text files: at any moment, each of them has its old content or its new, whole.

    All are written beside their places before the first takes its place, so that a full disk or a folder that may not
    be written changes none. Files take their places one after the other: where one cannot, others may be new already.

    Raises
    ------
    FileProblem
        The folder is missing or may not be written, the disk is full, or a folder is in the way of a file.
    """
    with ExitStack() as files:
        for path, text in texts.items():
            files.enter_context(replacing(path)).write_text(text, encoding="utf-8", newline="\n")
