"""Networks as a regression or a classifier among others: what they say of features, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from napari_st2msi.errors import ModelProblem
from napari_st2msi.features.arrays import part, prefixed
from napari_st2msi.models.calibrate import calibrate
from napari_st2msi.models.choose import least_flexible
from napari_st2msi.models.held import trusted
from napari_st2msi.models.inner import InnerFold
from napari_st2msi.models.linear_loss import LOGISTIC
from napari_st2msi.models.task import Task
from napari_st2msi.progress import Progress, check

if TYPE_CHECKING:
    from torch import nn

_TINY = 1e-9
# Of few spots smaller minibatches: a network needs steps.
_LEAST_STEPS = 8
_ROWS = 4096
_ARRAYS = ("centre", "scale", "columns", "level", "unit")
_HIDDEN = 16  # units of a network of one output


@dataclass(frozen=True, eq=False)
class Networks:
    """The mean of what a few networks say of some targets: ``level + unit * networks((features - centre) / scale)``.

    Attributes
    ----------
    networks
        Each from the features of a band to m numbers.
    shape
        What `network_of` makes a network from.
    centre, scale
        (p,) each; the scale is one over `napari_st2msi.models.deep.learner.weights`.
    first
        The first of the p columns of features that the networks see.
    columns
        (m,) which targets the networks say something of; the others get their level.
    level, unit
        (k,) the mean, and (m,) what a standard deviation is; of classifiers, what makes scores log odds.
    """

    networks: tuple[nn.Module, ...]
    shape: dict[str, Any]
    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    first: int
    columns: NDArray[np.int64]
    level: NDArray[np.float64]
    unit: NDArray[np.float64]

    def __call__(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (spots, k)."""
        said = np.tile(self.level, (len(features), 1))
        if self.networks:
            guess = np.mean([ask(network, self.scaled(features)) for network in self.networks], axis=0)
            said[:, self.columns] += guess * self.unit
        return said

    def scaled(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return what the networks see (spots, p)."""
        own = features[:, self.first : self.first + len(self.centre)]
        scaled: NDArray[np.float32] = ((own - self.centre) / self.scale).astype(np.float32)
        return scaled

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return JSON values and named arrays."""
        facts = {"kind": "networks", "networks": len(self.networks), "shape": self.shape}
        arrays: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in _ARRAYS}
        for number, network in enumerate(self.networks, 1):
            arrays |= prefixed(f"network{number}", {n: value.numpy() for n, value in network.state_dict().items()})
        return {**facts, "first": self.first}, arrays

    @classmethod
    def restore(cls, facts: dict[str, Any], arrays: dict[str, NDArray[Any]], features: int, targets: int) -> Networks:
        """Take back what `state` returned.

        Raises
        ------
        ModelProblem
            It is not from so many features to so many targets, or weights are missing.
        """
        import torch

        centre, scale, columns, level, unit = (arrays[name] for name in _ARRAYS)
        first, shape = int(facts["first"]), dict(facts["shape"])
        among = not len(columns) or 0 <= columns.min() <= columns.max() < targets
        fits = len(scale) == len(centre) and len(level) == targets and len(unit) == len(columns)
        if not (0 <= first <= features - len(centre) and fits and among):
            raise ModelProblem("The model's network does not fit its features and ions.")
        networks = []
        for number in range(1, int(facts["networks"]) + 1):
            weights = {name: torch.from_numpy(value) for name, value in part(f"network{number}", arrays).items()}
            try:
                network = network_of(len(centre), len(columns), shape)
                network.load_state_dict(weights)
            except (RuntimeError, TypeError, KeyError) as error:
                raise ModelProblem("The model's network does not fit its features and ions.") from error
            if not all(bool(torch.isfinite(value).all()) for value in weights.values()):
                raise ModelProblem("The model's weights contain missing values.")
            networks.append(network.eval())
        return cls(tuple(networks), shape, centre, scale, first, columns, level, unit)


