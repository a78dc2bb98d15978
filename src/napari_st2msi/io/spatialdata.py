"""A SpatialData zarr, ours or of any other layout, to a `Section`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from napari_st2msi.errors import FileProblem
from napari_st2msi.io.opening import Opening
from napari_st2msi.io.store import read_store
from napari_st2msi.progress import Progress, check, never
from napari_st2msi.roles import Roles, detect_roles
from napari_st2msi.section import ATTRS, Section


def read_spatialdata(
    path: Path,
    opening: Opening | None = None,
    *,
    progress: Progress = Progress(),  # noqa: B008 (stateless)
    cancelled: Callable[[], bool] = never,
) -> Section:
    opening = opening or Opening()
    check(cancelled)
    progress(0.0, f"reading {path.name}")
    try:
        sdata = read_store(path)
    except Exception as error:
        raise FileProblem(f"'{path}' cannot be read as SpatialData: {error}") from error
    facts = sdata.attrs.get(ATTRS, {})
    roles = Roles(**facts["roles"]) if "roles" in facts else detect_roles(sdata)
    return Section(sdata, roles, name=opening.name or facts.get("name") or path.stem, path=path)
