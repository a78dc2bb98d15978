"""A histology file laid under a section."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import GeometryProblem
from napari_st2msi.io.build import IMAGE, histology_element
from napari_st2msi.io.images import Histology, read_histology
from napari_st2msi.io.opening import Opening
from napari_st2msi.roles import Roles
from napari_st2msi.section import MSI_SYSTEM, SYSTEM, Section


def with_histology(section: Section, opening: Opening) -> Section:
    """Return the section with the histology file of `opening` under its ST, or under its MSI without ST.

    With µm per pixel (given, or in the file) the corner of the picture is the origin of the ST side.
    Without, the picture is stretched over the spots or pixels, which is for looking at and not for
    measuring. MSI stays unregistered: without ST, its own frame in µm coincides with that of the picture.

    Raises
    ------
    FileProblem
        The picture cannot be read.
    GeometryProblem
        Nothing has positions to stretch it over.
    """
    from spatialdata import SpatialData
    from spatialdata.transformations import Affine

    assert opening.histology is not None
    picture = read_histology(opening.histology)
    matrix, note = _to_um(section, picture, opening)
    name = IMAGE
    while name in section.sdata:
        name = f"{name}_file"
    parts: dict[str, Any] = {key: element for _, key, element in section.sdata.gen_elements()}
    parts[name] = histology_element(picture.pixels, {SYSTEM: Affine(matrix, ("x", "y"), ("x", "y"))})
    sdata = SpatialData.init_from_elements(parts, attrs=section.sdata.attrs)
    roles = Roles(**{**vars(section.roles), "image": name})
    return Section(sdata, roles, name=section.name, path=section.path, notes=(*section.notes, *picture.notes, note))


def _to_um(section: Section, picture: Histology, opening: Opening) -> tuple[NDArray[np.float64], str]:
    size = picture.um_per_pixel
    if opening.histology_um_per_pixel is not None:
        size = opening.histology_um_per_pixel * picture.reduced
    if size is not None:
        return np.diag([size, size, 1.0]), (
            f"The histology is laid with its left upper corner at the origin, {size:.4g} µm per pixel."
        )
    low, high = _extent(section)
    rows, columns = picture.pixels.shape[:2]
    scale = (high - low) / [columns, rows]
    matrix = np.array([[scale[0], 0, low[0]], [0, scale[1], low[1]], [0, 0, 1]])
    return matrix, (
        "Nothing says how large a pixel of the histology is: the picture is stretched over the data, "
        "for orientation only. Give its pixel size in µm, or register."
    )


def _extent(section: Section) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the corners of the spots, or of the MSI pixels with their edges where there is no ST."""
    if section.has_st:
        outlines = section.spots
    elif section.has_msi:
        outlines = section.pixels(MSI_SYSTEM)
    else:
        raise GeometryProblem("There is nothing to lay the histology under.")
    edge = (outlines.diameter or 0.0) / 2
    low, high = outlines.centres.min(axis=0) - edge, outlines.centres.max(axis=0) + edge
    if (high - low <= 0).any():
        raise GeometryProblem("The data have no extent to stretch the histology over. Give its pixel size in µm.")
    return low, high
