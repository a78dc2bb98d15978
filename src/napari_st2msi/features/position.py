"""Position as features: smooth functions of where a spot lies in the bounding box of its section."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Degree of the polynomials, and how many there are without the constant.
DEGREE = 6
N_TERMS = (DEGREE + 1) * (DEGREE + 2) // 2 - 1


def frames_of(xy: NDArray[np.float64], sections: NDArray[Any]) -> dict[str, list[float]]:
    """Return the bounding box of each section: centre x and y, half width and half height in µm."""
    frames = {}
    for label in np.unique(sections):
        own = xy[sections == label]
        low, high = own.min(axis=0), own.max(axis=0)
        half = np.where(high > low, (high - low) / 2, 1.0)
        frames[str(label)] = [*map(float, (low + high) / 2), *map(float, half)]
    return frames


def polynomials(xy: NDArray[np.float64], sections: NDArray[Any], frames: dict[str, list[float]]) -> NDArray[np.float64]:
    """Return (n, 27) Legendre polynomials of the position in its frame, up to degree 6, without the constant."""
    box = np.array([frames[str(label)] for label in sections]).reshape(-1, 4)
    # Beyond the frame a polynomial explodes: spots there count as on its edge.
    unit = np.clip((xy - box[:, :2]) / box[:, 2:], -1.0, 1.0)
    x, y = (np.polynomial.legendre.legvander(unit[:, axis], DEGREE) for axis in (0, 1))
    pairs = [(i, j) for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i) if i + j]
    return np.column_stack([x[:, i] * y[:, j] for i, j in pairs])
