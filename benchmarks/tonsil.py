"""Proteins to ions on the real tonsil data: skill, baselines and time.

Leave-one-donor-out (or by region) from the two h5ad files to scores per ion, and a model trained on five
regions that predicts the sixth. Run with ``python benchmarks/tonsil.py [--data FOLDER] [--group donor]``.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import anndata
import numpy as np

import napari_st2msi as st2msi
from napari_st2msi import PairedDataset, Recipe

HERE = Path(__file__).resolve().parents[1]


def tonsil(folder: Path) -> PairedDataset:
    """Return cells × 26 proteins with cells × 189 ions; a region is a section."""
    tables = [anndata.read_h5ad(folder / name) for name in ("proteins_imc.h5ad", "ions_tofsims.h5ad")]
    for table in tables:
        table.obs["section"] = table.obs["roi"].astype(str)
    return PairedDataset(*tables)


def recipe(group: str) -> Recipe:
    """Return the choices for a panel that is not counts: intensities as they are, no library size."""
    return Recipe.model_validate(
        {"genes": {"log1p": False}, "evaluation": {"protocol": "leave_group_out", "group": group}}
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=None, help="folder with the two h5ad files")
    parser.add_argument("--group", default="donor", help="column of obs to hold out by: donor or roi")
    choices = parser.parse_args()
    home = Path(os.environ.get("NAPARI_ST2MSI_DATA", HERE.parent / "shared" / "data"))
    start = time.perf_counter()
    paired = tonsil(choices.data or home / "tonsil_imc_tofsims")
    evaluation = st2msi.evaluate(paired, recipe(choices.group))
    scores = evaluation.flat()
    wall = time.perf_counter() - start
    print(f"leave-one-{choices.group}-out, {len(paired):,} cells: {wall:.1f} s, {time.process_time():.1f} s of CPU")
    columns = ["r2", "r2_mean", "r2_counts", "r2_coordinates", "r2_position", "gain", "pearson"]
    print(scores[columns].describe().loc[["mean", "25%", "50%", "75%", "max"]].round(3).to_string())
    print(scores["verdict"].value_counts().to_string())

    region = sorted(set(paired.sections))[-1]
    unseen = paired.sections == region
    start = time.perf_counter()
    model = st2msi.train(paired.select(~unseen), recipe("section"), evaluation=evaluation)
    with TemporaryDirectory() as scratch:
        model = st2msi.load_model(model.save(Path(scratch) / "model"))
    predicted = model.predict(paired.genes[unseen])
    wall = time.perf_counter() - start
    measured = np.log1p(np.asarray(paired.ions.X[unseen], dtype=float))
    reference = np.log1p(np.asarray(paired.ions.X[~unseen], dtype=float)).mean(axis=0)
    rest = ((measured - np.log1p(predicted.X.astype(float))) ** 2).sum(axis=0)
    r2 = 1 - rest / ((measured - reference) ** 2).sum(axis=0)
    print(
        f"five regions → {region} ({predicted.uns['provenance']['kind']}): {wall:.1f} s, median R² {np.median(r2):.3f}"
    )


if __name__ == "__main__":
    main()
