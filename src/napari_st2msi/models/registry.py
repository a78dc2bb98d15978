"""Models by name: those of this package, and those that others add by entry point."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points

from napari_st2msi.errors import RecipeProblem
from napari_st2msi.models.base import Predictor
from napari_st2msi.recipe import Recipe

#: Entry-point group in which other packages register subclasses of `Predictor`.
GROUP = "napari_st2msi.models"

# name → module:class, imported when first asked for.
_OWN = {
    "two_stage": "two_stage:TwoStage",
    "ridge": "regression:Ridge",
    "banded_ridge": "regression:BandedRidge",
    "kernel_ridge": "regression:KernelRidge",
    "pls": "regression:PartialLeastSquares",
    "elastic_net": "regression:ElasticNet",
    "lasso": "regression:Lasso",
    "linear": "regression:LeastSquares",
    "trees": "regression:BoostedTrees",
    "stack": "two_stage:Stack",
    "mlp": "mlp:MultilayerPerceptron",
    "gcn": "graph:GraphConvolution",
    "graphsage": "graph:GraphSage",
    "gat": "graph:GraphAttention",
    "cvae": "cvae:ConditionalVariational",
    "transformer": "transformer:Transformer",
    "linear_transformer": "transformer:LinearTransformer",
    "position_genes": "regression:PositionGenes",
    "mean": "baselines:TrainingMean",
    "counts": "baselines:TotalCounts",
    "coordinates": "baselines:Coordinates",
    "position": "baselines:Position",
}
#: The baselines without genes that stand beside every score, in the order of the report.
BASELINES = ("mean", "counts", "coordinates", "position")


def model_names() -> list[str]:
    """Return the names of all models that can be built, baselines last."""
    others = [entry.name for entry in entry_points(group=GROUP) if entry.name not in _OWN]
    return [name for name in _OWN if name not in BASELINES] + sorted(others) + list(BASELINES)


def model_class(name: str) -> type[Predictor]:
    """Return the class of a model.

    Raises
    ------
    RecipeProblem
        There is no such model, or what an entry point names is not a `Predictor`.
    """
    if name in _OWN:
        module, attribute = _OWN[name].split(":")
        found = getattr(import_module(f"napari_st2msi.models.{module}"), attribute)
    else:
        entry = next((entry for entry in entry_points(group=GROUP) if entry.name == name), None)
        if entry is None:
            raise RecipeProblem(f"There is no model '{name}'. Choose one of: {', '.join(model_names())}.")
        found = entry.load()
    if not (isinstance(found, type) and issubclass(found, Predictor)):
        raise RecipeProblem(f"'{name}' is registered as a model but is not a Predictor.")
    return found


def made_by(name: str) -> str:
    """Return the package that another package's model comes from, with its version; empty for those of this one."""
    entry = None if name in _OWN else next((each for each in entry_points(group=GROUP) if each.name == name), None)
    return "" if entry is None or entry.dist is None else f"{entry.dist.name} {entry.dist.version}"


def build(recipe: Recipe) -> Predictor:
    """Return the unfitted model that a recipe names."""
    return model_class(recipe.model.name)(recipe)
