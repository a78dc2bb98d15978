import numpy as np
import pytest

from napari_st2msi.models.registry import build
from napari_st2msi.paired import PairedDataset, dense
from napari_st2msi.recipe import Ions, Model, Recipe
from planted import planted


def noisy() -> PairedDataset:
    """Return the planted spots with noise of the instrument in every spot of every ion."""
    paired = planted()
    noise = np.exp(np.random.default_rng(5).normal(0.0, 0.3, paired.ions.shape))
    paired.ions.X = (dense(paired.ions.X) + noise).astype(np.float32)
    return paired


@pytest.mark.parametrize("name", ["two_stage", "ridge", "mean"])
def test_presence_is_told_above_the_noise_and_kept_with_the_model(name):
    paired = noisy()
    there = dense(planted().ions.X)[:, 3:6] > 0
    recipe = Recipe(ions=Ions(presence_rule="mixture"), model=Model(name=name))
    model = build(recipe).fit(paired)
    assert (model.ions_.present(paired.ions)[:, 3:6] == there).mean() > 0.97
    guess = model.predict(paired.genes)
    np.testing.assert_allclose(guess.layers["presence"][:, 3:6].mean(), there.mean(), atol=0.03)
    again = build(recipe).restore(*model.state())
    np.testing.assert_array_equal(again.predict(paired.genes).X, guess.X)


def test_expected_values_come_back_in_measured_units():
    # Spots without the ion have noise, which presence times intensity alone would take for nothing.
    paired = noisy()
    recipe = Recipe(ions=Ions(presence_rule="mixture", log1p=False), model=Model(name="two_stage"))
    guess = build(recipe).fit(paired).predict(paired.genes).X[:, 3:6]
    measured = dense(paired.ions.X)[:, 3:6]
    np.testing.assert_allclose(guess.mean(axis=0), measured.mean(axis=0), rtol=0.05)
    absent = dense(planted().ions.X)[:, 3:6] == 0
    assert guess[absent].min() > 0.5  # the mean of the noise is 1.05
