"""Local Moran's I: where in the tissue neighbours are alike, and where a spot differs from its surroundings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.evaluation.autocorrelation import checked, checked_graph
from napari_st2msi.evaluation.discovery import q_values
from napari_st2msi.features.spatial import N_NEIGHBOURS
from napari_st2msi.progress import Progress, check, never

#: What a spot and its neighbours are, against the mean of the section: the words for `LocalMoran.quadrant`.
QUADRANTS = ("high among high", "low among low", "high among low", "low among high")


@dataclass(frozen=True)
class LocalMoran:
    """Local Moran's I of every spot and ion, (n, ions) each; NaN for constant ions and spots without neighbours.

    Attributes
    ----------
    i
        z times the weighted sum of the neighbours' z, by the mean of z². Over spots it sums to Moran's I times the
        sum of weights.
    z
        `i` in deviations from what is expected if the other values of the section lay anywhere.
    p, q
        Of both sides: alike or unlike more than by chance; q is the false discovery rate over the spots of an ion.
    quadrant
        int8: position in `QUADRANTS`.
    """

    i: NDArray[np.float64]
    z: NDArray[np.float64]
    p: NDArray[np.float64]
    q: NDArray[np.float64]
    quadrant: NDArray[np.int8]


def local_moran(
    values: NDArray[np.floating],
    xy: NDArray[np.float64],
    sections: NDArray[Any] | None = None,
    *,
    graph: Any = None,
    n_neighbours: int = N_NEIGHBOURS,
    n_permutations: int = 0,
    seed: int = 0,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> LocalMoran:
    """Return local Moran's I of all spots and ions in one sparse product.

    Anselin 1995, doi:10.1111/j.1538-4632.1995.tb00338.x. Significance is conditional: the spot keeps its value, and
    the others of its section are dealt out anew. The mean and variance of that are exact (Sokal, Oden & Thomson
    1998, doi:10.1111/j.1538-4632.1998.tb00406.x); p-values take it for normal, or count permutations.

    Parameters
    ----------
    values, xy, sections, graph, n_neighbours
        As for `napari_st2msi.evaluation.autocorrelation.autocorrelation`.
    n_permutations
        How often the neighbours of every spot are drawn anew; 0 for analytic p-values. p is at least
        2/(n_permutations + 1).
    seed
        Of the draws.

    Raises
    ------
    DataProblem
        Values are missing or infinite, or arrays or the graph differ in length.
    """
    from scipy.stats import norm

    values, xy, sections = checked(values, xy, sections)
    graph = checked_graph(graph, xy, sections, n_neighbours)
    z = np.array(values, dtype=np.float64)
    level = np.abs(z).max(axis=0, initial=0.0)
    others = np.zeros(len(z))
    members = [np.flatnonzero(sections == label) for label in np.unique(sections)]
    power = np.zeros_like(z)
    for own in members:
        z[own] -= z[own].mean(axis=0)
        others[own] = len(own) - 1
        power[own] = (z[own] ** 2).sum(axis=0)
    weight, weight2 = np.asarray(graph.sum(axis=1)), np.asarray(graph.power(2).sum(axis=1))
    mean_power = (z**2).mean(axis=0)
    usable = (weight > 0)[:, None] & (mean_power > 1e-20 * level**2)
    around = graph @ z
    with np.errstate(divide="ignore", invalid="ignore"):
        # Of the other values of the section, whose sum is -z.
        left = others[:, None]
        mean = -z / left
        variance = (power - z**2) / left - mean**2
        spread = (weight2 - weight**2 / others) * others / (others - 1)
        deviation = np.sqrt(np.maximum(variance * spread[:, None], 0))
        score = np.sign(z) * (around - weight[:, None] * mean) / deviation
        score = np.where(usable & (deviation > 0) & (z != 0), score, np.nan)
        index = np.where(usable, z * around / mean_power, np.nan)
    p = 2 * norm.sf(np.abs(score))
    if n_permutations:
        p = _permuted(z, around, graph, members, n_permutations, seed, progress, cancelled)
        p[np.isnan(score)] = np.nan
    quadrant = np.select([(z > 0) & (around > 0), (z <= 0) & (around <= 0), z > 0], [0, 1, 2], 3).astype(np.int8)
    return LocalMoran(index, score, p, q_values(p), quadrant)


def _permuted(
    z: NDArray[np.float64],
    around: NDArray[np.float64],
    graph: Any,
    members: list[NDArray[np.int64]],
    count: int,
    seed: int,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> NDArray[np.float64]:
    """Return p-values of both sides from neighbours drawn anew among the others of the section, none twice."""
    from scipy.sparse import csr_array

    rng = np.random.default_rng(seed)
    row = np.repeat(np.arange(len(z)), np.diff(graph.indptr))
    turn = np.arange(graph.nnz) - graph.indptr[row] + 1
    first = np.cumsum([0, *map(len, members)])
    start, size, rank = (np.zeros(len(z), dtype=np.int64) for _ in range(3))
    for begin, own in zip(first, members, strict=False):
        start[own], size[own] = begin, len(own)
    high, low = np.zeros(z.shape), np.zeros(z.shape)
    tolerance = 1e-9 * np.abs(around).max(initial=0.0)
    for done in range(count):
        check(cancelled)
        # The spots of a section in a random circle: those that follow a spot are a draw of others, none twice.
        circle = np.concatenate([rng.permutation(own) for own in members])
        rank[circle] = np.arange(len(z)) - start[circle]
        column = circle[start[row] + (rank[row] + turn) % size[row]]
        drawn = csr_array((graph.data, column, graph.indptr), shape=graph.shape) @ z
        high += drawn >= around - tolerance
        low += drawn <= around + tolerance
        progress((done + 1) / count, f"{done + 1:,} of {count:,} permutations")
    return np.asarray(np.minimum(1.0, 2 * (np.minimum(high, low) + 1) / (count + 1)))
