"""Two sections to one: ST of the first, MSI of the second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_st2msi.errors import DataProblem
from napari_st2msi.io.opening import Opening
from napari_st2msi.roles import Roles, table_regions
from napari_st2msi.section import MSI_SYSTEM, SYSTEM, Section

if TYPE_CHECKING:
    from anndata import AnnData

#: Extents of ST and MSI that differ by more than this are hardly of one piece of tissue.
_APART = 10.0


def combine(st: Section, msi: Section, opening: Opening | None = None) -> Section:
    """Put the ST of one section and the MSI of another into one section, registered or not.

    Everything else that the two carry comes along; names that both have get ``msi_`` in front on the MSI
    side. Coordinate systems that the files came with keep their names, but say nothing about each other.

    Parameters
    ----------
    opening
        `name`, and `same_frame`: positions of both are in one frame, so MSI lies over ST as it is.

    Raises
    ------
    DataProblem
        Neither has genes, neither has ions, or one has both.
    """
    from spatialdata import SpatialData
    from spatialdata.transformations import get_transformation, set_transformation

    opening = opening or Opening()
    notes = [*st.notes, *msi.notes]
    if not st.has_st and st.has_msi and msi.has_st:
        st, msi = msi, st
        notes.append(f"Genes are in '{st.name}' and ions in '{msi.name}', the other way round than given.")
    if not st.has_st or not msi.has_msi:
        missing = "genes (a table without m/z)" if not st.has_st else "ions (a table with m/z)"
        raise DataProblem(f"Neither file has {missing}. Open one file of ST and one of MSI.")
    taken = {name for _, name, _ in st.sdata.gen_elements()}
    renamed = {name: _free(name, taken) for _, name, _ in msi.sdata.gen_elements()}
    parts: dict[str, Any] = {name: element for _, name, element in st.sdata.gen_elements()}
    for kind, name, element in msi.sdata.gen_elements():
        parts[renamed[name]] = _renamed_regions(element, renamed) if kind == "tables" else element
    roles = Roles(
        st=st.roles.st,
        st_element=st.roles.st_element,
        msi=renamed[_known(msi.roles.msi)],
        msi_element=None if msi.roles.msi_element is None else renamed[msi.roles.msi_element],
        image=st.roles.image,
    )
    sdata: SpatialData = SpatialData.init_from_elements(parts, attrs={**msi.sdata.attrs, **st.sdata.attrs})
    if roles.msi_element is not None:
        element = sdata[roles.msi_element]
        known = {k: v for k, v in get_transformation(element, get_all=True).items() if k != SYSTEM}
        if opening.same_frame:
            known[SYSTEM] = known[MSI_SYSTEM]
        set_transformation(element, known, set_all=True)
    section = Section(sdata, roles, name=opening.name or st.name, notes=())
    section.notes = (*notes, *unit_notes(section))
    return section


def unit_notes(section: Section) -> tuple[str, ...]:
    """Return a warning where ST and MSI differ so much in size that their units must differ."""
    if not (section.has_st and section.has_msi) or None in (section.roles.st_element, section.roles.msi_element):
        return ()
    sizes = [float(np.ptp(table.obsm["spatial"], axis=0).max()) for table in (section.st, section.msi)]
    if min(sizes) <= 0 or max(sizes) / min(sizes) < _APART:
        return ()
    return (
        f"ST spans {sizes[0]:,.0f} µm and MSI {sizes[1]:,.0f} µm: one of them is probably not in µm. "
        "Check µm per unit and the MSI pixel size.",
    )


def _known(name: str | None) -> str:
    assert name is not None
    return name


def _free(name: str, taken: set[str]) -> str:
    """Return a name that is not taken, and take it."""
    while name in taken:
        name = f"msi_{name}"
    taken.add(name)
    return name


def _renamed_regions(table: AnnData, renamed: dict[str, str]) -> AnnData:
    """Return a table that annotates the same elements under their new names."""
    from spatialdata.models import TableModel

    regions = table_regions(table)
    if all(renamed.get(region, region) == region for region in regions):
        return table
    attrs = dict(table.uns["spatialdata_attrs"])
    table = table.copy()
    del table.uns["spatialdata_attrs"]
    column = table.obs[attrs["region_key"]].astype(str)
    table.obs[attrs["region_key"]] = pd.Categorical(column.map(lambda name: renamed.get(name, name)))
    return TableModel.parse(
        table,
        region=[renamed.get(region, region) for region in regions],
        region_key=attrs["region_key"],
        instance_key=attrs["instance_key"],
    )
