"""How alike two ion images look: the structural similarity of images made of spots."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.features.blocks import spot_pitch

#: Width of the window in pixels, and the constants that keep flat windows finite, as Wang et al. have them.
WINDOW, K1, K2 = 7, 0.01, 0.03
# No point of a square or hexagonal lattice is farther than this from a spot, in pitches, and the next spot is farther.
_NEAR = 0.75


class Raster(NamedTuple):
    """Pixels as wide as spots lie apart, over the tissue of one section.

    Attributes
    ----------
    spot
        (rows, columns) int64, the spot nearest to each pixel; -1 where none is within three quarters of a pixel.
    pixel_um
        Width of a pixel.
    """

    spot: NDArray[np.int64]
    pixel_um: float


def rasterise(xy: NDArray[np.float64]) -> Raster:
    """Lay pixels over the spots of one section: each shows the spot nearest to its centre."""
    from scipy.spatial import cKDTree

    pitch = spot_pitch(xy, np.zeros(len(xy), dtype=int)) or 1.0
    low, high = xy.min(axis=0), xy.max(axis=0)
    # Spots far from all others must not make a picture of nothing.
    pitch = max(pitch, float(np.sqrt(np.prod(np.maximum(high - low, pitch)) / (20.0 * len(xy)))))
    columns, rows = (np.floor((high - low) / pitch + 1e-6).astype(int) + 1).tolist()
    x, y = np.meshgrid(low[0] + pitch * np.arange(columns), low[1] + pitch * np.arange(rows))
    distance, nearest = cKDTree(xy).query(np.column_stack([x.ravel(), y.ravel()]), distance_upper_bound=_NEAR * pitch)
    return Raster(np.where(np.isfinite(distance), nearest, -1).reshape(rows, columns).astype(np.int64), pitch)


def structural_similarity(
    measured: NDArray[np.floating], predicted: NDArray[np.floating], xy: NDArray[np.float64], section: NDArray[Any]
) -> NDArray[np.float64]:
    """Return (ions,) SSIM of measured and predicted images, the mean over sections.

    Means, variances and covariance are taken in windows of 7 × 7 pixels (Wang et al. 2004,
    doi:10.1109/TIP.2003.819861) over the pixels of tissue that a window has, and averaged over tissue. The range
    of an ion is that of its measured image; 1 is alike, 0 unlike. It rewards the level and the contrast of smooth
    images too: compare it between predictors of the same ion only.

    Parameters
    ----------
    measured, predicted
        (n, ions) on the scale that models learn on.
    xy, section
        (n, 2) positions in µm and (n,) section of each spot.

    Returns
    -------
    NaN for ions that are the same all over a section, which then does not count, in all sections.
    """
    total, count = np.zeros(measured.shape[1]), np.zeros(measured.shape[1])
    for label in np.unique(section):
        own = section == label
        found = _ssim(measured[own], predicted[own], _windows(rasterise(xy[own]), int(own.sum())))
        known = np.isfinite(found)
        total[known] += found[known]
        count += known
    with np.errstate(invalid="ignore"):
        return total / count


def _windows(raster: Raster, n_spots: int) -> tuple[Any, NDArray[np.float64]]:
    """Return a sparse (pixels of tissue, spots) matrix whose rows are means over windows, and how many each has."""
    from scipy.sparse import csr_array

    rows, columns = np.nonzero(raster.spot >= 0)
    number = np.full(np.add(raster.spot.shape, 2 * (WINDOW // 2)), -1, dtype=np.int64)
    inside = (rows + WINDOW // 2, columns + WINDOW // 2)
    number[inside] = raster.spot[rows, columns]
    pixel, spot = [], []
    for down in range(WINDOW):
        for right in range(WINDOW):
            seen = number[rows + down, columns + right]
            pixel.append(np.flatnonzero(seen >= 0))
            spot.append(seen[seen >= 0])
    n = np.bincount(np.concatenate(pixel), minlength=len(rows)).astype(float)
    at = np.concatenate(pixel)
    return csr_array((1 / n[at], (at, np.concatenate(spot))), shape=(len(rows), n_spots)), n


def _ssim(
    measured: NDArray[np.floating], predicted: NDArray[np.floating], windows: tuple[Any, NDArray[np.float64]]
) -> NDArray[np.float64]:
    mean, n = windows
    extent = np.ptp(measured, axis=0).astype(np.float64)
    flat = extent <= 1e-10 * np.maximum(np.abs(measured).max(axis=0), 1e-300)
    x, y = np.asarray(measured, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    unbiased = (n / np.maximum(n - 1, 1))[:, None]
    c1, c2 = (K1 * extent) ** 2, (K2 * extent) ** 2
    mx, my = mean @ x, mean @ y
    vx, vy = unbiased * (mean @ x**2 - mx**2), unbiased * (mean @ y**2 - my**2)
    both = unbiased * (mean @ (x * y) - mx * my)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = (2 * mx * my + c1) * (2 * both + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return np.where(flat, np.nan, value.mean(axis=0))
