"""A section with something changed, as if it had been measured so."""

from __future__ import annotations

import numpy as np
from anndata import AnnData

from napari_st2msi.io.build import build_section
from napari_st2msi.io.histology import histology_levels
from napari_st2msi.section import Section

#: Pixels of a picture begin at their corners, and those of `histology_levels` at their centres.
CORNER = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])


def rebuilt(
    section: Section,
    *,
    st: AnnData | None = None,
    msi: AnnData | None = None,
    st_xy: np.ndarray | None = None,
    msi_xy: np.ndarray | None = None,
    image: np.ndarray | None = None,
) -> Section:
    """Build a section again with other tables, places in µm, or a picture of the same size; without one, with none."""
    st, msi = (section.st if st is None else st), (section.msi if msi is None else msi)
    return build_section(
        name=section.name,
        st=st,
        st_xy=st.obsm["spatial"] if st_xy is None else st_xy,
        spot_diameter_um=section.spots.diameter,
        msi=msi,
        msi_xy=msi.obsm["spatial"] if msi_xy is None else msi_xy,
        pixel_size_um=section.msi_grid.pitch,
        image=image,
        image_to_um=None if image is None else histology_levels(section)[1] @ CORNER,
    )


def picture(section: Section) -> np.ndarray:
    """The stained section, (rows, columns, 3) uint8."""
    return np.asarray(histology_levels(section)[0][0])


def with_values(table: AnnData, values: np.ndarray) -> AnnData:
    """The same table with other values."""
    table = table.copy()
    table.X = np.asarray(values, dtype=np.float32)
    return table
