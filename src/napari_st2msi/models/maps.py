"""Fitted maps from features to ions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import ModelProblem


class Map(Protocol):
    """What all fitted maps are: from features to ions, and kept as values and arrays.

    Their classes have a method ``restore(facts, arrays, features, targets)`` that takes back what `state`
    returned; `napari_st2msi.models.arrays.map_from` finds it.
    """

    def __call__(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (spots, k)."""

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return JSON values, the ``kind`` of map among them, and named arrays."""


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

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return JSON values and named arrays."""
        return {"kind": "linear"}, {"slope": self.slope, "intercept": self.intercept, "alpha": self.alpha}

    @classmethod
    def restore(cls, facts: dict[str, Any], arrays: dict[str, NDArray[Any]], features: int, targets: int) -> Linear:
        """Take back what `state` returned.

        Raises
        ------
        ModelProblem
            The shapes are not (features, targets), or values are missing.
        """
        linear = cls(arrays["slope"], arrays["intercept"], arrays["alpha"])
        if linear.slope.shape != (features, targets) or not len(linear.intercept) == len(linear.alpha) == targets:
            raise ModelProblem(
                f"The model's weights have shape {linear.slope.shape}, but it has {features} features and "
                f"{targets} ions."
            )
        if not np.isfinite(linear.slope).all() or np.isnan(linear.intercept).any():
            raise ModelProblem("The model's weights contain missing values.")
        return linear
