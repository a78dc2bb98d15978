"""From which intensity an ion counts as present; learned from training spots only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.recipe import Ions

# An ion's distribution is looked at by so many of its intensities, at even ranks.
_POINTS = 256
_LEAST = 20
_ROUNDS = 200
# Two groups closer than this do not show as two (Ashman's D).
_APART = 2.0


def floors(intensities: NDArray[np.float64], choices: Ions) -> NDArray[np.float64]:
    """Return (ions,) the intensity above which each ion counts as present.

    Parameters
    ----------
    intensities
        (spots, ions) of training spots, as measured.
    choices
        ``above_zero``: 0. ``noise``: one level for all ions, which the recipe's share of all intensities above 0
        lies below. ``mixture``: for each ion where two groups of its intensities above 0 part, see `parting`;
        0 where there is one group only.
    """
    if choices.presence_rule == "mixture":
        return np.array([_parting_of(column[column > 0]) for column in intensities.T])
    level = 0.0
    if choices.presence_rule == "noise" and (above := intensities[intensities > 0]).size:
        level = float(np.quantile(above, choices.noise_quantile))
    return np.full(intensities.shape[1], level)


def parting(points: NDArray[np.float64]) -> float | None:
    """Return where two groups of values part, None where there is one group.

    Two normal distributions are fitted by expectation maximisation (Dempster, Laird and Rubin 1977,
    doi:10.1111/j.2517-6161.1977.tb01600.x). They count as two where that is likelier than one by Schwarz's
    criterion (1978, doi:10.1214/aos/1176344136) and Ashman's D is above 2 (Ashman, Bird and Zepf 1994,
    doi:10.1086/117248).

    Parameters
    ----------
    points
        (n,) values; of intensities, their logarithm.
    """
    n, whole = len(points), float(points.std())
    if n < _LEAST or whole <= 1e-9 * max(1.0, float(np.abs(points).max())):
        return None
    mean, deviation, share = np.quantile(points, [0.2, 0.8]), np.full(2, whole / 2), np.full(2, 0.5)
    before = -np.inf
    for _ in range(_ROUNDS):
        log = _log_densities(points, mean, deviation, share)
        top = log.max(axis=1)
        likelihood = top + np.log(np.exp(log - top[:, None]).sum(axis=1))
        belongs = np.exp(log - likelihood[:, None])
        size = np.maximum(belongs.sum(axis=0), 1e-9)
        share, mean = size / n, (belongs * points[:, None]).sum(axis=0) / size
        # A group may not shrink onto a single value.
        deviation = np.sqrt((belongs * (points[:, None] - mean) ** 2).sum(axis=0) / size + (0.02 * whole) ** 2)
        if (now := float(likelihood.sum())) - before < 1e-6 * n:
            break
        before = now
    single = float(_log_densities(points, points.mean(), whole, np.ones(1)).sum())
    apart = abs(mean[1] - mean[0]) / np.sqrt((deviation**2).mean())
    if apart <= _APART or 2 * (now - single) <= 3 * np.log(n):
        return None
    order = np.argsort(mean)
    between = np.linspace(float(mean.min()), float(mean.max()), 513)
    lower, upper = _log_densities(between, mean[order], deviation[order], share[order]).T
    return float(between[np.argmax(upper >= lower)])


def _parting_of(above: NDArray[np.float64]) -> float:
    if len(above) < _LEAST:
        return 0.0
    points = np.log(above) if len(above) <= _POINTS else np.log(np.quantile(above, np.linspace(0, 1, _POINTS)))
    found = parting(points)
    return 0.0 if found is None else float(np.exp(found))


def _log_densities(
    points: NDArray[np.float64],
    mean: NDArray[np.float64] | float,
    deviation: NDArray[np.float64] | float,
    share: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return (n, groups) logarithms of each group's density, times its share."""
    away = (points[:, None] - mean) / deviation
    return np.asarray(np.log(share / (deviation * np.sqrt(2 * np.pi))) - away**2 / 2)
