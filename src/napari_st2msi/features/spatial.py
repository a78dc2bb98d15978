"""Where spots lie, which are neighbours, and how far an image is more than noise."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem
from napari_st2msi.features.threads import threads_for

if TYPE_CHECKING:
    from anndata import AnnData

N_NEIGHBOURS = 6
#: Ions of a block: few enough that three thousand spots of them stay in a processor's cache.
AT_ONCE = 128
# Blocks at the same time: they wait for memory, and more of them would wait for each other.
_THREADS = 2


def section_of(genes: AnnData) -> NDArray[Any]:
    """Return (n,) the section of each spot as str; without labels all are one section."""
    sections = genes.obs["section"] if "section" in genes.obs else ["section"] * genes.n_obs
    return np.asarray(sections, dtype=str)


def where(genes: AnnData) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Return positions (n, 2) in µm and sections (n,) of spots × genes."""
    return np.asarray(genes.obsm["spatial"], dtype=float)[:, :2], section_of(genes)


def within(genes: AnnData, context: AnnData | None) -> tuple[AnnData, NDArray[np.int64]]:
    """Return the spots × genes of the sections that spots are in, and the positions of the spots there.

    Parameters
    ----------
    genes
        The spots asked for.
    context
        Whole sections, the spots asked for among them by name; None where these are all that is known.

    Raises
    ------
    DataProblem
        A spot is not in the context, or names occur twice there.
    """
    if context is None:
        return genes, np.arange(genes.n_obs)
    section = section_of(context)
    here = np.isin(section, np.unique(section_of(genes)))
    known = context if here.all() else context[here]
    asked = known.obs_names.get_indexer(genes.obs_names) if known.obs_names.is_unique else np.array([-1])
    if (asked < 0).any():
        raise DataProblem(
            "Some spots are not among those of their whole sections, or names occur twice. "
            "Give the genes of whole sections with the names that the spots have."
        )
    return known, asked


def centred(values: NDArray[np.floating], section: NDArray[Any]) -> NDArray[np.float64]:
    """Return (n, ions) deviations from the mean of each spot's own section."""
    z = np.array(values, dtype=np.float64)
    for label in np.unique(section):
        own = section == label
        z[own] -= z[own].mean(axis=0)
    return z


def neighbour_graph(xy: NDArray[np.float64], section: NDArray[Any], k: int = N_NEIGHBOURS) -> Any:
    """Return (n, n) CSR of the k nearest spots within a section, rows summing to 1 (0 for lone spots)."""
    from scipy.sparse import csr_array
    from scipy.spatial import cKDTree

    rows, columns, weights = [], [], []
    for label in np.unique(section):
        own = np.flatnonzero(section == label)
        count = min(k, len(own) - 1)
        if count < 1:
            continue
        nearest = cKDTree(xy[own]).query(xy[own], k=count + 1)[1]
        # The spot itself comes first, except where another lies on the same place.
        itself = nearest == np.arange(len(own))[:, None]
        itself[~itself.any(axis=1), -1] = True
        columns.append(own[nearest[~itself]])
        rows.append(np.repeat(own, count))
        weights.append(np.full(len(own) * count, 1 / count))
    n = len(xy)
    if not rows:
        return csr_array((n, n))
    entries = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
    return csr_array(entries, shape=(n, n))


def morans_i(values: NDArray[np.floating], graph: Any, section: NDArray[Any]) -> NDArray[np.float64]:
    """Return (ions,) Moran's I of (n, ions) values, all ions in one sparse product.

    n · Σ z∘Wz / (ΣW · Σz²) after Moran 1950, doi:10.1093/biomet/37.1-2.17. Deviations z are from
    the mean of the spot's own section, so that differences between sections do not count as
    structure within them. NaN for constant ions.
    """
    cross, _, power = neighbour_sums(values, graph, section)
    total = graph.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        index = len(values) * cross / (total * power)
    return np.where((power == 0) | (total == 0), np.nan, index)


def neighbour_sums(
    values: NDArray[np.floating], graph: Any, section: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return what spatial statistics of (n, ions) values are made of, (ions,) each.

    Returns
    -------
    cross
        Σ z∘Wz, z being deviations from the mean of the spot's own section.
    own
        Σ d∘z², d being half of what a spot's row and column of W sum to; `own` - `cross` is Σ w (z - z')² / 2.
    power
        Σ z²; exactly 0 for constant ions.
    """
    pairs, degree = neighbour_pairs(graph), neighbour_degree(graph)
    labels = np.unique(section)
    members = [np.flatnonzero(section == label) for label in labels] if len(labels) > 1 else [slice(None)]
    sums = np.zeros((3, values.shape[1]))

    def add(start: int) -> None:
        part = slice(start, start + AT_ONCE)
        z = np.array(values[:, part], dtype=np.float64)
        level = np.zeros(z.shape[1])
        for own in members:
            mean = z[own].mean(axis=0)
            level += mean**2
            z[own] -= mean
        square = z * z
        power = square.sum(axis=0)
        # What rounding leaves of a constant ion is not structure.
        power[power <= 1e-20 * len(z) * level] = 0
        sums[:, part] = np.einsum("ij,ij->j", z, pairs @ z), degree @ square, power

    with threads_for(0), ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(add, range(0, values.shape[1], AT_ONCE)))
    return sums[0], sums[1], sums[2]


def neighbour_pairs(graph: Any) -> Any:
    """Return W + Wᵀ above the diagonal as (n, n) CSR: each pair of neighbours once, half the work."""
    from scipy.sparse import csr_array, triu

    return csr_array(triu(graph + graph.T, 1))


def neighbour_degree(graph: Any) -> NDArray[np.float64]:
    """Return (n,) half of what each spot's row and column of W sum to."""
    return np.asarray(graph.sum(axis=0) + graph.sum(axis=1), dtype=np.float64) / 2
