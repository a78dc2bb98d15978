import numpy as np
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix

from napari_st2msi.errors import DataProblem, ModelProblem
from napari_st2msi.features.genes import GeneFeatures
from napari_st2msi.recipe import Genes
from planted import planted


def table(counts, names=None):
    counts = np.asarray(counts, dtype=np.float32)
    result = AnnData(counts)
    result.var_names = names or [f"g{i}" for i in range(counts.shape[1])]
    return result


def test_library_size_log1p_and_standardisation_by_hand():
    counts = np.array([[1, 3, 0], [2, 6, 2], [4, 0, 4], [1, 1, 6]], dtype=float)
    totals = counts.sum(axis=1)
    logged = np.log1p(counts / totals[:, None] * np.median(totals))
    expected = (logged - logged.mean(axis=0)) / logged.std(axis=0)
    genes = table(counts)
    np.testing.assert_allclose(
        GeneFeatures(Genes(min_spots=1)).fit(genes).transform(genes), expected, rtol=1e-5, atol=1e-6
    )


def test_sparse_and_dense_give_the_same():
    sparse, dense = planted(), planted(sparse=False)
    a = GeneFeatures().fit(sparse.genes).transform(sparse.genes)
    b = GeneFeatures().fit(dense.genes).transform(dense.genes)
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_values_are_taken_as_they_are_without_log1p():
    counts = np.array([[0.5, 3.0], [1.5, 1.0], [2.5, 2.0]])
    features = GeneFeatures(Genes(log1p=False, standardise=False, min_spots=1)).fit(table(counts))
    np.testing.assert_allclose(features.transform(table(counts)), counts)


def test_variable_genes_are_kept_whatever_their_mean():
    rng = np.random.default_rng(0)
    mean = np.exp(rng.uniform(0, 5, 200))
    counts = rng.poisson(mean, size=(300, 200)).astype(float)
    moving = rng.choice(200, 20, replace=False)
    counts[:, moving] = rng.poisson(mean[moving] * rng.lognormal(0, 0.8, size=(300, 20)))
    names = GeneFeatures(Genes(n_top=20)).fit(table(counts)).names_
    assert len({f"g{i}" for i in moving} & set(names)) >= 18


def test_more_variable_genes_than_there_are_keeps_all():
    genes = planted(genes=12).genes
    assert len(GeneFeatures(Genes(n_top=5000)).fit(genes).names_) == 12


def test_rare_genes_are_left_out_and_none_left_is_an_error():
    counts = np.zeros((10, 3))
    counts[:, 0], counts[:2, 1] = 5, 5
    assert GeneFeatures(Genes(min_spots=3)).fit(table(counts)).names_ == ["g0"]
    with pytest.raises(ModelProblem, match="No gene is seen in at least 3 of the 10"):
        GeneFeatures(Genes(min_spots=3)).fit(table(counts[:, 1:]))


def test_constant_gene_becomes_zero():
    genes = planted().genes
    features = GeneFeatures(Genes(log1p=False)).fit(genes)
    assert np.abs(features.transform(genes)[:, features.names_.index("g0")]).max() == 0


def test_order_of_genes_does_not_matter():
    genes = planted().genes
    features = GeneFeatures().fit(genes)
    turned = genes[:, ::-1].copy()
    np.testing.assert_allclose(features.transform(turned), features.transform(genes), atol=1e-5)


def test_genes_beyond_the_training_panel_do_not_change_the_scale():
    genes = planted(sparse=False).genes
    features = GeneFeatures().fit(genes)
    larger = table(np.hstack([genes.X, np.full((genes.n_obs, 5), 1000.0)]), [*genes.var_names, *"vwxyz"])
    np.testing.assert_allclose(features.transform(larger), features.transform(genes), atol=1e-5)


def test_missing_genes_count_as_their_training_mean():
    genes = planted().genes
    features = GeneFeatures().fit(genes)
    fewer = genes[:, 10:].copy()
    assert features.share_matched(fewer) == pytest.approx(20 / 30)
    values = features.transform(fewer)
    assert (values[:, :10] == 0).all()
    whole = features.transform(genes)
    assert np.median([np.corrcoef(values[:, i], whole[:, i])[0, 1] for i in range(10, 30)]) > 0.9


def test_too_few_shared_genes_names_both_sides():
    genes = planted().genes
    features = GeneFeatures().fit(genes)
    other = genes.copy()
    other.var_names = [f"ENSG{i:05}" for i in range(other.n_vars)]
    with pytest.raises(ModelProblem, match=r"Only 0% of the 30 genes.*'g0'.*'ENSG00000'"):
        features.transform(other)


@pytest.mark.parametrize(("value", "words"), [(np.nan, "NaN"), (-1.0, "negative")])
def test_bad_values_are_refused(value, words):
    genes = planted(sparse=False).genes
    features = GeneFeatures().fit(genes)
    genes.X[3, 4] = value
    with pytest.raises(DataProblem, match=words):
        GeneFeatures().fit(genes)
    with pytest.raises(DataProblem, match=words):
        features.transform(genes)


def test_state_comes_back_the_same():
    genes = planted().genes
    features = GeneFeatures(Genes(n_top=10)).fit(genes)
    again = GeneFeatures().restore(*features.state())
    assert (again.transform(genes) == features.transform(genes)).all()


def test_spot_without_counts_is_finite():
    genes = planted(sparse=False).genes
    genes.X[0] = 0
    assert np.isfinite(GeneFeatures().fit(genes).transform(genes)).all()
    genes.X = csr_matrix(genes.X)
    assert np.isfinite(GeneFeatures().fit(genes).transform(genes)).all()
