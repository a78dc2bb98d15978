"""A picture of the section as haematoxylin and eosin would stain it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.io.simulation.tissue import Tissue

Picture = NDArray[np.float32]  # (rows, columns)

# Optical density of red, green and blue for one unit of each stain, as stained sections commonly show.
_HAEMATOXYLIN = np.array([0.60, 0.72, 0.36], dtype=np.float32)
_EOSIN = np.array([0.17, 0.84, 0.42], dtype=np.float32)
_GLASS = np.array([245, 243, 244], dtype=np.float32)

# Nuclei by kind: long and short radius in µm, angle, darkness. Small and dark ones are resting cells,
# large and pale ones are neurons and active cells, spindles lie between fibres.
_SMALL = ((2.9, 2.7, 0.0, 1.15), (3.4, 2.6, 0.7, 1.05), (3.2, 2.5, 2.2, 1.0))
_LARGE = ((4.6, 4.2, 0.3, 0.72), (5.3, 3.7, 1.3, 0.66), (4.8, 3.6, 2.6, 0.78))
_SPINDLE = ((6.5, 1.5, 0.2, 1.0), (6.5, 1.5, 1.25, 1.0), (6.5, 1.5, 2.3, 1.0))


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
    shape = (int(rows), int(columns))
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)

    # Borders between regions are frayed by a few cells; the outline is not.
    x_um, y_um = (x + 0.5) * um + float(low[0]), (y + 0.5) * um + float(low[1])
    fray = 0.35 * tissue.step + 5.0
    places = np.stack([x_um + fray * _grain(rng, shape, 9 / um), y_um + fray * _grain(rng, shape, 9 / um)], axis=-1)
    labels = tissue.region_at(places)
    at = [
        (axis - float(start)) / tissue.step - 0.5
        for axis, start in ((y_um, tissue.origin[1]), (x_um, tissue.origin[0]))
    ]
    depth = ndimage.map_coordinates(ndimage.gaussian_filter(tissue.depth, 1), at, order=1, mode="nearest")
    depth += 2.5 * _grain(rng, shape, 12 / um)
    rim = 1 / (1 + np.exp(np.clip(-depth / max(0.6 * um, 1.0), -30, 30)))
    rim *= 1 - _vessels(rng, rim, um)

    def of_region(what: str) -> Picture:
        return np.array([getattr(region, what) for region in tissue.regions], dtype=np.float32)[labels]

    fibre = of_region("fibre")
    if nuclei is None:
        clumps = np.exp(0.3 * _grain(rng, shape, 22 / um) - 0.045)
        centres = rng.poisson(of_region("nuclei") * clumps * rim * (um / 1000) ** 2)
    else:
        cell = np.clip(((nuclei - low) / um).astype(int), 0, np.array(shape[::-1]) - 1)
        centres = np.zeros(shape, dtype=np.int64)
        np.add.at(centres, (cell[:, 1], cell[:, 0]), 1)
    chromatin = _nuclei(rng, centres, of_region("large"), 0.7 * fibre, um)

    streaks = _streaks(rng, tissue, fibre, places, um)
    pink = of_region("eosin") * (
        1 + 0.13 * _grain(rng, shape, 2.2 / um) + 0.09 * _grain(rng, shape, 35 / um) + 0.27 * fibre * streaks
    )
    pink = np.clip(pink, 0.02, None) * (1 - 0.5 * np.clip(chromatin, 0, 1))
    # Cytoplasm takes a little haematoxylin too.
    blue = 0.05 + 0.012 * _grain(rng, shape, 3.0 / um) + 0.95 * chromatin
    thickness = rim * (1 + 0.035 * _grain(rng, shape, 0.12 * max(shape)))
    density = (thickness * pink)[..., None] * _EOSIN + (thickness * blue)[..., None] * _HAEMATOXYLIN
    shade = 1 - 0.035 * ((x / columns - 0.45) ** 2 + (y / rows - 0.55) ** 2) / 0.5
    picture = _GLASS * shade[..., None] * np.exp(-density)
    picture += 1.3 * rng.standard_normal((*shape, 1), dtype=np.float32)
    to_um = np.array([[um, 0, low[0]], [0, um, low[1]], [0, 0, 1]])
    return np.clip(picture, 0, 255).astype(np.uint8), to_um


def _grain(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> Picture:
    """Return noise of mean 0 and variance 1 whose grains are `sigma` pixels wide."""
    from scipy import ndimage

    # Wide grains are drawn small and enlarged, which is as good and far faster.
    shrink = max(1, int(sigma / 2.5))
    small = tuple(-(-side // shrink) + 2 for side in shape)
    noise = rng.standard_normal(small, dtype=np.float32)
    noise = ndimage.gaussian_filter(noise, max(sigma / shrink, 0.35), mode="wrap", truncate=3)
    noise = (noise - noise.mean()) / noise.std()
    if shrink > 1:
        noise = ndimage.zoom(noise, shrink, order=1, grid_mode=True, mode="nearest")
    return np.asarray(noise[: shape[0], : shape[1]])


def _nuclei(
    rng: np.random.Generator, centres: NDArray[np.int64], large: Picture, spindle: Picture, um: float
) -> Picture:
    """Turn counts of nuclei a pixel into chromatin from 0 to 1.

    `large` and `spindle` are the probabilities that a nucleus is large and pale, or a spindle.
    """
    from scipy import signal

    row, column = np.repeat(np.argwhere(centres > 0), centres[centres > 0], axis=0).T
    chance = rng.random(len(row))
    group = np.where(chance < spindle[row, column], 2, np.where(rng.random(len(row)) < large[row, column], 1, 0))
    variant = 3 * group + rng.integers(0, 3, len(row))
    darkness = rng.uniform(0.75, 1.2, len(row))
    chromatin = np.zeros(centres.shape, dtype=np.float32)
    for index, (long, short, angle, dark) in enumerate(_SMALL + _LARGE + _SPINDLE):
        chosen = variant == index
        if not chosen.any():
            continue
        reach = int(np.ceil(1.4 * long / um)) + 1
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1] * um
        c, s = np.cos(angle), np.sin(angle)
        away = np.hypot((c * x + s * y) / long, (c * y - s * x) / short)
        # The edge is as soft as a pixel; a nucleus smaller than a pixel keeps its share of the area.
        kernel = 1 / (1 + np.exp(np.clip((away - 1) / max(0.08, 0.35 * um / short), -40, 40)))
        kernel *= dark * np.pi * long * short / (kernel.sum() * um**2)
        weight = np.zeros(centres.shape, dtype=np.float32)
        np.add.at(weight, (row[chosen], column[chosen]), darkness[chosen])
        chromatin += signal.oaconvolve(weight, kernel.astype(np.float32), mode="same")
    return np.asarray(1 - np.exp(-1.2 * np.clip(chromatin, 0, None)))


def _streaks(
    rng: np.random.Generator, tissue: Tissue, fibre: Picture, places: NDArray[np.float32], um: float
) -> Picture:
    """Return streaks of variance 1 where there are fibres: noise smeared along the fibres' direction."""
    from scipy import ndimage

    streaks = np.zeros(fibre.shape, dtype=np.float32)
    row, column = np.nonzero(fibre > 0)
    if not len(row):
        return streaks
    # Fibres run along the band they form: across the gradient of the blurred band, by its structure
    # tensor, which has a direction in the middle of the band too.
    band = np.array([region.fibre for region in tissue.regions])[tissue.labels] * tissue.inside
    dy, dx = np.gradient(ndimage.gaussian_filter(band, 3))
    xx, yy, xy = (ndimage.gaussian_filter(a, 8) for a in (dx * dx, dy * dy, dx * dy))
    across = 0.5 * np.arctan2(2 * xy, xx - yy)
    cell_column, cell_row = np.moveaxis((places[row, column] - tissue.origin) / tissue.step, 1, 0).astype(int)
    rows, columns = across.shape
    angle = across[np.clip(cell_row, 0, rows - 1), np.clip(cell_column, 0, columns - 1)] + np.pi / 2
    noise = _grain(rng, fibre.shape, 1.1 / um)
    total = np.zeros(len(row), dtype=np.float32)
    for step in np.arange(-24.0, 25.0, max(3.0, um)) / um:
        there = np.rint(row + step * np.sin(angle)).astype(int), np.rint(column + step * np.cos(angle)).astype(int)
        total += noise[np.clip(there[0], 0, fibre.shape[0] - 1), np.clip(there[1], 0, fibre.shape[1] - 1)]
    streaks[row, column] = total / total.std()
    return streaks


def _vessels(rng: np.random.Generator, rim: Picture, um: float) -> Picture:
    """Return where lumens of small vessels leave glass bare, from 0 to 1."""
    holes = np.zeros(rim.shape, dtype=np.float32)
    places = np.argwhere(rim > 0.99)
    area = rim.sum() * (um / 1000) ** 2
    for row, column in places[rng.integers(0, len(places), min(rng.poisson(2.5 * area), 400))]:
        radii = rng.lognormal(np.log(9.0), 0.45, 2) / um
        reach = int(2 * radii.max()) + 2
        rows = slice(max(row - reach, 0), min(row + reach + 1, rim.shape[0]))
        columns = slice(max(column - reach, 0), min(column + reach + 1, rim.shape[1]))
        y, x = np.ogrid[rows, columns]
        away = np.hypot((x - column) / radii[0], (y - row) / radii[1])
        lumen = 1 / (1 + np.exp(np.clip((away - 1) / 0.12, -40, 40)))
        holes[rows, columns] = np.maximum(holes[rows, columns], lumen)
    return holes
