import numpy as np
import pytest

from napari_st2msi.errors import DataProblem, RecipeProblem
from napari_st2msi.evaluation.block_errors import BlockErrors, interval
from napari_st2msi.evaluation.compare import ALL_IONS, compare
from napari_st2msi.evaluation.evaluate import cross_validate
from napari_st2msi.recipe import Recipe
from planted import planted

DATA = planted(n_side=16)


def scored(name, data=DATA, **evaluation):
    choices = {"n_folds": 3, **evaluation}
    return cross_validate(data, Recipe.model_validate({"model": {"name": name}, "evaluation": choices}))


@pytest.fixture(scope="module")
def both():
    return {"genes": scored("ridge"), "where": scored("position")}


def test_a_model_that_learns_is_better_for_the_ions_it_learns(both):
    table = compare(both, draws=300)
    assert set(table["model"]) == {"genes"}
    assert set(table["other"]) == {"where"}
    rows = table.set_index("ion")
    assert (rows.loc[["linear0", "linear1", "linear2"], "better"] == "genes").all()
    np.testing.assert_allclose(rows["difference"][1:], rows["r2"][1:] - rows["r2_other"][1:])
    inside = (rows["lower"] <= rows["difference"]) & (rows["difference"] <= rows["upper"])
    assert inside.mean() > 0.8
    assert "zero0" not in rows.index
    # The median of paired differences, and not the difference of medians.
    assert rows.loc[ALL_IONS, "difference"] == pytest.approx(rows["difference"][1:].median())


def test_the_same_model_differs_by_nothing(both):
    table = compare({"one": both["genes"], "two": both["genes"]}, draws=50)
    assert (table[["difference", "lower", "upper"]] == 0).all(axis=None)
    assert (table["better"] == "").all()


def test_every_pair_and_baselines(both):
    table = compare(both, baselines=["coordinates", "mean"], draws=20)
    pairs = list(dict.fromkeys(zip(table["model"], table["other"], strict=True)))
    assert len(pairs) == 6
    assert pairs[0] == ("genes", "where")
    assert ("coordinates", "mean") in pairs
    assert set(compare({"genes": both["genes"]}, baselines=["position"], draws=20)["other"]) == {"position"}


def test_intervals_hold_the_true_difference_as_often_as_they_say():
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(24), np.arange(24))
    xy = np.column_stack([x.ravel(), y.ravel()]) * 100.0
    one, n, n_ions = np.zeros(len(xy), dtype=int), len(xy), 300
    errors = BlockErrors.empty(xy, one, ["a", "b"], n_ions)
    truth = rng.normal(size=(n, n_ions))
    # Errors of a square have a sign in common, so that spots are not independent.
    shared = rng.normal(size=(errors.block.max() + 1, n_ions))[errors.block]
    errors.add(np.arange(n), truth, np.zeros(n_ions))
    for name in "ab":
        own = 0.4 * shared + 0.4 * rng.normal(size=(n, n_ions))
        errors.add(np.arange(n), truth, np.zeros(n_ions), truth + own, name)
    weight = errors.draws(400)
    low, high = interval(errors.r2("a", weight) - errors.r2("b", weight))
    assert 0.9 < ((low <= 0) & (high >= 0)).mean() <= 1
    assert (high - low < 0.25).all()


def test_squares_are_drawn_within_sections():
    data = planted(n_side=12, sections=2)
    errors = BlockErrors.empty(data.xy, data.sections, ["a"], 1)
    weight = errors.draws(50)
    for label in ("s0", "s1"):
        own = errors.section == label
        assert (weight[:, own].sum(axis=1) == own.sum()).all()
    assert len(np.unique(errors.block[data.sections == "s0"])) == 81  # the last spots lie on the edge of one more


def test_what_cannot_be_compared_is_said(both):
    with pytest.raises(RecipeProblem, match="'coordinates' is named twice"):
        compare({"coordinates": next(iter(both.values()))}, baselines=["coordinates"])
    with pytest.raises(RecipeProblem, match="two models at least"):
        compare({"genes": both["genes"]})
    with pytest.raises(RecipeProblem, match="two models at least"):
        compare({}, baselines=["mean", "position"])
    with pytest.raises(RecipeProblem, match=r"'magic' is no baseline.*coordinates"):
        compare(both, baselines=["magic"])
    with pytest.raises(DataProblem, match="held out other spots"):
        compare({"genes": both["genes"], "random": scored("mean", protocol="random")})
    with pytest.raises(DataProblem, match="measured on other spots"):
        compare({"genes": both["genes"], "others": scored("mean", planted(n_side=12))})


def test_models_that_trained_on_other_spots_or_other_scales_are_not_compared(both):
    with pytest.raises(DataProblem, match=r"'genes' and 'none' trained on other spots.*buffer"):
        compare({"genes": both["genes"], "none": scored("ridge", buffer_um=0)})
    for choices, words in (({"log1p": False}, "log1p"), ({"normalisation": "tic"}, "normalisation")):
        other = Recipe.model_validate({"model": {"name": "mean"}, "evaluation": {"n_folds": 3}, "ions": choices})
        with pytest.raises(DataProblem, match=rf"'other' was scored on another scale.*'genes'.*ions\.{words}"):
            compare({"genes": both["genes"], "other": cross_validate(DATA, other)})
