"""Micrometres for elements that came with coordinate systems of their own.

Transformations are read, never assumed: which systems the ST and MSI elements have, and what one unit of
them is in µm. Ours, ``st2msi`` and ``st2msi_msi``, are added beside them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import GeometryProblem
from napari_st2msi.io import visium
from napari_st2msi.io.opening import Opening
from napari_st2msi.io.units import metaspace_pixel, msi_scale, positive
from napari_st2msi.roles import Roles
from napari_st2msi.section import MSI_SYSTEM, SYSTEM
from napari_st2msi.shapes import Outlines, outlines_of, squares

if TYPE_CHECKING:
    from anndata import AnnData
    from spatialdata import SpatialData

Matrix = NDArray[np.float64]
_OURS = (SYSTEM, MSI_SYSTEM)


def place(sdata: SpatialData, roles: Roles, opening: Opening) -> tuple[Roles, list[str]]:
    """Give the elements of a section their systems in µm, in memory.

    One unit is: 100 µm between Visium spots; else what the user says; else what the MSI pixel's size says
    where ST and MSI share a system; else 1, with a note. MSI that shares a system with ST in which they
    overlap is registered by that. MSI of points or labels gets squares as `msi_pixels`.

    Returns
    -------
    The roles, with `msi_pixels` for mere points and without a histology that lies nowhere near ST; and
    notes on what was assumed.

    Raises
    ------
    GeometryProblem
        An element has no coordinate system at all.
    """
    notes: list[str] = []
    if roles.msi_element is not None and not _has(sdata, roles.msi_element, MSI_SYSTEM):
        roles, more = _place_msi(sdata, roles, opening)
        notes += more
    anchor = roles.st_element or roles.image
    if anchor is None:
        return roles, notes
    if not _has(sdata, anchor, SYSTEM):
        notes += _place_anchor(sdata, anchor, roles, opening)
    if roles.image is not None and not _has(sdata, roles.image, SYSTEM):
        roles, more = _place_image(sdata, anchor, roles)
        notes += more
    return roles, notes


# -- MSI --------------------------------------------------------------------------------------------


def _place_msi(sdata: SpatialData, roles: Roles, opening: Opening) -> tuple[Roles, list[str]]:
    assert roles.msi is not None
    assert roles.msi_element is not None
    element, table = sdata[roles.msi_element], sdata.tables[roles.msi]
    system = _preferred(sdata, roles.msi_element)
    matrix = _matrix(element, system)
    if not _upright(matrix):
        # The frame of the instrument is the one in which pixels lie in rows and columns.
        matrix = np.diag([*np.repeat(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))), 2), 1.0])
    outlines = _outlines(table, roles.msi_element, element, matrix)
    known, source = _pixel_size(sdata, table)
    mine = outlines.diameter
    if mine is not None:
        size = opening.pixel_size_um or known
        factor = size / mine if size else opening.um_per_unit or 1.0
        notes = [] if size or opening.um_per_unit else [_taken_as_um("MSI", system)]
        if known and not opening.pixel_size_um and abs(factor - 1) > 0.01:
            notes.append(f"MSI is scaled by {factor:.4g}, so that a pixel has the {known:.4g} µm that {source} says.")
        to_um = np.diag([factor, factor, 1.0]) @ matrix
        _set(element, MSI_SYSTEM, to_um)
        return roles, notes
    scale = msi_scale(outlines.centres, opening, known_um=known)
    to_um = np.diag([scale.um_per_unit, scale.um_per_unit, 1.0]) @ matrix
    _set(element, MSI_SYSTEM, to_um)
    pixels = _as_squares(sdata, table, outlines.centres * scale.um_per_unit, scale.pixel_um, element, to_um)
    return replace(roles, msi_element=pixels), list(scale.notes)


def _as_squares(
    sdata: SpatialData, table: AnnData, xy: Matrix, size: tuple[float, float], points: Any, to_um: Matrix
) -> str:
    """Add the pixels around points or labels as squares in µm, with the systems that those have."""
    import geopandas
    import shapely
    from spatialdata.models import ShapesModel

    systems = {MSI_SYSTEM: _affine(np.eye(3))}
    back = np.linalg.inv(to_um)
    for system in _systems(points):
        if system != MSI_SYSTEM:
            systems[system] = _affine(_matrix(points, system) @ back)
    instances = table.obs[table.uns["spatialdata_attrs"]["instance_key"]].to_numpy()
    frame = geopandas.GeoDataFrame(geometry=shapely.polygons(squares(xy, size)), index=instances)
    name = "msi_pixels"
    while name in sdata:
        name = f"{name}_squares"
    sdata.shapes[name] = ShapesModel.parse(frame, transformations=systems)
    return name


def _pixel_size(sdata: SpatialData, table: AnnData) -> tuple[float | None, str]:
    """Return the side of a pixel in µm as thyra or METASPACE write it down, and who says so."""
    if sdata.attrs.get("pixel_size_units") == "micrometers":
        return positive(sdata.attrs.get("pixel_size_x_um")), "the file"
    return metaspace_pixel(table), "METASPACE"


# -- ST and histology -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Shared:
    """A coordinate system that ST (or histology) and MSI have in common, if they have one."""

    system: str
    overlap: bool


def _place_anchor(sdata: SpatialData, anchor: str, roles: Roles, opening: Opening) -> list[str]:
    """Set ``st2msi`` of the ST element (of the histology, where there is no ST), and of MSI if it shares a system."""
    shared = None if roles.msi_element is None else _shared(sdata, anchor, roles.msi_element)
    together = shared is not None and shared.overlap
    system = shared.system if shared is not None and together else _preferred(sdata, anchor, roles.image)
    matrix = _matrix(sdata[anchor], system)
    factor, notes = None, []
    if roles.st is not None and roles.st_element is not None:
        table = sdata.tables[roles.st]
        factor = _visium_factor(table, _outlines(table, roles.st_element, sdata[anchor], matrix))
    factor = factor or opening.um_per_unit
    if factor is None and together and roles.msi_element is not None:
        # MSI already has its size in µm: so has the system that both share.
        own, common = (_matrix(sdata[roles.msi_element], s) for s in (MSI_SYSTEM, system))
        factor = float(np.sqrt(abs(np.linalg.det(own[:2, :2]) / np.linalg.det(common[:2, :2]))))
    if factor is None:
        factor = 1.0
        notes.append(_taken_as_um("ST" if roles.st else "histology", system))
    to_um = np.diag([factor, factor, 1.0])
    _set(sdata[anchor], SYSTEM, to_um @ matrix)
    if shared is None or roles.msi_element is None:
        return notes
    what = "ST" if roles.st else "the histology"
    if not together:
        return [*notes, f"MSI and {what} share the system '{shared.system}' but do not overlap in it: not registered."]
    _set(sdata[roles.msi_element], SYSTEM, to_um @ _matrix(sdata[roles.msi_element], system))
    return [*notes, f"MSI lies over {what} as the file says, in its coordinate system '{system}'."]


def _place_image(sdata: SpatialData, anchor: str, roles: Roles) -> tuple[Roles, list[str]]:
    assert roles.image is not None
    image, element = sdata[roles.image], sdata[anchor]
    for system in _systems(image):
        if system in _systems(element) and system not in _OURS:
            to_um = _matrix(element, SYSTEM) @ np.linalg.inv(_matrix(element, system))
            _set(image, SYSTEM, to_um @ _matrix(image, system))
            return roles, []
    return replace(roles, image=None), [
        f"The image '{roles.image}' shares no coordinate system with ST, so it is not shown as histology."
    ]


def _visium_factor(table: AnnData, spots: Outlines) -> float | None:
    """Return µm per unit from the 100 µm between Visium spots, None where they are no such."""
    if not {"array_row", "array_col"} <= set(table.obs.columns):
        return None
    try:
        return visium.um_per_unit(spots.centres, table.obs["array_row"].to_numpy(), table.obs["array_col"].to_numpy())
    except GeometryProblem:
        return None


def _shared(sdata: SpatialData, anchor: str, msi: str) -> _Shared | None:
    """Return a system that both have, rather one in which they overlap and rather not the default one."""
    both = [s for s in _systems(sdata[anchor]) if s in _systems(sdata[msi]) and s not in _OURS]
    candidates = [_Shared(s, _overlap(sdata[anchor], sdata[msi], s)) for s in both]
    return min(candidates, key=lambda c: (not c.overlap, c.system == "global"), default=None)


def _overlap(one: Any, other: Any, system: str) -> bool:
    low, high = zip(*(_extent(element, _matrix(element, system)) for element in (one, other)), strict=True)
    return bool((np.max(low, axis=0) < np.min(high, axis=0)).all())


def _extent(element: Any, matrix: Matrix) -> tuple[Matrix, Matrix]:
    """Return the least and greatest x and y of an element in a system."""
    from spatialdata import get_extent
    from spatialdata.transformations import Identity, get_transformation, set_transformation

    known = get_transformation(element, get_all=True)
    set_transformation(element, {"own": Identity()}, set_all=True)
    try:
        extent = get_extent(element, coordinate_system="own")
    finally:
        set_transformation(element, known, set_all=True)
    (x0, x1), (y0, y1) = extent["x"], extent["y"]
    corners = np.array([[x0, y0], [x0, y1], [x1, y0], [x1, y1]], dtype=float) @ matrix[:2, :2].T + matrix[:2, 2]
    return corners.min(axis=0), corners.max(axis=0)


# -- small things -----------------------------------------------------------------------------------


def _outlines(table: AnnData, name: str, element: Any, matrix: Matrix) -> Outlines:
    attrs = table.uns["spatialdata_attrs"]
    rows = table.obs[attrs["region_key"]].astype(str).to_numpy() == name
    instances = table.obs[attrs["instance_key"]].to_numpy()
    return outlines_of(element, instances[rows] if rows.any() else instances, matrix, name=name)


def _systems(element: Any) -> list[str]:
    from spatialdata.transformations import get_transformation

    return list(get_transformation(element, get_all=True))


def _has(sdata: SpatialData, name: str, system: str) -> bool:
    return system in _systems(sdata[name])


def _preferred(sdata: SpatialData, name: str, beside: str | None = None) -> str:
    """Return a system of an element: one that `beside` has too if possible, and rather the default one."""
    known = [system for system in _systems(sdata[name]) if system not in _OURS]
    if not known:
        raise GeometryProblem(f"'{name}' has no coordinate system, so nothing says where it lies.")
    common = [s for s in known if beside is not None and s in _systems(sdata[beside])] or known
    return "global" if "global" in common else common[0]


def _matrix(element: Any, system: str) -> Matrix:
    from spatialdata.transformations import get_transformation

    known = get_transformation(element, get_all=True)
    return np.asarray(known[system].to_affine_matrix(("x", "y"), ("x", "y")), dtype=float)


def _upright(matrix: Matrix) -> bool:
    """Tell whether rows stay rows: no rotation or shear."""
    return bool(np.allclose([matrix[0, 1], matrix[1, 0]], 0, atol=1e-9 * np.abs(matrix[:2, :2]).max()))


def _affine(matrix: Matrix) -> Any:
    from spatialdata.transformations import Affine

    return Affine(matrix, ("x", "y"), ("x", "y"))


def _set(element: Any, system: str, matrix: Matrix) -> None:
    from spatialdata.transformations import set_transformation

    set_transformation(element, _affine(matrix), system)


def _taken_as_um(what: str, system: str) -> str:
    return f"Nothing says how large a unit of {what} is: coordinate system '{system}' is taken as µm. Give µm per unit."
