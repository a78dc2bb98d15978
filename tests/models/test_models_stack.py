"""A stack weighs what predicts, leaves out what does not, and is the mean where nothing does."""

import numpy as np
import pytest
from scipy.optimize import nnls
from test_models_regressors import problem, task

from napari_st2msi.errors import ModelProblem
from napari_st2msi.models.arrays import map_from
from napari_st2msi.models.held import trusted
from napari_st2msi.models.inner import InnerFold
from napari_st2msi.models.regressors import fit_regression
from napari_st2msi.models.stack import non_negative, weigh


def test_weights_are_those_of_non_negative_least_squares():
    rng = np.random.default_rng(0)
    said, truth = rng.normal(size=(50, 4)), rng.normal(size=(50, 8))
    truth[:, 0] = said @ [0.5, -1.0, 0.3, 0.0]
    gram = np.tile(said.T @ said, (8, 1, 1))
    weights = non_negative(gram, truth.T @ said)
    for ion in range(8):
        np.testing.assert_allclose(weights[ion], nnls(said, truth[:, ion])[0], atol=1e-4)


def test_a_part_that_predicts_is_weighed_and_noise_is_not():
    rng = np.random.default_rng(1)
    signal = rng.normal(size=(4, 200))
    said = np.stack([signal, rng.normal(size=(4, 200))], axis=2)
    truth = np.stack([signal + 0.3 * rng.normal(size=(4, 200)), rng.normal(size=(4, 200))], axis=2)
    gram = np.tile(np.einsum("fna,fnb->fab", said, said)[:, None], (1, 2, 1, 1))
    weights = weigh(gram, np.einsum("fna,fnk->fka", said, truth))
    np.testing.assert_allclose(weights[0], [1, 0], atol=0.1)
    assert not weights[1].any()


def test_a_fold_alone_decides_nothing():
    assert not weigh(np.ones((1, 3, 2, 2)) + np.eye(2), np.ones((1, 3, 2))).any()


def test_predictions_are_trusted_as_far_as_they_help():
    rng = np.random.default_rng(2)
    truth = rng.normal(size=(300, 3))
    guess = np.column_stack([truth[:, 0], 2 * truth[:, 1], rng.normal(size=300)])
    folds = [InnerFold(np.arange(300), np.arange(start, start + 100)) for start in (0, 100, 200)]
    trust = trusted([guess[fold.held] for fold in folds], truth, np.ones(truth.shape, bool), folds)
    np.testing.assert_allclose(trust, [1.0, 0.5, 0.0], atol=1e-6)
    assert not trusted([], truth, np.ones(truth.shape, bool), []).any()


@pytest.fixture(scope="module")
def stacked():
    x, y, _ = problem()
    fitted = fit_regression("stack", task(x, y, rounds=5, stack_trees=True))
    assert list(fitted.parts) == ["ridge", "kernel_ridge", "mlp", "trees"]
    return x, fitted


def test_all_parts_come_back(stacked):
    x, fitted = stacked
    again = map_from(*fitted.state(), 20, 6)
    assert (again(x) == fitted(x)).all()
    for name, part in fitted.parts.items():
        assert (again.parts[name](x) == part(x)).all()


@pytest.mark.parametrize("part", ["ridge", "kernel_ridge", "mlp", "trees"])
def test_parts_of_other_data_are_refused(stacked, part):
    facts, arrays = stacked[1].parts[part].state()
    for shape in ((9, 6), (20, 5)):  # the network looks at the first ten features
        with pytest.raises(ModelProblem):
            map_from(facts, arrays, *shape)


def test_damage_is_refused(stacked):
    facts, arrays = stacked[1].state()
    with pytest.raises(ModelProblem, match="damaged"):
        map_from(facts, arrays | {"trees.booster1": arrays["trees.booster1"][:-9]}, 20, 6)
    name = next(key for key in arrays if key.startswith("mlp.network1"))
    with pytest.raises(ModelProblem, match="missing values"):
        map_from(facts, arrays | {name: np.full_like(arrays[name], np.nan)}, 20, 6)
    with pytest.raises(ModelProblem, match="unknown kind"):
        map_from(facts | {"kind": "pickle"}, arrays, 20, 6)


def test_trees_find_thresholds_that_no_line_can():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(900, 6))
    y = ((x[:, :1] > 0) ^ (x[:, 1:2] > 0)) + 0.1 * rng.normal(size=(900, 1))
    guess = fit_regression("trees", task(x, y))(x)[:, 0]
    assert np.corrcoef(guess, y[:, 0])[0, 1] > 0.9
    assert np.corrcoef(fit_regression("ridge", task(x, y))(x)[:, 0] + 1e-9 * x[:, 0], y[:, 0])[0, 1] < 0.3
