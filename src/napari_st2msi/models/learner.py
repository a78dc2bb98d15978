"""What all models on the design of genes share: fitting features and scales, keeping and restoring them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import ModelProblem
from napari_st2msi.features.arrays import part, prefixed
from napari_st2msi.features.design import Design
from napari_st2msi.features.ions import IonScale
from napari_st2msi.models.arrays import map_from
from napari_st2msi.models.banded import shares_explained
from napari_st2msi.models.base import Predictor, prediction
from napari_st2msi.models.inputs import Inputs, inputs_of
from napari_st2msi.models.maps import Linear, Map
from napari_st2msi.paired import PairedDataset
from napari_st2msi.progress import Progress, never
from napari_st2msi.recipe import Genes

if TYPE_CHECKING:
    from anndata import AnnData

LEAST_SPOTS = 10
_ROWS = 4096

#: Rows, values on the learning scale (rows, ions), and probabilities of presence (rows, ions).
Estimates = tuple[slice, NDArray[np.floating], NDArray[np.floating]]


def pieces(n: int, step: int = _ROWS) -> Iterator[slice]:
    """Yield slices that cover so many spots, each few enough for the memory: `step` of them, or one."""
    step = max(step, 1)
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


class Learner(Predictor):
    """A predictor that learns maps from the features of a design.

    Attributes
    ----------
    design_, ions_
        The fitted features and scales.
    maps_
        The fitted maps from features, by name.
    shares_
        For each band of features (ions,) which share of the prediction's variance it brings, where the
        map is linear: see `napari_st2msi.models.banded.shares_explained`.
    """

    #: Names of the maps that a subclass fits.
    stages: ClassVar[tuple[str, ...]]

    def fit(
        self,
        train: PairedDataset,
        *,
        context: AnnData | None = None,
        validation: PairedDataset | None = None,
        progress: Progress = Progress(),
        cancelled: Callable[[], bool] = never,
    ) -> Self:
        """Fit on training spots, in the order of their names, so that another order changes nothing.

        `validation` is not needed and not looked at.
        """
        if len(train) < LEAST_SPOTS:
            raise ModelProblem(
                f"A model needs at least {LEAST_SPOTS} spots with genes and ions, and here are {len(train)}."
            )
        progress(0.0, "genes")
        train = train.select(np.argsort(train.genes.obs_names.to_numpy().astype(str), kind="stable"))
        self.ions_ = IonScale(self.recipe.ions).fit(train.ions)
        values = self.ions_.forward(train.ions)
        self.design_ = Design(self._gene_choices)
        found = inputs_of(self.design_, train, values, context, cancelled, self.recipe.networks)
        inputs = self._inputs(train, found)
        self.maps_: dict[str, Map] = {}
        self._learn(inputs, values, self.ions_.present(train.ions), progress.part(0.05, 1.0), cancelled)
        intensity = self.maps_.get("intensity")
        self.shares_: dict[str, NDArray[np.float64]] = {}
        if isinstance(intensity, Linear):
            k = len(self.ions_.var_)
            linear = Linear(intensity.slope[:, :k], intensity.intercept[:k], intensity.alpha[:k])
            self.shares_ = shares_explained(linear, inputs.features, inputs.bands)
        return self

    def predict(self, genes: AnnData, *, context: AnnData | None = None) -> AnnData:
        """Predict; layer `presence` holds the probability that an ion is present.

        Columns ``share_own``, ``share_ring1``, … of `var` say how much each band of features contributes.
        """
        shape = (genes.n_obs, len(self.ions_.var_))
        mean, presence = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
        for rows, values, chances in self._estimates(genes, context):
            mean[rows], presence[rows] = self.ions_.inverse(values), chances
        table = prediction(
            mean,
            genes,
            self.ions_.var_,
            layers={"presence": presence},
            model=self.name,
            share_genes_matched=self.design_.share_matched(genes),
        )
        for band, share in self.shares_.items():
            table.var[f"share_{band}"] = share
        return table

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return everything fitted as JSON values and named arrays."""
        facts: dict[str, Any] = {"own": self._own_facts()}
        arrays: dict[str, NDArray[Any]] = prefixed("shares", dict(self.shares_)) | prefixed("own", self._own_arrays())
        for name, piece in (("design", self.design_), ("ions", self.ions_)):
            facts[name], own = piece.state()
            arrays |= prefixed(name, own)
        for name, fitted in self.maps_.items():
            facts[name], own = fitted.state()
            arrays |= prefixed(name, own)
        return facts, arrays

    def restore(self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        self.design_ = Design().restore(facts["design"], part("design", arrays))
        self.ions_ = IonScale().restore(facts["ions"], part("ions", arrays))
        self.shares_ = part("shares", arrays)
        self._own_restore(facts["own"], part("own", arrays))
        n_features = sum(self.design_.widths_.values()) + self._n_extra
        self.maps_ = {
            name: map_from(facts[name], part(name, arrays), n_features, self._n_targets) for name in self.stages
        }
        return self

    def features(self, genes: AnnData, context: AnnData | None) -> NDArray[np.float32]:
        """Return (spots, features) of the spots asked for, which `estimate` takes."""
        return self._with_more(genes, self.design_.transform(genes, context))

    @abstractmethod
    def estimate(self, features: NDArray[np.float32]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Return (n, ions) values on the learning scale, and probabilities of presence, from `features`."""

    @abstractmethod
    def _learn(
        self,
        inputs: Inputs,
        values: NDArray[np.float64],
        present: NDArray[np.bool_],
        progress: Progress,
        cancelled: Callable[[], bool],
    ) -> None:
        """Fit `maps_` to values on the learning scale (n, ions) and presence (n, ions)."""

    def _estimates(self, genes: AnnData, context: AnnData | None) -> Iterator[Estimates]:
        """Yield rows of the spots asked for, and what `estimate` says of them, a piece at a time."""
        features = self.features(genes, context)
        for rows in pieces(genes.n_obs):
            yield rows, *self.estimate(features[rows])

    @property
    def _n_targets(self) -> int:
        return len(self.ions_.var_)

    # What a subclass changes in the design, adds to its features, and to what is kept.

    @property
    def _gene_choices(self) -> Genes:
        return self.recipe.genes

    @property
    def _n_extra(self) -> int:
        return 0

    def _inputs(self, train: PairedDataset, inputs: Inputs) -> Inputs:
        return inputs

    def _with_more(self, genes: AnnData, features: NDArray[np.float32]) -> NDArray[np.float32]:
        return features

    def _own_facts(self) -> dict[str, Any]:
        return {}

    def _own_arrays(self) -> dict[str, NDArray[Any]]:
        return {}

    def _own_restore(self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        return None
