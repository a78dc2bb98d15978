import numpy as np
import pytest

from napari_st2msi.features.neighbours import ring_means, spreading, step_length


def hexagon(side=9, pitch=100.0):
    row, column = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    return np.column_stack([(column + 0.5 * (row % 2)).ravel(), row.ravel() * np.sqrt(3) / 2]) * pitch


def grid(side=9, pitch=50.0):
    return np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2) * pitch


def rings_of(xy, spot, k=6, section=None):
    section = np.zeros(len(xy), int) if section is None else section
    means = ring_means(xy, section, np.array([spot]), step_length(xy, section, k), 2)
    return [mean.toarray()[0] for mean in means]


@pytest.mark.parametrize(("xy", "k", "sizes"), [(hexagon(), 6, (6, 12)), (grid(), 4, (4, 16)), (grid(), 6, (8, 28))])
def test_rings_of_regular_tissue(xy, k, sizes):
    first, second = rings_of(xy, 40, k)
    assert ((first > 0).sum(), (second > 0).sum()) == sizes
    np.testing.assert_allclose([first.sum(), second.sum()], 1)
    assert first[40] == second[40] == 0
    assert not (first * second).any()


def test_rings_are_the_same_for_positions_read_from_pixels():
    xy = hexagon() + np.random.default_rng(0).uniform(-2, 2, size=(81, 2))
    assert ((rings_of(xy, 40)[0] > 0) == (rings_of(hexagon(), 40)[0] > 0)).all()


def test_rings_stay_within_a_section_and_may_be_empty():
    xy = np.vstack([hexagon(), hexagon() + 20, [[9000, 9000]]])
    section = np.repeat(["a", "b", "a"], [81, 81, 1])
    first = rings_of(xy, 40, section=section)[0]
    assert (np.flatnonzero(first) < 81).all()
    assert not rings_of(xy, 162, section=section)[0].any()


def test_cells_have_about_as_many_neighbours_as_asked():
    xy = np.random.default_rng(0).uniform(0, 500, size=(2000, 2))
    section = np.zeros(2000, int)
    (mean,) = ring_means(xy, section, np.arange(2000), step_length(xy, section, 10), 1)
    assert 10 <= np.median(np.diff(mean.indptr)) <= 14


def test_spreading_is_the_mean_over_the_spot_and_its_neighbours():
    spread = spreading(hexagon(), np.zeros(81, int), 115.0)
    np.testing.assert_allclose(spread.sum(axis=1), 1)
    row = spread.toarray()[40]
    np.testing.assert_allclose(row[row > 0], 1 / 7)
    assert row[40] > 0


def test_lone_spots_and_spots_on_one_place():
    one = np.zeros((1, 2))
    assert step_length(one, np.array(["a"]), 6) == 0
    assert ring_means(one, np.array(["a"]), np.array([0]), 0.0, 2)[1].nnz == 0
    same = np.zeros((4, 2))
    (mean,) = ring_means(same, np.repeat("a", 4), np.arange(4), step_length(same, np.repeat("a", 4), 6), 1)
    np.testing.assert_allclose(mean.toarray(), (1 - np.eye(4)) / 3)
