"""Every model under every protocol: what it predicts, what of that position could not, time and memory.

Three simulated samples of four sections, and the tonsil data (six regions of two donors); held out are random spots
(which leaks space), blocks of tissue, regions, or donors (two sections each, where simulated). One process a model and
data set, on one thread, so that time and memory are its own. A row that is done is kept in ``benchmarks/models.csv``
and not repeated; tables are written to ``benchmarks/models.md``. Run with ``python benchmarks/models.py`` (hours), or
``python benchmarks/models.py --quick`` for fewer spots; ``--ceilings`` instead asks for the share of the known ceiling
that models reach on one simulated section under blocks.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd

import napari_st2msi as st2msi
from napari_st2msi import PairedDataset, Recipe
from napari_st2msi.models.registry import model_names
from napari_st2msi.progress import Cancelled

HERE = Path(__file__).resolve().parent
CSV, PAGE = HERE / "models.csv", HERE / "models.md"
DATA = ("sample 1", "sample 2", "sample 3", "tonsil")
#: What a name stands for beside a model with its defaults.
VARIANTS: dict[str, dict[str, Any]] = {
    "two_stage, svm": {"model": {"name": "two_stage", "presence": "svm"}},
    "two_stage, chain": {"model": {"name": "two_stage", "presence": "chain"}},
    "two_stage, network": {"model": {"name": "two_stage", "presence": "network"}},
    "two_stage, networks": {"model": {"name": "two_stage", "presence": "networks"}},
    "two_stage, kernel": {"model": {"name": "two_stage", "intensity": "kernel_ridge"}},
    "stack without network": {"model": {"name": "stack", "stack_mlp": False}},
    "trees, per section": {"model": {"name": "trees"}, "genes": {"per_section": True}},
}
#: First those from which a default is chosen.
FIRST = ("two_stage", "ridge", "kernel_ridge", "stack without network", "stack", "mlp", "trees")
KINDS = ("linear", "neighbourhood", "nonlinear", "interaction", "presence", "smooth", "noise")
PROTOCOLS: dict[str, dict[str, Any]] = {
    "random": {"protocol": "random"},
    "blocks": {"protocol": "blocks"},
    "regions": {"protocol": "leave_group_out", "group": "section"},
    "donors": {"protocol": "leave_group_out", "group": "donor"},
}
KEYS = ["data", "spots", "protocol", "model"]


def simulated(spots: int, sections: int, seed: int) -> tuple[PairedDataset, pd.DataFrame]:
    """Return simulated spots of 2,000 genes from 12 programs, and the truth about their ions."""
    simulation = st2msi.simulate(n_spots=spots // sections, n_genes=2000, n_programs=12, n_sections=sections, seed=seed)
    paired = simulation.paired()
    order = np.unique(paired.sections, return_inverse=True)[1]
    for part in (paired.genes, paired.ions):
        part.obs["donor"] = np.where(order < sections / 2, "first", "second")
    return paired, simulation.truth.ions.loc[paired.ions.var_names]


def tonsil(folder: Path, cells: int | None) -> PairedDataset:
    """Return cells × 26 proteins with cells × 189 ions; a region is a section, all or the middle of it."""
    tables = [anndata.read_h5ad(folder / name) for name in ("proteins_imc.h5ad", "ions_tofsims.h5ad")]
    for part in tables:
        part.obs["section"] = part.obs["roi"].astype(str)
    paired = PairedDataset(*tables)
    if cells is None:
        return paired
    kept = []
    for label in np.unique(paired.sections):
        own = np.flatnonzero(paired.sections == label)
        off = np.abs(paired.xy[own] - np.median(paired.xy[own], axis=0)).max(axis=1)
        kept.append(own[np.argsort(off, kind="stable")[:cells]])
    return paired.select(np.sort(np.concatenate(kept)))


def scores(
    paired: PairedDataset, truth: pd.DataFrame | None, choices: dict[str, Any], protocol: str, longest: float
) -> dict[str, Any]:
    """Return what one cross-validation found; only its time if that was too long."""
    recipe = Recipe.model_validate(choices | {"evaluation": PROTOCOLS[protocol]})
    begin = time.process_time()
    try:
        found = st2msi.evaluate(paired, recipe, cancelled=lambda: time.process_time() - begin > longest)
    except Cancelled:
        return {"seconds": time.process_time() - begin}
    flat = found.flat()
    learnable = flat[flat["learnable"].astype(bool)]
    facts = {"seconds": time.process_time() - begin, "r2": learnable["r2"].median()}
    facts |= {"pearson": learnable["pearson"].median(), "skill": (learnable["r2"] > 0.02).mean()}
    facts |= {"gain": (learnable["gain"] > 0.02).mean()}
    if truth is not None:
        for kind in KINDS:
            own = (truth["kind"] == kind).to_numpy()
            r2, ceiling = flat["r2"].to_numpy()[own], truth["ceiling_spots"].to_numpy()[own]
            facts[kind] = float(np.median(r2 if kind in ("smooth", "noise") else r2 / ceiling))
    return facts


def run(
    paired: PairedDataset, truth: pd.DataFrame | None, choices: dict[str, Any], protocols: list[str], longest: float
) -> list[dict[str, Any]]:
    """Return the scores of one model under protocols, with the peak memory of the process."""
    import torch

    torch.set_num_threads(1)
    rows = [scores(paired, truth, choices, protocol, longest) for protocol in protocols]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return [row | {"memory": memory} for row in rows]


def known_rows() -> pd.DataFrame:
    """Return what earlier runs found."""
    return pd.read_csv(CSV) if CSV.exists() else pd.DataFrame(columns=KEYS)


def wanted(models: list[str], data: list[str], protocols: list[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield data, model and the protocols under it, so that what matters most comes first."""
    for name in data:
        for model in models:
            yield name, model, protocols


