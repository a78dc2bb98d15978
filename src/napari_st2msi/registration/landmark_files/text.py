"""Text files: read with a limit, split into cells, replaced in one step."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, FileProblem

# A thousand landmarks are 100 kB: what is larger is something else.
_MOST_BYTES = 20_000_000


def read_text(path: Path) -> str:
    """Return the content of a text file.

    Raises
    ------
    FileProblem
        It is missing, empty, too large, or no text.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise FileProblem(f"'{path}' is too large for a file of landmarks. Choose another one.")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise FileProblem(f"The landmarks in '{path}' cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise FileProblem(f"The landmarks in '{path}' cannot be read: it is not a text file.") from error
    if not text.strip():
        raise FileProblem(f"The landmarks in '{path}' cannot be read: the file is empty.")
    return text


def cells(text: str) -> list[list[str]]:
    """Return the rows of a table, cells without blanks and quotes; commas, semicolons or tabs part them."""
    lines = [line for line in text.splitlines() if line.strip()]
    separator = max(",;\t", key=lines[0].count)
    return [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=separator, skipinitialspace=True)]


def number(cell: str) -> float | None:
    """Return the number in a cell, NaN where it is empty, None where there is something else.

    A decimal comma, as spreadsheets of many countries write it, is understood.
    """
    if cell == "" or cell.lower() in ("na", "nan", "none"):
        return float("nan")
    try:
        return float(cell.replace(",", ".") if cell.count(",") == 1 and "." not in cell else cell)
    except ValueError:
        return None


def numbers(rows: Sequence[Sequence[str]], columns: dict[str, int], name: str) -> NDArray[np.float64]:
    """Return (rows, columns) float64 of named columns.

    Raises
    ------
    DataProblem
        A cell holds something else than a number.
    """
    found = np.full((len(rows), len(columns)), np.nan)
    for line, row in enumerate(rows):
        for place, (column, at) in enumerate(columns.items()):
            value = number(row[at]) if at < len(row) else float("nan")
            if value is None:
                raise DataProblem(f"'{name}', column {column}: '{row[at]}' is not a number.")
            found[line, place] = value
    return found


def write_text(path: Path, text: str) -> None:
    """Write a text file: at any moment, the old content is there or the new.

    Raises
    ------
    FileProblem
        The folder is missing or may not be written, or the disk is full.
    """
    beside = path.with_name(f".{path.name}.st2msi-new")
    try:
        beside.write_text(text, encoding="utf-8", newline="\n")
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise FileProblem(f"'{path}' could not be written: {error.strerror or error}.") from error
