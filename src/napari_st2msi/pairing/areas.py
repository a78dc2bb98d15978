"""Exact areas that spots and pixels share, for many pairs at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def disc_polygon_area(
    centres: NDArray[np.float64], radius: NDArray[np.float64], corners: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the area that each disc shares with the polygon beside it, in closed form.

    Every edge of the polygon spans a triangle with the centre of the disc. Where the edge runs inside
    the disc the triangle counts, where it runs outside the circular sector does; the signed sum over
    all edges is the shared area, for convex polygons and others.

    Parameters
    ----------
    centres, radius
        (p, 2) and (p,) float64, the discs.
    corners
        (p, k, 2) float64, the polygons, either way round; repeated corners add nothing.

    Returns
    -------
    (p,) float64, in the square of the unit given.
    """
    start = corners - centres[:, None, :]
    edge = np.roll(start, -1, axis=1) - start
    squared = radius[:, None] ** 2

    # Where the line through the edge enters and leaves the disc, in parts of the edge (0 to 1).
    length = _dot(edge, edge)
    half = _dot(start, edge)
    root = half**2 - length * (_dot(start, start) - squared)
    root = np.sqrt(np.maximum(root, 0))
    some = length > 0
    enters = np.clip(np.divide(-half - root, length, out=np.zeros_like(half), where=some), 0, 1)
    leaves = np.clip(np.divide(-half + root, length, out=np.zeros_like(half), where=some), 0, 1)

    end = start + edge
    into = start + enters[..., None] * edge
    out = start + leaves[..., None] * edge
    sectors = squared * (_angle(start, into) + _angle(out, end))
    area = 0.5 * np.abs((sectors + _cross(into, out)).sum(axis=1))
    return np.asarray(area, dtype=np.float64)


def polygon_polygon_area(left: NDArray[np.object_], right: NDArray[np.object_]) -> NDArray[np.float64]:
    """Return the area that each shapely polygon shares with the one beside it.

    Parameters
    ----------
    left, right
        (p,) arrays of shapely geometries.
    """
    import shapely

    return np.asarray(shapely.area(shapely.intersection(left, right)), dtype=np.float64)


def as_polygons(corners: NDArray[np.float64]) -> NDArray[np.object_]:
    """Return (n, k, 2) corners as shapely polygons; outlines that cross themselves are mended."""
    import shapely

    polygons = np.asarray(shapely.polygons(corners), dtype=object)
    crossed = ~shapely.is_valid(polygons)
    polygons[crossed] = shapely.make_valid(polygons[crossed])
    return polygons


def _dot(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1])


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])


def _angle(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the signed angle from `a` to `b` seen from the origin; 0 where either is the origin."""
    return np.arctan2(_cross(a, b), _dot(a, b))
