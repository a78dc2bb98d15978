"""The stained section as numbers: a small picture, and what its colours say at any place."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.features.texture import absorption
from napari_st2msi.io.histology import histology_levels
from napari_st2msi.section import Section

#: Kinds of colour that are told apart.
_COLOURS = 8
_LEARN = 20_000


def histology_image(section: Section, longest: int = 1200) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Read the histology at a size for computing.

    Parameters
    ----------
    section
        A section with an image.
    longest
        The longer side has at most so many pixels; larger pictures are averaged down.

    Returns
    -------
    image
        (h, w, 3) uint8.
    to_um
        (3, 3) float64: (column, row, 1), centres of pixels at integers, to µm (``st2msi``).
    """
    arrays, matrix = histology_levels(section)
    height, width = arrays[0].shape[:2]
    array = next((a for a in reversed(arrays) if max(a.shape[:2]) >= min(longest, height, width)), arrays[0])
    pixels = np.asarray(array)
    factor = max(1, -(-max(pixels.shape[:2]) // longest))
    if pixels.shape[2] < 3:
        pixels = np.repeat(pixels[..., :1], 3, axis=2)
    rows, columns = (side // factor for side in pixels.shape[:2])
    blocks = pixels[: rows * factor, : columns * factor, :3].reshape(rows, factor, columns, factor, 3)
    small = blocks.mean(axis=(1, 3))
    if pixels.dtype != np.uint8:
        small = 255 * small / max(float(small.max()), 1e-12)
    # Centres of blocks, in pixels of the full resolution whose centres lie at integers.
    scale = np.array([width / array.shape[1], height / array.shape[0]]) * factor
    shift = (scale - 1) / 2
    own = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]], [0, 0, 1]])
    return small.round().astype(np.uint8), matrix @ own


def stain_features(image: NDArray[np.uint8], reach: float) -> NDArray[np.float32]:
    """Return what the colours around each pixel are.

    Colours are told apart into a few kinds (k-means of the optical density); a feature is the share of
    one kind nearby. So a linear relation to the features can be any relation to the colour.

    Parameters
    ----------
    image
        (h, w, 3) uint8.
    reach
        Deviation, in pixels, of the Gaussian that says what is nearby.

    Returns
    -------
    (h, w, k) float32: shares of the kinds of colour, then the mean optical density and its variation.
    """
    from scipy.cluster.vq import kmeans2, vq
    from scipy.ndimage import gaussian_filter

    density = absorption(image)
    flat = density.reshape(-1, 3)
    some = flat[:: max(1, len(flat) // _LEARN)].astype(np.float64)
    distinct = len(np.unique(some, axis=0))
    centres = kmeans2(some, min(_COLOURS, distinct), minit="++", seed=0)[0]
    kind = vq(flat.astype(np.float64), centres[np.isfinite(centres).all(axis=1)])[0].reshape(density.shape[:2])
    grey = density.mean(axis=2)

    def nearby(values: Any) -> NDArray[np.float32]:
        return np.asarray(gaussian_filter(values.astype(np.float32), reach))

    shares = [nearby(kind == number) for number in range(int(kind.max()) + 1)]
    mean = nearby(grey)
    variation = np.sqrt(np.maximum(nearby(grey**2) - mean**2, 0))
    return np.dstack([*shares, mean, variation])
