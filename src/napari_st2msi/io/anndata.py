"""AnnData and MuData to a `Section`: already paired, with coordinates of their own, or one modality."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, FileProblem, GeometryProblem
from napari_st2msi.io import visium
from napari_st2msi.io.build import build_section
from napari_st2msi.io.combine import unit_notes
from napari_st2msi.io.opening import Opening
from napari_st2msi.io.public.desium import split_ions
from napari_st2msi.io.regions import Layout, find_column, largest, side_by_side
from napari_st2msi.io.tables import mz_of
from napari_st2msi.io.units import MsiScale, metaspace_pixel, msi_scale
from napari_st2msi.ions import has_mz
from napari_st2msi.paired import check_values, dense
from napari_st2msi.progress import Progress, check, never
from napari_st2msi.section import Section

if TYPE_CHECKING:
    from anndata import AnnData

_XY = (
    ("x", "y"),
    ("x_centroid", "y_centroid"),
    ("x_coord", "y_coord"),
    ("center_x", "center_y"),
    ("ion_image_pixel_x", "ion_image_pixel_y"),
    ("pxl_col_in_fullres", "pxl_row_in_fullres"),
    ("imagecol", "imagerow"),
)
_OBSM = ("spatial", "X_spatial", "coordinates")


def read_h5ad(
    path: Path,
    msi: Path | None = None,
    opening: Opening | None = None,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Section:
    """Read one .h5ad (ST or MSI), or two that belong together.

    Two with the same observations are paired: the spots of the one have the ions of the other. Two with
    observations of their own are put beside each other, not registered unless `opening.same_frame`. A table
    whose `var` has m/z, or whose names are m/z, is MSI.

    Raises
    ------
    FileProblem
        A file is missing or no AnnData.
    DataProblem
        Positions are missing, intensities are missing or negative, or names come twice.
    """
    opening = opening or Opening()
    check(cancelled)
    progress(0.0, f"reading {path.name}")
    first = load(path)
    second = None
    if msi is not None:
        check(cancelled)
        progress(0.4, f"reading {msi.name}")
        second = load(msi)
    elif (both := split_ions(first)) is not None:
        first, second = both
    check(cancelled)
    progress(0.8, "building the section")
    section = section_of_tables(first, second, opening, name=path.stem, path=path)
    progress(1.0, "opened")
    return section


def read_h5mu(
    path: Path,
    opening: Opening | None = None,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Section:
    """Read a MuData file: the modality with m/z is MSI, the other one ST.

    Raises
    ------
    FileProblem
        The package mudata is missing, or the file is no MuData.
    DataProblem
        There are not exactly two candidates; `opening.st` and `opening.msi` choose modalities by name.
    """
    opening = opening or Opening()
    try:
        import mudata
    except ImportError as error:
        raise FileProblem("Reading .h5mu needs the package mudata. Install it with: pip install mudata") from error
    check(cancelled)
    progress(0.0, f"reading {path.name}")
    try:
        whole = mudata.read_h5mu(path)
        modalities: dict[str, AnnData] = {name: _with_positions(table, whole) for name, table in whole.mod.items()}
    except Exception as error:  # h5py, anndata and mudata each raise their own
        raise FileProblem(f"'{path}' cannot be read as MuData: {_first_line(error)}.") from error
    names = ", ".join(modalities) or "none"
    for chosen in (opening.st, opening.msi):
        if chosen is not None and chosen not in modalities:
            raise DataProblem(f"There is no modality '{chosen}'. Modalities are: {names}.")
    ions = [name for name, table in modalities.items() if _has_mz(table) and name != opening.st]
    msi = opening.msi or (ions[0] if ions else None)
    rest = [name for name in modalities if name != msi and name not in ions]
    st = opening.st or (rest[0] if rest else None)
    if st is None and msi is None:
        raise DataProblem(f"'{path.name}' holds no modality that can be used. Modalities are: {names}.")
    tables = [modalities[name] for name in (st, msi) if name is not None]
    section = section_of_tables(
        tables[0], tables[1] if len(tables) == 2 else None, opening, name=path.stem, path=path, swap=False
    )
    unused = [name for name in modalities if name not in (st, msi)]
    if unused:
        section.notes += (f"Modalities not used: {', '.join(unused)}.",)
    progress(1.0, "opened")
    return section


def _with_positions(table: AnnData, whole: Any) -> AnnData:
    """Return a modality with the positions that the whole file keeps for all, if it has none of its own."""
    table = table.copy()
    for key in _OBSM:
        if key in whole.obsm and not _has_positions(table):
            rows = whole.obs_names.get_indexer(table.obs_names)
            table.obsm[key] = np.asarray(whole.obsm[key])[rows]
    return table


def load(path: Path) -> AnnData:
    """Read an .h5ad file.

    Raises
    ------
    FileProblem
        It is missing, damaged, or no AnnData.
    """
    import anndata

    if not path.is_file():
        raise FileProblem(f"There is no '{path}'.")
    try:
        return anndata.read_h5ad(path)
    except Exception as error:  # h5py and anndata raise whatever the damaged part provokes
        raise FileProblem(f"'{path}' cannot be read as AnnData: {_first_line(error)}.") from error


def section_of_tables(
    first: AnnData,
    second: AnnData | None,
    opening: Opening,
    *,
    name: str,
    path: Path | None = None,
    swap: bool = True,
) -> Section:
    """Return a section of one or two tables.

    Parameters
    ----------
    first, second
        ST and MSI; or one table, which is MSI if it has m/z.
    swap
        Whether the two may come in the wrong order.

    Raises
    ------
    DataProblem
        As for `read_h5ad`.
    """
    notes: list[str] = []
    for table in (first, second):
        if table is not None and table.X is None:
            raise DataProblem("A table has no values: its X is empty. Put counts or intensities there.")
    if second is None:
        st, msi = (None, first) if _has_mz(first) else (first, None)
    elif swap and _has_mz(first) and not _has_mz(second):
        st, msi = second, first
        notes.append("The first file has m/z and the second has not: the first is taken as MSI.")
    else:
        st, msi = first, second
    if msi is not None:
        msi = _with_mz(msi)
        if not has_mz(msi):
            notes.append("The second table has no m/z; its columns are predicted under their own names.")
    name = opening.name or name
    if st is not None and msi is not None:
        _check_rows(st, "ST")
        _check_rows(msi, "MSI")
        if _same_observations(st, msi):
            return _paired(st, msi, opening, notes, name, path)
    return _apart(st, msi, opening, notes, name, path)


def _paired(st: AnnData, ions: AnnData, opening: Opening, notes: list[str], name: str, path: Path | None) -> Section:
    """The same spots with genes and with ions."""
    ions = ions[st.obs_names].copy()
    rows = ~np.isnan(ions.X).all(axis=1) if isinstance(ions.X, np.ndarray) else slice(None)
    check_values(ions.X[rows], "ions")
    xy = positions(st, None) if _has_positions(st) else positions(ions, "The tables")
    layout = _layout([st], [xy], opening, notes)
    factor = _st_unit(st, xy, opening, notes)
    st, xy = _laid_out(st, xy, layout, factor)
    ions.obs = pd.DataFrame(
        {"section": st.obs["section"] if layout else name, "coverage": 1.0, "n_pixels": 1}, index=st.obs_names
    )
    notes.insert(0, f"Both files list the same {st.n_obs:,} observations: they are taken as already paired.")
    return build_section(
        name=name,
        st=st,
        st_xy=xy,
        spot_diameter_um=_diameter(st, opening),
        paired=ions,
        path=path,
        notes=tuple(notes),
    )


def _apart(
    st: AnnData | None, msi: AnnData | None, opening: Opening, notes: list[str], name: str, path: Path | None
) -> Section:
    """Tables with positions of their own."""
    tables = [table for table in (st, msi) if table is not None]
    xys = [positions(table, what) for table, what in ((st, "ST"), (msi, "MSI")) if table is not None]
    layout = _layout(tables, xys, opening, notes, pixels=None if msi is None else len(tables) - 1)
    parts: dict[str, Any] = {}
    if st is not None:
        factor = _st_unit(st, xys[0], opening, notes)
        parts["st"], parts["st_xy"] = _laid_out(st, xys[0], layout, factor)
        parts["spot_diameter_um"] = _diameter(st, opening)
    if msi is not None:
        check_values(msi.X, "ions")
        scale = _msi_unit(msi, xys[-1], layout, opening)
        notes += scale.notes
        parts["msi"], parts["msi_xy"] = _laid_out(msi, xys[-1], layout, scale.um_per_unit)
        parts["pixel_size_um"] = scale.pixel_um
        if st is not None and opening.same_frame:
            parts["msi_to_st"] = np.eye(3)
    section = build_section(name=name, path=path, notes=tuple(notes), **parts)
    section.notes += unit_notes(section)
    return section


# -- positions --------------------------------------------------------------------------------------


def positions(table: AnnData, what: str | None) -> NDArray[np.float64]:
    """Return (n, 2) positions from `obsm` or from columns of `obs`.

    Raises
    ------
    DataProblem
        There are none, or they are no numbers.
    """
    for key in _OBSM:
        if key in table.obsm:
            xy = pd.DataFrame(dense(table.obsm[key])).iloc[:, :2]
            break
    else:
        lower = {str(column).lower(): column for column in table.obs.columns}
        columns = next(([lower[x], lower[y]] for x, y in _XY if x in lower and y in lower), None)
        if columns is None:
            raise DataProblem(
                f"{what or 'The table'} has no positions. Put x and y into obsm['spatial'], "
                "or into columns x and y of obs."
            )
        xy = table.obs[columns]
    numbers: NDArray[np.float64] = xy.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    if numbers.shape[1] != 2:
        raise DataProblem(f"{what or 'The table'} has positions with one coordinate only; x and y are needed.")
    bad = int((~np.isfinite(numbers)).any(axis=1).sum())
    if bad:
        raise DataProblem(f"{bad:,} of {len(numbers):,} rows of {what or 'the table'} have no position (NaN or text).")
    return numbers


def _has_positions(table: AnnData) -> bool:
    try:
        positions(table, None)
    except DataProblem:
        return False
    return True


def _layout(
    tables: list[AnnData],
    xys: list[NDArray[np.float64]],
    opening: Opening,
    notes: list[str],
    *,
    pixels: int | None = None,
) -> Layout | None:
    column = find_column([table.obs for table in tables], xys, opening.group)
    if column is None:
        return None
    layout = side_by_side(column, [table.obs[column] for table in tables], xys, pixels=pixels)
    if len(layout.shift) > 1:
        why = "as you chose" if opening.group else "since they lie over one another in the file"
        notes.append(f"{len(layout.shift)} regions (column '{column}') are laid side by side, {why}.")
    return layout


def _laid_out(
    table: AnnData, xy: NDArray[np.float64], layout: Layout | None, um_per_unit: float
) -> tuple[AnnData, NDArray[np.float64]]:
    """Return the table with regions named, and positions in µm; where regions moved the original ones stay."""
    table = table.copy()
    if layout is None:
        return table, xy * um_per_unit
    labels = table.obs[layout.column].astype(str).to_numpy()
    table.obs["section"] = pd.Categorical(labels)
    table.obsm["spatial_original"] = xy
    return table, layout.apply(xy, labels) * um_per_unit


def _st_unit(st: AnnData, xy: NDArray[np.float64], opening: Opening, notes: list[str]) -> float:
    if {"array_row", "array_col"} <= set(st.obs.columns):
        try:
            return visium.um_per_unit(xy, st.obs["array_row"].to_numpy(), st.obs["array_col"].to_numpy())
        except GeometryProblem:
            pass
    if opening.um_per_unit is None:
        notes.append("The file does not say how large a unit of its positions is: they are taken as µm.")
    return opening.um_per_unit or 1.0


def _msi_unit(msi: AnnData, xy: NDArray[np.float64], layout: Layout | None, opening: Opening) -> MsiScale:
    """Return the scale of MSI, measured in the largest region since regions need not share a grid."""
    if layout is not None:
        xy = xy[largest(msi.obs[layout.column])]
    return msi_scale(xy, opening, known_um=metaspace_pixel(msi))


def _diameter(st: AnnData, opening: Opening) -> float | None:
    if opening.spot_diameter_um is None and {"array_row", "array_col"} <= set(st.obs.columns):
        return visium.SPOT_UM
    return opening.spot_diameter_um


# -- names ------------------------------------------------------------------------------------------


def _has_mz(table: AnnData) -> bool:
    return has_mz(table) or _mz_from_names(table) is not None


def _with_mz(table: AnnData) -> AnnData:
    """Return the table with m/z in `var`, from its names where they are m/z."""
    if has_mz(table):
        return table
    mz = _mz_from_names(table)
    if mz is None:
        return table
    table = table.copy()
    table.var["mz"] = mz
    return table


def _mz_from_names(table: AnnData) -> list[float] | None:
    """Return m/z where every name is one with decimals: plain whole numbers may be anything."""
    numbers = [mz_of(str(name)) for name in table.var_names]
    if not numbers or any(number is None for number in numbers) or not any("." in str(n) for n in table.var_names):
        return None
    return [number for number in numbers if number is not None]


def _check_rows(table: AnnData, what: str) -> None:
    if not table.obs_names.is_unique:
        twice = ", ".join(map(str, table.obs_names[table.obs_names.duplicated()].unique()[:3]))
        raise DataProblem(f"Some rows of the {what} table have the same name ({twice}). Give each its own name.")


def _same_observations(st: AnnData, msi: AnnData) -> bool:
    """Tell whether two tables list the same observations, and not merely number them from 0 both."""
    if st.n_obs != msi.n_obs or set(st.obs_names) != set(msi.obs_names):
        return False
    numbered = bool(st.obs_names.str.fullmatch(r"\d+").all())
    if not numbered or not (_has_positions(st) and _has_positions(msi)):
        return True
    return bool(np.allclose(positions(st, None), positions(msi[st.obs_names], None), equal_nan=True))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
