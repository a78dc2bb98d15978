"""Weights between spots and pixels, every method."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from napari_st2msi.errors import GeometryProblem
from napari_st2msi.pairing import weights as module
from napari_st2msi.pairing.weights import overlap_areas, pair_weights
from napari_st2msi.progress import Cancelled, Progress
from napari_st2msi.recipe import Pairing
from napari_st2msi.shapes import Outlines, squares


def grid(columns: int, rows: int, pitch: float = 10.0) -> np.ndarray:
    x, y = np.meshgrid(np.arange(columns), np.arange(rows))
    return np.column_stack([x.ravel(), y.ravel()]) * pitch


def pixels_of(centres: np.ndarray, side: float = 10.0) -> Outlines:
    return Outlines(centres, corners=squares(centres, side))


def discs(centres: object, radius: float) -> Outlines:
    centres = np.atleast_2d(np.asarray(centres, dtype=float))
    return Outlines(centres, radius=np.full(len(centres), radius))


def test_discs_over_sheared_pixels_agree_with_shapely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 37)  # so that there are many chunks
    rng = np.random.default_rng(0)
    matrix = np.array([[0.9, 0.25], [-0.3, -1.05]])
    own = grid(20, 18)
    pixels = Outlines(own @ matrix.T, corners=squares(own, 10.0) @ matrix.T)
    low, high = pixels.centres.min(axis=0) - 15, pixels.centres.max(axis=0) + 15
    centres = rng.uniform(low, high, (60, 2))
    radius = rng.uniform(3, 18, 60)
    ours = overlap_areas(Outlines(centres, radius=radius), pixels).toarray()
    spots = np.array(
        [shapely.buffer(shapely.Point(c), r, quad_segs=4000) for c, r in zip(centres, radius, strict=True)]
    )
    exact = shapely.area(shapely.intersection(spots[:, None], shapely.polygons(pixels.corners)[None, :]))
    # The polygon that stands for a disc lacks 3e-8 of its area.
    np.testing.assert_allclose(ours, exact, atol=1e-6 * np.pi * radius.max() ** 2)
    assert ((ours > 0) == (exact > 1e-6)).all()


def test_cells_agree_with_shapely() -> None:
    rng = np.random.default_rng(1)
    angle = np.sort(rng.uniform(0, 2 * np.pi, (40, 7)), axis=1)
    centres = rng.uniform(10, 90, (40, 1, 2))
    corners = centres + 8 * np.stack([np.cos(angle), np.sin(angle)], axis=2)
    corners[:10, -2:] = corners[:10, -3:-2]  # cells with fewer corners repeat their last
    cells = Outlines(corners.mean(axis=1), corners=corners)
    pixels = pixels_of(grid(10, 10))
    ours = overlap_areas(cells, pixels).toarray()
    exact = shapely.area(
        shapely.intersection(shapely.polygons(corners)[:, None], shapely.polygons(pixels.corners)[None, :])
    )
    np.testing.assert_allclose(ours, exact, atol=1e-6)


def test_areas_add_up() -> None:
    """Pixels without gaps share out a spot's whole area; spots within a pixel never exceed it."""
    pixels = pixels_of(grid(30, 30))
    spots = discs(np.random.default_rng(2).uniform(50, 240, (100, 2)), 27.5)
    areas = overlap_areas(spots, pixels)
    np.testing.assert_allclose(np.asarray(areas.sum(axis=1)).ravel(), spots.area)
    assert areas.max() <= 100 * (1 + 1e-12)
    assert areas.dtype == np.float64
    assert areas.has_sorted_indices


def test_a_pixel_that_only_touches_is_no_pixel() -> None:
    areas = overlap_areas(discs([0, 0], 5.0), pixels_of(grid(3, 1)))
    assert areas.indices.tolist() == [0]


def test_sum_is_the_share_of_the_pixel() -> None:
    pixels = pixels_of(grid(4, 4))
    spots = discs([[10, 10], [22, 17]], 14.0)
    shares = pair_weights(spots, pixels, Pairing(method="sum"))
    np.testing.assert_allclose(shares.toarray(), overlap_areas(spots, pixels).toarray() / 100)
    assert shares[0, 5] == pytest.approx(1.0)  # the pixel in the middle lies wholly inside


def test_radius_counts_centres() -> None:
    spots = discs([[0, 0], [15, 0], [500, 0]], 1.0)
    weights = pair_weights(spots, Outlines(grid(4, 1)), Pairing(method="radius", radius_um=10.0))
    assert weights.toarray().tolist() == [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]


def test_nearest_stays_within_reach() -> None:
    spots = Outlines(np.array([[1.0, 0.0], [45.0, 0.0], [46.0, 0.0]]))
    weights = pair_weights(spots, pixels_of(grid(4, 1)), Pairing(method="nearest", k=2))
    # One and a half pixels of 10 µm: exactly 15 µm counts, 16 µm does not.
    assert weights.toarray().tolist() == [[1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
    farther = pair_weights(spots, pixels_of(grid(4, 1)), Pairing(method="nearest", k=2, max_distance_um=100))
    assert (np.diff(farther.indptr) == 2).all()
    more = pair_weights(spots, pixels_of(grid(4, 1)), Pairing(method="nearest", k=50, max_distance_um=100))
    assert (np.diff(more.indptr) == 4).all()


def test_inverse_distance() -> None:
    spots = Outlines(np.array([[2.5, 0.0], [10.0, 0.0]]))
    weights = pair_weights(spots, pixels_of(grid(3, 1)), Pairing(method="inverse_distance", k=2)).toarray()
    np.testing.assert_allclose(weights[0], [1 / 2.5, 1 / 7.5, 0])
    assert weights[1, 1] == pytest.approx(1 / 0.15)  # on the centre: the floor, not infinity


def test_points_have_no_area() -> None:
    with pytest.raises(GeometryProblem, match="spot diameter"):
        overlap_areas(Outlines(grid(2, 2)), pixels_of(grid(2, 2)))
    with pytest.raises(GeometryProblem, match="pixel size"):
        overlap_areas(discs(grid(2, 2), 5), Outlines(grid(2, 2)))


def test_far_too_many_pairs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_PAIRS", 1000)
    with pytest.raises(GeometryProblem, match="units"):
        overlap_areas(discs(grid(10, 10), 1000.0), pixels_of(grid(10, 10)))


@pytest.mark.parametrize("method", ["overlap", "sum", "radius", "nearest", "inverse_distance"])
def test_stops_when_cancelled_and_says_how_far(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 50)
    spots, pixels, choices = discs(grid(10, 10), 12.0), pixels_of(grid(10, 10)), Pairing(method=method)
    seen: list[float] = []
    pair_weights(spots, pixels, choices, progress=Progress(lambda fraction, _: seen.append(fraction)))
    assert len(seen) > 3
    assert seen == sorted(seen)
    assert 0 <= seen[0] <= seen[-1] <= 1
    with pytest.raises(Cancelled):
        pair_weights(spots, pixels, choices, cancelled=lambda: True)
