"""MAGPIE's CSV: MSI pixels (left) to pixels of Visium's hires image (right)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.io.magpie import LANDMARK_COLUMNS, landmark_points
from napari_st2msi.registration.landmark_files.found import Found


def is_magpie(header: list[str]) -> bool:
    """Tell whether a header names any of MAGPIE's columns."""
    return bool({column.lower() for column in LANDMARK_COLUMNS} & {title.lower() for title in header})


def read(rows: list[list[str]], name: str) -> Found:
    """Return the pairs of a table.

    Raises
    ------
    DataProblem
        A column is missing or there twice, or a value is not a number.
    """
    return Found(*landmark_points(rows, name), units=("magpie", "magpie"))


def write(moving: NDArray[np.float64], fixed: NDArray[np.float64]) -> str:
    """Return the text of a file, given (n, 2) MSI pixels and hires pixels."""
    rows = np.column_stack([moving, fixed]).tolist()
    return "\n".join([",".join(LANDMARK_COLUMNS), *(",".join(map(repr, row)) for row in rows)]) + "\n"
