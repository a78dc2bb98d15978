"""Arrays to `Section`: the one place where elements, tables and coordinate systems are put together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, GeometryProblem
from napari_st2msi.roles import PAIRED_TABLE, Roles
from napari_st2msi.section import MSI_SYSTEM, SYSTEM, Section
from napari_st2msi.shapes import squares

if TYPE_CHECKING:
    from anndata import AnnData
    from spatialdata import SpatialData

ST_TABLE, ST_ELEMENT = "st", "st_spots"
MSI_TABLE, MSI_ELEMENT = "msi", "msi_pixels"
IMAGE = "histology"


def build_section(
    *,
    name: str = "section",
    st: AnnData | None = None,
    st_xy: NDArray[np.floating] | None = None,
    spot_diameter_um: float | None = None,
    cells: Sequence[Any] | None = None,
    msi: AnnData | None = None,
    msi_xy: NDArray[np.floating] | None = None,
    pixel_size_um: float | tuple[float, float] | None = None,
    msi_to_st: NDArray[np.floating] | None = None,
    paired: AnnData | None = None,
    image: NDArray[np.uint8] | None = None,
    image_to_um: NDArray[np.floating] | None = None,
    path: Path | None = None,
    notes: tuple[str, ...] = (),
) -> Section:
    """Put arrays together to a section with the names of the house (design, section 4).

    Parameters
    ----------
    st, st_xy
        Spots × genes, and (n, 2) positions in µm.
    spot_diameter_um, cells
        Discs of this diameter, or one shapely polygon (µm) a row; with neither, spots are points.
    msi, msi_xy
        Pixels × ions with m/z in `var`, and (m, 2) pixel centres in µm of the MSI's own frame.
    pixel_size_um
        Side of a pixel, or its width and height.
    msi_to_st
        (3, 3) affine in µm when the two are already registered (the identity when they share a frame).
    paired
        Spots × ions with the observations of `st`, when the data came paired; becomes `msi_on_st`.
    image, image_to_um
        (rows, columns, 3 or 4) uint8 histology, and the (3, 3) affine from (column, row) with pixel
        centres at integers plus one half to µm of the ST side.

    Raises
    ------
    DataProblem
        A table has no rows, names twice, or positions that are missing or on top of each other.
    GeometryProblem
        The size of an MSI pixel is unknown.
    """
    from spatialdata import SpatialData
    from spatialdata.transformations import Affine, Identity

    parts: dict[str, Any] = {}
    roles: dict[str, str] = {}
    if st is not None:
        xy = check_positions(st_xy, st, "spots")
        parts[ST_ELEMENT] = _spot_shapes(xy, spot_diameter_um, cells, {SYSTEM: Identity()})
        parts[ST_TABLE] = annotate(st, ST_ELEMENT)
        roles |= {"st": ST_TABLE, "st_element": ST_ELEMENT}
    if msi is not None:
        xy = check_positions(msi_xy, msi, "pixels")
        if pixel_size_um is None:
            raise GeometryProblem("The size of an MSI pixel is unknown. Give it in µm.")
        transformations: dict[str, Any] = {MSI_SYSTEM: Identity()}
        if msi_to_st is not None:
            transformations[SYSTEM] = Affine(np.asarray(msi_to_st, float), ("x", "y"), ("x", "y"))
        parts[MSI_ELEMENT] = _pixel_shapes(xy, pixel_size_um, transformations)
        parts[MSI_TABLE] = annotate(msi, MSI_ELEMENT)
        roles |= {"msi": MSI_TABLE, "msi_element": MSI_ELEMENT}
    if paired is not None:
        parts[PAIRED_TABLE] = annotate(paired, ST_ELEMENT)
    if image is not None:
        matrix = np.eye(3) if image_to_um is None else np.asarray(image_to_um, float)
        parts[IMAGE] = histology_element(image, {SYSTEM: Affine(matrix, ("x", "y"), ("x", "y"))})
        roles["image"] = IMAGE
    sdata: SpatialData = SpatialData.init_from_elements(parts)
    return Section(sdata, Roles(**roles), name=name, path=path, notes=notes)


def annotate(table: AnnData, element: str) -> AnnData:
    """Return a table that annotates `element`, row i to instance i; it shares the matrix with `table`.

    Raises
    ------
    DataProblem
        Observations or variables have the same name twice.
    """
    from anndata import AnnData
    from spatialdata.models import TableModel

    for what, names in (("rows", table.obs_names), ("columns", table.var_names)):
        if not names.is_unique:
            twice = ", ".join(map(str, names[names.duplicated()].unique()[:3]))
            raise DataProblem(f"Some {what} of the table have the same name ({twice}). Give each its own name.")
    # Not table.copy(): the matrix may be as large as memory allows.
    table = AnnData(
        X=table.X,
        obs=table.obs.copy(),
        var=table.var.copy(),
        layers=dict(table.layers),
        obsm=dict(table.obsm),
        varm=dict(table.varm),
        obsp=dict(table.obsp),
        varp=dict(table.varp),
        uns={key: value for key, value in table.uns.items() if key != "spatialdata_attrs"},
    )
    store_names(table)
    region, instance = (free_name(name, table.obs.columns) for name in ("region", "instance"))
    table.obs[region] = pd.Categorical([element] * table.n_obs)
    table.obs[instance] = np.arange(table.n_obs)
    parsed: AnnData = TableModel.parse(table, region=element, region_key=region, instance_key=instance)
    return parsed


def free_name(name: str, taken: Iterable[object]) -> str:
    """Return a name that nothing has, upper or lower case: ``region``, or ``region_``, and so on."""
    lower = {str(other).lower() for other in taken}
    while name.lower() in lower:
        name += "_"
    return name


def store_names(table: AnnData) -> None:
    """Rename columns and keys in place to what SpatialData can store: "cell type" becomes "cell_type".

    Letters, digits, ``_``, ``-`` and ``.`` are kept, anything else becomes ``_``. Names that differ in upper
    and lower case only get a ``_`` behind.
    """
    for frame in (table.obs, table.var):
        names: list[str] = []
        for name in frame.columns:
            names.append(free_name(_storable(name), names))
        frame.columns = pd.Index(names)
    for mapping in (table.obsm, table.varm, table.obsp, table.varp, table.layers, table.uns):
        for key in [key for key in mapping if _storable(key) != key]:
            mapping[free_name(_storable(key), mapping)] = mapping.pop(key)


def _storable(name: object) -> str:
    text = re.sub(r"[^\w.-]", "_", str(name)) or "_"
    return f"column{text}" if text.startswith("__") or text in (".", "..", "_index") else text


def histology_element(image: NDArray[np.uint8], transformations: dict[str, Any]) -> Any:
    """Return a multiscale RGB image element from (rows, columns, 3 or 4) uint8."""
    from spatialdata.models import Image2DModel

    image = np.asarray(image)[..., :3]
    levels = max(0, int(np.log2(max(image.shape[:2]) / 512)))
    return Image2DModel.parse(
        np.moveaxis(image, -1, 0),
        dims=("c", "y", "x"),
        c_coords=["r", "g", "b"],
        scale_factors=[2] * levels or None,
        transformations=transformations,
    )


def check_positions(xy: NDArray[np.floating] | None, table: AnnData, what: str) -> NDArray[np.float64]:
    """Return positions as (n, 2) float64 after checking that there is one good position a row.

    Raises
    ------
    DataProblem
        The table is empty, or positions are missing, of the wrong number, NaN, or the same twice.
    """
    if table.n_obs == 0 or table.n_vars == 0:
        raise DataProblem(f"The table of {what} is empty.")
    if xy is None:
        raise DataProblem(f"The {what} have no positions.")
    positions: NDArray[np.float64] = np.asarray(xy, dtype=np.float64)
    if positions.shape != (table.n_obs, 2):
        raise DataProblem(
            f"There are {table.n_obs:,} {what} but positions of shape {positions.shape}; two columns are needed."
        )
    bad = int((~np.isfinite(positions)).any(axis=1).sum())
    if bad:
        raise DataProblem(
            f"{bad:,} of {len(positions):,} {what} have no position (NaN or infinite). Remove them first."
        )
    same = len(positions) - len(np.unique(positions, axis=0))
    if same:
        raise DataProblem(
            f"{same:,} of {len(positions):,} {what} lie exactly on another one. Remove the duplicates first."
        )
    return positions


def _spot_shapes(
    xy: NDArray[np.float64],
    diameter: float | None,
    cells: Sequence[Any] | None,
    transformations: dict[str, Any],
) -> Any:
    import geopandas
    from spatialdata.models import PointsModel, ShapesModel

    if cells is not None:
        return ShapesModel.parse(geopandas.GeoDataFrame(geometry=list(cells)), transformations=transformations)
    if diameter is not None:
        return ShapesModel.parse(xy, geometry=0, radius=diameter / 2, transformations=transformations)
    frame = pd.DataFrame(xy, columns=["x", "y"])
    return PointsModel.parse(frame, transformations=transformations)


def _pixel_shapes(xy: NDArray[np.float64], size: float | tuple[float, float], transformations: dict[str, Any]) -> Any:
    import geopandas
    import shapely
    from spatialdata.models import ShapesModel

    frame = geopandas.GeoDataFrame(geometry=shapely.polygons(squares(xy, size)))
    return ShapesModel.parse(frame, transformations=transformations)
