"""Intervals hold as often as they say on spots that had no part in making them."""

import json

import numpy as np
import pytest

from napari_st2msi.errors import ModelProblem
from napari_st2msi.evaluation.conformal import (
    LEAST_SPOTS,
    Intervals,
    coverage_by,
    half_widths,
    intervals_from,
    nested_half_widths,
    quarters,
)
from napari_st2msi.evaluation.evaluate import cross_validate
from napari_st2msi.recipe import Ions, Recipe
from planted import planted

RIDGE = {"model": {"name": "ridge", "n_alphas": 6}}


def made(errors, fold, level=0.9, learnable=None, choices=None):
    """Return intervals of predictions that are 4 everywhere on the learning scale."""
    truth = np.expm1(4 + errors)
    predicted = np.full(errors.shape, np.expm1(4.0))
    learnable = np.ones(errors.shape[1], dtype=bool) if learnable is None else learnable
    parts = {"fold": fold}
    return truth, *intervals_from(
        truth, predicted, fold, learnable, choices or Ions(), level=level, held_out="blocks of tissue", parts=parts
    )


def test_the_rank_is_that_of_a_finite_sample():
    errors = np.random.default_rng(0).permutation(np.arange(1, 100))[:, None] * [1.0, -1.0]
    # ⌈100 · 0.9⌉ = 90th smallest of 99.
    np.testing.assert_array_equal(half_widths(errors, 0.9), [90, 90])
    assert np.isnan(half_widths(errors[: LEAST_SPOTS - 1], 0.9)).all()
    assert np.isnan(half_widths(errors, 0.995)).all()


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
def test_coverage_is_what_was_asked_for(level):
    rng = np.random.default_rng(1)
    errors = rng.standard_t(4, size=(4000, 3)) * [0.1, 0.3, 0.5]
    truth, intervals, lower, upper = made(errors, rng.integers(0, 5, 4000).astype(str), level)
    np.testing.assert_allclose(intervals.covered, level, atol=0.02)
    np.testing.assert_allclose(((truth >= lower) & (truth <= upper)).mean(axis=0), intervals.covered, atol=1e-3)
    assert (np.diff(intervals.half) > 0).all()


def test_the_interval_of_a_fold_comes_from_the_others():
    rng = np.random.default_rng(2)
    errors, fold = rng.normal(size=(600, 2)), np.repeat(["a", "b", "c"], 200)
    halves = nested_half_widths(errors, fold, 0.9)
    np.testing.assert_array_equal(halves["b"], half_widths(errors[fold != "b"], 0.9))
    wild = errors.copy()
    wild[fold == "b"] *= 100
    _, intervals, _, _ = made(0.01 * wild, fold)
    regions = intervals.regions.set_index("name")
    # Ten times worse than the others say: the fold's own errors must not widen its interval.
    assert regions.coverage["b"] < 0.1
    assert regions.coverage["a"] > 0.95
    assert "least in b" in intervals.in_words()


def test_never_below_zero_and_wider_where_there_is_more():
    errors = np.random.default_rng(3).normal(size=(200, 1))
    _, intervals, _, _ = made(errors, np.repeat(["a", "b"], 100))
    lower, upper = intervals.around(np.array([[0.0], [1.0], [1000.0]]), Ions())
    assert (lower >= 0).all()
    assert lower[0, 0] == 0
    assert (np.diff(upper - lower, axis=0) > 0).all()
    plain, _ = intervals.around(np.array([[0.5]]), Ions(log1p=False))
    assert plain[0, 0] == 0


def test_too_few_spots_and_ions_that_cannot_be_learned():
    errors = np.random.default_rng(4).normal(size=(60, 2))
    _, none, lower, _ = made(errors, np.repeat(["a", "b"], 30))
    assert none is None
    assert np.isnan(lower).all()
    errors = np.random.default_rng(4).normal(size=(200, 2))
    _, some, lower, upper = made(errors, np.repeat(["a", "b"], 100), learnable=np.array([True, False]))
    assert np.isfinite(lower[:, 0]).all()
    assert np.isnan(upper[:, 1]).all()
    assert np.isnan(some.half[1])
    _, nothing, _, _ = made(errors, np.repeat(["a", "b"], 100), learnable=np.zeros(2, dtype=bool))
    assert nothing is None


