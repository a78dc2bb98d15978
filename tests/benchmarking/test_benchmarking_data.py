from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix

from napari_st2msi.benchmarking.combinations import combinations
from napari_st2msi.benchmarking.data import Shelf, content
from napari_st2msi.benchmarking.plan import make_plan
from napari_st2msi.errors import DataProblem
from napari_st2msi.paired import PairedDataset
from planted import planted
from tiny_benchmark import tiny

STAINED = {"features": [{"name": "stained", "genes": {"histology": "texture"}}], "models": ["ridge"]}


def test_content_knows_every_change() -> None:
    spots = planted(8)
    before = content(spots)
    assert content(planted(8)) == before
    moved = PairedDataset(spots.genes.copy(), spots.ions.copy())
    moved.genes.obs["donor"] = "one"
    assert content(moved) != before, "groups are held out by columns of obs"
    other = PairedDataset(spots.genes.copy(), spots.ions.copy())
    other.ions.X[0, 0] += 1
    assert content(other) != before
    seen = PairedDataset(spots.genes.copy(), spots.ions.copy())
    seen.genes.obsm["histology"] = np.ones((len(spots), 2))
    assert content(seen) != before


def test_content_is_the_same_whatever_else_lies_beside() -> None:
    spots = planted(8)
    before = content(spots)
    spots.genes.obsm["sparse"] = csr_matrix(np.eye(len(spots)))
    spots.genes.obsm["mixed"] = pd.DataFrame({"text": ["a"] * len(spots), "number": 1}, index=spots.genes.obs_names)
    assert content(spots) == before


def test_histology_of_simulated_sections_is_seen() -> None:
    config = tiny(**STAINED)
    (planned,) = make_plan(config).planned
    spots, _ = Shelf(config).get(planned.combination)
    assert np.isfinite(spots.genes.obsm["histology"]).any()


def test_histology_is_described_on_as_many_threads_as_models_take(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(
        "napari_st2msi.pairing.histology.describe_spots", lambda *_, **__: seen.append(torch.get_num_threads())
    )
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        config = tiny(features=[{"name": "learned", "genes": {"histology": "learned"}}], models=["ridge"], threads=1)
        Shelf(config).get(combinations(config)[0])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [1]


def test_spots_without_histology_are_refused_before_any_work() -> None:
    config = tiny(**STAINED, data=[])
    with pytest.raises(DataProblem, match=r"Data 'spots': The recipe asks for the histology.*picture"):
        make_plan(config, Shelf(config, {"spots": planted(8)}))
