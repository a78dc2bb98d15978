"""The stained section of a `Section` as lazy arrays, and where its pixels lie."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem
from napari_st2msi.section import SYSTEM, Section


def histology_levels(section: Section, name: str | None = None) -> tuple[list[Any], NDArray[np.float64]]:
    """Return the levels of the stained section, and how its pixels lie in µm.

    Parameters
    ----------
    section
        A section with histology.
    name
        Another image of the section; its histology when None.

    Returns
    -------
    levels
        (rows, columns, channels) lazy arrays, full resolution first.
    matrix
        (3, 3) float64: (column, row) of the full resolution, pixel centres at integers, to µm (``st2msi``).

    Raises
    ------
    DataProblem
        The section has no histology.
    """
    from spatialdata.transformations import get_transformation
    from xarray import DataTree

    name = name or section.roles.image
    if name is None:
        raise DataProblem(f"Section '{section.name}' has no histology. Open it with a picture of the stained section.")
    element = section.sdata[name]
    arrays = [next(iter(level.values())) for level in element.values()] if isinstance(element, DataTree) else [element]
    levels = [array.transpose("y", "x", "c").data for array in arrays]
    known = get_transformation(element, get_all=True)
    matrix = np.eye(3)
    if SYSTEM in known:
        matrix = np.asarray(known[SYSTEM].to_affine_matrix(("x", "y"), ("x", "y")), dtype=np.float64)
    # spatialdata puts the corner of the first pixel at 0; here it is its centre.
    half = np.eye(3)
    half[:2, 2] = 0.5
    return levels, matrix @ half
