"""What of a section a fit is judged by: sizes in µm, and where there is tissue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.registration.raster import neighbour_distance
from napari_st2msi.section import MSI_SYSTEM, SYSTEM, Section

#: Points at which folds and influence are looked for: more would only take time.
_POINTS = 1500


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What of a section a fit is judged by; `fit(landmarks, **vars(surroundings(section)))`.

    Attributes
    ----------
    pixel_size_um, spot_pitch_um
        Side of an MSI pixel and distance of neighbouring spots; None for unknown.
    extent, fixed_extent
        (m, 2) µm: points of the MSI and of the ST with its histology, those at their borders among
        them; None where the section lacks that side.
    """

    pixel_size_um: float | None = None
    spot_pitch_um: float | None = None
    extent: NDArray[np.float64] | None = None
    fixed_extent: NDArray[np.float64] | None = None


def surroundings(section: Section) -> Surroundings:
    """Return what of a section a fit is judged by. Intensities and counts are not read."""
    size, moving = None, None
    if section.has_msi:
        pixels = section.pixels(MSI_SYSTEM)
        size, moving = pixels.diameter, _some(pixels.centres)
    pitch, parts = None, []
    if section.has_st:
        spots = section.spots.centres
        pitch = neighbour_distance(spots) or None
        parts.append(_some(spots))
    if section.roles.image is not None:
        parts.append(_corners(section, section.roles.image))
    return Surroundings(size, pitch, moving, np.vstack(parts) if parts else None)


def _some(xy: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return evenly chosen points, with the extreme ones in eight directions."""
    xy = np.asarray(xy, dtype=np.float64)
    directions = np.array([[1, 0], [0, 1], [1, 1], [1, -1]])
    along = xy @ directions.T
    ends = np.concatenate([along.argmin(axis=0), along.argmax(axis=0)])
    return xy[np.unique(np.concatenate([np.arange(0, len(xy), -(-len(xy) // _POINTS)), ends]))]


def _corners(section: Section, image: str) -> NDArray[np.float64]:
    from spatialdata import get_extent

    extent = get_extent(section.sdata[image], coordinate_system=SYSTEM)
    return np.array([[x, y] for x in extent["x"] for y in extent["y"]], dtype=np.float64)
