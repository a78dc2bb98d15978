"""Models of one stage: a regression of every ion, its zeros included."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import ModelProblem
from napari_st2msi.features.position import N_TERMS, frames_of, polynomials
from napari_st2msi.features.spatial import where
from napari_st2msi.models.inputs import Inputs
from napari_st2msi.models.learner import Learner
from napari_st2msi.models.regressors import fit_regression
from napari_st2msi.models.task import Task
from napari_st2msi.paired import PairedDataset
from napari_st2msi.progress import Progress

if TYPE_CHECKING:
    from anndata import AnnData


class Regression(Learner):
    """One regression of intensities; presence is learned by the same one, as a number between 0 and 1."""

    #: Name of the regression: see `napari_st2msi.models.regressors`.
    regression: ClassVar[str]
    stages: ClassVar[tuple[str, ...]] = ("intensity",)

    def _learn(
        self,
        inputs: Inputs,
        values: NDArray[np.float64],
        present: NDArray[np.bool_],
        progress: Progress,
        cancelled: Callable[[], bool],
    ) -> None:
        n, learned = len(values), self.ions_.learnable_
        self.mixed_: NDArray[np.int64] = np.flatnonzero(learned & (self.ions_.n_present_ < n))
        self.share_: NDArray[np.float64] = present.mean(axis=0)
        targets = np.hstack([values, present[:, self.mixed_]])
        task = Task(
            inputs,
            targets,
            np.ones(targets.shape, dtype=bool),
            np.append(learned, np.ones(len(self.mixed_), dtype=bool)),
            self.recipe.model,
            self.recipe.networks,
            progress,
            cancelled,
        )
        self.maps_["intensity"] = fit_regression(self.regression, task)

    def estimate(self, features: NDArray[np.float32]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Return values on the learning scale, and presence as the regression says it, within 0 and 1."""
        together = self.maps_["intensity"](features)
        k = len(self.ions_.var_)
        presence = np.tile(self.share_, (len(features), 1))
        presence[:, self.mixed_] = np.clip(together[:, k:], 0.0, 1.0)
        return together[:, :k], presence

    @property
    def _n_targets(self) -> int:
        return len(self.ions_.var_) + len(self.mixed_)

    def _own_arrays(self) -> dict[str, NDArray[Any]]:
        return {"mixed": self.mixed_, "share": self.share_}

    def _own_restore(self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        self.mixed_, self.share_ = arrays["mixed"], arrays["share"]
        k = len(self.ions_.var_)
        if len(self.share_) != k or (len(self.mixed_) and not 0 <= self.mixed_.min() <= self.mixed_.max() < k):
            raise ModelProblem("The model's shares of presence do not fit its ions.")


class Ridge(Regression):
    """Ridge with a penalty of its own for each ion."""

    name: ClassVar[str] = "ridge"
    regression: ClassVar[str] = "ridge"
    assumes: ClassVar[str] = "Log intensity is linear in the genes of the spot and around it, each adding a little."


class LeastSquares(Regression):
    """Least squares without any penalty."""

    name: ClassVar[str] = "linear"
    regression: ClassVar[str] = "linear"
    assumes: ClassVar[str] = "Log intensity is linear in the genes, and spots are many more than features."


class Lasso(Regression):
    """Linear in few features."""

    name: ClassVar[str] = "lasso"
    regression: ClassVar[str] = "lasso"
    assumes: ClassVar[str] = "Log intensity is linear in few of the features; the others do not matter."


class ElasticNet(Regression):
    """Linear in some features, between lasso and ridge."""

    name: ClassVar[str] = "elastic_net"
    regression: ClassVar[str] = "elastic_net"
    assumes: ClassVar[str] = "Log intensity is linear in some of the features, alike ones together."


class PartialLeastSquares(Regression):
    """Few directions that all ions share."""

    name: ClassVar[str] = "pls"
    regression: ClassVar[str] = "pls"
    assumes: ClassVar[str] = "All ions follow few directions of the genes, which they share."


class KernelRidge(Regression):
    """A smooth function of the features."""

    name: ClassVar[str] = "kernel_ridge"
    regression: ClassVar[str] = "kernel_ridge"
    assumes: ClassVar[str] = "Spots whose genes deviate in the same directions have the same ions, linearly or not."


class BandedRidge(Regression):
    """Ridge that weighs own genes and those around for each ion."""

    name: ClassVar[str] = "banded_ridge"
    regression: ClassVar[str] = "banded_ridge"
    assumes: ClassVar[str] = "Log intensity is linear; how much a spot's surroundings matter differs from ion to ion."


class BoostedTrees(Regression):
    """Gradient-boosted trees."""

    name: ClassVar[str] = "trees"
    regression: ClassVar[str] = "trees"
    assumes: ClassVar[str] = (
        "Ions follow thresholds of few features at a time; between sections only if genes are standardised per section."
    )


class PositionGenes(BandedRidge):
    """Position in the section and genes, each with a penalty of its own.

    Beside the baseline ``position``, which has the same terms and no genes, its score says what genes add.
    """

    name: ClassVar[str] = "position_genes"
    assumes: ClassVar[str] = "Ions form one smooth field, the same in every section, and genes explain what is left."

    def _inputs(self, train: PairedDataset, inputs: Inputs) -> Inputs:
        self.frames_ = frames_of(train.xy, train.sections)
        terms = polynomials(train.xy, train.sections, self.frames_)
        n_genes = inputs.features.shape[1]
        folds = [
            fold if fold.features is None else fold._replace(features=np.hstack([fold.features, terms]))
            for fold in inputs.folds
        ]
        bands = {"genes": slice(0, n_genes), "position": slice(n_genes, n_genes + N_TERMS)}
        return Inputs(np.hstack([inputs.features, terms]), folds, bands)

    def _with_more(self, genes: AnnData, features: NDArray[np.float32]) -> NDArray[np.float32]:
        xy, sections = where(genes)
        # A section seen in training keeps the frame it had there, whatever part of it is asked for.
        terms = polynomials(xy, sections, frames_of(xy, sections) | self.frames_)
        return np.hstack([features, terms.astype(np.float32)])

    @property
    def _n_extra(self) -> int:
        return N_TERMS

    def _own_facts(self) -> dict[str, Any]:
        return {"frames": self.frames_}

    def _own_restore(self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        super()._own_restore(facts, arrays)
        self.frames_ = {str(label): [float(value) for value in box] for label, box in facts["frames"].items()}
