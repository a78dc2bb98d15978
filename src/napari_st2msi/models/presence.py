"""Presence of many ions at once by logistic regression, each with its own penalty."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from napari_st2msi.features.threads import threads_for
from napari_st2msi.models.choose import least_flexible
from napari_st2msi.models.inner import InnerFold
from napari_st2msi.models.maps import Linear
from napari_st2msi.models.ridge_partial import principal_axes
from napari_st2msi.progress import Progress, check, never

_BATCH = 2**22  # spots × ions worked on at once: 32 MB an array
_MOST_STEPS = 200


def fit_presence(
    features: NDArray[np.float64],
    present: NDArray[np.bool_],
    alphas: NDArray[np.float64],
    folds: Sequence[InnerFold],
    *,
    learned: NDArray[np.bool_] | None = None,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Linear:
    """Fit one logistic regression an ion; the result is linear in the log odds.

    Ions always or never present get log odds of plus or minus infinity. The penalty of each ion is
    chosen on inner folds by the log loss, with the mere share of spots (an infinite penalty) among
    the candidates and the rule of `napari_st2msi.models.choose.least_flexible`.

    Parameters
    ----------
    features
        (n, r).
    present
        (n, k).
    alphas
        Penalties to try, ascending: α/2 times the squared slope is added to the summed log loss.
    learned
        (k,) which ions to learn; the others get their share of spots. None learns all.
    """
    k = present.shape[1]
    with np.errstate(divide="ignore"):
        intercept = logit(present.mean(axis=0))
    slope, chosen = np.zeros((features.shape[1], k)), np.full(k, np.inf)
    mixed = np.flatnonzero(np.isfinite(intercept) & (True if learned is None else learned))
    axes, _, _ = principal_axes(features)
    rotated = features @ axes
    batches = np.array_split(mixed, max(1, -(-len(mixed) * len(features) // _BATCH))) if len(mixed) else []
    for number, batch in enumerate(batches):
        part = progress.part(number / len(batches), (number + 1) / len(batches))
        y = present[:, batch].astype(float)
        with threads_for(2.0 * features.size * len(batch)):
            alpha = _choose(features, y, alphas, folds, part, cancelled)
            beyond_share = np.isfinite(alpha)
            columns = batch[beyond_share]
            own, intercept[columns] = solve_logistic(
                rotated, y[:, beyond_share], alpha[beyond_share], cancelled=cancelled
            )
            slope[:, columns] = axes @ own
        chosen[batch] = alpha
    return Linear(slope, intercept, chosen)


def solve_logistic(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    alpha: NDArray[np.float64],
    *,
    start: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    tolerance: float = 1e-5,
    cancelled: Callable[[], bool] = never,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Minimise the penalised log loss of many targets at once.

    Preconditioned nonlinear conjugate gradients (Polak and Ribière, restarted when negative), with
    a safeguarded Newton search along the line. All targets share two matrix products a step; those
    that have converged leave.

    Parameters
    ----------
    x, y
        (n, r) features and (n, k) of 0 and 1, neither constant. Nearly uncorrelated features, such as
        principal axes, converge in few steps: the preconditioner leans on that.
    alpha
        (k,) penalties above 0; the intercept is not penalised.
    start
        Slope and intercept to start from.
    tolerance
        A target has converged when its squared gradient, measured by the preconditioner, falls
        below `tolerance`² times the number of spots.

    Returns
    -------
    Slope (r, k) and intercept (k,).
    """
    n, k = y.shape
    centre = x.mean(axis=0)
    power = np.append(((x - centre) ** 2).sum(axis=0), n)[:, None]
    x = np.column_stack([x - centre, np.ones(n)])
    share = y.mean(axis=0)
    weights = np.vstack([np.zeros((x.shape[1] - 1, k)), logit(share)])
    if start is not None:
        weights = np.vstack([start[0], start[1] + centre @ start[0]])
    penalty = np.vstack([np.tile(alpha, (x.shape[1] - 1, 1)), np.zeros(k)])
    # The Hessian of uncorrelated features is nearly diagonal: mean of p(1 - p) × power + penalty.
    scale = 1.0 / (power * np.maximum(share * (1 - share), 1e-6) + penalty)
    active = np.arange(k)
    odds = x @ weights
    direction, old_gradient, old_size = np.zeros_like(weights), np.zeros_like(weights), np.ones(k)
    for _ in range(_MOST_STEPS):
        check(cancelled)
        w, s, q = weights[:, active], scale[:, active], penalty[:, active]
        gradient = x.T @ (expit(odds) - y[:, active]) + q * w
        size = (gradient**2 * s).sum(axis=0)
        go = size > tolerance**2 * n
        if not go.any():
            break
        mix = np.maximum((gradient * (gradient - old_gradient) * s).sum(axis=0) / old_size, 0.0)
        direction = mix * direction - s * gradient
        uphill = (direction * gradient).sum(axis=0) >= 0
        direction[:, uphill] = -(s * gradient)[:, uphill]
        active, odds, direction = active[go], odds[:, go], direction[:, go]
        w, q = w[:, go], q[:, go]
        along = x @ direction
        step = _line_search(odds, along, y[:, active], q, w, direction)
        weights[:, active] = w + step * direction
        odds = odds + step * along
        old_gradient, old_size = gradient[:, go], size[go]
    return weights[:-1], weights[-1] - centre @ weights[:-1]


