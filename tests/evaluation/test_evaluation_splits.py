import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.spatial.distance import cdist
from sklearn.dummy import DummyRegressor
from sklearn.model_selection import cross_val_score

from napari_st2msi.errors import DataProblem, RecipeProblem
from napari_st2msi.evaluation.splits import (
    DistanceMatched,
    LeaveGroupOut,
    RandomSpots,
    SpatialBlocks,
    TissueHalves,
    held_out_in,
    make_splits,
)
from napari_st2msi.evaluation.splits.matched import distances_to, held_out_distances
from napari_st2msi.evaluation.splits.sizes import features_reach, pixels_reach
from napari_st2msi.paired import PairedDataset
from napari_st2msi.recipe import Recipe
from planted import planted


def recipe(genes=None, **evaluation):
    return Recipe.model_validate({"evaluation": evaluation, "genes": genes or {}})


def folds_of(data, context=None, **evaluation):
    return make_splits(data, recipe(**evaluation), context=context).folds


def smooth(n_side=24, length=6.0, sections=1):
    """Spots on a 100 µm grid whose ions are waves of about this many pitches."""
    data = planted(n_side=n_side, sections=sections)
    x, y = data.xy.T / 100
    waves = [np.sin(x / length + k) + np.cos(y / length - k) for k in range(data.ions.n_vars)]
    data.ions.X[:] = np.exp(4 + np.column_stack(waves) / 2)
    return data


def with_pixels(data, per_side):
    """Let square pixels as wide as so many pitches be the source of ions: each spot has the one it lies in."""
    cell = np.floor(data.xy / 100 / per_side).astype(int)
    pixel = np.unique(cell, axis=0, return_inverse=True)[1].ravel()
    data.ions.obsm["weights"] = csr_matrix((np.ones(len(data)), (np.arange(len(data)), pixel)))
    return data, pixel


def test_blocks_hold_every_spot_out_once_and_keep_the_buffer():
    data = planted(n_side=20, sections=2)
    folds = folds_of(data, n_folds=4, block_um=400, buffer_um=250)
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


def test_blocks_by_the_variogram_are_as_wide_as_ions_resemble_themselves():
    data = smooth(n_side=40, length=1.5)
    found = make_splits(data, recipe(blocks_by="variogram", n_folds=4))
    reach = found.facts["range_um"]
    # Half a period of the waves is 4.7 pitches: there they resemble each other least.
    assert 300 < reach < 700
    assert found.facts["block_um"] == pytest.approx(max(reach, 3900 / 8))
    assert "resemble themselves over" in found.facts["note"]


def test_the_buffer_leaves_half_of_the_spots_and_says_so_where_ions_reach_farther():
    data = smooth(length=12.0)
    found = make_splits(data, recipe(blocks_by="variogram"))
    shares = [len(fold.train) / (len(data) - len(fold.test)) for fold in found.folds]
    assert min(shares) >= 0.5
    assert min(shares) < 0.7
    assert found.facts["buffer_um"] < found.facts["range_um"]
    assert found.facts["block_um"] == 2300 / 4
    assert "50% of the other spots train" in found.facts["note"]
    given = make_splits(data, recipe(blocks_by="variogram", block_um=300, buffer_um=120)).facts
    assert (given["block_um"], given["buffer_um"]) == (300, 120)
    near = make_splits(data, recipe()).facts
    assert "not independent" in near["note"]
    assert near["block_um"] == 2300 / 8


def test_noise_has_no_range_and_leaves_the_sizes_of_the_tissue():
    data = planted(n_side=24)
    data.ions.X[:] = np.random.default_rng(0).lognormal(size=data.ions.shape)
    found = make_splits(data, recipe(blocks_by="variogram")).facts
    assert "range_um" not in found
    assert (found["block_um"], found["buffer_um"]) == (2300 / 8, 150)
    assert "No ion has a range" in found["note"]


