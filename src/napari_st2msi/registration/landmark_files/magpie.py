"""MAGPIE's CSV: MSI pixels (left) to pixels of Visium's hires image (right)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem
from napari_st2msi.io.magpie import LANDMARK_COLUMNS
from napari_st2msi.registration.landmark_files.found import Found
from napari_st2msi.registration.landmark_files.text import numbers

_TITLES = tuple(column.lower() for column in LANDMARK_COLUMNS)


def is_magpie(header: list[str]) -> bool:
    """Tell whether a header names any of MAGPIE's columns."""
    return bool({*_TITLES} & {title.lower() for title in header})


def read(rows: list[list[str]], name: str) -> Found:
    """Return the pairs of a table.

    Raises
    ------
    DataProblem
        A column is missing or there twice, or a value is not a number.
    """
    header, body = [title.lower() for title in rows[0]], rows[1:]
    wrong = [column for column, title in zip(LANDMARK_COLUMNS, _TITLES, strict=True) if header.count(title) != 1]
    if wrong:
        raise DataProblem(
            f"'{name}' has no single column {', '.join(wrong)}. MAGPIE writes {', '.join(LANDMARK_COLUMNS)}, each once."
        )
    columns = {column: header.index(title) for column, title in zip(LANDMARK_COLUMNS, _TITLES, strict=True)}
    points = numbers(body, columns, name)
    return Found(points[:, :2], points[:, 2:], units=("magpie", "magpie"))


def write(moving: NDArray[np.float64], fixed: NDArray[np.float64]) -> str:
    """Return the text of a file, given (n, 2) MSI pixels and hires pixels."""
    rows = np.column_stack([moving, fixed]).tolist()
    return "\n".join([",".join(LANDMARK_COLUMNS), *(",".join(map(repr, row)) for row in rows)]) + "\n"
