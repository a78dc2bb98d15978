"""What the stained section adds to genes: R² of ions by kind with genes, and with genes and histology.

Simulated sections, whose ions follow genes, or space, or nothing, held out in blocks. Time of the description is told
per spot. To ions that are smooth but independent of genes, and to noise, histology must add no more than 0.02. Run with

    python benchmarks/histology.py [--spots 1200] [--genes 1000] [--detection 0.4] [--tissue brain] [--directions 50]
"""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np
import pandas as pd

import napari_st2msi as st2msi
from _report import table, timed, verdict
from napari_st2msi.features.texture import texture
from napari_st2msi.io.histology import histology_levels
from napari_st2msi.paired import PairedDataset
from napari_st2msi.pairing.histology import with_histology
from napari_st2msi.recipe import Genes, Model, Recipe

NOTHING = ("smooth", "noise")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spots", type=int, default=1200)
    parser.add_argument("--genes", type=int, default=1000)
    parser.add_argument("--detection", type=float, default=0.4)
    parser.add_argument("--tissue", default="brain")
    parser.add_argument("--models", nargs="+", default=["ridge", "banded_ridge"])
    parser.add_argument("--directions", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()

    facts = {"tissue": asked.tissue, "detection": asked.detection, "seed": asked.seed}
    sample = st2msi.simulate(n_spots=asked.spots, n_genes=asked.genes, **facts)
    section, kind = sample.sections[0], sample.truth.ions["kind"]
    levels, to_um = histology_levels(section)
    places = np.asarray(section.st.obsm["spatial"])
    seconds, _ = timed(partial(texture, levels, to_um, places, Genes().histology_radius))
    print(f"description: {1000 * seconds / len(places):.2f} ms a spot")

    kinds, rows, most = list(dict.fromkeys(kind)), [], 0.0
    before = pd.Series(dtype=float)
    for name in asked.models:
        for histology in ("none", "texture"):
            recipe = Recipe(genes=Genes(histology=histology, n_components=asked.directions), model=Model(name=name))
            paired = with_histology(sample.paired(), section, recipe.genes)
            seconds, evaluation = timed(partial(st2msi.evaluate, paired, recipe))
            flat = evaluation.flat()
            r2 = flat["r2"].groupby(kind.reindex(flat.index)).median()
            if histology == "none":
                before = r2
            most = max(most, float((r2 - before)[list(NOTHING)].abs().max()))
            rows.append([f"{name}, {histology}", *[f"{r2[one]:.3f}" for one in kinds], _share(paired, recipe, kind)])
            rows[-1].append(f"{seconds:.0f} s")
    table("Median R² out of fold", ["model, histology", *kinds, "share of histology", "time"], rows)
    verdict("what histology changes in R² of smooth and noise ions", 100 * most, 2, at_least=False, unit=" %")


def _share(paired: PairedDataset, recipe: Recipe, kind: pd.Series) -> str:
    """Return the median share that histology brings to the prediction of ions that can be predicted."""
    if recipe.genes.histology == "none":
        return "–"
    shares = st2msi.train(paired, recipe).predictor.predict(paired.genes, context=paired.genes).var
    return f"{shares['share_histology'][~kind.reindex(shares.index).isin(NOTHING)].median():.2f}"


if __name__ == "__main__":
    main()
