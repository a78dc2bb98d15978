"""A grid of control points whose cubic B-splines blend to a smooth displacement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ControlGrid:
    """Where control points lie.

    Attributes
    ----------
    origin
        (2,) µm, x and y of the first control point.
    spacing
        µm between control points, along both axes.
    shape
        Rows and columns of control points.
    """

    origin: Array
    spacing: float
    shape: tuple[int, int]

    @classmethod
    def over(cls, low: Array, high: Array, spacing: float) -> ControlGrid:
        """Return the grid that covers a box, its middle on that of the box."""
        cells = np.maximum(1, np.ceil((high - low) / spacing - 1e-9)).astype(int)
        origin = (low + high) / 2 - spacing * (cells / 2 + 1)
        return cls(origin, float(spacing), (int(cells[1]) + 3, int(cells[0]) + 3))

    @property
    def count(self) -> int:
        """Number of control points."""
        return self.shape[0] * self.shape[1]

    def basis(self, xy: Array) -> Any:
        """Return the (n, count) sparse weights of control points at (n, 2) points; outside as at the edge."""
        from scipy import sparse

        rows, columns = self.shape
        place = np.clip((xy - self.origin) / self.spacing, 1, np.array([columns, rows]) - 2 - 1e-9)
        knot = np.floor(place).astype(np.int64)
        t = place - knot
        s = 1 - t
        weights = np.stack([s**3, 4 - 6 * t**2 + 3 * t**3, 4 - 6 * s**2 + 3 * s**3, t**3], axis=1) / 6
        near = knot[:, None, :] + np.arange(-1, 3)[None, :, None]
        node = near[:, :, None, 1] * columns + near[:, None, :, 0]
        value = weights[:, :, None, 1] * weights[:, None, :, 0]
        start = np.arange(len(xy) + 1) * 16
        return sparse.csr_array((value.ravel(), node.ravel(), start), shape=(len(xy), self.count))

    def bending(self) -> Any:
        """Return the (count, count) matrix whose quadratic form is the sum of squared second differences."""
        from scipy import sparse

        def differences(n: int, order: int) -> Any:
            values = ([-1.0, 1.0], [1.0, -2.0, 1.0])[order - 1]
            return sparse.diags_array(
                [np.full(n - order, v) for v in values], offsets=list(range(order + 1)), shape=(n - order, n)
            )

        rows, columns = self.shape
        parts = [
            sparse.kron(sparse.eye_array(rows), differences(columns, 2)),
            sparse.kron(differences(rows, 2), sparse.eye_array(columns)),
            np.sqrt(2) * sparse.kron(differences(rows, 1), differences(columns, 1)),
        ]
        return sum(part.T @ part for part in parts).tocsr()

    def through(self, xy: Array, values: Array, smoothing: float = 1e-6) -> Array:
        """Return the (count, 2) coefficients that come nearest to (n, 2) values at points."""
        basis = self.basis(xy)
        normal = (basis.T @ basis + smoothing * self.bending()).toarray()
        normal += 1e-9 * max(float(np.trace(normal)) / self.count, 1e-12) * np.eye(self.count)
        return np.asarray(np.linalg.solve(normal, basis.T @ values))
