import json

import numpy as np
import pytest

from napari_st2msi.errors import DataProblem, RecipeProblem
from napari_st2msi.evaluation.evaluate import cross_validate
from napari_st2msi.evaluation.verdict import gain_over_position
from napari_st2msi.features.spatial import morans_i, neighbour_graph
from napari_st2msi.models.registry import BASELINES
from napari_st2msi.models.two_stage import TwoStage
from napari_st2msi.paired import PairedDataset
from napari_st2msi.progress import Cancelled, Progress
from napari_st2msi.recipe import Recipe
from planted import planted

DATA = planted(n_side=24)


@pytest.fixture(scope="module")
def found():
    return cross_validate(DATA)


def test_planted_signal_is_found_out_of_fold_and_noise_is_not(found):
    flat = found.flat()
    kind = DATA.ions.var.kind
    assert (flat.r2[kind == "linear"] > 0.7).all()
    assert (flat.presence_auc[kind == "presence"] > 0.8).all()
    assert (flat.r2[kind == "noise"].abs() < 0.02).all()
    assert set(flat.verdict[kind == "linear"]) == {"predicted from genes"}
    assert set(flat.verdict[kind == "noise"]) == {"noise: R² ≈ 0, no pattern"}
    assert set(flat.verdict[kind == "zero"]) == {"not learnable: never present"}
    assert set(flat.verdict[kind == "rare"]) == {"not learnable: present in 3 spots"}
    np.testing.assert_allclose(flat.r2_mean.dropna(), 0, atol=1e-6)


def test_flat_table_has_the_promised_columns(found):
    promised = (
        "mz name formula adduct label r2 pearson spearman rmse rmse_sd ssim residual_moran_i gain gain_lower "
        "gain_upper r2_mean r2_counts r2_coordinates r2_position skill_coordinates skill_position presence_auc "
        "presence_pr_auc presence_f1 presence_precision presence_recall presence_mcc presence_brier presence_ece "
        "presence_skill prevalence n_present mean_intensity moran_i learnable verdict interval_coverage"
    )
    assert set(found.flat().columns) == set(promised.split())
    assert set(found.table.columns.get_level_values(0)) == {"two_stage", *BASELINES, "ion"}


def test_gain_is_over_the_best_of_what_needs_no_genes(found):
    flat = found.flat()
    best = flat[["r2_mean", "r2_coordinates", "r2_position"]].max(axis=1)
    np.testing.assert_allclose(flat.gain.dropna(), (flat.r2 - best).dropna())
    np.testing.assert_allclose(gain_over_position(found.table, "mean")[:3], flat.r2_mean[:3] - best[:3])


def test_intervals_of_the_gain_leave_out_nothing_where_genes_say_something(found):
    flat = found.flat()
    kind = DATA.ions.var.kind
    assert ((flat.gain_lower <= flat.gain + 0.02) & (flat.gain <= flat.gain_upper + 0.02))[flat.learnable].all()
    assert (flat.gain_lower[kind == "linear"] > 0.5).all()
    assert (flat.gain_lower[kind == "noise"] < 0.02).all()
    assert flat.gain_lower[kind == "zero"].isna().all()


def test_the_image_and_what_is_left_of_it_are_judged(found):
    flat = found.flat()
    kind = DATA.ions.var.kind
    values, guess = np.log1p(found.prediction.layers["measured"]), np.log1p(found.prediction.X)
    left = morans_i(values - guess, neighbour_graph(DATA.xy, DATA.sections), DATA.sections)
    np.testing.assert_allclose(flat.residual_moran_i[:6], left[:6], atol=1e-4)
    assert (flat.ssim[kind == "linear"] > 0.6).all()
    assert (flat.ssim[kind == "noise"] < 0.2).all()
    np.testing.assert_allclose(flat.skill_position[:6], 1 - (1 - flat.r2[:6]) / (1 - flat.r2_position[:6]), rtol=1e-6)
    assert (flat.presence_skill[kind == "presence"] > 0.1).all()
    assert (flat.presence_mcc[kind == "presence"] > 0.3).all()


