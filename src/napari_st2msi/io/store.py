"""Write a section as SpatialData zarr, so that a crash at any moment leaves the old state or the new.

The new store is built whole in a hidden folder beside its destination and then renamed into place.
Where a store is updated, everything that did not change is linked, not copied, so a large image costs
nothing.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from napari_st2msi.errors import FileProblem
from napari_st2msi.section import Section

if TYPE_CHECKING:
    from spatialdata import SpatialData

_NEW, _OLD = ".writing", ".replaced"


def save(section: Section, path: Path | None = None, *, overwrite: bool = False) -> Path:
    """Write a section; see `napari_st2msi.pipeline.save`.

    Parameters
    ----------
    path
        Where to; None, or the zarr the section was opened from, updates that zarr: its tables,
        points, shapes, transformations and what this package remembers.
    overwrite
        Whether another zarr that is already there may be replaced.

    Returns
    -------
    Where it was written to.

    Raises
    ------
    FileProblem
        There is something at the path already, or it cannot be written (permission, disk full).
    """
    destination = section.path if path is None else Path(path).expanduser().absolute()
    if destination is None:
        raise FileProblem(f"Section '{section.name}' was not opened from a zarr. Say where to save it.")
    own = section.sdata.path is not None and Path(section.sdata.path).absolute() == destination
    if not own:
        _check_free(destination, overwrite)
    section.remember(version=1, name=section.name, roles=vars(section.roles).copy())
    with _in_words(destination):
        recover(destination)
        with replacing(destination) as new:
            if own and is_zarr(destination):
                _update(section.sdata, destination, new)
            else:
                section.sdata.write(new, update_sdata_path=False)
        section.sdata.path = destination
    section.path = destination
    return destination


@contextmanager
def replacing(destination: Path) -> Iterator[Path]:
    """Give a path beside `destination` to write to; rename it into place when the block ends well.

    When the block fails, what was written is removed and `destination` is as it was.
    """
    new = destination.with_name(f".{destination.name}{_NEW}-{uuid4().hex[:8]}")
    old = destination.with_name(f".{destination.name}{_OLD}")
    try:
        yield new
        if destination.exists():
            # Two renames: between them only the aside copy exists, which `recover` puts back.
            os.replace(destination, old)
        os.replace(new, destination)
    except BaseException:
        _remove(new)
        recover(destination)
        raise
    _remove(old)


def recover(destination: Path) -> None:
    """Put back or clear away what a killed write left beside `destination`."""
    old = destination.with_name(f".{destination.name}{_OLD}")
    if old.exists():
        if destination.exists():
            _remove(old)
        else:
            os.replace(old, destination)
    if destination.parent.is_dir():
        for left in destination.parent.glob(f".{destination.name}{_NEW}-*"):
            _remove(left)


def is_zarr(path: Path) -> bool:
    """Tell whether a folder is a zarr group of either generation."""
    return any((path / name).is_file() for name in ("zarr.json", ".zgroup"))


def _update(sdata: SpatialData, destination: Path, new: Path) -> None:
    """Build at `new` what is at `destination` with the changed elements of `sdata`."""
    from spatialdata import SpatialData

    _link_tree(destination, new)
    # Images and labels are lazy and read from `destination` itself: they stay as they are on disk.
    changing = {name: element for kind, name, element in sdata.gen_elements() if kind not in ("images", "labels")}
    fresh = new / ".fresh"
    SpatialData.init_from_elements(changing, attrs=sdata.attrs).write(fresh)
    for kind in ("tables", "points", "shapes"):
        _remove(new / kind)
        if (fresh / kind).is_dir():
            os.replace(fresh / kind, new / kind)
    _remove(fresh)
    view = SpatialData.init_from_elements(
        {name: element for _, name, element in sdata.gen_elements()}, attrs=sdata.attrs
    )
    view.path = new
    for name in [*sdata.images, *sdata.labels]:
        view.write_transformations(name)
    view.write_attrs()
    view.write_consolidated_metadata()


def _link_tree(source: Path, target: Path) -> None:
    """Copy a store by links; its metadata, which is rewritten in place, is copied for real."""
    names = {"zarr.json", ".zattrs", ".zgroup", ".zmetadata", ".zarray"}

    def link(a: str, b: str) -> str:
        if Path(a).name not in names:
            try:
                os.link(a, b)
                return b
            except OSError:  # another file system, or one without links
                pass
        return str(shutil.copy2(a, b))

    shutil.copytree(source, target, copy_function=link, symlinks=True)


def _check_free(destination: Path, overwrite: bool) -> None:
    if not destination.parent.is_dir():
        raise FileProblem(f"The folder '{destination.parent}' does not exist. Make it first, or choose another.")
    if not destination.exists():
        return
    if not is_zarr(destination):
        raise FileProblem(f"'{destination}' is there already and is not a zarr. Choose another name.")
    if not overwrite:
        raise FileProblem(f"'{destination}' is there already. Allow it to be replaced, or choose another name.")


@contextmanager
def _in_words(destination: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise FileProblem(
                f"The disk is full: '{destination}' was not written and is as it was before. "
                "Free some space, or save elsewhere."
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise FileProblem(
                f"'{destination}' may not be written: the folder is read-only. Save to another folder."
            ) from error
        raise FileProblem(f"'{destination}' could not be written: {error}. It is as it was before.") from error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
