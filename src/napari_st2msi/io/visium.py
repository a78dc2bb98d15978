"""Space Ranger output to a `Section`, and the geometry of its spots alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, FileProblem, GeometryProblem
from napari_st2msi.io.build import build_section
from napari_st2msi.io.images import Histology, read_histology
from napari_st2msi.io.opening import Opening
from napari_st2msi.progress import Progress, check, never
from napari_st2msi.section import Section

if TYPE_CHECKING:
    from anndata import AnnData

#: Distance between neighbouring Visium spots in µm, of one row and of the next.
PITCH_UM = 100.0
SPOT_UM = 55.0
_POSITIONS = ("tissue_positions.csv", "tissue_positions_list.csv")
_COLUMNS = ["barcode", "in_tissue", "array_row", "array_col", "pxl_row_in_fullres", "pxl_col_in_fullres"]
_COUNTS = ("filtered_feature_bc_matrix.h5", "raw_feature_bc_matrix.h5")
_SCALES = "scalefactors_json.json"
_IMAGES = (("tissue_hires_image.png", "tissue_hires_scalef"), ("tissue_lowres_image.png", "tissue_lowres_scalef"))


@dataclass(frozen=True)
class VisiumGeometry:
    """Where the spots of a Space Ranger folder lie.

    Attributes
    ----------
    barcodes
        (n,) str.
    xy_um
        (n, 2) centres in µm: full-resolution pixel times `um_per_pixel`.
    in_tissue
        (n,) bool.
    array
        (n, 2) int64, row and column on the slide's lattice.
    um_per_pixel
        µm per pixel of the full-resolution image, from the 100 µm between spots.
    hires_scale, lowres_scale
        Pixels of the reduced images per full-resolution pixel; None where the file does not say.
    """

    barcodes: NDArray[np.str_]
    xy_um: NDArray[np.float64]
    in_tissue: NDArray[np.bool_]
    array: NDArray[np.int64]
    um_per_pixel: float
    hires_scale: float | None
    lowres_scale: float | None

    @property
    def hires_um(self) -> float:
        """µm per pixel of the hires image.

        Raises
        ------
        FileProblem
            The scale factors do not say.
        """
        if self.hires_scale is None:
            raise FileProblem(f"'{_SCALES}' has no 'tissue_hires_scalef', so hires pixels have no size.")
        return self.um_per_pixel / self.hires_scale


def is_visium(folder: Path) -> bool:
    """Tell whether a folder is what Space Ranger writes: it has spot positions."""
    return _positions_file(folder) is not None


def visium_geometry(folder: Path, *, um_per_pixel: float | None = None) -> VisiumGeometry:
    """Read the spots of a Space Ranger `outs` folder, its `spatial` folder, or a flat copy of that.

    Parameters
    ----------
    um_per_pixel
        What to take when the spots are too few to measure it from their distances.

    Raises
    ------
    FileProblem
        Positions are missing or cannot be read.
    DataProblem
        Positions are no numbers, or a barcode appears twice.
    GeometryProblem
        The spots do not lie on Visium's lattice, so µm per pixel is unknown.
    """
    file = _positions_file(folder)
    if file is None:
        raise FileProblem(f"'{folder}' has no {' or '.join(_POSITIONS)}, in itself or in its folder 'spatial'.")
    table = _read_positions(file)
    scales = _read_scales(file.parent)
    array = table[["array_row", "array_col"]].to_numpy(dtype=np.int64)
    pixels = table[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy(dtype=np.float64)
    try:
        size = um_per_unit(pixels, array[:, 0], array[:, 1])
    except GeometryProblem:
        if um_per_pixel is None:
            raise
        size = um_per_pixel
    return VisiumGeometry(
        barcodes=table["barcode"].to_numpy(dtype=str),
        xy_um=pixels * size,
        in_tissue=table["in_tissue"].to_numpy(dtype=np.float64) > 0,
        array=array,
        um_per_pixel=size,
        hires_scale=scales.get("tissue_hires_scalef"),
        lowres_scale=scales.get("tissue_lowres_scalef"),
    )


def um_per_unit(xy: NDArray[np.floating], row: NDArray[Any], column: NDArray[Any]) -> float:
    """Return µm per unit of Visium positions, from the 100 µm between neighbouring spots.

    The lattice is fitted to all spots at once, which averages the rounding to whole pixels away, and the
    step to the next spot of a row is what 100 µm measure. Rows, 100 · √3/2 µm apart, only say whether it is
    that lattice: scanners stretch pictures by up to half a percent from row to row. `spot_diameter_fullres`
    would mislead: it is about 65 µm and not the 55 µm of a spot.

    Parameters
    ----------
    xy
        (n, 2) centres in any unit.
    row, column
        (n,) `array_row` and `array_col`.

    Raises
    ------
    GeometryProblem
        Fewer than three spots, all in a line, or not on the lattice.
    """
    row, column = (
        pd.to_numeric(pd.Series(values), errors="coerce").to_numpy(dtype=np.float64) for values in (row, column)
    )
    if not np.isfinite([row, column]).all():
        raise GeometryProblem("Some spots have no place on Visium's lattice, so their size in µm is unknown.")
    lattice = np.column_stack([column * PITCH_UM / 2, row * PITCH_UM * np.sqrt(3) / 2, np.ones(len(row))])
    if len(lattice) < 3 or np.linalg.matrix_rank(lattice - [*lattice[0, :2], 0]) < 3:
        raise GeometryProblem(
            "Too few spots to measure the distance between neighbours, so their size in µm is unknown. "
            "Give µm per unit."
        )
    fit, *_ = np.linalg.lstsq(lattice, np.asarray(xy, dtype=np.float64), rcond=None)
    units = float(np.linalg.norm(fit[0]))
    off = np.linalg.norm(lattice @ fit - xy, axis=1)
    if units <= 0 or np.median(off) > 0.1 * PITCH_UM * units:
        raise GeometryProblem("The spots do not lie on Visium's hexagonal lattice, so their size in µm is unknown.")
    return 1 / units


def read_visium(
    path: Path,
    opening: Opening | None = None,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Section:
    """Read a Space Ranger `outs` folder of either generation through `spatialdata_io.visium`.

    Spots are those of the count matrix, which for the filtered one are those in tissue. Positions are
    full-resolution pixels turned into µm; discs are 55 µm wide unless the user says otherwise.

    Raises
    ------
    FileProblem
        Counts, positions or an image are missing or cannot be read.
    DataProblem
        Barcodes of the counts have no position.
    GeometryProblem
        µm per pixel cannot be measured.
    """
    opening = opening or Opening()
    if path.name == "spatial":
        path = path.parent
    check(cancelled)
    progress(0.0, "reading spot positions")
    geometry = visium_geometry(path, um_per_pixel=opening.um_per_unit)
    progress(0.1, "reading counts")
    counts, notes = _read_counts(path)
    check(cancelled)
    progress(0.6, "reading the histology")
    rows = pd.Index(geometry.barcodes).get_indexer(counts.obs_names)
    if (rows < 0).any():
        raise DataProblem(
            f"{int((rows < 0).sum()):,} of {len(rows):,} barcodes of the counts are not in the table of positions, "
            f"for example '{counts.obs_names[rows < 0][0]}'. Counts and positions belong to different slides."
        )
    picture, more = _histology(path, geometry, opening)
    section = build_section(
        name=opening.name or _name(path),
        st=counts,
        st_xy=geometry.xy_um[rows],
        spot_diameter_um=opening.spot_diameter_um or SPOT_UM,
        image=None if picture is None else picture.pixels,
        image_to_um=None if picture is None else np.diag([picture.um_per_pixel, picture.um_per_pixel, 1.0]),
        path=path,
        notes=(*notes, *more),
    )
    progress(1.0, "opened")
    return section


def _read_counts(path: Path) -> tuple[AnnData, list[str]]:
    """Return spots × genes as spatialdata-io reads them, and notes."""
    file = _counts_file(path)
    names = _gene_names(file)
    import warnings

    import spatialdata_io

    try:
        with warnings.catch_warnings():
            # Names that come twice are counted and told below.
            warnings.simplefilter("ignore")
            sdata = spatialdata_io.visium(path, dataset_id="visium", counts_file=file.name)
    except Exception as error:  # whatever a damaged file provokes in half a dozen libraries
        raise FileProblem(f"'{path}' cannot be read as Space Ranger output: {_first_line(error)}.") from error
    table = sdata.tables["table"]
    for key in ("region", "spot_id"):
        del table.obs[key]
    for key in ("spatialdata_attrs", "spatial"):
        table.uns.pop(key, None)
    table.obsm.pop("spatial", None)
    twice = int(pd.Index(names).duplicated().sum())
    notes = []
    if twice:
        notes.append(f"{twice:,} gene names appear more than once; a number was appended to tell them apart.")
    if file.name.endswith(_COUNTS[1]):
        notes.append("Only the raw counts were found: spots outside of the tissue are included.")
    return table, notes


def _counts_file(path: Path) -> Path:
    for name in _COUNTS:
        found = sorted(path.glob(f"*{name}"))
        if found:
            return found[0]
    if (path / "filtered_feature_bc_matrix").is_dir() or sorted(path.glob("binned_outputs")):
        raise FileProblem(
            f"'{path}' has its counts in a form that is not read. Copy '{_COUNTS[0]}' of Space Ranger into it."
        )
    raise FileProblem(
        f"'{path}' has spot positions but no counts. Space Ranger writes them as '{_COUNTS[0]}'; "
        "copy that file into it."
    )


def _gene_names(file: Path) -> list[str]:
    import h5py

    try:
        with h5py.File(file, "r") as store:
            return [name.decode() for name in store["matrix/features/name"][:]]
    except (OSError, KeyError, AttributeError) as error:
        raise FileProblem(
            f"'{file}' is damaged or no count matrix of Space Ranger 1.0 or later: {_first_line(error)}."
        ) from error


def _histology(path: Path, geometry: VisiumGeometry, opening: Opening) -> tuple[Histology | None, list[str]]:
    """Return the picture with µm per pixel: the user's, else hires, else lowres."""
    full = geometry.um_per_pixel
    scales = {"tissue_hires_scalef": geometry.hires_scale, "tissue_lowres_scalef": geometry.lowres_scale}
    if opening.histology is not None:
        picture = read_histology(opening.histology)
        size, note = _given_um(picture, geometry, opening)
        return picture.with_um(size), [*picture.notes, note]
    for name, key in _IMAGES:
        file, scale = _spatial(path) / name, scales[key]
        if file.is_file() and scale is not None:
            picture = read_histology(file)
            return picture.with_um(full / scale), list(picture.notes)
    return None, [f"There is no histology: '{_IMAGES[0][0]}' or its scale factor is missing."]


