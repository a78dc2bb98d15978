"""Moran's I and Geary's C of many images at once, and whether they are more than noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem
from napari_st2msi.evaluation.discovery import q_values
from napari_st2msi.features.spatial import (
    AT_ONCE,
    N_NEIGHBOURS,
    neighbour_degree,
    neighbour_graph,
    neighbour_pairs,
    neighbour_sums,
)
from napari_st2msi.features.threads import threads_for
from napari_st2msi.progress import Progress, check, never

#: What else an image could be than noise: smooth, or either smooth or rougher than noise.
Alternative = Literal["smooth", "either"]
# Pairs of neighbours in the permuted graphs that are kept at once: 32 MiB.
_PAIRS = 2**22
# What float32 may round a statistic by: a permutation that close to the observed value counts as reaching it.
_ROUNDING = 1e-5


def autocorrelation(
    values: NDArray[np.floating],
    xy: NDArray[np.float64],
    sections: NDArray[Any] | None = None,
    *,
    names: Sequence[str] | None = None,
    graph: Any = None,
    n_neighbours: int = N_NEIGHBOURS,
    n_permutations: int = 0,
    alternative: Alternative = "smooth",
    seed: int = 0,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> pd.DataFrame:
    """Return Moran's I and Geary's C of each column, with p-values and false discovery rates.

    Deviations are from the mean of the spot's own section and neighbours are of the same section, so differences
    between sections are not taken for structure. In one section both are what squidpy has. Moran 1950,
    doi:10.1093/biomet/37.1-2.17; Geary 1954, doi:10.2307/2986645.

    Parameters
    ----------
    values
        (n, ions) finite numbers, on whatever scale structure is to be judged.
    xy
        (n, 2) positions in µm.
    sections
        (n,) the section of each spot; None for one.
    names
        Of the columns: the index of the table.
    graph
        (n, n) sparse weights between spots of one section; None for the nearest `n_neighbours`, rows summing to 1.
    n_permutations
        How often values are put on other spots of their section; 0 for analytic p-values only.
    alternative
        ``smooth``: p-values of one side, for neighbours more alike than by chance. ``either``: of both sides.
    seed
        Of the permutations.

    Returns
    -------
    DataFrame
        One row an ion. `moran_i`, `moran_z`, `moran_p`, `moran_q` and the same of `geary_c`: deviations from what is
        expected of normal values without structure (Cliff & Ord 1981, here for any number of section means).
        With permutations also `moran_p_perm`, `moran_q_perm`, `geary_p_perm`, `geary_q_perm`; p is at least
        1/(permutations + 1). NaN for constant ions, and where no spot has a neighbour.

    Raises
    ------
    DataProblem
        Values are missing or infinite, or arrays differ in length.
    """
    values, xy, sections = checked(values, xy, sections)
    graph = checked_graph(graph, xy, sections, n_neighbours)
    cross, own, power = neighbour_sums(values, graph, sections)
    moments = _moments(graph, sections)
    columns: dict[str, NDArray[np.float64]] = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        # Rough is a low I and a high C: the sign turns either into "smoother than noise".
        for name, letter, form, sign in (("moran", "i", cross, 1.0), ("geary", "c", own - cross, -1.0)):
            scale, mean, deviation = moments[name]
            statistic = np.where(power > 0, scale * form / power, np.nan)
            z = (statistic - mean) / deviation
            p = _normal_p(sign * z, alternative)
            columns |= {f"{name}_{letter}": statistic, f"{name}_z": z, f"{name}_p": p, f"{name}_q": q_values(p)}
    if n_permutations:
        reached = _permuted(
            values, graph, sections, (cross, own - cross, power), n_permutations, seed, progress, cancelled
        )
        for name, (high, low) in reached.items():
            smoother, rougher = (high, low) if name == "moran" else (low, high)
            p = (smoother + 1.0) / (n_permutations + 1)
            if alternative == "either":
                p = np.minimum(1.0, 2 * np.minimum(p, (rougher + 1.0) / (n_permutations + 1)))
            p = np.where(np.isnan(columns["moran_i"]), np.nan, p)
            columns |= {f"{name}_p_perm": p, f"{name}_q_perm": q_values(p)}
    progress(1.0, "spatial statistics")
    return pd.DataFrame(columns, index=None if names is None else pd.Index(names, name="name"))


def checked(
    values: NDArray[np.floating], xy: NDArray[np.float64], sections: NDArray[Any] | None
) -> tuple[NDArray[np.floating], NDArray[np.float64], NDArray[Any]]:
    """Return values, positions and sections that fit together.

    Raises
    ------
    DataProblem
        They do not, or values are missing or infinite.
    """
    values, xy = np.asarray(values), np.asarray(xy, dtype=np.float64)
    sections = np.repeat("section", len(xy)) if sections is None else np.asarray(sections).astype(str)
    if values.ndim != 2 or xy.ndim != 2 or not len(values) == len(xy) == len(sections):
        raise DataProblem(
            f"Values ({'×'.join(map(str, values.shape))}), positions ({'×'.join(map(str, xy.shape))}) and sections "
            f"({len(sections)}) do not fit together. Give one row of each to every spot."
        )
    for what, numbers in (("values", values), ("positions", xy)):
        finite = np.isfinite(numbers)
        if not finite.all():
            bad = int(numbers.size - finite.sum())
            raise DataProblem(f"{bad:,} of the {what} are missing (NaN) or infinite. Leave those spots out first.")
    return values, xy[:, :2], sections


def checked_graph(graph: Any, xy: NDArray[np.float64], sections: NDArray[Any], n_neighbours: int) -> Any:
    """Return the (n, n) CSR graph of n spots: that given, or that of the nearest neighbours.

    Raises
    ------
    DataProblem
        It is of another number of spots.
    """
    from scipy.sparse import csr_array

    graph = csr_array(neighbour_graph(xy, sections, n_neighbours) if graph is None else graph)
    if graph.shape != (len(xy), len(xy)):
        raise DataProblem(f"The graph is of {graph.shape[0]:,} spots, the values of {len(xy):,}. Give one of both.")
    return graph


def shuffles(sections: NDArray[Any], count: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Yield permutations (n,) that put spots on spots of their own section."""
    members = [np.flatnonzero(sections == label) for label in np.unique(sections)]
    for _ in range(count):
        order = np.empty(len(sections), dtype=np.int64)
        for own in members:
            order[own] = rng.permutation(own)
        yield order


