"""From the units of a file to µm and back, and whether landmarks lie where the tissue is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import GeometryProblem
from napari_st2msi.io.histology import histology_levels
from napari_st2msi.registration.landmark_files.found import Found, Unit
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.section import MSI_SYSTEM, SYSTEM, Section
from napari_st2msi.shapes import map_points

Side = Literal["MSI", "ST"]
_SIDES: tuple[Side, Side] = ("MSI", "ST")
_Box = tuple[NDArray[np.float64], NDArray[np.float64]]
#: Farther outside than this part of the image, a landmark is not a careless click.
_FAR = 0.5
#: Landmarks that cover less than this part of an image may be in other units, if those are not said.
_NARROW = 0.1
#: Both sides are the same tissue in µm: distances that differ by more than this factor are in other units.
_UNLIKE = 1.5
_UNSAID: tuple[Unit, ...] = ("um", "pixels", "mm")
# Longest side of Visium's hires image: 2,000 pixels, of later chips up to 6,000.
_HIRES = (1900, 6200)
_MM = np.diag([1000.0, 1000.0, 1.0])


def landmarks_in_um(section: Section, found: Found, name: str) -> tuple[Landmarks, list[str]]:
    """Return landmarks in µm, and in words what to look at.

    Parameters
    ----------
    section
        The section they belong to.
    found
        What the file says.
    name
        Name of the file, for messages.

    Raises
    ------
    DataProblem
        A coordinate is missing, or an id or a pair is there twice.
    GeometryProblem
        The units cannot be brought to µm in this section, or landmarks lie far outside the image: exchanged
        columns, other units, or another section.
    """
    notes = list(found.notes)
    ids = found.ids or tuple(str(i + 1) for i in range(len(found.moving)))
    enabled = np.ones(len(ids), dtype=bool) if found.enabled is None else found.enabled
    Landmarks(ids, found.moving, found.fixed, enabled)  # refuses what is missing, before places are judged
    moving, fixed, assumed = _converted(section, found)
    outside = {side: _beyond(xy, _box(section, side)) for side, xy in zip(_SIDES, (moving, fixed), strict=True)}
    if max(beyond.max(initial=0.0) for beyond in outside.values()) > _FAR:
        raise GeometryProblem(_why_outside(section, found, name, ids, outside))
    for side, beyond in outside.items():
        away = [key for key, share in zip(ids, beyond, strict=True) if share > 0.01]
        if away:
            notes.append(f"{_some(away)} outside the {side}. Check that this is meant.")
    return Landmarks(ids, moving, fixed, enabled), notes + assumed


def from_um(section: Section, side: Side, xy: NDArray[np.float64], unit: Unit) -> NDArray[np.float64]:
    """Return (n, 2) points in the units of a file, given µm.

    Raises
    ------
    GeometryProblem
        The section does not tell how large these units are.
    """
    return map_points(np.linalg.inv(_matrix(section, side, unit)), xy)


def _converted(section: Section, found: Found) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """Return both sides in µm, and what was assumed of units that the file does not say."""
    units = _likely_units(section, found)
    notes = [
        f"The file does not say its units. Its {side} side is read in {unit}, in which the landmarks lie over the "
        "image and are as far apart as on the other side."
        for side, said, unit in zip(_SIDES, found.units, units, strict=True)
        if said == "unsaid" and unit != "um"
    ]
    moving, fixed = (
        map_points(_matrix(section, side, unit), xy)
        for side, unit, xy in zip(_SIDES, units, (found.moving, found.fixed), strict=True)
    )
    longer = _times_as_long(moving, fixed)
    if len(moving) > 2 and not 1 / _UNLIKE <= longer <= _UNLIKE:
        far, near = ("ST", "MSI") if longer > 1 else ("MSI", "ST")
        notes.append(
            f"Landmarks are {max(longer, 1 / longer):.2g} times as far apart on the {far} side as on the {near} side. "
            "In µm both should be alike: check the units, and the size of the pixels."
        )
    return moving, fixed, notes


def _likely_units(section: Section, found: Found) -> tuple[Unit, Unit]:
    """Return the units of both sides: in µm, the same tissue has the same size on both, and lies over the images."""
    options: list[dict[Unit, NDArray[np.float64]]] = []
    for side, xy, said in zip(_SIDES, (found.moving, found.fixed), found.units, strict=True):
        box = _box(section, side)
        inside: dict[Unit, NDArray[np.float64]] = {}
        for unit in _UNSAID if said == "unsaid" else (said,):
            try:
                points = map_points(_matrix(section, side, unit), xy)
            except GeometryProblem:
                if said != "unsaid":
                    raise
                continue
            if said != "unsaid" or _beyond(points, box).max(initial=0.0) <= _FAR:
                inside[unit] = points
        options.append(inside or {"um": xy})
    scores: dict[tuple[Unit, Unit], tuple[float, float]] = {}
    for one, moving in options[0].items():
        for other, fixed in options[1].items():
            unlike = abs(np.log(_times_as_long(moving, fixed)))
            cover = min(_cover(moving, _box(section, "MSI")), _cover(fixed, _box(section, "ST")))
            scores[one, other] = unlike, cover
    alike = {units: cover for units, (unlike, cover) in scores.items() if unlike <= np.log(_UNLIKE)}
    if not alike:
        return min(scores, key=lambda units: scores[units][0])
    first = next(iter(alike))
    return first if alike[first] >= _NARROW else max(alike, key=lambda units: alike[units])


def _times_as_long(moving: NDArray[np.float64], fixed: NDArray[np.float64]) -> float:
    """Return how much farther apart points are on the fixed side; 1 where they are all in one place."""
    if len(moving) < 2:
        return 1.0
    with np.errstate(over="ignore", invalid="ignore"):  # of what is no place on a slide
        one, other = (float(np.hypot(*(xy - xy.mean(axis=0)).T).mean()) for xy in (moving, fixed))
    return other / one if 0 < one < np.inf and 0 < other < np.inf else 1.0


def _cover(xy: NDArray[np.float64], box: _Box | None) -> float:
    """Return which part of an image points spread over, along the axis where it is largest."""
    if box is None or not len(xy):
        return 1.0
    return float((np.ptp(xy, axis=0) / np.maximum(box[1] - box[0], 1e-9)).max())


def _matrix(section: Section, side: Side, unit: Unit) -> NDArray[np.float64]:
    """Return (3, 3) from the units of a file to µm."""
    if unit == "um":
        return np.eye(3)
    if unit == "mm":
        return _MM
    if unit == "magpie":
        return _magpie(section, side)
    if side == "MSI":
        if section.msi_grid is None:
            raise GeometryProblem(
                f"These landmarks count pixels of the MSI, but in section '{section.name}' they lie on no regular "
                "grid. Give the landmarks in µm."
            )
        return section.msi_grid.to_um
    if section.roles.image is None:
        raise GeometryProblem(
            f"These landmarks count pixels of the histology, and section '{section.name}' has none. Give the landmarks "
            "in µm, or open the section with its histology."
        )
    return histology_levels(section)[1]


def _magpie(section: Section, side: Side) -> NDArray[np.float64]:
    lost = (
        "MAGPIE counts MSI pixels and pixels of Visium's hires image, but {} unknown in section "
        f"'{section.name}'. Open the MAGPIE folder as a whole, or use landmarks in µm (msi_x_um, msi_y_um, st_x_um, "
        "st_y_um)."
    )
    if side == "MSI":
        size = section.pixels(MSI_SYSTEM).diameter or (section.msi_grid.pitch[0] if section.msi_grid else None)
        if size is None:
            raise GeometryProblem(lost.format("the size of an MSI pixel is"))
        return np.diag([size, size, 1.0])
    from spatialdata.transformations import get_transformation

    names = [name for name in section.sdata.images if "hires" in name.lower()]
    if not names and section.roles.image is not None:
        longest = max(histology_levels(section)[0][0].shape[:2])
        names = [section.roles.image] if _HIRES[0] <= longest <= _HIRES[1] else []
    known = get_transformation(section.sdata[names[0]], get_all=True) if names else {}
    if SYSTEM not in known:
        raise GeometryProblem(lost.format("Visium's hires image, or where it lies, is"))
    return np.asarray(known[SYSTEM].to_affine_matrix(("x", "y"), ("x", "y")), dtype=np.float64)


def _box(section: Section, side: Side) -> _Box | None:
    """Return the least and the largest x and y of what can be seen of a side, in µm."""
    seen = []
    if side == "MSI" and section.has_msi:
        centres = np.asarray(section.msi.obsm["spatial"], dtype=np.float64)
        half = max(section.msi_grid.pitch) / 2 if section.msi_grid is not None else 0.0
        seen += [centres - half, centres + half]
    if side == "ST":
        if section.has_st:
            seen.append(section.spots.centres)
        if section.roles.image is not None:
            levels, matrix = histology_levels(section)
            height, width = levels[0].shape[:2]
            seen.append(map_points(matrix, np.array([[0, 0], [width, 0], [0, height], [width, height]], dtype=float)))
    if not seen:
        return None
    every = np.concatenate(seen)
    return every.min(axis=0), every.max(axis=0)


def _beyond(xy: NDArray[np.float64], box: _Box | None) -> NDArray[np.float64]:
    """Return (n,) how far points lie outside a box, as a part of its longer side."""
    if box is None:
        return np.zeros(len(xy))
    away = np.maximum(np.maximum(box[0] - xy, xy - box[1]), 0).max(axis=1)
    return np.asarray(away / max(float((box[1] - box[0]).max()), 1e-9))


def _why_outside(
    section: Section, found: Found, name: str, ids: Sequence[str], outside: dict[Side, NDArray[np.float64]]
) -> str:
    """Say which landmarks lie far outside, and why, as far as it can be told by trying."""

    def fits(other: Found) -> bool:
        try:
            moving, fixed, _ = _converted(section, other)
        except GeometryProblem:
            return False
        pairs = ((moving, _box(section, "MSI")), (fixed, _box(section, "ST")))
        return max(_beyond(xy, box).max() for xy, box in pairs) <= _FAR

    if fits(replace(found, moving=found.fixed, fixed=found.moving)):
        return (
            f"The columns of MSI and ST in '{name}' seem to be exchanged: each set of points fits the image of the "
            "other side. Exchange them in the file."
        )
    turned = {
        "of the MSI side": replace(found, moving=found.moving[:, ::-1]),
        "of the ST side": replace(found, fixed=found.fixed[:, ::-1]),
        "of both sides": replace(found, moving=found.moving[:, ::-1], fixed=found.fixed[:, ::-1]),
    }
    for where, other in turned.items():
        if fits(other):
            return f"x and y {where} in '{name}' seem to be exchanged. Exchange these columns in the file."
    side: Side = max(outside, key=lambda each: outside[each].max(initial=0.0))
    away = [key for key, share in zip(ids, outside[side], strict=True) if share > _FAR]
    unit = found.units[0 if side == "MSI" else 1]
    counted = {
        "um": "are in µm",
        "mm": "are in mm",
        "pixels": "are in pixels of the full image",
        "magpie": "are in " + ("MSI pixels" if side == "MSI" else "pixels of Visium's hires image"),
        "unsaid": "are in µm or pixels",
    }[unit]
    low, high = _box(section, side) or (np.zeros(2), np.zeros(2))
    return (
        f"{_some(away)} far outside the {side}, which spans {low[0]:,.0f} to {high[0]:,.0f} µm in x and "
        f"{low[1]:,.0f} to {high[1]:,.0f} µm in y. Check that the coordinates {counted}, and that '{name}' "
        f"belongs to section '{section.name}'."
    )


def _some(ids: Sequence[str]) -> str:
    if len(ids) == 1:
        return f"Landmark {ids[0]} lies"
    return f"Landmarks {', '.join(ids[:5])}{' and others' if len(ids) > 5 else ''} lie"
