"""Intervals of a trained model: from the evaluation where it fits, else from fits of their own, else a reason."""

from types import SimpleNamespace

import numpy as np
import pytest

from napari_st2msi.evaluation.evaluate import cross_validate
from napari_st2msi.io.sample import simulate
from napari_st2msi.models.registry import model_names
from napari_st2msi.progress import Cancelled
from napari_st2msi.recipe import Recipe
from napari_st2msi.report.words import prediction_notes
from napari_st2msi.training.card import card, limits
from napari_st2msi.training.fit import fit_model
from napari_st2msi.training.folder import CARD, load
from napari_st2msi.training.intervals import must_fit
from planted import planted

DATA = planted(n_side=14)


def recipe(name="ridge", **choices):
    return Recipe.model_validate({"model": {"name": name, "n_alphas": 4}, **choices})


@pytest.fixture(scope="module")
def evaluation():
    return cross_validate(DATA, recipe())


def test_those_of_the_evaluation_are_taken_where_they_fit(evaluation):
    model = fit_model(DATA, recipe(), evaluation=evaluation)
    assert model.intervals is evaluation.intervals
    assert model.no_intervals == ""
    predicted = model.predict(DATA.genes)
    learnable = evaluation.flat().learnable.to_numpy()
    lower, upper = predicted.layers["lower"], predicted.layers["upper"]
    assert (lower[:, learnable] >= 0).all()
    assert (lower[:, learnable] <= predicted.X[:, learnable] + 1e-3).all()
    assert (upper[:, learnable] >= predicted.X[:, learnable] - 1e-3).all()
    assert np.isnan(upper[:, ~learnable]).all()
    assert predicted.uns["provenance"]["interval_level"] == 0.9


@pytest.mark.parametrize("name", ["two_stage", "pls", "mean", "coordinates", "position"])
def test_any_model_has_them(name):
    model = fit_model(DATA, recipe(name, intervals={"make_intervals": "always"}))
    assert model.intervals is not None, model.no_intervals
    assert abs(np.nanmean(model.intervals.covered) - 0.9) < 0.03
    assert name in model_names()


def test_a_new_section_is_covered():
    whole = simulate(
        n_spots=250, n_genes=100, image_px=128, n_sections=4, batch=0.1, seed=5, ions_per_kind={"linear": 6, "noise": 4}
    ).paired()
    new = whole.sections == np.unique(whole.sections)[3]
    model = fit_model(whole.select(~new), recipe(intervals={"make_intervals": "always"}))
    assert model.intervals.held_out == "whole sections"
    query = whole.select(new)
    predicted = model.predict(query.genes)
    within = (predicted.layers["lower"] <= query.ions.X) & (predicted.layers["upper"] >= query.ions.X)
    assert 0.8 < within.mean() < 0.97
    assert predicted.uns["provenance"]["n_sections"] == 3
    assert prediction_notes(predicted.uns["provenance"]) == []


def test_blocks_of_three_sections_say_nothing_of_a_fourth():
    data = planted(n_side=9, sections=3)
    blocks = cross_validate(data, recipe())
    assert must_fit(blocks, data, recipe())
    held_out = fit_model(data, recipe(), evaluation=blocks).intervals
    assert held_out.held_out == "whole sections"
    assert set(held_out.regions.part) == {"all", "fold", "section", "quarter"}
    groups = recipe(evaluation={"protocol": "leave_group_out"})
    assert not must_fit(cross_validate(data, groups), data, groups)
    # Regions of sections are no sections, of which there are three here; of one, they are what blocks are.
    for each, refit in ((data, True), (planted(n_side=12), False)):
        for table in (each.genes, each.ions):
            table.obs["region"] = np.where(each.xy[:, 0] < np.median(each.xy[:, 0]), "left", "right")
        regions = recipe(evaluation={"protocol": "leave_group_out", "group": "region"})
        assert must_fit(cross_validate(each, regions), each, regions) == refit


def test_an_evaluation_of_something_else_is_not_taken(evaluation):
    assert must_fit(evaluation, DATA, recipe("pls"))
    assert must_fit(evaluation, DATA.select(np.arange(100)), recipe())
    assert must_fit(evaluation, DATA, recipe(intervals={"level": 0.8}))
    assert must_fit(cross_validate(DATA, recipe(evaluation={"protocol": "random"})), DATA, recipe())


@pytest.mark.parametrize(
    ("data", "choices", "words"),
    [
        (DATA, {}, "skill was not measured"),
        (DATA, {"intervals": {"make_intervals": "never"}}, "none were asked for"),
        (planted(n_side=6), {"intervals": {"make_intervals": "always"}}, "50 held-out spots at least"),
    ],
)
def test_without_intervals_the_reason_is_given(data, choices, words):
    model = fit_model(data, recipe(**choices))
    assert model.intervals is None
    assert words in model.no_intervals
    predicted = model.predict(data.genes)
    assert "upper" not in predicted.layers
    assert any(words in note for note in prediction_notes(predicted.uns["provenance"]))
    assert words in card(model)


def test_kept_in_the_folder_with_a_card(evaluation, tmp_path):
    model = fit_model(DATA, recipe(), evaluation=evaluation)
    folder = model.save(tmp_path / "model")
    again = load(folder)
    a, b = model.predict(DATA.genes), again.predict(DATA.genes)
    for layer in ("lower", "upper"):
        np.testing.assert_array_equal(a.layers[layer], b.layers[layer])
    np.testing.assert_array_equal(a.obs["novelty"], b.obs["novelty"])
    text = (folder / CARD).read_text(encoding="utf-8")
    assert text == card(again)
    for words in ("one section", "parts of the same sections", "m/z 100.0000", "values within", "Diagnosis"):
        assert words in text


@pytest.mark.parametrize(("whole", "said"), [(True, False), (False, True)])
def test_a_card_says_whether_skill_was_measured_on_another_section(whole, said):
    held_out = {"protocol": {"protocol": "leave_group_out", "whole_sections": whole}}
    model = SimpleNamespace(sections=dict.fromkeys("abc", 9), summary=held_out, recipe=Recipe())
    assert any("other parts of the same sections" in line for line in limits(model)) == said


def test_names_in_a_card_are_text():
    data = planted(n_side=10)
    for table in (data.genes, data.ions):
        table.obs["section"] = "a|b<script>\n# heading"
    text = card(fit_model(data, recipe()))
    assert "<script>" not in text
    assert "\n# heading" not in text


def test_spots_unlike_training_are_marked(evaluation):
    model = fit_model(DATA, recipe(), evaluation=evaluation)
    genes = DATA.genes.copy()
    values = genes.X.toarray()
    values[:60] = np.random.default_rng(0).permutation(values[:60].T).T[:, ::-1]
    genes.X = values
    predicted = model.predict(genes)
    assert predicted.obs["ood"].iloc[:60].mean() > 0.5
    assert predicted.obs["ood"].iloc[60:].mean() < 0.05
    assert any("unlike any in training" in note for note in prediction_notes(predicted.uns["provenance"]))


def test_cancel_while_intervals_are_made():
    seen = []

    def stop():
        seen.append(1)
        return len(seen) > 40

    with pytest.raises(Cancelled):
        fit_model(DATA, recipe(intervals={"make_intervals": "always"}), cancelled=stop)
