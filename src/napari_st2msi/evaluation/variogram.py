"""How far ions resemble themselves: variograms of all ions at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.features.blocks import longer_side
from napari_st2msi.features.spatial import centred

#: Lags are looked at up to this share of the section's longer side: beyond, few pairs are left.
FARTHEST = 0.5
#: Ions of which less than this share of the variance has structure have no range of their own.
STRUCTURED = 0.2
# Spots that pairs are formed of, at most; lags told apart; ranges tried.
_SPOTS, _LAGS, _RANGES = 1500, 16, 32
_FEW = 0.1


@dataclass(frozen=True)
class Variogram:
    """Spherical variograms fitted to many ions.

    Attributes
    ----------
    lags
        (lags,) mean distance in µm of the pairs of each class.
    pairs
        (lags,) how many pairs of spots.
    gamma
        (lags, ions) half the mean squared difference of such pairs, as a share of the ion's variance within
        sections; NaN for constant ions.
    nugget, sill
        (ions,) the fitted value at no distance, and beyond the range; shares of the variance.
    range_um
        (ions,) the distance from which spots no longer resemble each other, at most the farthest lag.
    """

    lags: NDArray[np.float64]
    pairs: NDArray[np.int64]
    gamma: NDArray[np.float64]
    nugget: NDArray[np.float64]
    sill: NDArray[np.float64]
    range_um: NDArray[np.float64]

    @property
    def structured(self) -> NDArray[np.bool_]:
        """(ions,) whether a fifth of the variance or more is shared with what lies around."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.sill - self.nugget >= STRUCTURED)

    @property
    def typical_range(self) -> float | None:
        """Median range in µm over ions with structure; None where fewer than a tenth have any, as in noise."""
        own = self.structured
        return float(np.median(self.range_um[own])) if own.mean() >= _FEW else None


def variogram(values: NDArray[np.floating], xy: NDArray[np.float64], section: NDArray[Any]) -> Variogram | None:
    """Estimate variograms within sections (Matheron 1963, doi:10.2113/gsecongeo.58.8.1246) and fit spheres to them.

    Pairs are formed of at most 1,500 spots, drawn evenly from all. Fits are least squares weighted by the
    number of pairs (Cressie 1985, doi:10.1007/BF01032109), nugget and structure not below 0.

    Parameters
    ----------
    values
        (n, ions) on the scale that models learn on.
    xy, section
        (n, 2) positions in µm and (n,) section of each spot.

    Returns
    -------
    The variograms; None where no two spots of a section lie apart.
    """
    farthest = FARTHEST * longer_side(xy, section)
    if not farthest > 0:
        return None
    drawn = np.random.default_rng(0).permutation(len(xy))[:_SPOTS]
    at, label = xy[drawn], np.asarray(section)[drawn]
    z = centred(values[drawn], label)
    power = (z**2).mean(axis=0)
    constant = power <= 1e-20 * np.maximum((np.asarray(values[drawn], dtype=np.float64) ** 2).mean(axis=0), 1e-300)
    z /= np.sqrt(np.where(constant, 1.0, power))
    i, j, distance = _pairs(at, label, farthest)
    if not len(i):
        return None
    lag = np.minimum((distance / farthest * _LAGS).astype(np.int64), _LAGS - 1)
    count = np.bincount(lag, minlength=_LAGS)
    there = count > 0
    lags = np.bincount(lag, distance, minlength=_LAGS)[there] / count[there]
    gamma = np.array([_half_squares(z, i[lag == each], j[lag == each]) for each in np.flatnonzero(there)])
    gamma[:, constant] = np.nan
    return Variogram(lags, count[there], gamma, *_fit(lags, count[there], gamma, farthest))


def _pairs(
    xy: NDArray[np.float64], section: NDArray[Any], farthest: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the pairs of spots of one section that lie apart, but not farther than `farthest` µm."""
    from scipy.spatial import cKDTree

    found = [np.zeros((0, 2), dtype=np.int64)]
    for name in np.unique(section):
        own = np.flatnonzero(section == name)
        found.append(own[cKDTree(xy[own]).query_pairs(farthest, output_type="ndarray")])
    i, j = np.concatenate(found).T
    distance = np.linalg.norm(xy[i] - xy[j], axis=1)
    apart = distance > 0
    return i[apart], j[apart], distance[apart]


def _half_squares(z: NDArray[np.float64], i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (ions,) half the mean squared difference of pairs, as one sparse product."""
    from scipy.sparse import csr_array

    n = len(z)
    near = csr_array((np.ones(len(i)), (i, j)), shape=(n, n))
    degree = np.bincount(i, minlength=n) + np.bincount(j, minlength=n)
    return np.asarray((degree @ z**2 - 2 * (z * (near @ z)).sum(axis=0)) / (2 * len(i)))


def _fit(
    lags: NDArray[np.float64], pairs: NDArray[np.int64], gamma: NDArray[np.float64], farthest: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return nugget, sill and range of each ion: the best of many ranges, for each of which the rest is linear."""
    weight = pairs / pairs.sum()
    mean = weight @ gamma
    best = np.full(gamma.shape[1], np.inf)
    nugget, structure, reach = mean.copy(), np.zeros_like(mean), np.full_like(mean, np.nan)
    # A range within the first class of lags would be told by that class alone.
    least = lags[min(1, len(lags) - 1)]
    for candidate in np.geomspace(least, max(farthest, least), _RANGES):
        h = np.minimum(lags / candidate, 1.0)
        rise = 1.5 * h - 0.5 * h**3
        centred = rise - weight @ rise
        spread = weight @ centred**2
        slope = (weight * centred) @ gamma / spread if spread > 1e-12 else np.zeros_like(mean)
        slope = np.maximum(slope, 0.0)
        start = mean - slope * (weight @ rise)
        below = start < 0
        slope = np.where(below, (weight * rise) @ gamma / (weight @ rise**2), slope)
        start = np.maximum(start, 0.0)
        error = weight @ (gamma - start - rise[:, None] * slope) ** 2
        better = error < best
        best = np.where(better, error, best)
        nugget, structure = np.where(better, start, nugget), np.where(better, slope, structure)
        reach = np.where(better & (slope > 0), candidate, reach)
    return nugget, nugget + structure, reach
