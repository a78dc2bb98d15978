"""What every model must do: learn, fall back, forget nothing, look at nothing it should not see."""

import numpy as np
import pytest

from napari_st2msi.errors import DataProblem, ModelProblem
from napari_st2msi.models.registry import model_class, model_names
from napari_st2msi.paired import PairedDataset
from napari_st2msi.progress import Cancelled, Progress
from napari_st2msi.recipe import Recipe
from planted import planted

ALL = tuple(model_names())
SMALL = planted(n_side=12)


def fitted(name, data=SMALL, **choices):
    # Networks need not be good here.
    return model_class(name)(Recipe.model_validate({"networks": {"epochs": 3}} | choices)).fit(data)


def r2(data, predicted, kind):
    ion = (data.ions.var.kind == kind).to_numpy()
    y, guess = np.log1p(data.ions.X[:, ion]), np.log1p(predicted.X[:, ion])
    return 1 - ((y - guess) ** 2).sum(axis=0) / ((y - y.mean(axis=0)) ** 2).sum(axis=0)


@pytest.mark.parametrize("name", ALL)
def test_state_comes_back_and_predicts_the_same(name):
    model = fitted(name)
    again = model_class(name)(model.recipe).restore(*model.state())
    a, b = model.predict(SMALL.genes), again.predict(SMALL.genes)
    assert (a.X == b.X).all()
    assert (a.layers["presence"] == b.layers["presence"]).all()
    assert a.X.dtype == np.float32
    assert a.uns["provenance"]["model"] == name


@pytest.mark.parametrize("name", ALL)
def test_values_and_probabilities_are_in_range(name):
    predicted = fitted(name).predict(SMALL.genes)
    assert np.isfinite(predicted.X).all()
    assert predicted.X.min() >= 0
    assert predicted.layers["presence"].min() >= 0
    assert predicted.layers["presence"].max() <= 1
    assert predicted.var_names.equals(SMALL.ions.var_names)


@pytest.mark.parametrize("name", ALL)
def test_one_spot_is_predicted_like_many(name):
    data = planted(n_side=12, sections=2)
    model = fitted(name, data)
    whole = model.predict(data.genes)
    alone = model.predict(data.genes[[7]].copy(), context=data.genes)
    np.testing.assert_allclose(alone.X[0], whole.X[7], rtol=1e-5, atol=1e-6)
    assert np.isfinite(model.predict(data.genes[[7]].copy()).X).all()


@pytest.mark.parametrize("name", ALL)
def test_order_of_spots_and_sections_does_not_matter(name):
    data = planted(n_side=9, sections=3)
    order = np.random.default_rng(2).permutation(len(data))
    a = fitted(name, data).predict(data.genes).X
    b = fitted(name, data.select(order)).predict(data.genes).X
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ALL)
def test_all_zero_ion_is_predicted_as_nothing(name):
    predicted = fitted(name).predict(SMALL.genes)
    zero = (SMALL.ions.var.kind == "zero").to_numpy()
    assert (predicted.X[:, zero] == 0).all()
    assert (predicted.layers["presence"][:, zero] == 0).all()


@pytest.mark.parametrize("name", ALL)
def test_one_ion_and_one_gene(name):
    data = PairedDataset(SMALL.genes[:, [1]].copy(), SMALL.ions[:, [0]].copy())
    assert fitted(name, data).predict(data.genes).shape == (len(data), 1)


@pytest.mark.parametrize("name", ALL)
def test_only_a_constant_gene(name):
    data = PairedDataset(SMALL.genes[:, [0]].copy(), SMALL.ions)
    assert np.isfinite(fitted(name, data, genes={"log1p": False}).predict(data.genes).X).all()


@pytest.mark.parametrize("name", ALL)
def test_missing_intensities_are_refused(name):
    data = planted(n_side=6)
    data.ions.X[3, 0] = np.nan
    with pytest.raises(DataProblem, match="NaN"):
        fitted(name, data)


@pytest.mark.parametrize("name", ALL)
def test_stops_when_asked(name):
    with pytest.raises(Cancelled):
        model_class(name)().fit(SMALL, cancelled=lambda: True)


def test_planted_signal_is_learned_and_noise_is_the_mean():
    data = planted(n_side=30)
    train, held = data.select(data.xy[:, 0] < 2000), data.select(data.xy[:, 0] >= 2000)
    predicted = fitted("two_stage", train).predict(held.genes)
    assert (r2(held, predicted, "linear") > 0.7).all()
    assert (r2(held, predicted, "presence") > 0.3).all()
    assert (np.abs(r2(held, predicted, "noise")) < 0.02).all()
    rare = (held.ions.var.kind == "rare").to_numpy()
    assert np.ptp(predicted.X[:, rare], axis=0).max() == 0