def _line_search(
    odds: NDArray[np.float64],
    along: NDArray[np.float64],
    y: NDArray[np.float64],
    penalty: NDArray[np.float64],
    weights: NDArray[np.float64],
    direction: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return (k,) steps near the minimum along each line: Newton's, kept inside a shrinking bracket."""
    flat = (penalty * weights * direction).sum(axis=0)
    curved = (penalty * direction**2).sum(axis=0)
    pull = (y * along).sum(axis=0)
    step, low, high = np.zeros(odds.shape[1]), np.zeros(odds.shape[1]), np.full(odds.shape[1], np.inf)
    for _ in range(3):
        p = expit(odds + step * along)
        first = (p * along).sum(axis=0) - pull + flat + step * curved
        second = (p * (1 - p) * along**2).sum(axis=0) + curved
        low, high = np.where(first < 0, step, low), np.where(first > 0, np.minimum(high, step), high)
        newton = step - first / np.maximum(second, 1e-300)
        middle = np.where(np.isfinite(high), (low + high) / 2, 2 * low + 1)
        step = np.where((newton >= low) & (newton <= high), newton, middle)
    return step


def _choose(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    alphas: NDArray[np.float64],
    folds: Sequence[InnerFold],
    progress: Progress,
    cancelled: Callable[[], bool],
) -> NDArray[np.float64]:
    """Return (k,) the penalty of each ion."""
    losses = np.empty((len(folds), len(alphas) + 1, y.shape[1]))
    for number, fold in enumerate(folds):
        fit, held = fold.fit, fold.held
        share = (y[fit].sum(axis=0) + 0.5) / (len(fit) + 1)  # finite where an ion is missing from a fold
        odds = np.tile(logit(share), (len(held), 1))
        # An ion that does not vary in this fold says nothing here for or against any penalty.
        losses[number] = _log_loss(odds, y[held])
        usable = np.flatnonzero((y[fit].min(axis=0) == 0) & (y[fit].max(axis=0) == 1))
        if not len(usable):
            continue
        x_fit, x_held = fold.split(x)
        axes, _, _ = principal_axes(x_fit)
        x_fit, x_held = x_fit @ axes, x_held @ axes
        start: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
        for back in range(len(alphas)):
            progress((number + back / len(alphas)) / len(folds), "presence")
            # From strong to weak, each starting where the stronger ended.
            candidate = len(alphas) - 1 - back
            start = solve_logistic(
                x_fit,
                y[np.ix_(fit, usable)],
                np.full(len(usable), alphas[candidate]),
                start=start,
                tolerance=1e-3,
                cancelled=cancelled,
            )
            losses[number, candidate, usable] = _log_loss(x_held @ start[0] + start[1], y[np.ix_(held, usable)])
    return np.append(alphas, np.inf)[least_flexible(losses)]


def _log_loss(odds: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return (np.logaddexp(0.0, odds) - y * odds).sum(axis=0)
