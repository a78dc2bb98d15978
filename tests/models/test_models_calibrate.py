import numpy as np
import pytest
from scipy.special import expit, logit

from napari_st2msi.models.calibrate import best_thresholds, calibrate
from napari_st2msi.models.chain import fit_chain
from napari_st2msi.models.inner import InnerFold
from napari_st2msi.models.linear_loss import SQUARED_HINGE, solve_linear
from napari_st2msi.models.presence import fit_presence
from napari_st2msi.progress import Cancelled

ALPHAS = np.geomspace(1, 1e5, 6)


def problem(n=600, r=8, k=4, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, r))
    odds = x @ rng.normal(size=(r, k)) + np.linspace(-1, 1, k)
    part = np.arange(n) % 4
    folds = [InnerFold(np.flatnonzero(part != f), np.flatnonzero(part == f)) for f in range(4)]
    return x, rng.random((n, k)) < expit(odds), folds


def test_overconfident_scores_become_probabilities():
    rng = np.random.default_rng(0)
    odds = rng.normal(size=(4000, 2)) * 1.5
    present = rng.random(odds.shape) < expit(odds)
    scale, shift = calibrate(5 * odds + 2, present)
    np.testing.assert_allclose(scale, 0.2, rtol=0.1)
    np.testing.assert_allclose(shift, -0.4, atol=0.1)
    reversed_, _ = calibrate(-odds, present)
    assert (reversed_ == 0).all()


def test_scores_that_are_missing_do_not_count():
    rng = np.random.default_rng(0)
    odds = rng.normal(size=(1000, 1))
    present = rng.random(odds.shape) < expit(odds)
    holes = odds.copy()
    holes[::2] = np.nan
    np.testing.assert_allclose(calibrate(holes, present), calibrate(odds[1::2], present[1::2]), rtol=1e-6)
    scale, shift = calibrate(np.full((5, 1), np.nan), np.ones((5, 1), bool))
    assert (scale[0], shift[0]) == (1, 0)


def test_thresholds_have_the_best_f1():
    rng = np.random.default_rng(0)
    probability = rng.uniform(size=(5000, 1)) ** 3
    present = rng.random(probability.shape) < probability
    (chosen,) = best_thresholds(logit(probability), present)
    assert 0.2 < chosen < 0.45

    def f1(threshold):
        called = probability >= threshold
        return 2 * (called & present).sum() / (called.sum() + present.sum())

    assert f1(chosen) >= max(f1(t) for t in (0.1, 0.2, 0.5, 0.6)) - 1e-9


@pytest.mark.parametrize("loss", ["logistic", "svm"])
def test_probabilities_mean_what_they_say(loss):
    x, present, folds = problem(n=2000)
    choice = {} if loss == "logistic" else {"loss": SQUARED_HINGE}
    found = fit_presence(x, present, ALPHAS, folds, **choice)
    for probability in (expit(found.odds(x)), expit(found.out_of_fold)):
        for low, high in ((0.1, 0.3), (0.4, 0.6), (0.7, 0.9)):
            called = (probability > low) & (probability < high)
            assert abs(present[called].mean() - probability[called].mean()) < 0.06


def test_squared_hinge_is_that_of_scikit_learn():
    from sklearn.svm import LinearSVC

    x, present, _ = problem(n=300)
    slope, intercept = solve_linear(x, present.astype(float), np.full(4, 20.0), loss=SQUARED_HINGE, tolerance=1e-8)
    for ion in range(4):
        # Ours halves the loss and the penalty: α = 1 / (2 C) · 2. A large scale leaves the intercept free.
        peer = LinearSVC(C=1 / 40, dual=False, tol=1e-10, max_iter=20000, intercept_scaling=1e3)
        peer.fit(x, present[:, ion])
        np.testing.assert_allclose(slope[:, ion], peer.coef_[0], atol=2e-3)
        np.testing.assert_allclose(intercept[ion], peer.intercept_[0], atol=5e-3)


def test_a_chain_adds_what_a_line_in_the_genes_cannot_say():
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(4000, 1)) * 2
    part = np.arange(4000) % 4
    folds = [InnerFold(np.flatnonzero(part != f), np.flatnonzero(part == f)) for f in range(4)]
    # The first turns on steeply along a gene; the second follows it, and not the gene any further.
    steep = expit(8 * hidden[:, 0])
    present = rng.random((4000, 2)) < np.column_stack([steep, 0.15 + 0.6 * steep])
    alone = fit_presence(hidden, present, ALPHAS, folds)
    chain, odds = fit_chain(alone, present, folds)
    assert chain.order.tolist() == [0, 1]
    assert chain.weight[1].any()
    assert not chain.weight[0].any()
    probability = expit(chain(hidden))[:, 1]
    assert (
        np.abs(probability - (0.15 + 0.6 * steep)).mean()
        < 0.8 * np.abs(expit(alone.odds(hidden))[:, 1] - (0.15 + 0.6 * steep)).mean()
    )
    losses = [(np.logaddexp(0, each) - present * each).sum(axis=0)[1] for each in (odds, alone.out_of_fold)]
    assert losses[0] < losses[1] - 10
    with pytest.raises(Cancelled):
        fit_chain(alone, present, folds, cancelled=lambda: True)


def test_a_chain_is_cut_where_it_does_not_help():
    x, present, folds = problem(n=800)
    alone = fit_presence(x, present, ALPHAS, folds)
    chain, odds = fit_chain(alone, present, folds)
    cut = ~chain.weight.any(axis=1)
    assert cut.any()
    np.testing.assert_array_equal(odds[:, cut], alone.out_of_fold[:, cut])
    np.testing.assert_array_equal(chain(x)[:, cut], alone.odds(x)[:, cut])


def test_ions_always_or_never_present_pass_through_a_chain():
    x, present, folds = problem()
    present[:, 0], present[:, 1] = True, False
    chain, _ = fit_chain(fit_presence(x, present, ALPHAS, folds), present, folds)
    probability = expit(chain(x))
    assert (probability[:, 0] == 1).all()
    assert (probability[:, 1] == 0).all()
