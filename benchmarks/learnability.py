"""What can be believed of learnability: against known truth, on the tonsil, and how long it takes.

Run with ``python benchmarks/learnability.py WHAT``, one or more of

- ``simulated``: sections whose ions' kinds are known. How well gain and Moran's I tell ions that genes encode from
  smooth ones, and how often tiers agree with the truth.
- ``ceilings``: sections whose pixels are measured a second time. How near ceilings are to what that finds again.
- ``tonsil``: ridge and the default model under random, block, leave-region and leave-donor folds, with Moran's I
  against skill and gain in each; a figure into docs/images. Needs the data.
- ``speed``: the full table for 500 ions on 3,000 spots, ridge, three protocols.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import napari_st2msi as st2msi
from _report import table, verdict
from napari_st2msi import PairedDataset, Recipe
from napari_st2msi.evaluation.ceilings import ceilings
from napari_st2msi.evaluation.learnability import Learnability
from napari_st2msi.io.sample import KINDS, Simulation, _measure_pixels
from napari_st2msi.progress import Progress, never
from napari_st2msi.report.figures import png
from napari_st2msi.report.learnability import famous_figure
from tonsil import tonsil

HERE = Path(__file__).resolve().parents[1]
IMAGES = HERE / "docs" / "images"


def auc(score: pd.Series, positive: pd.Series) -> float:
    """Return the area under the ROC curve."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(positive, score))


def simulated(seeds: list[int], n_spots: int, model: str) -> None:
    """Tell gene-encoded ions from smooth ones, over several specimens."""
    recipe = Recipe.model_validate({"model": {"name": model}, "genes": {"neighbourhood": "rings"}})
    tables = []
    for seed in seeds:
        simulation = st2msi.simulate(n_spots=n_spots, n_genes=800, ions_per_kind=10, seed=seed, image_px=128)
        start = time.perf_counter()
        found = st2msi.learnability(simulation.paired(), recipe, protocols=("random", "blocks"))
        print(f"  seed {seed}: {time.perf_counter() - start:.0f} s", flush=True)
        tables.append(found.table.assign(kind=simulation.truth.ions["kind"], seed=seed))
    rows = []
    for seed, each in [*zip(seeds, tables, strict=True), ("all", pd.concat(tables))]:
        encoded = ~each["kind"].isin(["smooth", "noise"])
        apart = each["kind"] != "noise"
        rows.append(
            [
                str(seed),
                *[
                    f"{auc(each[column][apart], encoded[apart]):.3f}"
                    for column in ("blocks_gain_coordinates", "moran_i")
                ],
                *[f"{auc(each[column], encoded):.3f}" for column in ("blocks_gain_coordinates", "moran_i")],
                f"{((each['tier'] < 3) == encoded).mean():.0%}",
            ]
        )
    table(
        f"AUC, {n_spots:,} spots, {model} with rings, blocks: encoded against smooth | against smooth and noise",
        ["seed", "gain", "Moran's I", "gain", "Moran's I", "tiers agree"],
        rows,
    )
    whole = pd.concat(tables)
    verdict("AUC of gain over coordinates, encoded against smooth", float(rows[-1][1]), 0.95, unit="")
    verdict("tiers that agree", float(rows[-1][5].rstrip("%")), 90, unit=" %")
    counts = pd.crosstab(whole["kind"], whole["finding"]).reindex(KINDS)
    print(counts.to_string())


def again(simulation: Simulation, seed: int) -> NDArray[np.float64]:
    """Measure all pixels of the first section anew: the same tissue, other noise."""
    section = simulation.sections[0]
    pixels = _measure_pixels(
        simulation.choices.model_copy(update={"seed": seed}), 0, simulation._specimens[0], simulation._panel,
        simulation.truth.sections[section.name].gain, section.msi.obsm["spatial"], Progress(), never,
    )  # fmt: skip
    return np.asarray(pixels.X, dtype=float)


