"""Slopes of fitted models between the training mean and spots: what all explanations by genes are made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from napari_st2msi.errors import ModelProblem
from napari_st2msi.explain.attribution import Part
from napari_st2msi.explain.further_ways import has_trees, way
from napari_st2msi.explain.inputs import SpotGenes, Spots
from napari_st2msi.explain.ways import Slopes
from napari_st2msi.models.learner import Learner
from napari_st2msi.models.maps import Linear
from napari_st2msi.models.trees import Trees
from napari_st2msi.models.two_stage import TwoStage
from napari_st2msi.progress import never

if TYPE_CHECKING:
    from anndata import AnnData

# Nodes of the quadrature along the way: sigmoids and kernels are smooth.
_NODES = 16


class Explainer(ABC):
    """A fitted model at some spots.

    Parameters
    ----------
    learner
        A fitted model on the design of genes.
    genes, spots
        Spots × genes of whole sections, and which of the spots are asked for.

    Attributes
    ----------
    inputs
        The genes, as the model sees them.
    features, base
        (n, features) of the spots, and of the same spots with all genes at their training mean.
    """

    def __init__(self, learner: Learner, genes: AnnData, spots: Spots = None) -> None:
        self.learner = learner
        self.inputs = SpotGenes(learner.design_, genes, spots)
        own = genes[self.inputs.asked]
        self.features = learner.features(own, genes)
        self.base = self.inputs.at_mean(self.features)

    @abstractmethod
    def method(self, ion: int, part: Part) -> str:
        """Return the key in `METHODS` of how contributions to an ion are found."""

    @abstractmethod
    def slopes(self, rows: NDArray[np.int64], ion: int, part: Part, cancelled: Callable[[], bool] = never) -> Slopes:
        """Return (rows, features) slopes: times `features` − `base` they are what each feature contributes."""

    def contributions(
        self,
        rows: NDArray[np.int64],
        ion: int,
        part: Part,
        deviations: dict[str, NDArray[np.float32]],
        cancelled: Callable[[], bool] = never,
    ) -> dict[str, NDArray[np.float32]]:
        """Return for each band (rows, genes) what genes bring, from how far they deviate."""
        slopes = self.slopes(rows, ion, part, cancelled)
        return {
            name: deviations[name] * self.inputs.to_genes(name, slopes, columns)
            for name, columns in self.inputs.bands.items()
        }

    def baseline(self, rows: NDArray[np.int64], ion: int, part: Part) -> NDArray[np.floating]:
        """Return (rows,) what contributions are counted from."""
        return self.said(self.base[rows], rows, part)[:, ion]

    def said(
        self, features: NDArray[np.floating], rows: NDArray[np.int64], part: Part = "prediction"
    ) -> NDArray[np.floating]:
        """Return (rows, ions) what the model says, on the learning scale, of features in the place of some rows'."""
        if part != "prediction":
            raise ModelProblem(f"The model '{self.learner.name}' has no stages, so its {part} cannot be told apart.")
        return self.learner.estimate(features)[0]

    def without(
        self,
        rows: NDArray[np.int64],
        deviations: dict[str, NDArray[np.float32]],
        genes: NDArray[np.int64],
        part: Part,
    ) -> NDArray[np.floating]:
        """Return (rows, ions) what the model says with some genes at their training mean, there and around.

        Parameters
        ----------
        deviations
            `SpotGenes.deviations` of the rows.
        genes
            Positions of the genes.
        """
        changes = {name: -values[:, genes] for name, values in deviations.items()}
        return self.said(self.inputs.moved(self.features[rows], changes, genes), rows, part)

    def unit(self, part: Part) -> str:
        """Return the unit of contributions."""
        if part == "presence":
            return "log odds of presence"
        return "log(1 + intensity)" if self.learner.ions_.choices.log1p else "intensity"


class MapExplainer(Explainer):
    """Models that are made of fitted maps: regressions, and two stages of them."""

    def method(self, ion: int, part: Part) -> str:
        """Return whether the prediction is linear in the genes."""
        maps = self.learner.maps_
        if part == "presence":
            return "linear" if isinstance(maps["presence"], Linear) else "integrated_gradients"
        if isinstance(maps["intensity"], Trees):
            return "tree_shap"
        linear = isinstance(maps["intensity"], Linear)
        if part == "prediction" and isinstance(self.learner, TwoStage):
            presence = maps["presence"]
            linear &= isinstance(presence, Linear) and not presence.slope[:, ion].any()
        return "linear" if linear else "integrated_gradients"

    def slopes(self, rows: NDArray[np.int64], ion: int, part: Part, cancelled: Callable[[], bool] = never) -> Slopes:
        """Return the mean of the gradient along the straight way; what a mask decides counts as decided."""
        maps, start, end = self.learner.maps_, self.base[rows], self.features[rows]
        nodes, weights = np.polynomial.legendre.leggauss(_NODES)
        at = (nodes + 1) / 2
        even = np.repeat(weights[:, None] / 2, len(end), axis=1)
        if part == "presence":
            return way(maps["presence"], start, end, ion).slopes(at, even)
        intensity = way(maps["intensity"], start, end, ion)
        if part == "intensity" or not isinstance(self.learner, TwoStage):
            return intensity.slopes(at, even)
        presence = way(maps["presence"], start, end, ion)
        if self.learner.recipe.model.combine == "mask":
            kept = expit(presence.values(np.ones(1))) >= self.learner.threshold_[ion]
            return intensity.slopes(at, even * kept)
        chance = expit(presence.values(at))
        return intensity.slopes(at, even * chance) + presence.slopes(
            at, even * intensity.values(at) * chance * (1 - chance)
        )

    def baseline(self, rows: NDArray[np.int64], ion: int, part: Part) -> NDArray[np.floating]:
        """Return what contributions are counted from: with trees, what these say on average."""
        intensity = self.learner.maps_["intensity"]
        if part == "presence" or isinstance(self.learner, TwoStage) or not has_trees(intensity):
            return super().baseline(rows, ion, part)
        return way(intensity, self.base[rows], self.features[rows], ion).values(np.zeros(1))[0]

    def said(
        self, features: NDArray[np.floating], rows: NDArray[np.int64], part: Part = "prediction"
    ) -> NDArray[np.floating]:
        """Return what the model, or a stage of it, says."""
        if part == "prediction" or (part == "intensity" and "presence" not in self.learner.maps_):
            return self.learner.estimate(features)[0]
        if part not in self.learner.maps_:
            return super().said(features, rows, part)
        return self.learner.maps_[part](features)
