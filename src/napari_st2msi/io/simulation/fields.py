"""Smooth random fields that can be asked at any point: cubic B-splines with random coefficients."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

# Standard deviation of a sum of cubic B-splines with coefficients of variance 1, in two dimensions:
# the integral of the squared spline, 151/315, once for each axis, under the root.
_SPREAD = 151 / 315
# A cubic B-spline correlates with itself like a Gaussian whose deviation is this many knot distances.
_LENGTH = np.sqrt(8 / 12)


def stream(seed: int, name: str, section: int = 0) -> np.random.Generator:
    """Return the random numbers for one purpose, which no change elsewhere can shift."""
    return np.random.default_rng([seed, section, zlib.crc32(name.encode())])


@dataclass(frozen=True)
class Fields:
    """Several independent fields of mean 0 and variance 1 over one rectangle.

    Two points at distance d correlate by about exp(-d²/2ℓ²), where ℓ is the length of the fields.

    Attributes
    ----------
    coefficients
        (rows, columns, fields) float64, one a knot.
    origin, step
        Position of the first knot and distance between knots, in µm.
    """

    coefficients: NDArray[np.float64]
    origin: NDArray[np.float64]
    step: float

    @classmethod
    def random(
        cls,
        rng: np.random.Generator,
        low: NDArray[np.float64],
        high: NDArray[np.float64],
        length: float,
        count: int,
    ) -> Fields:
        """Draw fields over the rectangle from `low` to `high` (x, y in µm) with length `length` in µm."""
        step = length / _LENGTH
        columns, rows = np.ceil((high - low) / step).astype(int) + 5
        coefficients = rng.standard_normal((rows, columns, count)) / _SPREAD
        return cls(coefficients, low - 2 * step, step)

    def __call__(self, points: NDArray[np.float64], weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Return the fields at points, or their weighted sums over groups of points.

        Parameters
        ----------
        points
            (n, k, 2) in µm: k points for each of n places. Outside the rectangle the edge continues.
        weights
            (n, k) weight of each point; equal weights that sum to 1 when None.

        Returns
        -------
        (n, fields) float64.
        """
        n, k = points.shape[:2]
        if weights is None:
            weights = np.full((n, k), 1 / k)
        rows, columns, count = self.coefficients.shape
        position = np.clip((points - self.origin) / self.step, 1, np.array([columns, rows]) - 2 - 1e-9)
        knot = np.floor(position).astype(np.int64)
        along_x, along_y = np.moveaxis(_spline_weights(position - knot), 2, 0)  # (n, k, 4) each
        taps = np.arange(-1, 3)
        node = (knot[..., 1, None, None] + taps[:, None]) * columns + knot[..., 0, None, None] + taps
        value = along_y[..., :, None] * along_x[..., None, :] * weights[..., None, None]
        matrix = sparse.csr_array((value.ravel(), node.ravel(), np.arange(n + 1) * (16 * k)), shape=(n, rows * columns))
        return np.asarray(matrix @ self.coefficients.reshape(-1, count))


def _spline_weights(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (..., 4) weights of the knots at -1, 0, 1, 2 for the position t in [0, 1)."""
    s = 1 - t
    return np.stack([s**3, 4 - 6 * t**2 + 3 * t**3, 4 - 6 * s**2 + 3 * s**3, t**3], axis=-1) / 6