def known_ceilings(seeds: list[int], n_spots: int) -> None:
    """Compare halves of pixels and nuggets with what further measurements of the same spots find again."""
    rows, kinds = [], []
    for pixel in (50.0, 25.0):
        off, below = [], []
        for seed in seeds:
            simulation = st2msi.simulate(
                n_spots=n_spots, n_genes=50, ions_per_kind=10, seed=seed, pixel_size_um=pixel, image_px=128
            )
            section = simulation.sections[0]
            st2msi.register(section)
            paired = st2msi.pair(section)
            weights = paired.pixel_weights
            total = np.asarray(weights.sum(axis=1))
            times = [np.log1p(weights @ again(simulation, 1000 + k) / total) for k in range(4)]
            pairs = [(one, other) for number, one in enumerate(times) for other in times[:number]]
            known = np.mean(
                [[np.corrcoef(a, b)[0, 1] for a, b in zip(x.T, y.T, strict=True)] for x, y in pairs], axis=0
            )
            found = ceilings(paired, section=section).table
            off.append(pd.DataFrame({"off": found["split_half"] - known, "kind": simulation.truth.ions["kind"]}))
            below.append(found["nugget"] - known)
        together, nugget = pd.concat(off), pd.concat(below)
        per_spot = np.median(np.diff(weights.indptr))
        rows.append(
            [
                f"{pixel:.0f} µm, {per_spot:.0f} a spot",
                *[f"{(together['off'].abs() <= tolerance).mean():.0%}" for tolerance in (0.05, 0.1)],
                f"{together['off'].median():+.3f}",
                f"{(nugget.abs() <= 0.05).mean():.0%}",
                f"{(nugget <= 0.05).mean():.0%}",
                f"{nugget.median():+.3f}",
            ]
        )
        kinds.append(together.groupby("kind")["off"].median().reindex(KINDS).rename(f"{pixel:.0f} µm"))
    table(
        f"Ceilings against further measurements of the same spots ({n_spots:,} spots, seeds {seeds})",
        ["pixels", "halves ≤ 0.05 off", "≤ 0.1", "median", "nugget ≤ 0.05 off", "not above", "median"],
        rows,
    )
    print(pd.concat(kinds, axis=1).round(3).to_string())


def on_tonsil(folder: Path) -> None:
    """Draw the famous correlation for two models under four splits."""
    paired = tonsil(folder)
    protocols = ("random", "blocks", "leave_group_out:roi", "leave_group_out:donor")
    for name in ("ridge", Recipe().model.name):
        start = time.perf_counter()
        recipe = Recipe.model_validate({"genes": {"log1p": False}, "model": {"name": name}})
        found = st2msi.learnability(paired, recipe, protocols=protocols, judged_by="leave_group_out:roi")
        print(f"\n{name}: {time.perf_counter() - start:.0f} s")
        rows = []
        for protocol in found.protocols:
            own = found.table
            rows.append(
                [
                    protocol,
                    *[
                        f"{own[f'{protocol}_{column}'].mean():.3f}"
                        for column in ("r2", "r2_coordinates", "r2_position")
                    ],
                    f"{(own[f'{protocol}_gain_lower'] > 0).sum()}",
                    f"{found.spearman(protocol, 'r2', predictor='coordinates'):+.2f}",
                    f"{found.spearman(protocol, 'r2', predictor='position'):+.2f}",
                    f"{found.spearman(protocol, 'r2'):+.2f}",
                    f"{found.spearman(protocol, 'gain'):+.2f}",
                ]
            )
        header = ["held out", "R² model", "coordinates", "position", "sure gain", "ρ coordinates", "ρ position"]
        table("Mean R² over ions; Spearman of Moran's I", [*header, "ρ model", "ρ gain"], rows)
        print(found.table["finding"].value_counts().to_string())
        print(found.forecasts.round(2).T.to_string())
        if name == "ridge":
            (IMAGES / "learnability_tonsil.png").write_bytes(png(famous_figure(found), dpi=110))


def speed(n_spots: int = 3000, n_ions: int = 500) -> None:
    """Time the full table."""
    each = -(-n_ions // len(KINDS))
    simulation = st2msi.simulate(n_spots=n_spots, n_genes=1000, ions_per_kind=each, image_px=128)
    whole = simulation.paired()
    paired = PairedDataset(whole.genes, whole.ions[:, :n_ions].copy())
    wall, cpu = time.perf_counter(), time.process_time()
    recipe = Recipe.model_validate({"model": {"name": "ridge"}})
    found: Learnability = st2msi.learnability(paired, recipe, protocols=("random", "half", "blocks"))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{len(found.table)} ions, {len(paired):,} spots, {len(found.protocols)} protocols: {cpu:.0f} s of CPU")
    print(f"{wall:.0f} s by the clock, on a machine with a load of {os.getloadavg()[0]:.0f}")
    verdict("full table, CPU", cpu, 120, at_least=False, unit=" s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", choices=["simulated", "ceilings", "tonsil", "speed"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--spots", type=int, default=1000)
    parser.add_argument("--model", default="ridge", help="of the simulated sections")
    parser.add_argument("--data", type=Path, default=None, help="folder with the two h5ad files of the tonsil")
    choices = parser.parse_args()
    home = Path(os.environ.get("NAPARI_ST2MSI_DATA", HERE.parent / "shared" / "data"))
    if "simulated" in choices.what:
        simulated(choices.seeds, choices.spots, choices.model)
    if "ceilings" in choices.what:
        known_ceilings(choices.seeds, choices.spots)
    if "tonsil" in choices.what:
        on_tonsil(choices.data or home / "tonsil_imc_tofsims")
    if "speed" in choices.what:
        speed()


if __name__ == "__main__":
    main()
