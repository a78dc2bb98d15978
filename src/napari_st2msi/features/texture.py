"""What a stained section looks like around spots: stains and texture, as classical measures of a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.progress import Progress, check, never

#: The wider disc around a spot is so many times as wide as the nearer one.
WIDER = 2.0
_BINS, _CODES = 16, 10
#: How many features a spot has: of either disc three means, three deviations, two entropies and a histogram.
N_FEATURES = 2 * (3 + 3 + 2 + _CODES)

# The nearer disc is looked at with so many pixels along its radius, or as many as there are.
_PIXELS = 12
# Pixels of the picture along the side of a piece that is read at once; spots looked at together; pixels to learn
# the colour of clear glass from.
_PIECE, _SPOTS, _GLASS = 2048, 256, 10**6
# Beyond this optical density, and this much of a stain, nothing is told apart.
_DARK, _MUCH = 2.0, 1.0


def absorption(image: NDArray[Any], clear: NDArray[np.floating] | float = 255.0) -> NDArray[np.float32]:
    """Return the optical density of (h, w, 3) colours from 0 to 255, (h, w, 3) float32: 0 where the glass is clear.

    Parameters
    ----------
    clear
        The colour of clear glass, one number or one a channel.
    """
    darkness = (image.astype(np.float32) + np.float32(4)) / (np.asarray(clear, dtype=np.float32) + np.float32(4))
    return np.asarray(-np.log(darkness), dtype=np.float32)


def texture(
    levels: Sequence[Any],
    to_um: NDArray[np.floating],
    xy: NDArray[np.floating],
    radius: float,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> NDArray[np.float32]:
    """Describe a picture in two discs around each place.

    The optical density is parted into haematoxylin, eosin and the rest (Ruifrok and Johnston 2001, Anal Quant
    Cytol Histol 23:291), against the section's own clear glass. A disc is described by mean and deviation of
    each, by the entropy of the first two, and by how often each of the ten uniform local binary patterns occurs
    (Ojala et al. 2002, doi:10.1109/TPAMI.2002.1017623). The picture is read in pieces, at the coarsest of its
    levels that is fine enough.

    Parameters
    ----------
    levels
        (rows, columns, channels) arrays, full resolution first; they may be lazy.
    to_um
        (3, 3) affine from (column, row) of the full resolution, pixel centres at integers, to µm.
    xy
        (n, 2) places in µm.
    radius
        Of the nearer disc in µm; the other is `WIDER` times as wide.

    Returns
    -------
    (n, `N_FEATURES`) float32; NaN where a place lies beside the picture.
    """
    view = _view(levels, np.asarray(to_um, dtype=np.float64), radius)
    at = view.pixels(xy)
    found = np.full((len(xy), N_FEATURES), np.nan, dtype=np.float32)
    discs = [view.disc(radius), view.disc(WIDER * radius)]
    margin = int(np.abs(discs[1]).max()) + 1
    colour = _colour(levels[-1])
    pieces = list(_pieces(view, at, margin))
    for number, (rows, columns, spots) in enumerate(pieces):
        check(cancelled)
        progress(number / len(pieces), "histology")
        stains, bins, codes = _measured(view.read(rows, columns), *colour)
        for start in range(0, len(spots), _SPOTS):
            check(cancelled)
            some = spots[start : start + _SPOTS]
            place = at[some] - (rows.start, columns.start)
            found[some] = np.hstack([_described(stains, bins, codes, place, disc) for disc in discs])
    progress(1.0, "histology")
    return found


class _View(NamedTuple):
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
        rows, columns = (max(int(side) // self.factor, 1) for side in self.pixels_of.shape[:2])
        return rows, columns

    def pixels(self, xy: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return (n, 2) row and column of places in µm, −1 beside the picture."""
        back = np.linalg.inv(self.to_um)
        columns, rows = np.floor(xy @ back[:2, :2].T + back[:2, 2] + 0.5).astype(np.int64).T
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


