"""Where spots and cells lie: a hexagonal lattice, jittered cells, or a real Visium folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem
from napari_st2msi.io.simulation.tissue import Tissue, TissueKind, draw_tissue, tissue_around
from napari_st2msi.io.visium import visium_geometry


@dataclass(frozen=True)
class Scale:
    """Sizes of a technology in µm.

    `pitch` between neighbours, `diameter` of what is measured, `fine`: length of the shortest waves of
    gene programs, `ring`: how far the neighbourhood reaches.
    """

    pitch: float
    diameter: float
    fine: float
    ring: float


SCALES = {
    "visium": Scale(pitch=100.0, diameter=55.0, fine=70.0, ring=100.0),
    "cells": Scale(pitch=8.5, diameter=9.0, fine=30.0, ring=25.0),
}


@dataclass(frozen=True)
class Layout:
    """A tissue and its spots.

    Attributes
    ----------
    xy
        (n, 2) float64 centres in µm.
    obs
        One row a spot: barcodes with `array_row` and `array_col`, or names of cells.
    """

    tissue: Tissue
    xy: NDArray[np.float64]
    obs: pd.DataFrame


def lattice_layout(kind: TissueKind, technology: str, rng: np.random.Generator, n_spots: int, margin: float) -> Layout:
    """Draw a tissue that holds exactly `n_spots` on a hexagonal lattice; cells are jittered."""
    scale = SCALES[technology]
    tissue = draw_tissue(kind, rng, n_spots * scale.pitch**2 * np.sqrt(3) / 2, margin)
    while True:
        nodes, xy = _lattice(tissue, scale.pitch)
        if technology == "cells":
            # Cells lie as densely as the nuclei of their region; the densest fills the lattice.
            density = np.array([region.nuclei for region in tissue.regions])[tissue.region_at(xy)]
            xy = xy + rng.uniform(-0.3, 0.3, xy.shape) * scale.pitch
            xy = xy[rng.random(len(xy)) < density / density.max()]
        depth = tissue.depth_at(xy)
        # The deepest are kept: what is too much lies at the edge.
        kept = np.sort(np.argsort(-depth, kind="stable")[:n_spots])
        if len(kept) == n_spots and depth[kept].min() > 0:
            break
        tissue = tissue.scaled(1.01, margin)
    if technology == "cells":
        return Layout(tissue, xy[kept], pd.DataFrame(index=[f"cell_{i + 1:07d}" for i in range(n_spots)]))
    obs = pd.DataFrame(
        {"in_tissue": 1, "array_row": nodes[kept, 0], "array_col": nodes[kept, 1]}, index=_barcodes(nodes[kept])
    )
    return Layout(tissue, xy[kept], obs)


def visium_layout(kind: TissueKind, rng: np.random.Generator, folder: Path) -> Layout:
    """Draw a tissue around the in-tissue spots of a Space Ranger folder.

    Raises
    ------
    FileProblem
        The folder has no readable positions.
    GeometryProblem
        They lie on no lattice of Visium.
    DataProblem
        Fewer than a hundred spots lie in tissue.
    """
    geometry = visium_geometry(folder)
    used = geometry.in_tissue
    if used.sum() < 100:
        raise DataProblem(f"Only {used.sum()} spots of '{folder}' lie in tissue; a simulated section needs 100.")
    xy = geometry.xy_um[used]
    obs = pd.DataFrame(
        {"in_tissue": 1, "array_row": geometry.array[used, 0], "array_col": geometry.array[used, 1]},
        index=geometry.barcodes[used],
    )
    return Layout(tissue_around(kind, rng, xy, 0.75 * SCALES["visium"].pitch), xy, obs)


def cell_outlines(rng: np.random.Generator, xy: NDArray[np.float64], diameter: float) -> NDArray[Any]:
    """Return one polygon a cell: eight corners around its centre, none reaching its neighbour's."""
    import shapely
    from scipy.spatial import cKDTree

    free = cKDTree(xy).query(xy, k=2)[0][:, 1] / 2
    angle = np.arange(8) * np.pi / 4 + rng.uniform(0, np.pi / 4, (len(xy), 1))
    radius = np.minimum(free, diameter / 2)[:, None] * rng.uniform(0.82, 1.0, (len(xy), 8))
    corners = xy[:, None] + radius[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return np.asarray(shapely.polygons(corners))


def disc(xy: NDArray[np.float64], diameter: float) -> NDArray[np.float64]:
    """Return (n, 4, 2) points whose mean is the mean over a disc, exact for cubic polynomials."""
    reach = diameter / (2 * np.sqrt(2))
    return xy[:, None] + reach * np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])


def square(xy: NDArray[np.float64], side: float) -> NDArray[np.float64]:
    """Return (n, 4, 2) points whose mean is the mean over a square, exact for cubic polynomials."""
    reach = side / (2 * np.sqrt(3))
    return xy[:, None] + reach * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])


def ring(points: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """Return (n, 6 k, 2): (n, k, 2) points moved to six places around, on Visium the six neighbours."""
    angle = np.arange(6) * np.pi / 3
    around = points[:, None] + radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)[:, None]
    return around.reshape(len(points), -1, 2)


def _lattice(tissue: Tissue, pitch: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return (n, 2) array rows and columns as Visium counts them, and (n, 2) places in the tissue."""
    low, high = tissue.low, tissue.high
    rows = np.arange(int((high[1] - low[1]) / (pitch * np.sqrt(3) / 2)) + 2)
    columns = np.arange(int((high[0] - low[0]) / (pitch / 2)) + 2)
    row, column = (index.ravel() for index in np.meshgrid(rows, columns, indexing="ij"))
    used = (row + column) % 2 == 0
    nodes = np.column_stack([row[used], column[used]])
    xy = low + np.column_stack([nodes[:, 1] * pitch / 2, nodes[:, 0] * pitch * np.sqrt(3) / 2])
    near = tissue.depth_at(xy) > -pitch
    return nodes[near], xy[near]


def _barcodes(nodes: NDArray[np.int64]) -> list[str]:
    """Return a 16-letter barcode for each place of the array, the same in every section."""
    place = nodes[:, 0].astype(np.uint64) * np.uint64(1 << 16) + nodes[:, 1].astype(np.uint64)
    # Multiplying by an odd number modulo 2^32 mixes the bits and keeps every place distinct.
    code = (place * np.uint64(2654435761)) % np.uint64(1 << 32)
    letters = np.array(list("ACGT"))[(code[:, None] >> np.arange(0, 32, 2, dtype=np.uint64)).astype(np.int64) & 3]
    return ["".join(row) + "-1" for row in letters]
