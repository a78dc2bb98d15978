"""Outline and regions of a simulated section, drawn on a raster and bent by a random field."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.io.simulation.fields import Fields

TissueKind = Literal["brain", "tonsil"]
_SIZE = 600  # side of the raster


class Region(NamedTuple):
    """What a region looks like and which genes mark it.

    `nuclei` a mm² of section, `large`: share of them that is large and pale, `eosin` (how pink),
    `fibre` (how streaky, 0 to 1).
    """

    name: str
    nuclei: float
    large: float
    eosin: float
    fibre: float
    markers: tuple[str, ...]


BRAIN = (
    Region("cortex layer 1", 1300, 0.1, 0.33, 0.0, ("Reln", "Ndnf", "Lhx5", "Cxcl14")),
    Region("cortex layer 2/3", 4600, 0.6, 0.27, 0.0, ("Cux2", "Lamp5", "Calb1", "Rasgrf2")),
    Region("cortex layer 4", 6800, 0.3, 0.24, 0.0, ("Rorb", "Scnn1a", "Kcnh5", "Rspo1")),
    Region("cortex layer 5", 3400, 0.8, 0.28, 0.0, ("Fezf2", "Bcl11b", "Etv1", "Parm1")),
    Region("cortex layer 6", 4900, 0.5, 0.28, 0.0, ("Foxp2", "Tle4", "Ccn2", "Syt6")),
    Region("white matter", 4300, 0.02, 0.44, 1.0, ("Mbp", "Plp1", "Mobp", "Mog", "Mag")),
    Region("CA pyramidal layer", 17000, 0.7, 0.22, 0.0, ("Wfs1", "Neurod6", "Spink8", "Fibcd1")),
    Region("dentate gyrus", 36000, 0.15, 0.18, 0.0, ("Prox1", "C1ql2", "Dsp", "Stxbp6")),
    Region("hippocampal neuropil", 1300, 0.2, 0.35, 0.0, ("Gfap", "Aqp4", "Cst3", "Slc1a2")),
    Region("thalamus", 4300, 0.5, 0.37, 0.35, ("Tcf7l2", "Prkcd", "Rora", "Calb2")),
    Region("hypothalamus", 5200, 0.4, 0.28, 0.0, ("Hcrt", "Avp", "Oxt", "Pomc", "Agrp")),
    Region("striatum", 5600, 0.3, 0.34, 0.3, ("Drd1", "Drd2", "Ppp1r1b", "Penk", "Adora2a")),
    Region("amygdala", 4600, 0.5, 0.29, 0.0, ("Cdh24", "Gpr101", "Lmo3", "Baiap3")),
)
TONSIL = (
    Region("epithelium", 6000, 0.75, 0.58, 0.0, ("KRT5", "KRT14", "KRT13", "S100A8", "SPRR3")),
    Region("germinal centre, dark zone", 9500, 0.75, 0.26, 0.0, ("MKI67", "TOP2A", "AICDA", "CXCR4")),
    Region("germinal centre, light zone", 7200, 0.9, 0.34, 0.0, ("BCL6", "CD83", "FCER2", "CXCL13")),
    Region("mantle zone", 13500, 0.0, 0.16, 0.0, ("MS4A1", "IGHD", "CD19", "TCL1A")),
    Region("T cell zone", 10500, 0.15, 0.24, 0.0, ("CD3E", "CD4", "CD8A", "IL7R", "CCR7")),
    Region("subepithelial zone", 8000, 0.3, 0.42, 0.0, ("JCHAIN", "MZB1", "IGHA1", "XBP1")),
    Region("connective tissue", 2600, 0.2, 0.52, 1.0, ("COL1A1", "COL3A1", "DCN", "LUM", "VIM")),
)


@dataclass(frozen=True)
class Tissue:
    """A section's outline and regions on a fine raster.

    Attributes
    ----------
    inside
        (rows, columns) bool.
    labels
        (rows, columns) int16, index into `regions`; outside the outline that of the nearest tissue.
    depth
        (rows, columns) float32, µm to the nearest edge; negative outside.
    origin, step
        Corner of the first raster cell, and its side, in µm.
    """

    inside: NDArray[np.bool_]
    labels: NDArray[np.int16]
    depth: NDArray[np.float32]
    origin: NDArray[np.float64]
    step: float
    regions: tuple[Region, ...]

    @property
    def low(self) -> NDArray[np.float64]:
        """(2,) smallest x and y of the tissue in µm."""
        return self.origin + self.step * np.argwhere(self.inside).min(axis=0)[::-1]

    @property
    def high(self) -> NDArray[np.float64]:
        """(2,) largest x and y of the tissue in µm."""
        return self.origin + self.step * (np.argwhere(self.inside).max(axis=0)[::-1] + 1)

    @property
    def width(self) -> float:
        """Longer side of the tissue in µm."""
        return float((self.high - self.low).max())

    @property
    def area(self) -> float:
        """Area in µm²."""
        return float(self.inside.sum() * self.step**2)

    def depth_at(self, xy: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return µm to the edge at (..., 2) points: positive in the tissue, negative outside."""
        return self.depth[self._cell(xy)]

    def region_at(self, xy: NDArray[np.float64]) -> NDArray[np.int16]:
        """Return the index of the region at (..., 2) points; outside, of the nearest region."""
        return self.labels[self._cell(xy)]

    def shares(self) -> NDArray[np.float64]:
        """Return the share of the tissue that each region takes."""
        counts = np.bincount(self.labels[self.inside], minlength=len(self.regions))
        return counts / counts.sum()

    def edge(self) -> NDArray[np.float64]:
        """Return (n, 2) points along the outline in µm."""
        rows, columns = np.nonzero(self.inside & (self.depth <= 1.5 * self.step))
        return self.origin + self.step * (np.column_stack([columns, rows]) + 0.5)

    def scaled(self, factor: float, margin: float) -> Tissue:
        """Return the same tissue, larger by a factor, with its smallest x and y at `margin`."""
        grown = replace(self, depth=self.depth * np.float32(factor), step=self.step * factor)
        return replace(grown, origin=grown.origin + margin - grown.low)

    def _cell(self, xy: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        cell = np.floor((xy - self.origin) / self.step).astype(np.int64)
        rows, columns = self.inside.shape
        return np.clip(cell[..., 1], 0, rows - 1), np.clip(cell[..., 0], 0, columns - 1)


def draw_tissue(kind: TissueKind, rng: np.random.Generator, area: float, margin: float) -> Tissue:
    """Draw a section of a given area.

    Parameters
    ----------
    kind
        ``brain`` (a coronal hemisphere of the mouse) or ``tonsil`` (follicles, crypts).
    area
        µm² of tissue wanted.
    margin
        µm of empty glass around the tissue; the section's frame starts at its corner.
    """
    labels, regions = (_brain(), BRAIN) if kind == "brain" else (_tonsil(rng), TONSIL)
    labels = _bend(labels, rng)
    step = float(np.sqrt(area / (labels >= 0).sum()))
    tissue = _finish(labels >= 0, labels, np.zeros(2), step, regions)
    return tissue.scaled(1.0, margin)


def tissue_around(kind: TissueKind, rng: np.random.Generator, xy: NDArray[np.float64], reach: float) -> Tissue:
    """Draw a section whose outline holds given (n, 2) positions, each with `reach` µm around it."""
    from scipy import ndimage

    model = draw_tissue(kind, rng, 1.0, 0.0)
    low, high = xy.min(axis=0) - 2 * reach, xy.max(axis=0) + 2 * reach
    step = float((high - low).max() / _SIZE)
    columns, rows = np.ceil((high - low) / step).astype(int)
    free = np.ones((rows, columns), dtype=bool)
    cell = np.floor((xy - low) / step).astype(int)
    free[cell[:, 1], cell[:, 0]] = False
    away = ndimage.distance_transform_edt(free) * step
    # The union of discs has a scalloped edge; blurred, it is smooth, but every position stays inside.
    inside = (ndimage.gaussian_filter((away < reach).astype(float), 0.9 * reach / step) > 0.45) | (away < 0.4 * reach)
    # The drawn tissue lends its regions, moved so that both have the same centre and spread.
    y, x = np.mgrid[0.5:rows, 0.5:columns] * step
    drawn = model.origin + model.step * (np.argwhere(model.inside)[:, ::-1] + 0.5)
    fit = _root(np.cov(drawn.T)) @ np.linalg.inv(_root(np.cov(xy.T)))
    labels = model.region_at(drawn.mean(axis=0) + (np.stack([x, y], axis=-1) + low - xy.mean(axis=0)) @ fit.T)
    return _finish(inside, np.where(inside, labels, -1), low, step, model.regions)


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the symmetric square root of a covariance."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(values) @ vectors.T)


def _finish(
    inside: NDArray[np.bool_],
    labels: NDArray[np.integer],
    origin: NDArray[np.float64],
    step: float,
    regions: tuple[Region, ...],
) -> Tissue:
    from scipy import ndimage

    outside, nearest = ndimage.distance_transform_edt(~inside, return_indices=True)
    depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1] - outside
    filled = labels[tuple(nearest)].astype(np.int16)
    return Tissue(inside, filled, (depth * step).astype(np.float32), origin, step, regions)


