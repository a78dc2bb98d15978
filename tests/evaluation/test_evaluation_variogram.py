import numpy as np
import pytest
from scipy.spatial.distance import cdist

from napari_st2msi.evaluation.variogram import variogram

RNG = np.random.default_rng(0)
XY = RNG.uniform(0, 3000, size=(900, 2))
ONE = np.zeros(len(XY), dtype=int)


def fields(reach, nugget, n=60, xy=XY):
    """Draw Gaussian fields whose variogram is spherical with this range and share of nugget."""
    h = np.minimum(cdist(xy, xy) / reach, 1)
    covariance = (1 - nugget) * (1 - 1.5 * h + 0.5 * h**3) + nugget * np.eye(len(xy))
    return np.linalg.cholesky(covariance + 1e-9 * np.eye(len(xy))) @ RNG.normal(size=(len(xy), n))


@pytest.mark.parametrize(("reach", "nugget"), [(400, 0.0), (700, 0.3), (1000, 0.6)])
def test_range_and_nugget_of_known_fields_are_found(reach, nugget):
    found = variogram(fields(reach, nugget), XY, ONE)
    assert found.structured.all()
    assert found.typical_range == pytest.approx(reach, rel=0.25)
    assert np.median(found.nugget / found.sill) == pytest.approx(nugget, abs=0.12)


def test_same_as_counting_pairs_one_by_one():
    values = RNG.normal(size=(40, 2)) + XY[:40] / 1000
    found = variogram(values, XY[:40], ONE[:40])
    distance = cdist(XY[:40], XY[:40])
    farthest = np.ptp(XY[:40], axis=0).max() / 2
    upper = np.triu(np.ones_like(distance, dtype=bool), 1) & (distance <= farthest)
    lag = np.minimum((distance / farthest * 16).astype(int), 15)
    squares = (values[:, None] - values[None]) ** 2 / 2 / values.var(axis=0)
    expected = [squares[upper & (lag == each)].mean(axis=0) for each in range(16) if (upper & (lag == each)).any()]
    np.testing.assert_allclose(found.gamma, expected)
    assert found.pairs.sum() == upper.sum()


def test_sections_do_not_see_each_other():
    section = np.repeat([0, 1], 450)
    values = fields(500, 0.0, n=30)
    levels = values + 100 * section[:, None]
    found, plain = variogram(levels, XY, section), variogram(values, XY, section)
    np.testing.assert_allclose(found.range_um, plain.range_um)
    moved = XY + 1e6 * section[:, None]
    np.testing.assert_allclose(variogram(values, moved, section).gamma, plain.gamma)


def test_noise_and_constants_have_no_structure():
    noise = RNG.normal(size=(900, 20))
    noise[:, 0] = np.log1p(7.3)
    found = variogram(noise, XY, ONE)
    assert found.structured.mean() <= 0.05
    assert not found.structured[0]
    assert np.isnan(found.gamma[:, 0]).all()


def test_spots_on_one_place_or_alone_have_none():
    assert variogram(np.ones((5, 2)), np.zeros((5, 2)), ONE[:5]) is None
    assert variogram(np.ones((2, 2)), XY[:2], np.array([0, 1])) is None
