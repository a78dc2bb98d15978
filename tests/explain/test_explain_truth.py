"""On simulated tissue, where it is known which genes read the programs that drive an ion."""

from __future__ import annotations

import re

import numpy as np
import pytest

from napari_st2msi.explain.explain import explain_region
from napari_st2msi.io.sample import Simulation, simulate
from napari_st2msi.models.registry import build
from napari_st2msi.recipe import Recipe


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    kinds = {"linear": 6, "neighbourhood": 4, "noise": 2}
    return simulate(n_spots=500, n_genes=600, ions_per_kind=kinds, image_px=128)


def test_the_strongest_genes_read_the_programs_that_drive_the_ion(simulation: Simulation) -> None:
    data, truth = simulation.paired(), simulation.truth
    model = build(Recipe.model_validate({"model": {"name": "ridge"}})).fit(data)
    found = explain_region(model, data.genes)
    assert max(found.gaps.values()) < 1e-5
    precision: dict[str, list[float]] = {"linear": [], "neighbourhood": []}
    by_chance = []
    for ion, row in truth.ions[truth.ions["kind"].isin(precision)].iterrows():
        programs = [
            name for name in truth.loadings.index if re.search(rf"\d {re.escape(name)}( [+-]|$)", row["programs"])
        ]
        driving = (truth.loadings.loc[programs] != 0).any(axis=0)
        top = found.strength[ion].sort_values(ascending=False).index[:20]
        precision[row["kind"]].append(float(driving[top].mean()))
        by_chance.append(float(driving.mean()))
    # With 1,200 spots and 1,000 genes it is 1.00 and 0.99; by chance 0.24.
    assert np.mean(by_chance) < 0.4
    assert np.mean(precision["linear"]) > 0.85
    assert np.mean(precision["neighbourhood"]) > 0.8