def test_errors_by_squares_give_the_same_r2(found):
    for name in ("two_stage", "coordinates"):
        np.testing.assert_allclose(found.errors.r2(name)[:9], found.table[name]["r2"][:9], atol=1e-9)


def test_what_genes_add_to_position_where_it_is_asked_for():
    asked = Recipe.model_validate(
        {"model": {"name": "coordinates"}, "evaluation": {"block_um": 400, "n_folds": 2, "genes_over_position": True}}
    )
    found = cross_validate(planted(n_side=14), asked)
    flat = found.flat()
    np.testing.assert_allclose(flat.genes_over_position, found.table["position_genes"]["r2"] - flat.r2_position)
    assert (flat.genes_over_position[:3] > 0.3).all()


def test_an_ion_that_is_the_same_in_a_fold_is_said_before_any_work():
    data = planted(n_side=12)
    data.ions.X[data.xy[:, 0] > 500, 0] = 0.0
    said = []
    recipe = Recipe.model_validate({"model": {"name": "mean"}, "evaluation": {"protocol": "tissue_halves"}})
    found = cross_validate(data, recipe, progress=Progress(lambda fraction, words: said.append((fraction, words))))
    # Without scores from any but one half, but with a word about it.
    assert said[0] == (0.0, "Ion linear0 is the same in all held-out spots of a fold, which does not count for "
                            "correlations.")  # fmt: skip
    assert said[0][1] in found.protocol["note"]
    assert "same in all" not in cross_validate(planted(n_side=12), recipe).protocol["note"]


def test_each_value_is_predicted_by_a_model_that_did_not_see_it(found):
    fold = found.folds[1]
    model = TwoStage().fit(DATA.select(fold.train), context=DATA.genes)
    alone = model.predict(DATA.genes[fold.test], context=DATA.genes)
    np.testing.assert_allclose(found.prediction.X[fold.test], alone.X, rtol=1e-5)
    assert set(found.prediction.obs["fold"].iloc[fold.test]) == {fold.name}
    assert found.prediction.uns["provenance"]["kind"] == "out_of_fold"
    np.testing.assert_allclose(found.prediction.layers["measured"], DATA.ions.X, rtol=1e-5)


def spoiled_outside(fold):
    """Return the data with other genes and ions in the spots that do not train, and those genes alone."""
    rng = np.random.default_rng(0)
    genes, ions = DATA.genes.copy(), DATA.ions.copy()
    outside = np.setdiff1d(np.arange(len(DATA)), fold.train)
    shuffled = rng.permutation(outside)
    ions.X[outside] = 10 * ions.X[shuffled]
    dense = genes.X.toarray()
    dense[outside] = 3 * dense[shuffled]
    genes.X = dense
    return genes, ions


@pytest.mark.parametrize("neighbourhood", ["rings", "none"])
def test_ions_of_held_out_spots_change_nothing(found, neighbourhood):
    recipe = Recipe.model_validate({"genes": {"neighbourhood": neighbourhood}})
    clean = cross_validate(DATA, recipe)
    fold = clean.folds[0]
    _, ions = spoiled_outside(fold)
    spoiled = cross_validate(PairedDataset(DATA.genes, ions), recipe)
    assert (spoiled.folds[0].train == fold.train).all()
    np.testing.assert_allclose(spoiled.prediction.X[fold.test], clean.prediction.X[fold.test], rtol=1e-4)


def test_genes_of_held_out_spots_change_nothing_in_what_is_fitted():
    recipe = Recipe.model_validate({"genes": {"neighbourhood": "none"}})
    fold = cross_validate(DATA, recipe).folds[0]
    genes, ions = spoiled_outside(fold)
    spoiled = cross_validate(PairedDataset(genes, ions), recipe)
    model = TwoStage(recipe).fit(DATA.select(fold.train))
    # The spoiled spots themselves are predicted from their spoiled genes, by that same model.
    np.testing.assert_allclose(spoiled.prediction.X[fold.test], model.predict(genes[fold.test]).X, rtol=1e-4)


