"""Core results → napari layers: created once, then only data, limits and name change.

A layer is found again by our own key in its metadata, so it may be renamed, moved or deleted by hand,
and the layers of two sections never mix.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Any, Literal, get_args
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Image, Layer, Points
from napari.utils.colormaps import Colormap, ensure_colormap
from numpy.typing import NDArray

from napari_st2msi.grid import Grid
from napari_st2msi.io.histology import histology_levels
from napari_st2msi.section import MSI_SYSTEM, Section
from napari_st2msi.shapes import Outlines
from napari_st2msi.viewer.warped_pixels import cells_of, straightened

Role = Literal[
    "histology",
    "tic",
    "spots",
    "coverage",
    "confidence",
    "measured",
    "predicted",
    "residual",
    "attribution",
    "change",
    "novelty",
    "folds",
    "region",
    "landmarks_st",
    "landmarks_msi",
]
#: From the bottom of the layer list to its top, which is also the order of a grid.
ORDER: tuple[Role, ...] = get_args(Role)
#: The key of this package in a layer's metadata.
KEY = "napari_st2msi"
VALUE = "value"
INTENSITY, DIVERGING = "viridis", "RdBu_r"
_UNITS = ("um", "um")
# Room between ST and an MSI that is not registered yet, as a share of the ST's width.
_GAP = 0.08

_numbers = count()
_tokens: WeakKeyDictionary[Section, int] = WeakKeyDictionary()
# Bent pixels take a while to draw: what was drawn of which element, and where.
_bent: WeakKeyDictionary[Section, tuple[Any, NDArray[np.float64], Site]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Site:
    """Where values are drawn: pixels of a grid as an image, anything else as points.

    Attributes
    ----------
    to_um
        (3, 3) affine from `outlines` (µm of their own frame) to where they are drawn, in x and y.
    """

    outlines: Outlines
    to_um: NDArray[np.float64]
    grid: Grid | None = None

    @property
    def positions(self) -> NDArray[np.float64]:
        """(n, 2) centres in x and y, where they are drawn."""
        return self.outlines.centres @ self.to_um[:2, :2].T + self.to_um[:2, 2]

    @property
    def affine(self) -> NDArray[np.float64]:
        """(3, 3) from (row, column) of the image to (y, x), for napari."""
        assert self.grid is not None
        return swapped(self.grid.moved(self.to_um).to_um)

    def at(self, xy: NDArray[np.float64]) -> int | None:
        """Return the pixel or spot under a position (x, y in µm, as drawn), None when there is none."""
        if self.grid is not None:
            column, row, _ = np.linalg.solve(self.grid.moved(self.to_um).to_um, [*xy, 1.0])
            rows, columns = self.grid.index.shape
            if not (-0.5 <= row < rows - 0.5 and -0.5 <= column < columns - 0.5):
                return None
            found = int(self.grid.index[round(row), round(column)])
            return found if found >= 0 else None
        if not len(self.outlines):
            return None
        away = np.hypot(*(self.positions - xy).T)
        nearest = int(away.argmin())
        radius = self.outlines.radius
        reach = radius[nearest] if radius is not None else (self.outlines.diameter or 10.0) / 2
        return nearest if away[nearest] <= reach * self.scale else None

    @property
    def scale(self) -> float:
        """How much larger things are drawn than in µm of their own frame."""
        return float(np.sqrt(abs(np.linalg.det(self.to_um[:2, :2]))))


def spot_site(section: Section) -> Site:
    """Return where the spots of a section are drawn."""
    return Site(section.spots, np.eye(3))


def pixel_site(section: Section) -> Site:
    """Return where the MSI pixels are drawn: over the ST, or beside it until they are registered.

    Bent pixels are drawn as they lie, on a finer grid: an ion remains an image that is recoloured in place.
    That is worked out once, best in the background, for each registration.
    """
    matrix = section.msi_to_st
    if matrix is not None and (name := section.warped_element) is not None:
        return _bent_site(section, section.sdata[name], matrix)
    outlines = section.pixels(MSI_SYSTEM)
    if matrix is None:
        matrix = np.eye(3)
        box = _st_box(section)
        if box is not None:
            (left, top), (right, _) = box
            matrix[:2, 2] = np.array([right + _GAP * (right - left), top]) - outlines.centres.min(axis=0)
    return Site(outlines, matrix, section.msi_grid)


def _bent_site(section: Section, element: Any, matrix: NDArray[np.float64]) -> Site:
    known = _bent.get(section)
    if known is not None and known[0] is element and np.array_equal(known[1], matrix):
        return known[2]
    # In the frame of the MSI, so that rows and columns remain nearly rows and columns.
    outlines = straightened(section.pixels(), matrix)
    regular = section.msi_grid
    grid = None
    if regular is not None and outlines.corners is not None:
        grid = cells_of(outlines.corners, regular.pitch)
    site = Site(outlines, matrix, grid)
    _bent[section] = element, matrix, site
    return site


def swapped(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a (3, 3) affine on (x, y) as one on napari's (row, column)."""
    order = [1, 0, 2]
    return matrix[np.ix_(order, order)]


