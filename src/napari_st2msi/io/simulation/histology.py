"""A picture of the section as haematoxylin and eosin would stain it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.io.simulation.tissue import Tissue

# Optical density of red, green and blue for one unit of stain: A. C. Ruifrok and D. A. Johnston,
# Quantification of histochemical staining by color deconvolution, Anal Quant Cytol Histol 23, 2001.
_HAEMATOXYLIN = np.array([0.65, 0.70, 0.29], dtype=np.float32)
_EOSIN = np.array([0.07, 0.99, 0.11], dtype=np.float32)
_NUCLEUS_UM = 6.5


def stain(
    rng: np.random.Generator,
    tissue: Tissue,
    size_px: int,
    margin: float,
    nuclei: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Draw the histology of a section.

    Parameters
    ----------
    size_px
        Longer side of the picture in pixels; a pixel is at least 0.5 µm.
    margin
        µm of glass around the tissue.
    nuclei
        (n, 2) where nuclei lie, in µm; drawn at the density of each region when None.

    Returns
    -------
    (rows, columns, 3) uint8, and the (3, 3) affine from (column, row) to µm.
    """
    from scipy import ndimage

    low, high = tissue.low - margin, tissue.high + margin
    um = max(float((high - low).max() / size_px), 0.5)
    columns, rows = np.ceil((high - low) / um).astype(int)
    y, x = np.mgrid[:rows, :columns].astype(np.float32)

    def grain(scale_um: float | tuple[float, float]) -> NDArray[np.float32]:
        """Return noise of variance 1 with grains of a size in µm."""
        sigma = np.maximum(np.broadcast_to(np.asarray(scale_um) / um, (2,)), 0.4)
        noise = ndimage.gaussian_filter(rng.standard_normal((rows, columns), dtype=np.float32), sigma, mode="wrap")
        return np.asarray(noise / noise.std())

    # Borders between regions are frayed by a few cells, the outline by less.
    fray = 9.0
    where = np.stack([x * um + low[0] + fray * grain(12.0), y * um + low[1] + fray * grain(12.0)], axis=-1)
    labels = tissue.region_at(where)
    rim = ndimage.gaussian_filter((tissue.depth_at(where) > 0).astype(np.float32), max(2.0 / um, 0.6))
    regions = tissue.regions
    eosin = np.array([region.eosin for region in regions], dtype=np.float32)[labels]
    fibre = np.array([region.fibre for region in regions], dtype=np.float32)[labels]
    density = np.array([region.nuclei for region in regions], dtype=np.float32)[labels]

    if nuclei is None:
        clumps = np.exp(0.25 * grain(25.0) - 0.03)
        centres = rng.poisson(density * clumps * rim * (um / 1000) ** 2).astype(np.float32)
    else:
        cell = np.clip(((nuclei - low) / um).astype(int), 0, np.array([columns, rows]) - 1)
        centres = np.zeros((rows, columns), dtype=np.float32)
        np.add.at(centres, (cell[:, 1], cell[:, 0]), 1.0)
    chromatin = _nuclei(rng, centres, um)

    fine, coarse = grain(2.5), grain(30.0)
    streaks = np.where(grain(160.0) > 0, grain((1.5, 14.0)), grain((14.0, 1.5)))
    pink = eosin * (1 + 0.10 * fine + 0.10 * coarse + 0.30 * fibre * streaks)
    # Cytoplasm takes a little haematoxylin too; processes leave pale gaps in the neuropil.
    blue = 0.045 + 0.012 * fine + 0.85 * chromatin
    holes = _vessels(rng, rim, um)
    rim *= 1 - holes
    pink = np.clip(pink, 0.03, None) * (1 - 0.45 * np.clip(chromatin, 0, 1))
    thickness = rim * (1 + 0.06 * grain(400.0))
    density_od = (thickness * pink)[..., None] * _EOSIN + (thickness * blue)[..., None] * _HAEMATOXYLIN

    shade = 1 - 0.05 * (((x / columns - 0.45) ** 2 + (y / rows - 0.55) ** 2) / 0.5)
    light = np.array([244, 242, 243], dtype=np.float32) * shade[..., None]
    picture = light * np.exp(-density_od) + rng.normal(0, 1.6, (rows, columns, 1)).astype(np.float32)
    to_um = np.array([[um, 0, low[0]], [0, um, low[1]], [0, 0, 1]])
    return np.clip(picture, 0, 255).astype(np.uint8), to_um


def _nuclei(rng: np.random.Generator, centres: NDArray[np.float32], um: float) -> NDArray[np.float32]:
    """Turn counts of nuclei a pixel into chromatin from 0 to 1: ellipses of several shapes."""
    from scipy import signal

    chromatin = np.zeros(centres.shape, dtype=np.float32)
    left = centres.astype(np.int64)
    shapes = [(1.0, 1.0, 0.0), (0.85, 0.7, 0.5), (1.2, 0.75, 2.0), (1.35, 1.1, 1.2), (1.5, 0.5, 2.8)]
    for rank, (long, short, angle) in enumerate(shapes):
        chosen = rng.binomial(left, 1 / (len(shapes) - rank))
        left -= chosen
        radius = _NUCLEUS_UM / 2 * np.array([long, short])
        reach = int(np.ceil(2.2 * radius.max() / um)) + 1
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1] * um
        c, s = np.cos(angle), np.sin(angle)
        away = np.hypot((c * x + s * y) / radius[0], (c * y - s * x) / radius[1])
        # A soft edge as wide as a pixel; a nucleus below a pixel keeps its share of the area.
        edge = max(0.18, 0.5 * um / float(radius.mean()))
        kernel = 1 / (1 + np.exp((away - 1) / (edge / 2)))
        kernel *= np.pi * radius.prod() / (kernel.sum() * um**2)
        weight = chosen * rng.uniform(0.65, 1.15, chosen.shape)
        chromatin += signal.oaconvolve(weight, kernel, mode="same").astype(np.float32)
    return 1 - np.exp(-1.3 * np.clip(chromatin, 0, None))


def _vessels(rng: np.random.Generator, rim: NDArray[np.float32], um: float) -> NDArray[np.float32]:
    """Return where lumens of small vessels leave glass bare, from 0 to 1."""
    holes = np.zeros(rim.shape, dtype=np.float32)
    places = np.argwhere(rim > 0.99)
    if not len(places):
        return holes
    area = rim.sum() * (um / 1000) ** 2
    for row, column in places[rng.integers(0, len(places), min(rng.poisson(2.5 * area), 400))]:
        radii = rng.lognormal(np.log(9.0), 0.45, 2) / um
        reach = int(2 * radii.max()) + 2
        rows = slice(max(row - reach, 0), row + reach + 1)
        columns = slice(max(column - reach, 0), column + reach + 1)
        y, x = np.ogrid[rows.start : min(rows.stop, rim.shape[0]), columns.start : min(columns.stop, rim.shape[1])]
        lumen = 1 / (1 + np.exp((np.hypot((x - column) / radii[0], (y - row) / radii[1]) - 1) / 0.12))
        holes[rows, columns] = np.maximum(holes[rows, columns], lumen)
    return holes