def test_features_and_pixels_reach_as_far_as_the_recipe_and_the_pairing_say():
    data, _ = with_pixels(planted(n_side=12), per_side=3)
    reach = [
        features_reach(recipe(genes=genes), data.xy, data.sections)
        for genes in (
            {"neighbourhood": "none"},
            {"neighbourhood": "rings", "n_rings": 3, "n_neighbours": 8},
            {"neighbourhood": "none", "histology": "texture", "histology_radius": 40},
        )
    ]
    assert reach[0] == 0
    assert 3 * 141 < reach[1] < 3 * 200
    assert reach[2] == 80
    assert pixels_reach(data) == pytest.approx(200 * 2**0.5)
    assert pixels_reach(planted(n_side=12)) == 0


@pytest.mark.parametrize("protocol", ["blocks", "random", "half", "tissue_halves", "knndm", "leave_group_out"])
def test_no_pixel_is_on_both_sides_whatever_the_protocol(protocol):
    data, pixel = with_pixels(planted(n_side=20), per_side=1.5)
    for table in (data.genes, data.ions):
        table.obs["side"] = np.where(data.xy[:, 0] > 900, "right", "left")
    found = make_splits(
        data, recipe(protocol=protocol, n_folds=2, buffer_um=0, block_um=400, distance_um=300, group="side")
    )
    for fold in found.folds:
        assert len(fold.train)
        assert not set(pixel[fold.train]) & set(pixel[fold.test])
    # No training spot is given up for less than that.
    fold = found.folds[0]
    lost = np.setdiff1d(np.setdiff1d(np.arange(len(data)), fold.test), fold.train)
    assert set(pixel[lost]) <= set(pixel[fold.test])
    assert ("share an MSI pixel" in found.facts["note"]) == (found.facts["n_sharing"] > 0)
    assert found.facts["n_sharing"] > 0


def test_pixels_that_all_spots_share_leave_nothing_to_train_on():
    data, _ = with_pixels(planted(n_side=8), per_side=20)
    with pytest.raises(RecipeProblem, match=r"share MSI pixels.*Hold out blocks"):
        make_splits(data, recipe(protocol="random"))


def test_pixels_of_sections_stay_apart_when_put_together():
    parts = [with_pixels(planted(n_side=6, seed=seed), per_side=2)[0] for seed in (0, 1)]
    for number, part in enumerate(parts):
        for table in (part.genes, part.ions):
            table.obs["section"] = f"t{number}"
    both = PairedDataset.concat(parts)
    assert both.pixel_weights.shape == (72, 18)
    assert both.sharing_pixels(np.array([0])).sum() == 4
    assert not both.sharing_pixels(np.array([0]))[36:].any()
    parts[1].ions.obsm.pop("weights")
    assert (np.diff(PairedDataset.concat(parts).pixel_weights.indptr) == 0).any()  # of one part nothing is known


def test_seed_decides():
    data = planted(n_side=20)
    first, same, other = (folds_of(data, seed=seed) for seed in (1, 1, 2))
    assert (first[0].test == same[0].test).all()
    assert not np.array_equal(first[0].test, other[0].test)


def test_groups_are_held_out_whole_and_named():
    data = planted(n_side=6, sections=3)
    folds = folds_of(data, protocol="leave_group_out")
    assert [fold.name for fold in folds] == ["s0", "s1", "s2"]
    assert set(data.sections[folds[1].test]) == {"s1"}
    assert set(data.sections[folds[1].train]) == {"s0", "s2"}


def in_regions(data):
    """Name the left and the right half of each section, and sections two by two."""
    for table in (data.genes, data.ions):
        table.obs["region"] = np.where(data.xy[:, 0] < 1000, "left", "right")
        table.obs["donor"] = np.where(data.sections < "s2", "d0", "d1")
    return data


def nearest(data, fold):
    """Return how near a training spot comes to a held-out one of its section; infinite if none is there."""
    from_to = (data.xy[fold.test], data.sections[fold.test], data.xy[fold.train], data.sections[fold.train])
    return distances_to(*from_to).min()