def test_an_ion_that_is_the_same_everywhere():
    _, intervals, lower, upper = made(np.zeros((200, 1)), np.repeat(["a", "b"], 100))
    assert intervals.covered[0] == 1
    np.testing.assert_allclose(lower, upper)
    assert intervals.rows()[0][-1] == "–"


def test_there_and_back():
    errors = np.random.default_rng(5).normal(size=(200, 3))
    _, intervals, _, _ = made(errors, np.repeat(["a", "b"], 100), learnable=np.array([True, False, True]))
    facts, arrays = intervals.state()
    assert not any(np.isnan(values).any() for values in arrays.values())
    again = Intervals.restore(json.loads(json.dumps(facts, allow_nan=False)), arrays, 3)
    np.testing.assert_array_equal(again.half, intervals.half)
    np.testing.assert_array_equal(again.covered, intervals.covered)
    assert again.in_words() == intervals.in_words()
    with pytest.raises(ModelProblem, match="do not fit its ions"):
        Intervals.restore(facts, arrays, 4)
    with pytest.raises(ModelProblem, match="do not fit its ions"):
        Intervals.restore({**facts, "level": 90}, arrays, 3)


def test_parts_of_a_section():
    xy = np.array([[0.0, 0], [10, 0], [0, 10], [10, 10], [500, 500], [510, 510]])
    section = np.array(["a"] * 4 + ["b"] * 2)
    assert list(quarters(xy, section)) == [
        "upper left", "upper right", "lower left", "lower right", "upper left", "lower right",
    ]  # fmt: skip
    inside = np.array([[True, False], [True, True]] * 2)
    table = coverage_by(inside, np.array([True, True]), np.ones((4, 2)), {"side": np.array(list("aabb"))})
    assert list(table.part) == ["all", "side", "side"]
    assert list(table.coverage) == [0.75, 0.75, 0.75]
    assert table.lowest[0] == pytest.approx(0.525)


def test_held_out_spots_get_intervals_in_measured_units():
    data = planted(n_side=20)
    found = cross_validate(data, Recipe.model_validate(RIDGE))
    flat, layers = found.flat(), found.prediction.layers
    learnable = flat.learnable.to_numpy()
    assert abs(flat.interval_coverage[learnable].mean() - 0.9) < 0.02
    assert flat.interval_coverage[~learnable].isna().all()
    assert (layers["lower"][:, learnable] <= found.prediction.X[:, learnable]).all()
    assert (layers["upper"][:, learnable] >= found.prediction.X[:, learnable]).all()
    assert np.isnan(layers["upper"][:, ~learnable]).all()
    within = (layers["measured"] >= layers["lower"]) & (layers["measured"] <= layers["upper"])
    np.testing.assert_allclose(within.mean(axis=0)[learnable], flat.interval_coverage[learnable], atol=0.005)
    assert set(found.intervals.regions.part) == {"all", "fold", "quarter"}
    assert found.summary()["intervals"]["regions"][0]["part"] == "all"


def test_sections_are_told_apart_and_none_is_none():
    data = planted(n_side=10, sections=3)
    choices = {**RIDGE, "evaluation": {"protocol": "leave_group_out"}}
    found = cross_validate(data, Recipe.model_validate(choices))
    regions = found.intervals.regions
    assert list(regions.name[regions.part == "fold"]) == ["s0", "s1", "s2"]
    assert set(regions.part) == {"all", "fold", "quarter"}
    blocks = cross_validate(data, Recipe.model_validate(RIDGE)).intervals.regions
    assert list(blocks.name[blocks.part == "section"]) == ["s0", "s1", "s2"]
    assert found.intervals.held_out == "each 'section'"
    none = cross_validate(data, Recipe.model_validate({**choices, "intervals": {"make_intervals": "never"}}))
    assert none.intervals is None
    assert "lower" not in none.prediction.layers
    assert none.flat().interval_coverage.isna().all()
    assert none.summary()["intervals"] is None
