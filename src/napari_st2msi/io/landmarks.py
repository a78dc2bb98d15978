"""Landmarks as two points elements, in the order in which they were clicked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem
from napari_st2msi.section import MSI_SYSTEM, SYSTEM

if TYPE_CHECKING:
    from spatialdata import SpatialData

LANDMARKS_ST, LANDMARKS_MSI = "landmarks_st", "landmarks_msi"


def landmark_elements(
    ids: Sequence[str], moving_xy: NDArray[np.floating], fixed_xy: NDArray[np.floating]
) -> dict[str, Any]:
    """Return the points elements `landmarks_st` and `landmarks_msi`.

    Parameters
    ----------
    ids
        One stable name a pair.
    moving_xy, fixed_xy
        (n, 2) µm: on the MSI (``st2msi_msi``) and on the ST (``st2msi``).

    Raises
    ------
    DataProblem
        Two pairs have the same name, or the sides have different numbers of points.
    """
    from spatialdata.models import PointsModel
    from spatialdata.transformations import Identity

    if len(set(ids)) != len(ids):
        raise DataProblem("Two landmarks have the same name. Give each its own.")
    if not len(ids) == len(moving_xy) == len(fixed_xy):
        raise DataProblem("Every landmark needs one point on the MSI and one on the ST.")
    elements = {}
    for element, xy, system in ((LANDMARKS_ST, fixed_xy, SYSTEM), (LANDMARKS_MSI, moving_xy, MSI_SYSTEM)):
        frame = pd.DataFrame(np.asarray(xy, dtype=float).reshape(-1, 2), columns=["x", "y"])
        frame["id"] = [str(name) for name in ids]
        elements[element] = PointsModel.parse(frame, transformations={system: Identity()})
    return elements


def read_landmark_elements(
    sdata: SpatialData,
) -> tuple[list[str], NDArray[np.float64], NDArray[np.float64]] | None:
    """Return ids, (n, 2) MSI and (n, 2) ST positions in µm; None where a section has no landmarks.

    Pairs are matched by id; a point without its counterpart is left out.
    """
    from spatialdata import transform

    if LANDMARKS_ST not in sdata.points or LANDMARKS_MSI not in sdata.points:
        return None
    sides = []
    for element, system in ((LANDMARKS_MSI, MSI_SYSTEM), (LANDMARKS_ST, SYSTEM)):
        frame = transform(sdata.points[element], to_coordinate_system=system).compute()
        sides.append(frame.assign(id=frame["id"].astype(str)).set_index("id")[["x", "y"]])
    moving, fixed = sides
    ids = [name for name in moving.index if name in fixed.index]
    return ids, moving.loc[ids].to_numpy(dtype=float), fixed.loc[ids].to_numpy(dtype=float)
