"""Landmark files of all formats: read to `Landmarks` in µm, and written from them."""

from __future__ import annotations

from pathlib import Path

from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.section import Section

#: Formats by name, with the words of a menu.
FORMATS: dict[str, str] = {
    "json": "napari-st2msi landmarks (JSON)",
    "csv": "table (CSV)",
    "magpie": "MAGPIE (CSV)",
    "bigwarp": "BigWarp (CSV)",
    "elastix": "elastix point sets (two text files)",
    "spatialdata": "SpatialData elements (zarr)",
}


def read_landmarks(
    section: Section, path: str | Path, format: str | None = None, *, notes: list[str] | None = None
) -> Landmarks:
    """Read landmarks of a section; the format is found from the content where None.

    `notes` receives, in words, what had to be assumed and what should be looked at.
    """
    raise NotImplementedError


def write_landmarks(section: Section, landmarks: Landmarks, path: str | Path, format: str | None = None) -> list[Path]:
    """Write landmarks; the format follows from the name where None. Returns the files written."""
    raise NotImplementedError
