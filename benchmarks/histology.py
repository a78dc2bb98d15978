"""What the stained section adds to genes: R² of ions with genes alone, with texture, and with a learned encoder.

Simulated sections with a panel of few genes and with 2,000, whose ions follow genes, or space, or nothing; and a real
one, mouse bladder with its H&E, where a few lipids stand in for genes and tell the others (it has no genes). Held out
in blocks; times are of the processor. To ions that are smooth but independent of genes, and to noise, histology must
add no more than 0.02. Run with

    python benchmarks/histology.py [--spots 1200] [--panels 30 2000] [--tissues brain tonsil] [--lipids 3 10]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
from anndata import AnnData

import napari_st2msi as st2msi
from _report import table, verdict
from bladder import DATA, bladder
from napari_st2msi.features.histology import HISTOLOGY
from napari_st2msi.io.build import build_section
from napari_st2msi.io.histology import histology_levels
from napari_st2msi.paired import PairedDataset, dense
from napari_st2msi.pairing.histology import with_histology
from napari_st2msi.recipe import Genes, Model, Recipe
from napari_st2msi.registration.masks import msi_tissue
from napari_st2msi.section import Section

WAYS = ("none", "texture", "learned")
NOTHING = ("smooth", "noise")
#: µm along a pixel of the bladder, and how many pixels from one spot to the next.
PIXEL, STEP = 10.0, 5


def lipids_as_genes(number: int, seed: int = 0) -> tuple[Section, PairedDataset]:
    """Return the bladder with spots every 50 µm: some lipids instead of genes, and the others as ions."""
    whole = bladder()
    levels, to_um = histology_levels(whole)
    xy = np.asarray(whole.msi.obsm["spatial"], dtype=float)[:, :2]
    steps = np.rint(xy - xy.min(axis=0)).astype(int)
    spots = msi_tissue(whole) & (steps % STEP == 0).all(axis=1)
    values, names = dense(whole.msi.X)[spots].astype(np.float32), whole.msi.var_names.astype(str)
    order = np.random.default_rng(seed).permutation(len(names))
    index = [f"spot{number}" for number in range(len(values))]
    genes, ions = (
        AnnData(values[:, own], obs=pd.DataFrame(index=index), var=whole.msi.var.iloc[own][["mz"]].copy())
        for own in (order[:number], order[number:])
    )
    genes.var = pd.DataFrame(index=names[order[:number]])
    section = build_section(
        name="bladder",
        st=genes,
        st_xy=PIXEL * xy[spots],
        spot_diameter_um=PIXEL,
        paired=ions,
        image=np.asarray(levels[0]),
        image_to_um=np.diag([PIXEL, PIXEL, 1.0]) @ to_um,
    )
    return section, st2msi.pipeline.paired_dataset(section)


def compared(title: str, section: Section, paired: PairedDataset, kind: pd.Series, asked: argparse.Namespace) -> float:
    """Print a table, and return the most that histology added to ions which have nothing to do with it."""
    kinds, rows, most = list(dict.fromkeys(kind)), [], 0.0
    for name in asked.models:
        before = pd.Series(dtype=float)
        for way in WAYS:
            recipe = Recipe(genes=Genes(histology=way, n_components=asked.directions), model=Model(name=name))
            start = time.process_time()
            seen = with_histology(paired, section, recipe.genes)
            between = time.process_time()
            evaluation = st2msi.evaluate(seen, recipe)
            looked, learned = between - start, time.process_time() - between
            r2 = evaluation.flat()["r2"]
            before = r2 if way == "none" else before
            medians = r2.groupby(kind.reindex(r2.index)).median()
            gain = (r2 - before)[~kind.reindex(r2.index).isin(NOTHING)]
            nothing = [one for one in NOTHING if one in kinds]
            if nothing:
                most = max(most, float((medians - before.groupby(kind.reindex(r2.index)).median())[nothing].max()))
            rows.append(
                [f"{name}, {way}", *[f"{medians[one]:.3f}" for one in kinds]]
                + [f"{gain.median():+.3f}", f"{(gain > 0.01).mean():.0%}", f"{(gain < -0.01).mean():.0%}"]
                + ["–" if way == "none" else f"{1e-3 * seen.genes.obsm[HISTOLOGY].nbytes / len(seen):.1f} kB"]
                + [f"{looked:.1f} s", f"{learned:.0f} s"]
            )
    header = ["model, histology", *kinds, "median gain", "better", "worse", "a spot", "looking", "evaluating"]
    table(f"{title}: median R² out of fold", header, rows)
    return most


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spots", type=int, default=1200)
    parser.add_argument("--panels", type=int, nargs="*", default=[30, 2000])
    parser.add_argument("--tissues", nargs="*", default=["brain", "tonsil"])
    parser.add_argument("--lipids", type=int, nargs="*", default=[3, 10])
    parser.add_argument("--models", nargs="+", default=["ridge"])
    parser.add_argument("--directions", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()

    most = 0.0
    for tissue in asked.tissues:
        for genes in asked.panels:
            sample = st2msi.simulate(n_spots=asked.spots, n_genes=genes, tissue=tissue, seed=asked.seed)
            title = f"Simulated {tissue}, {asked.spots:,} spots, {genes:,} genes"
            kind = sample.truth.ions["kind"]
            most = max(most, compared(title, sample.sections[0], sample.paired(), kind, asked))
    for lipids in asked.lipids if DATA.is_dir() else []:
        section, paired = lipids_as_genes(lipids, asked.seed)
        kind = pd.Series("lipids", index=paired.ions.var_names)
        compared(f"Mouse bladder, {len(paired):,} spots, {lipids} lipids for genes", section, paired, kind, asked)
    if asked.tissues and asked.panels:
        verdict("what histology adds to R² of smooth and noise ions", 100 * most, 2, at_least=False, unit=" %")


if __name__ == "__main__":
    main()