# -- finding ----------------------------------------------------------------------------------------


def key_of(section: Section, role: Role) -> str:
    """Return the metadata value that says which layer of which section this is."""
    if section not in _tokens:
        _tokens[section] = next(_numbers)
    return f"{_tokens[section]}:{role}"


def find(viewer: Any, section: Section, role: Role) -> Layer | None:
    """Return the layer that plays a part for a section, None when it was never made or was deleted."""
    key = key_of(section, role)
    return next((layer for layer in viewer.layers if layer.metadata.get(KEY) == key), None)


def role_of(layer: Layer, section: Section) -> Role | None:
    """Return the part that a layer plays for a section, None for layers of others."""
    key = layer.metadata.get(KEY)
    return next((role for role in ORDER if key == key_of(section, role)), None)


def own_layers(viewer: Any, section: Section) -> list[Layer]:
    """Return the layers of a section."""
    return [layer for layer in viewer.layers if role_of(layer, section) is not None]


# -- making and updating ----------------------------------------------------------------------------


def show_section(viewer: Any, section: Section) -> None:
    """Add what a section is looked at with before any ion is chosen: histology, spots, total ions."""
    if section.roles.image is not None:
        show_histology(viewer, section)
    if section.has_msi:
        total = section.total_ions
        high = float(np.nanpercentile(total, 99.5)) if len(total) else 1.0
        site = pixel_site(section)
        show_values(viewer, section, "tic", site, total, (0.0, high or 1.0), "total ion current", "gray")
        # The ion looked at moves along with a new registration at once; its values follow when they are read.
        measured = find(viewer, section, "measured")
        if isinstance(measured, Image) and site.grid is not None and _fits(measured, site):
            measured.affine = site.affine
    if section.has_st:
        show_spots(viewer, section)
    _scale_bar(viewer)


def show_histology(viewer: Any, section: Section) -> Layer:
    """Show the stained section as a multiscale RGB image."""
    layer = find(viewer, section, "histology")
    if layer is None:
        levels, matrix = histology_levels(section)
        layer = Image(
            levels if len(levels) > 1 else levels[0],
            rgb=True,
            multiscale=len(levels) > 1,
            name="H&E",
            affine=swapped(matrix),
            units=_UNITS,
        )
        add(viewer, section, "histology", layer)
    return layer


def show_spots(viewer: Any, section: Section) -> Layer:
    """Show where the spots lie, as rings that leave the tissue visible."""
    layer = find(viewer, section, "spots")
    if layer is None:
        layer = _points(spot_site(section), "ST spots")
        layer.face_color = [0.6, 0.6, 0.6, 0.35]
        add(viewer, section, "spots", layer)
    return layer


def show_values(
    viewer: Any,
    section: Section,
    role: Role,
    site: Site,
    values: NDArray[np.float32],
    limits: tuple[float, float],
    name: str,
    colormap: str | Colormap,
    *,
    make: bool = True,
) -> Layer | None:
    """Draw values where they were measured; the layer is made the first time only.

    Parameters
    ----------
    values
        (n,) one a pixel or spot of `site`; NaN is transparent.
    limits
        Values of the first and the last colour.
    make
        Whether to make the layer if it is not there; otherwise None is returned then.
    """
    layer = find(viewer, section, role)
    looks: dict[str, Any] = {}
    if layer is not None and not _fits(layer, site):
        # The place is of another kind now: spots instead of pixels, or pixels bent by a registration.
        looks = {"visible": layer.visible, "opacity": layer.opacity, "blending": layer.blending}
        viewer.layers.remove(layer)
        layer, make = None, True
    if layer is None:
        if make:
            layer = _new(site, values, limits, name, colormap)
            for look, value in looks.items():
                setattr(layer, look, value)
            add(viewer, section, role, layer)
        return layer
    if isinstance(layer, Image):
        _update_image(layer, site, values, limits)
    else:
        _update_points(layer, site, values, limits, colormap)
    layer.name = name
    return layer


def come_to_rest(layer: Layer | None) -> None:
    """Bring up what `show_values` leaves out to be quick: the thumbnail and the range of the slider."""
    if isinstance(layer, Image):
        layer.contrast_limits_range = layer.contrast_limits
        layer.refresh(extent=False)


