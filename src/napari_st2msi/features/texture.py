"""What a stained section looks like around spots: stains and texture, as classical measures of a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.features.picture import glass, pieces, three, view_of
from napari_st2msi.progress import Progress, check, never

#: The wider disc around a spot is so many times as wide as the nearer one.
WIDER = 2.0
_BINS, _CODES = 16, 10
#: How many features a spot has: of either disc three means, three deviations, two entropies and a histogram.
N_FEATURES = 2 * (3 + 3 + 2 + _CODES)

# The nearer disc is looked at with so many pixels along its radius, or as many as there are.
_PIXELS = 12
# Spots looked at together.
_SPOTS = 256
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
    view = view_of(levels, np.asarray(to_um, dtype=np.float64), radius / _PIXELS)
    at = view.pixels(xy)
    found = np.full((len(xy), N_FEATURES), np.nan, dtype=np.float32)
    discs = [view.disc(radius), view.disc(WIDER * radius)]
    margin = int(np.abs(discs[1]).max()) + 1
    scale, clear = glass(levels[-1])
    places = list(pieces(view, at, margin))
    for number, (rows, columns, spots) in enumerate(places):
        check(cancelled)
        progress(number / len(places), "histology")
        stains, bins, codes = _measured(view.read(rows, columns), scale, clear)
        for start in range(0, len(spots), _SPOTS):
            check(cancelled)
            some = spots[start : start + _SPOTS]
            place = at[some] - (rows.start, columns.start)
            found[some] = np.hstack([_described(stains, bins, codes, place, disc) for disc in discs])
    progress(1.0, "histology")
    return found


def _measured(
    pixels: NDArray[np.float32], scale: float, clear: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Return (h, w, 3) stains, (h, w, 2) bins of the first two, and (h, w) local binary patterns."""
    from skimage.color import hed_from_rgb
    from skimage.feature import local_binary_pattern

    density = np.clip(absorption(np.nan_to_num(three(pixels)) * np.float32(scale), clear), -_DARK, 2 * _DARK)
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
