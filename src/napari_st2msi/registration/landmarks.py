"""Landmarks: points that a person found on both sides, in micrometres."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, FileProblem, GeometryProblem
from napari_st2msi.section import MSI_SYSTEM, SYSTEM, Section

#: Columns of our own CSV: a name, and both points in µm.
COLUMNS = ("id", "msi_x_um", "msi_y_um", "st_x_um", "st_y_um")
#: Columns of MAGPIE's CSV: MSI pixels to pixels of Visium's hires image.
MAGPIE_COLUMNS = ("X_left", "Y_left", "X_right", "Y_right")


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Pairs of points: where something is in the MSI, and where it is in the ST.

    Attributes
    ----------
    ids
        (n,) names, each once; they stay with a pair whatever happens to the others.
    moving
        (n, 2) float64, µm in the frame of the MSI (``st2msi_msi``).
    fixed
        (n, 2) float64, µm in the frame of the ST (``st2msi``).
    enabled
        (n,) bool: pairs that are used. The others are kept, and their error is still measured.

    Raises
    ------
    DataProblem
        Numbers of points differ, a coordinate is missing, or an id or a pair is there twice.
    """

    ids: tuple[str, ...]
    moving: NDArray[np.float64]
    fixed: NDArray[np.float64]
    enabled: NDArray[np.bool_] = field(default_factory=lambda: np.ones(0, dtype=bool))

    def __post_init__(self) -> None:
        n = len(self.ids)
        object.__setattr__(self, "ids", tuple(map(str, self.ids)))
        object.__setattr__(self, "moving", np.asarray(self.moving, dtype=np.float64).reshape(-1, 2))
        object.__setattr__(self, "fixed", np.asarray(self.fixed, dtype=np.float64).reshape(-1, 2))
        given = np.asarray(self.enabled, dtype=bool)
        object.__setattr__(self, "enabled", given if len(given) else np.ones(n, dtype=bool))
        if not n == len(self.moving) == len(self.fixed) == len(self.enabled):
            raise DataProblem(
                f"There are {len(self.moving)} landmarks on the MSI side and {len(self.fixed)} on the ST side "
                f"for {n} names. Each needs one point on either side."
            )
        if len(set(self.ids)) < n:
            raise DataProblem("Some landmarks have the same id. Give each its own.")
        for side, xy in (("MSI", self.moving), ("ST", self.fixed)):
            missing = np.flatnonzero(~np.isfinite(xy).all(axis=1))
            if len(missing):
                raise DataProblem(f"{self._names(missing)} no position on the {side} side. Remove or place it.")

    def __len__(self) -> int:
        return len(self.ids)

    def without(self, *ids: str) -> Landmarks:
        """Return the same landmarks with some disabled.

        Raises
        ------
        DataProblem
            There is no landmark of that name.
        """
        unknown = set(ids) - set(self.ids)
        if unknown:
            raise DataProblem(f"There is no landmark {', '.join(sorted(unknown))}.")
        return replace(self, enabled=self.enabled & ~np.isin(self.ids, ids))

    def to_dict(self) -> dict[str, Any]:
        """Return the landmarks as plain JSON values."""
        return {
            "ids": list(self.ids),
            "moving_um": self.moving.tolist(),
            "fixed_um": self.fixed.tolist(),
            "enabled": self.enabled.tolist(),
        }

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> Self:
        """Return the landmarks that `to_dict` wrote."""
        return cls(tuple(facts["ids"]), facts["moving_um"], facts["fixed_um"], facts["enabled"])

    def _names(self, which: NDArray[np.intp]) -> str:
        names = [self.ids[i] for i in which]
        return f"Landmark {names[0]} has" if len(names) == 1 else f"Landmarks {', '.join(names[:5])} have"


