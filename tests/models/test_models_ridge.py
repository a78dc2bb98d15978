import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeCV

from napari_st2msi.models import ridge_partial
from napari_st2msi.models.choose import least_flexible
from napari_st2msi.models.inner import InnerFold
from napari_st2msi.models.ridge import Solver, choose_alpha, fit_ridge, left_out_errors, solve

ALPHAS = np.geomspace(1, 1e7, 20)


def problem(n=120, r=15, k=6, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, r)) + 3
    y = x @ rng.normal(size=(r, k)) + rng.normal(size=(n, k)) + 10
    folds = [InnerFold(np.flatnonzero(np.arange(n) % 4 != f), np.flatnonzero(np.arange(n) % 4 == f)) for f in range(4)]
    return x, y, folds


@pytest.mark.parametrize("shape", [(120, 15), (15, 40)])
def test_same_weights_as_scikit_learn(shape):
    x, y, _ = problem(*shape)
    alpha = np.geomspace(0.1, 1e3, y.shape[1])
    slope, intercept = solve(x, y, alpha)
    for ion in range(y.shape[1]):
        peer = Ridge(alpha[ion]).fit(x, y[:, ion])
        np.testing.assert_allclose(slope[:, ion], peer.coef_, atol=1e-8)
        np.testing.assert_allclose(intercept[ion], peer.intercept_, atol=1e-8)


def test_errors_along_the_path_are_those_of_scikit_learn(monkeypatch):
    x, y, folds = problem()
    seen = []
    monkeypatch.setattr("napari_st2msi.models.ridge.least_flexible", lambda errors: seen.append(errors) or 0)
    choose_alpha(x, y, ALPHAS, folds)
    for fold, (fit, held, *_) in enumerate(folds):
        for number in (0, 7, 19):
            guess = Ridge(ALPHAS[number]).fit(x[fit], y[fit]).predict(x[held])
            np.testing.assert_allclose(seen[0][fold, number], ((y[held] - guess) ** 2).sum(axis=0), rtol=1e-8)
        np.testing.assert_allclose(seen[0][fold, -1], ((y[held] - y[fit].mean(axis=0)) ** 2).sum(axis=0), rtol=1e-8)


def test_each_ion_gets_its_own_penalty_and_noise_the_mean():
    rng = np.random.default_rng(1)
    x, y, folds = problem(n=400)
    y[:, 1] += 40 * rng.normal(size=400)
    y = np.hstack([y, rng.normal(size=(400, 60))])
    linear = fit_ridge(x, y, ALPHAS, folds)
    assert linear.alpha[0] < linear.alpha[1]
    mean = np.isinf(linear.alpha)
    assert mean[6:].mean() > 0.5
    np.testing.assert_allclose(linear(x)[:, mean], np.tile(y[:, mean].mean(axis=0), (400, 1)))
    assert linear(x)[:, 6:].std(axis=0).max() < 0.3


def test_only_spots_where_an_ion_is_present_count():
    x, y, folds = problem()
    present = np.ones(y.shape, dtype=bool)
    present[::3, 2] = False
    spoiled = np.where(present, y, 1e6)
    linear = fit_ridge(x, spoiled, ALPHAS, folds, present=present)
    rows = present[:, 2]
    peer = Ridge(linear.alpha[2]).fit(x[rows], y[rows, 2])
    np.testing.assert_allclose(linear.slope[:, 2], peer.coef_, atol=1e-8)
    np.testing.assert_allclose(linear.slope[:, 0], fit_ridge(x, y, ALPHAS, folds).slope[:, 0])


def test_what_is_not_learned_is_the_mean_of_the_present_spots():
    x, y, folds = problem()
    present = np.ones(y.shape, dtype=bool)
    present[5:, 0], present[:, 1] = False, False
    learned = np.array([False, False, True, True, True, True])
    linear = fit_ridge(x, y, ALPHAS, folds, present=present, learned=learned)
    np.testing.assert_allclose(linear(x)[:, 0], y[:5, 0].mean())
    assert (linear(x)[:, 1] == 0).all()


def test_without_folds_everything_is_the_mean():
    x, y, _ = problem()
    np.testing.assert_allclose(fit_ridge(x, y, ALPHAS, [])(x), np.tile(y.mean(axis=0), (len(x), 1)))


def test_choice_prefers_the_least_flexible_of_equals():
    errors = np.array([[[1.0], [1.0], [1.01], [2.0]], [[1.0], [1.02], [1.0], [2.0]], [[1.0], [0.99], [1.01], [2.0]]])
    assert least_flexible(errors)[0] in (1, 2)
    clear = np.array([[[1.0], [2.0], [2.1]]] * 3) + np.array([0.0, 0.01, 0.02])[:, None, None]
    assert least_flexible(clear)[0] == 0


def test_no_features_at_all():
    _, y, folds = problem()
    np.testing.assert_allclose(fit_ridge(np.empty((120, 0)), y, ALPHAS, folds)(np.empty((2, 0))), [y.mean(axis=0)] * 2)


