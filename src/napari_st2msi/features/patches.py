"""Square pieces of a stained section around places, as small pictures that networks look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.features.picture import glass, pieces, three, view_of
from napari_st2msi.progress import Progress, check, never
from napari_st2msi.shapes import map_points

#: What clear glass is in a patch; brighter values are few and cut at 255.
GLASS = 250
# Spots looked at together.
_SPOTS = 128


def patches(
    levels: Sequence[Any],
    to_um: NDArray[np.floating],
    xy: NDArray[np.floating],
    reach: float,
    side: int,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
    """Yield patches, some at a time, for all places that lie on the picture.

    Patches lie along the axes in µm, however the picture was laid. Colours are relative to the section's own clear
    glass, which is `GLASS`; so is what lies beside the picture or is missing. The picture is read in pieces, at the
    coarsest of its levels that is fine enough.

    Parameters
    ----------
    levels
        (rows, columns, channels) arrays, full resolution first; they may be lazy.
    to_um
        (3, 3) affine from (column, row) of the full resolution, pixel centres at integers, to µm.
    xy
        (n, 2) places in µm.
    reach
        From a place to the sides of its patch, in µm.
    side
        Pixels along a patch.

    Yields
    ------
    spots
        (m,) positions in `xy`.
    seen
        (m, side, side, 3) uint8, from 1 to 255: red, green and blue.
    """
    pixel = 2 * reach / side
    view = view_of(levels, np.asarray(to_um, dtype=np.float64), pixel)
    at = view.pixels(xy)
    back = np.linalg.inv(view.to_um)
    along = (np.arange(side) + 0.5) * pixel - reach
    steps = np.stack(np.meshgrid(along, along), axis=-1).reshape(-1, 2)
    margin = int(np.abs(steps @ back[:2, :2].T).max()) + 2
    scale, clear = glass(levels[-1])
    gain = (scale * GLASS / np.maximum(clear, 1.0)).astype(np.float32)
    places = list(pieces(view, at, margin))
    for number, (rows, columns, spots) in enumerate(places):
        check(cancelled)
        progress(number / len(places), "histology")
        piece = np.nan_to_num(three(view.read(rows, columns)) * gain, nan=GLASS)
        piece = np.clip(np.rint(piece), 1, 255).astype(np.uint8)
        # One more pixel all around stands for what lies beside.
        piece = np.pad(piece, ((1, 1), (1, 1), (0, 0)), constant_values=GLASS)
        for start in range(0, len(spots), _SPOTS):
            check(cancelled)
            some = spots[start : start + _SPOTS]
            where = map_points(back, xy[some][:, None] + steps)
            column, row = np.floor(where + 1.5 - (columns.start, rows.start)).astype(np.int64).transpose(2, 0, 1)
            row, column = np.clip(row, 0, piece.shape[0] - 1), np.clip(column, 0, piece.shape[1] - 1)
            yield some, piece[row, column].reshape(-1, side, side, 3)
    progress(1.0, "histology")


def kept_patches(seen: Iterable[tuple[NDArray[np.int64], NDArray[np.uint8]]], n: int, side: int) -> NDArray[np.uint8]:
    """Return what `patches` yields of n places (n, side * side * 3) uint8; all 0 where one lies beside the picture."""
    found = np.zeros((n, side * side * 3), dtype=np.uint8)
    for spots, pictures in seen:
        found[spots] = pictures.reshape(len(spots), -1)
    return found
