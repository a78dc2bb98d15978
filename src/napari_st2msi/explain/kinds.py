"""Which kind of explainer a model takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from napari_st2msi.errors import ModelProblem
from napari_st2msi.explain.explainer import Explainer, MapExplainer
from napari_st2msi.explain.inputs import Spots
from napari_st2msi.models.base import Predictor
from napari_st2msi.models.graph import GraphLearner
from napari_st2msi.models.learner import Learner

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_st2msi.models.deep.learner import NetworkLearner


def explainer_for(predictor: Predictor, genes: AnnData, spots: Spots = None) -> Explainer:
    """Return what explains a fitted model at some spots.

    Raises
    ------
    ModelProblem
        It uses no genes, or is of a kind that cannot be explained.
    """
    if not predictor.uses_genes:
        raise ModelProblem(f"The model '{predictor.name}' looks at no genes, so genes explain nothing of it.")
    if not isinstance(predictor, Learner):
        raise ModelProblem(f"The model '{predictor.name}' does not say how it uses genes, so it cannot be explained.")
    if isinstance(predictor, GraphLearner):
        from napari_st2msi.explain.graph import GraphExplainer

        return GraphExplainer(predictor, genes, spots)
    if hasattr(predictor, "networks_"):
        from napari_st2msi.explain.networks import NetworkExplainer

        return NetworkExplainer(cast("NetworkLearner", predictor), genes, spots)
    return MapExplainer(predictor, genes, spots)
