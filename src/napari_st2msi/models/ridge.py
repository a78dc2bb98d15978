"""Ridge regression for many ions at once, each with its own penalty."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.features.threads import threads_for
from napari_st2msi.models.inner import InnerFold
from napari_st2msi.progress import Progress, check, never

_SLACK = 0.5  # standard errors


@dataclass(frozen=True)
class Linear:
    """Linear maps from r features to k ions: ``features @ slope + intercept``.

    Attributes
    ----------
    slope
        (r, k) float64.
    intercept
        (k,) float64.
    alpha
        (k,) the penalty of each ion; infinity where the training mean was the best prediction.
    """

    slope: NDArray[np.float64]
    intercept: NDArray[np.float64]
    alpha: NDArray[np.float64]

    def __call__(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (spots, k)."""
        return features @ self.slope + self.intercept


def fit_ridge(
    features: NDArray[np.floating],
    targets: NDArray[np.floating],
    alphas: NDArray[np.float64],
    folds: Sequence[InnerFold],
    *,
    present: NDArray[np.bool_] | None = None,
    learned: NDArray[np.bool_] | None = None,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Linear:
    """Fit ridge with a penalty for each target, chosen on inner folds.

    All penalties are tried along one eigendecomposition a fold. The training mean is one of the
    candidates (an infinite penalty), so targets that features say nothing about get exactly that.
    Of penalties that the inner folds cannot tell from the best, the largest is taken.

    Parameters
    ----------
    features, targets
        (n, r) and (n, k).
    alphas
        Penalties to try, ascending. The intercept is not penalised.
    folds
        Inner folds; with none, every target gets its mean.
    present
        (n, k) which spots count for which target; None counts all.
    learned
        (k,) which targets to learn; the others get their mean. None learns all.
    """
    k = targets.shape[1]
    weight = np.ones(targets.shape, dtype=bool) if present is None else present
    slope, alpha = np.zeros((features.shape[1], k)), np.full(k, np.inf)
    intercept = np.where(weight, targets, 0.0).sum(axis=0) / np.maximum(weight.sum(axis=0), 1)
    groups = _same_spots(weight, np.ones(k, dtype=bool) if learned is None else learned)
    for done, (rows, columns) in enumerate(groups):
        check(cancelled)
        progress(done / len(groups), "intensity")
        x, y = (features, targets) if rows is None else (features[rows], targets[rows])
        y = y[:, columns]
        inner = list(folds) if rows is None else _restrict(folds, rows)
        with threads_for(_operations(x, y)):
            chosen = choose_alpha(x, y, alphas, inner, cancelled=cancelled)
            slope[:, columns], intercept[columns] = solve(x, y, chosen)
        alpha[columns] = chosen
    return Linear(slope, intercept, alpha)


def choose_alpha(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    alphas: NDArray[np.float64],
    folds: Sequence[InnerFold],
    *,
    cancelled: Callable[[], bool] = never,
) -> NDArray[np.float64]:
    """Return (k,) the penalty of each target: see `fit_ridge`."""
    errors = np.zeros((len(folds), len(alphas) + 1, y.shape[1]))
    for fold, (fit, held) in enumerate(folds):
        check(cancelled)
        centre, mean = x[fit].mean(axis=0), y[fit].mean(axis=0)
        values, vectors, moment = _decompose(x[fit] - centre, y[fit] - mean)
        basis, rest = (x[held] - centre) @ vectors, y[held] - mean
        # The squared error as a quadratic form: its size does not grow with the number of spots.
        errors[fold, -1] = (rest**2).sum(axis=0)
        gram, cross = basis.T @ basis, basis.T @ rest
        for number, alpha in enumerate(alphas):
            slope = moment / (values + alpha)[:, None]
            errors[fold, number] = errors[fold, -1] + ((gram @ slope - 2 * cross) * slope).sum(axis=0)
    return np.append(alphas, np.inf)[least_flexible(errors)]


def least_flexible(errors: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the last candidate that is not clearly worse than the best.

    Parameters
    ----------
    errors
        (folds, candidates, k) summed errors; candidates go from the most to the least flexible.

    Returns
    -------
    (k,) index of a candidate: the last whose error is within half a standard error of the best. The
    standard error is that of the difference to the best over folds, since folds differ far more
    than candidates do. The rule with a whole standard error is that of Breiman et al. 1984
    (Classification and Regression Trees); half keeps unlearnable ions at their mean as well and
    loses less where signal is weak (measured in docs/evaluation.md).
    """
    n_folds, n_candidates, k = errors.shape
    if n_folds < 2:
        return np.full(k, n_candidates - 1)
    best = errors.sum(axis=0).argmin(axis=0)
    excess = errors - np.take_along_axis(errors, best[None, None, :], axis=1)
    slack = _SLACK * excess.std(axis=0, ddof=1) * np.sqrt(n_folds)
    close = excess.sum(axis=0) <= slack
    return n_candidates - 1 - close[::-1].argmax(axis=0)


def solve(
    x: NDArray[np.floating], y: NDArray[np.floating], alpha: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return slope (r, k) and intercept (k,) of ridge with one penalty a target."""
    centre, mean = x.mean(axis=0), y.mean(axis=0)
    slope = np.zeros((x.shape[1], y.shape[1]))
    finite = np.isfinite(alpha)
    if finite.any():
        values, vectors, moment = _decompose(x - centre, (y - mean)[:, finite])
        slope[:, finite] = vectors @ (moment / (values[:, None] + alpha[finite]))
    return slope, mean - centre @ slope


def _decompose(
    x: NDArray[np.floating], y: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return (values, vectors, moment) such that the ridge slope is vectors @ (moment / (values + α)).

    The smaller Gram matrix is decomposed: of features, or of spots where these are fewer.
    """
    n, r = x.shape
    if r <= n:
        values, vectors = np.linalg.eigh(x.T @ x)
        return np.maximum(values, 0.0), vectors, vectors.T @ (x.T @ y)
    values, left = np.linalg.eigh(x @ x.T)
    values = np.maximum(values, 0.0)
    return values, x.T @ left, left.T @ y


def _operations(x: NDArray[np.floating], y: NDArray[np.floating]) -> float:
    """Return the operations of the largest step: a Gram matrix, its decomposition, or a product with targets."""
    n, r = x.shape
    return max(2.0 * n * r * max(min(n, r), y.shape[1]), 10.0 * min(n, r) ** 3)


def _same_spots(
    present: NDArray[np.bool_], learned: NDArray[np.bool_]
) -> list[tuple[NDArray[np.int64] | None, NDArray[np.int64]]]:
    """Return groups of targets that count on the same spots: (spots or None for all, targets)."""
    full = present.all(axis=0)
    groups: list[tuple[NDArray[np.int64] | None, NDArray[np.int64]]] = []
    if (full & learned).any():
        groups.append((None, np.flatnonzero(full & learned)))
    for target in np.flatnonzero(~full & learned):
        groups.append((np.flatnonzero(present[:, target]), np.array([target])))
    return groups


def _restrict(folds: Sequence[InnerFold], rows: NDArray[np.int64]) -> list[InnerFold]:
    """Return the folds on a subset of spots, in positions of that subset; empty folds are dropped."""
    position = np.full(max(max(fit.max(), held.max()) for fit, held in folds) + 1 if folds else 0, -1)
    rows_known = rows[rows < len(position)]
    position[rows_known] = np.arange(len(rows_known))
    restricted = []
    for fit, held in folds:
        own_fit, own_held = position[fit], position[held]
        own_fit, own_held = own_fit[own_fit >= 0], own_held[own_held >= 0]
        if len(own_fit) and len(own_held):
            restricted.append((own_fit, own_held))
    return restricted