def network_of(n_features: int, n_targets: int, shape: dict[str, Any]) -> nn.Module:
    """Return a new network.

    Parameters
    ----------
    shape
        ``kind``: ``shared``, one residual perceptron with an output a target, or ``single``, a small perceptron of
        its own for each target; the other entries are their settings.
    """
    from napari_st2msi.models.deep.perceptron import Perceptron
    from napari_st2msi.models.deep.single import SideBySide

    settings = {name: value for name, value in shape.items() if name != "kind"}
    if shape["kind"] == "single":
        return SideBySide(n_features, n_targets, **settings)
    return Perceptron(n_features, n_targets, 0, **settings)


def ask(network: nn.Module, features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return (spots, k) what a network says of scaled features."""
    import torch

    with torch.no_grad():
        said = [network(rows)[0].numpy() for rows in torch.split(torch.from_numpy(features), _ROWS)]
    return np.concatenate(said).astype(np.float64)


def fit_networks(task: Task) -> Networks:
    """Return residual perceptrons that share their hidden units between targets, drawn to the mean where not better."""
    networks, guesses = perceptrons(task)
    trust = trusted(guesses, task.targets - task.mean, task.present, task.inputs.folds)
    return replace(networks, unit=networks.unit * trust[networks.columns])


def perceptrons(task: Task, band: str | None = None) -> tuple[Networks, list[NDArray[np.float64]]]:
    """Return networks as they are, and what each says of the spots held out for it (held, k), less the mean.

    Parameters
    ----------
    band
        The band of features that they see; None: all.
    """
    choices, mean = task.choices, task.mean
    spread = np.sqrt((task.present * (task.targets - mean) ** 2).sum(axis=0) / np.maximum(task.present.sum(axis=0), 1))
    columns = np.flatnonzero(task.learned & (spread > _TINY))
    unit, counts = spread[columns], task.present[:, columns]
    targets = np.where(counts, (task.targets[:, columns] - mean[columns]) / unit, 0.0)
    shape = {"kind": "shared", "width": choices.width, "depth": choices.depth, "dropout": choices.dropout}
    data = {"intensity": targets, "counts": counts, "n_counts": max(counts.sum() / max(len(counts), 1), _TINY)}
    networks = _trained(task, data, Networks((), shape, *_seen(task, band), columns, mean, unit))
    guesses = []
    for said, fold in zip(_held(task, networks), task.inputs.folds, strict=False):
        guess = np.zeros((len(fold.held), len(mean)))
        guess[:, columns] = said * unit
        guesses.append(guess)
    return networks, guesses


def fit_presence_networks(task: Task, kind: str) -> tuple[Networks, NDArray[np.float64]]:
    """Return networks whose scores are log odds of presence, and their out-of-fold log odds (n, k).

    Scores are calibrated on what networks say of spots held out for them; ions of which they do not clearly say
    more than the share of spots get that share. Ions always or never present get log odds of plus or minus
    infinity.

    Parameters
    ----------
    task
        Its targets are not looked at, `present` is what is learned.
    kind
        ``shared``: one network with an output an ion; ``single``: a network of its own for each ion.
    """
    choices = task.choices
    with np.errstate(divide="ignore"):
        level = logit(task.present.mean(axis=0))
    columns = np.flatnonzero(np.isfinite(level) & task.learned)
    shape: dict[str, Any] = {"kind": kind, "width": choices.width, "depth": choices.depth, "dropout": choices.dropout}
    if kind == "single":
        shape = {"kind": kind, "width": _HIDDEN, "dropout": choices.dropout}
    there = task.present[:, columns]
    networks = _trained(
        task, {"present": there}, Networks((), shape, *_seen(task, None), columns, level, np.ones(len(columns)))
    )
    scores = np.full(there.shape, np.nan)
    folds, said = task.inputs.folds[: len(networks.networks)], _held(task, networks)
    for of_fold, fold in zip(said, folds, strict=True):
        scores[fold.held] = of_fold
    scale, shift = calibrate(scores, there)
    share, errors = level[columns], np.zeros((len(folds), 2, len(columns)))
    for number, fold in enumerate(folds):
        # Judged as a new spot would be: calibrated on the other folds.
        others = scores.copy()
        others[fold.held] = np.nan
        a, b = calibrate(others, there)
        y = there[fold.held].astype(float)
        errors[number, 0] = LOGISTIC.value(said[number] * a + b, y)
        errors[number, 1] = LOGISTIC.value(np.tile(share, (len(y), 1)), y)
    better = least_flexible(errors) == 0
    scale, shift = np.where(better, scale, 0.0), np.where(better, shift, share)
    odds = np.tile(level, (len(there), 1))
    odds[:, columns] = np.where(np.isnan(scores), share, scores * scale + shift)
    level = level.copy()
    level[columns] = shift
    return replace(networks, level=level, unit=scale), odds


def _seen(task: Task, band: str | None) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Return centre and scale of the features that networks see, and the first of them."""
    from napari_st2msi.models.deep.learner import weights

    features = task.inputs.features
    columns = slice(0, features.shape[1]) if band is None else task.inputs.bands[band]
    own = features[:, columns]
    with np.errstate(divide="ignore"):
        scale = 1.0 / weights(own, task.inputs.bands if band is None else {band: slice(0, own.shape[1])})
    return own.mean(axis=0), scale, int(columns.start)


def _held(task: Task, networks: Networks) -> list[NDArray[np.float64]]:
    """Return what each network says of the spots held out for it (held, m)."""
    folds = task.inputs.folds
    return [
        ask(network, networks.scaled(fold.split(task.inputs.features)[1]))
        for network, fold in zip(networks.networks, folds, strict=False)
    ]


def _trained(task: Task, targets: dict[str, Any], networks: Networks) -> Networks:
    """Train a network on each of the first inner folds; it stops by the blocks or sections held out there.

    Parameters
    ----------
    targets
        What `_loss` needs beside features.
    """
    folds = task.ensemble if len(networks.columns) and len(networks.centre) else []
    done = []
    for number, fold in enumerate(folds, 1):
        part = task.progress.part((number - 1) / len(folds), number / len(folds))
        done.append(_train(networks, task, targets, fold, number, part))
    return replace(networks, networks=tuple(done))


def _train(
    networks: Networks,
    task: Task,
    targets: dict[str, Any],
    fold: InnerFold,
    number: int,
    progress: Progress,
) -> nn.Module:
    import torch

    from napari_st2msi.models.deep.following import followed
    from napari_st2msi.models.deep.loop import Schedule, seeded, train

    choices, watch = task.networks, followed()
    features = networks.scaled(task.inputs.features if fold.features is None else fold.features)
    data = {
        name: torch.from_numpy(np.asarray(array, dtype=np.float32))
        for name, array in {"features": features, **targets}.items()
    }
    with seeded(choices.seed, number):
        network = network_of(features.shape[1], len(networks.columns), networks.shape)
    done = train(
        network,
        data,
        _loss,
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
            threads=1,
        ),
        checkpoints=watch.checkpoints,
        told=partial(watch.tell, number, len(task.ensemble)),
        progress=progress,
        cancelled=lambda: task.cancelled() or watch.enough(),
    )
    check(task.cancelled)
    trained: nn.Module = done.network
    return trained


def _loss(network: Any, data: Any, rows: Any) -> Any:
    """Return the loss of a minibatch: of presence where that is what is learned, else of intensities."""
    from torch.nn import functional

    from napari_st2msi.models.deep.loss import intensity_and_presence

    said, nothing = network(data["features"][rows])
    if "present" in data:
        return functional.binary_cross_entropy_with_logits(said, data["present"][rows])
    return intensity_and_presence(said, nothing, data, rows)
