import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from napari_st2msi.models.inner import InnerFold
from napari_st2msi.models.linear_loss import solve_linear as solve_logistic
from napari_st2msi.models.presence import fit_presence
from napari_st2msi.progress import Cancelled

ALPHAS = np.geomspace(1, 1e7, 8)


def problem(n=300, r=12, k=5, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, r)) * np.linspace(4, 0.5, r)
    odds = x @ rng.normal(size=(r, k)) * 0.5 + np.linspace(-3, 1, k)
    y = rng.random((n, k)) < expit(odds)
    folds = [InnerFold(np.flatnonzero(np.arange(n) % 4 != f), np.flatnonzero(np.arange(n) % 4 == f)) for f in range(4)]
    return x, y, folds


@pytest.mark.parametrize("alpha", [0.5, 30.0, 1e4])
def test_same_weights_as_scikit_learn(alpha):
    x, y, _ = problem()
    x = x + 5  # not centred
    slope, intercept = solve_logistic(x, y.astype(float), np.full(5, alpha), tolerance=1e-8)
    for ion in range(5):
        peer = LogisticRegression(C=1 / alpha, tol=1e-10, max_iter=5000).fit(x, y[:, ion])
        np.testing.assert_allclose(slope[:, ion], peer.coef_[0], atol=2e-4)
        np.testing.assert_allclose(intercept[ion], peer.intercept_[0], atol=2e-3)


def test_correlated_features_are_solved_too():
    x, y, _ = problem()
    x = x @ np.random.default_rng(3).normal(size=(12, 12))
    slope, _ = solve_logistic(x, y.astype(float), np.full(5, 10.0), tolerance=1e-8)
    peer = LogisticRegression(C=0.1, tol=1e-10, max_iter=5000).fit(x, y[:, 2])
    np.testing.assert_allclose(slope[:, 2], peer.coef_[0], atol=1e-4)


def test_separable_presence_stays_finite():
    x, _, _ = problem()
    slope, intercept = solve_logistic(x, (x[:, :1] > 0).astype(float), np.array([1e-3]))
    assert np.isfinite(slope).all()
    assert np.isfinite(intercept).all()


def test_always_and_never_present_pass_through():
    x, y, folds = problem()
    y[:, 0], y[:, 1] = True, False
    probability = expit(fit_presence(x, y, ALPHAS, folds).odds(x))
    assert (probability[:, 0] == 1).all()
    assert (probability[:, 1] == 0).all()


def test_presence_that_genes_say_nothing_about_is_its_share():
    x, _, folds = problem()
    y = np.random.default_rng(5).random((300, 20)) < 0.3
    linear = fit_presence(x, y, ALPHAS, folds).odds
    assert np.isinf(linear.alpha).mean() > 0.7
    share = expit(linear(x)).mean(axis=0)
    np.testing.assert_allclose(share, y.mean(axis=0), atol=1e-3)


def test_planted_presence_is_found():
    x, y, folds = problem()
    probability = expit(fit_presence(x, y, ALPHAS, folds).odds(x))
    assert np.isfinite(fit_presence(x, y, ALPHAS, folds).odds.alpha).all()
    for ion in range(5):
        assert probability[y[:, ion], ion].mean() > probability[~y[:, ion], ion].mean() + 0.2


def test_ion_missing_from_some_folds():
    x, y, folds = problem()
    y[:, 0] = False
    y[folds[0][1][:12], 0] = True
    assert np.isfinite(fit_presence(x, y, ALPHAS, folds).odds(x)).all()


def test_stops_when_asked():
    x, y, folds = problem()
    with pytest.raises(Cancelled):
        fit_presence(x, y, ALPHAS, folds, cancelled=lambda: True)