def test_groups_that_touch_in_a_section_get_the_buffer_of_blocks():
    data = in_regions(planted(n_side=20, sections=4))
    held = {"protocol": "leave_group_out", "group": "region"}
    found = make_splits(data, recipe(**held))
    assert found.facts["buffer_um"] == make_splits(data, recipe()).facts["buffer_um"] == 150
    assert [nearest(data, fold) for fold in found.folds] == [200, 200]
    assert [len(fold.train) for fold in found.folds] == [4 * 9 * 20] * 2  # of ten columns, the one beside is left out
    assert "; spots within 150 µm of a held-out spot did not train." in found.facts["note"]
    wide = make_splits(data, recipe(**held, buffer_um=420))
    assert nearest(data, wide.folds[0]) == 500
    with pytest.raises(RecipeProblem, match=r"buffer of 9,000 µm around each 'region' leaves no spot"):
        make_splits(data, recipe(**held, buffer_um=9000))
    assert not found.facts["whole_sections"]
    # Whole sections, and donors of several, touch no other.
    for group in ("section", "donor"):
        apart = make_splits(data, recipe(protocol="leave_group_out", group=group, buffer_um=9000))
        assert apart.facts["whole_sections"]
        assert "buffer_um" not in apart.facts
        assert all(len(fold.train) + len(fold.test) == len(data) for fold in apart.folds)


@pytest.mark.parametrize("held", [{"protocol": "leave_group_out", "group": "region"}, {"protocol": "tissue_halves"}])
def test_the_variogram_sets_the_buffer_of_whatever_is_cut_from_sections(held):
    data = in_regions(smooth(n_side=20, length=1.5, sections=2))
    facts = make_splits(data, recipe({"neighbourhood": "none"}, **held, blocks_by="variogram")).facts
    assert facts["buffer_um"] == pytest.approx(facts["range_um"])
    far = in_regions(smooth(n_side=20, length=12.0, sections=2))
    found = make_splits(far, recipe(**held, blocks_by="variogram"))
    assert 0.5 <= min(len(fold.train) / (len(far) - len(fold.test)) for fold in found.folds) < 0.7
    assert "50% of the other spots train" in found.facts["note"]
    assert "blocks" not in found.facts["note"]


def test_scikit_learn_accepts_them():
    data = planted(n_side=12, sections=2)
    x, y = data.xy, np.arange(len(data))
    splitters = {
        SpatialBlocks(3): 3, LeaveGroupOut(): 2, RandomSpots(3): 3, TissueHalves(): 2, DistanceMatched(4, 200.0): 4,
    }  # fmt: skip
    for splitter, n in splitters.items():
        assert len(cross_val_score(DummyRegressor(), x, y, groups=data.sections, cv=splitter)) == n
        assert splitter.get_n_splits(x, y, data.sections) == n


def test_halves_are_cut_across_the_longer_side_of_each_section():
    data = planted(n_side=10, sections=2)
    wide = data.sections == "s0"
    data.genes.obsm["spatial"][:] = data.genes.obsm["spatial"] * np.where(wide[:, None], [2, 1], [1, 2])
    found = make_splits(data, recipe(protocol="tissue_halves", buffer_um=250))
    held = held_out_in(found.folds)
    for own, axis in ((wide, 0), (~wide, 1)):
        along = data.xy[own, axis]
        assert along[held[own] == 0].max() < along[held[own] == 1].min()
        assert (held[own] == 0).sum() == 50
    for fold in found.folds:
        for own in (wide, ~wide):
            here = [spots[own[spots]] for spots in (fold.train, fold.test)]
            assert cdist(data.xy[here[0]], data.xy[here[1]]).min() > 250


@pytest.mark.parametrize("distance", [100.0, 250.0, 500.0])
def test_distances_are_matched(distance):
    data = planted(n_side=24)
    found = make_splits(data, recipe(protocol="knndm", distance_um=distance))
    fold = held_out_in(found.folds)
    reached = held_out_distances(data.xy, data.sections, fold)
    assert np.bincount(fold).max() <= len(data) / 2
    assert np.mean(np.abs(reached - distance)) < 0.5 * distance
    assert abs(np.median(reached) - distance) <= 0.4 * distance
    assert f"{distance:,.0f} µm (median)" in found.facts["note"]


