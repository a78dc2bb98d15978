"""How often intervals hold what was measured: on blocks, on donors, and in a section that was never seen.

Run with ``python benchmarks/interval_coverage.py [--data FOLDER] [--model ridge]``; some minutes on two cores.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np

import napari_st2msi as st2msi
from napari_st2msi import PairedDataset, Recipe
from napari_st2msi.training.folder import TrainedModel
from tonsil import recipe as of_tonsil
from tonsil import tonsil

HERE = Path(__file__).resolve().parents[1]


def held(model: TrainedModel, query: PairedDataset) -> tuple[float, float]:
    """Return the share of values within intervals in a section not seen, and of its spots unlike training."""
    predicted = model.predict(query.genes)
    truth = query.ions.X
    known = np.isfinite(predicted.layers["upper"]).all(axis=0)
    within = (truth >= predicted.layers["lower"]) & (truth <= predicted.layers["upper"])
    return float(within[:, known].mean()), float(predicted.obs["ood"].mean())


def told(name: str, paired: PairedDataset, recipe: Recipe) -> None:
    """Evaluate, and print the coverage of all and of each part."""
    start = time.perf_counter()
    evaluation = st2msi.evaluate(paired, recipe)
    assert evaluation.intervals is not None
    print(f"\n{name} ({time.perf_counter() - start:.0f} s)\n{evaluation.intervals.in_words()}")
    for row in evaluation.intervals.rows():
        print("   ", *[f"{cell:>14s}" for cell in row])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=None, help="folder with the tonsil h5ad files")
    parser.add_argument("--model", default="ridge")
    choices = parser.parse_args()
    home = Path(os.environ.get("NAPARI_ST2MSI_DATA", HERE.parent / "shared" / "data"))
    model = {"model": {"name": choices.model}}

    one = st2msi.simulate(n_spots=1200, n_genes=1000, image_px=128, ions_per_kind=10, seed=1).paired()
    told("one simulated section, blocks", one, Recipe.model_validate(model))

    several = st2msi.simulate(n_spots=600, n_genes=800, image_px=128, ions_per_kind=8, seed=2, n_sections=5).paired()
    labels = np.unique(several.sections)
    new = several.select(several.sections == labels[4])
    groups = Recipe.model_validate({**model, "evaluation": {"protocol": "leave_group_out"}})
    four = several.select(several.sections != labels[4])
    told("four simulated sections, each held out", four, groups)
    print("\na fifth section, never seen: share within intervals of 90 %, share of spots unlike training")
    for n in (1, 2, 3, 4):
        seen = several.select(np.isin(several.sections, labels[:n]))
        always = Recipe.model_validate({**model, "intervals": {"make_intervals": "always"}})
        within, unlike = held(st2msi.train(seen, always), new)
        print(f"    trained on {n}: {within:.1%} within, {unlike:.1%} unlike")

    folder = choices.data or home / "tonsil_imc_tofsims"
    if folder.is_dir():
        data = tonsil(folder)
        for group in ("donor", "roi"):
            wanted = of_tonsil(group).model_dump()
            wanted["model"]["name"] = choices.model
            told(f"tonsil, each {group} held out", data, Recipe.model_validate(wanted))


if __name__ == "__main__":
    main()
