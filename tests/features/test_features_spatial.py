import numpy as np
import pytest
from anndata import AnnData

from napari_st2msi.features.spatial import morans_i, neighbour_graph


def sections(n=150):
    rng = np.random.default_rng(0)
    xy = rng.uniform(0, 1000, size=(n, 2))
    section = np.repeat(["a", "b", "c"], n // 3)
    values = np.column_stack([np.sin(xy[:, 0] / 150), rng.normal(size=n), xy[:, 1] > 500]).astype(float)
    return xy, section, values


def peer(xy, section, values):
    squidpy = pytest.importorskip("squidpy")
    table = AnnData(values.astype(np.float64), obsm={"spatial": xy})
    table.obs["section"] = np.asarray(section)
    table.obs["section"] = table.obs["section"].astype("category")
    squidpy.gr.spatial_neighbors(table, n_neighs=6, coord_type="generic", library_key="section")
    scores = squidpy.gr.spatial_autocorr(table, mode="moran", copy=True, show_progress_bar=False, n_jobs=1)
    return scores.loc[table.var_names, "I"].to_numpy()


@pytest.mark.filterwarnings("ignore")
def test_same_as_squidpy_in_one_section():
    xy, _, values = sections()
    one = np.repeat("a", len(xy))
    np.testing.assert_allclose(morans_i(values, neighbour_graph(xy, one), one), peer(xy, one, values), atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_several_sections_are_each_taken_around_their_own_mean():
    xy, section, values = sections()
    batch = values + np.array([0, 50, -80])[np.unique(section, return_inverse=True)[1]][:, None]
    ours = morans_i(batch, neighbour_graph(xy, section), section)
    centred = values.copy()
    for label in "abc":
        centred[section == label] -= centred[section == label].mean(axis=0)
    np.testing.assert_allclose(ours, peer(xy, section, centred), atol=1e-6)


def test_constant_ions_and_lone_spots_are_undefined():
    xy, section, values = sections()
    values[:, 0] = 0.1
    result = morans_i(values, neighbour_graph(xy, section), section)
    assert np.isnan(result[0])
    assert np.isfinite(result[1:]).all()
    one = np.array(["a"])
    assert np.isnan(morans_i(values[:1], neighbour_graph(xy[:1], one), one)).all()


def test_spots_on_the_same_place_are_each_others_neighbours():
    xy = np.zeros((9, 2))
    graph = neighbour_graph(xy, np.repeat("a", 9))
    assert (graph.diagonal() == 0).all()
    np.testing.assert_allclose(graph.sum(axis=1), 1)
