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
        (rows, columns) int64: the row of the MSI table measured there, -1 where nothing was. Where pixels
        are bent, several nodes of a finer grid hold the same row.
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
        along_x, along_y = _nodes(xy[:, 0], tolerance), _nodes(xy[:, 1], tolerance)
        if along_x is None or along_y is None:
            return None
        (columns, x0, dx), (rows, y0, dy) = along_x, along_y
        # A single row or column has no pitch of its own: it takes the other one's.
        if np.isnan(dx) or np.isnan(dy):
            dx = dy = 1.0 if np.isnan(dx) and np.isnan(dy) else float(np.nanmax([dx, dy]))
        columns_rows = np.column_stack([columns, rows])
        width, height = columns_rows.max(axis=0) + 1
        if int(width) * int(height) > max(20 * len(xy), 10_000):
            return None
        index = np.full((height, width), -1, dtype=np.int64)
        index[columns_rows[:, 1], columns_rows[:, 0]] = np.arange(len(xy))
        if (index >= 0).sum() != len(xy):
            return None
        to_um = np.array([[dx, 0, x0], [0, dy, y0], [0, 0, 1]], dtype=float)
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
        # -1 is the last of them.
        return np.append(np.asarray(values, dtype=np.float32), np.float32(np.nan))[self.index]

    def moved(self, matrix: NDArray[np.float64]) -> Grid:
        """Return the same grid seen through a (3, 3) affine that acts on µm."""
        return Grid(self.index, matrix @ self.to_um)


def _nodes(values: NDArray[np.float64], tolerance: float) -> tuple[NDArray[np.int64], float, float] | None:
    """Return node numbers, origin and pitch of values that lie on a line of nodes, else None.

    The pitch is NaN when there is one node only.
    """
    distinct, back = np.unique(values, return_inverse=True)
    steps = np.diff(distinct)
    if not len(steps):
        return np.zeros(len(values), dtype=np.int64), float(distinct[0]), float("nan")
    ascending = np.sort(steps)
    # Either every step is a pitch or several, or jitter splits nodes into values a hair apart and
    # the pitch begins above the widest relative gap between steps.
    beyond = int(np.argmax(ascending[1:] / ascending[:-1])) + 1 if len(ascending) > 1 else 0
    for candidate in (ascending[0], ascending[beyond]):
        node = np.concatenate([[0], np.cumsum(np.rint(steps / candidate))])
        if node[-1] == 0 or node[-1] > 1e6:
            continue
        pitch, origin = np.polyfit(node, distinct, 1)
        if np.abs(distinct - (origin + pitch * node)).max() <= tolerance * pitch:
            return node.astype(np.int64)[back], float(origin), float(pitch)
    return None