def find_landmarks(section: Section, source: Landmarks | str | Path | None = None) -> Landmarks:
    """Return landmarks, wherever they are.

    Parameters
    ----------
    section
        The section they belong to.
    source
        Landmarks themselves; a CSV file (our columns `id, msi_x_um, msi_y_um, st_x_um, st_y_um`, or
        MAGPIE's `X_left, Y_left, X_right, Y_right`: MSI pixels to hires pixels); None for those that
        the section carries.

    Raises
    ------
    FileProblem
        The file cannot be read.
    DataProblem
        Columns are missing, a value is not a number, or the section carries no landmarks.
    GeometryProblem
        MAGPIE's units cannot be brought to µm in this section.
    """
    if isinstance(source, Landmarks):
        return source
    if source is not None:
        return _read_csv(section, Path(source))
    from napari_st2msi.io.landmarks import read_landmark_elements

    kept = read_landmark_elements(section.sdata)
    if kept is None:
        raise DataProblem(
            f"Section '{section.name}' carries no landmarks. Give a CSV file with the columns {', '.join(COLUMNS)}."
        )
    # Elements hold points only; which of them were disabled stands with the last registration.
    before = section.attrs.get("registration", {}).get("landmarks", {"ids": [], "enabled": []})
    disabled = {key for key, used in zip(before["ids"], before["enabled"], strict=True) if not used}
    ids = tuple(map(str, kept[0]))
    return Landmarks(ids, kept[1], kept[2], np.array([key not in disabled for key in ids]))


def _read_csv(section: Section, path: Path) -> Landmarks:
    from napari_st2msi.io.magpie import read_landmarks_csv

    try:
        frame = pd.read_csv(path, encoding="utf-8-sig", skipinitialspace=True)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise FileProblem(f"The landmarks in '{path}' cannot be read: {error}") from error
    if set(MAGPIE_COLUMNS) & set(frame.columns):
        moving, fixed = _magpie_to_um(section, *read_landmarks_csv(path))
        return Landmarks(tuple(str(i + 1) for i in range(len(moving))), moving, fixed)
    columns = COLUMNS[1:]
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise DataProblem(
            f"'{path.name}' lacks the columns {', '.join(missing)}. Landmarks need {', '.join(COLUMNS)} in µm, "
            f"or MAGPIE's {', '.join(MAGPIE_COLUMNS)}."
        )
    for column in columns:
        numbers = pd.to_numeric(frame[column], errors="coerce")
        wrong = numbers.isna() & frame[column].notna()
        if wrong.any():
            raise DataProblem(f"'{path.name}', column {column}: '{frame[column][wrong].iloc[0]}' is not a number.")
        frame[column] = numbers
    ids = frame["id"] if "id" in frame else range(1, len(frame) + 1)
    points = frame[list(columns)].to_numpy(dtype=np.float64)
    return Landmarks(tuple(map(str, ids)), points[:, :2], points[:, 2:])


def _magpie_to_um(
    section: Section, moving: NDArray[np.float64], fixed: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bring MSI pixels and hires pixels to µm, as far as the section knows their size."""
    from spatialdata.transformations import get_transformation

    size = section.pixels(MSI_SYSTEM).diameter or (section.msi_grid.pitch[0] if section.msi_grid else None)
    hires = next((name for name in section.sdata.images if "hires" in name.lower()), None)
    known = {} if hires is None else get_transformation(section.sdata[hires], get_all=True)
    if size is None or SYSTEM not in known:
        lacks = "the size of an MSI pixel is" if size is None else "Visium's hires image, or where it lies, is"
        raise GeometryProblem(
            f"These landmarks are in MSI pixels and in pixels of Visium's hires image, but {lacks} unknown in section "
            f"'{section.name}'. Open the MAGPIE folder as a whole, or give landmarks in µm ({', '.join(COLUMNS)})."
        )
    matrix = known[SYSTEM].to_affine_matrix(("x", "y"), ("x", "y"))
    moving = moving * size
    centres = np.asarray(section.msi.obsm["spatial"])
    margin = 0.25 * np.ptp(centres, axis=0).max() + size
    if ((moving < centres.min(axis=0) - margin) | (moving > centres.max(axis=0) + margin)).any():
        raise GeometryProblem(
            "The landmarks lie outside the MSI, so they are not counted in its pixels. Give them in µm "
            f"({', '.join(COLUMNS)})."
        )
    return moving, fixed @ matrix[:2, :2].T + matrix[:2, 2]
