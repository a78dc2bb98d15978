"""The multilayer perceptron on the features of the design."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from napari_st2msi.errors import ModelProblem
from napari_st2msi.models.arrays import part, prefixed
from napari_st2msi.models.inner import InnerFold
from napari_st2msi.models.inputs import Inputs
from napari_st2msi.models.learner import Learner
from napari_st2msi.paired import PairedDataset
from napari_st2msi.progress import Progress, check, never

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_st2msi.models.deep.loop import Epoch
    from napari_st2msi.models.deep.perceptron import Perceptron

_TINY = 1e-9
# Of few spots smaller minibatches: a network needs steps.
_LEAST_STEPS = 12
_ARRAYS = ("columns", "mixed", "partly", "share", "mean", "spread", "centre", "trust", "trust_presence")


class MultilayerPerceptron(Learner):
    """Intensity and presence of all ions from one network, averaged over a few of them.

    Each network learns from the spots of an inner fold and stops by the blocks of tissue held out there.
    Its features are centred and brought to a common scale, directions keeping their share of the
    variance. What the networks say of blocks they did not learn from gives each ion a factor between 0
    and 1, by which predictions are drawn to the mean: 0 where the networks learned nothing.

    With the reduction ``pls`` the directions know the ions of the blocks held out, and stopping and factors
    are too hopeful.

    Attributes
    ----------
    checkpoints
        A folder to keep a checkpoint of each network in, to go on from; None keeps none. Set it before `fit`.
    told
        Called with the number of the network, from 1, and each `napari_st2msi.models.deep.loop.Epoch`, for live
        curves.
    keep_best
        Whether a fit that the user stops keeps the best epoch so far instead of raising `Cancelled`.
    curves_
        The epochs of every network.
    """

    name: ClassVar[str] = "mlp"
    assumes: ClassVar[str] = (
        "Ions follow the genes of the spot and around it, also where genes act together; many spots tell how."
    )
    stages: ClassVar[tuple[str, ...]] = ()
    checkpoints: Path | None = None
    told: Callable[[int, Epoch], None] | None = None
    keep_best: bool = False

    def fit(
        self,
        train: PairedDataset,
        *,
        context: AnnData | None = None,
        validation: PairedDataset | None = None,
        progress: Progress = Progress(),
        cancelled: Callable[[], bool] = never,
    ) -> Self:
        """Fit on training spots, in the order of their names, so that another order changes nothing."""
        order = np.argsort(train.genes.obs_names.to_numpy().astype(str), kind="stable")
        return super().fit(train.select(order), context=context, progress=progress, cancelled=cancelled)

    def _learn(
        self,
        inputs: Inputs,
        values: NDArray[np.float64],
        present: NDArray[np.bool_],
        progress: Progress,
        cancelled: Callable[[], bool],
    ) -> None:
        learned = self.ions_.learnable_
        few_absent = len(present) - self.ions_.n_present_ < self.recipe.ions.min_spots
        self.share_: NDArray[np.float64] = present.mean(axis=0)
        counts = present | few_absent
        self.columns_: NDArray[np.int64] = np.flatnonzero(learned)
        self.mixed_: NDArray[np.int64] = np.flatnonzero(learned & ~few_absent)
        self.partly_: NDArray[np.bool_] = ~few_absent
        number = np.maximum(counts.sum(axis=0), 1)
        self.mean_: NDArray[np.float64] = np.where(counts, values, 0.0).sum(axis=0) / number
        spread = np.sqrt((counts * (values - self.mean_) ** 2).sum(axis=0) / number)
        self.spread_: NDArray[np.float64] = np.where(spread > _TINY, spread, 1.0)
        self.centre_: NDArray[np.float64] = inputs.features.mean(axis=0)
        self.scale_ = float(np.sqrt(inputs.features.var(axis=0).sum() / max(np.sqrt(inputs.features.shape[1]), 1)))
        self.scale_ = max(self.scale_, _TINY)
        self.networks_: list[Perceptron] = []
        self.curves_: list[tuple[Epoch, ...]] = []
        targets = (values - self.mean_) / self.spread_
        folds = inputs.folds[: self.recipe.model.ensemble] if len(self.columns_) else []
        self._train(inputs.features, targets, counts, present, folds, progress, cancelled)
        self._shrink(inputs.features, targets, counts, present, folds[: len(self.networks_)])

    def _train(
        self,
        features: NDArray[np.float64],
        targets: NDArray[np.float64],
        counts: NDArray[np.bool_],
        present: NDArray[np.bool_],
        folds: Sequence[InnerFold],
        progress: Progress,
        cancelled: Callable[[], bool],
    ) -> None:
        import torch

        from napari_st2msi.models.deep.loop import Schedule, seeded, train
        from napari_st2msi.models.deep.perceptron import intensity_and_presence

        choices = self.recipe.networks
        own = counts[:, self.columns_]
        arrays = {
            "features": self._scaled(features),
            "intensity": np.where(own, targets[:, self.columns_], 0.0),
            "counts": own,
            "present": present[:, self.mixed_],
            "n_counts": own.sum() / len(own),
        }
        data = {name: torch.from_numpy(np.asarray(array, dtype=np.float32)) for name, array in arrays.items()}
        for number, fold in enumerate(folds, 1):
            with seeded(choices.seed, number):
                network = self._network(features.shape[1])
            done = train(
                network,
                data,
                intensity_and_presence,
                fold.fit,
                fold.held,
                Schedule(
                    epochs=choices.epochs,
                    patience=choices.patience,
                    batch=min(choices.batch, max(len(fold.fit) // _LEAST_STEPS, 8)),
                    learning_rate=choices.learning_rate,
                    seed=choices.seed + number,
                    device=choices.device,
                    precision=choices.precision,
                ),
                checkpoint=None if self.checkpoints is None else self.checkpoints / f"network{number}.safetensors",
                told=partial(self._tell, number),
                progress=progress.part((number - 1) / len(folds), number / len(folds)),
                cancelled=cancelled,
            )
            self.networks_.append(done.network)
            self.curves_.append(done.epochs)
            if done.stopped == "cancelled":
                if not self.keep_best:
                    check(cancelled)
                break

    def _tell(self, number: int, epoch: Epoch) -> None:
        if self.told is not None:
            self.told(number, epoch)

    def _shrink(
        self,
        features: NDArray[np.float64],
        targets: NDArray[np.float64],
        counts: NDArray[np.bool_],
        present: NDArray[np.bool_],
        folds: Sequence[InnerFold],
    ) -> None:
        """Find how far predictions of each ion are to be believed, by spots that a network did not learn from."""
        k, m = len(self.columns_), len(self.mixed_)
        along, square, along_odds, square_odds = np.zeros(k), np.zeros(k), np.zeros(m), np.zeros(m)
        for network, fold in zip(self.networks_, folds, strict=True):
            guess, chance = _ask([network], self._scaled(features[fold.held]))
            counted = counts[np.ix_(fold.held, self.columns_)]
            along += (counted * guess * targets[np.ix_(fold.held, self.columns_)]).sum(axis=0)
            square += (counted * guess**2).sum(axis=0)
            chance = chance - self.share_[self.mixed_]
            along_odds += (chance * (present[np.ix_(fold.held, self.mixed_)] - self.share_[self.mixed_])).sum(axis=0)
            square_odds += (chance**2).sum(axis=0)
        self.trust_: NDArray[np.float64] = np.clip(along / np.maximum(square, _TINY), 0.0, 1.0)
        self.trust_presence_: NDArray[np.float64] = np.clip(along_odds / np.maximum(square_odds, _TINY), 0.0, 1.0)

    def _estimate(self, features: NDArray[np.float32]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        intensity = np.tile(self.mean_, (len(features), 1))
        presence = np.tile(self.share_, (len(features), 1))
        if self.networks_:
            guess, chance = _ask(self.networks_, self._scaled(features))
            intensity[:, self.columns_] += self.trust_ * guess * self.spread_[self.columns_]
            base = self.share_[self.mixed_]
            presence[:, self.mixed_] = base + self.trust_presence_ * (chance - base)
        # Of ions that are in nearly all spots the few zeros were learned as intensities.
        intensity[:, self.partly_] *= presence[:, self.partly_]
        return intensity, presence

    def _scaled(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        scaled: NDArray[np.float32] = ((features - self.centre_) / self.scale_).astype(np.float32)
        return scaled

    def _network(self, n_features: int) -> Perceptron:
        from napari_st2msi.models.deep.perceptron import Perceptron

        choices = self.recipe.model
        return Perceptron(
            n_features,
            len(self.columns_),
            len(self.mixed_),
            width=choices.width,
            depth=choices.depth,
            dropout=choices.dropout,
        )

    def _own_facts(self) -> dict[str, Any]:
        return {"networks": len(self.networks_), "scale": self.scale_}

    def _own_arrays(self) -> dict[str, NDArray[Any]]:
        arrays: dict[str, NDArray[Any]] = {name: getattr(self, f"{name}_") for name in _ARRAYS}
        for number, network in enumerate(self.networks_, 1):
            arrays |= prefixed(
                f"network{number}", {name: value.numpy() for name, value in network.state_dict().items()}
            )
        return arrays

    def _own_restore(self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        import torch

        for name in _ARRAYS:
            setattr(self, f"{name}_", arrays[name])
        self.scale_, self.curves_ = float(facts["scale"]), []
        sizes = {len(getattr(self, f"{name}_")) for name in ("mean", "spread", "share", "partly")}
        columns = np.concatenate([self.columns_, self.mixed_])
        if sizes != {self._n_targets} or (len(columns) and not 0 <= columns.min() <= columns.max() < self._n_targets):
            raise ModelProblem("The model's means do not fit its ions.")
        self.networks_ = []
        for number in range(1, int(facts["networks"]) + 1):
            network = self._network(len(self.centre_))
            weights = {name: torch.from_numpy(value) for name, value in part(f"network{number}", arrays).items()}
            try:
                network.load_state_dict(weights)
            except RuntimeError as error:
                raise ModelProblem("The model's network does not fit its features and ions.") from error
            if not all(bool(torch.isfinite(value).all()) for value in weights.values()):
                raise ModelProblem("The model's weights contain missing values.")
            self.networks_.append(network.eval())


def _ask(
    networks: Sequence[Perceptron], features: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (n, k) intensities and (n, m) probabilities, the mean of what networks say."""
    import torch

    rows = torch.from_numpy(features)
    with torch.no_grad():
        said = [network(rows) for network in networks]
    intensity: NDArray[np.float64] = np.mean([values.numpy() for values, _ in said], axis=0, dtype=np.float64)
    presence: NDArray[np.float64] = np.mean([expit(odds.numpy().astype(np.float64)) for _, odds in said], axis=0)
    return intensity, presence
