"""Each regression finds what it assumes, beside a peer where there is one."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import ElasticNet, LinearRegression

from napari_st2msi.models.banded import mixtures, shares_explained
from napari_st2msi.models.inner import InnerFold
from napari_st2msi.models.inputs import Inputs
from napari_st2msi.models.kernel import coordinates, standard_rows
from napari_st2msi.models.regressors import fit_regression
from napari_st2msi.models.sparse import _Problem
from napari_st2msi.models.task import Task
from napari_st2msi.progress import Cancelled
from napari_st2msi.recipe import Model, Networks

NAMES = ("ridge", "linear", "lasso", "elastic_net", "pls", "kernel_ridge", "banded_ridge", "trees", "mlp", "stack")


def problem(n=240, r=20, k=6, noise=0.3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, r))
    slope = np.zeros((r, k))
    slope[: r // 2 : 4] = rng.normal(size=(len(range(0, r // 2, 4)), k))
    return x, x @ slope + noise * rng.normal(size=(n, k)) + 3, slope


def task(x, y, present=None, learned=None, **choices):
    n = len(x)
    part = np.arange(n) % 4
    folds = [InnerFold(np.flatnonzero(part != f), np.flatnonzero(part == f)) for f in range(4)]
    half = x.shape[1] // 2
    bands = {"own": slice(0, half), "ring1": slice(half, x.shape[1])}
    present = np.ones(y.shape, bool) if present is None else present
    learned = np.ones(y.shape[1], bool) if learned is None else learned
    choices = {"alphas": (1e-2, 1e5), "l1_ratio": 0.5, "ensemble": 2, "width": 32} | choices
    return Task(Inputs(x, folds, bands), y, present, learned, Model(**choices), Networks(epochs=12, learning_rate=1e-2))


@pytest.mark.parametrize("name", NAMES)
def test_planted_signal_is_found_and_noise_is_the_mean(name):
    x, y, _ = problem()
    y[:, 5] = 3 + np.random.default_rng(9).normal(size=len(y))
    fitted = fit_regression(name, task(x, y))
    fresh, truth, _ = problem(seed=0)
    guess = fitted(fresh[:100])
    r2 = 1 - ((guess - truth[:100]) ** 2).sum(axis=0) / ((truth[:100] - 3) ** 2).sum(axis=0)
    assert (r2[:5] > 0.8).all()
    if name != "linear":
        assert guess[:, 5].std() < 0.25


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_learned_is_the_mean_of_the_spots_that_count(name):
    x, y, _ = problem()
    present = np.ones(y.shape, bool)
    present[::3, 0], present[::3, 1] = False, False
    spoiled = np.where(present, y, 1e5)
    learned = np.array([True, False, True, True, True, True])
    guess = fit_regression(name, task(x, spoiled, present, learned))(x)
    np.testing.assert_allclose(guess[:, 1], y[present[:, 1], 1].mean())
    # What a spot that does not count holds changes nothing.
    assert np.corrcoef(guess[:, 0], y[:, 0])[0, 1] > 0.85
    assert np.abs(guess[:, 0]).max() < 50


@pytest.mark.parametrize("name", NAMES)
def test_stops_when_asked(name):
    x, y, _ = problem()
    if name == "linear":
        pytest.skip("one decomposition, done before anybody could ask")
    asked = task(x, y)
    with pytest.raises(Cancelled):
        fit_regression(
            name,
            replace(asked, cancelled=lambda: True),
        )


@pytest.mark.parametrize("name", NAMES)
def test_without_folds_or_with_one_feature(name):
    x, y, _ = problem()
    one = task(x, y)
    guess = fit_regression(name, replace(one, inputs=Inputs(x, [], one.inputs.bands)))(x)
    assert np.isfinite(guess).all()
    if name != "linear":
        np.testing.assert_allclose(guess, np.tile(y.mean(axis=0), (len(x), 1)))
    few = task(x[:, :1], y)
    single = replace(few, inputs=Inputs(x[:, :1], few.inputs.folds, {"own": slice(0, 1)}))
    assert np.isfinite(fit_regression(name, single)(x[:, :1])).all()


def test_linear_is_least_squares():
    x, y, _ = problem()
    peer = LinearRegression().fit(x, y)
    fitted = fit_regression("linear", task(x, y))
    np.testing.assert_allclose(fitted.slope, peer.coef_.T, atol=1e-6)
    np.testing.assert_allclose(fitted(x), peer.predict(x), atol=1e-6)


@pytest.mark.parametrize("l1_ratio", [1.0, 0.3])
def test_paths_are_those_of_coordinate_descent(l1_ratio):
    x, y, _ = problem()
    steps = np.geomspace(1, 1e-3, 8)
    slopes, level = _Problem(x, y, l1_ratio).path(2, steps, np.zeros(20))
    assert not slopes[:, 0].any()
    most = np.abs((x - x.mean(axis=0)).T @ (y[:, 2] - y[:, 2].mean())).max() / len(x) / l1_ratio
    peer = ElasticNet(alpha=most * steps[5], l1_ratio=l1_ratio, tol=1e-8).fit(x, y[:, 2])
    np.testing.assert_allclose(slopes[:, 5], peer.coef_, atol=5e-3)
    np.testing.assert_allclose(level[5], peer.intercept_, atol=5e-3)


def test_lasso_keeps_the_planted_features_only():
    x, y, slope = problem(n=600)
    fitted = fit_regression("lasso", task(x, y))
    planted = np.abs(slope[:, 0]) > 0
    size = np.abs(fitted.slope[:, 0])
    assert size[planted].min() > 0.05
    assert size[~planted].max() < 0.05


def test_kernel_with_all_landmarks_is_the_kernel():
    x = np.random.default_rng(0).normal(size=(60, 5))
    rows = standard_rows(x)
    square = ((rows[:, None] - rows[None]) ** 2).sum(axis=2)
    gamma = 1 / np.median(square[np.triu_indices(60, 1)])
    fitted = fit_regression("kernel_ridge", task(x, problem(n=60, r=5)[1]))
    assert fitted.gamma == pytest.approx(gamma)
    own = coordinates(x, fitted.landmarks, fitted.whitening, fitted.gamma)
    np.testing.assert_allclose(own @ own.T / 5, np.exp(-gamma * square), atol=1e-4)


def test_kernel_learns_what_no_line_can_and_landmarks_bound_it():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(800, 4))
    y = (x[:, :1] * x[:, 1:2]) + 0.1 * rng.normal(size=(800, 1))
    for landmarks in (800, 200):
        fitted = fit_regression("kernel_ridge", task(x, y, n_landmarks=landmarks))
        assert len(fitted.landmarks) == landmarks
        assert np.corrcoef(fitted(x)[:, 0], y[:, 0])[0, 1] > 0.7
    line = fit_regression("ridge", task(x, y))(x)[:, 0]
    assert line.std() < 0.3 * y.std()


def test_bands_that_matter_are_found_and_their_shares_sum_to_one():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 20))
    y = np.column_stack([x[:, 0] + x[:, 1], x[:, 11] - x[:, 12], x[:, 2] + x[:, 13]]) + 0.3 * rng.normal(size=(400, 3))
    asked = task(x, y)
    fitted = fit_regression("banded_ridge", asked)
    shares = shares_explained(fitted, x, asked.inputs.bands)
    np.testing.assert_allclose(shares["own"] + shares["ring1"], 1)
    np.testing.assert_allclose(shares["own"], [1, 0, 0.5], atol=0.1)
    assert not fitted.slope[10:, 0].any()
    assert not fitted.slope[:10, 1].any()


def test_mixtures_go_from_many_bands_to_few():
    weights = mixtures(2)
    assert weights.tolist() == [[1.0, 1.0], [0.1, 1.0], [1.0, 0.1], [0.0, 1.0], [1.0, 0.0]]
    assert len(mixtures(6)) <= 40
    assert (mixtures(6).max(axis=1) == 1).all()


def test_pls_borrows_directions_from_other_ions():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 60))
    direction = rng.normal(size=60) / 8
    y = (x @ direction)[:, None] * rng.uniform(0.5, 1, 30) + 1.5 * rng.normal(size=(120, 30))
    guess = fit_regression("pls", task(x, y, most_components=10))(rng.normal(size=(500, 60)))
    assert np.linalg.matrix_rank(guess - guess.mean(axis=0), tol=1e-6) <= 10
    learned = fit_regression("pls", task(x, y, most_components=10)).slope
    alone = fit_regression("ridge", task(x, y)).slope
    scale = np.linalg.norm(direction)

    def along(slope):
        return np.nanmean(direction @ slope / scale / np.maximum(np.linalg.norm(slope, axis=0), 1e-9))

    assert along(learned) > along(alone)
