"""Predict metabolite images from gene expression, and see how far to believe them.

>>> import napari_st2msi as st2msi
>>> section = st2msi.open_section("section.zarr")        # doctest: +SKIP
>>> paired = st2msi.pair(section)                        # doctest: +SKIP
>>> evaluation = st2msi.evaluate(paired)                 # doctest: +SKIP
>>> model = st2msi.train(paired)                         # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import Any

__version__ = version("napari-st2msi")

# Names are looked up when first used, so that `import napari_st2msi` costs nothing.
_HOME = {
    "Section": "section",
    "Roles": "roles",
    "PairedDataset": "paired",
    "Recipe": "recipe",
    "Progress": "progress",
    "Cancelled": "progress",
    "St2msiError": "errors",
    "open_section": "pipeline",
    "register": "pipeline",
    "propose_registration": "pipeline",
    "apply_registration": "pipeline",
    "pair": "pipeline",
    "evaluate": "pipeline",
    "compare": "evaluation.compare",
    "benchmark": "benchmarking.benchmark",
    "compare_standardisation": "evaluation.batch",
    "spatial_statistics": "evaluation.statistics",
    "local_statistics": "evaluation.statistics",
    "skill_significance": "evaluation.nulls",
    "learnability": "evaluation.learnability",
    "Tiers": "evaluation.tiers",
    "search": "pipeline",
    "train": "pipeline",
    "predict": "pipeline",
    "explain_ion": "pipeline",
    "explain_region": "pipeline",
    "perturb": "pipeline",
    "Change": "explain.perturb",
    "save": "pipeline",
    "load_model": "pipeline",
    "simulate": "pipeline",
    "download": "io.public.download",
    "public_record": "io.public.download",
}

__all__ = sorted([*_HOME, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'napari_st2msi' has no attribute '{name}'")
    return getattr(import_module(f"napari_st2msi.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
