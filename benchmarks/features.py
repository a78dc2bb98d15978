"""Time and memory of the features of very many spots: SVD, rings, diffusion, graph components.

Sparse counts of 100,000 spots × 2,000 genes on a hexagonal lattice. A process for each kind of features, so that the
peak is its own. Memory beyond counts and features must be less than half of what a dense matrix of the standardised
genes would take. Run with

    python benchmarks/features.py [--spots 100000] [--genes 2000] [--detected 0.1]
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import pandas as pd
import psutil
from anndata import AnnData
from scipy.sparse import csr_matrix, vstack

from _report import table, timed, verdict
from napari_st2msi.features.design import Design
from napari_st2msi.recipe import Genes

KINDS: dict[str, dict[str, Any]] = {
    "svd": {"neighbourhood": "none"},
    "svd + rings": {"neighbourhood": "rings"},
    "svd + diffusion": {"neighbourhood": "diffusion"},
    "svd + graph": {"neighbourhood": "graph_svd"},
}
_MIB = 2**20


def counts(spots: int, genes: int, detected: float) -> AnnData:
    """Return sparse counts of 12 programs, of which about a share is not zero, every spot 100 µm from six others."""
    rng = np.random.default_rng(0)
    columns = int(np.ceil(np.sqrt(spots)))
    row, column = np.divmod(np.arange(spots), columns)
    xy = np.column_stack([(column + row % 2 / 2) * 100.0, row * 50.0 * np.sqrt(3)])
    level, weights = np.log(-np.log(1 - detected)) - 0.3, rng.normal(size=(12, genes)) * 0.25
    pieces = []
    for start in range(0, spots, 2000):
        own = xy[start : start + 2000] / 2000.0
        programs = np.stack([np.sin((k + 1) * own[:, 0] + k) + np.cos((k + 2) * own[:, 1]) for k in range(12)], axis=1)
        pieces.append(csr_matrix(rng.poisson(np.exp(level + programs @ weights)).astype(np.float32)))
    names = pd.Index([f"spot{number}" for number in range(spots)])
    var = pd.DataFrame(index=[f"g{number}" for number in range(genes)])
    return AnnData(vstack(pieces, format="csr"), obs=pd.DataFrame(index=names), var=var, obsm={"spatial": xy})


def peak() -> float:
    """Return the most memory this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (_MIB if sys.platform == "darwin" else 1024)


def measured(kind: str, spots: int, genes: int, detected: float) -> dict[str, float]:
    """Return what fitting a design to all spots and applying it took: seconds, and MiB."""
    Design(Genes(**KINDS[kind])).fit(small := counts(2500, genes, detected)).transform(small)  # imports
    data = counts(spots, genes, detected)
    before, cpu = psutil.Process().memory_info().rss / _MIB, time.process_time()
    design = Design(Genes(**KINDS[kind]))
    fitting, _ = timed(lambda: design.fit(data))
    applying, features = timed(lambda: design.transform(data))
    cpu = time.process_time() - cpu
    assert np.isfinite(features).all()
    held = sum(part.nbytes for part in (data.X.data, data.X.indices, data.X.indptr)) / _MIB
    found = {"fit": fitting, "apply": applying, "cpu": cpu, "columns": features.shape[1], "counts": held}
    return found | {"features": features.nbytes / _MIB, "beyond": peak() - before - features.nbytes / _MIB}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spots", type=int, default=100_000)
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--detected", type=float, default=0.1)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    chosen = parser.parse_args()
    dense = chosen.spots * chosen.genes * 8 / _MIB
    rows, beyond = [], []
    for kind in chosen.kinds:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            found = pool.submit(measured, kind, chosen.spots, chosen.genes, chosen.detected).result()
        cells = [f"{found[name]:,.0f}" for name in ("cpu", "columns", "counts", "features", "beyond")]
        rows.append([kind, f"{found['fit']:.1f}", f"{found['apply']:.1f}", *cells])
        beyond.append(100 * found["beyond"] / dense)
        print(*rows[-1], flush=True)
    title = f"{chosen.spots:,} spots × {chosen.genes:,} genes, which dense and standardised would take {dense:,.0f} MiB"
    table(title, ["", "fit s", "apply s", "CPU s", "columns", "counts MiB", "features MiB", "beyond MiB"], rows)
    for kind, share in zip(chosen.kinds, beyond, strict=True):
        verdict(f"{kind}: beyond counts and features, of a dense matrix", share, 50, at_least=False, unit=" %")


if __name__ == "__main__":
    main()
