import numpy as np
import pytest

from napari_st2msi.features import picture as module
from napari_st2msi.features.texture import N_FEATURES, absorption, texture
from napari_st2msi.progress import Cancelled

UM = np.diag([2.0, 2.0, 1.0])
PLACES = np.array([[60.0, 90.0], [110.0, 64.0], [222.0, 200.0], [12.0, 4.0]])


def picture(rows: int = 140, columns: int = 160, seed: int = 0) -> np.ndarray:
    """Return (rows, columns, 3) uint8: pale stripes on the left, dark grains on the right, a rim of glass."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns]
    pale = 200 + 20 * np.sin(x / 2.0)
    dark = 120 + 40 * rng.standard_normal((rows, columns))
    grey = np.where(x < columns / 2, pale, dark)
    colours = np.stack([grey, 0.8 * grey, 0.95 * grey], axis=-1)
    colours[(x < 3) | (y < 3)] = 245
    return np.clip(colours, 0, 255).astype(np.uint8)


class Lazy:
    """An array that is read in pieces, and remembers how large they were."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape, self.read = values, values.shape, []

    def __getitem__(self, what: tuple[slice, ...]) -> np.ndarray:
        found = self.values[what]
        if all(part.step is None for part in what):
            self.read.append(found.shape)
        return found


def test_glass_absorbs_nothing_and_darkness_much():
    density = absorption(np.array([[[255, 255, 255], [128, 128, 128], [0, 0, 0]]], dtype=np.uint8))
    assert density[0, 0] == pytest.approx(np.zeros(3), abs=1e-6)
    assert (np.diff(density[0], axis=0) > 0.5).all()


def test_a_flat_picture_has_no_variation():
    flat = np.full((100, 100, 3), 180, dtype=np.uint8)
    flat[:20] = 250
    found = texture([flat], UM, np.array([[100.0, 130.0], [60.0, 150.0]]), 10.0)
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    np.testing.assert_allclose(found[:, 3:8], 0, atol=1e-5)  # deviations and entropies
    assert (found[:, 0] > 0).all()
    np.testing.assert_allclose(found[:, 8:18].sum(axis=1), 1, atol=1e-5)


def test_tissue_that_looks_different_is_described_differently():
    found = texture([picture()], UM, np.array([[60.0, 120.0], [90.0, 180.0], [250.0, 120.0], [240.0, 180.0]]), 20.0)
    same = np.abs(found[0] - found[1]).mean() + np.abs(found[2] - found[3]).mean()
    other = np.abs(found[0] - found[2]).mean() + np.abs(found[1] - found[3]).mean()
    assert other > 5 * same


def test_discs_hold_what_is_within_the_radius_and_nothing_else():
    image = np.full((200, 200, 3), 240, dtype=np.uint8)
    rows, columns = np.mgrid[:200, :200]
    away = np.hypot(rows - 100, columns - 100)
    place = np.array([[200.0, 200.0]])
    plain = texture([image], UM, place, 30.0)
    beyond = image.copy()
    beyond[(away > 32) & (away < 60)] = 100  # 64 to 120 µm from the place, beyond both discs
    outer = image.copy()
    outer[(away > 16) & (away < 29)] = 100  # 32 to 58 µm: in the wider disc only
    half = N_FEATURES // 2
    unseen = texture([beyond], UM, place, 30.0)
    np.testing.assert_allclose(unseen[:, :8], plain[:, :8], atol=1e-5)
    np.testing.assert_allclose(unseen[:, half : half + 8], plain[:, half : half + 8], atol=1e-5)
    changed = texture([outer], UM, place, 30.0)
    np.testing.assert_allclose(changed[:, :8], plain[:, :8], atol=1e-5)
    assert changed[0, half] > plain[0, half] + 0.1


def test_a_turned_picture_says_the_same():
    image = picture()
    turned = np.rot90(image)  # (r, c) → (columns - 1 - c, r)
    to_um = UM @ np.array([[0, -1, image.shape[1] - 1], [1, 0, 0], [0, 0, 1.0]])
    np.testing.assert_allclose(texture([turned], to_um, PLACES, 15.0), texture([image], UM, PLACES, 15.0), atol=2e-3)


def test_pieces_are_small_and_change_nothing(monkeypatch):
    image = Lazy(picture(900, 1000))
    places = np.random.default_rng(0).uniform(0, [2000, 1800], (300, 2))
    whole = texture([image], UM, places, 24.0)
    image.read.clear()
    monkeypatch.setattr(module, "_PIECE", 150)
    # A pixel in a thousand may fall into another pattern by rounding.
    np.testing.assert_allclose(texture([image], UM, places, 24.0), whole, atol=2e-3)
    assert len(image.read) > 20
    assert max(max(shape[:2]) for shape in image.read) <= 160


def test_the_coarsest_level_that_is_fine_enough_is_read():
    fine = Lazy(np.repeat(np.repeat(picture(), 4, axis=0), 4, axis=1))
    coarse = Lazy(picture())
    to_um = UM @ np.array([[0.25, 0, -0.375], [0, 0.25, -0.375], [0, 0, 1]])
    found = texture([fine, coarse], to_um, PLACES, 24.0)
    assert not fine.read
    np.testing.assert_allclose(found, texture([picture()], UM, PLACES, 24.0), atol=1e-5)
    # Without the level the picture is averaged down to the same.
    np.testing.assert_allclose(texture([fine], to_um, PLACES, 24.0), found, atol=1e-3)


@pytest.mark.parametrize("kind", ["uint16", "float"])
def test_other_kinds_of_numbers_say_the_same(kind):
    image = picture()
    image[0, 0] = 255  # what is brightest sets the scale
    other = image.astype(np.uint16) * 257 if kind == "uint16" else image / 255.0
    np.testing.assert_allclose(texture([other], UM, PLACES, 15.0), texture([image], UM, PLACES, 15.0), atol=0.02)


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_transparent_pictures_are_described(channels):
    image = picture()
    other = image[..., :1] if channels == 1 else np.dstack([image, np.full(image.shape[:2], 9, dtype=np.uint8)])
    found = texture([other], UM, PLACES, 15.0)
    assert np.isfinite(found).all()
    if channels == 4:
        np.testing.assert_array_equal(found, texture([image], UM, PLACES, 15.0))


def test_places_beside_the_picture_are_missing():
    found = texture([picture()], UM, np.array([[-50.0, 20.0], [60.0, 90.0], [400.0, 20.0]]), 15.0)
    assert np.isnan(found[[0, 2]]).all()
    assert np.isfinite(found[1]).all()


@pytest.mark.parametrize("radius", [0.1, 5000.0])
def test_discs_smaller_than_a_pixel_and_larger_than_the_picture(radius):
    assert np.isfinite(texture([picture(20, 24)], UM, np.array([[20.0, 20.0]]), radius)).all()


def test_cancel():
    with pytest.raises(Cancelled):
        texture([picture()], UM, PLACES, 15.0, cancelled=lambda: True)
