"""Images of spots and pixels of any geometry."""

from __future__ import annotations

import numpy as np
import pytest

from napari_st2msi.errors import GeometryProblem
from napari_st2msi.registration.raster import bin_means, binned, neighbour_distance, rasterise
from napari_st2msi.shapes import Outlines, squares


def centres_of(image: np.ndarray, to_um: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(np.isfinite(image))
    return np.column_stack([columns, rows]) @ to_um[:2, :2].T + to_um[:2, 2]


def test_a_grid_is_drawn_as_it_is() -> None:
    x, y = np.meshgrid(np.arange(5), np.arange(3))
    xy = np.column_stack([x.ravel() * 50.0 + 7, y.ravel() * 30.0 - 4])
    image, to_um = rasterise(Outlines(xy, corners=squares(xy, (50, 30))), np.arange(15.0))
    assert image.tolist() == np.arange(15.0).reshape(3, 5).tolist()
    np.testing.assert_allclose(to_um, [[50, 0, 7], [0, 30, -4], [0, 0, 1]], atol=1e-9)


def test_a_hexagonal_lattice_has_no_holes() -> None:
    row, column = np.divmod(np.arange(200), 20)
    xy = np.column_stack([100.0 * column + 50 * (row % 2), 100 * np.sqrt(3) / 2 * row])
    image, to_um = rasterise(Outlines(xy, radius=np.full(200, 27.5)), xy)
    assert np.isfinite(image[4:-4, 4:-4]).all()
    # Each place has the values of the nearest centre: here its coordinates, so it is never far off.
    np.testing.assert_allclose(image[np.isfinite(image[..., 0])], centres_of(image[..., 0], to_um), atol=0.75 * 100)


def test_scattered_points_and_a_pitch() -> None:
    xy = np.random.default_rng(0).uniform(0, 1000, (400, 2))
    image, to_um = rasterise(Outlines(xy), xy[:, 0], pitch_um=25)
    assert to_um[0, 0] == 25
    assert np.abs(image[np.isfinite(image)] - centres_of(image, to_um)[:, 0]).max() < neighbour_distance(xy)


def test_nothing_to_draw_is_said() -> None:
    with pytest.raises(GeometryProblem, match="no positions"):
        rasterise(Outlines(np.zeros((0, 2))), np.zeros(0))
    with pytest.raises(GeometryProblem, match="no positions"):
        rasterise(Outlines(np.array([[np.nan, 0.0]])), np.zeros(1))


def test_points_of_a_square_are_taken_together() -> None:
    xy = np.array([[-5.0, 3], [-1, 4], [26, 3], [-4, 40]])
    square = binned(xy, 10.0)
    assert square[0] == square[1]
    assert sorted(set(square.tolist())) == [0, 1, 2]
    means = bin_means(np.column_stack([xy, [1.0, 3, 5, 7]]), square)
    np.testing.assert_allclose(means[square], [[-3, 3.5, 2], [-3, 3.5, 2], [26, 3, 5], [-4, 40, 7]])
