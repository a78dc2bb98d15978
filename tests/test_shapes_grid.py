"""Outlines and grids: plain arrays in micrometres."""

from __future__ import annotations

import geopandas
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as some
from spatialdata.models import PointsModel, ShapesModel

from napari_st2msi.errors import DataProblem, GeometryProblem
from napari_st2msi.grid import Grid
from napari_st2msi.shapes import Outlines, outlines_of, squares


def test_a_grid_is_found_whatever_the_order_and_the_gaps() -> None:
    rng = np.random.default_rng(0)
    xy = np.stack(np.meshgrid(np.arange(7), np.arange(5)), axis=-1).reshape(-1, 2) * [30.0, 50.0] + [15, 25]
    kept = rng.permutation(len(xy))[:25]
    grid = Grid.from_points(xy[kept] + rng.normal(0, 0.2, (25, 2)))
    assert grid is not None
    assert grid.pitch == pytest.approx((30, 50), rel=0.02)
    values = np.arange(25.0)
    image = grid.image(values)
    assert image.dtype == np.float32
    assert np.isnan(image).sum() == image.size - 25
    rows, columns = np.nonzero(grid.index >= 0)
    found = np.column_stack([columns, rows, np.ones(25)]) @ grid.to_um.T
    np.testing.assert_allclose(found[:, :2], xy[kept][grid.index[rows, columns]], atol=2)


@pytest.mark.parametrize(
    "xy",
    [
        np.random.default_rng(1).random((200, 2)),
        np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]]),
        np.empty((0, 2)),
        np.array([[0.0, np.nan]]),
    ],
    ids=["scattered", "two on one node", "none", "NaN"],
)
def test_what_is_no_grid_is_not_called_one(xy: np.ndarray) -> None:
    assert Grid.from_points(xy) is None


def test_a_single_row_takes_its_height_from_its_width() -> None:
    grid = Grid.from_points(np.column_stack([np.arange(4) * 20.0, np.zeros(4)]))
    assert grid is not None
    assert grid.index.shape == (1, 4)
    assert grid.pitch == pytest.approx((20, 20))


def test_a_moved_grid_moves_its_pixels() -> None:
    grid = Grid(np.zeros((1, 1), dtype=np.int64), np.diag([50.0, 50, 1]))
    turned = grid.moved(np.array([[0.0, -1, 7], [1, 0, 0], [0, 0, 1]]))
    np.testing.assert_allclose(turned.to_um @ [1, 0, 1], [7, 50, 1])
    assert turned.pitch == pytest.approx((50, 50))


def test_polygons_with_different_numbers_of_corners_keep_their_areas() -> None:
    triangle, hexagon = shapely.Polygon([(0, 0), (4, 0), (0, 3)]), shapely.Point(9, 9).buffer(2, quad_segs=8)
    frame = ShapesModel.parse(geopandas.GeoDataFrame(geometry=[triangle, hexagon], index=[10, 20]))
    outlines = outlines_of(frame, np.array([20, 10]), np.diag([2.0, 2, 1]), name="cells")
    np.testing.assert_allclose(outlines.area, [4 * hexagon.area, 24])
    np.testing.assert_allclose(outlines.centres[0], [18, 18])


def test_centres_of_polygons_are_their_centroids() -> None:
    rng = np.random.default_rng(3)
    angle = np.sort(rng.uniform(0, 2 * np.pi, (30, 6)), axis=1)
    stars = 4e5 + rng.uniform(1, 9, (30, 6, 1)) * np.stack([np.cos(angle), np.sin(angle)], axis=2)
    shapes = [shapely.Polygon(star[: 3 + i % 4]) for i, star in enumerate(stars)]
    shapes.append(shapely.Polygon([(0, 0), (9, 0), (9, 9), (0, 9)], [[(1, 1), (2, 1), (2, 2)]]))
    shapes.append(shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(3, 0, 4, 1)]))
    shapes.append(shapely.Polygon([(5, 5), (7, 5), (9, 5)]))  # no area: the middle of its extent
    element = ShapesModel.parse(geopandas.GeoDataFrame(geometry=shapes))
    outlines = outlines_of(element, np.arange(33), np.eye(3), name="cells")
    expected = shapely.get_coordinates([shapely.centroid(shape) for shape in shapes])
    np.testing.assert_allclose(outlines.centres[:30], expected[:30], atol=1e-8)
    # Holes are filled and several pieces stood for by their hull.
    np.testing.assert_allclose(outlines.centres[30:], [[4.5, 4.5], [2, 0.5], [7, 5]], atol=1e-12)
    np.testing.assert_allclose(outlines.area[30:], [81, 4, 0])


def test_discs_scale_with_their_transformation() -> None:
    frame = ShapesModel.parse(np.array([[1.0, 2.0]]), geometry=0, radius=10.0)
    outlines = outlines_of(frame, np.array([0]), np.array([[0.0, -0.5, 0], [0.5, 0, 0], [0, 0, 1]]), name="spots")
    assert outlines.diameter == pytest.approx(10)
    np.testing.assert_allclose(outlines.centres, [[-1, 0.5]])


def test_discs_are_not_silently_made_ellipses() -> None:
    frame = ShapesModel.parse(np.array([[1.0, 2.0]]), geometry=0, radius=10.0)
    with pytest.raises(GeometryProblem, match="would become ellipses"):
        outlines_of(frame, np.array([0]), np.diag([1.0, 1.5, 1]), name="spots")


def test_a_table_that_belongs_elsewhere_is_noticed() -> None:
    frame = PointsModel.parse(np.arange(6.0).reshape(3, 2))
    with pytest.raises(DataProblem, match="1 of 2 rows of the table have no counterpart"):
        outlines_of(frame, np.array([0, 7]), np.eye(3), name="spots")
    points = outlines_of(frame, np.array([2]), np.eye(3), name="spots")
    assert points.diameter is None
    assert np.isnan(points.area).all()


@given(some.floats(0.1, 1e4), some.floats(0.1, 1e4))
def test_squares_have_the_area_of_their_sides(width: float, height: float) -> None:
    outlines = Outlines(np.zeros((1, 2)), corners=squares(np.zeros((1, 2)), (width, height)))
    np.testing.assert_allclose(outlines.area, width * height)
