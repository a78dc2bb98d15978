"""Ridge with a penalty of its own for each of 500 ions, beside scikit-learn's RidgeCV, and for ions partly present.

The peer is ``RidgeCV(alpha_per_target=True)``, which chooses among the same 20 penalties by leaving out one spot at a
time, on the training spots of the same five blocks of folds. Ours is timed with that rule, and the choices are
compared; then with the rule of this package, on inner folds, which costs five decompositions more; last with half of
the ions in part of the spots only. All on one thread, by CPU time, which another program running does not change. Run
with ``python benchmarks/ridge.py [--spots 3000] [--genes 2000] [--ions 500] [--folds 5]``.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from threadpoolctl import threadpool_limits

from _report import table, verdict
from napari_st2msi.evaluation.splits import SpatialBlocks
from napari_st2msi.models.inner import InnerFold
from napari_st2msi.models.ridge import Solver, fit_ridge, left_out_errors

ALPHAS = np.geomspace(1e0, 1e7, 20)


def problem(n: int, p: int, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return positions, standardised genes of twelve programs, and ions from pure noise to nearly noiseless."""
    rng = np.random.default_rng(0)
    side = int(np.ceil(np.sqrt(n)))
    xy = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)[:n] * 100.0
    programs = rng.normal(size=(n, 12))
    x = programs @ rng.normal(size=(12, p)) + 3 * rng.normal(size=(n, p))
    y = programs @ rng.normal(size=(12, k)) * np.linspace(0, 1, k) + rng.normal(size=(n, k))
    return xy, (x - x.mean(axis=0)) / x.std(axis=0), y


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("spots", 3000), ("genes", 2000), ("ions", 500), ("folds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    chosen = parser.parse_args()
    xy, x, y = problem(chosen.spots, chosen.genes, chosen.ions)
    folds = list(SpatialBlocks(5).split(xy))[: chosen.folds]

    def ours(train: NDArray[np.int64]) -> NDArray[np.float64]:
        # The mean, which RidgeCV does not know, is left out of the candidates.
        solver = Solver(x[train], y[train])
        alpha = ALPHAS[left_out_errors(solver, x[train], y[train], ALPHAS)[:-1].argmin(axis=0)]
        solver(alpha)
        return alpha

    def peer(train: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(RidgeCV(ALPHAS, alpha_per_target=True).fit(x[train], y[train]).alpha_)

    def inner(train: NDArray[np.int64], present: NDArray[np.bool_] | None = None) -> None:
        splits = [InnerFold(*split) for split in SpatialBlocks(5).split(xy[train])]
        fit_ridge(x[train], y[train], ALPHAS, splits, present=None if present is None else present[train])

    some = np.ones(y.shape, dtype=bool)
    some[:, ::2] = np.random.default_rng(1).random(some[:, ::2].shape) < 0.6
    names = ("RidgeCV", "the same rule", "on inner folds", "half of the ions partly present")
    seconds: dict[str, float] = dict.fromkeys(names, 0.0)
    same = []
    with threadpool_limits(1):
        for train, _ in folds:
            begin, second = time.process_time(), peer(train)
            between, first = time.process_time(), ours(train)
            marks = [begin, between, time.process_time()]
            for present in (None, some):
                inner(train, present)
                marks.append(time.process_time())
            for name, took in zip(names, np.diff(marks), strict=True):
                seconds[name] += took
            same.append(np.mean(first == second))
    size = f"{chosen.spots:,} spots × {chosen.genes:,} genes → {chosen.ions:,} ions"
    rows = [[name, f"{took:.1f}", f"{seconds['RidgeCV'] / took:.1f}×"] for name, took in seconds.items()]
    table(f"{size}, {len(folds)} folds, 20 penalties an ion", ["", "CPU s", "RidgeCV / it"], rows)
    print(f"  the same penalty for {np.mean(same):.1%} of the ions")
    verdict("as fast as RidgeCV", seconds["RidgeCV"] / seconds["the same rule"], 3.0)


if __name__ == "__main__":
    main()
