"""How often nulls believe in what is not there: independent smooth images, and predictions of ions that no gene knows.

    python benchmarks/nulls.py

Simulated sections. p-values of independent pairs should be uniform: a twentieth of them up to 0.05. Then ridge and the
baseline `coordinates` are cross-validated, and the share of ions with a false discovery rate up to 0.05 is printed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter
from scipy.stats import kstest

import napari_st2msi as st2msi
from _report import table
from napari_st2msi.evaluation.nulls import Null, association
from napari_st2msi.grid import Grid
from napari_st2msi.io.sample import Simulation
from napari_st2msi.paired import dense
from napari_st2msi.recipe import Recipe

_PAIRS = 75
Pair = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def smooth_ions(sections: int = 6) -> Iterator[Pair]:
    """Yield positions and two sets of smooth ions that know nothing of each other."""
    for seed in range(sections):
        tissue = ("brain", "tonsil")[seed % 2]
        paired = simulated(400, seed, tissue).paired()
        values = np.log1p(dense(paired.ions.X).astype(float))
        yield paired.xy, values[:, :_PAIRS], values[:, _PAIRS:]


def fields(length: float) -> Iterator[Pair]:
    """Yield Gaussian fields, `length` of the section's width long, with a tenth of noise, at the spots of a section."""
    rng = np.random.default_rng(0)
    xy = simulated(700, 1, "brain").paired().xy
    distance = np.linalg.norm(xy[:, None] - xy, axis=2) / np.ptp(xy, axis=0).max()
    root = np.linalg.cholesky(np.exp(-((distance / length) ** 2) / 2) + 0.1 * np.eye(len(xy)))
    x, y = root @ rng.normal(size=(2, len(xy), 600))
    yield xy, x, y


def squares(side: int, sections: int = 8) -> Iterator[Pair]:
    """Yield smooth ions in a square of `side` MSI pixels that lies in the tissue."""
    for seed in range(sections):
        msi = simulated(2000, seed, "brain").sections[0].msi
        xy, values = np.asarray(msi.obsm["spatial"], dtype=float)[:, :2], np.log1p(dense(msi.X).astype(float))
        grid = Grid.from_points(xy)
        assert grid is not None
        level = np.where(grid.index >= 0, np.append(values.mean(axis=1), 0)[grid.index], 0)
        # The corner of the square whose faintest pixel is brightest: on glass, pixels are all but dark.
        corner = minimum_filter(level, side, origin=-(side // 2), mode="constant")
        row, column = np.unravel_index(np.argmax(corner), corner.shape)
        own = grid.index[row : row + side, column : column + side].ravel()
        yield xy[own], values[own, :_PAIRS], values[own, _PAIRS:]


def simulated(n_spots: int, seed: int, tissue: str) -> Simulation:
    return st2msi.simulate(
        n_spots=n_spots, n_genes=20, ions_per_kind={"smooth": 2 * _PAIRS}, image_px=128, seed=seed, tissue=tissue
    )


def row(name: str, null: Null, pairs: Iterator[Pair]) -> list[str]:
    found = [association(x, y, xy, null=null, n_surrogates=999)["p"].to_numpy() for xy, x, y in pairs]
    p = np.concatenate(found)
    shares = [f"{(p <= limit).mean():.3f}" for limit in (0.05, 0.01)]
    return [name, null, str(len(p)), *shares, f"{kstest(p, 'uniform').pvalue:.1g}"]


def predictions(sections: int = 4) -> pd.DataFrame:
    """Return the share of ions of each kind that are believed, by folds, model and null."""
    rows = []
    for seed in range(sections):
        kinds = {"linear": 10, "smooth": 40, "noise": 20}
        simulation = st2msi.simulate(n_spots=600, n_genes=500, ions_per_kind=kinds, image_px=128, seed=seed)
        paired = simulation.paired()
        for protocol in ("blocks", "random"):
            for model in ("ridge", "coordinates"):
                choices = {"evaluation": {"protocol": protocol}, "intervals": {"make_intervals": "never"}}
                recipe = Recipe.model_validate({"model": {"name": model}, **choices})
                prediction = st2msi.evaluate(paired, recipe).prediction
                for null in ("spectral", "permutation"):
                    found = st2msi.skill_significance(prediction, null=null, n_surrogates=999)
                    kind = simulation.truth.ions.loc[found.index, "kind"].to_numpy()
                    believed = (found["skill_q"] <= 0.05).to_numpy()
                    rows += [(protocol, model, null, k, b) for k, b in zip(kind, believed, strict=True)]
    frame = pd.DataFrame(rows, columns=["folds", "model", "null", "kind", "believed"])
    return frame.pivot_table(index=["folds", "model", "null"], columns="kind", values="believed", aggfunc="mean")


def main() -> None:
    warnings.simplefilter("ignore")
    rows = [row("smooth ions, 400 spots", null, smooth_ions()) for null in ("spectral", "permutation")]
    for length in (0.15, 0.6):
        rows += [row(f"fields of {length} width", null, fields(length)) for null in ("spectral", "permutation")]
    for side in (16, 24, 40):
        rows += [row(f"smooth ions, {side} × {side} pixels", null, squares(side)) for null in ("spectral", "shift")]
    table("Independent pairs", ["", "null", "pairs", "p ≤ 0.05", "p ≤ 0.01", "uniform"], rows)
    found = predictions()
    shares = [[*line[0], *[f"{share:.2f}" for share in line[1:]]] for line in found.itertuples(name=None)]
    table("Share of ions with q ≤ 0.05", ["folds", "model", "null", *found.columns], shares)


if __name__ == "__main__":
    main()
