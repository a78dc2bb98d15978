"""Presence of many ions at once by linear classifiers, each with its own penalty and calibrated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from napari_st2msi.features.threads import threads_for
from napari_st2msi.models.calibrate import calibrate
from napari_st2msi.models.choose import least_flexible
from napari_st2msi.models.inner import InnerFold
from napari_st2msi.models.linear_loss import LOGISTIC, Loss, solve_linear
from napari_st2msi.models.maps import Linear
from napari_st2msi.models.ridge_partial import principal_axes
from napari_st2msi.progress import Progress, never

_BATCH = 2**22  # spots × ions worked on at once: 32 MB an array


@dataclass(frozen=True)
class Presence:
    """Fitted classifiers of many ions.

    Attributes
    ----------
    odds
        Map from features to the log odds of presence.
    out_of_fold
        (n, k) log odds of the training spots, each by classifiers of an inner fold that did not see it;
        those of the share of spots where nothing was learned, or where a spot was in no fold.
    """

    odds: Linear
    out_of_fold: NDArray[np.float64]


def fit_presence(
    features: NDArray[np.float64],
    present: NDArray[np.bool_],
    alphas: NDArray[np.float64],
    folds: Sequence[InnerFold],
    *,
    loss: Loss = LOGISTIC,
    learned: NDArray[np.bool_] | None = None,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Presence:
    """Fit one linear classifier an ion; the result is linear in the log odds.

    Ions always or never present get log odds of plus or minus infinity. The penalty of each ion is
    chosen on inner folds by its loss, with the mere share of spots (an infinite penalty) among the
    candidates and the rule of `napari_st2msi.models.choose.least_flexible`. What the classifiers of
    inner folds said of spots held out then calibrates them: see `napari_st2msi.models.calibrate`.

    Parameters
    ----------
    features
        (n, r).
    present
        (n, k).
    alphas
        Penalties to try, ascending: α/2 times the squared slope is added to the summed loss.
    loss
        What is minimised: logistic, or the squared hinge of a support vector machine.
    learned
        (k,) which ions to learn; the others get their share of spots. None learns all.
    """
    n, k = present.shape
    with np.errstate(divide="ignore"):
        intercept = logit(present.mean(axis=0))
    slope, chosen = np.zeros((features.shape[1], k)), np.full(k, np.inf)
    out_of_fold = np.tile(intercept, (n, 1))
    mixed = np.flatnonzero(np.isfinite(intercept) & (True if learned is None else learned))
    batches = np.array_split(mixed, max(1, -(-len(mixed) * n // _BATCH))) if len(mixed) else []
    axes, _, _ = principal_axes(features)
    rotated = features @ axes
    for number, batch in enumerate(batches):
        part = progress.part(number / len(batches), (number + 1) / len(batches))
        y = present[:, batch].astype(float)
        with threads_for(2.0 * features.size * len(batch)):
            alpha, held = _choose(features, y, alphas, folds, loss, part, cancelled)
            beyond_share = np.isfinite(alpha)
            columns = batch[beyond_share]
            own, level = solve_linear(rotated, y[:, beyond_share], alpha[beyond_share], loss=loss, cancelled=cancelled)
        scale, shift = calibrate(held[:, beyond_share], present[:, columns])
        slope[:, columns], intercept[columns] = axes @ (own * scale), level * scale + shift
        seen = ~np.isnan(held[:, beyond_share])
        out_of_fold[:, columns] = np.where(seen, held[:, beyond_share] * scale + shift, out_of_fold[:, columns])
        chosen[batch] = alpha
    return Presence(Linear(slope, intercept, chosen), out_of_fold)


def _choose(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    alphas: NDArray[np.float64],
    folds: Sequence[InnerFold],
    loss: Loss,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the penalty of each ion (k,), and what it says of held-out spots (n, k), NaN where nothing."""
    k = y.shape[1]
    losses = np.empty((len(folds), len(alphas) + 1, k))
    said = np.full((len(alphas) + 1, len(x), k), np.nan, dtype=np.float32)
    for number, fold in enumerate(folds):
        fit, held = fold.fit, fold.held
        share = (y[fit].sum(axis=0) + 0.5) / (len(fit) + 1)  # finite where an ion is missing from a fold
        # An ion that does not vary in this fold says nothing here for or against any penalty.
        losses[number] = loss.value(np.tile(loss.constant(share), (len(held), 1)), y[held])
        usable = np.flatnonzero((y[fit].min(axis=0) == 0) & (y[fit].max(axis=0) == 1))
        if not len(usable):
            continue
        x_fit, x_held = fold.split(x)
        axes, _, _ = principal_axes(x_fit)
        # Choosing needs no more than single precision.
        x_fit, x_held = (x_fit @ axes).astype(np.float32), (x_held @ axes).astype(np.float32)
        there = y[np.ix_(fit, usable)].astype(np.float32)
        start: tuple[NDArray[np.floating], NDArray[np.floating]] | None = None
        for back in range(len(alphas)):
            progress((number + back / len(alphas)) / len(folds), "presence")
            # From strong to weak, each starting where the stronger ended.
            candidate = len(alphas) - 1 - back
            start = solve_linear(
                x_fit,
                there,
                np.full(len(usable), alphas[candidate]),
                loss=loss,
                start=start,
                tolerance=1e-3,
                cancelled=cancelled,
            )
            score = x_held @ start[0] + start[1]
            losses[number, candidate, usable] = loss.value(score, y[np.ix_(held, usable)])
            said[candidate][np.ix_(held, usable)] = score
    best = least_flexible(losses)
    return np.append(alphas, np.inf)[best], said[best, :, np.arange(k)].T.astype(np.float64)