def _normal_p(z: NDArray[np.float64], alternative: Alternative) -> NDArray[np.float64]:
    from scipy.stats import norm

    p: NDArray[np.float64] = norm.sf(z) if alternative == "smooth" else 2 * norm.sf(np.abs(z))
    return p


def _moments(graph: Any, sections: NDArray[Any]) -> dict[str, tuple[float, float, float]]:
    """Return (scale, mean, deviation) of each statistic, scale · zᵀAz/zᵀz, for normal values without structure.

    z is what is left of n values when the means of m sections are taken away: ν = n - m free directions. Of a ratio
    of quadratic forms in them the mean is tr A/ν and the variance 2(ν tr A² - tr² A)/(ν²(ν + 2)). With one
    section these are the formulas of Cliff & Ord 1981 (ISBN 0850860814).
    """
    symmetric = (graph + graph.T) / 2
    degree = neighbour_degree(graph)
    total, squares = float(degree.sum()), float(symmetric.power(2).sum())
    own = [np.flatnonzero(sections == label) for label in np.unique(sections)]
    free = len(sections) - len(own)
    shares = np.array([degree[spots].sum() / len(spots) for spots in own])
    weights = np.array([(degree[spots] ** 2).sum() / len(spots) for spots in own])
    traces = {
        # Of P(W + Wᵀ)P/2, P taking away the means of sections.
        "moran": (len(sections), -shares.sum(), squares - 2 * weights.sum() + (shares**2).sum()),
        # Of D - (W + Wᵀ)/2, which is 0 for what is constant within sections.
        "geary": (free, total, squares + (degree**2).sum()),
    }
    found = {}
    for name, (count, first, second) in traces.items():
        if total == 0 or free < 2:
            found[name] = (np.nan, np.nan, np.nan)
            continue
        scale = count / total
        variance = 2 * (free * second - first**2) / (free**2 * (free + 2))
        found[name] = (scale, scale * first / free, scale * float(np.sqrt(max(variance, 0.0))))
    return found


def _permuted(
    values: NDArray[np.floating],
    graph: Any,
    sections: NDArray[Any],
    observed: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    count: int,
    seed: int,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Count for each statistic how many permutations reach the observed value from above, and from below.

    All ions share a permutation. Instead of values, the graph is permuted: its few pairs of neighbours cost
    less to move. float32 is enough to compare, and half the memory to read.
    """
    from scipy.sparse import csr_array

    n, ions = values.shape
    pairs, degree = neighbour_pairs(graph).tocoo(), neighbour_degree(graph).astype(np.float32)
    weights = pairs.data.astype(np.float32)
    size = np.sqrt(np.where(observed[2] > 0, observed[2], np.inf))
    cross, rough = (part / size**2 for part in observed[:2])
    members = [np.flatnonzero(sections == label) for label in np.unique(sections)]
    tolerance = _ROUNDING * float(graph.sum()) / n
    rng = np.random.default_rng(seed)
    reached = np.zeros((4, ions), dtype=np.int64)
    some = max(1, _PAIRS // max(pairs.nnz, 1))
    for begin in range(0, count, some):
        moved = list(shuffles(sections, min(some, count - begin), rng))
        graphs = [csr_array((weights, (to[pairs.row], to[pairs.col])), shape=(n, n)) for to in moved]
        # Of Geary's C, the part that depends on where a value lies by the degree of the spot alone.
        degrees = np.empty((len(moved), n), dtype=np.float32)
        for weight, to in zip(degrees, moved, strict=True):
            weight[to] = degree
        for start in range(0, ions, AT_ONCE):
            check(cancelled)
            part = slice(start, start + AT_ONCE)
            z = np.array(values[:, part], dtype=np.float64)
            for spots in members:
                z[spots] -= z[spots].mean(axis=0)
            z = (z / size[part]).astype(np.float32)
            found = np.array([np.einsum("ij,ij->j", z, permuted @ z) for permuted in graphs])
            with threads_for(0):
                own = degrees @ (z * z)
            for row, statistic, limit in ((0, found, cross[part]), (2, own - found, rough[part])):
                reached[row, part] += (statistic >= limit - tolerance).sum(axis=0)
                reached[row + 1, part] += (statistic <= limit + tolerance).sum(axis=0)
            done = begin + len(moved) * min(start + AT_ONCE, ions) / ions
            progress(done / count, f"{done:,.0f} of {count:,} permutations")
    return {"moran": (reached[0], reached[1]), "geary": (reached[2], reached[3])}
