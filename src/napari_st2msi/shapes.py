"""Outlines of spots and pixels as plain arrays in micrometres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, GeometryProblem


@dataclass(frozen=True)
class Outlines:
    """Where things lie and what area they cover, in µm: discs, polygons, or mere points.

    Attributes
    ----------
    centres
        (n, 2) float64, x and y.
    radius
        (n,) float64 for discs, else None.
    corners
        (n, k, 2) float64 for polygons, else None. Polygons with fewer than k corners repeat their
        last one, which adds no area.
    """

    centres: NDArray[np.float64]
    radius: NDArray[np.float64] | None = None
    corners: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.centres)

    @property
    def area(self) -> NDArray[np.float64]:
        """(n,) area in µm²; NaN for mere points."""
        if self.radius is not None:
            return np.pi * self.radius**2
        if self.corners is not None:
            x, y = self.corners[..., 0], self.corners[..., 1]
            return 0.5 * np.abs((x * np.roll(y, -1, axis=1) - np.roll(x, -1, axis=1) * y).sum(axis=1))
        return np.full(len(self), np.nan)

    @property
    def diameter(self) -> float | None:
        """Median diameter of the discs, or median square root of the polygons' area, in µm."""
        if len(self) == 0 or (self.radius is None and self.corners is None):
            return None
        return float(np.median(2 * self.radius if self.radius is not None else np.sqrt(self.area)))


def outlines_of(element: Any, instances: NDArray[Any], matrix: NDArray[np.float64], *, name: str) -> Outlines:
    """Read the outlines of chosen instances from a SpatialData element.

    Parameters
    ----------
    element
        Shapes (circles or polygons), points, or labels.
    instances
        (n,) the instances wanted, in the order wanted, as the table's instance key gives them.
    matrix
        (3, 3) affine from the element's coordinates to µm.
    name
        Name of the element, for messages.

    Raises
    ------
    DataProblem
        The table names instances that the element does not have, or one twice.
    GeometryProblem
        A disc would become an ellipse because the affine stretches it by more than 1 %.
    """
    from spatialdata.models import PointsModel, ShapesModel, get_model

    model = get_model(element)
    if model is ShapesModel:
        rows = _positions(element.index, instances, name)
        geometry = element.geometry.array[rows]
        if "radius" in element.columns:
            scale = _scale(matrix, name)
            centres = np.column_stack([geometry.x, geometry.y]).astype(float)
            radius = element["radius"].to_numpy(dtype=float)[rows] * scale
            return Outlines(map_points(matrix, centres), radius=radius)
        return _polygons(geometry, matrix)
    if model is PointsModel:
        frame = element[["x", "y"]].compute()
        rows = _positions(frame.index, instances, name)
        return Outlines(map_points(matrix, frame.to_numpy(dtype=float)[rows]))
    return Outlines(map_points(matrix, _label_centres(element, instances, name)))


def squares(centres: NDArray[np.float64], side: float | tuple[float, float]) -> NDArray[np.float64]:
    """Return (n, 4, 2) corners of axis-parallel squares (or rectangles) around (n, 2) centres."""
    half = np.broadcast_to(np.asarray(side, dtype=float) / 2, (2,))
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=float)
    return np.asarray(centres, dtype=float)[:, None, :] + signs * half


def _positions(index: pd.Index, instances: NDArray[Any], name: str) -> NDArray[np.int64]:
    if not index.is_unique:
        raise DataProblem(f"Some instances of '{name}' appear twice. Give every spot or pixel its own name.")
    rows = index.get_indexer(pd.Index(instances))
    if (rows < 0).any():
        raise DataProblem(
            f"{int((rows < 0).sum())} of {len(rows)} rows of the table have no counterpart in '{name}'. "
            "The table and the element do not belong together; choose another element."
        )
    return np.asarray(rows, dtype=np.int64)


def map_points(matrix: NDArray[np.floating], xy: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return where a (3, 3) affine brings points, (..., 2) float64."""
    return np.asarray(xy @ matrix[:2, :2].T + matrix[:2, 2], dtype=np.float64)


def _scale(matrix: NDArray[np.float64], name: str) -> float:
    stretch = np.linalg.svd(matrix[:2, :2], compute_uv=False)
    if stretch[0] > 1.01 * stretch[1]:
        raise GeometryProblem(
            f"'{name}' holds discs, but its transformation stretches one axis {stretch[0] / stretch[1]:.2f} "
            "times the other, so they would become ellipses. Check the sizes in µm along x and y."
        )
    return float(np.sqrt(stretch[0] * stretch[1]))


def _polygons(geometry: Any, matrix: NDArray[np.float64]) -> Outlines:
    import shapely

    geometry = np.asarray(geometry, dtype=object)
    if (shapely.get_type_id(geometry) != shapely.GeometryType.POLYGON).any():
        # A multipolygon is stood for by its hull: spots and pixels are single pieces.
        geometry = np.where(
            shapely.get_type_id(geometry) == shapely.GeometryType.POLYGON, geometry, shapely.convex_hull(geometry)
        )
    if shapely.get_num_interior_rings(geometry).any():
        geometry = shapely.get_exterior_ring(geometry)
    coordinates, owner = shapely.get_coordinates(geometry, return_index=True)
    count = np.bincount(owner, minlength=len(geometry))
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    # The last coordinate of a ring repeats the first; short rings repeat their last corner.
    step = np.minimum(np.arange(count.max() - 1)[None, :], count[:, None] - 2)
    corners = map_points(matrix, coordinates[first[:, None] + step].reshape(-1, 2)).reshape(*step.shape, 2)
    return Outlines(_centroids(corners), corners=corners)


def _centroids(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n, 2) centroids of (n, k, 2) polygons; of those without area the middle of their extent."""
    origin = corners[:, :1]
    here = corners - origin
    after = np.roll(here, -1, axis=1)
    cross = here[..., 0] * after[..., 1] - after[..., 0] * here[..., 1]
    twice = cross.sum(axis=1)[:, None]
    moment = ((here + after) * cross[..., None]).sum(axis=1)
    flat = np.abs(twice) < 1e-12 * np.maximum((here**2).sum(axis=(1, 2))[:, None], 1e-300)
    inside = np.where(flat, (here.min(axis=1) + here.max(axis=1)) / 2, moment / np.where(flat, 1.0, 3 * twice))
    return np.asarray(origin[:, 0] + inside)


def _label_centres(element: Any, instances: NDArray[Any], name: str) -> NDArray[np.float64]:
    from spatialdata import get_centroids
    from spatialdata.transformations import Identity, get_transformation, set_transformation

    # Centroids in the element's own pixels: ask through an identity that exists for this call only.
    element = element.copy()
    known = get_transformation(element, get_all=True)
    set_transformation(element, {**known, "intrinsic": Identity()}, set_all=True)
    frame = get_centroids(element, coordinate_system="intrinsic").compute()
    rows = _positions(frame.index, instances, name)
    return frame[["x", "y"]].to_numpy(dtype=float)[rows]
