"""A section onto disk, such that at any moment either the old state or the new one is there."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from napari_st2msi.errors import FileProblem
from napari_st2msi.io.landmarks import FIXED, MOVING
from napari_st2msi.roles import PAIRED_TABLE, PREDICTED_TABLE
from napari_st2msi.section import CONFIDENCE, EXPECTED_ERROR, Section, warped_name

if TYPE_CHECKING:
    from anndata import AnnData
    from geopandas import GeoDataFrame
    from spatialdata import SpatialData

#: Version of what this package writes into `SpatialData.attrs`.
LAYOUT = 1
_OURS: dict[str, tuple[str, ...]] = {"tables": (PAIRED_TABLE, PREDICTED_TABLE), "points": (FIXED, MOVING)}
_ROOT_FILES = ("zarr.json", ".zgroup")
#: Files that say how an array or group is built. Everything else is content and never changed in place.
_METADATA = ("zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata")
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))  # Windows knows no quota


def save(section: Section, path: Path | None = None, *, overwrite: bool = False) -> Path:
    """Write a section as SpatialData zarr.

    Everything is written beside the target and renamed into its place. A crash leaves the old state or
    the new one; what it leaves beside them is removed by the next save.

    Parameters
    ----------
    section
        Its `path` becomes the zarr that was written; its SpatialData is read anew where the files that it
        was still reading from were replaced as a whole.
    path
        Where to. None updates the zarr that the section was opened from: paired and predicted tables,
        landmarks, shapes that changed, whatever is new, the confidence of the registration, transformations
        and attributes. Images, labels, and the measured tables stay as they are on disk.
    overwrite
        Replace a zarr that is already at `path`.

    Returns
    -------
    Where it was written.

    Raises
    ------
    FileProblem
        There is nothing to update, something else is in the way, the folder is missing or cannot be
        written, or the disk is full.
    """
    target = _own_zarr(section) if path is None else Path(path).expanduser().resolve()
    if path is not None:
        _check_parent(target)
        recover(target)
        _check_free(target, overwrite)
    section.remember(version=LAYOUT, name=section.name, roles=vars(section.roles).copy())
    new, old = _sibling(target, "new"), _sibling(target, "old")
    whole = path is not None or not _is_current(target)
    try:
        _remove(new)
        _remove(old)
        if not whole:
            _clone(target, new)
        with _quiet():
            if whole:
                _shell(section.sdata).write(new)
            else:
                _update(section, new)
        was_backed = _backed_by(section.sdata, target)
        _swap(new, target, old)
    except OSError as error:
        _remove(new)
        raise FileProblem(in_words(error, target)) from error
    except BaseException:
        _remove(new)
        raise
    if whole and was_backed:
        # What is still to be read comes from the files just replaced, whose chunks may differ.
        section.sdata = read_store(target)
        section.forget_caches()
    section.sdata.path = target
    section.path = target
    return target


def recover(path: Path) -> None:
    """Put the old state back where a crash in the middle of a save left only that."""
    old = _sibling(path, "old")
    if not path.exists() and old.is_dir():
        os.rename(old, path)


def is_store(path: Path) -> bool:
    """Tell whether a folder is the root of a zarr store."""
    return path.is_dir() and any((path / name).is_file() for name in _ROOT_FILES)


def read_store(path: Path) -> SpatialData:
    """Read a SpatialData zarr; images and points stay on disk until they are looked at."""
    import spatialdata

    with _quiet():
        return spatialdata.read_zarr(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what spatialdata and zarr say about layouts old and new: it is not the user's to act on."""
    logger = logging.getLogger("spatialdata._logging")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        logger.setLevel(level)


def _own_zarr(section: Section) -> Path:
    if section.path is not None:
        recover(section.path)
    if section.path is None or not is_store(section.path):
        raise FileProblem(f"Section '{section.name}' was not opened from a zarr. Say where to write it.")
    return section.path.resolve()


def _check_parent(target: Path) -> None:
    if not target.parent.is_dir():
        raise FileProblem(f"The folder '{target.parent}' does not exist. Make it first, or choose another place.")


def _check_free(target: Path, overwrite: bool) -> None:
    if not target.exists():
        return
    if not overwrite:
        raise FileProblem(f"'{target}' is already there. Choose another name, or allow it to be overwritten.")
    if not is_store(target):
        raise FileProblem(f"'{target}' is there and is no zarr, so it is not overwritten. Choose another name.")


