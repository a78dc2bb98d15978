"""Landmarks inside a SpatialData: two points elements, one on each side, joined by their ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem
from napari_st2msi.section import MSI_SYSTEM, SYSTEM
from napari_st2msi.shapes import map_points

if TYPE_CHECKING:
    from spatialdata import SpatialData

#: Points on the ST side (fixed, in ``st2msi``) and on the MSI side (moving, in ``st2msi_msi``).
FIXED, MOVING = "landmarks_st", "landmarks_msi"


def landmark_elements(
    ids: Sequence[str | int] | NDArray[Any],
    moving_xy: NDArray[np.floating],
    fixed_xy: NDArray[np.floating],
) -> dict[str, Any]:
    """Return the two points elements of a set of landmarks.

    Parameters
    ----------
    ids
        (n,) a stable id of each pair; kept in the column `id` of both elements.
    moving_xy
        (n, 2) µm in ``st2msi_msi``.
    fixed_xy
        (n, 2) µm in ``st2msi``.

    Returns
    -------
    Elements by name, to be put into `SpatialData.points`.

    Raises
    ------
    DataProblem
        Ids repeat, a position is not a number, or the three differ in length.
    """
    from spatialdata.models import PointsModel
    from spatialdata.transformations import Identity

    names = np.asarray(ids)
    if len(np.unique(names)) != len(names):
        raise DataProblem("Two landmarks have the same id. Give each pair its own.")
    elements = {}
    for name, xy, system in ((MOVING, moving_xy, MSI_SYSTEM), (FIXED, fixed_xy, SYSTEM)):
        positions: NDArray[np.float64] = np.asarray(xy, dtype=np.float64)
        if positions.shape != (len(names), 2) or not np.isfinite(positions).all():
            raise DataProblem(f"{len(names)} landmarks need as many positions in µm on both sides.")
        frame = pd.DataFrame({"x": positions[:, 0], "y": positions[:, 1], "id": names})
        elements[name] = PointsModel.parse(frame, transformations={system: Identity()})
    return elements


def read_landmark_elements(
    sdata: SpatialData,
) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.float64]] | None:
    """Return ids (n,), MSI positions (n, 2) and ST positions (n, 2) in µm, or None where there are none.

    Pairs are matched by id, in the order of the MSI side; a point without counterpart is left out.
    """
    if MOVING not in sdata.points or FIXED not in sdata.points:
        return None
    moving, fixed = (_in_um(sdata.points[name], system) for name, system in ((MOVING, MSI_SYSTEM), (FIXED, SYSTEM)))
    ids = moving.index.intersection(fixed.index, sort=False)
    return ids.to_numpy(), moving.loc[ids].to_numpy(), fixed.loc[ids].to_numpy()


def _in_um(points: Any, system: str) -> pd.DataFrame:
    """Return x and y in µm, indexed by landmark id."""
    from spatialdata.transformations import get_transformation

    frame = points.compute()
    known = get_transformation(points, get_all=True)
    if "id" not in frame or not frame["id"].is_unique or system not in known:
        raise DataProblem("The landmarks in this file have no ids or no coordinate system, so they cannot be used.")
    matrix = np.asarray(known[system].to_affine_matrix(("x", "y"), ("x", "y")), dtype=float)
    xy = map_points(matrix, frame[["x", "y"]].to_numpy(dtype=float))
    return pd.DataFrame(xy, columns=["x", "y"], index=pd.Index(frame["id"]))
