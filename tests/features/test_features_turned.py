import numpy as np
import pytest

from napari_st2msi.features.turned import turned


def test_a_rotation_is_found_again():
    rng = np.random.default_rng(0)
    onto = rng.normal(size=(50, 6))
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    np.testing.assert_allclose(turned(onto @ rotation.T, onto), rotation, atol=1e-12)


@pytest.mark.parametrize("columns", [3, 6])
def test_lengths_and_angles_stay_also_where_directions_are_fewer(columns):
    rng = np.random.default_rng(1)
    features = rng.normal(size=(50, columns))
    moved = features @ turned(features, rng.normal(size=(50, 6)))
    np.testing.assert_allclose(moved @ moved.T, features @ features.T, atol=1e-10)
