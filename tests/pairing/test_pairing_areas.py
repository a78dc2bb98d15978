"""Shared areas against shapely and against answers known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from napari_st2msi.pairing.areas import as_polygons, disc_polygon_area, polygon_polygon_area

UNIT = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=float)


def one(radius: float, corners: np.ndarray, centre: tuple[float, float] = (0.0, 0.0)) -> float:
    return float(disc_polygon_area(np.array([centre]), np.array([radius]), np.asarray(corners, float)[None])[0])


@pytest.mark.parametrize(
    ("radius", "corners", "expected"),
    [
        (1.0, 5 * UNIT, np.pi),  # disc inside
        (5.0, UNIT, 4.0),  # polygon inside
        (1.0, UNIT, np.pi),  # touching all four sides
        (np.sqrt(2), UNIT, 4.0),  # through all four corners
        (1.0, UNIT + [1, 1], np.pi / 4),  # a corner at the centre
        (1.0, UNIT + [1, 0], np.pi / 2),  # an edge through the centre
        (1.0, UNIT + [2, 0], 0.0),  # touching from outside
        (1.0, UNIT + [9, 9], 0.0),  # far away
        (2.0, [[1, -9], [9, -9], [9, 9], [1, 9]], 4 * np.arccos(0.5) - np.sqrt(3)),  # a segment of the disc
        (1.0, [[0, 0], [0, 0], [0, 0], [0, 0]], 0.0),  # no polygon at all
    ],
)
def test_known_areas(radius: float, corners: np.ndarray, expected: float) -> None:
    assert one(radius, corners) == pytest.approx(expected, abs=1e-12)
    assert one(radius, np.asarray(corners)[::-1]) == pytest.approx(expected, abs=1e-12)


def test_repeated_corners_add_nothing() -> None:
    triangle = np.array([[0, 0], [2, 0], [0, 2]], dtype=float)
    assert one(1.2, triangle) == pytest.approx(one(1.2, triangle[[0, 1, 2, 2, 2]]), abs=1e-14)


def test_far_from_the_origin_nothing_is_lost() -> None:
    shift = np.array([3e5, -7e5])
    assert one(27.5, 50 * UNIT + shift + [20, 5], tuple(shift)) == pytest.approx(one(27.5, 50 * UNIT + [20, 5]))


def test_random_quads_agree_with_shapely() -> None:
    rng = np.random.default_rng(0)
    n = 150
    # Rotated, sheared, reflected squares around discs of radius 1.
    corners = UNIT @ rng.normal(0, 0.8, (n, 2, 2)) + rng.uniform(-1.5, 1.5, (n, 1, 2))
    ours = disc_polygon_area(np.zeros((n, 2)), np.ones(n), corners)
    # A polygon of 32,000 corners falls short of the disc's area by 2e-8.
    disc = shapely.buffer(shapely.Point(0, 0), 1.0, quad_segs=8000)
    exact = shapely.area(shapely.intersection(disc, shapely.polygons(corners)))
    assert (exact > 0).sum() > 100
    np.testing.assert_allclose(ours, exact, atol=1e-6)


def test_random_stars_agree_with_shapely() -> None:
    """Polygons that are not convex, with the centre of the disc inside and outside."""
    rng = np.random.default_rng(1)
    n, k = 60, 9
    angle = np.sort(rng.uniform(0, 2 * np.pi, (n, k)), axis=1)
    corners = rng.uniform(0.2, 2.0, (n, k, 1)) * np.stack([np.cos(angle), np.sin(angle)], axis=2)
    corners += rng.uniform(-1, 1, (n, 1, 2))
    polygons = shapely.polygons(corners)
    simple = shapely.is_valid(polygons)
    assert simple.sum() > 40
    ours = disc_polygon_area(np.zeros((n, 2)), np.full(n, 0.8), corners)[simple]
    disc = shapely.buffer(shapely.Point(0, 0), 0.8, quad_segs=8000)
    np.testing.assert_allclose(ours, shapely.area(shapely.intersection(disc, polygons[simple])), atol=1e-6)


def test_outlines_that_cross_themselves_are_mended() -> None:
    bow = np.array([[[0, 0], [2, 2], [2, 0], [0, 2]]], dtype=float)
    square = np.array([[[0, 0], [2, 0], [2, 2], [0, 2]]], dtype=float)
    assert polygon_polygon_area(as_polygons(bow), as_polygons(square))[0] == pytest.approx(2.0)
