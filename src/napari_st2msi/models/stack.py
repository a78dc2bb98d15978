"""A stack: what several regressions say of spots held out decides how much of each an ion gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import ModelProblem
from napari_st2msi.features.arrays import part, prefixed
from napari_st2msi.features.design import OWN
from napari_st2msi.features.threads import threads_for
from napari_st2msi.models.arrays import map_from
from napari_st2msi.models.kernel import in_kernel_space
from napari_st2msi.models.maps import Linear, Map
from napari_st2msi.models.ridge import Solver
from napari_st2msi.models.task import Task
from napari_st2msi.progress import check

_TINY = 1e-9
#: What each regression says of spots held out on the first inner folds, less the mean: one (held, k) a fold.
Guesses = Sequence[NDArray[np.floating]]


@dataclass(frozen=True, eq=False)
class Stacked:
    """``mean + Σ weight · (part(features) - mean)`` over the parts.

    Attributes
    ----------
    parts
        Fitted maps by name.
    weights
        (parts, k), none below 0.
    mean
        (k,).
    """

    parts: dict[str, Map]
    weights: NDArray[np.float64]
    mean: NDArray[np.float64]

    def __call__(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (spots, k)."""
        said = np.tile(self.mean, (len(features), 1))
        for fitted, weight in zip(self.parts.values(), self.weights, strict=True):
            if weight.any():
                said += weight * (fitted(features) - self.mean)
        return said

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return JSON values and named arrays."""
        facts: dict[str, Any] = {"kind": "stack", "parts": {}}
        arrays: dict[str, NDArray[Any]] = {"weights": self.weights, "mean": self.mean}
        for name, fitted in self.parts.items():
            facts["parts"][name], own = fitted.state()
            arrays |= prefixed(name, own)
        return facts, arrays

    @classmethod
    def restore(cls, facts: dict[str, Any], arrays: dict[str, NDArray[Any]], features: int, targets: int) -> Stacked:
        """Take back what `state` returned.

        Raises
        ------
        ModelProblem
            It is not from so many features to so many targets.
        """
        parts = {
            str(name): map_from(own, part(str(name), arrays), features, targets) for name, own in facts["parts"].items()
        }
        weights, mean = arrays["weights"], arrays["mean"]
        if weights.shape != (len(parts), targets) or len(mean) != targets or not np.isfinite(weights).all():
            raise ModelProblem("The model's weights of regressions do not fit its ions.")
        return cls(parts, weights, mean)


def fit_stack(task: Task) -> Stacked:
    """Return a stack of ridge, kernel ridge and, if asked, a perceptron on own genes and trees.

    For each ion the weights are those that would have predicted best what was held out on inner folds, none below
    0 (Breiman 1996, doi:10.1007/BF00117832); where weights from the other folds do not beat the mean, all are 0.
    """
    mean, folds = task.mean, task.inputs.folds
    # Where an ion does not count, what ridge expects there stands in; errors count where it does.
    whole = replace(task, targets=task.completed(), present=np.ones(task.present.shape, dtype=bool))
    parts: dict[str, Map] = {}
    guesses: dict[str, Guesses] = {}
    fits: dict[str, _Fit] = {"ridge": _ridge, "kernel_ridge": _kernel}
    if task.choices.stack_mlp:
        fits["mlp"] = _perceptron
    if task.choices.stack_trees:
        fits["trees"] = _trees
    shares = np.cumsum([0.0, *(_SHARES[name] for name in fits)])
    for number, (name, fit) in enumerate(fits.items()):
        check(task.cancelled)
        progress = task.progress.part(*(float(share / shares[-1]) for share in shares[number : number + 2]))
        parts[name], guesses[name] = fit(replace(whole, progress=progress))
    n_folds = min((len(of_part) for of_part in guesses.values()), default=0)
    k = len(mean)
    weights = np.zeros((len(parts), k))
    if n_folds:
        gram = np.zeros((n_folds, k, len(parts), len(parts)))
        cross = np.zeros((n_folds, k, len(parts)))
        for number, fold in enumerate(folds[:n_folds]):
            said = np.stack([of_part[number] for of_part in guesses.values()], axis=2)
            counted = said * task.present[fold.held][:, :, None]
            gram[number] = np.einsum("nka,nkb->kab", counted, said)
            cross[number] = np.einsum("nka,nk->ka", counted, task.targets[fold.held] - mean)
        weights = weigh(gram, cross).T
    return Stacked(parts, weights, mean)


def weigh(gram: NDArray[np.float64], cross: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (k, parts) weights, none below 0; all 0 where those of the other folds do not beat the mean.

    Parameters
    ----------
    gram, cross
        (folds, k, parts, parts) and (folds, k, parts): products of what parts say of held-out spots, with each
        other and with the truth, all less the mean.
    """
    errors = np.zeros((len(gram), 2, gram.shape[1]))
    for number in range(len(gram)):
        others = np.arange(len(gram)) != number
        if others.any():
            w = non_negative(gram[others].sum(axis=0), cross[others].sum(axis=0))
            errors[number, 0] = np.einsum("ka,kab,kb->k", w, gram[number], w) - 2 * (w * cross[number]).sum(axis=1)
    weights = non_negative(gram.sum(axis=0), cross.sum(axis=0))
    # Parts were drawn to the mean already, each by itself: to ask for more than that loses weak signals.
    model, of_mean = errors.sum(axis=0)
    weights[model >= of_mean] = 0.0
    return weights


