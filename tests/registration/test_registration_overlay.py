"""MSI over ST as pictures: where it lies, how it is compared, and that it follows a dragged landmark."""

from __future__ import annotations

import numpy as np
import pytest

from napari_st2msi.registration.overlay import Overlay, rgba_of
from napari_st2msi.registration.transforms import (
    Affine,
    FreeForm,
    Projective,
    Rigid,
    Similarity,
    ThinPlateSpline,
    Transform,
)
from napari_st2msi.registration.views import View

#: Mirrored and turned, as sections are.
MATRIX = np.array([[-0.9, 0.3, 5000], [0.3, 0.9, -800], [0, 0, 1.0]])


def stained(rows: int = 650, columns: int = 650, um: float = 10.0) -> View:
    colours = np.random.default_rng(0).integers(0, 255, (rows, columns, 3), dtype=np.uint8)
    return View(colours, np.array([[um, 0, um / 2], [0, um, um / 2], [0, 0, 1]]), "histology")


def measured(rows: int = 134, columns: int = 130) -> View:
    values = np.random.default_rng(1).random((rows, columns), dtype=np.float32)
    values[:10] = np.nan
    return View(values, np.array([[50.0, 0, 20], [0, 48, 30], [0, 0, 1]]), "tic", (0.0, 1.0))


def transforms(n: int = 20, noise: float = 60.0) -> dict[str, Transform]:
    """One of each kind; those with bends are bent as far as tissue is."""
    rng = np.random.default_rng(2)
    moving = np.vstack([rng.uniform(0, 6400, (n - 4, 2)), [[0, 0], [6400, 0], [0, 6400], [6400, 6400]]])
    fixed = Affine(MATRIX).forward(moving) + rng.normal(0, noise, (n, 2))
    across = np.stack(np.meshgrid(np.arange(14), np.arange(14)), axis=-1)
    bends = 250 * np.sin(across / 2.5 + [0, 1])
    fitted = [kind.fit(moving, fixed) for kind in (Rigid, Similarity, Affine, Projective, ThinPlateSpline)]
    grid = FreeForm(MATRIX, np.array([-1400.0, -1400]), np.array([700.0, 700]), bends)
    return {each.kind: each for each in (*fitted, grid)}


