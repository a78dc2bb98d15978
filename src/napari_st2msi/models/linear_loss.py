"""Linear classifiers of many targets at once: minimise a smooth loss with a ridge penalty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from napari_st2msi.progress import check, never

_MOST_STEPS = 200
_Array = NDArray[np.floating]


@dataclass(frozen=True)
class Loss:
    """A convex loss of a score and of what was there.

    Attributes
    ----------
    value
        (scores, y) → summed loss of each target.
    slope
        (scores, y) → first and second derivative with respect to the score.
    constant
        Share of ones → the best score where nothing is known.
    curvature
        Share of ones → about the mean of the second derivative.
    """

    value: Callable[[_Array, _Array], _Array]
    slope: Callable[[_Array, _Array], tuple[_Array, _Array]]
    constant: Callable[[_Array], _Array]
    curvature: Callable[[_Array], _Array]


def _logistic(odds: _Array, y: _Array) -> tuple[_Array, _Array]:
    p = expit(odds)
    return p - y, p * (1 - p)


def _hinge(score: _Array, y: _Array) -> tuple[_Array, _Array]:
    sign = 2 * y - 1
    short = np.maximum(1 - sign * score, 0.0)
    return -sign * short, (short > 0).astype(score.dtype)


#: The log loss of logistic regression.
LOGISTIC = Loss(
    value=lambda odds, y: (np.logaddexp(0.0, odds) - y * odds).sum(axis=0),
    slope=_logistic,
    constant=lambda share: logit(share),
    curvature=lambda share: share * (1 - share),
)
#: Half the squared hinge loss of a linear support vector machine, smooth enough for Newton's steps.
SQUARED_HINGE = Loss(
    value=lambda score, y: 0.5 * (np.maximum(1 - (2 * y - 1) * score, 0.0) ** 2).sum(axis=0),
    slope=_hinge,
    constant=lambda share: 2 * share - 1,
    curvature=lambda share: np.ones_like(share),
)


def solve_linear(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    alpha: NDArray[np.float64],
    *,
    loss: Loss = LOGISTIC,
    start: tuple[NDArray[np.floating], NDArray[np.floating]] | None = None,
    tolerance: float = 1e-5,
    cancelled: Callable[[], bool] = never,
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Minimise the penalised loss of many targets at once.

    Preconditioned nonlinear conjugate gradients (Polak and Ribière, restarted when negative), with
    a safeguarded Newton search along the line. All targets share two matrix products a step; those
    that have converged leave.

    Parameters
    ----------
    x, y
        (n, r) features and (n, k) of 0 and 1, neither constant, of one precision. Nearly uncorrelated features, such as
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
    x = np.column_stack([x - centre, np.ones(n, dtype=x.dtype)])
    share = y.mean(axis=0)
    weights = np.vstack([np.zeros((x.shape[1] - 1, k)), loss.constant(share)])
    if start is not None:
        weights = np.vstack([start[0], start[1] + centre @ start[0]])
    weights = weights.astype(x.dtype)
    penalty = np.vstack([np.tile(alpha, (x.shape[1] - 1, 1)), np.zeros(k)]).astype(x.dtype)
    # The Hessian of uncorrelated features is nearly diagonal: mean curvature × power + penalty.
    scale = (1.0 / (power * np.maximum(loss.curvature(share), 1e-6) + penalty)).astype(x.dtype)
    active = np.arange(k)
    odds = x @ weights
    direction, old_gradient, old_size = np.zeros_like(weights), np.zeros_like(weights), np.ones(k, x.dtype)
    for _ in range(_MOST_STEPS):
        check(cancelled)
        w, s, q = weights[:, active], scale[:, active], penalty[:, active]
        gradient = x.T @ loss.slope(odds, y[:, active])[0] + q * w
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
        step = _line_search(loss, odds, along, y[:, active], q, w, direction).astype(x.dtype)
        weights[:, active] = w + step * direction
        odds = odds + step * along
        old_gradient, old_size = gradient[:, go], size[go]
    return weights[:-1], weights[-1] - centre @ weights[:-1]


def _line_search(
    loss: Loss,
    odds: NDArray[np.floating],
    along: NDArray[np.floating],
    y: NDArray[np.floating],
    penalty: NDArray[np.floating],
    weights: NDArray[np.floating],
    direction: NDArray[np.floating],
) -> NDArray[np.floating]:
    """Return (k,) steps near the minimum along each line: Newton's, kept inside a shrinking bracket."""
    flat = (penalty * weights * direction).sum(axis=0)
    curved = (penalty * direction**2).sum(axis=0)
    step, low, high = np.zeros(odds.shape[1]), np.zeros(odds.shape[1]), np.full(odds.shape[1], np.inf)
    for _ in range(3):
        rising, bending = loss.slope(odds + step * along, y)
        first = (rising * along).sum(axis=0) + flat + step * curved
        second = (bending * along**2).sum(axis=0) + curved
        low, high = np.where(first < 0, step, low), np.where(first > 0, np.minimum(high, step), high)
        newton = step - first / np.maximum(second, 1e-300)
        middle = np.where(np.isfinite(high), (low + high) / 2, 2 * low + 1)
        step = np.where((newton >= low) & (newton <= high), newton, middle)
    return step
