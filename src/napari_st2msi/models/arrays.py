"""Fitted maps as values and flat arrays, the way JSON and safetensors want them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import ModelProblem
from napari_st2msi.models.chain import Chain
from napari_st2msi.models.kernel import Kernel
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


def map_state(fitted: Linear | Kernel | Chain) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return any fitted map as JSON values and named arrays."""
    if isinstance(fitted, Kernel):
        arrays = {"landmarks": fitted.landmarks, "whitening": fitted.whitening}
        return {"kind": "kernel", "gamma": fitted.gamma}, arrays | prefixed("linear", linear_arrays(fitted.linear))
    if isinstance(fitted, Chain):
        names = ("order", "before", "weight", "mean")
        arrays = {name: getattr(fitted, name) for name in names}
        return {"kind": "chain"}, arrays | prefixed("linear", linear_arrays(fitted.odds))
    return {"kind": "linear"}, linear_arrays(fitted)


def map_from(
    facts: dict[str, Any], arrays: dict[str, NDArray[Any]], features: int, targets: int
) -> Linear | Kernel | Chain:
    """Take back what `map_state` returned.

    Raises
    ------
    ModelProblem
        The arrays are not those of a map from so many features to so many targets.
    """
    if facts["kind"] == "linear":
        return linear_from(arrays, features, targets)
    if facts["kind"] == "kernel":
        landmarks, whitening = arrays["landmarks"], arrays["whitening"]
        if landmarks.ndim != 2 or landmarks.shape[1] != features or len(whitening) != len(landmarks):
            raise ModelProblem("The model's landmarks do not fit its features.")
        linear = linear_from(part("linear", arrays), whitening.shape[1], targets)
        return Kernel(landmarks, whitening, float(facts["gamma"]), linear)
    if facts["kind"] == "chain":
        order, before, weight, mean = (arrays[name] for name in ("order", "before", "weight", "mean"))
        ions = np.concatenate([order, before.ravel()])
        if (
            before.shape != weight.shape
            or not len(before) == len(mean) == targets
            or (len(ions) and (ions.min() < 0 or ions.max() >= targets))
        ):
            raise ModelProblem("The model's chain does not fit its ions.")
        return Chain(linear_from(part("linear", arrays), features, targets), order, before, weight, mean)
    raise ModelProblem(f"The model holds a map of an unknown kind, '{facts['kind']}'.")