def test_mask_keeps_the_intensity_or_nothing():
    masked = fitted("two_stage", model={"combine": "mask", "threshold": 0.4}).predict(SMALL.genes)
    product = fitted("two_stage").predict(SMALL.genes)
    presence = (SMALL.ions.var.kind == "presence").to_numpy()
    p, values = masked.layers["presence"][:, presence], masked.X[:, presence]
    assert ((values == 0) == (p < 0.4)).all()
    np.testing.assert_allclose(np.log1p(product.X[:, presence])[p >= 0.4], (p * np.log1p(values))[p >= 0.4], rtol=1e-4)


def test_an_ion_missing_from_a_few_spots_counts_as_present():
    data = planted(n_side=12)
    data.ions.X[:4, 0] = 0
    predicted = fitted("two_stage", data).predict(data.genes)
    assert (predicted.layers["presence"][:, 0] == 1).all()


def test_two_stage_needs_enough_spots():
    with pytest.raises(ModelProblem, match="at least 10 spots with genes and ions, and here are 1"):
        fitted("two_stage", SMALL.select(np.array([0])))


def test_genes_missing_at_prediction():
    model = fitted("two_stage")
    fewer = SMALL.genes[:, ::-1][:, :20].copy()
    predicted = model.predict(fewer)
    assert predicted.uns["provenance"]["share_genes_matched"] == pytest.approx(20 / 30)
    with pytest.raises(ModelProblem, match="Only 17%"):
        model.predict(SMALL.genes[:, :5].copy())


def test_progress_rises_to_the_end():
    seen = []
    model_class("two_stage")().fit(SMALL, progress=Progress(lambda fraction, message: seen.append(fraction)))
    assert seen == sorted(seen)
    assert seen[0] >= 0
    assert seen[-1] <= 1


def test_mean_is_the_mean_of_log_intensities():
    predicted = fitted("mean").predict(SMALL.genes)
    np.testing.assert_allclose(np.log1p(predicted.X[0]), np.log1p(SMALL.ions.X).mean(axis=0), rtol=1e-5)


def test_counts_follow_the_library_size():
    data = planted(n_side=15, sparse=False)
    depth = np.random.default_rng(0).lognormal(0, 0.7, len(data))
    data.genes.X = np.floor(data.genes.X * depth[:, None])
    data.ions.X[:, 0] = np.expm1(2 + np.log(depth))
    data.ions.X = np.maximum(data.ions.X, 0)
    assert r2(data, fitted("counts", data).predict(data.genes), "linear")[0] > 0.5


def smooth(sections):
    """Return planted data whose first ion is a smooth field, the same in every section."""
    data = planted(n_side=16, sections=sections)
    unit = data.xy / 1500
    data.ions.X[:, 0] = np.expm1(3 + np.sin(3 * unit[:, 0]) + unit[:, 1] ** 2)
    return data


def test_position_carries_over_to_a_section_never_seen():
    data = smooth(4)
    train, held = data.select(data.sections != "s3"), data.select(data.sections == "s3")
    model = fitted("position", train)
    assert r2(held, model.predict(held.genes), "linear")[0] > 0.9
    noise = (held.ions.var.kind == "noise").to_numpy()
    assert np.abs(r2(held, model.predict(held.genes), "noise")).max() < 0.05
    assert noise.any()
    half = held.select(held.xy[:, 0] < 800)
    moved = half.genes.copy()
    moved.obs["section"] = "s1"
    np.testing.assert_allclose(model.predict(moved).X, model.predict(held.genes).X[held.xy[:, 0] < 800], rtol=1e-5)


def test_coordinates_look_at_neighbours_of_the_same_section_only():
    data = smooth(2)
    other = data.ions.X[:, 0] * np.where(data.sections == "s1", 20, 1)
    data.ions.X[:, 0] = other
    hole = np.abs(data.xy - 700).max(axis=1) < 250
    train, held = data.select(~hole), data.select(hole)
    model = fitted("coordinates", train)
    assert r2(held, model.predict(held.genes), "linear")[0] > 0.95
    stranger = held.genes.copy()
    stranger.obs["section"] = "never seen"
    np.testing.assert_allclose(model.predict(stranger).X, fitted("mean", train).predict(stranger).X, rtol=1e-5)


def test_coordinates_know_the_level_of_a_section():
    data = planted(n_side=12, sections=2)
    noise = np.flatnonzero(data.ions.var.kind == "noise")
    data.ions.X[data.sections == "s1"] *= 30
    model = fitted("coordinates", data)
    levels = np.log1p(model.predict(data.genes).X[:, noise])
    for label in ("s0", "s1"):
        own = data.sections == label
        expected = np.tile(np.log1p(data.ions.X[own][:, noise]).mean(axis=0), (own.sum(), 1))
        np.testing.assert_allclose(levels[own], expected, rtol=0.02)
