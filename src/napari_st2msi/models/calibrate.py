"""Probabilities that mean what they say: scores of held-out spots, fitted to how often ions were there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

_STEPS = 50


def calibrate(
    scores: NDArray[np.floating], present: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return scale a and shift b of each ion, so that a·score + b are log odds (Platt 1999).

    Newton's method on the log loss with Platt's targets, which stay off 0 and 1 by one spot; a is never
    below 0. Ions without scores on both sides keep a = 1, b = 0.

    Parameters
    ----------
    scores
        (n, k) scores of spots that the classifier did not see; NaN where there is none.
    present
        (n, k).
    """
    known = ~np.isnan(scores)
    z = np.where(known, scores, 0.0)
    there, missing = (present & known).sum(axis=0), (~present & known).sum(axis=0)
    target = np.where(present, (there + 1) / (there + 2), 1 / (missing + 2))
    scale, shift = np.ones(z.shape[1]), np.zeros(z.shape[1])
    best = _loss(z, known, target, scale, shift)
    for _ in range(_STEPS):
        p = expit(scale * z + shift)
        error, weight = np.where(known, p - target, 0.0), np.where(known, p * (1 - p), 0.0)
        first = np.array([(error * z).sum(axis=0), error.sum(axis=0)])
        a, b, c = ((weight * part).sum(axis=0) + 1e-6 for part in (z * z, z, np.ones_like(z)))
        determinant = np.maximum(a * c - b * b, 1e-12)
        step = np.array([c * first[0] - b * first[1], a * first[1] - b * first[0]]) / determinant
        moved = False
        for shrink in (1.0, 0.25, 0.0625):
            scale_new, shift_new = np.maximum(scale - shrink * step[0], 0.0), shift - shrink * step[1]
            loss = _loss(z, known, target, scale_new, shift_new)
            better = loss < best - 1e-9
            scale, shift = np.where(better, scale_new, scale), np.where(better, shift_new, shift)
            best, moved = np.where(better, loss, best), moved or bool(better.any())
        if not moved:
            break
    usable = (there > 0) & (missing > 0)
    return np.where(usable, scale, 1.0), np.where(usable, shift, 0.0)


def best_thresholds(odds: NDArray[np.floating], present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return (k,) the probability from which an ion is best called present, by F1 on held-out spots.

    Parameters
    ----------
    odds
        (n, k) log odds of spots that the classifier did not see.
    """
    candidates = np.arange(0.05, 0.96, 0.05)
    scores = np.empty((len(candidates), present.shape[1]))
    for number, candidate in enumerate(candidates):
        called = odds >= logit(candidate)
        hits = (called & present).sum(axis=0)
        scores[number] = 2 * hits / np.maximum(called.sum(axis=0) + present.sum(axis=0), 1)
    # Of equally good ones the one nearest to a half.
    near = np.abs(candidates - 0.5)[:, None]
    return candidates[(scores - 1e-9 * near).argmax(axis=0)]


def _loss(
    z: NDArray[np.floating],
    known: NDArray[np.bool_],
    target: NDArray[np.float64],
    scale: NDArray[np.float64],
    shift: NDArray[np.float64],
) -> NDArray[np.float64]:
    odds = scale * z + shift
    return np.where(known, np.logaddexp(0.0, odds) - target * odds, 0.0).sum(axis=0)
