"""The regular grid that MSI pixels usually lie on, so that an ion is an image and not a cloud."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Grid:
    """A regular grid of measured pixels.

    Attributes
    ----------
    index
        (rows, columns) int64: the row of the MSI table measured there, -1 where nothing was.
    to_um
        (3, 3) float64: maps (column, row, 1) to (x, y, 1) in µm; pixel centres lie at integers.
    """

    index: NDArray[np.int64]
    to_um: NDArray[np.float64]

    @classmethod
    def from_points(cls, xy: NDArray[np.float64], *, tolerance: float = 0.05) -> Grid | None:
        """Find the axis-parallel grid that points lie on.

        Parameters
        ----------
        xy
            (n, 2) float64, pixel centres in µm.
        tolerance
            How far a centre may lie from its node, as a share of the pitch.

        Returns
        -------
        The grid, or None when the points do not lie on one, two share a node, or the bounding box
        would be more than 20 times as many nodes as points.
        """
        if len(xy) == 0 or not np.isfinite(xy).all():
            return None
        columns_rows = np.empty(xy.shape, dtype=np.int64)
        origin = xy.min(axis=0)
        pitch = [_pitch(xy[:, axis]) for axis in (0, 1)]
        if all(np.isnan(pitch)):
            pitch = [1.0, 1.0]
        pitch = [pitch[1 - axis] if np.isnan(pitch[axis]) else pitch[axis] for axis in (0, 1)]
        for axis in (0, 1):
            position = (xy[:, axis] - origin[axis]) / pitch[axis]
            columns_rows[:, axis] = np.rint(position)
            if np.abs(position - columns_rows[:, axis]).max() > tolerance:
                return None
        width, height = columns_rows.max(axis=0) + 1
        if int(width) * int(height) > max(20 * len(xy), 10_000):
            return None
        index = np.full((height, width), -1, dtype=np.int64)
        index[columns_rows[:, 1], columns_rows[:, 0]] = np.arange(len(xy))
        if (index >= 0).sum() != len(xy):
            return None
        to_um = np.array([[pitch[0], 0, origin[0]], [0, pitch[1], origin[1]], [0, 0, 1]], dtype=float)
        return cls(index, to_um)

    @property
    def pitch(self) -> tuple[float, float]:
        """Distance between neighbouring pixels in µm, along columns (x) and rows (y)."""
        return (
            float(np.hypot(self.to_um[0, 0], self.to_um[1, 0])),
            float(np.hypot(self.to_um[0, 1], self.to_um[1, 1])),
        )

    def image(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return (rows, columns) float32 with NaN where nothing was measured.

        Parameters
        ----------
        values
            (n,) one value for each row of the MSI table.
        """
        picture = np.full(self.index.shape, np.nan, dtype=np.float32)
        measured = self.index >= 0
        picture[measured] = np.asarray(values, dtype=np.float32)[self.index[measured]]
        return picture

    def moved(self, matrix: NDArray[np.float64]) -> Grid:
        """Return the same grid seen through a (3, 3) affine that acts on µm."""
        return Grid(self.index, matrix @ self.to_um)


def _pitch(values: NDArray[np.float64]) -> float:
    """Return the smallest step between distinct values, NaN when there is only one."""
    distinct = np.unique(values)
    steps = np.diff(distinct)
    if not len(steps):
        return float("nan")
    # Rounding splits one node into values a hair apart: such steps are not the pitch.
    steps = steps[steps > 1e-3 * np.max(steps)]
    # The median of the short steps survives jitter better than the minimum.
    return float(np.median(steps[steps < 1.5 * steps.min()]))
