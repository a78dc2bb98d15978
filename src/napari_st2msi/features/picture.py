"""A picture of a stained section at the resolution that is needed, read a piece at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.shapes import map_points

# Pixels of the picture along the side of a piece that is read at once; pixels to learn the colour of clear glass from.
_PIECE, _GLASS = 2048, 10**6


class View(NamedTuple):
    """One level of a picture, averaged down by a whole factor.

    Attributes
    ----------
    pixels_of
        (rows, columns, channels) of the level.
    factor
        How many pixels of the level along the side of one seen.
    to_um
        (3, 3) from (column, row) seen to µm.
    """

    pixels_of: Any
    factor: int
    to_um: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns seen."""
        rows, columns = (max(int(side) // self.factor, 1) for side in self.pixels_of.shape[:2])
        return rows, columns

    def pixels(self, xy: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return (n, 2) row and column of places in µm, −1 beside the picture."""
        back = np.linalg.inv(self.to_um)
        columns, rows = np.floor(map_points(back, xy) + 0.5).astype(np.int64).T
        inside = (rows >= 0) & (columns >= 0) & (rows < self.shape[0]) & (columns < self.shape[1])
        return np.where(inside[:, None], np.column_stack([rows, columns]), -1)

    def disc(self, radius: float) -> NDArray[np.int64]:
        """Return (m, 2) steps in rows and columns to the pixels whose centres are within a radius in µm."""
        linear = self.to_um[:2, :2]
        reach = int(np.ceil(radius / np.linalg.svd(linear, compute_uv=False).min()))
        rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
        near = np.linalg.norm(np.column_stack([columns, rows]) @ linear.T, axis=1) <= radius
        return np.column_stack([rows, columns])[near]

    def read(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        """Return (rows, columns, channels) float32, averaged down."""
        k = self.factor
        own = np.asarray(self.pixels_of[rows.start * k : rows.stop * k, columns.start * k : columns.stop * k])
        if k == 1:
            return own.astype(np.float32)
        tall, wide = (max(side // k, 1) for side in own.shape[:2])
        own = own[: tall * k, : wide * k]
        blocks = own.reshape(tall, own.shape[0] // tall, wide, own.shape[1] // wide, -1)
        return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float32))


def view_of(levels: Sequence[Any], to_um: NDArray[np.float64], pixel_um: float) -> View:
    """Return a picture with pixels as large as asked for, or somewhat smaller, or as they are.

    Parameters
    ----------
    levels
        (rows, columns, channels) arrays, full resolution first; they may be lazy.
    to_um
        (3, 3) affine from (column, row) of the full resolution, pixel centres at integers, to µm.
    """
    full = levels[0].shape
    sizes = [np.array([full[1] / level.shape[1], full[0] / level.shape[0]]) for level in levels]
    own = np.sqrt(abs(np.linalg.det(to_um[:2, :2])))
    level = max((n for n, size in enumerate(sizes) if own * size.max() <= pixel_um), default=0)
    factor = max(1, min(int(pixel_um / (own * sizes[level].max())), *levels[level].shape[:2]))
    step = sizes[level] * factor
    shift = (step - 1) / 2
    return View(levels[level], factor, to_um @ np.array([[step[0], 0, shift[0]], [0, step[1], shift[1]], [0, 0, 1]]))


def pieces(view: View, at: NDArray[np.int64], margin: int) -> Iterator[tuple[slice, slice, NDArray[np.int64]]]:
    """Yield the rows and columns to read, and the spots to see in them.

    Parameters
    ----------
    at
        (n, 2) row and column of each spot, −1 beside the picture.
    margin
        How many pixels around a spot are looked at.
    """
    side = max(_PIECE // view.factor - 2 * margin, margin)
    inside = np.flatnonzero(at[:, 0] >= 0)
    if not len(inside):
        return
    which, piece = np.unique(at[inside] // side, axis=0, return_inverse=True)
    for number, corner in enumerate(which * side):
        rows, columns = (
            slice(max(int(start) - margin, 0), min(int(start) + side + margin, size))
            for start, size in zip(corner, view.shape, strict=True)
        )
        yield rows, columns, inside[piece.ravel() == number]


def glass(coarsest: Any) -> tuple[float, NDArray[np.float32]]:
    """Return what brings values to 0 … 255, and the colour of clear glass on that scale."""
    stride = max(1, int(np.ceil(np.sqrt(coarsest.shape[0] * coarsest.shape[1] / _GLASS))))
    some = np.asarray(coarsest[::stride, ::stride])
    scale = 1.0 if some.dtype == np.uint8 else 255.0 / max(float(np.nanmax(some)), 1e-12)
    clear = np.nanpercentile(three(some).reshape(-1, 3), 99, axis=0) * scale
    return scale, clear.astype(np.float32)


def three(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return three channels of any number: an alpha channel says nothing, and grey is all three."""
    return pixels[..., :3] if pixels.shape[2] >= 3 else np.repeat(pixels[..., :1], 3, axis=2)
