"""Configs small enough for every test."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from napari_st2msi.benchmarking.config import Config
from napari_st2msi.benchmarking.plan import Planned
from napari_st2msi.benchmarking.run import DONE, Outcome

TINY: dict[str, Any] = {
    "title": "A tiny benchmark",
    "data": [{"name": "brain", "simulate": {"n_spots": 100, "n_genes": 30, "ions_per_kind": 1, "image_px": 128}}],
    "recipe": {"evaluation": {"n_folds": 2}, "genes": {"neighbourhood": "none"}},
    "models": ["ridge", "coordinates"],
    "protocols": ["random"],
}


def tiny(**changes: Any) -> Config:
    return Config.of({**TINY, **changes})


def dies_with_ridge(planned: Planned) -> Outcome:
    """Stand in for a combination in a process of the pool: that of 'ridge' ends as if out of memory."""
    if planned.combination.model == "ridge":
        os._exit(9)
    return Outcome(planned.combination.id, planned.key, DONE)


def tables_of(folder: Path) -> dict[str, bytes]:
    """Return the files that must be the same however a benchmark was run."""
    names = ("leaderboard.csv", "leaderboard.parquet", "metabolites.parquet", "failures.csv")
    return {name: (folder / name).read_bytes() for name in names}
