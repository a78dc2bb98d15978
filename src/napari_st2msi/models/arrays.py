"""Nested state of a model as flat names, the way safetensors wants them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import ModelProblem
from napari_st2msi.models.maps import Linear


def prefixed(name: str, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the arrays with names ``name.key``."""
    return {f"{name}.{key}": values for key, values in arrays.items()}


def part(name: str, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the arrays named ``name.key``, by their key."""
    return {key.removeprefix(f"{name}."): values for key, values in arrays.items() if key.startswith(f"{name}.")}


def linear_arrays(linear: Linear) -> dict[str, NDArray[Any]]:
    """Return the arrays of a linear map."""
    return {"slope": linear.slope, "intercept": linear.intercept, "alpha": linear.alpha}


def linear_from(arrays: dict[str, NDArray[Any]], features: int, targets: int) -> Linear:
    """Take back what `linear_arrays` returned.

    Raises
    ------
    ModelProblem
        The shapes are not (features, targets).
    """
    linear = Linear(arrays["slope"], arrays["intercept"], arrays["alpha"])
    if linear.slope.shape != (features, targets) or not len(linear.intercept) == len(linear.alpha) == targets:
        raise ModelProblem(
            f"The model's weights have shape {linear.slope.shape}, but it has {features} features and {targets} ions."
        )
    if not np.isfinite(linear.slope).all() or np.isnan(linear.intercept).any():
        raise ModelProblem("The model's weights contain missing values.")
    return linear
