"""Which settings of a model are worth a search, and between which bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari_st2msi.models.registry import BASELINES, model_class
from napari_st2msi.recipe import Recipe


@dataclass(frozen=True)
class Setting:
    """One setting of a recipe to search over: some values, or a range.

    Attributes
    ----------
    path
        Section and field of the recipe, as ``genes.n_top``.
    values
        The values to try; empty for a range.
    low, high
        Ends of a range, both among what is tried.
    log, whole
        Whether a range is tried on a logarithmic scale, and in whole numbers.
    when
        Another setting and the values of it with which this one matters; None where it always does.
    """

    path: str
    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    when: tuple[str, tuple[Any, ...]] | None = None

    def current(self, recipe: Recipe) -> Any:
        """Return what a recipe says."""
        section, field = self.path.split(".")
        return getattr(getattr(recipe, section), field)

    def matters(self, chosen: dict[str, Any], recipe: Recipe) -> bool:
        """Return whether it makes a difference beside what was chosen before it, or else by the recipe."""
        if self.when is None:
            return True
        path, values = self.when
        return chosen.get(path, Setting(path).current(recipe)) in values


_FEATURES = (
    Setting("genes.n_top", (500, 1000, 2000, 4000), when=("genes.selection", ("variable", "spatial", "signature"))),
    Setting("genes.reduction", ("svd", "none")),
    Setting("genes.n_components", low=16, high=256, log=True, whole=True, when=("genes.reduction", ("svd", "pls"))),
    Setting("genes.neighbourhood", ("none", "rings", "diffusion")),
    Setting("genes.n_rings", low=1, high=3, whole=True, when=("genes.neighbourhood", ("rings",))),
    Setting("genes.n_steps", low=1, high=4, whole=True, when=("genes.neighbourhood", ("diffusion",))),
)
#: Only where there is more than one section.
_SECTIONS = Setting("genes.per_section", (False, True))

_NETWORK = (
    Setting("model.width", (64, 128, 256, 512)),
    Setting("model.depth", low=1, high=4, whole=True),
    Setting("model.dropout", low=0.0, high=0.6),
    Setting("networks.learning_rate", low=1e-4, high=1e-2, log=True),
    Setting("networks.batch", (64, 128, 256)),
)
_TRANSFORMER = (
    Setting("model.n_tokens", (32, 64, 128, 256)),
    Setting("model.head_width", (8, 16, 32)),
    Setting("model.layers", low=1, high=3, whole=True),
    *_NETWORK[2:],
)
_OWN: dict[str, tuple[Setting, ...]] = {
    "two_stage": (
        Setting("model.presence", ("logistic", "svm")),
        Setting("model.intensity", ("ridge", "banded_ridge", "kernel_ridge")),
        Setting("model.combine", ("product", "mask")),
    ),
    "kernel_ridge": (Setting("model.n_landmarks", (500, 1000, 2000)),),
    "pls": (Setting("model.most_components", low=5, high=80, log=True, whole=True),),
    "elastic_net": (Setting("model.l1_ratio", low=0.05, high=1.0),),
    "trees": (
        Setting("model.tree_depth", low=2, high=8, whole=True),
        Setting("model.tree_rate", low=0.02, high=0.3, log=True),
        Setting("model.tree_components", low=8, high=64, log=True, whole=True),
    ),
    "stack": (Setting("model.stack_mlp", (False, True)), Setting("model.n_landmarks", (500, 1000, 2000))),
    **dict.fromkeys(("mlp", "gcn", "graphsage", "gat", "cvae"), _NETWORK),
    **dict.fromkeys(("transformer", "linear_transformer"), _TRANSFORMER),
}


def space_of(recipe: Recipe, n_sections: int = 1) -> tuple[Setting, ...]:
    """Return what to search over for the model of a recipe.

    Every model on genes has what it sees of them searched: how many genes, directions, which neighbourhood,
    and, with several sections, whether each is standardised by itself. Penalties are no part of it: models
    choose them for each ion. Models of other packages name settings of their own in an attribute `space`.

    Parameters
    ----------
    n_sections
        How many sections the training spots are of.
    """
    name = recipe.model.name
    own: tuple[Setting, ...] = _OWN.get(name, getattr(model_class(name), "space", ()))
    if name in BASELINES:
        return own
    features = _FEATURES if recipe.genes.preset == "custom" else ()
    sections = (_SECTIONS,) if n_sections > 1 and recipe.genes.standardise else ()
    return (*features, *sections, *own)