def _view(levels: Sequence[Any], to_um: NDArray[np.float64], radius: float) -> _View:
    """Return the picture as coarse as the discs allow."""
    full, wanted = levels[0].shape, radius / _PIXELS
    sizes = [np.array([full[1] / level.shape[1], full[0] / level.shape[0]]) for level in levels]
    own = np.sqrt(abs(np.linalg.det(to_um[:2, :2])))
    level = max((n for n, size in enumerate(sizes) if own * size.max() <= wanted), default=0)
    factor = max(1, min(int(wanted / (own * sizes[level].max())), *levels[level].shape[:2]))
    step = sizes[level] * factor
    shift = (step - 1) / 2
    return _View(levels[level], factor, to_um @ np.array([[step[0], 0, shift[0]], [0, step[1], shift[1]], [0, 0, 1]]))


def _pieces(view: _View, at: NDArray[np.int64], margin: int) -> Iterator[tuple[slice, slice, NDArray[np.int64]]]:
    """Yield the rows and columns to read, and the spots whose discs lie in them."""
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


def _colour(coarsest: Any) -> tuple[float, NDArray[np.float32]]:
    """Return what brings values to 0 … 255, and the colour of clear glass on that scale."""
    stride = max(1, int(np.ceil(np.sqrt(coarsest.shape[0] * coarsest.shape[1] / _GLASS))))
    some = np.asarray(coarsest[::stride, ::stride])
    scale = 1.0 if some.dtype == np.uint8 else 255.0 / max(float(np.nanmax(some)), 1e-12)
    clear = np.nanpercentile(_three(some).reshape(-1, 3), 99, axis=0) * scale
    return scale, clear.astype(np.float32)


def _three(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return three channels of any number: an alpha channel says nothing, and grey is all three."""
    return pixels[..., :3] if pixels.shape[2] >= 3 else np.repeat(pixels[..., :1], 3, axis=2)


def _measured(
    pixels: NDArray[np.float32], scale: float, clear: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Return (h, w, 3) stains, (h, w, 2) bins of the first two, and (h, w) local binary patterns."""
    from skimage.color import hed_from_rgb
    from skimage.feature import local_binary_pattern

    density = np.clip(absorption(np.nan_to_num(_three(pixels)) * np.float32(scale), clear), -_DARK, 2 * _DARK)
    stains = density @ hed_from_rgb.astype(np.float32)
    bins = np.clip(stains[..., :2] * (_BINS / _MUCH), 0, _BINS - 1).astype(np.int64)
    grey = np.clip(density.mean(axis=2) * (255 / _DARK), 0, 255).astype(np.uint8)
    return stains, bins, local_binary_pattern(grey, 8, 1, method="uniform").astype(np.int64)


def _described(
    stains: NDArray[np.float32],
    bins: NDArray[np.int64],
    codes: NDArray[np.int64],
    place: NDArray[np.int64],
    disc: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Return (spots, features) of one disc around each place (row, column); what lies beside does not count."""
    rows, columns = place[:, :1] + disc[:, 0], place[:, 1:] + disc[:, 1]
    height, width = codes.shape
    inside = (rows >= 0) & (columns >= 0) & (rows < height) & (columns < width)
    rows, columns = np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)
    weight = (inside / inside.sum(axis=1, keepdims=True)).astype(np.float32)
    values = stains[rows, columns]
    mean = np.einsum("nm,nmk->nk", weight, values)
    variance = np.einsum("nm,nmk->nk", weight, (values - mean[:, None]) ** 2)
    shares = [_shares(bins[rows, columns, stain], weight, _BINS) for stain in range(2)]
    entropy = [-(share * np.log2(np.maximum(share, 1e-12))).sum(axis=1, keepdims=True) for share in shares]
    patterns = _shares(codes[rows, columns], weight, _CODES)
    return np.hstack([mean, np.sqrt(variance), *entropy, patterns]).astype(np.float32)


def _shares(kind: NDArray[np.int64], weight: NDArray[np.float32], kinds: int) -> NDArray[np.float64]:
    """Return (n, kinds) the weight of each kind among (n, m)."""
    n = len(kind)
    flat = (kind + kinds * np.arange(n)[:, None]).ravel()
    return np.asarray(np.bincount(flat, weight.ravel(), minlength=n * kinds), dtype=np.float64).reshape(n, kinds)
