"""Networks on the graph of neighbours: what is a spot's own, what comes from around, and that it adds up."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from napari_st2msi.errors import ModelProblem
from napari_st2msi.explain.checks import check_attribution
from napari_st2msi.explain.explain import attribution_of, explain_ion, explain_region
from napari_st2msi.explain.graph import GraphExplainer, copies_of
from napari_st2msi.explain.inputs import SpotGenes
from napari_st2msi.explain.kinds import explainer_for
from napari_st2msi.explain.ways import Slopes
from napari_st2msi.models.deep.graph import hood
from napari_st2msi.models.registry import build
from napari_st2msi.progress import Cancelled
from napari_st2msi.recipe import Recipe
from planted import planted

DATA = planted(sections=2, n_side=8)
# A spot far away has nothing around it.
DATA.genes.obsm["spatial"][7] = DATA.ions.obsm["spatial"][7] = (9000.0, 9000.0)


@cache
def fitted(name: str, depth: int = 2, **genes: Any) -> Any:
    recipe = {
        "genes": {"n_components": 12, "min_spots": 1, **genes},
        "model": {"name": name, "width": 16, "ensemble": 2, "depth": depth, "section_covariate": name == "gat"},
        "networks": {"epochs": 12},
    }
    return build(Recipe.model_validate(recipe)).fit(DATA)


def test_copies_hear_what_the_spots_hear() -> None:
    """A path of five spots and a lone one: 0 - 1 - 2 - 3 - 4, 5."""
    starts, around = np.array([0, 1, 3, 5, 7, 8, 8]), np.array([1, 0, 2, 1, 3, 2, 4, 3])
    asked = np.array([1, 5, 0])
    copies = copies_of(starts, around, asked, 2)
    assert copies.node.tolist() == [0, 1, 2, 3, 5, 0, 1, 2]
    assert copies.owner.tolist() == [0, 0, 0, 0, 1, 2, 2, 2]
    assert copies.step.tolist() == [1, 0, 1, 2, 0, 0, 1, 2]
    assert copies.node[copies.asked].tolist() == asked.tolist()
    whole = hood(torch.from_numpy(starts), torch.from_numpy(around), torch.from_numpy(asked), 2)
    apart = hood(*(torch.from_numpy(each) for each in (copies.starts, copies.around)), torch.tensor(copies.asked), 2)
    for own in range(3):
        assert apart.weights[: apart.n_edges[1]][apart.edges[1, : apart.n_edges[1]] == own].sort().values.tolist() == (
            whole.weights[: whole.n_edges[1]][whole.edges[1, : whole.n_edges[1]] == own].sort().values.tolist()
        )
    assert sorted(copies.node[apart.nodes.numpy()].tolist()) == sorted(copies.node.tolist())


@pytest.mark.parametrize("name", ["gcn", "graphsage", "gat"])
@pytest.mark.parametrize("depth", [1, 2])
def test_own_genes_and_those_of_neighbours_add_up(name: str, depth: int) -> None:
    model = fitted(name, depth)
    found = explain_ion(model, DATA.genes, "linear0", spots=np.arange(30))
    assert list(found.bands) == ["own", "step1", "step2"][: depth + 1]
    predicted = model.ions_.compress(model.predict(DATA.genes).X)[:30, 0]
    np.testing.assert_allclose(np.maximum(found.predicted, 0), predicted, atol=1e-4)
    assert np.ptp(found.predicted) > 0.1
    assert found.relative_gap < 0.01
    assert found.method == "integrated_gradients"
    around = np.abs(found.bands["step1"]).sum(axis=1)
    assert around[7] == 0
    assert (np.delete(around, 7) > 0).all()


def test_a_neighbours_gene_is_told_from_the_spots_own() -> None:
    """Changing a spot changes its own band, and of spots one step away only the band of that step."""
    model = fitted("graphsage", 1)
    genes = DATA.genes.copy()
    genes.X[20] = genes.X[60]
    before, after = (explain_ion(model, table, "linear0", spots=[20, 21, 50]) for table in (DATA.genes, genes))
    own, around = (np.abs(after.bands[name] - before.bands[name]).max(axis=1) for name in ("own", "step1"))
    assert own[0] > 100 * own[2]
    assert around[1] > 1e-5
    np.testing.assert_allclose((own[2], around[2]), 0, atol=1e-6)


@pytest.mark.parametrize("choices", [{"reduction": "none"}, {"pathway_band": False, "reduction": "pls"}])
def test_features_of_all_sorts_lead_back_to_genes(choices: dict[str, Any]) -> None:
    model = fitted("gcn", 1, **choices)
    found = explain_ion(model, DATA.genes, "presence0", spots=np.arange(10, 20))
    assert found.relative_gap < 0.01
    assert found.values.any()


def test_few_at_once_are_what_all_at_once_are(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fitted("gcn", 2)
    whole = explain_region(model, DATA.genes, ["linear0", "linear1"], spots=np.arange(20))
    monkeypatch.setattr("napari_st2msi.explain.graph._AT_ONCE", 500)
    pieces = explain_region(model, DATA.genes, ["linear0", "linear1"], spots=np.arange(20))
    np.testing.assert_allclose(pieces.mean, whole.mean, atol=1e-6)
    np.testing.assert_array_equal(pieces.direction, whole.direction)
    single = explain_ion(model, DATA.genes, "linear1", spots=np.arange(20))
    np.testing.assert_allclose(whole.strength["linear1"], np.abs(single.values).mean(axis=0), atol=1e-6)


def test_memory_is_bounded_by_genes_where_these_are_more_than_features(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once, asked, to_genes = 2000, [], SpotGenes.to_genes

    def spy(self: SpotGenes, name: str, slopes: Slopes, columns: slice) -> Any:
        found = to_genes(self, name, slopes, columns)
        asked.append(found.size)
        return found

    monkeypatch.setattr("napari_st2msi.explain.graph._AT_ONCE", at_once)
    monkeypatch.setattr(SpotGenes, "to_genes", spy)
    explain_ion(fitted("gcn", 2), DATA.genes, "linear0", spots=np.arange(20))
    assert 0 < max(asked) <= at_once


def test_without_all_genes_around_the_mean_is_left_and_checks_are_made() -> None:
    model = fitted("gat", 2)
    explainer = explainer_for(model, DATA.genes, np.arange(40, 60))
    assert isinstance(explainer, GraphExplainer)
    rows = np.arange(20)
    without = explainer.without(rows, "prediction")
    np.testing.assert_allclose(without(np.arange(30))[:, 0], explainer.baseline(rows, 0, "prediction"), atol=1e-5)
    # What was taken away before does not stay away.
    np.testing.assert_allclose(without(np.arange(0)), explainer.predicted(rows, "prediction"), atol=1e-5)
    checks = check_attribution(explainer, attribution_of(explainer, 0))
    assert checks.deletion.advantage > 1
    assert checks.random_weights is not None
    assert abs(checks.random_weights) < 0.6
    assert checks.agreement is not None


def test_what_cannot_be_explained_is_refused() -> None:
    model = fitted("gcn", 2)
    with pytest.raises(ModelProblem, match="has no stages"):
        explain_ion(model, DATA.genes, "linear0", part="presence")
    with pytest.raises(Cancelled):
        explain_ion(model, DATA.genes, "linear0", cancelled=lambda: True)
    assert not explain_ion(model, DATA.genes, "zero0", spots=[3]).values.any()
