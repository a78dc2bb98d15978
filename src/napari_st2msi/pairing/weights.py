"""Weights between spots and pixels: how much of each pixel goes into each spot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import GeometryProblem
from napari_st2msi.pairing.areas import as_polygons, disc_polygon_area, polygon_polygon_area
from napari_st2msi.progress import Progress, check, never
from napari_st2msi.recipe import Pairing
from napari_st2msi.shapes import Outlines

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from scipy.spatial import cKDTree

#: Methods that share out areas; the others look at centres only.
BY_AREA = ("overlap", "sum")
#: Pairs looked at together: keeps the temporary arrays near 50 MB.
_CHUNK = 100_000
#: More pairs than this come from mistaken units, not from tissue; they would fill the memory.
_MOST_PAIRS = 100_000_000
#: A shared area below this part of the pixel is rounding at a common edge.
_ROUNDING = 1e-9


def pair_weights(
    spots: Outlines,
    pixels: Outlines,
    choices: Pairing,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> csr_matrix:
    """Return the weight of every pixel in every spot, by the method of the choices.

    ==================  ===========================================================================
    overlap             area shared by spot and pixel, µm²
    sum                 that area as a share of the pixel's, 0 to 1
    radius              1 for pixels whose centre is within `radius_um` of the spot's
    nearest             1 for the `k` nearest pixels within `max_distance_um`
    inverse_distance    1 / distance in µm to the same pixels (Shepard 1968,
                        doi:10.1145/800186.810616); distances below a hundredth of `max_distance_um`
                        count as that
    ==================  ===========================================================================

    Parameters
    ----------
    spots, pixels
        Outlines in one frame, µm. For overlap and sum both must have an extent.
    choices
        Method and its settings; coverage plays no part here.

    Returns
    -------
    (spots, pixels) CSR float64 with sorted indices and no stored zeros.

    Raises
    ------
    GeometryProblem
        Spots or pixels without an extent where areas are needed, or far too many pairs.
    """
    from scipy.sparse import diags

    if choices.method in BY_AREA:
        weights = overlap_areas(spots, pixels, progress=progress, cancelled=cancelled)
        return weights if choices.method == "overlap" else (weights @ diags(1 / pixels.area)).tocsr()
    if choices.method == "radius":
        return _within(spots, pixels, choices.radius_um, progress, cancelled)
    return _nearest(spots, pixels, choices, progress, cancelled)


def overlap_areas(
    spots: Outlines,
    pixels: Outlines,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> csr_matrix:
    """Return the exact area in µm² that every spot shares with every pixel.

    Spots are discs (closed form) or polygons (by shapely), pixels polygons.

    Returns
    -------
    (spots, pixels) CSR float64.

    Raises
    ------
    GeometryProblem
        A spot or pixel has no extent, or far too many pairs.
    """
    if spots.radius is None and spots.corners is None:
        raise GeometryProblem(
            "The spots are mere points, so they share no area with pixels. Give the spot diameter in µm, "
            "or pair by radius, nearest or inverse_distance."
        )
    if pixels.corners is None:
        raise GeometryProblem(
            "The MSI pixels have no outlines, so they share no area with spots. Open the MSI again with the "
            "pixel size in µm, or pair by radius, nearest or inverse_distance."
        )
    if spots.corners is not None:
        cells, squares = as_polygons(spots.corners), as_polygons(pixels.corners)
    spot_reach, pixel_reach = _reach(spots), _reach(pixels)
    tree, farthest = _tree(pixels.centres), float(pixel_reach.max(initial=0))
    parts = []
    for i, j, distance in _pairs(tree, spots.centres, spot_reach + farthest, progress, cancelled):
        near = distance < spot_reach[i] + pixel_reach[j]
        i, j = i[near], j[near]
        if spots.radius is not None:
            area = disc_polygon_area(spots.centres[i], spots.radius[i], pixels.corners[j])
        else:
            area = polygon_polygon_area(cells[i], squares[j])
        shared = area > _ROUNDING * pixels.area[j]
        parts.append((i[shared], j[shared], area[shared]))
    return _csr(parts, len(spots), len(pixels))


def pixel_side(pixels: Outlines) -> float:
    """Return the side of a typical pixel in µm; of mere points, their usual distance."""
    if pixels.diameter is not None:
        return pixels.diameter
    if len(pixels) < 2:
        raise GeometryProblem("The size of the only MSI pixel is unknown. Give the pixel size in µm.")
    distance, _ = _tree(pixels.centres).query(pixels.centres, k=2)
    return float(np.median(distance[:, 1]))


def _within(
    spots: Outlines, pixels: Outlines, radius: float, progress: Progress, cancelled: Callable[[], bool]
) -> csr_matrix:
    reach = np.full(len(spots), radius)
    parts = [
        (i, j, np.ones(len(i))) for i, j, _ in _pairs(_tree(pixels.centres), spots.centres, reach, progress, cancelled)
    ]
    return _csr(parts, len(spots), len(pixels))


def _nearest(
    spots: Outlines, pixels: Outlines, choices: Pairing, progress: Progress, cancelled: Callable[[], bool]
) -> csr_matrix:
    farthest = choices.max_distance_um or 1.5 * pixel_side(pixels)
    # The tree looks strictly below its bound; a pixel just at the distance counts.
    bound = np.nextafter(farthest, np.inf)
    tree = _tree(pixels.centres)
    step = max(1, _CHUNK // choices.k)
    parts = []
    for start in range(0, len(spots), step):
        check(cancelled)
        progress(start / len(spots), "Finding the nearest pixels")
        distance, pixel = tree.query(
            spots.centres[start : start + step], k=range(1, choices.k + 1), distance_upper_bound=bound
        )
        spot, rank = np.nonzero(np.isfinite(distance))
        found = distance[spot, rank]
        weight = np.ones(len(found)) if choices.method == "nearest" else 1 / np.maximum(found, farthest / 100)
        parts.append((spot + start, pixel[spot, rank], weight))
    return _csr(parts, len(spots), len(pixels))


def _pairs(
    tree: cKDTree,
    xy: NDArray[np.float64],
    reach: NDArray[np.float64],
    progress: Progress,
    cancelled: Callable[[], bool],
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]:
    """Yield (spot, pixel, distance) of all pairs within each spot's reach, a bounded number at a time."""
    from scipy.spatial import cKDTree

    check(cancelled)
    expected = np.cumsum(tree.query_ball_point(xy, reach, return_length=True))
    if len(xy) and expected[-1] > _MOST_PAIRS:
        raise GeometryProblem(
            f"On average {expected[-1] / len(xy):,.0f} pixels would feed each spot, {expected[-1]:,} pairs in all. "
            "The units look mistaken: check the pixel size, the spot diameter and the radius in µm."
        )
    start = 0
    while start < len(xy):
        check(cancelled)
        progress(start / len(xy), "Finding pixels under spots")
        before = expected[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(expected, before + _CHUNK, side="right")))
        here = slice(start, stop)
        found = cKDTree(xy[here]).sparse_distance_matrix(tree, float(reach[here].max()), output_type="ndarray")
        inside = found["v"] <= reach[here][found["i"]]
        yield found["i"][inside] + start, found["j"][inside], found["v"][inside]
        start = stop


def _tree(xy: NDArray[np.float64]) -> cKDTree:
    from scipy.spatial import cKDTree

    return cKDTree(xy)


def _reach(outlines: Outlines) -> NDArray[np.float64]:
    """Return how far each outline reaches from its centre."""
    if outlines.radius is not None:
        return outlines.radius
    assert outlines.corners is not None
    return np.asarray(np.linalg.norm(outlines.corners - outlines.centres[:, None], axis=2).max(axis=1))


def _csr(
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]], n_spots: int, n_pixels: int
) -> csr_matrix:
    from scipy.sparse import csr_matrix

    if not parts:
        return csr_matrix((n_spots, n_pixels), dtype=np.float64)
    spot, pixel, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    weights = csr_matrix((weight.astype(np.float64), (spot, pixel)), shape=(n_spots, n_pixels))
    weights.sort_indices()
    return weights
