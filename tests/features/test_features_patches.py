import numpy as np
import pytest

from napari_st2msi.features.patches import GLASS, kept_patches, patches
from napari_st2msi.progress import Cancelled

UM = np.diag([2.0, 2.0, 1.0])


def picture(rows: int = 100, columns: int = 120) -> np.ndarray:
    """Return (rows, columns, 3) uint8: glass, a red square around x = 80 µm, y = 60 µm, a blue one right of it."""
    image = np.full((rows, columns, 3), 240, dtype=np.uint8)
    image[26:35, 36:45] = (200, 40, 40)
    image[26:35, 48:53] = (40, 40, 200)
    return image


def one(image: np.ndarray, place: tuple[float, float], *, to_um: np.ndarray = UM, reach: float = 24.0, side: int = 24):
    found = kept_patches(patches([image], to_um, np.array([place]), reach, side), 1, side)
    assert found.dtype == np.uint8
    return found[0].reshape(side, side, 3)


def test_a_patch_is_the_square_around_its_place():
    seen = one(picture(), (80.0, 60.0)).astype(int)
    red = seen[..., 0] > seen[..., 2] + 50
    blue = seen[..., 2] > seen[..., 0] + 50
    assert red[8:16, 8:16].all()
    assert red.sum() == pytest.approx(81, abs=20)
    assert np.argwhere(blue)[:, 1].min() > np.argwhere(red)[:, 1].max()  # along x
    assert np.argwhere(blue)[:, 0].mean() == pytest.approx(np.argwhere(red)[:, 0].mean(), abs=1.5)


def test_colours_are_relative_to_clear_glass():
    for glass in (180, 240):
        image = np.full((60, 60, 3), glass, dtype=np.uint8)
        image[30, 30] = glass // 2
        seen = one(image, (60.0, 60.0))
        assert seen.max() == GLASS
        assert seen.min() == pytest.approx(GLASS / 2, abs=2)


def test_a_turned_picture_gives_the_same_patch():
    image = picture()
    turned = np.rot90(image)
    to_um = UM @ np.array([[0, -1, image.shape[1] - 1], [1, 0, 0], [0, 0, 1.0]])
    np.testing.assert_array_equal(one(turned, (81.0, 61.0), to_um=to_um), one(image, (81.0, 61.0)))


def test_what_lies_beside_is_glass_and_a_place_beside_has_no_patch():
    image = np.full((40, 40, 3), 90, dtype=np.uint8)
    image[0, 0] = image[-1] = 240
    edge = one(image, (0.0, 40.0))
    assert (edge[:, :10] == GLASS).all()
    assert (edge[:, 14:] < 150).all()
    places = np.array([[-30.0, 10.0], [40.0, 40.0], [40.0, 900.0]])
    found = kept_patches(patches([image], UM, places, 24.0, 24), 3, 24)
    assert found.any(axis=1).tolist() == [False, True, False]
    assert found[1].all()  # even black is not 0, which says that there is none


@pytest.mark.parametrize("kind", ["grey", "transparent", "float", "uint16"])
def test_other_kinds_of_pictures(kind):
    image = picture()
    image[0, 0] = 255  # what is brightest sets the scale
    grey = np.repeat(image[..., :1], 3, axis=2)
    other, same = {
        "grey": (image[..., :1], grey),
        "transparent": (np.dstack([image, np.full(image.shape[:2], 7, dtype=np.uint8)]), image),
        "float": (image / 255.0, image),
        "uint16": (image.astype(np.uint16) * 257, image),
    }[kind]
    difference = one(other, (80.0, 60.0)).astype(int) - one(same, (80.0, 60.0))
    assert np.abs(difference).max() <= 1


def test_missing_pixels_are_glass():
    image = picture() / 255.0
    image[28:32, 38:42] = np.nan
    seen = one(image, (80.0, 60.0))
    assert (seen[8:14, 8:14] == GLASS).all(axis=2).any()
    assert seen.all()


@pytest.mark.parametrize("reach", [0.5, 4000.0])
def test_patches_smaller_than_a_pixel_and_larger_than_the_picture(reach):
    for shape in ((1, 1), (2, 3), (20, 24)):
        image = np.full((*shape, 3), 200, dtype=np.uint8)
        assert one(image, (0.4, 0.4), reach=reach).all()


def test_large_patches_are_averaged_not_skipped():
    image = np.full((400, 400, 3), 240, dtype=np.uint8)
    image[::2] = 120
    seen = one(image, (400.0, 400.0), reach=400.0, side=25)
    assert np.ptp(seen.astype(int)) <= 4  # stripes thinner than a pixel of the patch


def test_patches_come_some_at_a_time_and_can_be_stopped():
    places = np.random.default_rng(0).uniform(0, [230, 190], (300, 2))
    parts = list(patches([picture()], UM, places, 24.0, 8))
    assert max(len(spots) for spots, _ in parts) <= 128
    assert sorted(np.concatenate([spots for spots, _ in parts])) == list(range(300))
    with pytest.raises(Cancelled):
        kept_patches(patches([picture()], UM, places, 24.0, 8, cancelled=lambda: True), len(places), 8)
