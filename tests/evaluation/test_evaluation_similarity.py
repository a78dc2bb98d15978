import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity as peer

from napari_st2msi.evaluation.similarity import rasterise, structural_similarity

RNG = np.random.default_rng(0)
SIDE = 30
COLUMN, ROW = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
XY = np.column_stack([COLUMN.ravel(), ROW.ravel()]) * 100.0
ONE = np.zeros(len(XY), dtype=int)
IMAGES = np.stack([gaussian_filter(RNG.normal(size=(SIDE, SIDE)), 2 + k) * 10 + 3 for k in range(4)], axis=2)
GUESSES = 0.6 * IMAGES + 0.3 * RNG.normal(size=IMAGES.shape)


def flat(images):
    return images.reshape(-1, images.shape[2])


def test_windows_that_lie_in_the_tissue_are_those_of_scikit_image():
    # A border that is as predicted as measured: only full windows are left to compare.
    for ion in range(4):
        truth, guess = IMAGES[..., ion], GUESSES[..., ion]
        _, full = peer(truth, guess, data_range=np.ptp(truth), full=True)
        everywhere = structural_similarity(flat(IMAGES), flat(GUESSES), XY, ONE)[ion]
        assert everywhere == pytest.approx(full.mean(), abs=0.03)
    # With one window's worth of tissue the only pixel with a full window can be told apart exactly.
    corner = (XY < 700).all(axis=1)
    inner = IMAGES[:7, :7], GUESSES[:7, :7]
    full = [peer(*(each[..., 0] for each in inner), data_range=np.ptp(inner[0][..., 0]), full=True)[1][3, 3]][0]
    from napari_st2msi.evaluation import similarity

    mean, n = similarity._windows(rasterise(XY[corner]), 49)
    middle = (mean[[24]], n[[24]])
    own = similarity._ssim(flat(inner[0]), flat(inner[1]), middle)
    assert own[0] == pytest.approx(full)


def test_alike_is_one_and_unrelated_near_zero():
    np.testing.assert_allclose(structural_similarity(flat(IMAGES), flat(IMAGES), XY, ONE), 1)
    noise = RNG.normal(size=flat(IMAGES).shape)
    assert (structural_similarity(noise, noise[RNG.permutation(len(noise))], XY, ONE) < 0.1).all()


def test_order_of_spots_and_place_do_not_matter():
    order = RNG.permutation(len(XY))
    whole = structural_similarity(flat(IMAGES), flat(GUESSES), XY, ONE)
    moved = structural_similarity(flat(IMAGES)[order], flat(GUESSES)[order], XY[order] - 1e4, ONE)
    np.testing.assert_allclose(moved, whole)


def test_sections_count_alike_and_do_not_touch():
    section = np.repeat([0, 1], len(XY))
    measured = np.vstack([flat(IMAGES), flat(IMAGES)])
    predicted = np.vstack([flat(IMAGES), flat(GUESSES)])
    both = structural_similarity(measured, predicted, np.vstack([XY, XY]), section)
    alone = structural_similarity(flat(IMAGES), flat(GUESSES), XY, ONE)
    np.testing.assert_allclose(both, (1 + alone) / 2)


def test_hexagons_become_images_without_holes_and_tissue_keeps_its_outline():
    y, x = np.meshgrid(np.arange(20) * 86.6, np.arange(20) * 100.0, indexing="ij")
    xy = np.column_stack([(x + 50 * (np.arange(20)[:, None] % 2)).ravel(), y.ravel()])
    raster = rasterise(xy)
    assert raster.pixel_um == pytest.approx(100, rel=0.01)
    assert (raster.spot >= 0).mean() > 0.97
    away = rasterise(XY[(XY[:, 0] < 900) | (XY[:, 0] > 1900)])
    assert (away.spot[:, 9:20] == -1).all()
    assert (away.spot[:, :9] >= 0).all()


def test_flat_images_and_lone_spots_have_none():
    values = flat(IMAGES).copy()
    values[:, 1] = np.log1p(7.3)
    found = structural_similarity(values, flat(GUESSES), XY, ONE)
    assert np.isnan(found[1])
    assert np.isfinite(found[[0, 2, 3]]).all()
    assert np.isnan(structural_similarity(values[:1], values[:1], XY[:1], ONE[:1])).all()
    far = XY.copy()
    far[0] = 1e9
    assert rasterise(far).spot.size < 50 * len(XY)
