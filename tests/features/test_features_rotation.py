import numpy as np
import pytest
from sklearn.decomposition import PCA

from napari_st2msi.features.rotation import Rotation


@pytest.mark.parametrize("shape", [(60, 20), (20, 60)])
def test_same_scores_as_principal_components(shape):
    features = np.random.default_rng(0).normal(size=shape) * np.linspace(1, 5, shape[1])
    ours = Rotation(5).fit(features).transform(features)
    theirs = PCA(5, svd_solver="full").fit_transform(features)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-8)


@pytest.mark.parametrize("shape", [(60, 20), (20, 60)])
def test_all_directions_lose_nothing(shape):
    features = np.random.default_rng(0).normal(size=shape)
    rotation = Rotation(None).fit(features)
    back = rotation.transform(features) @ rotation.directions_.T + rotation.centre_
    np.testing.assert_allclose(back, features, atol=1e-8)


def test_constant_features_leave_no_direction():
    assert Rotation(5).fit(np.ones((10, 3))).transform(np.ones((4, 3))).shape == (4, 0)


def test_large_features_are_decomposed_block_by_block(monkeypatch):
    monkeypatch.setattr("napari_st2msi.features.rotation._EXACT", 50)
    monkeypatch.setattr("napari_st2msi.features.rotation._ROWS", 64)
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 8)) @ rng.normal(size=(8, 200)) * 3 + rng.normal(size=(300, 200))

    class Computed:
        shape = features.shape

        def __call__(self, rows):
            return features[rows]

    ours = Rotation(8).fit(Computed()).transform(Computed())
    theirs = PCA(8, svd_solver="full").fit_transform(features)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), rtol=1e-3, atol=1e-2)
