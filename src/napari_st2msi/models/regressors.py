"""Regressions by name: what the second stage of a two-stage model, or a model of one stage, may be."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from napari_st2msi.models.maps import Map
from napari_st2msi.models.task import Task

# name → module:function, imported when first asked for.
_FITS = {
    "linear": "sparse:fit_linear",
    "lasso": "sparse:fit_lasso",
    "elastic_net": "sparse:fit_elastic_net",
    "pls": "components:fit_pls",
    "kernel_ridge": "kernel:fit_kernel",
    "banded_ridge": "banded:fit_banded",
    "trees": "trees:fit_trees",
    "mlp": "nets:fit_networks",
    "stack": "stack:fit_stack",
}


def fit_regression(name: str, task: Task) -> Map:
    """Fit the regression of a name: ``ridge``, ``linear``, ``lasso``, ``elastic_net``, ``pls`` and so on."""
    if name == "ridge":
        return task.ridge()
    module, function = _FITS[name].split(":")
    fit: Callable[[Task], Map] = getattr(import_module(f"napari_st2msi.models.{module}"), function)
    return fit(task)
