import numpy as np
import pytest
from scipy.stats import kstest

from napari_st2msi.errors import DataProblem
from napari_st2msi.evaluation.local_moran import QUADRANTS, local_moran
from napari_st2msi.features.spatial import morans_i, neighbour_graph
from napari_st2msi.progress import Cancelled


def spots(n=200):
    rng = np.random.default_rng(0)
    xy = rng.uniform(0, 1000, size=(n, 2))
    return xy, np.repeat(["a", "b"], n // 2), rng.normal(size=(n, 3)), rng


def test_local_values_are_the_parts_of_the_whole():
    xy, section, values, _ = spots()
    values[:, 0] += np.sin(xy[:, 0] / 200) * 3 + 40 * (section == "b")
    graph = neighbour_graph(xy, section)
    found = local_moran(values, xy, section)
    np.testing.assert_allclose(found.i.sum(axis=0) / graph.sum(), morans_i(values, graph, section), rtol=1e-10)
    by_hand = np.empty(len(xy))
    z = values[:, 0] - np.where(section == "a", values[section == "a", 0].mean(), values[section == "b", 0].mean())
    for spot in range(len(xy)):
        near = [o for o in np.argsort(np.linalg.norm(xy - xy[spot], axis=1)) if section[o] == section[spot]][1:7]
        by_hand[spot] = z[spot] * z[near].mean() / (z**2).mean()
    np.testing.assert_allclose(found.i[:, 0], by_hand)


def test_mean_and_variance_are_those_of_all_draws_of_others():
    from itertools import permutations

    rng = np.random.default_rng(1)
    xy, values = rng.uniform(size=(7, 2)), rng.exponential(size=(7, 1))
    found = local_moran(values, xy, n_neighbours=2)
    z = values[:, 0] - values.mean()
    for spot in range(7):
        others = np.delete(z, spot)
        drawn = np.array([z[spot] * (a + b) / 2 for a, b in permutations(others, 2)]) / (z**2).mean()
        assert found.z[spot, 0] == pytest.approx((found.i[spot, 0] - drawn.mean()) / drawn.std())


def test_p_is_uniform_for_noise_and_permutations_agree():
    xy, section, _, rng = spots()
    noise = rng.normal(size=(200, 40))
    found = local_moran(noise, xy, section)
    assert abs((found.p < 0.05).mean() - 0.05) < 0.01
    assert abs(found.z.std() - 1) < 0.03
    # Each spot and ion by itself; the spots of one ion share their neighbours, so one spot of many ions is tested.
    counted = local_moran(noise, xy, section, n_permutations=999)
    assert np.corrcoef(found.p.ravel(), counted.p.ravel())[0, 1] > 0.995
    assert kstest(counted.p[17], "uniform").pvalue > 0.01
    assert counted.p.min() >= 2 / 1000


def test_hot_spots_and_outliers_are_named():
    row, column = np.divmod(np.arange(400), 20)
    xy = np.column_stack([column, row]) * 100.0 + np.random.default_rng(0).normal(size=(400, 2))
    image = np.random.default_rng(1).normal(size=400)
    hot = (np.abs(row - 5) < 3) & (np.abs(column - 5) < 3)
    image[hot] += 8
    image[(row == 5) & (column == 5)] = -8
    found = local_moran(image[:, None], xy, n_neighbours=8)
    centre = 5 * 20 + 5
    assert QUADRANTS[found.quadrant[centre, 0]] == "low among high"
    assert found.z[centre, 0] < -4
    assert found.q[centre, 0] < 0.01
    inside = hot & (np.arange(400) != centre)
    assert (found.q[inside, 0] < 0.05).mean() > 0.8
    assert {QUADRANTS[q] for q in found.quadrant[inside, 0]} == {"high among high"}


def test_constant_ions_lone_spots_and_bad_input():
    xy, section, values, _ = spots()
    values[:, 1] = 0.1
    section = section.copy()
    section[0] = "lone"
    for permutations in (0, 9):
        found = local_moran(values, xy, section, n_permutations=permutations)
        for part in (found.i, found.z, found.p, found.q):
            assert np.isnan(part[:, 1]).all()
            assert np.isnan(part[0]).all()
            assert np.isfinite(part[1:, [0, 2]]).all()
    two = local_moran(values[:2], xy[:2], n_permutations=9)
    assert np.isnan(two.p).all()  # the only other spot is always the neighbour
    with pytest.raises(DataProblem, match="do not fit together"):
        local_moran(values, xy[1:])
    with pytest.raises(DataProblem, match=f"graph is of {len(xy) - 1:,} spots"):
        local_moran(values, xy, graph=neighbour_graph(xy[1:], np.zeros(len(xy) - 1)))
    with pytest.raises(Cancelled):
        local_moran(values, xy, n_permutations=9, cancelled=lambda: True)
