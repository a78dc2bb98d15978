"""Which table and element of a SpatialData play which part of a section."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_st2msi.ions import has_mz

if TYPE_CHECKING:
    from anndata import AnnData
    from spatialdata import SpatialData

PAIRED_TABLE = "msi_on_st"
PREDICTED_TABLE = "msi_predicted"


@dataclass(frozen=True)
class Roles:
    """Names inside one SpatialData: what is ST, what is MSI, what is histology.

    Attributes
    ----------
    st, msi
        Table names; None when the section has no such modality.
    st_element, msi_element
        The shapes, points or labels that each table annotates.
    image
        Histology image on the ST side, or None.
    """

    st: str | None = None
    st_element: str | None = None
    msi: str | None = None
    msi_element: str | None = None
    image: str | None = None


def table_regions(table: AnnData) -> list[str]:
    """Return the names of the elements that a table annotates, in order."""
    region = table.uns.get("spatialdata_attrs", {}).get("region")
    if region is None:
        return []
    return [region] if isinstance(region, str) else [str(name) for name in region]


def detect_roles(sdata: SpatialData) -> Roles:
    """Guess the roles from content: a table whose `var` carries m/z is MSI, the other one is ST.

    Tables that this package writes (paired and predicted ions) take no role. Where several tables
    qualify, those that annotate an existing element come first, then the first by name; the user may say
    otherwise.
    """
    st = msi = st_element = msi_element = None
    # By name beside: the order in which a file lists its tables depends on the file system.
    for name, table in sorted(sdata.tables.items(), key=lambda item: (not _annotates(sdata, item[1]), item[0])):
        if name in (PAIRED_TABLE, PREDICTED_TABLE):
            continue
        element = next((region for region in table_regions(table) if region in sdata), None)
        if has_mz(table):
            if msi is None:
                msi, msi_element = name, element
        elif st is None:
            st, st_element = name, element
    return Roles(st, st_element, msi, msi_element, _histology(sdata))


def _annotates(sdata: SpatialData, table: AnnData) -> bool:
    return any(region in sdata for region in table_regions(table))


def _histology(sdata: SpatialData) -> str | None:
    """Return the best histology image: three or four channels, highest resolution first."""
    ranking = ("full", "hires", "he", "h&e", "hematoxylin", "histology", "lowres", "")
    candidates = sorted(name for name, image in sdata.images.items() if _channels(image) in (3, 4))
    return min(
        candidates,
        key=lambda name: next(i for i, word in enumerate(ranking) if word in name.lower()),
        default=None,
    )


def _channels(image: object) -> int:
    from spatialdata.models import get_axes_names, get_model
    from xarray import DataArray, DataTree

    get_model(image)
    if isinstance(image, DataTree):
        image = next(iter(image["scale0"].values()))
    assert isinstance(image, DataArray)
    return int(image.sizes["c"]) if "c" in get_axes_names(image) else 0
