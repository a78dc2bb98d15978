import json

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from napari_st2msi.errors import DataProblem
from napari_st2msi.features.ions import IonScale, frame_from_json, frame_to_json
from napari_st2msi.recipe import Ions
from planted import planted


@pytest.mark.parametrize("log1p", [True, False])
def test_there_and_back(log1p):
    ions = planted().ions
    scale = IonScale(Ions(log1p=log1p)).fit(ions)
    np.testing.assert_allclose(scale.inverse(scale.forward(ions)), ions.X, rtol=1e-5)


def test_tic_divides_by_total_and_refers_to_the_training_median():
    ions = planted().ions
    scale = IonScale(Ions(normalisation="tic", log1p=False)).fit(ions)
    values = scale.forward(ions)
    assert scale.reference_ == pytest.approx(np.median(ions.X.sum(axis=1)), rel=1e-5)
    np.testing.assert_allclose(values.sum(axis=1), scale.reference_, rtol=1e-5)


def test_tic_reference_comes_from_training_spots_alone():
    ions = planted().ions
    train, held = ions[:100].copy(), ions[100:].copy()
    scale = IonScale(Ions(normalisation="tic")).fit(train)
    brighter = held.copy()
    brighter.X = held.X * 100
    np.testing.assert_allclose(scale.forward(brighter), scale.forward(held), rtol=1e-5)


def test_spot_without_signal_stays_zero():
    ions = planted().ions
    ions.X[0] = 0
    assert (IonScale(Ions(normalisation="tic")).fit(ions).forward(ions)[0] == 0).all()


def test_rare_ions_are_not_learnable():
    ions = planted().ions
    scale = IonScale(Ions(min_spots=10)).fit(ions)
    assert set(ions.var.kind[~scale.learnable_]) == {"zero", "rare"}


def test_predictions_below_zero_become_zero():
    scale = IonScale().fit(planted().ions)
    assert (scale.inverse(np.full((2, 15), -3.0)) == 0).all()


@pytest.mark.parametrize(("value", "words"), [(np.nan, "NaN"), (np.inf, "infinite"), (-1.0, "negative")])
def test_bad_values_are_refused(value, words):
    ions = planted().ions
    ions.X[1, 2] = value
    with pytest.raises(DataProblem, match=words):
        IonScale().fit(ions)


def test_other_ions_are_refused():
    ions = planted().ions
    with pytest.raises(DataProblem, match="differ"):
        IonScale().fit(ions).forward(ions[:, ::-1].copy())


def test_table_survives_json():
    frame = pd.DataFrame(
        {"mz": [1.5, np.nan], "n": [1, 2], "good": [True, False], "name": ["a", ""]}, index=["i1", "i2"]
    )
    pd.testing.assert_frame_equal(frame_from_json(frame_to_json(frame)), frame, check_index_type=False)


def _two_groups(n: int = 600, share: float = 0.4) -> tuple[AnnData, np.ndarray]:
    """Return spots × ions with noise everywhere, and signal of another order in some spots of the first ion."""
    rng = np.random.default_rng(0)
    there = rng.random(n) < share
    noise = np.exp(rng.normal(0.5, 0.3, (n, 3)))
    noise[there, 0] = np.exp(rng.normal(3.5, 0.4, there.sum()))
    noise[:, 2] = np.where(rng.random(n) < 0.3, 0.0, np.exp(rng.normal(2.0, 0.5, n)))
    ions = AnnData(noise.astype(np.float32), var=pd.DataFrame({"mz": [1.0, 2.0, 3.0]}, index=["two", "one", "zeros"]))
    return ions, there


def test_mixture_finds_the_spots_with_signal_and_leaves_one_group_alone():
    ions, there = _two_groups()
    scale = IonScale(Ions(presence_rule="mixture")).fit(ions)
    present = scale.present(ions)
    assert (present[:, 0] == there).mean() > 0.98
    assert present[:, 1].all()
    np.testing.assert_array_equal(present[:, 2], ions.X[:, 2] > 0)


def test_noise_is_one_level_below_which_the_chosen_share_lies():
    ions, _ = _two_groups()
    scale = IonScale(Ions(presence_rule="noise", noise_quantile=0.2)).fit(ions)
    above = ions.X[ions.X > 0]
    assert len(np.unique(scale.floor_)) == 1
    assert (above <= scale.floor_[0]).mean() == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("rule", ["above_zero", "noise", "mixture"])
@pytest.mark.parametrize("normalisation", ["none", "tic"])
def test_every_rule_leads_back_to_measured_units(rule, normalisation):
    ions, _ = _two_groups()
    scale = IonScale(Ions(presence_rule=rule, normalisation=normalisation)).fit(ions)
    back = scale.inverse(scale.forward(ions))
    expected = ions.X
    if normalisation == "tic":
        totals = ions.X.sum(axis=1, keepdims=True)
        expected = ions.X * np.median(totals) / totals
    np.testing.assert_allclose(back, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scale.compress(back), scale.forward(ions), atol=1e-5)


def test_the_learning_scale_counts_from_spots_without_the_ion():
    ions, _ = _two_groups()
    scale = IonScale(Ions(presence_rule="mixture")).fit(ions)
    values, present = scale.forward(ions), scale.present(ions)
    assert values[~present[:, 0], 0].mean() == pytest.approx(0, abs=1e-6)
    assert (IonScale().fit(ions).background_ == 0).all()


def test_rules_are_learned_on_training_spots_and_kept():
    ions, there = _two_groups()
    scale = IonScale(Ions(presence_rule="mixture")).fit(ions[:400].copy())
    held = ions[400:].copy()
    facts, arrays = scale.state()
    again = IonScale().restore(json.loads(json.dumps(facts)), arrays)
    np.testing.assert_array_equal(again.present(held), scale.present(held))
    np.testing.assert_array_equal(again.inverse(again.forward(held)), scale.inverse(scale.forward(held)))
    brighter = held.copy()
    brighter.X = held.X * 100  # other spots do not move what was learned
    assert scale.present(brighter).all(axis=0)[0]
    assert (scale.present(held)[:, 0] == there[400:]).mean() > 0.97


@pytest.mark.parametrize("rule", ["noise", "mixture"])
def test_rules_bear_ions_that_say_nothing(rule):
    ions, _ = _two_groups()
    ions.X[:, 1], ions.X[:, 2] = 0.0, 7.0
    scale = IonScale(Ions(presence_rule=rule)).fit(ions)
    assert np.isfinite(scale.floor_).all()
    assert np.isfinite(scale.forward(ions)).all()
    assert not scale.present(ions)[:, 1].any()
    assert scale.present(ions)[:, 2].all()
    single = IonScale(Ions(presence_rule=rule)).fit(ions[:1].copy())
    assert np.isfinite(single.floor_).all()


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_impossible_shares_of_noise_are_refused(share):
    with pytest.raises(ValueError, match="noise_quantile"):
        Ions(noise_quantile=share)


def test_presence_of_other_ions_or_bad_values_is_refused():
    ions, _ = _two_groups()
    scale = IonScale().fit(ions)
    with pytest.raises(DataProblem, match="differ"):
        scale.present(ions[:, :2].copy())
    ions.X[0, 0] = np.nan
    with pytest.raises(DataProblem, match="NaN"):
        scale.present(ions)
