import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.dummy import DummyRegressor
from sklearn.model_selection import cross_val_score

from napari_st2msi.errors import DataProblem, RecipeProblem
from napari_st2msi.evaluation.splits import LeaveGroupOut, RandomSpots, SpatialBlocks, make_folds
from napari_st2msi.recipe import Evaluation
from planted import planted


def test_blocks_hold_every_spot_out_once_and_keep_the_buffer():
    data = planted(n_side=20, sections=2)
    folds = make_folds(data, Evaluation(n_folds=4, block_um=400, buffer_um=250))
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(len(data)))
    for fold in folds:
        assert len(fold.test) > 0.1 * len(data)
        assert not set(fold.train) & set(fold.test)
        for label in np.unique(data.sections):
            here = [spots[data.sections[spots] == label] for spots in (fold.train, fold.test)]
            assert cdist(data.xy[here[0]], data.xy[here[1]]).min() > 250
        # Sections lie over each other here: distance must not count from one to another.
        assert len(fold.train) > 0.2 * len(data)


def test_defaults_are_an_eighth_of_the_side_and_one_and_a_half_pitches():
    data = planted(n_side=17)
    assert SpatialBlocks().sizes(data.xy, data.sections) == (200.0, 150.0)


def test_seed_decides():
    data = planted(n_side=20)
    first, same, other = (make_folds(data, Evaluation(seed=seed)) for seed in (1, 1, 2))
    assert (first[0].test == same[0].test).all()
    assert not np.array_equal(first[0].test, other[0].test)


def test_groups_are_held_out_whole_and_named():
    data = planted(n_side=6, sections=3)
    folds = make_folds(data, Evaluation(protocol="leave_group_out"))
    assert [fold.name for fold in folds] == ["s0", "s1", "s2"]
    assert set(data.sections[folds[1].test]) == {"s1"}
    assert set(data.sections[folds[1].train]) == {"s0", "s2"}


def test_scikit_learn_accepts_them():
    data = planted(n_side=12, sections=2)
    x, y = data.xy, np.arange(len(data))
    blocks = cross_val_score(DummyRegressor(), x, y, groups=data.sections, cv=SpatialBlocks(3))
    groups = cross_val_score(DummyRegressor(), x, y, groups=data.sections, cv=LeaveGroupOut())
    assert len(blocks) == 3
    assert len(groups) == 2


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"n_folds": 40}, "36 spots cannot go into 40 folds"),
        ({"n_folds": 20, "protocol": "random"}, "36 spots cannot go into 20 folds"),
        ({"block_um": 5000}, "into 1 only"),
        ({"buffer_um": 1e5}, "leaves no spot to train on"),
        ({"protocol": "leave_group_out"}, "All spots have the same 'section'"),
        ({"protocol": "leave_group_out", "group": "donor"}, "no column 'donor'.*section, coverage, n_pixels"),
        ({"protocol": "leave_group_out", "group": "lonely"}, "single spot"),
    ],
)
def test_choices_that_do_not_fit(choices, words):
    data = planted(n_side=6)
    for table in (data.genes, data.ions):
        table.obs["lonely"] = ["a"] + ["b"] * 35
    data.genes.obs = data.genes.obs[["section", "coverage", "n_pixels", "lonely"]]
    with pytest.raises(RecipeProblem, match=words):
        make_folds(data, Evaluation(**choices))


def test_random_spots_are_each_held_out_once_and_lie_beside_spots_that_train():
    data = planted(n_side=12)
    folds = make_folds(data, Evaluation(protocol="random", n_folds=4))
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(len(data)))
    assert {len(fold.test) for fold in folds} == {36}
    for fold in folds:
        assert len(fold.train) == len(data) - len(fold.test)
        assert np.median(cdist(data.xy[fold.test], data.xy[fold.train]).min(axis=1)) == 100
    again, other = (make_folds(data, Evaluation(protocol="random", n_folds=4, seed=seed)) for seed in (0, 1))
    assert (again[0].test == folds[0].test).all()
    assert not np.array_equal(other[0].test, folds[0].test)
    assert len(cross_val_score(DummyRegressor(), data.xy, np.arange(len(data)), cv=RandomSpots(3))) == 3


def test_all_spots_on_one_place():
    data = planted(n_side=6)
    data.genes.obsm["spatial"][:] = 3.0
    with pytest.raises(RecipeProblem, match="into 1 only"):
        make_folds(data, Evaluation())


def test_missing_positions_or_groups():
    data = planted(n_side=6)
    data.genes.obs["donor"] = [None] * 3 + ["x"] * 33
    with pytest.raises(DataProblem, match="3 spots have no 'donor'"):
        make_folds(data, Evaluation(protocol="leave_group_out", group="donor"))
    data.genes.obsm["spatial"][0] = np.nan
    with pytest.raises(DataProblem, match="position"):
        make_folds(data, Evaluation())
