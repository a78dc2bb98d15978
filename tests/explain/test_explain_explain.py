"""Which genes drive a prediction: exact terms, integrated gradients, regions, what is refused."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from anndata import AnnData

from napari_st2msi.errors import DataProblem, ModelProblem
from napari_st2msi.explain.explain import explain_ion, explain_region
from napari_st2msi.explain.kinds import explainer_for
from napari_st2msi.features.pathways import bundled_sets
from napari_st2msi.models.registry import build
from napari_st2msi.paired import PairedDataset
from napari_st2msi.progress import Cancelled
from napari_st2msi.recipe import Recipe
from planted import planted

DATA = planted(sections=2, n_side=10)
# A spot far away has nothing around it.
DATA.genes.obsm["spatial"][7] = DATA.ions.obsm["spatial"][7] = (9000.0, 9000.0)


@cache
def plain(name: str) -> Any:
    return fitted(name, fresh=True)


def fitted(
    name: str = "ridge",
    *,
    data: PairedDataset = DATA,
    model: dict[str, Any] | None = None,
    fresh: bool = False,
    epochs: int = 2,
    **genes: Any,
) -> Any:
    if data is DATA and not (model or genes or fresh):
        return plain(name)
    genes = {"n_components": 12, "min_spots": 1, **genes}
    recipe = {
        "genes": genes,
        "model": {"name": name, "width": 16, "ensemble": 2, **(model or {})},
        "networks": {"epochs": epochs},
    }
    return build(Recipe.model_validate(recipe)).fit(data)


def on_learning_scale(model: Any, ion: str) -> Any:
    return model.ions_.compress(model.predict(DATA.genes).X)[:, model.ions_.var_.index.get_loc(ion)]


def test_linear_terms_are_slope_times_deviation() -> None:
    model = fitted("ridge", reduction="none", neighbourhood="none")
    found = explain_ion(model, DATA.genes, "linear0")
    slope = model.maps_["intensity"].slope[:, model.ions_.var_.index.get_loc("linear0")]
    expected = model.design_.transform(DATA.genes) * slope
    np.testing.assert_allclose(found.values, expected, atol=1e-6)
    assert found.method == "linear"
    assert found.unit == "log(1 + intensity)"
    assert list(found.genes) == model.design_.genes_.names_


@pytest.mark.parametrize("neighbourhood", ["none", "rings", "diffusion", "graph_svd"])
@pytest.mark.parametrize(
    "choices",
    [
        {"reduction": "svd"},
        {"reduction": "none"},
        {"reduction": "pls"},
        {"reduction": "none", "standardise": False},
        {"reduction": "svd", "per_section": True},
    ],
)
def test_contributions_add_up_to_the_prediction(neighbourhood: str, choices: dict[str, Any]) -> None:
    model = fitted("ridge", neighbourhood=neighbourhood, **choices)
    found = explain_ion(model, DATA.genes, "linear1")
    predicted = on_learning_scale(model, "linear1")
    np.testing.assert_allclose(found.predicted, predicted, atol=1e-4)
    np.testing.assert_allclose(found.gap, 0.0, atol=1e-4)
    assert found.predicted.std() > 0.05
    assert list(found.bands) == list(model.design_.bands)


@pytest.mark.parametrize(
    "name", ["two_stage", "banded_ridge", "kernel_ridge", "pls", "lasso", "linear", "position_genes", "mlp"]
)
def test_every_model_on_genes_is_explained(name: str) -> None:
    model = fitted(name)
    for ion in ("linear0", "presence0", "zero0"):
        found = explain_ion(model, DATA.genes, ion, spots=np.arange(40))
        predicted = on_learning_scale(model, ion)[:40]
        np.testing.assert_allclose(np.maximum(found.predicted, 0), predicted, atol=1e-3)
        # A kernel cannot tell the mean around a lone spot from no mean at all.
        lone = DATA.genes.obs_names[:40] == "spot7"
        np.testing.assert_allclose(found.gap[~lone], 0.0, atol=1e-3)
        assert found.values.shape == (40, 30)
    assert not found.values.any()  # nothing drives an ion that is never there


@pytest.mark.parametrize(
    "choices",
    [
        {"intensity": "kernel_ridge"},
        {"presence": "chain"},
        {"presence": "svm", "intensity": "pls"},
        {"presence": "network", "intensity": "ridge"},
    ],
)
def test_any_two_stages_add_up(choices: dict[str, str]) -> None:
    model = fitted("two_stage", model=choices, epochs=30)  # a network that learned nothing says nothing
    found = explain_ion(model, DATA.genes, "presence1")
    assert found.method == "integrated_gradients"
    assert found.relative_gap < 1e-3
    assert found.values.any()


@pytest.mark.parametrize("name", ["transformer", "linear_transformer", "cvae"])
def test_networks_that_see_tokens_or_draw_add_up(name: str) -> None:
    model = fitted(name, model={"ensemble": 1})
    # As if it had learned much: two epochs teach nothing that shows.
    model.trust_ = np.ones_like(model.trust_)
    found = explain_ion(model, DATA.genes, "linear0", spots=np.arange(20, 50))
    assert np.abs(found.predicted - found.baseline).max() > 1e-4
    assert found.relative_gap < 0.02
    explainer = explainer_for(model, DATA.genes, np.arange(20, 50))
    rows, every = np.arange(30), np.arange(30)
    column = model.ions_.var_.index.get_loc("linear0")
    left = explainer.without(rows, "prediction")(every)[:, column]
    np.testing.assert_allclose(left, found.baseline, atol=1e-4)


def test_a_stack_adds_up() -> None:
    model = fitted("stack", model={"stack_mlp": True})
    assert len(model.maps_["intensity"].parts) == 3
    found = explain_ion(model, DATA.genes, "linear0", spots=np.arange(20, 60))
    assert found.relative_gap < 1e-3
    assert found.values.any()


@pytest.mark.parametrize("reduction", ["none", "svd"])
def test_trees_are_explained_by_treeshap(reduction: str) -> None:
    model = fitted("trees", model={"rounds": 20}, reduction=reduction)
    found = explain_ion(model, DATA.genes, "linear0")
    assert found.method == "tree_shap"
    # From the mean of what trees say, and less than all reaches the genes.
    assert np.ptp(found.baseline) < 1e-5
    assert found.baseline.mean() == pytest.approx(found.predicted.mean(), abs=0.05)
    brought = found.values.sum(axis=1)
    assert np.corrcoef(brought, found.predicted)[0, 1] > 0.9
    assert 0 < found.relative_gap < 0.5


def test_of_two_stages_each_can_be_explained() -> None:
    model = fitted("two_stage")
    k = model.ions_.var_.index.get_loc("presence0")
    features = model.design_.transform(DATA.genes)
    for part, unit in (("intensity", "log(1 + intensity)"), ("presence", "log odds of presence")):
        found = explain_ion(model, DATA.genes, "presence0", part=part)
        np.testing.assert_allclose(found.predicted, model.maps_[part](features)[:, k], atol=1e-5)
        np.testing.assert_allclose(found.gap, 0.0, atol=1e-4)
        assert (found.unit, found.method) == (unit, "linear")


def test_what_a_mask_lets_through_is_explained_and_the_rest_is_gap() -> None:
    model = fitted("two_stage", model={"combine": "mask"})
    found = explain_ion(model, DATA.genes, "presence0")
    masked = found.predicted == 0
    assert 0 < masked.sum() < len(masked)
    assert not found.values[masked].any()
    # All genes at their mean are masked as well: that the mask opens is no gene's contribution.
    assert found.baseline.max() == 0
    assert found.gap[~masked].min() > 0.1


def test_integrated_gradients_of_a_product_are_those_of_many_small_steps() -> None:
    model = fitted("two_stage", reduction="none", neighbourhood="none")
    found = explain_ion(model, DATA.genes, "presence2", spots=[3])
    k = model.ions_.var_.index.get_loc("presence2")
    x = model.design_.transform(DATA.genes)[3].astype(float)
    total, n, width = np.zeros(30), 400, 1e-4
    for share in (np.arange(n) + 0.5) / n:
        moved = share * x + width * np.vstack([np.eye(30), -np.eye(30)])
        said = model.estimate(moved)[0][:, k]
        total += (said[:30] - said[30:]) / (2 * width) / n
    np.testing.assert_allclose(found.values[0], total * x, atol=2e-4)


def test_the_planted_genes_come_first() -> None:
    rng = np.random.default_rng(5)
    counts = rng.poisson(20, (300, 40)).astype(np.float32)
    xy = np.column_stack([np.arange(300) % 20, np.arange(300) // 20]) * 100.0
    ions = np.exp(3 + 0.1 * (counts[:, [4]] - counts[:, [11]]) + 0.05 * rng.normal(size=(300, 1)))
    genes = AnnData(counts, obsm={"spatial": xy})
    genes.var_names = [f"g{number}" for number in range(40)]
    table = AnnData(ions.astype(np.float32), obsm={"spatial": xy})
    table.var_names = ["ion"]
    model = fitted("ridge", data=PairedDataset(genes, table), n_components=40)
    ranked = explain_ion(model, genes, "ion").ranked()
    assert set(ranked.index[:2]) == {"g4", "g11"}
    assert ranked["strength_own"].iloc[0] > 5 * ranked["strength_ring1"].iloc[0]
    # More of the one raises the ion, more of the other lowers it.
    rich = explain_ion(model, genes, "ion", spots=counts[:, 4] > 25)
    assert rich.of(["g4"]).mean() > 0 > -rich.of(["g11"]).var()
    assert rich.ranked()["mean"].idxmax() == "g4"


def test_ion_is_found_by_mz_and_genes_together_as_a_pathway() -> None:
    model = fitted("ridge")
    found = explain_ion(model, DATA.genes, "101.00")
    assert found.ion == "linear1"
    together = found.of(["g1", "g2", "not a gene"])
    np.testing.assert_allclose(together, found.of(["g1"]) + found.of(["g2"]), atol=1e-6)
    with pytest.raises(DataProblem, match=r"no ion at m/z 555\.5\. The nearest is 114"):
        explain_ion(model, DATA.genes, "555.5")
    with pytest.raises(DataProblem, match="no ion 'nothing'"):
        explain_ion(model, DATA.genes, "nothing")


def test_a_region_is_the_mean_of_its_spots() -> None:
    model = fitted("two_stage")
    spots = DATA.genes.obs_names[20:50]
    region = explain_region(model, DATA.genes, ["linear0", "presence0"], spots=spots)
    single = explain_ion(model, DATA.genes, "presence0", spots=spots)
    np.testing.assert_allclose(region.mean["presence0"], single.values.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(region.strength["presence0"], np.abs(single.values).mean(axis=0), atol=1e-6)
    assert region.n_spots == 30
    assert region.gaps["presence0"] == pytest.approx(single.relative_gap, abs=1e-6)
    assert region.strength["linear0"].idxmax() in region.top(3)
    assert explain_region(model, DATA.genes, spots=[0]).mean.shape == (30, len(DATA.ions.var_names))


def test_spots_may_be_a_mask_positions_or_names() -> None:
    model = fitted("ridge")
    mask = np.zeros(DATA.genes.n_obs, dtype=bool)
    mask[[3, 150]] = True
    three = [
        explain_ion(model, DATA.genes, "linear0", spots=spots).values
        for spots in (mask, [3, 150], DATA.genes.obs_names[[3, 150]])
    ]
    whole = explain_ion(model, DATA.genes, "linear0").values[mask]
    for found in three:
        np.testing.assert_allclose(found, whole, atol=1e-6)


@pytest.mark.parametrize(
    ("spots", "words"),
    [
        (np.zeros(200, dtype=bool), "No spot is chosen"),
        (np.ones(3, dtype=bool), "3 entries"),
        ([5, 900], "from 0 to 199"),
        (["spot1", "elsewhere"], "such as 'elsewhere'"),
        ([], "No spot is chosen"),
    ],
)
def test_wrong_spots_are_refused(spots: Any, words: str) -> None:
    with pytest.raises(DataProblem, match=words):
        explain_ion(fitted("ridge"), DATA.genes, "linear0", spots=spots)


def test_a_model_without_genes_or_stages_says_so() -> None:
    with pytest.raises(ModelProblem, match="looks at no genes"):
        explain_ion(fitted("coordinates"), DATA.genes, "linear0")
    with pytest.raises(ModelProblem, match="has no stages"):
        explain_ion(fitted("ridge"), DATA.genes, "linear0", part="presence")
    with pytest.raises(ModelProblem, match="has no stages"):
        explain_ion(fitted("mlp"), DATA.genes, "linear0", part="presence")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("choices", [{}, {"presence": "chain"}, {"presence": "network"}])
@pytest.mark.parametrize("ion", ["linear0", "zero0"])
def test_no_gene_has_a_share_in_the_presence_of_what_is_everywhere_or_nowhere(
    choices: dict[str, Any], ion: str
) -> None:
    model = fitted("two_stage", model=choices)
    with pytest.raises(ModelProblem, match=f"takes '{ion}' to be everywhere or nowhere"):
        explain_ion(model, DATA.genes, ion, part="presence")
    found = explain_ion(model, DATA.genes, ion)
    assert np.isfinite(found.gap).all()


def test_it_stops_when_asked() -> None:
    with pytest.raises(Cancelled):
        explain_ion(fitted("ridge"), DATA.genes, "linear0", cancelled=lambda: True)


def test_pathways_count_beside_genes() -> None:
    genes = DATA.genes.copy()
    listed = list(dict.fromkeys(gene for own in bundled_sets().values() for gene in own))[:24]
    genes.var_names = [*listed, *genes.var_names[24:]]
    model = fitted("ridge", data=PairedDataset(genes, DATA.ions), pathway_band=True, n_top=10)
    found = explain_ion(model, genes, "linear0")
    assert "pathways" in found.bands
    assert found.bands["pathways"].any()
    np.testing.assert_allclose(found.gap, 0.0, atol=1e-4)
    assert len(explainer_for(model, genes).inputs.names) > 10