def non_negative(gram: NDArray[np.float64], cross: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (k, parts) weights that minimise w'Gw - 2w'c, none below 0.

    Exact: of few parts every choice of those above 0 is tried.
    """
    k, n_parts = cross.shape
    best, least = np.zeros((k, n_parts)), np.zeros(k)
    scale = np.einsum("kaa->k", gram)[:, None, None] / n_parts
    for used in product((False, True), repeat=n_parts):
        own = np.flatnonzero(used)
        if not len(own):
            continue
        system = gram[:, own][:, :, own] + (1e-6 * scale + _TINY) * np.eye(len(own))
        found = np.linalg.solve(system, cross[:, own, None])[:, :, 0]
        value = -(found * cross[:, own]).sum(axis=1)
        better = (found >= 0).all(axis=1) & (value < least)
        least = np.where(better, value, least)
        best[np.ix_(better, own)] = found[better]
        best[np.ix_(better, np.flatnonzero(~np.array(used)))] = 0.0
    return best


def _ridge(task: Task) -> tuple[Map, Guesses]:
    linear = task.ridge()
    return linear, _again(task, linear)


def _kernel(task: Task) -> tuple[Map, Guesses]:
    within, kernel = in_kernel_space(task)
    linear = within.ridge()
    return replace(kernel, linear=linear), _again(within, linear)


def _perceptron(task: Task) -> tuple[Map, Guesses]:
    from napari_st2msi.models.nets import perceptrons

    return perceptrons(task, OWN)


def _trees(task: Task) -> tuple[Map, Guesses]:
    from napari_st2msi.models.trees import boosted

    return boosted(task)


# About how much of the time each takes.
_SHARES = {"ridge": 1.0, "kernel_ridge": 2.0, "mlp": 10.0, "trees": 20.0}
_Fit = Callable[[Task], tuple[Map, Guesses]]


def _again(task: Task, linear: Linear) -> Guesses:
    """Return what ridge with the penalties that were chosen says of the spots held out on each inner fold."""
    guesses, mean = [], task.mean
    for fold in task.inputs.folds:
        check(task.cancelled)
        x, x_held = fold.split(task.inputs.features)
        with threads_for(10.0 * min(x.shape) ** 3):
            slope, level = Solver(x, task.targets[fold.fit])(linear.alpha)
            guess = x_held @ slope + level - mean
        # What is not learned stays at the mean of all, not of the fold.
        guesses.append(np.where(np.isfinite(linear.alpha), guess, 0.0))
    return guesses
