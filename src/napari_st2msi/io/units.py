"""How many micrometres one unit of a file's MSI positions is, and how large a pixel is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.grid import Grid
from napari_st2msi.io.opening import Opening

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class MsiScale:
    """What turns positions in the file's units into micrometres.

    Attributes
    ----------
    um_per_unit
        Factor for the positions.
    pixel_um
        Width and height of a pixel in µm.
    notes
        What had to be assumed, in words.
    """

    um_per_unit: float
    pixel_um: tuple[float, float]
    notes: tuple[str, ...] = ()


def msi_scale(xy: NDArray[np.floating], opening: Opening, *, known_um: float | None = None) -> MsiScale:
    """Return the scale of MSI pixels: from their size if it is known, else from the unit, else 1.

    Parameters
    ----------
    xy
        (n, 2) pixel centres in the units of the file.
    opening
        `pixel_size_um` and `um_per_unit` are what the user says; the former wins.
    known_um
        Side of a pixel in µm, when the file says so.
    """
    positions: NDArray[np.float64] = np.asarray(xy, dtype=np.float64)
    size = opening.pixel_size_um or known_um
    grid = Grid.from_points(positions) if len(positions) > 1 else None
    if grid is None:
        return _irregular(positions, size, opening.um_per_unit)
    pitch = grid.pitch
    if size is not None:
        factor = size / pitch[0]
        return MsiScale(factor, (size, pitch[1] * factor))
    factor = opening.um_per_unit or 1.0
    notes: tuple[str, ...] = ()
    if opening.um_per_unit is None:
        notes = (
            f"The file does not say how large an MSI pixel is: its positions are taken as µm, so that a pixel "
            f"is {pitch[0]:.4g} µm. Give the MSI pixel size if that is wrong.",
        )
    return MsiScale(factor, (pitch[0] * factor, pitch[1] * factor), notes)


def _irregular(xy: NDArray[np.float64], size: float | None, um_per_unit: float | None) -> MsiScale:
    factor, notes = um_per_unit or 1.0, []
    if um_per_unit is None and len(xy) > 1:
        notes.append("MSI pixels lie on no regular grid: their positions are taken as µm.")
    if size is None:
        size = spacing(xy) * factor
        taken = f"the distance between neighbours, {size:.4g} µm," if len(xy) > 1 else f"{size:.4g} µm"
        notes.append(
            f"The size of an MSI pixel is unknown: {taken} is taken. Give the MSI pixel size if that is wrong."
        )
    return MsiScale(factor, (size, size), tuple(notes))


def spacing(xy: NDArray[np.float64]) -> float:
    """Return the median distance of positions to their nearest neighbour; 1 for a single one."""
    from scipy.spatial import cKDTree

    if len(xy) < 2:
        return 1.0
    distance, _ = cKDTree(xy).query(xy, k=2)
    return float(np.median(distance[:, 1]))


def metaspace_pixel(table: AnnData) -> float | None:
    """Return the side of a pixel in µm as METASPACE writes it down, None where it says nothing usable."""
    try:
        return positive(table.uns["metaspace"]["metadata"]["MS_Analysis"]["Pixel_Size"]["Xaxis"])
    except (KeyError, TypeError, IndexError):
        return None


def positive(value: Any) -> float | None:
    """Return a number above 0, None for anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) and number > 0 else None
