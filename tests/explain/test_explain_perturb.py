"""In-silico perturbation: changed genes, neighbours, what is held, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from napari_st2msi.errors import DataProblem
from napari_st2msi.explain.perturb import Change, perturb
from napari_st2msi.models.registry import build
from napari_st2msi.recipe import Recipe
from planted import planted

DATA = planted(sections=2, n_side=10)


def fitted(name: str = "ridge", **genes: Any) -> Any:
    recipe = {"genes": {"reduction": "none", "min_spots": 1, **genes}, "model": {"name": name}}
    return build(Recipe.model_validate(recipe)).fit(DATA)


def test_a_scaled_gene_moves_the_prediction_by_its_slope() -> None:
    model = fitted(neighbourhood="none")
    ion, gene = model.ions_.var_.index.get_loc("linear0"), model.design_.genes_.names_.index("g3")
    found = perturb(model, DATA.genes, Change(("g3",), "scale", 2.0))
    slope = model.maps_["intensity"].slope[gene, ion]
    counts = DATA.genes.X.toarray()
    # The library stays that of the counts before: only the changed gene moves.
    scale = model.design_.genes_.target_ / counts.sum(axis=1)
    step = np.log1p(2 * counts[:, 3] * scale) - np.log1p(counts[:, 3] * scale)
    expected = slope * step / model.design_.genes_.deviation_[gene]
    moved = np.log1p(found.after[:, ion]) - np.log1p(found.before[:, ion])
    np.testing.assert_allclose(moved, expected, atol=1e-4)
    assert np.abs(expected).max() > 0.01


def test_nothing_changes_where_nothing_is_changed() -> None:
    for per_section in (False, True):
        model = fitted("two_stage", reduction="svd", per_section=per_section)
        found = perturb(model, DATA.genes, Change(("g3", "g4"), "scale", 1.0))
        np.testing.assert_array_equal(found.change, 0.0)
        assert found.changed.all()


def test_a_knock_out_in_all_spots_is_seen_even_if_sections_are_standardised() -> None:
    model = fitted("ridge", per_section=True)
    strongest = np.abs(model.maps_["intensity"].slope[:30, 0]).argmax()
    found = perturb(model, DATA.genes, Change((model.design_.genes_.names_[strongest],)))
    assert np.abs(found.change[:, 0]).mean() > 1.0


def test_neighbours_of_changed_spots_change_and_no_others() -> None:
    model = fitted("ridge")
    spot = 44  # in the middle of the first section of 10 × 10
    found = perturb(model, DATA.genes, Change(("g1", "g2", "g3"), "set", 200.0), spots=[spot])
    moved = np.abs(found.change[:, :3]).max(axis=1) > 1e-4 * np.abs(found.before[:, :3]).max(axis=1)
    away = np.hypot(*(DATA.xy - DATA.xy[spot]).T)
    here = DATA.sections == DATA.sections[spot]
    assert moved[spot]
    assert moved[here & (away > 0) & (away < 150)].all()
    assert not moved[~here].any()
    assert not moved[here & (away > 2 * model.design_.step_ + 1)].any()
    assert found.changed.sum() == 1
    ranked = found.ranked()
    assert {"change", "around", "relative"} <= set(ranked)
    assert abs(ranked["relative"].iloc[0]) == ranked["relative"].abs().max()


@pytest.mark.parametrize("name", ["coordinates", "kernel_ridge", "position_genes"])
def test_any_model_can_be_asked(name: str) -> None:
    found = perturb(fitted(name), DATA.genes, Change(("g3",)))
    assert found.change.any() == (name != "coordinates")
    assert np.isfinite(found.after).all()


def test_the_table_given_stays_as_it_is_dense_or_sparse() -> None:
    model = fitted()
    results = []
    for values in (DATA.genes.X.toarray(), csr_matrix(DATA.genes.X.toarray().astype(np.int64))):
        genes = DATA.genes.copy()
        genes.X = values
        before = genes.X.copy()
        changes = [Change(("g3",), "set", 7.0), Change(("g3", "g5"), "scale", 3.0)]
        results.append(perturb(model, genes, changes, spots=DATA.genes.obs_names[:20]))
        assert abs(genes.X - before).max() == 0
    np.testing.assert_allclose(results[0].after, results[1].after, rtol=1e-5)
    once = perturb(model, DATA.genes, [Change(("g3",), "set", 21.0), Change(("g5",), "scale", 3.0)], spots=range(20))
    np.testing.assert_allclose(results[0].after, once.after, rtol=1e-5)


def test_genes_that_the_model_does_not_use_are_named() -> None:
    found = perturb(fitted(n_top=10), DATA.genes, Change(tuple(DATA.genes.var_names), "scale", 1.5))
    assert len(found.unused) == 20


def test_wrong_changes_are_refused() -> None:
    with pytest.raises(DataProblem, match="not in the data, such as 'GFAP'"):
        perturb(fitted(), DATA.genes, Change(("g1", "GFAP")))
    with pytest.raises(DataProblem, match="No gene is chosen"):
        Change(())
    for amount in (-1.0, float("nan"), float("inf")):
        with pytest.raises(DataProblem, match="0 or more"):
            Change(("g1",), "scale", amount)
    with pytest.raises(DataProblem, match="No spot is chosen"):
        perturb(fitted(), DATA.genes, Change(("g1",)), spots=[])


def test_changes_are_said_in_words() -> None:
    assert Change(("Gfap",)).words() == "Gfap knocked out"
    assert Change(("Gfap",), "scale", 2).words() == "Gfap × 2"
    assert Change(("a", "b", "c"), "set", 5).words() == "3 genes = 5"
