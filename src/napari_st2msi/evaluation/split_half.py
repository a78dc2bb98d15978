"""Halves of the pixels of each spot, compared: how much of an ion a second measurement would find again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.features.ions import IonScale
from napari_st2msi.features.spatial import centred
from napari_st2msi.progress import Progress, check, never

# Spots with two pixels or more, from which a share of variance can be told.
_FEW = 30
# Share of spots that may lie across an edge, and ions from which that can be told without looking at one's own noise.
_EDGES, _MANY = 0.1, 20
# Variance of a half on the log scale from which no correction is made for more.
_MOST = 10.0


@dataclass(frozen=True)
class Halves:
    """What halves of pixels say.

    Attributes
    ----------
    reliability
        (ions,) share of the variance of spots that is not noise of pixels, 0 to 1; NaN where it cannot be told.
    n_spots
        How many spots have two pixels or more.
    note
        Why nothing can be told, in words; empty where it can.
    """

    reliability: NDArray[np.float64]
    n_spots: int
    note: str = ""


def split_half(
    weights: Any,
    pixels: Any,
    xy: NDArray[np.float64],
    scale: IonScale,
    sections: NDArray[Any],
    *,
    n_splits: int = 10,
    seed: int = 0,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Halves:
    """Estimate from halves of the pixels of spots how reliable whole spots are.

    The pixels of each spot are dealt out to two halves at random, so that both have as many, and each half gives
    the spot a value as all pixels together do, on the learning scale. With weights w in the spot (sum 1), a and b in
    the halves and noise σ² of a pixel, halves differ by σ²(Σa² + Σb²), and the spot carries σ²Σw². For equal weights
    1 - noise/variance is the formula of Spearman (1910, doi:10.1111/j.2044-8295.1910.tb00206.x) and Brown.

    Halves also differ because their pixels lie on different tissue, which is no noise. This part grows with the
    squared distance of their centres; the slope over the splits of the same spot tells it, and it is taken away.
    Where an edge runs through a spot no slope says it, so the tenth of the spots whose halves differ most in all ions
    together do not count for the noise (with 20 ions or more).

    Parameters
    ----------
    weights
        (n, pixels) CSR: how much each pixel counts in each spot.
    pixels
        (pixels, ions) intensities, array or sparse.
    xy
        (pixels, 2) centres in µm.
    scale
        Fitted on the spots.
    sections
        (n,) section of each spot: the variance is within sections.

    Notes
    -----
    Noise that pixels share (a bad spectrum of the whole spot, a shifted registration) is not seen: the reliability
    is that of the measurement, at most.
    """
    from anndata import AnnData
    from scipy.sparse import csr_matrix

    weights = csr_matrix(weights, dtype=np.float64, copy=True)
    weights.sum_duplicates()
    weights.eliminate_zeros()
    count = np.diff(weights.indptr)
    several = np.flatnonzero(count >= 2)
    n_ions = len(scale.var_)
    if len(several) < _FEW:
        note = (
            f"{len(several):,} of {len(count):,} spots have two pixels or more, too few ({_FEW}) to tell from their "
            "halves what is reproducible: ceilings are rougher."
        )
        return Halves(np.full(n_ions, np.nan), len(several), note)
    weights, sections = weights[several], sections[several]
    spot = np.repeat(np.arange(len(several)), np.diff(weights.indptr))

    def learned(part: Any) -> NDArray[np.float64]:
        mean = part @ pixels
        mean = mean.toarray() if hasattr(mean, "toarray") else np.asarray(mean)
        return scale.forward(AnnData(np.maximum(mean, 0.0), var=scale.var_))

    whole = _share(weights, spot)
    values = learned(whole)
    squares = np.asarray(np.bincount(spot, whole.data**2), dtype=np.float64)
    rng = np.random.default_rng(seed)
    apart = np.zeros((len(several), n_splits))
    total, together, share = np.zeros((len(several), n_ions)), np.zeros((len(several), n_ions)), 0.0
    for number in range(n_splits):
        check(cancelled)
        first = _deal(spot, rng)
        halves = [_share(_masked(weights, mask), spot) for mask in (first, ~first)]
        factor = 1 / np.sum([np.bincount(spot, half.data**2) for half in halves], axis=0)
        share += (1 / factor).mean() / 2 / n_splits
        difference = factor[:, None] * (learned(halves[0]) - learned(halves[1])) ** 2
        apart[:, number] = factor * (((halves[0] - halves[1]) @ xy) ** 2).sum(axis=1)
        total += difference
        together += apart[:, [number]] * difference
        progress((number + 1) / n_splits, f"{number + 1:,} of {n_splits:,} halves of pixels")
    noise = _noise_of_a_pixel(total / n_splits, together / n_splits, apart, squares)
    if scale.choices.log1p:
        # The log of a mean of n log-normal values varies by log(1 + (e^σ² - 1)/n), more than σ²/n of the halves says.
        noise = np.log1p(np.expm1(np.minimum(noise * share, _MOST)) / share * squares.mean())
    else:
        noise = noise * squares.mean()
    variance = (centred(values, sections) ** 2).mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        reliability = np.where(variance > 0, np.clip(1 - noise / variance, 0.0, 1.0), np.nan)
    return Halves(reliability, len(several))


def _noise_of_a_pixel(
    difference: NDArray[np.float64],
    together: NDArray[np.float64],
    apart: NDArray[np.float64],
    weight: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return (ions,) the variance of a pixel's noise, after differences of tissue are taken away.

    Parameters
    ----------
    difference, together
        (n, ions) squared difference of halves, and its product with their distance, both means over splits.
    apart
        (n, splits) squared distance of halves.
    weight
        (n,) what a pixel's noise counts in each spot.
    """
    kept = _even(difference)
    difference, together, apart, weight = difference[kept], together[kept], apart[kept], weight[kept]
    # The slope is over the splits of the same spot, so that spots of many and of few pixels are not compared.
    mean = apart.mean(axis=1)
    spread = ((apart - mean[:, None]) ** 2).mean(axis=1).sum()
    rise = np.maximum(together.sum(axis=0) - mean @ difference, 0.0)
    slope = rise / spread if spread > 0 else np.zeros_like(rise)
    return np.maximum(weight @ difference - slope * (weight @ mean), 0.0) / weight.sum()


def _even(difference: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return (n,) which spots do not lie across an edge: not among the tenth whose halves differ most in all ions."""
    level = difference.mean(axis=0)
    there = level > 0
    if there.sum() < _MANY:
        return np.ones(len(difference), dtype=bool)
    unlike = (difference[:, there] / level[there]).mean(axis=1)
    return np.asarray(unlike <= np.quantile(unlike, 1 - _EDGES))


def _deal(spot: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return (entries,) whether each pixel of a spot goes to its first half: every second one in random order."""
    order = np.lexsort((rng.random(len(spot)), spot))
    start = np.searchsorted(spot, spot)  # entries of a spot lie together
    first = np.empty(len(spot), dtype=bool)
    first[order] = (np.arange(len(spot)) - start) % 2 == 0
    return first


def _masked(weights: Any, mask: NDArray[np.bool_]) -> Any:
    from scipy.sparse import csr_matrix

    return csr_matrix((np.where(mask, weights.data, 0.0), weights.indices, weights.indptr), shape=weights.shape)


def _share(weights: Any, spot: NDArray[np.int64]) -> Any:
    """Return weights that sum to 1 in every spot."""
    from scipy.sparse import csr_matrix

    total = np.bincount(spot, weights.data)
    return csr_matrix((weights.data / total[spot], weights.indices, weights.indptr), shape=weights.shape)
