import numpy as np
from sklearn.cross_decomposition import PLSRegression

from napari_st2msi.features.pls import simpls


def problem(n=80, p=12, k=4):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, p)) @ rng.normal(size=(p, p))
    y = x @ rng.normal(size=(p, k)) + rng.normal(size=(n, k))
    return x - x.mean(axis=0), y - y.mean(axis=0)


def test_one_target_is_what_scikit_learn_finds():
    x, y = problem(k=1)
    for c in (1, 3, 7):
        weights, loadings = simpls(x, y, c)
        peer = PLSRegression(c, scale=False).fit(x, y[:, 0]).predict(x)
        np.testing.assert_allclose((x @ weights @ loadings.T)[:, 0], peer.ravel(), atol=1e-6)


def test_scores_are_orthonormal_and_the_first_goes_along_most():
    x, y = problem()
    weights, _ = simpls(x, y, 8)
    np.testing.assert_allclose((x @ weights).T @ (x @ weights), np.eye(8), atol=1e-8)
    leading = np.linalg.svd(x.T @ y)[0][:, 0]
    first = weights[:, 0] / np.linalg.norm(weights[:, 0])
    np.testing.assert_allclose(abs(first @ leading), 1, atol=1e-6)


def test_all_components_are_least_squares():
    x, y = problem()
    weights, loadings = simpls(x, y, 12)
    np.testing.assert_allclose(x @ weights @ loadings.T, x @ np.linalg.lstsq(x, y, rcond=None)[0], atol=1e-6)


def test_nothing_to_go_along_with():
    x, y = problem()
    assert simpls(x, np.zeros_like(y), 5)[0].shape == (12, 0)
    assert simpls(np.zeros_like(x), y, 5)[0].shape == (12, 0)
