"""A table with a header, whatever its columns are called."""

from __future__ import annotations

import csv
import re
from io import StringIO

import numpy as np

from napari_st2msi.errors import DataProblem
from napari_st2msi.io.text_table import numbers
from napari_st2msi.registration.landmark_files.found import Found, Unit, unique
from napari_st2msi.registration.landmarks import Landmarks

#: Columns that we write: a name, both points in µm, and whether the pair is used.
COLUMNS = ("id", "msi_x_um", "msi_y_um", "st_x_um", "st_y_um", "enabled")
_POINTS = COLUMNS[1:5]

_MOVING = {"msi", "moving", "mvg", "source", "src"}
_FIXED = {"st", "fixed", "fix", "target", "tgt", "reference", "ref", "destination", "dst", "histology", "he", "visium"}
_UNITS: dict[str, Unit] = {
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometre", "micrometer"), "um"),
    **dict.fromkeys(("px", "pixel", "pixels"), "pixels"),
    "mm": "mm",
}
_IDS = ("id", "name", "label", "landmark", "landmark_id", "")
_ENABLED = ("enabled", "active", "used", "use")
_NO = ("false", "0", "no", "off", "f", "n")
_YES = ("true", "1", "yes", "on", "t", "y", "")


def read(rows: list[list[str]], name: str) -> Found:
    """Return the pairs of a table: `msi_x_um`, but `moving_x`, `x_msi` or `X target (px)` as well.

    Raises
    ------
    DataProblem
        A column is missing or there twice, or a value is not a number.
    """
    header, body = rows[0], rows[1:]
    places: dict[str, int] = {}
    units: dict[str, Unit] = {}
    for at, title in enumerate(header):
        meaning = _meaning(title)
        if meaning is None:
            continue
        column, unit = meaning
        if column in places:
            raise DataProblem(
                f"'{name}' has two columns for the same thing: '{header[places[column]]}' and '{title}'. Keep one."
            )
        places[column], units[column] = at, unit
    missing = [column for column in _POINTS if column not in places]
    if missing:
        raise DataProblem(_lacks(name, header, missing))
    for side in ("msi", "st"):
        if units[f"{side}_x_um"] != units[f"{side}_y_um"]:
            raise DataProblem(f"In '{name}', x and y of the {side.upper()} side are in different units. Use one.")
    points = numbers(body, {column: places[column] for column in _POINTS}, name)
    by_name = {title.lower(): at for at, title in enumerate(header)}
    key = next((by_name[title] for title in _IDS if title in by_name), None)
    ids, notes = ((), ()) if key is None else unique([row[key] if key < len(row) else "" for row in body])
    flag = next((by_name[title] for title in _ENABLED if title in by_name), None)
    enabled = None if flag is None else np.array([_used(row, flag, name, header) for row in body], dtype=bool)
    return Found(points[:, :2], points[:, 2:], ids, enabled, (units["msi_x_um"], units["st_x_um"]), notes)


def write(landmarks: Landmarks) -> str:
    """Return the text of a table with our columns, in µm."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for key, moving, fixed, used in zip(
        landmarks.ids, landmarks.moving.tolist(), landmarks.fixed.tolist(), landmarks.enabled.tolist(), strict=True
    ):
        writer.writerow([key, *map(repr, [*moving, *fixed]), "true" if used else "false"])
    return out.getvalue()


def _meaning(title: str) -> tuple[str, Unit] | None:
    """Return which of our columns a title means, and its unit; None for other columns."""
    words = [word for word in re.split(r"[^a-zµμ]+", title.lower()) if word]
    axes, moving, fixed = ([word for word in words if word in known] for known in ({"x", "y"}, _MOVING, _FIXED))
    if len(axes) != 1 or bool(moving) == bool(fixed):
        return None
    unit: Unit = next((_UNITS[word] for word in words if word in _UNITS), "unsaid")
    return f"{'msi' if moving else 'st'}_{axes[0]}_um", unit


def _used(row: list[str], at: int, name: str, header: list[str]) -> bool:
    cell = row[at].lower() if at < len(row) else ""
    if cell not in _YES + _NO:
        raise DataProblem(f"'{name}', column {header[at]}: '{row[at]}' is neither true nor false.")
    return cell in _YES


def _lacks(name: str, header: list[str], missing: list[str]) -> str:
    if len(missing) == len(_POINTS):
        try:
            [float(cell) for cell in header]
        except ValueError:
            pass
        else:
            return (
                f"'{name}' has no header, so it is unknown which numbers are MSI and which ST. Put "
                f"'{','.join(COLUMNS)}' into its first line."
            )
    return (
        f"'{name}' lacks the columns {', '.join(missing)}. Landmarks need {', '.join(COLUMNS[:5])} in µm, or MAGPIE's "
        "X_left, Y_left, X_right, Y_right."
    )
