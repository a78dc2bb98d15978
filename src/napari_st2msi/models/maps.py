"""Fitted maps from features to ions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Linear:
    """Linear maps from r features to k ions: ``features @ slope + intercept``.

    Attributes
    ----------
    slope
        (r, k) float64.
    intercept
        (k,) float64.
    alpha
        (k,) the penalty of each ion; infinity where the training mean was the best prediction.
    """

    slope: NDArray[np.float64]
    intercept: NDArray[np.float64]
    alpha: NDArray[np.float64]

    def __call__(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (spots, k)."""
        return features @ self.slope + self.intercept