def _given_um(picture: Histology, geometry: VisiumGeometry, opening: Opening) -> tuple[float, str]:
    """Return µm per pixel of a histology file that the user gave beside Space Ranger output.

    Its left upper corner is that of the image that Space Ranger was given.
    """
    if opening.histology_um_per_pixel is not None:
        return opening.histology_um_per_pixel * picture.reduced, "The histology begins where Space Ranger's image does."
    extent = geometry.xy_um.max(axis=0) / geometry.um_per_pixel
    width = picture.pixels.shape[1] * picture.reduced
    if width >= extent[0]:
        return geometry.um_per_pixel * picture.reduced, "The histology is taken as the full-resolution image."
    if geometry.hires_scale is not None and width >= extent[0] * geometry.hires_scale:
        return geometry.hires_um * picture.reduced, "The histology is taken as the hires image of Space Ranger."
    raise GeometryProblem(
        "The histology file is smaller than the hires image, so its scale is unknown. Give its pixel size in µm."
    )


def _positions_file(folder: Path) -> Path | None:
    for place in (folder / "spatial", folder):
        for name in _POSITIONS:
            if (place / name).is_file():
                return place / name
    return None


def _spatial(path: Path) -> Path:
    file = _positions_file(path)
    return path if file is None else file.parent


def _read_positions(file: Path) -> pd.DataFrame:
    """Return the six columns; older files have no header, some in between have one all the same."""
    try:
        with file.open(encoding="utf-8-sig") as stream:
            header = "in_tissue" in stream.readline()
        table = pd.read_csv(file, header=0 if header else None, names=None if header else _COLUMNS, dtype=str)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise FileProblem(f"'{file}' cannot be read: {_first_line(error)}.") from error
    missing = [column for column in _COLUMNS if column not in table]
    if missing:
        raise FileProblem(f"'{file}' has no column {', '.join(missing)}.")
    table = table[_COLUMNS]
    numbers = table[_COLUMNS[1:]].apply(pd.to_numeric, errors="coerce")
    bad = numbers.isna().any(axis=1)
    if table.empty or bad.any():
        where = "no rows" if table.empty else f"{int(bad.sum()):,} rows that are not numbers"
        raise DataProblem(f"'{file.name}' has {where}. It should list barcode, {', '.join(_COLUMNS[1:])}.")
    if table["barcode"].duplicated().any():
        raise DataProblem(f"'{file.name}' lists {table['barcode'].duplicated().sum():,} barcodes twice.")
    return pd.concat([table[["barcode"]], numbers], axis=1)


def _read_scales(folder: Path) -> dict[str, float]:
    file = folder / _SCALES
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {key: float(value) for key, value in content.items() if isinstance(value, (int, float)) and value > 0}
    except (OSError, ValueError, AttributeError) as error:
        raise FileProblem(f"'{file}' cannot be read as scale factors: {_first_line(error)}.") from error


def _name(path: Path) -> str:
    """Return a name for the section: Space Ranger's `outs` says nothing, its parent does."""
    return path.resolve().parent.name if path.name in ("outs", "visium", "") else path.name


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