def test_groups_and_tic():
    data = planted(n_side=10, sections=3)
    recipe = Recipe.model_validate(
        {"ions": {"normalisation": "tic"}, "evaluation": {"protocol": "leave_group_out", "group": "section"}}
    )
    found = cross_validate(data, recipe)
    assert [fold.name for fold in found.folds] == ["s0", "s1", "s2"]
    summary = found.summary()
    assert list(summary["sections"]) == ["s0", "s1", "s2"]
    medians = [each["median"] for each in summary["sections"].values()]
    assert summary["macro"]["median"] == pytest.approx(np.mean(medians))
    np.testing.assert_allclose(found.flat().r2_coordinates.dropna(), 0, atol=1e-6)
    totals = found.prediction.layers["measured"].sum(axis=1)
    np.testing.assert_allclose(totals / np.median(totals), 1, rtol=0.2)


def test_random_folds_flatter_what_knows_only_the_place_and_say_so():
    data = planted(n_side=16)
    x, y = data.xy.T / 100
    data.ions.X[:, 0] = 200 + 100 * np.sin(x / 2.5) * np.cos(y / 2.5)
    model = {"model": {"name": "coordinates"}}
    leaky = cross_validate(data, Recipe.model_validate({**model, "evaluation": {"protocol": "random"}}))
    honest = cross_validate(data, Recipe.model_validate({**model, "evaluation": {"block_um": 500}}))
    assert leaky.flat().r2.iloc[0] > honest.flat().r2.iloc[0] + 0.2
    assert "flatter" in leaky.protocol["note"]
    assert "flatter" not in honest.protocol["note"]


def test_spots_without_ions_are_left_out_and_said():
    data = planted(n_side=12)
    data.ions.X[:10] = np.nan
    found = cross_validate(data)
    assert found.prediction.n_obs == len(data) - 10
    assert "10 spots without measured ions" in found.protocol["note"]
    data.ions.X[:] = np.nan
    with pytest.raises(DataProblem, match="No spot has measured ions"):
        cross_validate(data)


def test_partly_missing_spots_are_refused():
    data = planted(n_side=8)
    data.ions.X[3, 1] = np.nan
    with pytest.raises(DataProblem, match="1 values of the ions are missing"):
        cross_validate(data)


def test_summary_is_plain_and_per_predictor(found):
    summary = json.loads(json.dumps(found.summary(), allow_nan=False))
    assert set(summary["predictors"]) == {"two_stage", *BASELINES}
    flat = found.flat()
    learnable = flat[flat.learnable]
    assert summary["predictors"]["two_stage"]["r2"]["median"] == pytest.approx(learnable.r2.median())
    assert summary["n_learnable"] == len(learnable)
    assert summary["share_gain"] == pytest.approx((learnable.gain > 0.02).mean())


def test_a_baseline_may_be_the_model():
    found = cross_validate(planted(n_side=10), Recipe.model_validate({"model": {"name": "position"}}))
    flat = found.flat()
    np.testing.assert_allclose(flat.r2, flat.r2_position)


def test_bad_choices_are_refused_before_any_work():
    seen = []
    for choices in ({"model": {"name": "magic"}}, {"evaluation": {"protocol": "leave_group_out", "group": "donor"}}):
        with pytest.raises(RecipeProblem):
            cross_validate(
                DATA, Recipe.model_validate(choices), progress=Progress(lambda fraction, words: seen.append(fraction))
            )
    assert not seen


def test_progress_live_score_and_cancel():
    data, fractions, scores = planted(n_side=10), [], []
    cross_validate(data, progress=Progress(lambda fraction, words: fractions.append(fraction)), scored=scores.append)
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1)
    assert len(scores) == 5
    with pytest.raises(Cancelled):
        cross_validate(data, cancelled=lambda: len(fractions) > 0)
