"""Open anything: which reader a path belongs to, and how two files become one section."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from napari_st2msi.errors import DataProblem, FileProblem
from napari_st2msi.io import anndata, magpie, tables, visium
from napari_st2msi.io.combine import combine
from napari_st2msi.io.opening import Opening
from napari_st2msi.io.place_histology import with_histology
from napari_st2msi.io.public.layouts import parts_of, sections_in
from napari_st2msi.io.store import is_store, recover
from napari_st2msi.progress import Progress, check, never
from napari_st2msi.section import Section

__all__ = ["Opening", "open_any"]

_CAN = (
    "What can be opened: a SpatialData .zarr folder, the outs folder of Space Ranger, a MAGPIE project folder, "
    ".imzML with its .ibd, a table of MSI (.csv, .tsv, also .gz), .h5ad, .h5mu, a Seurat object as .rds, "
    "a section of a public data set."
)


def open_any(
    path: Path,
    msi: Path | None = None,
    opening: Opening | None = None,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Section:
    """Open one file or folder, or two: ST and MSI.

    Parameters
    ----------
    path
        A SpatialData zarr, the `outs` folder of Space Ranger, a MAGPIE project, imzML (or its .ibd), a CSV
        or TSV of MSI, .h5ad, .h5mu, a Seurat object (.rds), or the folder of a section of a public data set
        (`napari_st2msi.io.public`); ``~`` is the home folder.
    msi
        The MSI, when it lies in a file of its own.
    opening
        What a reader cannot know.

    Raises
    ------
    FileProblem
        Nothing is there, or nothing that can be opened.
    DataProblem, GeometryProblem
        What is there cannot be used; the message says why.
    """
    opening = opening or Opening()
    # Absolute, so that "." has a name too.
    path = path.expanduser().absolute()
    msi = None if msi is None else msi.expanduser().absolute()
    notes: tuple[str, ...] = ()
    if msi is None and (public := parts_of(path, opening)) is not None:
        path, msi, opening, notes = public
    if msi is not None and _is_rds(path) and _is_rds(msi):
        section = _read_seurat(path, msi, opening, progress.part(0, 0.9), cancelled)
    elif msi is not None and _is_h5ad(path) and _is_h5ad(msi):
        section = anndata.read_h5ad(path, msi, opening, progress=progress.part(0, 0.9), cancelled=cancelled)
    elif msi is None:
        section = _open_one(path, opening, progress.part(0, 0.9), cancelled)
    else:
        first = _open_one(path, _of_st(opening), progress.part(0, 0.45), cancelled)
        second = _open_one(msi, _of_msi(opening), progress.part(0.45, 0.9), cancelled)
        section = combine(first, second, opening)
    check(cancelled)
    section.notes = (*section.notes, *notes)
    _check_group(section, opening)
    if opening.histology is not None and not _of_space_ranger(path):
        progress(0.9, "reading the histology")
        section = with_histology(section, opening)
    progress(1.0, "opened")
    return section


def _open_one(path: Path, opening: Opening, progress: Progress, cancelled: Callable[[], bool]) -> Section:
    check(cancelled)
    recover(path)
    if not path.exists():
        raise FileProblem(f"There is no '{path}'.")
    if path.is_dir():
        return _open_folder(path, opening, progress, cancelled)
    name = path.name.lower()
    if name.endswith((".imzml", ".ibd")):
        from napari_st2msi.io.imzml import read_imzml

        return read_imzml(_imzml_beside(path), opening, progress=progress, cancelled=cancelled)
    if name.endswith((".h5ad", ".h5mu")):
        if _is_h5ad(path):
            return anndata.read_h5ad(path, None, opening, progress=progress, cancelled=cancelled)
        return anndata.read_h5mu(path, opening, progress=progress, cancelled=cancelled)
    if _is_rds(path):
        return _read_seurat(path, None, opening, progress, cancelled)
    if tables.is_table(path):
        return tables.read_table(path, opening, progress=progress, cancelled=cancelled)
    if path.name in ("zarr.json", ".zgroup", ".zattrs", ".zmetadata"):
        return _open_one(path.parent, opening, progress, cancelled)
    if name.endswith(".zip"):
        raise FileProblem(f"'{path.name}' is an archive. Unpack it first, then open what is inside.")
    raise FileProblem(f"'{path.name}' is of no kind that can be opened. {_CAN}")


def _open_folder(path: Path, opening: Opening, progress: Progress, cancelled: Callable[[], bool]) -> Section:
    if is_store(path):
        from napari_st2msi.io.spatialdata import read_spatialdata

        return read_spatialdata(path, opening, progress=progress, cancelled=cancelled)
    if magpie.is_magpie(path):
        return magpie.read_magpie(path, opening, progress=progress, cancelled=cancelled)
    for folder in (path, path / "outs"):
        if visium.is_visium(folder):
            return visium.read_visium(folder, opening, progress=progress, cancelled=cancelled)
    if path.suffix == ".zarr":
        raise FileProblem(f"'{path}' is named .zarr but is no zarr store: it has no zarr.json. It may be incomplete.")
    inside = sections_in(path, cancelled=cancelled)
    if inside:
        names = ", ".join(str(section.relative_to(path)) for section in inside[:20])
        raise FileProblem(f"'{path}' holds {len(inside)} sections. Open one of them by itself: {names}.")
    raise FileProblem(f"The folder '{path}' is of no kind that can be opened. {_CAN}")


def _read_seurat(
    path: Path, msi: Path | None, opening: Opening, progress: Progress, cancelled: Callable[[], bool]
) -> Section:
    from napari_st2msi.io.seurat import read_seurat

    return read_seurat(path, msi, opening, progress=progress, cancelled=cancelled)


def _imzml_beside(path: Path) -> Path:
    """Return the .imzML file of a pair, whichever of the two was named."""
    if path.suffix.lower() == ".imzml":
        return path
    found = [file for file in path.parent.glob(f"{path.stem}.*") if file.suffix.lower() == ".imzml"]
    if not found:
        raise FileProblem(f"'{path.name}' holds spectra only; the .imzML file that describes them is not beside it.")
    return found[0]


def _of_space_ranger(path: Path) -> bool:
    """Tell whether a reader knows how a histology file lies over its spots."""
    return magpie.is_magpie(path) or any(visium.is_visium(folder) for folder in (path, path / "outs"))


def _check_group(section: Section, opening: Opening) -> None:
    tables = [section.sdata.tables[name] for name in (section.roles.st, section.roles.msi) if name is not None]
    if opening.group is not None and not any(opening.group in table.obs for table in tables):
        columns = ", ".join(str(column) for table in tables for column in table.obs.columns)
        raise DataProblem(
            f"There is no column '{opening.group}' to tell sections apart. Columns are: {columns[:200] or 'none'}."
        )


def _is_h5ad(path: Path) -> bool:
    return path.name.lower().endswith(".h5ad")


def _is_rds(path: Path) -> bool:
    return path.name.lower().endswith(".rds")


def _of_st(opening: Opening) -> Opening:
    """Return what of the choices concerns ST, when MSI lies in another file."""
    return opening.model_copy(update={"msi": None, "msi_element": None, "pixel_size_um": None, "same_frame": False})


def _of_msi(opening: Opening) -> Opening:
    """Return what of the choices concerns MSI. µm per unit is that of ST, unless both share one frame."""
    unit = opening.um_per_unit if opening.same_frame else None
    return opening.model_copy(
        update={
            "name": None,
            "st": None,
            "st_element": None,
            "image": None,
            "um_per_unit": unit,
            "histology": None,
            "same_frame": False,
        }
    )