@pytest.mark.parametrize("shape", [(60, 15), (30, 50)])
def test_errors_of_spots_left_out_are_those_of_fits_without_them(shape):
    x, y, _ = problem(*shape)
    errors = left_out_errors(Solver(x, y), x, y, ALPHAS)
    for number in (0, 9, 19):
        missed = np.zeros(y.shape[1])
        for spot in range(len(x)):
            rest = np.arange(len(x)) != spot
            missed += (Ridge(ALPHAS[number]).fit(x[rest], y[rest]).predict(x[[spot]])[0] - y[spot]) ** 2
        np.testing.assert_allclose(errors[number], missed, rtol=1e-4)
    np.testing.assert_allclose(errors[-1], ((y - y.mean(axis=0)) ** 2).sum(axis=0) * (len(x) / (len(x) - 1)) ** 2)


def test_penalties_may_be_those_that_ridgecv_chooses():
    x, y, _ = problem(n=200, r=30)
    y += 5 * np.random.default_rng(3).normal(size=y.shape)
    peer = RidgeCV(ALPHAS, alpha_per_target=True).fit(x, y)
    fitted = fit_ridge(x, y, ALPHAS, [], spot_by_spot=True)
    finite = np.isfinite(fitted.alpha)
    assert finite.any()
    np.testing.assert_allclose(fitted.alpha[finite], peer.alpha_[finite])
    np.testing.assert_allclose(fitted.slope[:, finite], peer.coef_.T[:, finite], atol=1e-8)


@pytest.mark.parametrize("shape", [(200, 12), (90, 120)])
def test_partly_present_ions_are_solved_side_by_side(shape):
    x, y, folds = problem(*shape)
    present = np.random.default_rng(0).random(y.shape) < 0.6
    folds = [
        InnerFold(np.flatnonzero(np.arange(len(x)) % 4 != f), np.flatnonzero(np.arange(len(x)) % 4 == f))
        for f in range(4)
    ]
    linear = fit_ridge(x, np.where(present, y, -1e4), ALPHAS, folds, present=present)
    for ion in range(y.shape[1]):
        rows = np.flatnonzero(present[:, ion])
        place = np.full(len(x), -1)
        place[rows] = np.arange(len(rows))
        own = [InnerFold(*(place[part][place[part] >= 0] for part in fold[:2])) for fold in folds]
        alone = fit_ridge(x[rows], y[rows][:, [ion]], ALPHAS, own)
        # Where penalties hardly differ, a thousandth of an error may tip the choice by a step or two.
        assert linear.alpha[ion] == alone.alpha[0] or abs(np.log10(linear.alpha[ion] / alone.alpha[0])) < 0.8
        peer = Ridge(linear.alpha[ion]).fit(x[rows], y[rows, ion]) if np.isfinite(linear.alpha[ion]) else None
        if peer is not None:
            np.testing.assert_allclose(linear.slope[:, ion], peer.coef_, atol=1e-6)


def test_penalties_far_too_weak_are_not_tried_and_nothing_else_is_chosen(monkeypatch):
    rng = np.random.default_rng(3)
    x, mix = rng.normal(size=(150, 30)), rng.normal(size=(30, 12))
    y = x @ mix + 6 * rng.normal(size=(150, 12))
    present = rng.random(y.shape) < 0.6
    alphas = np.geomspace(1e-4, 1e5, 20)
    third = np.arange(150) % 3
    folds = [InnerFold(np.flatnonzero(third != n), np.flatnonzero(third == n)) for n in range(3)]
    tried = []
    errors = ridge_partial._HeldOut.errors
    monkeypatch.setattr(
        ridge_partial._HeldOut, "errors", lambda self, alpha, going: tried.append(alpha) or errors(self, alpha, going)
    )
    chosen = ridge_partial.choose_alpha_where(x, y, present, alphas, folds)
    assert min(tried) > alphas[5]
    monkeypatch.setattr(ridge_partial, "_RISES", 99)
    assert (ridge_partial.choose_alpha_where(x, y, present, alphas, folds) == chosen).all()
    assert min(tried) == alphas[0]
    assert len(np.unique(chosen)) > 2


def test_an_error_that_rises_before_it_falls_is_followed(monkeypatch):
    # What sections differ by is the widest direction of genes, and comes in first; it says nothing of another section.
    rng = np.random.default_rng(0)
    section = np.repeat(np.arange(4), 80)
    signal = rng.normal(size=(320, 40))
    x = signal + 3 * rng.normal(size=(4, 40))[section]
    y = signal @ rng.normal(size=(40, 30)) / 6 + rng.normal(size=(4, 30))[section] + rng.normal(size=(320, 30))
    present = rng.random(y.shape) < 0.7
    folds = [InnerFold(np.flatnonzero(section != n), np.flatnonzero(section == n)) for n in range(4)]
    alphas = np.geomspace(1, 1e7, 20)
    chosen = ridge_partial.choose_alpha_where(x, y, present, alphas, folds)
    monkeypatch.setattr(ridge_partial, "_RISES", 99)
    assert (np.isfinite(chosen) == np.isfinite(ridge_partial.choose_alpha_where(x, y, present, alphas, folds))).all()
