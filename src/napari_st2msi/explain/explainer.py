"""Slopes of fitted models between the training mean and spots: what all explanations by genes are made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from napari_st2msi.errors import ModelProblem
from napari_st2msi.explain.attribution import Part, relative_gap
from napari_st2msi.explain.converge import converged
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


@dataclass(frozen=True)
class Brought:
    """What genes bring to one ion in some spots.

    Attributes
    ----------
    bands
        For each band (spots, genes) contributions, float32.
    along
        (genes,) contributions times how far a gene deviates where it brings them, summed: above 0 where more of a
        gene raises the ion on the whole.
    """

    bands: dict[str, NDArray[np.float32]]
    along: NDArray[np.float64]


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

    @property
    def bands(self) -> list[str]:
        """What contributions are told apart by: the spot itself, rings around it."""
        return list(self.inputs.bands)

    @abstractmethod
    def contributions(
        self, rows: NDArray[np.int64], ions: Sequence[int], part: Part, cancelled: Callable[[], bool] = never
    ) -> Iterator[Brought]:
        """Yield for each of some ions what genes bring to it in some rows."""

    def predicted(self, rows: NDArray[np.int64], part: Part) -> NDArray[np.floating]:
        """Return (rows, ions) what the model says, on the learning scale."""
        return self.said(self.features[rows], part)

    def baseline(self, rows: NDArray[np.int64], ion: int, part: Part) -> NDArray[np.floating]:
        """Return (rows,) what contributions are counted from."""
        return self.said(self.base[rows], part)[:, ion]

    def without(self, rows: NDArray[np.int64], part: Part) -> Callable[[NDArray[np.int64]], NDArray[np.floating]]:
        """Return what takes positions of genes to (rows, ions): said with these at their training mean, all around."""
        deviations = self.inputs.deviations(rows)

        def said(genes: NDArray[np.int64]) -> NDArray[np.floating]:
            changes = {name: -values[:, genes] for name, values in deviations.items()}
            return self.said(self.inputs.moved(self.features[rows], changes, genes), part)

        return said

    def said(self, features: NDArray[np.floating], part: Part = "prediction") -> NDArray[np.floating]:
        """Return (n, ions) what the model says, on the learning scale, of features."""
        self.must_be_whole(part)
        return self.learner.estimate(features)[0]

    def must_be_whole(self, part: Part) -> None:
        """Refuse to explain a stage of a model that has none.

        Raises
        ------
        ModelProblem
            Something else than the prediction is asked for.
        """
        if part != "prediction":
            raise ModelProblem(f"The model '{self.learner.name}' has no stages, so its {part} cannot be told apart.")

    def unit(self, part: Part) -> str:
        """Return the unit of contributions."""
        if part == "presence":
            return "log odds of presence"
        return "log(1 + intensity)" if self.learner.ions_.choices.log1p else "intensity"


class FeatureExplainer(Explainer):
    """Models that say of a spot what its own features tell, which are linear in the genes there and around."""

    @abstractmethod
    def brought(
        self,
        rows: NDArray[np.int64],
        ion: int,
        part: Part,
        deviations: Mapping[str, NDArray[np.float32]],
        cancelled: Callable[[], bool],
    ) -> dict[str, NDArray[np.float32]]:
        """Return for each band (rows, genes) what genes bring, from how far they deviate."""

    def contributions(
        self, rows: NDArray[np.int64], ions: Sequence[int], part: Part, cancelled: Callable[[], bool] = never
    ) -> Iterator[Brought]:
        """Yield for each of some ions what genes bring to it in some rows."""
        deviations = self.inputs.deviations(rows)
        for ion in ions:
            bands = self.brought(rows, ion, part, deviations, cancelled)
            along = np.add.reduce([(bands[name] * deviations[name]).sum(axis=0, dtype=np.float64) for name in bands])
            yield Brought(bands, along)

    def by_features(
        self, slopes: Slopes, deviations: Mapping[str, NDArray[np.float32]]
    ) -> dict[str, NDArray[np.float32]]:
        """Return for each band (rows, genes) what genes bring by features with such slopes."""
        return {
            name: deviations[name] * self.inputs.to_genes(name, slopes, columns)
            for name, columns in self.inputs.bands.items()
        }


class MapExplainer(FeatureExplainer):
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

    def brought(
        self,
        rows: NDArray[np.int64],
        ion: int,
        part: Part,
        deviations: Mapping[str, NDArray[np.float32]],
        cancelled: Callable[[], bool],
    ) -> dict[str, NDArray[np.float32]]:
        """Return for each band (rows, genes) what genes bring."""
        return self.by_features(self._slopes(rows, ion, part), deviations)

    def _slopes(self, rows: NDArray[np.int64], ion: int, part: Part) -> Slopes:
        """Return the mean of the gradient along the straight way; what a mask decides counts as decided."""
        value, slopes = self._ways(rows, ion, part)
        near, far = value(np.array([0.0, 1.0]))
        difference = self.features[rows] - self.base[rows]

        def integral(n_nodes: int) -> Slopes:
            nodes, weights = np.polynomial.legendre.leggauss(n_nodes)
            return slopes((nodes + 1) / 2, np.repeat(weights[:, None] / 2, len(rows), axis=1))

        return converged(integral, lambda found: relative_gap(far - near - found.along(difference), far - near))

    def _ways(
        self, rows: NDArray[np.int64], ion: int, part: Part
    ) -> tuple[
        Callable[[NDArray[np.float64]], NDArray[np.float64]],
        Callable[[NDArray[np.float64], NDArray[np.float64]], Slopes],
    ]:
        """Return the values and the slopes of a `Way`, which may be one of two stages together."""
        maps, start, end = self.learner.maps_, self.base[rows], self.features[rows]
        if part == "presence":
            presence = way(maps["presence"], start, end, ion)
            return presence.values, presence.slopes
        intensity = way(maps["intensity"], start, end, ion)
        if part == "intensity" or not isinstance(self.learner, TwoStage):
            return intensity.values, intensity.slopes
        presence = way(maps["presence"], start, end, ion)
        if self.learner.recipe.model.combine == "mask":
            kept = expit(presence.values(np.ones(1))) >= self.learner.threshold_[ion]
            return (
                lambda at: kept * intensity.values(at),
                lambda at, weights: intensity.slopes(at, weights * kept),
            )

        def slopes(at: NDArray[np.float64], weights: NDArray[np.float64]) -> Slopes:
            chance = expit(presence.values(at))
            return intensity.slopes(at, weights * chance) + presence.slopes(
                at, weights * intensity.values(at) * chance * (1 - chance)
            )

        return lambda at: expit(presence.values(at)) * intensity.values(at), slopes

    def baseline(self, rows: NDArray[np.int64], ion: int, part: Part) -> NDArray[np.floating]:
        """Return what contributions are counted from: with trees, what these say on average."""
        intensity = self.learner.maps_["intensity"]
        if part == "presence" or isinstance(self.learner, TwoStage) or not has_trees(intensity):
            return super().baseline(rows, ion, part)
        return way(intensity, self.base[rows], self.features[rows], ion).values(np.zeros(1))[0]

    def said(self, features: NDArray[np.floating], part: Part = "prediction") -> NDArray[np.floating]:
        """Return what the model, or a stage of it, says."""
        if part == "prediction" or (part == "intensity" and "presence" not in self.learner.maps_):
            return self.learner.estimate(features)[0]
        if part not in self.learner.maps_:
            self.must_be_whole(part)
        return self.learner.maps_[part](features)
