"""Point sets of elastix: two text files, one for each image.

The first line says ``point`` (world coordinates) or ``index`` (pixels, the first being 0), the second how many there
are, and each further line holds one. Only their order pairs them. See the manual of elastix, section *Corresponding
points*.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, FileProblem
from napari_st2msi.io.text_table import number, read_text
from napari_st2msi.registration.landmark_files.found import Found, Unit
from napari_st2msi.registration.landmarks import Landmarks

_UNITS: dict[str, Unit] = {"point": "unsaid", "index": "pixels"}
#: What tells the two files apart, MSI first.
_WORDS = (("moving", "fixed"), ("msi", "st"), ("mvg", "fix"), ("source", "target"))


def is_point_set(text: str) -> bool:
    """Tell whether a file begins as a point set does."""
    return text.split(maxsplit=1)[0].lower() in _UNITS


def read(path: Path) -> Found:
    """Return the pairs of two files, of which one is given and the other lies beside it.

    Raises
    ------
    FileProblem
        The name does not tell which side it is, or the other file is not there.
    DataProblem
        The two hold different numbers of points, a number that is none, or fewer points than they say.
    """
    names = pair_of(path)
    if names is None:
        raise FileProblem(
            f"'{path.name}' holds the points of one side only, and its name does not tell which. Call the two files, "
            "for example, 'landmarks_moving.txt' (MSI) and 'landmarks_fixed.txt' (ST)."
        )
    missing = next((each for each in names if not each.is_file()), None)
    if missing is not None:
        raise FileProblem(f"'{path.name}' holds one side; the other, '{missing.name}', is not beside it. Put it there.")
    (moving, in_moving), (fixed, in_fixed) = (_read_one(each) for each in names)
    if len(moving) != len(fixed):
        raise DataProblem(
            f"'{names[0].name}' holds {len(moving)} points and '{names[1].name}' {len(fixed)}. Their order pairs them, "
            "so both need the same number."
        )
    return Found(moving, fixed, units=(in_moving, in_fixed))


def write(landmarks: Landmarks, path: Path) -> dict[Path, str]:
    """Return the text of the moving and of the fixed file, in µm."""
    names = pair_of(path) or tuple(path.with_name(f"{path.stem}_{word}{path.suffix or '.txt'}") for word in _WORDS[0])
    used = landmarks.enabled
    sides = (landmarks.moving[used], landmarks.fixed[used])
    return {
        name: f"point\n{len(points)}\n" + "".join(f"{x!r} {y!r}\n" for x, y in points.tolist())
        for name, points in zip(names, sides, strict=True)
    }


def pair_of(path: Path) -> tuple[Path, Path] | None:
    """Return the names of the moving and of the fixed file, given either; None where the name does not tell."""
    for words in _WORDS:
        for here, there in (words, words[::-1]):
            # The word alone: "st" is not in "landmarks_test".
            found = re.search(rf"(?<![a-z]){here}(?![a-z])", path.stem, re.IGNORECASE)
            if found:
                other = path.with_name(
                    path.stem[: found.start()] + _in_case_of(found[0], there) + path.stem[found.end() :] + path.suffix
                )
                return (path, other) if here == words[0] else (other, path)
    return None


def _in_case_of(model: str, word: str) -> str:
    return word.upper() if model.isupper() else word.capitalize() if model[0].isupper() else word


def _read_one(path: Path) -> tuple[NDArray[np.float64], Unit]:
    kind, *rest = read_text(path, "landmarks").strip().split("\n")
    unit = _UNITS.get(kind.strip().lower())
    lines = [line.split() for line in rest if line.strip()]
    if unit is None or not lines or len(lines[0]) != 1 or not lines[0][0].isdigit():
        raise DataProblem(
            f"'{path.name}' is no point set of elastix: its first line must be 'point' or 'index', its second how many."
        )
    count, rows = int(lines[0][0]), lines[1:]
    if count != len(rows):
        raise DataProblem(f"'{path.name}' says {count} points but holds {len(rows)}. Correct the second line.")
    points = np.empty((count, 2))
    for line, row in enumerate(rows):
        values = [number(cell) for cell in row]
        if len(values) < 2 or any(value is None or not np.isfinite(value) for value in values):
            raise DataProblem(f"'{path.name}', point {line + 1}: '{' '.join(row)}' is no pair of numbers.")
        points[line] = values[:2]
    return points, unit