def test_distances_are_those_of_spots_without_ions():
    whole = planted(n_side=20)
    right = whole.xy[:, 0] > 1200
    found = make_splits(whole.select(~right), recipe(protocol="knndm"), context=whole.genes)
    assert found.facts["distance_um"] == 400
    assert found.facts["reached_um"] >= 200
    with pytest.raises(RecipeProblem, match="Give the distance to predict at"):
        make_splits(whole, recipe(protocol="knndm"), context=whole.genes)


def test_spots_alone_in_their_section_are_in_a_fold_and_match_no_distance():
    data = planted(n_side=20, sections=2)
    data = data.select(np.arange(401))  # of the second section a single spot
    whole = make_splits(data.select(np.arange(400)), recipe(protocol="knndm", distance_um=250))
    found = make_splits(data, recipe(protocol="knndm", distance_um=250))
    assert len(held_out_in(found.folds)) == 401
    assert abs(found.facts["reached_um"] - whole.facts["reached_um"]) <= 100
    lonely = planted(n_side=1, sections=12)
    with pytest.raises(RecipeProblem, match="Every spot is alone in its section"):
        make_splits(lonely, recipe(protocol="knndm", distance_um=250))


def test_the_distance_reached_is_that_of_the_spots_that_train():
    data = planted(n_side=20)
    choices = recipe(protocol="knndm", distance_um=100)
    assert make_splits(data, choices).facts["reached_um"] == 100
    found = make_splits(with_pixels(data, per_side=3)[0], choices)
    near = np.concatenate([cdist(data.xy[each.test], data.xy[each.train]).min(axis=1) for each in found.folds])
    assert found.facts["reached_um"] == np.median(near) > 100
    assert f"They lie {np.median(near):,.0f} µm" in found.facts["note"]


def test_a_random_half_is_held_out_and_then_the_other():
    data = planted(n_side=13)
    folds = folds_of(data, protocol="half", n_folds=7)
    assert [len(fold.test) for fold in folds] == [85, 84]
    assert (np.sort(folds[0].test) == np.sort(folds[1].train)).all()


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"n_folds": 40}, "36 spots cannot go into 40 folds"),
        ({"n_folds": 20, "protocol": "random"}, "36 spots cannot go into 20 folds"),
        ({"n_folds": 20, "protocol": "knndm", "distance_um": 100}, "36 spots cannot go into 20 folds"),
        ({"protocol": "knndm"}, "none is to be predicted"),
        ({"block_um": 5000}, "into 1 only"),
        ({"buffer_um": 1e5}, "leaves no spot to train on"),
        ({"buffer_um": 1e5, "protocol": "tissue_halves"}, "leaves no spot to train on"),
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
        folds_of(data, **choices)


def test_random_spots_are_each_held_out_once_and_lie_beside_spots_that_train():
    data = planted(n_side=12)
    folds = folds_of(data, protocol="random", n_folds=4)
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(len(data)))
    assert {len(fold.test) for fold in folds} == {36}
    for fold in folds:
        assert len(fold.train) == len(data) - len(fold.test)
        assert np.median(cdist(data.xy[fold.test], data.xy[fold.train]).min(axis=1)) == 100
    again, other = (folds_of(data, protocol="random", n_folds=4, seed=seed) for seed in (0, 1))
    assert (again[0].test == folds[0].test).all()
    assert not np.array_equal(other[0].test, folds[0].test)


@pytest.mark.parametrize(("protocol", "words"), [("blocks", "into 1 only"), ("tissue_halves", "lie in one place")])
def test_all_spots_on_one_place(protocol, words):
    data = planted(n_side=6)
    data.genes.obsm["spatial"][:] = 3.0
    with pytest.raises(RecipeProblem, match=words):
        folds_of(data, protocol=protocol)


def test_missing_positions_or_groups():
    data = planted(n_side=6)
    data.genes.obs["donor"] = [None] * 3 + ["x"] * 33
    with pytest.raises(DataProblem, match="3 spots have no 'donor'"):
        folds_of(data, protocol="leave_group_out", group="donor")
    data.genes.obsm["spatial"][0] = np.nan
    with pytest.raises(DataProblem, match="position"):
        folds_of(data)