def written(table: pd.DataFrame, spots: int) -> str:
    """Return the rows of a size as tables in Markdown, the samples as their median."""
    table = table[table["spots"] == spots]
    lines = [__doc__.split("\n")[0] if __doc__ else ""]
    for name, own in (("Simulated", table["data"].str.startswith("sample")), ("Tonsil", table["data"] == "tonsil")):
        for protocol in PROTOCOLS:
            part = table[own & (table["protocol"] == protocol)]
            if part.empty:
                continue
            n = part["data"].nunique()
            middle = (
                part.groupby("model", sort=False)
                .median(numeric_only=True)
                .join(part.groupby("model")["data"].nunique())
            )
            lines += [
                "",
                f"### {name}, {protocol}"
                + (f" ({n} of 3 samples, {spots:,} spots each)" if name == "Simulated" else ""),
                "",
            ]
            lines.append("| model | R² | Pearson | R² > 0.02 | gain > 0.02 | CPU s | GB |")
            lines.append("|---|---|---|---|---|---|---|")
            for model, row in middle.sort_values("r2", ascending=False, na_position="last").iterrows():
                mark = "" if row["data"] == n else f" ({row['data']:.0f} of {n})"
                cells = [f"{row['r2']:.3f}", f"{row['pearson']:.3f}", f"{row['skill']:.0%}", f"{row['gain']:.0%}"]
                if np.isnan(row["r2"]):
                    cells = ["stopped", "", "", ""]
                cells += [f"{row['seconds']:.0f}", f"{row['memory']:.1f}"]
                lines.append(f"| `{model}`{mark} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def ceilings(table: pd.DataFrame) -> str:
    """Return the shares of ceilings as a table in Markdown, the median over samples."""
    part = table[table["data"].str.startswith("section")]
    if part.empty:
        return ""
    lines = ["", f"### Share of the known ceiling, blocks, {part['spots'].max():,.0f} spots of one section", ""]
    lines += ["| model | " + " | ".join(KINDS) + " | CPU s |", "|---" * (len(KINDS) + 2) + "|"]
    for (model, n), row in part.groupby(["model", "spots"], sort=False).median(numeric_only=True).iterrows():
        many = len(part[(part["model"] == model) & (part["spots"] == n)])
        lines.append(f"| `{model}` ({many} samples) | " + " | ".join(f"{row[kind]:.3f}" for kind in KINDS))
        lines[-1] += f" | {row['seconds']:.0f} |"
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    others = [name for name in (*model_names(), *VARIANTS) if name not in FIRST and name != "mean"]
    parser.add_argument("--models", nargs="*", default=[*FIRST, *others])
    parser.add_argument("--data", nargs="*", default=None)
    parser.add_argument("--protocols", nargs="*", default=list(PROTOCOLS))
    parser.add_argument("--quick", action="store_true", help="800 simulated spots, 300 cells of each region")
    parser.add_argument("--ceilings", action="store_true", help="shares of ceilings on 3,000 spots of one section")
    parser.add_argument("--longest", type=float, default=None, help="CPU seconds after which one is stopped")
    chosen = parser.parse_args()
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    spots = 800 if chosen.quick else 3000
    longest = chosen.longest or (100.0 if chosen.quick else 3600.0)
    samples = ["section 1", "section 2", "section 3"] if chosen.ceilings else list(DATA)
    protocols = ["blocks"] if chosen.ceilings else chosen.protocols
    done = known_rows()
    home = Path(os.environ.get("NAPARI_ST2MSI_DATA", HERE.parents[1] / "shared" / "data"))
    held: tuple[str, PairedDataset, pd.DataFrame | None] | None = None
    for data, model, asked in wanted(chosen.models, chosen.data or samples, protocols):
        known = done[(done["data"] == data) & (done["spots"] == spots) & (done["model"] == model)]
        left = [protocol for protocol in asked if protocol not in set(known["protocol"])]
        if not left:
            continue
        if held is None or held[0] != data:
            if data == "tonsil":
                held = data, tonsil(home / "tonsil_imc_tofsims", 300 if chosen.quick else None), None
            else:
                held = data, *simulated(spots, 1 if chosen.ceilings else 4, int(data.split()[1]))
        choices = VARIANTS.get(model, {"model": {"name": model}})
        if data == "tonsil":  # a panel, no counts
            choices = choices | {"genes": {"log1p": False} | choices.get("genes", {})}
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            rows = pool.submit(run, *held[1:], choices, left, longest).result()
        new = [
            {"data": data, "spots": spots, "protocol": p, "model": model} | row
            for p, row in zip(left, rows, strict=True)
        ]
        done = pd.concat([known_rows(), pd.DataFrame(new)], ignore_index=True)  # another run may have added some
        done.to_csv(CSV, index=False, float_format="%.5g")
        PAGE.write_text(written(done, 800 if chosen.quick else 3000) + ceilings(done), encoding="utf-8")
        print(pd.DataFrame(new).to_string(index=False, header=False, float_format="%.3f"), flush=True)


if __name__ == "__main__":
    main()
