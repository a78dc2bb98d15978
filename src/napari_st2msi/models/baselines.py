"""What can be predicted without genes: the yardsticks that stand beside every score."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import ModelProblem
from napari_st2msi.features.arrays import part, prefixed
from napari_st2msi.features.ions import IonScale
from napari_st2msi.features.position import N_TERMS, frames_of, polynomials
from napari_st2msi.features.spatial import where
from napari_st2msi.models.base import Predictor, prediction
from napari_st2msi.models.choose import least_flexible
from napari_st2msi.models.inner import block_folds, choosing_folds
from napari_st2msi.models.maps import Linear
from napari_st2msi.models.ridge import fit_ridge
from napari_st2msi.paired import PairedDataset
from napari_st2msi.progress import Progress, check, never

if TYPE_CHECKING:
    from anndata import AnnData

_WHOLE_SECTION = 2**31
_NEIGHBOURS = (4, 8, 16, 32, 64, 128, _WHOLE_SECTION)


class _Baseline(Predictor):
    """Intensity and presence of every ion learned side by side, as numbers, by one simple rule."""

    uses_genes: ClassVar[bool] = False

    def fit(
        self,
        train: PairedDataset,
        *,
        context: AnnData | None = None,
        validation: PairedDataset | None = None,
        progress: Progress = Progress(),
        cancelled: Callable[[], bool] = never,
    ) -> Self:
        """Fit on training spots; `context` and `validation` are not needed and not looked at."""
        if len(train) == 0:
            raise ModelProblem("There are no spots to learn from.")
        check(cancelled)
        self.ions_ = IonScale(self.recipe.ions).fit(train.ions)
        targets = np.hstack([self.ions_.forward(train.ions), self.ions_.present(train.ions)])
        self._learn(train, targets, cancelled)
        progress(1.0, self.name)
        return self

    def predict(self, genes: AnnData, *, context: AnnData | None = None) -> AnnData:
        """Predict; layer `presence` holds the expected presence, between 0 and 1."""
        together = self._estimate(genes)
        k = len(self.ions_.var_)
        return prediction(
            self.ions_.inverse(together[:, :k]),
            genes,
            self.ions_.var_,
            layers={"presence": np.clip(together[:, k:], 0.0, 1.0)},
            model=self.name,
        )

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return everything fitted as JSON values and named arrays."""
        facts, arrays = self.ions_.state()
        own_facts, own_arrays = self._own_state()
        return {"ions": facts, "own": own_facts}, prefixed("ions", arrays) | prefixed("own", own_arrays)

    def restore(self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        self.ions_ = IonScale().restore(facts["ions"], part("ions", arrays))
        self._own_restore(facts["own"], part("own", arrays))
        return self

    @property
    def _n_targets(self) -> int:
        return 2 * len(self.ions_.var_)

    @abstractmethod
    def _learn(self, train: PairedDataset, targets: NDArray[np.float64], cancelled: Callable[[], bool]) -> None: ...

    @abstractmethod
    def _estimate(self, genes: AnnData) -> NDArray[np.float64]: ...

    @abstractmethod
    def _own_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]: ...

    @abstractmethod
    def _own_restore(self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None: ...


class TrainingMean(_Baseline):
    """The mean of the training spots, everywhere. Its R² is 0 by definition."""

    name: ClassVar[str] = "mean"
    assumes: ClassVar[str] = "Every spot is like the average training spot."

    def _learn(self, train: PairedDataset, targets: NDArray[np.float64], cancelled: Callable[[], bool]) -> None:
        self.mean_ = targets.mean(axis=0)

    def _estimate(self, genes: AnnData) -> NDArray[np.float64]:
        return np.tile(self.mean_, (genes.n_obs, 1))

    def _own_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        return {}, {"mean": self.mean_}

    def _own_restore(self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        self.mean_ = arrays["mean"]
        if self.mean_.shape != (self._n_targets,):
            raise ModelProblem("The model's means do not fit its ions.")


class TotalCounts(_Baseline):
    """Ridge on two numbers a spot: log total counts and log number of genes seen."""

    name: ClassVar[str] = "counts"
    assumes: ClassVar[str] = "Ions follow how much was captured at a spot, whatever the genes."

    def _learn(self, train: PairedDataset, targets: NDArray[np.float64], cancelled: Callable[[], bool]) -> None:
        totals = _totals(train.genes)
        self.centre_, deviation = totals.mean(axis=0), totals.std(axis=0)
        self.deviation_ = np.where(deviation > 1e-12, deviation, 1.0)
        alphas = np.geomspace(*self.recipe.model.alphas, self.recipe.model.n_alphas)
        scaled = (totals - self.centre_) / self.deviation_
        self.linear_ = fit_ridge(scaled, targets, alphas, choosing_folds(train), cancelled=cancelled)

    def _estimate(self, genes: AnnData) -> NDArray[np.float64]:
        return self.linear_((_totals(genes) - self.centre_) / self.deviation_)

    def _own_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        return {}, {"centre": self.centre_, "deviation": self.deviation_, **self.linear_.state()[1]}

    def _own_restore(self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        self.centre_, self.deviation_ = arrays["centre"], arrays["deviation"]
        self.linear_ = Linear.restore({}, arrays, 2, self._n_targets)


class Position(_Baseline):
    """A smooth field over the section: a polynomial of the position within its bounding box.

    Learned on all training sections together, it says what position alone gives in a section that
    was never measured.
    """

    name: ClassVar[str] = "position"
    assumes: ClassVar[str] = "Ions form one smooth field that is the same in every section."

    def _learn(self, train: PairedDataset, targets: NDArray[np.float64], cancelled: Callable[[], bool]) -> None:
        self.frames_ = frames_of(train.xy, train.sections)
        alphas = np.geomspace(*self.recipe.model.alphas, self.recipe.model.n_alphas)
        terms = polynomials(train.xy, train.sections, self.frames_)
        self.linear_ = fit_ridge(terms, targets, alphas, choosing_folds(train), cancelled=cancelled)

    def _estimate(self, genes: AnnData) -> NDArray[np.float64]:
        xy, sections = where(genes)
        # A section seen in training keeps the frame it had there, whatever part of it is asked for.
        frames = frames_of(xy, sections) | self.frames_
        return self.linear_(polynomials(xy, sections, frames))

    def _own_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        return {"frames": self.frames_}, self.linear_.state()[1]

    def _own_restore(self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        self.frames_ = {str(label): [float(value) for value in box] for label, box in facts["frames"].items()}
        self.linear_ = Linear.restore({}, arrays, N_TERMS, self._n_targets)


class Coordinates(_Baseline):
    """The mean of the nearest training spots of the same section, without looking at a gene.

    How many neighbours count, up to all of the section, is chosen for each ion on blocks inside the
    training spots. A spot in a section without training spots gets the training mean.
    """

    name: ClassVar[str] = "coordinates"
    assumes: ClassVar[str] = "Spots are like their neighbours in the same section."

    def _learn(self, train: PairedDataset, targets: NDArray[np.float64], cancelled: Callable[[], bool]) -> None:
        self.xy_, self.sections_, self.targets_ = train.xy, train.sections, targets
        self.mean_ = targets.mean(axis=0)
        folds = block_folds(train)
        errors = np.zeros((len(folds), len(_NEIGHBOURS) + 1, targets.shape[1]))
        for number, (fit, held, *_) in enumerate(folds):
            check(cancelled)
            seen = (train.xy[fit], train.sections[fit], targets[fit], targets[fit].mean(axis=0))
            for candidate, k in enumerate((*_NEIGHBOURS, 0)):
                near = _neighbour_mean(train.xy[held], train.sections[held], *seen, k)
                errors[number, candidate] = ((near - targets[held]) ** 2).sum(axis=0)
        # 0 neighbours stand for the training mean.
        self.k_ = np.array([*_NEIGHBOURS, 0])[least_flexible(errors)]

    def _estimate(self, genes: AnnData) -> NDArray[np.float64]:
        xy, sections = where(genes)
        estimate = np.empty((genes.n_obs, self._n_targets))
        for k in np.unique(self.k_):
            chosen = self.k_ == k
            seen = (self.xy_, self.sections_, self.targets_[:, chosen], self.mean_[chosen])
            estimate[:, chosen] = _neighbour_mean(xy, sections, *seen, int(k))
        return estimate

    def _own_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        arrays = {"xy": self.xy_, "targets": self.targets_, "mean": self.mean_, "k": self.k_}
        return {"sections": self.sections_.tolist()}, arrays

    def _own_restore(self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        self.xy_, self.targets_ = arrays["xy"], arrays["targets"]
        self.mean_, self.k_ = arrays["mean"], arrays["k"]
        self.sections_ = np.array(facts["sections"], dtype=object)
        if self.xy_.shape != (len(self.sections_), 2) or self.targets_.shape != (len(self.xy_), self._n_targets):
            raise ModelProblem("The model's positions, sections and ions differ in number.")
        if not len(self.mean_) == len(self.k_) == self._n_targets:
            raise ModelProblem("The model's neighbours do not fit its ions.")


def _totals(genes: AnnData) -> NDArray[np.float64]:
    """Return (n, 2): log total counts and log number of genes seen."""
    totals = np.asarray(genes.X.sum(axis=1), dtype=float).ravel()
    seen = np.asarray((genes.X > 0).sum(axis=1), dtype=float).ravel()
    return np.log1p(np.column_stack([totals, seen]))


def _neighbour_mean(
    xy: NDArray[np.float64],
    sections: NDArray[Any],
    seen_xy: NDArray[np.float64],
    seen_sections: NDArray[Any],
    values: NDArray[np.float64],
    mean: NDArray[np.float64],
    k: int,
) -> NDArray[np.float64]:
    """Return (n, targets): the mean over the k nearest seen spots of the same section, else `mean`."""
    from scipy.sparse import csr_array
    from scipy.spatial import cKDTree

    estimate = np.tile(mean, (len(xy), 1))
    if k == 0:
        return estimate
    for label in np.unique(sections):
        asked, own = np.flatnonzero(sections == label), np.flatnonzero(seen_sections == label)
        if not len(own):
            continue
        if k >= len(own):
            estimate[asked] = values[own].mean(axis=0)
            continue
        nearest = cKDTree(seen_xy[own]).query(xy[asked], k=[*range(1, k + 1)])[1]
        weights = csr_array(
            (np.full(nearest.size, 1 / k), own[nearest].ravel(), np.arange(0, nearest.size + 1, k)),
            shape=(len(asked), len(values)),
        )
        estimate[asked] = weights @ values
    return estimate
