"""Moran's I of many genes, with analytic p-values and with permutations, against squidpy in the same process.

2,000 genes of 3,000 spots on a hexagonal lattice, six nearest neighbours, all values stored:

    python benchmarks/moran.py
    python benchmarks/moran.py --spots 500 --genes 200 --permutations 100     # a quick look

Both start from a table with its graph of neighbours and end with statistic, p-values and false discovery rates of
all genes. squidpy is warm (its compiled code is loaded) and takes the threads it takes; ours takes two, and one for
permutations, and computes Geary's C beside. squidpy's permutations are timed on a few and multiplied: each costs the
same.

The two do not permute the same thing. squidpy deals out the rows of the graph, so that a spot's value meets the
neighbours of another; ours deals out the values, as the test is defined. What that does to the spread of the
permuted statistic, on which p-values rest, is printed.
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.stats import kstest

from _report import table, timed, verdict
from napari_st2msi.evaluation.autocorrelation import autocorrelation


def make_table(n_spots: int, n_genes: int) -> AnnData:
    """Return noise and smooth images by halves, with squidpy's graph of the six nearest neighbours."""
    import squidpy

    rng = np.random.default_rng(0)
    row, column = np.divmod(np.arange(n_spots), int(np.sqrt(n_spots)))
    # A hair off the lattice: which of two equally near spots is the sixth must not be left to chance.
    xy = np.column_stack([(column + row % 2 / 2) * 100.0, row * 86.6]) + rng.normal(0, 1, (n_spots, 2))
    waves = np.sin(xy @ rng.normal(0, 1 / 500, (2, n_genes // 2)))
    rate = np.column_stack([np.exp(waves), np.ones((n_spots, n_genes - n_genes // 2))])
    found = AnnData(np.log1p(rng.poisson(rate)).astype(np.float64), obsm={"spatial": xy})
    squidpy.gr.spatial_neighbors(found, n_neighs=6, coord_type="generic")
    return found


def squidpy_moran(data: AnnData, n_perms: int | None = None) -> pd.DataFrame:
    import squidpy

    found = squidpy.gr.spatial_autocorr(
        data, mode="moran", n_perms=n_perms, seed=0, copy=True, show_progress_bar=False, n_jobs=1
    )
    return found.loc[data.var_names]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spots", type=int, default=3_000)
    parser.add_argument("--genes", type=int, default=2_000)
    parser.add_argument("--permutations", type=int, default=1_000)
    parser.add_argument("--peer-permutations", type=int, default=20, help="of squidpy, to be multiplied")
    parser.add_argument("--repeat", type=int, default=7, help="analytic runs of each; the median counts")
    sizes = parser.parse_args()
    warnings.simplefilter("ignore")
    data = make_table(sizes.spots, sizes.genes)
    values, xy = data.X, np.asarray(data.obsm["spatial"])
    weights = data.obsp["spatial_connectivities"]
    graph: Any = weights.multiply(1 / weights.sum(axis=1)).tocsr()

    squidpy_moran(data)
    seconds: dict[str, list[float]] = {"squidpy": [], "napari-st2msi": []}
    for _ in range(sizes.repeat):  # by turns, so that a busy machine slows both
        took, peer = timed(lambda: squidpy_moran(data))
        seconds["squidpy"].append(took)
        took, ours = timed(lambda: autocorrelation(values, xy, graph=graph))
        seconds["napari-st2msi"].append(took)
    analytic = {name: float(np.median(took)) for name, took in seconds.items()}
    some, peer_permuted = timed(lambda: squidpy_moran(data, sizes.peer_permutations))
    each = (some - analytic["squidpy"]) / sizes.peer_permutations
    permuted = {"squidpy": analytic["squidpy"] + each * sizes.permutations}
    permuted["napari-st2msi"], counted = timed(
        lambda: autocorrelation(values, xy, graph=graph, n_permutations=sizes.permutations)
    )

    table(
        f"{sizes.genes:,} genes × {sizes.spots:,} spots, six neighbours",
        ["", "analytic (s)", f"{sizes.permutations:,} permutations (s)"],
        [[name, f"{analytic[name]:.3f}", f"{permuted[name]:.1f}"] for name in analytic],
    )
    verdict("analytic p-values, faster than squidpy", analytic["squidpy"] / analytic["napari-st2msi"], 7)
    verdict("permutations, faster than squidpy", permuted["squidpy"] / permuted["napari-st2msi"], 50)
    off = np.abs(ours["moran_i"].to_numpy() - peer["I"].to_numpy()).max()
    p = ours["moran_p"].to_numpy()
    off_p = np.abs(np.minimum(p, 1 - p) - peer["pval_norm"].to_numpy()).max()
    print(
        f"  largest difference of Moran's I: {off:.0e}, of the smaller tail's p-value: {off_p:.0e} (to be below 1e-6)"
    )

    noise = slice(sizes.genes // 2, None)
    share = float((peer_permuted["var_sim"] / peer_permuted["var_norm"])[noise].mean())
    print(f"  squidpy's permuted statistic of noise has {share:.2f} of the variance it has over noise (should be 1)")
    ks = kstest(counted["moran_p_perm"][noise], "uniform").pvalue
    print(f"  ours gives noise p-values that are uniform: Kolmogorov-Smirnov p = {ks:.2f}")


if __name__ == "__main__":
    main()
