import numpy as np
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix
from scipy.stats import kstest

from napari_st2msi.errors import DataProblem
from napari_st2msi.evaluation.autocorrelation import autocorrelation, shuffles
from napari_st2msi.evaluation.discovery import q_values
from napari_st2msi.features.spatial import morans_i, neighbour_graph
from napari_st2msi.progress import Cancelled


def spots(n=180, ions=6, seed=0):
    rng = np.random.default_rng(seed)
    xy = rng.uniform(0, 1000, size=(n, 2))
    waves = np.sin(xy[:, :1] / 150 + np.arange(ions // 2)) + rng.normal(size=(n, ions // 2))
    return xy, np.column_stack([waves, rng.normal(size=(n, ions - ions // 2))])


def squidpy_table(xy, values, mode, **choices):
    squidpy = pytest.importorskip("squidpy")
    table = AnnData(values.astype(np.float64), obsm={"spatial": xy})
    squidpy.gr.spatial_neighbors(table, n_neighs=6, coord_type="generic")
    found = squidpy.gr.spatial_autocorr(table, mode=mode, copy=True, show_progress_bar=False, n_jobs=1, **choices)
    return found.loc[table.var_names]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("mode", "statistic", "ours"), [("moran", "I", "moran_i"), ("geary", "C", "geary_c")])
def test_statistic_variance_and_p_are_those_of_squidpy(mode, statistic, ours):
    xy, values = spots()
    peer = squidpy_table(xy, values, mode, two_tailed=True)
    table = autocorrelation(values, xy, alternative="either")
    np.testing.assert_allclose(table[ours], peer[statistic], atol=1e-6)
    np.testing.assert_allclose(table[f"{mode}_p"], peer["pval_norm"], atol=1e-6)
    np.testing.assert_allclose(table[f"{mode}_q"], peer["pval_norm_fdr_bh"], atol=1e-6)
    expected = -1 / (len(xy) - 1) if mode == "moran" else 1.0
    deviation = (table[ours] - expected) / table[f"{mode}_z"]
    np.testing.assert_allclose(deviation**2, peer["var_norm"], rtol=1e-6)
    # One-sided, squidpy's is the smaller side, ours the side of smooth images.
    one, both = autocorrelation(values, xy), squidpy_table(xy, values, mode)["pval_norm"].to_numpy()
    np.testing.assert_allclose(np.minimum(one[f"{mode}_p"], 1 - one[f"{mode}_p"]), both, atol=1e-6)
    assert (one[f"{mode}_p"][:3] < 1e-6).all()


def test_any_graph_may_be_given_and_moran_is_the_one_of_gene_selection():
    xy, values = spots()
    one = np.repeat("a", len(xy))
    graph = neighbour_graph(xy, one, 9)
    given = autocorrelation(values, xy, graph=graph)
    np.testing.assert_allclose(given["moran_i"], morans_i(values, graph, one), rtol=1e-12)
    np.testing.assert_array_equal(autocorrelation(values, xy, graph=csr_matrix(graph)), given)
    by_number = autocorrelation(values, xy, n_neighbours=9)
    np.testing.assert_array_equal(by_number, given)


def test_sections_of_noise_with_their_own_levels_give_uniform_p():
    rng = np.random.default_rng(1)
    xy = rng.uniform(0, 1000, size=(60, 2))
    sections = np.repeat(["a", "b", "c", "lone"], [30, 20, 9, 1])
    level = rng.normal(size=(4, 3000))[np.unique(sections, return_inverse=True)[1]]
    table = autocorrelation(rng.normal(size=(60, 3000)) + 20 * level, xy, sections)
    for name in ("moran", "geary"):
        # Of small samples the statistic itself is not quite normal; its mean and variance are exact.
        assert abs(table[f"{name}_z"].mean()) < 0.06
        assert abs(table[f"{name}_z"].std() - 1) < 0.04


def test_permutations_give_uniform_p_for_skewed_noise_and_small_p_for_smooth_images():
    rng = np.random.default_rng(2)
    xy = rng.uniform(0, 1000, size=(120, 2))
    sections = np.repeat(["a", "b"], 60)
    noise = rng.exponential(size=(120, 300)) ** 2 + 10 * (sections == "a")[:, None]
    table = autocorrelation(noise, xy, sections, n_permutations=199)
    for name in ("moran", "geary"):
        assert kstest(table[f"{name}_p_perm"], "uniform").pvalue > 0.01
    smooth = autocorrelation(np.sin(xy / 200), xy, sections, n_permutations=199, names=["x", "y"])
    assert (smooth[["moran_p_perm", "geary_p_perm"]] == 1 / 200).all(axis=None)
    assert smooth.index.tolist() == ["x", "y"]


def test_permutations_are_those_of_values_in_double_precision():
    xy, values = spots(60, 4)
    section = np.repeat(["a", "b"], 30)
    graph = neighbour_graph(xy, section)
    table = autocorrelation(values, xy, section, n_permutations=99, seed=5)
    reached = np.zeros(4)
    for to in shuffles(section, 99, np.random.default_rng(5)):
        reached += morans_i(values[to], graph, section) >= table["moran_i"].to_numpy()
    np.testing.assert_allclose(table["moran_p_perm"], (reached + 1) / 100)


def test_ties_count_as_reached():
    turn = np.linspace(0, 2 * np.pi, 100, endpoint=False)
    one_spot = (np.arange(100) == 3).astype(float)[:, None]
    ring = np.column_stack([np.cos(turn), np.sin(turn)])
    table = autocorrelation(one_spot, ring, n_neighbours=2, n_permutations=99)
    # Wherever on the ring the one spot lies, Moran's I is the same.
    assert table["moran_p_perm"].item() == 1.0


def test_constant_ions_and_lone_spots_have_none():
    xy, values = spots()
    values[:, 0] = 0.1
    table = autocorrelation(values, xy, n_permutations=9)
    assert table.iloc[0].isna().all()
    assert table.iloc[1:].notna().all(axis=None)
    # q counts the ions that have a p only.
    np.testing.assert_allclose(table["moran_q"][1:], q_values(table["moran_p"].to_numpy()[1:]))
    assert autocorrelation(values[:1], xy[:1], n_permutations=9).isna().all(axis=None)
    assert autocorrelation(values[:, :0], xy).empty


def test_bad_input_is_refused_in_words():
    xy, values = spots()
    with pytest.raises(DataProblem, match="do not fit together"):
        autocorrelation(values[:-1], xy)
    with pytest.raises(DataProblem, match="do not fit together"):
        autocorrelation(values[:, 0], xy)
    with pytest.raises(DataProblem, match="graph is of 3 spots"):
        autocorrelation(values, xy, graph=neighbour_graph(xy[:3], np.repeat("a", 3)))
    values[4, 1] = np.nan
    with pytest.raises(DataProblem, match=r"1 of the values are missing"):
        autocorrelation(values, xy)
    with pytest.raises(Cancelled):
        autocorrelation(spots()[1], xy, n_permutations=5, cancelled=lambda: True)


def test_q_values_leave_nan_alone_and_take_columns_apart():
    p = np.array([0.01, np.nan, 0.04, 0.5])
    np.testing.assert_allclose(q_values(p), [0.03, np.nan, 0.06, 0.5])
    np.testing.assert_allclose(q_values(np.column_stack([p, p[::-1]]))[:, 1], q_values(p)[::-1])
    assert np.isnan(q_values(np.array([np.nan]))).all()
