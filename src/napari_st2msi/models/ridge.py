"""Ridge regression for many ions at once, each with its own penalty."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.features.threads import threads_for
from napari_st2msi.models.choose import least_flexible
from napari_st2msi.models.inner import InnerFold
from napari_st2msi.models.maps import Linear
from napari_st2msi.models.ridge_partial import choose_alpha_where, solve_where
from napari_st2msi.progress import Progress, check, never


def fit_ridge(
    features: NDArray[np.floating],
    targets: NDArray[np.floating],
    alphas: NDArray[np.float64],
    folds: Sequence[InnerFold],
    *,
    present: NDArray[np.bool_] | None = None,
    learned: NDArray[np.bool_] | None = None,
    spot_by_spot: bool = False,
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
    spot_by_spot
        Choose penalties by leaving out one spot at a time instead, where a target counts in all spots:
        see `left_out_errors`.
    """
    k = targets.shape[1]
    weight = np.ones(targets.shape, dtype=bool) if present is None else present
    slope, alpha = np.zeros((features.shape[1], k)), np.full(k, np.inf)
    intercept = np.where(weight, targets, 0.0).sum(axis=0) / np.maximum(weight.sum(axis=0), 1)
    asked, full = np.ones(k, dtype=bool) if learned is None else learned, weight.all(axis=0)
    whole, partly = np.flatnonzero(asked & full), np.flatnonzero(asked & ~full)
    share = len(whole) / max(len(whole) + 5 * len(partly), 1)
    if len(whole):
        check(cancelled)
        progress(0.0, "intensity")
        y = targets[:, whole]
        with threads_for(_operations(features, y)):
            if not spot_by_spot:
                alpha[whole] = choose_alpha(features, y, alphas, folds, cancelled=cancelled)
            solver = Solver(features, y)
            if spot_by_spot:
                alpha[whole] = np.append(alphas, np.inf)[left_out_errors(solver, features, y, alphas).argmin(axis=0)]
            slope[:, whole], intercept[whole] = solver(alpha[whole])
    if len(partly):
        y, w = targets[:, partly], weight[:, partly]
        part = progress.part(share, 1.0)
        alpha[partly] = choose_alpha_where(features, y, w, alphas, folds, progress=part, cancelled=cancelled)
        slope[:, partly], intercept[partly] = solve_where(features, y, w, alpha[partly], cancelled=cancelled)
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
    for number, fold in enumerate(folds):
        check(cancelled)
        errors[number] = path_errors(*fold.split(x), y[fold.fit], y[fold.held], alphas)
    return np.append(alphas, np.inf)[least_flexible(errors)]


def path_errors(
    x: NDArray[np.floating],
    x_held: NDArray[np.floating],
    y: NDArray[np.floating],
    y_held: NDArray[np.floating],
    alphas: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return (penalties + 1, k) summed squared errors on held-out spots; the last is that of the mean."""
    centre, mean = x.mean(axis=0), y.mean(axis=0)
    values, vectors, moment = decompose(x - centre, y - mean)
    basis, rest = (x_held - centre) @ vectors, y_held - mean
    errors = np.empty((len(alphas) + 1, y.shape[1]))
    errors[-1] = (rest**2).sum(axis=0)
    if len(basis) <= basis.shape[1]:
        for number, alpha in enumerate(alphas):
            missed = basis @ (moment / (values + alpha)[:, None])
            missed -= rest
            errors[number] = np.einsum("ij,ij->j", missed, missed)
        return errors
    # The squared error as a quadratic form: its size does not grow with the number of spots.
    gram, cross = basis.T @ basis, basis.T @ rest
    for number, alpha in enumerate(alphas):
        slope = moment / (values + alpha)[:, None]
        errors[number] = errors[-1] + ((gram @ slope - 2 * cross) * slope).sum(axis=0)
    return errors


def left_out_errors(
    solver: Solver, x: NDArray[np.floating], y: NDArray[np.floating], alphas: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (penalties + 1, k) summed squared errors with each spot left out; the last is that of the mean.

    A spot's left-out error is its error in the fit to all, over 1 minus its leverage (Allen 1974,
    doi:10.1080/00401706.1974.10489157), so nothing is fitted again. Neighbours of a spot stay in: on tissue
    this flatters weak penalties.

    Parameters
    ----------
    solver
        Made of `x` and `y`.
    """
    n = len(x)
    centred, rest = x - solver.centre, y - solver.mean
    real = solver.values > solver.values[-1] * 1e-13
    values, vectors = solver.values[real], solver.vectors[:, real]
    # The vectors are of unit length, or where spots are few as long as singular values.
    basis = centred @ (vectors / (np.sqrt(values) if x.shape[1] <= n else values))
    moment, power = basis.T @ rest, basis**2
    errors = np.empty((len(alphas) + 1, y.shape[1]))
    errors[-1] = (rest**2).sum(axis=0) * (n / max(n - 1, 1)) ** 2
    # Differences of errors between penalties are far above single precision.
    short, rest = basis.astype(np.float32), rest.astype(np.float32)
    for number, alpha in enumerate(alphas):
        kept = values / (values + alpha)
        missed = rest - short @ (kept[:, None] * moment).astype(np.float32)
        weight = 1.0 / np.maximum(1.0 - 1.0 / n - power @ kept, 1e-12) ** 2
        missed *= missed
        errors[number] = weight.astype(np.float32) @ missed
    return errors


class Solver:
    """Ridge of many targets on the same features, for whatever penalties are asked.

    Parameters
    ----------
    x, y
        (n, r) features and (n, k) targets.
    """

    def __init__(self, x: NDArray[np.floating], y: NDArray[np.floating]) -> None:
        self.centre, self.mean = x.mean(axis=0), y.mean(axis=0)
        self.values, self.vectors, self.moment = decompose(x - self.centre, y - self.mean)

    def __call__(self, alpha: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return slope (r, k) and intercept (k,) with one penalty a target."""
        slope = np.zeros((len(self.centre), len(self.mean)))
        finite = np.isfinite(alpha)
        if finite.any():
            slope[:, finite] = self.vectors @ (self.moment[:, finite] / (self.values[:, None] + alpha[finite]))
        return slope, self.mean - self.centre @ slope


def solve(
    x: NDArray[np.floating], y: NDArray[np.floating], alpha: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return slope (r, k) and intercept (k,) of ridge with one penalty a target."""
    return Solver(x, y)(alpha)


def decompose(
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
