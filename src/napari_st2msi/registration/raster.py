"""Values of spots or pixels as an image, whatever geometry they have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import GeometryProblem
from napari_st2msi.features.blocks import squares
from napari_st2msi.grid import Grid
from napari_st2msi.shapes import Outlines

#: An image has at most so many pixels along its longer side, unless the pitch is given.
_LONGEST = 2048


def rasterise(
    outlines: Outlines, values: NDArray[np.floating], pitch_um: float | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Draw values of spots or pixels as an image: each place takes the value of the nearest centre.

    Pixels on a regular grid are drawn as they are when no pitch is asked for. Otherwise a place farther
    from every centre than about one distance between neighbours is empty.

    Parameters
    ----------
    outlines
        Spots or pixels in µm.
    values
        (n,) or (n, k): one or k values each.
    pitch_um
        Distance between pixels of the image; None: the grid's own, or half the distance between
        neighbouring centres.

    Returns
    -------
    image
        (h, w) or (h, w, k) float32, NaN where nothing is.
    to_um
        (3, 3) float64: (column, row, 1) to (x, y, 1) in µm; centres of pixels lie at integers.

    Raises
    ------
    GeometryProblem
        There is nothing to draw, or a position is not a number.
    """
    from scipy.spatial import cKDTree

    values = np.asarray(values, dtype=np.float32)
    centres = np.asarray(outlines.centres, dtype=np.float64)
    if not len(centres) or not np.isfinite(centres).all():
        raise GeometryProblem("There are no positions to draw. Check the coordinates of the table.")
    grid = Grid.from_points(centres) if pitch_um is None else None
    apart = neighbour_distance(centres) or outlines.diameter or 1.0
    # A hexagonal lattice lies on a grid too, of which every other node is empty.
    if grid is not None and apart < 1.1 * max(grid.pitch):
        image = np.full((*grid.index.shape, *values.shape[1:]), np.nan, dtype=np.float32)
        measured = grid.index >= 0
        image[measured] = values[grid.index[measured]]
        return image, grid.to_um
    tree = cKDTree(centres)
    # Of a square lattice the farthest place is 0.71 distances away, of a hexagonal one 0.58.
    reach = max(0.75 * apart, 0.75 * (outlines.diameter or 0.0))
    low, high = centres.min(axis=0) - reach, centres.max(axis=0) + reach
    step = pitch_um if pitch_um is not None else max(apart / 2, float((high - low).max()) / _LONGEST)
    size = np.maximum(1, np.ceil((high - low) / step).astype(int))
    columns, rows = (start + step * (np.arange(count) + 0.5) for start, count in zip(low, size, strict=True))
    places = np.stack(np.meshgrid(columns, rows), axis=-1)
    distance, nearest = tree.query(places, distance_upper_bound=reach)
    found = np.isfinite(distance)
    image = np.full((*places.shape[:2], *values.shape[1:]), np.nan, dtype=np.float32)
    image[found] = values[nearest[found]]
    to_um = np.array([[step, 0, columns[0]], [0, step, rows[0]], [0, 0, 1]], dtype=np.float64)
    return image, to_um


def neighbour_distance(xy: NDArray[np.floating]) -> float:
    """Return the median distance to the nearest other of (n, 2) points; 0 for a lone one."""
    from scipy.spatial import cKDTree

    if len(xy) < 2:
        return 0.0
    some = xy[:: max(1, len(xy) // 20_000)]
    return float(np.median(cKDTree(xy).query(some, k=2)[0][:, 1]))


def binned(xy: NDArray[np.floating], side: float) -> NDArray[np.int64]:
    """Return (n,) which square of a given side each of (n, 2) points lies in, counted over those that are not empty."""
    return squares(np.asarray(xy, dtype=np.float64), np.zeros(len(xy)), side)


def bin_means(values: NDArray[np.floating], square: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (squares, k) means of (n, k) values over the points of each square."""
    sums = np.column_stack([np.bincount(square, weights=column) for column in values.T])
    return np.asarray(sums / np.bincount(square)[:, None])
