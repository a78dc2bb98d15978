"""MAGPIE's CSV: MSI pixels (left) to pixels of Visium's hires image (right)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.io.magpie import LANDMARK_COLUMNS, read_landmarks_csv
from napari_st2msi.registration.landmark_files.found import Found


def is_magpie(header: list[str]) -> bool:
    """Tell whether a header names any of MAGPIE's columns."""
    return bool(set(LANDMARK_COLUMNS) & set(header))


def read(path: Path) -> Found:
    """Return the pairs of a file.

    Raises
    ------
    FileProblem, DataProblem
        It cannot be read, lacks a column, or holds something else than numbers.
    """
    moving, fixed = read_landmarks_csv(path)
    return Found(moving, fixed, units=("magpie", "magpie"))


def write(moving: NDArray[np.float64], fixed: NDArray[np.float64]) -> str:
    """Return the text of a file, given (n, 2) MSI pixels and hires pixels."""
    rows = np.column_stack([moving, fixed]).tolist()
    return "\n".join([",".join(LANDMARK_COLUMNS), *(",".join(map(repr, row)) for row in rows)]) + "\n"
