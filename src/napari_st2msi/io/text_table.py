"""Small tables in text files, as people and their spreadsheets leave them: read with a limit, split into cells."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, FileProblem

# A thousand landmarks are 100 kB: what is larger is something else.
_MOST_BYTES = 20_000_000


def read_text(path: Path, what: str) -> str:
    """Return the content of a text file.

    Parameters
    ----------
    what
        What it holds, for messages: "landmarks".

    Raises
    ------
    FileProblem
        It is missing, empty, too large, or no text.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise FileProblem(f"'{path}' is too large for a file of {what}. Choose another one.")
        text = _decoded(path.read_bytes())
    except OSError as error:
        raise FileProblem(f"The {what} in '{path}' cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise FileProblem(f"The {what} in '{path}' cannot be read: it is not a text file.") from error
    if any(character < " " and not character.isspace() for character in text):
        raise FileProblem(f"The {what} in '{path}' cannot be read: it is not a text file.")
    if not text.strip():
        raise FileProblem(f"The {what} in '{path}' cannot be read: the file is empty.")
    return text


def cells(text: str) -> list[list[str]]:
    """Return the rows of a table, cells without blanks and quotes; commas, semicolons or tabs part them."""
    lines = [line for line in text.splitlines() if line.strip()]
    separator = max(",;\t", key=re.sub('"[^"]*"', "", lines[0]).count)
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


def _decoded(content: bytes) -> str:
    """Return text in UTF-8, in what spreadsheets call Unicode (UTF-16), or in the alphabet of old Windows."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252")