def pixel_under(overlay: Overlay, moving: View, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Column and row in the MSI of (n, 2) pixels of the overlay, one by one and exactly."""
    um = places @ overlay.to_um[:2, :2].T + overlay.to_um[:2, 2]
    back = np.linalg.inv(moving.to_um)
    column, row = (overlay.transform.inverse(um) @ back[:2, :2].T + back[:2, 2]).T
    return column, row


@pytest.mark.parametrize("kind", list(transforms()))
def test_each_pixel_shows_the_msi_that_lies_there(kind: str) -> None:
    moving = measured()
    overlay = Overlay(stained(), moving, transforms()[kind])
    picture = overlay.warped()
    assert picture.shape == (1000, 1000, 4)
    places = np.random.default_rng(3).integers(0, 1000, (4000, 2))
    column, row = pixel_under(overlay, moving, places)
    # A fifth of a pixel of the overlay, in pixels of the MSI: nearer to an edge, either side may be shown.
    edge = np.minimum(np.abs(column % 1 - 0.5), np.abs(row % 1 - 0.5)) < 0.2 * overlay.pitch_um / 48
    rows, columns = moving.image.shape
    inside = (column > -0.5) & (column < columns - 0.5) & (row > -0.5) & (row < rows - 0.5)
    wanted = np.zeros((len(places), 4), dtype=np.uint8)
    wanted[inside] = rgba_of(moving)[np.rint(row[inside]).astype(int), np.rint(column[inside]).astype(int)]
    shown = picture[places[:, 1], places[:, 0]]
    assert edge.mean() < 0.15
    np.testing.assert_array_equal(shown[~edge], wanted[~edge])
    assert 0.5 < inside.mean() < 1


@pytest.mark.parametrize("kind", list(transforms()))
def test_a_new_transform_is_asked_for_few_places(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A drag is followed because a transform is looked up in one of a hundred pixels, and once."""
    transform, asked = transforms()[kind], []
    inverse = type(transform).inverse

    def counted(self: Transform, xy: np.ndarray) -> np.ndarray:
        asked.append(len(xy))
        return inverse(self, xy)

    monkeypatch.setattr(type(transform), "inverse", counted)
    overlay = Overlay(stained(), measured(), Affine(np.eye(3)))
    overlay.transform = transform
    picture = overlay.warped()
    assert 0 < sum(asked) < 0.01 * picture[..., 0].size
    overlay.masked(picture, "checkerboard", opacity=0.5)
    assert len(asked) == 1


def test_the_st_lies_where_it_did() -> None:
    # Turned by 90°: columns run along y.
    image = np.zeros((20, 40, 3), dtype=np.uint8)
    image[5, 30] = 255
    fixed = View(image, np.array([[0, -10.0, 500], [10, 0, 100], [0, 0, 1]]), "turned")
    overlay = Overlay(fixed, measured(), Affine(MATRIX), longest=400)
    assert overlay.shape == (400, 200)
    assert overlay.pitch_um == pytest.approx(1)
    row, column = np.nonzero(overlay.base()[..., 0])
    middle = overlay.to_um @ [column.mean(), row.mean(), 1]
    np.testing.assert_allclose(middle[:2], [450, 400], atol=0.1)
    assert len(row) == 100


def test_nothing_under_the_msi_is_white() -> None:
    spots = np.full((30, 30), np.nan, dtype=np.float32)
    spots[10:20, 10:20] = 1
    base = Overlay(View(spots, np.eye(3), "counts", (0, 1)), measured(), Affine(np.eye(3)), longest=300).base()
    assert (base[:95] == 255).all()
    assert (base[110:190, 110:190] < 255).any(axis=2).all()


def test_ways_to_compare() -> None:
    overlay = Overlay(stained(), measured(), Affine(MATRIX), longest=650)
    whole = np.full((*overlay.shape, 4), 255, dtype=np.uint8)
    blend = overlay.masked(whole, opacity=0.4)
    assert (blend[..., 3] == 102).all()
    assert (whole == 255).all()
    tiles = overlay.masked(whole, "checkerboard", tile_um=1000)[..., 3]
    assert tiles.mean() == pytest.approx(255 / 2, rel=0.05)
    assert (tiles[:100, :100] == 255).all()
    assert (tiles[:100, 100:200] == 0).all()
    assert (tiles[100:200, 100:200] == 255).all()
    for where, columns in ((0.0, 0), (0.25, 162), (1.0, 650), (7.0, 650)):
        left = overlay.masked(whole, "swipe", swipe=where)[..., 3]
        assert (left[:, :columns] == 255).all()
        assert (left[:, columns:] == 0).all()


def test_another_picture_of_the_msi() -> None:
    overlay = Overlay(stained(), measured(), Affine(MATRIX))
    before = overlay.warped()
    red = np.zeros((67, 65, 4), dtype=np.uint8)
    red[..., [0, 3]] = 255
    overlay.show(View(red, np.array([[100.0, 0, 45], [0, 96, 54], [0, 0, 1]]), "red"))
    after = overlay.warped()
    assert set(map(tuple, np.unique(after.reshape(-1, 4), axis=0).tolist())) == {(0, 0, 0, 0), (255, 0, 0, 255)}
    assert ((after[..., 3] > 0) >= (before[..., 3] > 0)).all()


def test_where_a_transform_has_no_answer_nothing_is_drawn() -> None:
    # A landmark dragged across its neighbours folds the spline.
    moving = np.array([[0, 0], [6000, 0], [0, 6000], [6000, 6000], [3000, 3000], [3300, 3000]], dtype=float)
    fixed = moving.copy()
    fixed[4] += [900, 0]
    spline = ThinPlateSpline.fit(moving, fixed)
    # Colours say column and row, and nothing is missing: what is transparent has no answer.
    row, column = np.mgrid[:140, :140].astype(np.uint8)
    colours = np.dstack([column, row, 0 * row, 0 * row + 255])
    whole = View(colours, np.array([[50.0, 0, -200], [0, 50, -200], [0, 0, 1]]), "places")
    overlay = Overlay(stained(), whole, spline)
    picture = overlay.warped()
    places = np.stack(np.meshgrid(np.arange(0, 1000, 4), np.arange(0, 1000, 4)), axis=-1).reshape(-1, 2)
    column, row = pixel_under(overlay, whole, places)
    lost = ~np.isfinite(column)
    shown = picture[places[:, 1], places[:, 0]]
    assert 0.01 < lost.mean() < 0.2
    assert (shown[lost, 3] == 0).mean() > 0.8
    # What is filled in stays in the fold: around it, colours are those of the places.
    fold = places[lost]
    away = (places < fold.min(axis=0) - 30).any(axis=1) | (places > fold.max(axis=0) + 30).any(axis=1)
    away &= (np.minimum(column, row) > 1) & (np.maximum(column, row) < 138)
    assert away.mean() > 0.7
    off = np.hypot(shown[away, 0] - column[away], shown[away, 1] - row[away])
    assert (shown[away, 3] == 255).all()
    assert np.quantile(off, 0.99) < 0.75  # rounding to a pixel alone makes 0.71
    assert off.max() < 3  # beside the fold, the map is steep


def test_values_to_colours() -> None:
    view = View(np.array([[0, 5, 10, 20, np.nan]], dtype=np.float32), np.eye(3), "x", (0.0, 10.0))
    colours = rgba_of(view, "gray")
    assert colours[0, :, 0].tolist() == [0, 128, 255, 255, 0]
    assert colours[0, :, 3].tolist() == [255, 255, 255, 255, 0]
    rgb = View(np.full((2, 2, 3), 7, dtype=np.uint8), np.eye(3), "x")
    assert rgba_of(rgb).tolist() == [[[7, 7, 7, 255]] * 2] * 2