def _bend(labels: NDArray[np.int16], rng: np.random.Generator) -> NDArray[np.int16]:
    """Resample labels through a random displacement: a long wave and a short one."""
    from scipy import ndimage

    coarse = np.arange(0, _SIZE + 8, 8, dtype=float)
    points = np.stack(np.meshgrid(coarse, coarse), axis=-1).reshape(-1, 1, 2)
    shift = np.zeros((len(coarse), len(coarse), 2))
    for amplitude, length in ((0.012, 0.13), (0.004, 0.03)):
        fields = Fields.random(rng, np.zeros(2), np.full(2, _SIZE + 8.0), length * _SIZE, 2)
        shift += amplitude * _SIZE * fields(points).reshape(shift.shape)
    where = np.mgrid[:_SIZE, :_SIZE].astype(float)
    at = where / 8
    for axis in (0, 1):
        where[axis] += ndimage.map_coordinates(shift[..., 1 - axis], at, order=1)
    bent: NDArray[np.int16] = ndimage.map_coordinates(labels, where, order=0, cval=-1)
    return bent


# -- drawings: coordinates are shares of the raster, x to the right and y down ------------------------


def _curve(points: list[tuple[float, float]], *, closed: bool = False, samples: int = 4000) -> NDArray[np.float64]:
    """Return (samples, 2) points along a smooth curve through the given ones."""
    from scipy.interpolate import splev, splprep

    x, y = np.array(points + points[:1] if closed else points).T
    knots, _ = splprep([x, y], s=0, per=closed)
    return np.stack(splev(np.linspace(0, 1, samples), knots), axis=-1)


