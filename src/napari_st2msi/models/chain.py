"""A chain of classifiers: each ion also sees what the ions before it are predicted to be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from napari_st2msi.errors import ModelProblem
from napari_st2msi.features.arrays import part, prefixed
from napari_st2msi.models.choose import least_flexible
from napari_st2msi.models.inner import InnerFold
from napari_st2msi.models.maps import Linear
from napari_st2msi.models.presence import Presence
from napari_st2msi.progress import Progress, check, never

_BEFORE = 20
_PENALTIES = np.geomspace(10.0, 1e4, 4)
_STEPS = 30
_ARRAYS = ("order", "before", "weight", "mean")


@dataclass(frozen=True)
class Chain:
    """Log odds of ions, one after the other.

    Attributes
    ----------
    odds
        Log odds of each ion by itself.
    order
        (k,) ions in the order of the chain.
    before
        (k, 20) which ions each looks at.
    weight
        (k, 20) what is added to its log odds for the probability of each, above its mean; 0 for none.
    mean
        (k,) mean probability of each ion over the training spots.
    """

    odds: Linear
    order: NDArray[np.int64]
    before: NDArray[np.int64]
    weight: NDArray[np.float64]
    mean: NDArray[np.float64]

    def __call__(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (spots, k) log odds."""
        odds = self.odds(features)
        for ion in self.order:
            if self.weight[ion].any():
                seen = self.before[ion]
                odds[:, ion] += (expit(odds[:, seen]) - self.mean[seen]) @ self.weight[ion]
        return odds

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return JSON values and named arrays."""
        arrays: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in _ARRAYS}
        return {"kind": "chain"}, arrays | prefixed("linear", self.odds.state()[1])

    @classmethod
    def restore(cls, facts: dict[str, Any], arrays: dict[str, NDArray[Any]], features: int, targets: int) -> Chain:
        """Take back what `state` returned.

        Raises
        ------
        ModelProblem
            It is not from so many features to so many targets.
        """
        order, before, weight, mean = (arrays[name] for name in _ARRAYS)
        ions = np.concatenate([order, before.ravel()])
        if (
            before.shape != weight.shape
            or not len(before) == len(mean) == targets
            or (len(ions) and (ions.min() < 0 or ions.max() >= targets))
        ):
            raise ModelProblem("The model's chain does not fit its ions.")
        return cls(Linear.restore({}, part("linear", arrays), features, targets), order, before, weight, mean)


def fit_chain(
    alone: Presence,
    present: NDArray[np.bool_],
    folds: Sequence[InnerFold],
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> tuple[Chain, NDArray[np.float64]]:
    """Chain classifiers that were fitted each by itself (Read et al. 2011, doi:10.1007/s10994-011-5256-5).

    The order is from ions that vary most to those that vary least. Each looks at the twenty before it whose
    presence goes along most with what its own classifier missed. It learns from what they said of held-out
    spots, as it will when it predicts; learning from what was measured there would teach it to rely on what
    it never gets. A chain that does not help on inner folds is cut at that ion.

    Returns
    -------
    The chain, and its out-of-fold log odds (n, k).
    """
    k = present.shape[1]
    odds = alone.out_of_fold.copy()
    mean = np.zeros(k)
    before, weight = np.zeros((k, _BEFORE), dtype=np.int64), np.zeros((k, _BEFORE))
    share = present.mean(axis=0)
    open_ = np.flatnonzero(np.isfinite(alone.odds.alpha))
    order = open_[np.argsort(np.abs(share[open_] - 0.5), kind="stable")]
    missed = np.where(np.isfinite(odds), present - expit(odds), 0.0)
    mean[order] = expit(odds[:, order]).mean(axis=0)
    for place, ion in enumerate(order):
        progress(place / len(order), "chain")
        check(cancelled)
        earlier = order[:place]
        if not len(earlier) or not folds:
            continue
        along = np.abs(missed[:, earlier].T @ missed[:, ion])
        seen = earlier[np.argsort(-along, kind="stable")[:_BEFORE]]
        z, y, own = expit(odds[:, seen]) - mean[seen], present[:, ion].astype(float), odds[:, ion].copy()
        held_odds = np.tile(own, (len(_PENALTIES) + 1, 1))
        errors = np.zeros((len(folds), len(_PENALTIES) + 1, 1))
        for number, fold in enumerate(folds):
            for candidate, penalty in enumerate(_PENALTIES):
                slope = _fit(z[fold.fit], y[fold.fit], own[fold.fit], penalty)
                held_odds[candidate, fold.held] = own[fold.held] + z[fold.held] @ slope
            some = held_odds[:, fold.held]
            errors[number, :, 0] = (np.logaddexp(0.0, some) - y[fold.held] * some).sum(axis=1)
        best = least_flexible(errors)[0]
        if best < len(_PENALTIES):
            before[ion, : len(seen)] = seen
            weight[ion, : len(seen)] = _fit(z, y, own, _PENALTIES[best])
            odds[:, ion] = held_odds[best]
            mean[ion] = expit(odds[:, ion]).mean()
    return Chain(alone.odds, order, before, weight, mean), odds


def _fit(
    z: NDArray[np.float64], y: NDArray[np.float64], offset: NDArray[np.float64], penalty: float
) -> NDArray[np.float64]:
    """Return slopes of a logistic regression beside known log odds, by Newton's method."""
    slope = np.zeros(z.shape[1])
    for _ in range(_STEPS):
        p = expit(offset + z @ slope)
        gradient = z.T @ (p - y) + penalty * slope
        curvature = (z * (p * (1 - p))[:, None]).T @ z + penalty * np.eye(len(slope))
        step = np.linalg.solve(curvature, gradient)
        # A ridge penalty bounds the curvature from below; long steps are cut, where far from the minimum.
        slope -= step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-300))
        if np.abs(step).max() < 1e-6:
            break
    return slope
