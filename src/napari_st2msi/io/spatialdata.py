"""A SpatialData zarr, ours or of any other layout, to a `Section`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from napari_st2msi.errors import DataProblem, FileProblem
from napari_st2msi.io.build import free_name
from napari_st2msi.io.combine import unit_notes
from napari_st2msi.io.frames import place
from napari_st2msi.io.opening import Opening
from napari_st2msi.io.store import LAYOUT, read_store, recover
from napari_st2msi.progress import Progress, check, never
from napari_st2msi.roles import Roles, detect_roles, table_regions
from napari_st2msi.section import ATTRS, MSI_SYSTEM, SYSTEM, Section

if TYPE_CHECKING:
    from spatialdata import SpatialData

_METADATA = ("zarr.json", ".zarray", ".zmetadata")
_CODECS = ("codecs", "filters", "compressor")
#: What this package writes down has these kinds of values.
_KINDS = {
    "version": int,
    "name": str,
    "group": str,
    "roles": dict,
    "pairing": dict,
    "registration": dict,
    "registration_history": list,
    "warped": dict,
}


def read_spatialdata(
    path: Path,
    opening: Opening | None = None,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Section:
    """Read a SpatialData zarr of any layout; images and points stay on disk until they are looked at.

    What is ST and what MSI is what this package wrote down in an earlier save, else what the tables
    contain, unless `opening` says otherwise. Elements without our coordinate systems get them (see
    `napari_st2msi.io.frames.place`), in memory only.

    Raises
    ------
    FileProblem
        The folder is no SpatialData, is damaged, was written by a newer version, or is unsafe to read.
    DataProblem
        A role names something that is not there, or a table does not belong to its element.
    """
    opening = opening or Opening()
    check(cancelled)
    recover(path)
    progress(0.0, f"reading {path.name}")
    _check_safe(path)
    try:
        sdata = read_store(path)
    except Exception as error:  # damaged stores surface as whatever the innermost library raises
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise FileProblem(f"'{path}' cannot be read as SpatialData: {reason}.") from error
    if not any(True for _ in sdata.gen_elements()):
        raise FileProblem(f"'{path}' holds nothing that SpatialData knows: no tables, shapes, points or images.")
    check(cancelled)
    progress(0.6, "finding out what is what")
    section = section_of(sdata, opening, name=path.name.removesuffix(".zarr"), path=path)
    progress(1.0, "opened")
    return section


def section_of(sdata: SpatialData, opening: Opening, *, name: str, path: Path | None = None) -> Section:
    """Return a section around a SpatialData, with roles found and micrometres in place.

    Raises
    ------
    FileProblem
        It was written by a newer version of this package.
    DataProblem, GeometryProblem
        As for `read_spatialdata`.
    """
    facts = _remembered(sdata, name)
    if facts.get("version", 0) > LAYOUT:
        raise FileProblem(f"'{name}' was written by a newer version of napari-st2msi. Update this one.")
    roles, notes = _roles(sdata, facts, opening)
    if facts and (opening.pixel_size_um or opening.um_per_unit):
        notes.append(
            "The file is in µm already: pixel size and µm per unit are not used. To change them, convert anew."
        )
    roles, more = place(sdata, roles, opening)
    section = Section(sdata, roles, name=opening.name or facts.get("name") or name, path=path)
    if opening.same_frame and section.has_st and section.has_msi and not section.registered:
        _lay_as_it_is(section)
    _name_sections(section, opening.group or facts.get("group"))
    section.notes = (*notes, *more, *unit_notes(section))
    return section


def _remembered(sdata: SpatialData, name: str) -> dict[str, Any]:
    """Return what an earlier save wrote down; see `Section.remember`."""
    facts = sdata.attrs.get(ATTRS) or {}
    if not isinstance(facts, dict) or any(key in facts and not isinstance(facts[key], _KINDS[key]) for key in _KINDS):
        raise FileProblem(f"'{name}' is damaged: its attributes '{ATTRS}' are not what this package writes.")
    return facts


def _name_sections(section: Section, column: str | None) -> None:
    """Take which section a row belongs to from a column, and remember which one."""
    tables = [section.sdata.tables[name] for name in (section.roles.st, section.roles.msi) if name is not None]
    for table in tables:
        if column in table.obs:
            table.obs["section"] = pd.Categorical(table.obs[column].astype(str))
            section.remember(group=column)


def _lay_as_it_is(section: Section) -> None:
    from spatialdata.transformations import get_transformation, set_transformation

    if section.roles.msi_element is not None:
        element = section.sdata[section.roles.msi_element]
        set_transformation(element, get_transformation(element, get_all=True)[MSI_SYSTEM], SYSTEM)


# -- what is what -----------------------------------------------------------------------------------


def _roles(sdata: SpatialData, facts: dict[str, Any], opening: Opening) -> tuple[Roles, list[str]]:
    """Return the roles: as the user says, else as saved, else as detected; and notes."""
    detected = detect_roles(sdata)
    saved = facts.get("roles")
    if saved is not None and all(_fits(sdata, role, name) for role, name in saved.items()):
        detected = Roles(**{key: saved.get(key) for key in vars(detected)})
    roles = detected
    for role in ("st", "msi"):
        chosen = getattr(opening, role)
        if chosen is not None:
            _check_table(sdata, chosen, role)
            roles = replace(roles, **{role: chosen, f"{role}_element": _first_region(sdata, chosen)})
    if roles.st is not None and roles.st == roles.msi:
        # One table cannot be both: what the user chose stays.
        other = "msi" if opening.st is not None and opening.msi is None else "st"
        roles = replace(roles, **{other: None, f"{other}_element": None})
    for role in ("st_element", "msi_element", "image"):
        chosen = getattr(opening, role)
        if chosen is not None:
            if chosen not in sdata:
                raise DataProblem(f"There is no '{chosen}' in the file. It has: {_names(sdata)}.")
            roles = replace(roles, **{role: chosen})
    if roles.image is not None and roles.image not in sdata.images:
        raise DataProblem(f"'{roles.image}' is no image. Images are: {', '.join(sdata.images) or 'none'}.")
    if roles.st is None and roles.msi is None:
        raise DataProblem(
            f"There is no table of genes or ions in the file, only: {_names(sdata)}. "
            "Values must be in a SpatialData table; ions need m/z in its var."
        )
    notes = []
    for role in ("st", "msi"):
        table = getattr(roles, role)
        if table is not None:
            element, note = _link(sdata, table, getattr(roles, f"{role}_element"))
            roles = replace(roles, **{f"{role}_element": element})
            notes += note
    several = [name for name in sdata.tables if name not in (roles.st, roles.msi) and table_regions(sdata.tables[name])]
    others = [name for name in several if not name.startswith("msi_")]
    if others and not saved:
        notes.append(f"Other tables in the file: {', '.join(others)}. Choose them as ST or MSI if they are.")
    return roles, notes


def _fits(sdata: SpatialData, role: str, name: Any) -> bool:
    """Tell whether what was saved under a role is still there."""
    return name is None or (isinstance(name, str) and name in (sdata.tables if role in ("st", "msi") else sdata))


def _check_table(sdata: SpatialData, name: str, role: str) -> None:
    if name not in sdata.tables:
        raise DataProblem(
            f"There is no table '{name}' to use as {role.upper()}. Tables are: {', '.join(sdata.tables) or 'none'}."
        )


def _first_region(sdata: SpatialData, table: str) -> str | None:
    return next((region for region in table_regions(sdata.tables[table]) if region in sdata), None)


def _names(sdata: SpatialData) -> str:
    return ", ".join(name for _, name, _ in sdata.gen_elements()) or "nothing"


def _link(sdata: SpatialData, name: str, element: str | None) -> tuple[str | None, list[str]]:
    """Make a table annotate its element where the file did not say so; return the element, and notes.

    A table without element that has positions (`obsm["spatial"]`) gets points of them.
    """
    table = sdata.tables[name]
    if table.uns.get("spatialdata_attrs") and element is not None:
        return element, []
    notes = []
    if element is None:
        if "spatial" not in table.obsm:
            return None, [f"Table '{name}' annotates nothing in the file and has no positions: choose its element."]
        element = _as_points(sdata, name)
        notes.append(f"Table '{name}' annotates nothing in the file; its own positions (obsm 'spatial') are used.")
        instances = pd.Index(range(table.n_obs))
    else:
        instances = _instances(sdata[element])
        if not table.obs_names.isin(instances.astype(str)).all():
            if len(instances) != table.n_obs:
                raise DataProblem(
                    f"Table '{name}' has {table.n_obs:,} rows and '{element}' {len(instances):,} instances, and "
                    "nothing says which belong together. Choose another element."
                )
            notes.append(f"Table '{name}' and '{element}' are matched row by row, since nothing says otherwise.")
        else:
            instances = instances[instances.astype(str).get_indexer(table.obs_names)]
    sdata.tables[name] = _annotated(table, element, instances)
    return element, notes


def _annotated(table: Any, element: str, instances: pd.Index) -> Any:
    from spatialdata.models import TableModel

    table = table.copy()
    table.uns.pop("spatialdata_attrs", None)
    region, key = (free_name(name, table.obs.columns) for name in ("region", "instance"))
    table.obs[region] = pd.Categorical([element] * table.n_obs)
    table.obs[key] = instances.to_numpy()
    return TableModel.parse(table, region=element, region_key=region, instance_key=key)


def _as_points(sdata: SpatialData, name: str) -> str:
    from spatialdata.models import PointsModel
    from spatialdata.transformations import Identity

    xy = pd.DataFrame(sdata.tables[name].obsm["spatial"]).to_numpy(dtype=float)[:, :2]
    element = f"{name}_positions"
    # A system of its own: nothing says that these positions lie in that of anything else.
    sdata.points[element] = PointsModel.parse(
        pd.DataFrame(xy, columns=["x", "y"]), transformations={element: Identity()}
    )
    return element


def _instances(element: Any) -> pd.Index:
    from spatialdata import get_element_instances
    from spatialdata.models import Labels2DModel, get_model

    instances = pd.Index(get_element_instances(element))
    # 0 is the background of labels; of other elements it is an instance like any.
    return instances[instances != 0] if get_model(element) is Labels2DModel else instances


# -- safety -----------------------------------------------------------------------------------------


def _check_safe(path: Path) -> None:
    """Refuse stores whose arrays would run code when read, or whose names point out of the store.

    Raises
    ------
    FileProblem
        The store is such a one, or its metadata cannot be read.
    """
    for folder, folders, files in os.walk(path):
        content = {name: _checked_metadata(Path(folder, name)) for name in files if name in _METADATA}
        if ".zarray" in content or content.get("zarr.json", {}).get("node_type") == "array":
            folders.clear()  # chunks, of which there may be many thousands


def _checked_metadata(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("not an object")
    except (OSError, ValueError, RecursionError) as error:
        raise FileProblem(f"'{file}' is damaged: it is no JSON.") from error
    for key, value in _pairs(content):
        if key in _CODECS and '"pickle"' in json.dumps(value).replace("numcodecs.", ""):
            raise FileProblem(f"'{file}' holds Python objects (pickle), which could run code. It is not read.")
        if key == "metadata" and isinstance(value, dict) and any(".." in name.split("/") for name in value):
            raise FileProblem(f"'{file}' refers to files outside of its own folder. It is not read.")
    return content


def _pairs(content: Any) -> Any:
    """Yield every (key, value) of nested JSON."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield key, value
            yield from _pairs(value)
    elif isinstance(content, list):
        for value in content:
            yield from _pairs(value)
