"""Landmarks of BigWarp (Fiji): a CSV without header, or the JSON of a BigWarp project.

A row of the CSV is a name, whether the pair is active, the moving point, and the target point: six cells in 2D, eight
in 3D. Versions since 9.1 read a number behind *active* as well, which makes seven and nine. Coordinates are physical
units of the two images, hence pixels where an image had no calibration; the centre of the first pixel is 0. A point
that was not set yet is infinite.
"""

from __future__ import annotations

import csv
from io import StringIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem
from napari_st2msi.io.text_table import number
from napari_st2msi.registration.landmark_files.found import Found, unique
from napari_st2msi.registration.landmarks import Landmarks

_WIDTHS = {6: (2, 2), 7: (3, 2), 8: (2, 3), 9: (3, 3)}  # cells of a row: where coordinates begin, and how many


def is_bigwarp(rows: list[list[str]]) -> bool:
    """Tell whether the second cell of every row says true or false, and there is no header."""
    return all(len(row) > 2 and row[1].lower() in ("true", "false") for row in rows)


def is_project(facts: Any) -> bool:
    """Tell whether JSON is a project of BigWarp, or its landmarks alone."""
    return isinstance(facts, dict) and "movingPoints" in _landmarks_of(facts)


def read(rows: list[list[str]], name: str) -> Found:
    """Return the pairs of a CSV.

    Raises
    ------
    DataProblem
        A row has another number of cells, or a coordinate is no number.
    """
    first = len(rows[0])
    if first not in _WIDTHS:
        raise DataProblem(f"'{name}' has {first} columns. BigWarp writes 6 for landmarks in 2D and 8 in 3D.")
    start, size = _WIDTHS[first]
    points = np.empty((len(rows), 2 * size))
    for line, row in enumerate(rows):
        if len(row) != first:
            raise DataProblem(f"'{name}', line {line + 1}: {len(row)} columns where the first line has {first}.")
        for place, cell in enumerate(row[start:]):
            value = number(cell)
            if value is None:
                raise DataProblem(f"'{name}', line {line + 1}: '{cell}' is not a number.")
            points[line, place] = value
    ids = [row[0] for row in rows]
    active = np.array([row[1].lower() == "true" for row in rows], dtype=bool)
    return _found(ids, active, points[:, :size], points[:, size:])


def read_project(facts: dict[str, Any], name: str) -> Found:
    """Return the pairs of a project.

    Raises
    ------
    DataProblem
        It is damaged.
    """
    kept = _landmarks_of(facts)
    try:
        moving, fixed = (np.asarray(kept[side], dtype=np.float64) for side in ("movingPoints", "fixedPoints"))
        ids, active = [str(key) for key in kept["names"]], np.asarray(kept["active"], dtype=bool)
        if not len(ids) == len(active) == len(moving) == len(fixed) or moving.shape != fixed.shape or moving.ndim != 2:
            raise ValueError
    except (KeyError, TypeError, ValueError) as error:
        raise DataProblem(f"The BigWarp project '{name}' is damaged. Save it again, or export a CSV.") from error
    return _found(ids, active, moving, fixed)


def write(landmarks: Landmarks) -> str:
    """Return the text of a CSV in 2D, in µm, as BigWarp quotes it."""
    out = StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    for key, used, moving, fixed in zip(
        landmarks.ids, landmarks.enabled, landmarks.moving.tolist(), landmarks.fixed.tolist(), strict=True
    ):
        writer.writerow([key, "true" if used else "false", *map(repr, [*moving, *fixed])])
    return out.getvalue()


def _landmarks_of(facts: dict[str, Any]) -> dict[str, Any]:
    inner = facts.get("landmarks", facts)
    return inner if isinstance(inner, dict) else {}


def _found(ids: list[str], active: NDArray[np.bool_], moving: NDArray[np.float64], fixed: NDArray[np.float64]) -> Found:
    names, renamed = unique(ids)
    notes = [*renamed]
    complete = np.all(np.isfinite(np.hstack([moving, fixed])), axis=1).astype(bool)
    if not complete.all():
        notes.append(f"{int((~complete).sum())} landmarks of BigWarp have no counterpart yet and are left out.")
    moving, fixed = moving[complete], fixed[complete]
    if any(depth.size and depth.max() > depth.min() for depth in (moving[:, 2:], fixed[:, 2:])):
        notes.append("These landmarks are in 3D; their z is left out.")
    kept = tuple(key for key, there in zip(names, complete, strict=True) if there)
    return Found(moving[:, :2], fixed[:, :2], kept, active[complete], ("unsaid", "unsaid"), tuple(notes))