def _sibling(target: Path, what: str) -> Path:
    return target.parent / f".{target.name}.st2msi-{what}"


def _is_current(target: Path) -> bool:
    """Tell whether elements can be added; older layouts (zarr 2) are written anew as a whole."""
    return (target / "zarr.json").is_file()


def _clone(source: Path, clone: Path) -> None:
    """Copy a store by hard links: no content is copied where the file system can link.

    What describes content is copied for real, since that is what an update changes.
    """
    for folder, _, files in os.walk(source, followlinks=True):
        here = clone / Path(folder).relative_to(source)
        here.mkdir()
        for name in files:
            if name in _METADATA or not _linked(Path(folder, name), here / name):
                shutil.copy2(Path(folder, name), here / name)


def _linked(origin: Path, link: Path) -> bool:
    try:
        os.link(origin, link)
    except OSError as error:
        if error.errno in _FULL:
            raise
        return False
    return True


def _update(section: Section, store: Path) -> None:
    """Bring a clone of the store that a section was read from up to date."""
    shell = _shell(section.sdata)
    shell.path = store
    ours = dict(_OURS)
    if section.roles.msi_element is not None:
        ours["shapes"] = (warped_name(section.roles.msi_element),)
    for kind, name, element in list(shell.gen_elements()):
        place = store / kind / name
        if place.exists() and kind == "shapes":
            changed = not _same_shapes(element, place)
        else:
            changed = not place.exists() or name in ours.get(kind, ())
        if changed:
            _remove(place)
            shell.write_element(name)
    for kind, names in ours.items():
        for name in names:
            if name not in shell:
                _remove(store / kind / name)
    if section.roles.st is not None:
        _update_spots(section.sdata.tables[section.roles.st], store / "tables" / section.roles.st)
    for _, name, _ in list(shell.gen_spatial_elements()):
        shell.write_transformations(name)
    shell.write_attrs()
    shell.write_consolidated_metadata()


def _same_shapes(element: GeoDataFrame, place: Path) -> bool:
    """Tell whether a store has the very shapes; what cannot be told is not the same."""
    import geopandas

    file = place / "shapes.parquet"
    if not file.is_file():
        return False
    before = geopandas.read_parquet(file)
    # Frames compare geometries by identity of objects; their coordinates say it.
    name = element.geometry.name
    return bool(
        len(before) == len(element)
        and list(before.columns) == list(element.columns)
        and before.index.equals(element.index)
        and (before.geometry.to_wkb() == element.geometry.to_wkb()).all()
        and pd.DataFrame(before.drop(columns=name)).equals(pd.DataFrame(element.drop(columns=name)))
    )


def _update_spots(table: AnnData, place: Path) -> None:
    """Write what is known of spots anew where the confidence of the registration came, went or changed."""
    import anndata
    import zarr

    group = zarr.open_group(place, mode="r+")
    before = anndata.io.read_elem(group["obs"])
    kept = [column for column in (CONFIDENCE, EXPECTED_ERROR) if column in before]
    if kept == [column for column in (CONFIDENCE, EXPECTED_ERROR) if column in table.obs] and before[kept].equals(
        table.obs[kept]
    ):
        return
    _remove(place / "obs")
    anndata.io.write_elem(group, "obs", table.obs)


def _shell(sdata: SpatialData) -> SpatialData:
    """Return another SpatialData around the same elements, to write from without touching the first."""
    from spatialdata import SpatialData

    return SpatialData.init_from_elements(
        {name: element for _, name, element in sdata.gen_elements()}, attrs=sdata.attrs
    )


def _backed_by(sdata: SpatialData, path: Path) -> bool:
    from spatialdata import get_dask_backing_files

    return any(Path(file).resolve().is_relative_to(path) for file in get_dask_backing_files(sdata))


def _swap(new: Path, target: Path, old: Path) -> None:
    if target.exists():
        os.rename(target, old)
        try:
            os.rename(new, target)
        except OSError:
            os.rename(old, target)
            raise
        _remove(old)
    else:
        os.rename(new, target)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):  # a disk that cannot be written says so even where there is nothing
            path.unlink(missing_ok=True)


def in_words(error: OSError, target: Path) -> str:
    """Say why a file or folder could not be written."""
    if error.errno in _FULL:
        return f"The disk is full: '{target}' was not written, and what was there is unchanged. Free some space."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"You may not write in '{target.parent}'. Choose another folder, or ask for the right to write there."
    return f"'{target}' could not be written ({error.strerror or error}). What was there is unchanged."
