"""What all networks on the design of genes share: targets, an ensemble over inner folds, how far to believe it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from napari_st2msi.errors import ModelProblem
from napari_st2msi.features.arrays import part, prefixed
from napari_st2msi.features.spatial import section_of
from napari_st2msi.models.deep.following import followed
from napari_st2msi.models.inner import InnerFold
from napari_st2msi.models.inputs import Inputs
from napari_st2msi.models.learner import Estimates, Learner, pieces
from napari_st2msi.paired import PairedDataset
from napari_st2msi.progress import Progress, check, never

if TYPE_CHECKING:
    import torch
    from anndata import AnnData

    from napari_st2msi.models.deep.loop import Epoch

_TINY = 1e-9
# Of few spots smaller minibatches: a network needs steps.
_LEAST_STEPS = 8
# In this share of the steps a section is taken for one never seen.
_UNKNOWN = 0.5
_ARRAYS = ("columns", "mixed", "partly", "share", "mean", "spread", "centre", "weight", "trust", "trust_presence")


class NetworkLearner(Learner):
    """Intensity and presence of all ions from one network, averaged over a few of them.

    Each network learns from the spots of an inner fold and stops by the blocks of tissue held out there.
    Features are centred and weighed by their variance (`weights`). What the networks say of blocks they
    did not learn from gives each ion a factor between 0 and 1, by which predictions are drawn to the mean:
    0 where the networks learned nothing.

    With `model.section_covariate` and two sections or more, networks learn how the features of each section
    are shifted (`_seen`).

    Directions that know ions, those of ``pls``, are for each network the ones of its inner fold, which do not
    know the ions held out there.

    A subclass says what the network is (`_network`). It may give it more than the features of the design
    (`_extras`), ask it in another way (`forward`), and add to the loss (`_loss`); what it fits itself
    goes into `_own_facts`, `_own_arrays` and `_own_restore`, beside what is kept here.

    Attributes
    ----------
    curves_
        The epochs of every network.
    sections_
        Names of the training sections whose shifts were learned, sorted; none without `model.section_covariate`.
    """

    stages: ClassVar[tuple[str, ...]] = ()
    #: How many threads train it on the CPU; None for as many as torch takes. One suits small matrices.
    threads: ClassVar[int | None] = 1
    #: Whether a minibatch may be spread over several GPUs: the network takes one tensor with a row for each spot.
    spreads: ClassVar[bool] = False
    #: What the recipe's learning rate is multiplied by.
    pace: ClassVar[float] = 1.0
    #: Whether the network has a `log_noise`, with which ions that can be told exactly count more in training.
    learns_noise: ClassVar[bool] = False
    #: How much presence counts beside intensities, where noise is learned.
    presence_counts: ClassVar[float] = 1.0

    # -- what a subclass says --------------------------------------------------------------------

    @abstractmethod
    def _network(self, n_features: int) -> torch.nn.Module:
        """Return a new network, made from the recipe and from what was fitted.

        It says (n, ``len(columns_)``) intensities in standard deviations and (n, ``len(mixed_)``) log odds
        of presence.
        """

    def _extras(
        self, genes: AnnData, context: AnnData | None, features: NDArray[np.float32]
    ) -> dict[str, torch.Tensor]:
        """Return what the network sees besides ``features``: masks, a graph, features of the spots around.

        It is asked for the training spots and for those to predict. What must be fitted to training
        spots is fitted in `_inputs`.

        Parameters
        ----------
        genes
            The spots.
        context
            The sections they lie in; None where the spots are whole sections.
        features
            (spots, features) of the design, neither centred nor scaled; `scaled` does so.
        """
        return {}

    def forward(
        self, network: Any, data: Mapping[str, torch.Tensor], rows: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what a network says of some rows: (rows, k) intensities and (rows, m) log odds."""
        intensity, odds = network(self._seen(network, data, rows))
        return intensity, odds

    def _loss(self, network: Any, data: Mapping[str, torch.Tensor], rows: torch.Tensor) -> torch.Tensor:
        """Return the mean loss over a minibatch; `data` holds the targets as well, see `deep.loss`."""
        from napari_st2msi.models.deep.loss import intensity_and_presence, unlikelihood

        said = self.forward(network, data, rows)
        if network.training and self.learns_noise:  # judged as all are
            return unlikelihood(*said, network.log_noise, data, rows, self.presence_counts)
        return intensity_and_presence(*said, data, rows)

    # -- learning --------------------------------------------------------------------------------

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
        assert inputs.genes is not None
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
        self.weight_: NDArray[np.float64] = weights(inputs.features, inputs.bands)
        labels = sorted(set(section_of(inputs.genes))) if self.recipe.model.section_covariate else []
        self.sections_: list[str] = [str(label) for label in labels] if len(labels) > 1 else []
        self.networks_: list[torch.nn.Module] = []
        self.curves_: list[tuple[Epoch, ...]] = []
        data = self.data(inputs.genes, inputs.context, inputs.features.astype(np.float32))
        own = counts[:, self.columns_]
        targets = {
            "intensity": np.where(own, ((values - self.mean_) / self.spread_)[:, self.columns_], 0.0),
            "counts": own,
            "present": present[:, self.mixed_],
            "n_counts": own.sum() / len(own),
        }
        data |= {name: _tensor(array) for name, array in targets.items()}
        folds = inputs.folds[: self.recipe.model.ensemble] if len(self.columns_) else []
        each = [data | self._seen_in(fold, inputs) for fold in folds]
        self._train(inputs.features.shape[1], each, folds, progress, cancelled)
        self._shrink(each, folds[: len(self.networks_)])

    def _seen_in(self, fold: InnerFold, inputs: Inputs) -> dict[str, torch.Tensor]:
        """Return what networks see otherwise in an inner fold: features, where their directions know ions."""
        if fold.design is None or fold.features is None:
            return {}
        assert inputs.genes is not None
        own: Any = copy(self)
        own.design_ = fold.design
        return {"features": own.data(inputs.genes, inputs.context, fold.features.astype(np.float32))["features"]}

    def _train(
        self,
        n_features: int,
        data: Sequence[Mapping[str, torch.Tensor]],
        folds: Sequence[InnerFold],
        progress: Progress,
        cancelled: Callable[[], bool],
    ) -> None:
        from napari_st2msi.models.deep.loop import Schedule, seeded, train

        choices, watch = self.recipe.networks, followed()
        if choices.devices > 1 and not self.spreads:
            raise ModelProblem(f"'{self.name}' trains on one GPU at a time. Choose 1 device.")
        for number, (seen, fold) in enumerate(zip(data, folds, strict=True), 1):
            with seeded(choices.seed, number):
                network = self.new_network(n_features)
            done = train(
                network,
                seen,
                self._loss,
                fold.fit,
                fold.held,
                Schedule(
                    epochs=choices.epochs,
                    patience=choices.patience,
                    batch=min(choices.batch, max(len(fold.fit) // _LEAST_STEPS, 8)),
                    learning_rate=self.pace * choices.learning_rate,
                    seed=choices.seed + number,
                    device=choices.device,
                    precision=choices.precision,
                    devices=choices.devices,
                    threads=self.threads,
                ),
                checkpoints=watch.checkpoints,
                told=partial(watch.tell, number, len(folds)),
                progress=progress.part((number - 1) / len(folds), number / len(folds)),
                cancelled=lambda: cancelled() or watch.enough(),
            )
            check(cancelled)
            self.networks_.append(done.network)
            self.curves_.append(done.epochs)
            if done.stopped == "cancelled":
                break

    def _shrink(self, data: Sequence[Mapping[str, torch.Tensor]], folds: Sequence[InnerFold]) -> None:
        """Find how far predictions of each ion are to be believed, by spots that a network did not learn from."""
        k, m = len(self.columns_), len(self.mixed_)
        along, square, along_odds, square_odds = np.zeros(k), np.zeros(k), np.zeros(m), np.zeros(m)
        base = self.share_[self.mixed_]
        for network, seen, fold in zip(self.networks_, data, folds, strict=False):
            guess, chance = self._ask([network], seen, fold.held)
            truth, counted = seen["intensity"].numpy()[fold.held], seen["counts"].numpy()[fold.held]
            along += (counted * guess * truth).sum(axis=0)
            square += (counted * guess**2).sum(axis=0)
            along_odds += ((chance - base) * (seen["present"].numpy()[fold.held] - base)).sum(axis=0)
            square_odds += ((chance - base) ** 2).sum(axis=0)
        self.trust_: NDArray[np.float64] = np.clip(along / np.maximum(square, _TINY), 0.0, 1.0)
        self.trust_presence_: NDArray[np.float64] = np.clip(along_odds / np.maximum(square_odds, _TINY), 0.0, 1.0)

    # -- asking ----------------------------------------------------------------------------------

    def _estimates(self, genes: AnnData, context: AnnData | None) -> Iterator[Estimates]:
        data = self.data(genes, context, self.features(genes, context))
        for rows in pieces(genes.n_obs):
            yield rows, *self._said(data, np.arange(rows.start, rows.stop))

    def estimate(self, features: NDArray[np.float32]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Return what networks that see nothing but features say of them; see `Learner.estimate`."""
        return self._said({"features": _tensor(self.scaled(features))}, np.arange(len(features)))

    def _said(
        self, data: Mapping[str, torch.Tensor], rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        intensity, presence = np.tile(self.mean_, (len(rows), 1)), np.tile(self.share_, (len(rows), 1))
        if self.networks_:
            guess, chance = self._ask(self.networks_, data, rows)
            intensity[:, self.columns_] += self.trust_ * guess * self.spread_[self.columns_]
            base = self.share_[self.mixed_]
            presence[:, self.mixed_] = base + self.trust_presence_ * (chance - base)
        # Of ions that are in nearly all spots the few zeros were learned as intensities.
        intensity[:, self.partly_] *= presence[:, self.partly_]
        return intensity, presence

    def _ask(
        self, networks: Sequence[torch.nn.Module], data: Mapping[str, torch.Tensor], rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return (rows, k) intensities and (rows, m) probabilities, the mean of what networks say."""
        import torch

        with torch.no_grad():
            said = [self.forward(network, data, torch.from_numpy(rows)) for network in networks]
        intensity: NDArray[np.float64] = np.mean([values.numpy() for values, _ in said], axis=0, dtype=np.float64)
        presence: NDArray[np.float64] = np.mean([expit(odds.numpy().astype(np.float64)) for _, odds in said], axis=0)
        return intensity, presence

    def data(self, genes: AnnData, context: AnnData | None, features: NDArray[np.float32]) -> dict[str, torch.Tensor]:
        """Return all that networks see of spots, from their features (spots, features): what `forward` takes."""
        own = {"features": _tensor(self.scaled(features)), **self._sections(genes)}
        return {**own, **self._extras(genes, context, features)}

    # -- sections --------------------------------------------------------------------------------

    def new_network(self, n_features: int) -> torch.nn.Module:
        """Return a new network, with a shift (sections, features) that starts at 0 where sections count."""
        import torch

        network = self._network(n_features)
        if self.sections_:
            network.register_parameter("shift", torch.nn.Parameter(torch.zeros(len(self.sections_), n_features)))
        return network

    def _sections(self, genes: AnnData) -> dict[str, torch.Tensor]:
        """Return (spots, sections) 1 for the section of a spot; only 0 where it was not in training."""
        if not self.sections_:
            return {}
        return {"section": _tensor(section_of(genes)[:, None] == np.array(self.sections_))}

    def _seen(self, network: Any, data: Mapping[str, torch.Tensor], rows: torch.Tensor | slice) -> torch.Tensor:
        """Return the features of some rows as the network is to see them: shifted as it learned of their section.

        In half of the steps of training a section is not shifted, so that the network knows what to say of
        a section that it never saw.
        """
        import torch

        features = data["features"][rows]
        if "section" not in data:
            return features
        section = data["section"][rows]
        if network.training:
            section = section * (torch.rand(section.shape[1], device=section.device) >= _UNKNOWN)
        return features + section @ network.shift

    def scaled(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return (spots, features) centred and weighed, as networks see them."""
        scaled: NDArray[np.float32] = ((features - self.centre_) * self.weight_).astype(np.float32)
        return scaled

    # -- keeping ---------------------------------------------------------------------------------

    def _own_facts(self) -> dict[str, Any]:
        return {"networks": len(self.networks_), "sections": self.sections_}

    def _own_arrays(self) -> dict[str, NDArray[Any]]:
        arrays: dict[str, NDArray[Any]] = {name: getattr(self, f"{name}_") for name in _ARRAYS}
        for number, network in enumerate(self.networks_, 1):
            weights = {name: value.numpy() for name, value in network.state_dict().items()}
            arrays |= prefixed(f"network{number}", weights)
        return arrays

    def _own_restore(self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        import torch

        for name in _ARRAYS:
            setattr(self, f"{name}_", arrays[name])
        self.curves_, self.sections_ = [], [str(label) for label in facts["sections"]]
        if len(self.weight_) != len(self.centre_):
            raise ModelProblem("The model's weights of features do not fit their means.")
        sizes = {len(getattr(self, f"{name}_")) for name in ("mean", "spread", "share", "partly")}
        columns = np.concatenate([self.columns_, self.mixed_])
        if sizes != {self._n_targets} or (len(columns) and not 0 <= columns.min() <= columns.max() < self._n_targets):
            raise ModelProblem("The model's means do not fit its ions.")
        self.networks_ = []
        for number in range(1, int(facts["networks"]) + 1):
            network = self.new_network(len(self.centre_))
            weights = {name: torch.from_numpy(value) for name, value in part(f"network{number}", arrays).items()}
            try:
                network.load_state_dict(weights)
            except RuntimeError as error:
                raise ModelProblem("The model's network does not fit its features and ions.") from error
            if not all(bool(torch.isfinite(value).all()) for value in weights.values()):
                raise ModelProblem("The model's weights contain missing values.")
            self.networks_.append(network.eval())


def weights(features: NDArray[np.floating], bands: Mapping[str, slice]) -> NDArray[np.float64]:
    """Return what to multiply centred features by: each counts by its variance within its band.

    Of principal directions the leading ones hold what genes share, and the many behind them mostly noise,
    in which a network finds accidents. Weighing directions by their standard deviation once more than
    they come with took interactions of gene programs from 0.38 to 0.59 of their ceiling, on one fold of one
    simulated section; this and other settings were chosen on that fold, so that elsewhere it may be less.
    Features of one scale, such as standardised genes, stay as they are.

    Parameters
    ----------
    features
        (n, p) of the training spots.
    bands
        Columns of each band; see `napari_st2msi.features.design.Design`.

    Returns
    -------
    (p,) float64. The total variance of the weighed features is √p.
    """
    spread: NDArray[np.float64] = features.std(axis=0, dtype=np.float64)
    weight = np.ones_like(spread)
    for columns in bands.values():
        weight[columns] = spread[columns] / max(spread[columns].max(initial=0.0), _TINY)
    total = float((weight**2 * spread**2).sum())
    return weight * np.sqrt(np.sqrt(len(weight)) / max(total, _TINY))


def _tensor(array: Any) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.asarray(array, dtype=np.float32))
