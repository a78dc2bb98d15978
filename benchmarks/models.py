"""Every model under every protocol: what it predicts, what of that position could not, time and memory.

Simulated sections, whose ceilings are known (blocks of one section; whole sections; random spots, which
leak), and the tonsil data (each region, each donor left out). One process a run, so that memory is its own.
Run with ``python benchmarks/models.py [--models ridge two_stage] [--data simulated tonsil] [--spots 3000]``.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd

import napari_st2msi as st2msi
from _report import table
from napari_st2msi import PairedDataset, Recipe
from napari_st2msi.models.registry import BASELINES, model_names

HERE = Path(__file__).resolve().parents[1]
#: What "two_stage" stands for beside its default: presence and intensity by other methods.
VARIANTS: dict[str, dict[str, Any]] = {
    "two_stage svm": {"name": "two_stage", "presence": "svm"},
    "two_stage chain": {"name": "two_stage", "presence": "chain"},
    "two_stage kernel": {"name": "two_stage", "intensity": "kernel_ridge"},
}
KINDS = ("linear", "neighbourhood", "nonlinear", "interaction", "presence", "smooth", "noise")
PROTOCOLS = {
    "simulated": {
        "blocks": {"protocol": "blocks"},
        "sections": {"protocol": "leave_group_out", "group": "section"},
        "random": {"protocol": "leave_group_out", "group": "random"},
    },
    "tonsil": {
        "regions": {"protocol": "leave_group_out", "group": "section"},
        "donors": {"protocol": "leave_group_out", "group": "donor"},
    },
}


def simulated(spots: int, sections: int, seed: int) -> tuple[PairedDataset, pd.DataFrame]:
    """Return simulated spots of 2,000 genes from 12 programs, and the truth about their ions."""
    simulation = st2msi.simulate(n_spots=spots, n_genes=2000, n_programs=12, n_sections=sections, seed=seed)
    paired = simulation.paired()
    fold = np.random.default_rng(0).integers(1, 6, len(paired)).astype(str)
    for part in (paired.genes, paired.ions):
        part.obs["random"] = fold
    return paired, simulation.truth.ions.loc[paired.ions.var_names]


def tonsil(folder: Path) -> PairedDataset:
    """Return cells × 26 proteins with cells × 189 ions; a region is a section."""
    tables = [anndata.read_h5ad(folder / name) for name in ("proteins_imc.h5ad", "ions_tofsims.h5ad")]
    for part in tables:
        part.obs["section"] = part.obs["roi"].astype(str)
    return PairedDataset(*tables)


def run(model: str, data: str, protocol: str, spots: int, seed: int, genes: dict[str, Any]) -> dict[str, Any]:
    """Return what one cross-validation found."""
    truth = None
    if data == "simulated":
        sections = 4 if protocol == "sections" else 1
        paired, truth = simulated(spots // sections, sections, seed)
    else:
        home = Path(os.environ.get("NAPARI_ST2MSI_DATA", HERE.parent / "shared" / "data"))
        paired, genes = tonsil(home / "tonsil_imc_tofsims"), {"log1p": False} | genes
    choices = VARIANTS.get(model, {"name": model})
    recipe = Recipe.model_validate({"genes": genes, "model": choices, "evaluation": PROTOCOLS[data][protocol]})
    begin, cpu = time.perf_counter(), time.process_time()
    found = st2msi.evaluate(paired, recipe)
    facts: dict[str, Any] = {"seconds": time.perf_counter() - begin, "cpu": time.process_time() - cpu}
    facts["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    flat = found.flat()
    learnable = flat[flat["learnable"].astype(bool)]
    facts |= {"r2": learnable["r2"].median(), "pearson": learnable["pearson"].median()}
    facts |= {"skill": (learnable["r2"] > 0.02).mean(), "gain": (learnable["gain"] > 0.02).mean()}
    if truth is not None:
        for kind in KINDS:
            own = (truth["kind"] == kind).to_numpy()
            r2, ceiling = flat["r2"].to_numpy()[own], truth["ceiling_spots"].to_numpy()[own]
            facts[kind] = float(np.median(r2 if kind in ("smooth", "noise") else r2 / ceiling))
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    names = [name for name in model_names() if name not in BASELINES]
    parser.add_argument("--models", nargs="*", default=[*names, *VARIANTS, *BASELINES[1:]])
    parser.add_argument("--data", nargs="*", default=list(PROTOCOLS), choices=list(PROTOCOLS))
    parser.add_argument("--protocols", nargs="*", default=None)
    parser.add_argument("--spots", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--genes", nargs="*", default=[], help="choices about genes, such as neighbourhood=none")
    chosen = parser.parse_args()
    genes = dict(setting.split("=", 1) for setting in chosen.genes)
    for data in chosen.data:
        for protocol in PROTOCOLS[data]:
            if chosen.protocols and protocol not in chosen.protocols:
                continue
            rows = []
            for model in chosen.models:
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                    facts = pool.submit(run, model, data, protocol, chosen.spots, chosen.seed, genes).result()
                cells = [f"{facts[name]:.3f}" for name in ("r2", "pearson")]
                cells += [f"{facts[name]:.0%}" for name in ("skill", "gain")]
                cells += [f"{facts[kind]:.3f}" for kind in KINDS if kind in facts]
                rows.append([model, *cells, f"{facts['cpu']:.0f}", f"{facts['memory']:.1f}"])
                print(" ".join(rows[-1]), flush=True)
            header = ["model", "R²", "Pearson", "R² > 0.02", "gain > 0.02"]
            header += [*KINDS] if data == "simulated" else []
            table(f"{data}, {protocol}", [*header, "CPU s", "GB"], rows)


if __name__ == "__main__":
    main()