def _filled(curve: NDArray[np.float64]) -> NDArray[np.bool_]:
    from skimage.draw import polygon2mask

    return np.asarray(polygon2mask((_SIZE, _SIZE), curve[::10, ::-1] * _SIZE))


def _distance(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance of every raster cell to a curve, as a share of the raster."""
    from scipy import ndimage

    free = np.ones((_SIZE, _SIZE), dtype=bool)
    cell = np.clip((curve * _SIZE).astype(int), 0, _SIZE - 1)
    free[cell[:, 1], cell[:, 0]] = False
    return np.asarray(ndimage.distance_transform_edt(free)) / _SIZE


def _ellipse(centre: tuple[float, float], radii: tuple[float, float], degrees: float = 0.0) -> NDArray[np.float64]:
    """Return how far every raster cell lies from a centre, 1 on the ellipse."""
    y, x = (np.mgrid[:_SIZE, :_SIZE] + 0.5) / _SIZE
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    dx, dy = x - centre[0], y - centre[1]
    return np.asarray(np.hypot((c * dx + s * dy) / radii[0], (c * dy - s * dx) / radii[1]))


def _brain() -> NDArray[np.int16]:
    """Draw a coronal hemisphere: the midline on the left, the pia above and to the right."""
    pia = [
        (0.075, 0.30), (0.07, 0.17), (0.12, 0.085), (0.25, 0.055), (0.42, 0.06), (0.60, 0.105), (0.76, 0.20),
        (0.88, 0.33), (0.945, 0.48), (0.945, 0.61), (0.885, 0.72), (0.79, 0.80), (0.66, 0.855),
    ]  # fmt: skip
    rest = [
        (0.55, 0.875), (0.45, 0.915), (0.31, 0.945), (0.17, 0.94), (0.095, 0.90), (0.085, 0.80), (0.08, 0.66),
        (0.08, 0.50), (0.085, 0.40),
    ]  # fmt: skip
    inside = _filled(_curve(pia + rest, closed=True))
    depth = _distance(_curve(pia))
    y, x = (np.mgrid[:_SIZE, :_SIZE] + 0.5) / _SIZE
    name = {region.name: i for i, region in enumerate(BRAIN)}
    labels = np.full((_SIZE, _SIZE), name["amygdala"], dtype=np.int16)

    labels[_ellipse((0.62, 0.585), (0.185, 0.155), 40) < 1] = name["striatum"]
    labels[_ellipse((0.27, 0.585), (0.245, 0.135), 8) < 1] = name["thalamus"]
    labels[_ellipse((0.20, 0.82), (0.19, 0.145), -10) < 1] = name["hypothalamus"]
    labels[(x < 0.22) & (y > 0.33) & (y < 0.6)] = name["thalamus"]
    capsule = _distance(_curve([(0.60, 0.455), (0.53, 0.55), (0.465, 0.66), (0.42, 0.755), (0.37, 0.80)]))
    labels[capsule < 0.020] = name["white matter"]

    hippocampus = (_ellipse((0.36, 0.385), (0.285, 0.118), 14) < 1) & (depth > 0.19)
    labels[hippocampus] = name["hippocampal neuropil"]
    ca = _curve([(0.12, 0.335), (0.25, 0.318), (0.40, 0.335), (0.53, 0.385), (0.585, 0.445), (0.545, 0.475),
                 (0.475, 0.448), (0.42, 0.418)])  # fmt: skip
    dentate = _curve([(0.40, 0.432), (0.31, 0.372), (0.21, 0.372), (0.145, 0.398), (0.20, 0.437), (0.30, 0.452),
                      (0.385, 0.462)])  # fmt: skip
    labels[(_distance(ca) < 0.0115) & hippocampus] = name["CA pyramidal layer"]
    labels[(_distance(dentate) < 0.0125) & hippocampus] = name["dentate gyrus"]

    # The cortex thins towards the piriform end, and its layers with it.
    thick = 0.185 - 0.065 * np.clip((y - 0.45) / 0.4, 0, 1)
    white = (depth < thick + 0.036 * np.clip(1.5 - 1.3 * y, 0.35, 1)) & (y < 0.74) & (depth >= thick)
    labels[white] = name["white matter"]
    edges = (0.11, 0.37, 0.50, 0.76, 1.0)
    layer = np.searchsorted(edges, depth / thick)
    cortex = (layer < 5) & ~((x < 0.2) & (y > 0.33))
    labels[cortex] = layer[cortex]

    ventricle = _distance(_curve([(0.665, 0.42), (0.672, 0.475), (0.652, 0.53), (0.625, 0.565)]))
    labels[ventricle < 0.019 * np.clip((0.60 - y) / 0.1, 0.25, 1)] = -1
    third = _distance(_curve([(0.075, 0.70), (0.088, 0.76), (0.092, 0.84), (0.09, 0.93)]))
    labels[third < 0.012] = -1
    labels[_ellipse((0.135, 0.455), (0.04, 0.012), -25) < 1] = -1
    labels[~inside] = -1
    return labels


def _tonsil(rng: np.random.Generator) -> NDArray[np.int16]:
    """Draw a piece of tonsil: epithelium with a crypt above, follicles, connective tissue below."""
    surface = [(0.05, 0.46), (0.10, 0.26), (0.24, 0.13), (0.42, 0.09), (0.60, 0.08), (0.79, 0.15), (0.93, 0.31)]
    base = [(0.955, 0.52), (0.90, 0.74), (0.74, 0.88), (0.52, 0.92), (0.30, 0.87), (0.12, 0.70)]
    inside = _filled(_curve(surface + base, closed=True))
    name = {region.name: i for i, region in enumerate(TONSIL)}
    labels = np.full((_SIZE, _SIZE), name["T cell zone"], dtype=np.int16)
    crypts = np.minimum(
        _distance(_curve([(0.47, 0.05), (0.455, 0.20), (0.49, 0.33), (0.47, 0.47), (0.415, 0.555)])),
        _distance(_curve([(0.485, 0.31), (0.53, 0.36), (0.575, 0.42), (0.60, 0.50)])),
    )
    # The epithelium of a crypt is thinner than that of the surface.
    surface_depth = np.minimum(_distance(_curve(surface)), 1.5 * np.maximum(crypts - 0.010, 0))
    base_depth = _distance(_curve(base))
    septum = _distance(_curve([(0.70, 0.95), (0.685, 0.76), (0.72, 0.60), (0.70, 0.46)]))

    centres: list[tuple[float, float]] = []
    for x, y in rng.uniform(0.08, 0.92, (4000, 2)):
        column, row = int(x * _SIZE), int(y * _SIZE)
        free = min(surface_depth[row, column], base_depth[row, column], septum[row, column] + 0.02)
        if inside[row, column] and free > 0.105 and all(np.hypot(x - a, y - b) > 0.175 for a, b in centres):
            centres.append((x, y))
    for centre in centres:
        radii = (rng.uniform(0.080, 0.100), rng.uniform(0.062, 0.080))
        degrees = rng.uniform(0, 180)
        follicle = _ellipse(centre, radii, degrees)
        labels[follicle < 1] = name["mantle zone"]
        # The mantle is thicker on the side of the light zone, which faces the surface.
        inner = _ellipse((centre[0], centre[1] + 0.011), (radii[0] * 0.70, radii[1] * 0.70), degrees)
        half = _ellipse((centre[0], centre[1] - 0.045), (0.060, 0.060)) < 1
        labels[inner < 1] = name["germinal centre, dark zone"]
        labels[(inner < 1) & half] = name["germinal centre, light zone"]
    labels[base_depth < 0.045] = name["connective tissue"]
    labels[septum < 0.016] = name["connective tissue"]
    labels[surface_depth < 0.070] = name["subepithelial zone"]
    labels[surface_depth < 0.042] = name["epithelium"]
    labels[crypts < 0.010] = -1
    labels[~inside] = -1
    return labels
