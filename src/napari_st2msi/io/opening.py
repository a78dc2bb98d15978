"""`Opening`: what a reader cannot know and the user may say. One source for form, options and API."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from napari_st2msi.recipe.choices import Choices


class Opening(Choices):
    """Choices for opening files; every one has a default that fits most files."""

    name: str | None = Field(default=None, title="Name", description="Name of the section. Empty: from the file name.")

    st: str | None = Field(default=None, title="ST table", description="Empty: the table without m/z.")
    st_element: str | None = Field(default=None, title="ST element", description="Empty: what the ST table annotates.")
    msi: str | None = Field(default=None, title="MSI table", description="Empty: the table whose var carries m/z.")
    msi_element: str | None = Field(
        default=None, title="MSI element", description="Empty: what the MSI table annotates."
    )
    image: str | None = Field(default=None, title="Histology image", description="Empty: the best one in the file.")

    mz: tuple[float, ...] | None = Field(
        default=None, title="m/z wanted", description="imzML: the ions to read. Empty: from the table, or peaks picked."
    )
    mz_table: Path | None = Field(
        default=None, title="m/z table", description="imzML: CSV with a column of m/z and, if known, of names."
    )
    ppm: float = Field(
        default=10.0, gt=0, le=10_000, title="Tolerance (ppm)", description="imzML: half width around each m/z."
    )
    n_peaks: int = Field(
        default=200, ge=1, le=100_000, title="Peaks", description="imzML without m/z: the highest of the mean spectrum."
    )
    normalisation: Literal["none", "tic", "rms", "median"] = Field(
        default="none", title="Normalisation", description="imzML: divide each spectrum by this."
    )
    pixel_size_um: float | None = Field(
        default=None, gt=0, title="MSI pixel (µm)", description="Side of an MSI pixel. Empty: from the file."
    )
    um_per_unit: float | None = Field(
        default=None,
        gt=0,
        title="µm per unit",
        description="What one unit of the file's positions is in µm. Empty: as the file says; 1 if it does not.",
    )
    spot_diameter_um: float | None = Field(
        default=None, gt=0, title="Spot diameter (µm)", description="Empty: from the file; 55 µm for Visium."
    )
    histology: Path | None = Field(
        default=None, title="Histology file", description="A TIFF, PNG or JPEG of the stained section."
    )
    histology_um_per_pixel: float | None = Field(
        default=None,
        gt=0,
        title="Histology pixel (µm)",
        description="Empty: from the file, else stretched to the data.",
    )
    group: str | None = Field(
        default=None,
        title="Section column",
        description="Column of obs that says which section or region a row belongs to; they are laid side by side.",
    )
    same_frame: bool = Field(
        default=False,
        title="Already registered",
        description="Positions of ST and MSI are in one frame: pair them as they lie.",
    )
