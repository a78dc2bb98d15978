"""Fitted maps made anew from values and flat arrays, as JSON and safetensors keep them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from numpy.typing import NDArray

from napari_st2msi.errors import ModelProblem
from napari_st2msi.models.maps import Map

# kind → module:class, imported when met.
_KINDS = {
    "linear": "maps:Linear",
    "kernel": "kernel:Kernel",
    "chain": "chain:Chain",
    "trees": "trees:Trees",
    "networks": "nets:Networks",
    "stack": "stack:Stacked",
}


def map_from(facts: dict[str, Any], arrays: dict[str, NDArray[Any]], features: int, targets: int) -> Map:
    """Take back what `Map.state` returned.

    Raises
    ------
    ModelProblem
        The arrays are not those of a map from so many features to so many targets.
    """
    if facts["kind"] not in _KINDS:
        raise ModelProblem(f"The model holds a map of an unknown kind, '{facts['kind']}'.")
    module, name = _KINDS[facts["kind"]].split(":")
    kind = getattr(import_module(f"napari_st2msi.models.{module}"), name)
    restored: Map = kind.restore(facts, arrays, features, targets)
    return restored
