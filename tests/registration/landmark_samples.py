"""A section for files of landmarks, and how such a file is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from napari_st2msi.io.build import build_section
from napari_st2msi.registration.landmark_files import read_landmarks
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.section import Section


def plain_section(corner: np.ndarray, *, name: str = "one", image: bool = True) -> Section:
    """50 × 40 pixels of 100 µm that begin at a corner; 4 × 4 mm of ST with a hires image at 2 µm a pixel."""
    x, y = np.meshgrid(np.arange(50), np.arange(40))
    spots = np.stack(np.meshgrid(np.arange(0, 4001, 500), np.arange(0, 4001, 500)), axis=-1).reshape(-1, 2)
    return build_section(
        name=name,
        st=AnnData(np.ones((len(spots), 1), np.float32)),
        st_xy=spots.astype(float),
        spot_diameter_um=55,
        msi=AnnData(np.ones((2000, 1), np.float32), var=pd.DataFrame({"mz": [500.0]}, index=["mz500"])),
        msi_xy=np.column_stack([x.ravel(), y.ravel()]) * 100.0 + corner,
        pixel_size_um=100,
        image=np.zeros((2000, 2000, 3), dtype=np.uint8) if image else None,
        image_to_um=np.diag([2.0, 2.0, 1.0]) if image else None,
    )


def reread(section: Section, folder: Path, content: str | bytes, name: str = "a.csv") -> tuple[Landmarks, list[str]]:
    """Write a file, and return the landmarks read from it with what was said of them."""
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    notes: list[str] = []
    return read_landmarks(section, folder / name, notes=notes), notes