def _fits(layer: Layer, site: Site) -> bool:
    if site.grid is not None:
        return isinstance(layer, Image) and layer.data.shape == site.grid.index.shape
    return isinstance(layer, Points) and len(layer.data) == len(site.outlines)


def _new(
    site: Site, values: NDArray[np.float32], limits: tuple[float, float], name: str, colormap: str | Colormap
) -> Layer:
    if site.grid is not None:
        return Image(
            site.grid.image(values),
            name=name,
            affine=site.affine,
            units=_UNITS,
            colormap=colormap,
            contrast_limits=limits,
            interpolation2d="nearest",
        )
    layer = _points(site, name, touching=True)
    _update_points(layer, site, values, limits, colormap)
    return layer


def _update_image(layer: Image, site: Site, values: NDArray[np.float32], limits: tuple[float, float]) -> None:
    assert site.grid is not None
    # In place: a new array would make napari look at dimensions, extent and texture anew.
    layer.data[...] = site.grid.image(values)
    if tuple(layer.contrast_limits) != limits:
        layer.contrast_limits = limits
    if not np.allclose(layer.affine.affine_matrix, site.affine):
        layer.affine = site.affine
    layer.refresh(extent=False, thumbnail=False)


def _update_points(
    layer: Points, site: Site, values: NDArray[np.float32], limits: tuple[float, float], colormap: str | Colormap
) -> None:
    low, high = limits
    # The feature is what the status bar shows at the cursor.
    layer.features[VALUE] = values
    colours = ensure_colormap(colormap).map((values - low) / (high - low)).astype(np.float32)
    colours[~np.isfinite(values)] = 0
    # Markers of few pixels are mixed with their border even where it has no width. Setting colours announces itself
    # twice, and each time all markers are sent to the screen: here once, at the very end.
    with layer.events.border_color.blocker(), layer.events.current_border_color.blocker():
        layer.border_color = colours
    with layer.events.face_color.blocker():
        layer.face_color = colours
    positions = site.positions[:, ::-1]
    if not np.array_equal(layer.data, positions):
        layer.data = positions


def _points(site: Site, name: str, *, touching: bool = False) -> Points:
    """Make a layer of spots in their true size; discs that show values may grow until they touch.

    Visium measures a fifth of the tissue: in true size, a picture is mostly gaps and hard to read.
    """
    outlines = site.outlines
    scale = site.scale
    positions = site.positions[:, ::-1]
    if outlines.radius is not None:
        size: Any = 2 * outlines.radius * scale
        if touching:
            size = np.maximum(size, _spacing(positions))
    else:
        size = (outlines.diameter or _spacing(positions) / scale) * scale
    return Points(
        positions,
        size=size,
        symbol="square" if outlines.corners is not None and outlines.corners.shape[1] <= 5 else "disc",
        border_width=0,
        face_color=np.zeros((len(positions), 4), dtype=np.float32),
        features={VALUE: np.full(len(positions), np.nan, dtype=np.float32)},
        name=name,
        units=_UNITS,
        antialiasing=0.5,
    )


def _spacing(positions: NDArray[np.float64]) -> float:
    """Return the median distance to the nearest neighbour, for mere points."""
    from scipy.spatial import cKDTree

    if len(positions) < 2:
        return 1.0
    some = positions[:: max(1, len(positions) // 2000)]
    return float(np.median(cKDTree(positions).query(some, k=2)[0][:, 1])) or 1.0


def add(viewer: Any, section: Section, role: Role, layer: Layer) -> None:
    """Add a new layer of a section at its place in the layer list."""
    layer.metadata[KEY] = key_of(section, role)
    above = [
        place
        for place, other in enumerate(viewer.layers)
        if (other_role := role_of(other, section)) is not None and ORDER.index(other_role) > ORDER.index(role)
    ]
    viewer.layers.insert(min(above, default=len(viewer.layers)), layer)
    _scale_bar(viewer)


def _scale_bar(viewer: Any) -> None:
    viewer.canvas.overlays.scale_bar.visible = True


def _st_box(section: Section) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the least and the largest x and y of what is drawn on the ST side."""
    corners = []
    if section.has_st:
        corners.append(section.spots.centres)
    if section.roles.image is not None:
        levels, matrix = histology_levels(section)
        height, width = levels[0].shape[:2]
        edges = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], dtype=float)
        corners.append((edges @ matrix.T)[:, :2])
    if not corners:
        return None
    every = np.concatenate(corners)
    return every.min(axis=0), every.max(axis=0)
