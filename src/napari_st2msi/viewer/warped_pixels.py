"""Bent MSI pixels as an image: a fine grid that says of each of its cells which pixel lies there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.grid import Grid
from napari_st2msi.shapes import Outlines

#: An image of bent pixels has about so many cells: as many as are recoloured within a few ms.
_CELLS = 600_000
#: A pixel is drawn by at most so many cells along its side, and the image never has more along its own.
_FINEST = 8
_LONGEST = 4096
#: Pairs of cell and pixel that are looked at together.
_CHUNK = 1_000_000


def straightened(outlines: Outlines, to_um: NDArray[np.float64]) -> Outlines:
    """Return outlines over the ST as seen before a (3, 3) affine: what an affine says of them is taken out."""
    back = np.linalg.inv(to_um)
    corners = outlines.corners
    return Outlines(
        outlines.centres @ back[:2, :2].T + back[:2, 2],
        corners=None if corners is None else corners @ back[:2, :2].T + back[:2, 2],
    )


def cells_of(corners: NDArray[np.float64], pitch: tuple[float, float]) -> Grid:
    """Return the fine grid of bent pixels.

    Parameters
    ----------
    corners
        (n, k, 2) in µm.
    pitch
        Width and height of a pixel in µm, were it not bent.

    Returns
    -------
    A grid whose index says which pixel covers the centre of each cell, -1 for none; of several the last.
    """
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    size = np.asarray(pitch, dtype=float)
    nodes = float(np.prod((high - low) / size + 1))
    finer = float(np.clip(np.floor(np.sqrt(_CELLS / nodes)), 1, _FINEST))
    cell = np.maximum(size / finer, (high - low) / _LONGEST)
    # Where the tissue folds, pixels may be flung far out: the image then is as coarse as it must.
    cell *= max(1.0, float(np.sqrt(np.prod((high - low) / cell) / (4 * _CELLS))))
    columns, rows = np.maximum(np.ceil((high - low) / cell), 1).astype(int)
    origin = low + cell / 2
    index = np.full((rows, columns), -1, dtype=np.int64)
    _draw(index, (corners - origin) / cell)
    return Grid(index, np.array([[cell[0], 0, origin[0]], [0, cell[1], origin[1]], [0, 0, 1]]))


def _draw(index: NDArray[np.int64], corners: NDArray[np.float64]) -> None:
    """Write the number of each polygon into the cells whose centre it covers (even-odd rule)."""
    rows, columns = index.shape
    first = np.ceil(corners.min(axis=1)).astype(np.int64).clip(0)
    last = np.floor(corners.max(axis=1)).astype(np.int64).clip(max=[columns - 1, rows - 1])
    width, height = np.maximum(last - first + 1, 0).T
    count = width * height
    until = np.cumsum(count)
    start = 0
    while start < len(corners):
        before = until[start] - count[start]
        stop = max(start + 1, int(np.searchsorted(until, before + _CHUNK, side="right")))
        owner = np.repeat(np.arange(start, stop), count[start:stop])
        number = np.arange(len(owner)) + before - (until - count)[owner]
        column, row = first[owner, 0] + number % width[owner], first[owner, 1] + number // width[owner]
        inside = np.zeros(len(owner), dtype=bool)
        for here in range(corners.shape[1]):
            (ax, ay), (bx, by) = corners[owner, here - 1].T, corners[owner, here].T
            with np.errstate(divide="ignore", invalid="ignore"):
                at = ax + (row - ay) * (bx - ax) / (by - ay)
            inside ^= ((ay > row) != (by > row)) & (column < at)
        index[row[inside], column[inside]] = owner[inside]
        start = stop
