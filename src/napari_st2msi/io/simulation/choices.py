"""`SampleChoices`: what may be chosen for a simulated sample. One source for form, options and API."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from napari_st2msi.errors import RecipeProblem
from napari_st2msi.recipe import explain

Kind = Literal["linear", "neighbourhood", "nonlinear", "interaction", "presence", "smooth", "noise"]
#: The kinds of ions, from driven by genes to pure noise.
KINDS: tuple[Kind, ...] = ("linear", "neighbourhood", "nonlinear", "interaction", "presence", "smooth", "noise")


class SampleChoices(BaseModel):
    """Choices for a simulated sample; the same choices always give the same sample."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    name: str = Field("simulated", min_length=1, title="Name", description="Name of the section or sections.")
    tissue: Literal["brain", "tonsil"] = Field(
        "brain", title="Tissue", description="brain: a coronal hemisphere of the mouse; tonsil: follicles and crypts."
    )
    technology: Literal["visium", "cells"] = Field(
        "visium", title="Technology", description="visium: discs of 55 µm every 100 µm; cells: single cells."
    )
    n_spots: int = Field(1200, ge=100, le=1_000_000, title="Spots", description="Spots or cells in each section.")
    n_genes: int = Field(2000, ge=20, le=50_000, title="Genes", description="Genes counted.")
    n_programs: int = Field(
        12, ge=2, le=50, title="Gene programs", description="Groups of genes that rise and fall together."
    )
    detection: float = Field(
        0.4, ge=0.01, le=0.95, title="Detection", description="Share of counts that are not zero: sequencing depth."
    )
    ions_per_kind: int | dict[Kind, int] = Field(
        10, title="Ions of each kind", description=f"One number, or one for each of: {', '.join(KINDS)}."
    )
    noise: float = Field(
        1.0, ge=0.05, le=10, title="Noise", description="Of the ions. 1: ceilings between 0.6 and 0.97."
    )
    pixel_size_um: float = Field(50.0, ge=5, le=500, title="MSI pixel (µm)", description="Side of an MSI pixel.")
    n_sections: int = Field(1, ge=1, le=50, title="Sections", description="Of the same programs and ions.")
    batch: float = Field(
        0.3,
        ge=0,
        le=2,
        title="Batch effect",
        description="Between sections: deviation of each gene's and each ion's log gain. Nothing for one section.",
    )
    reflection: bool | None = Field(None, title="Mirrored", description="Whether MSI is mirrored. Empty: by the seed.")
    rotation_deg: float | None = Field(
        None, ge=-360, le=360, title="Rotation (°)", description="Of MSI against ST. Empty: by the seed."
    )
    scale: float | None = Field(
        None, ge=0.5, le=2, title="Scale", description="µm of ST for 1 µm of MSI. Empty: 0.95 to 1.05 by the seed."
    )
    warp_um: float | None = Field(
        None, ge=0, le=300, title="Warp (µm)", description="Largest smooth displacement. Empty: 20 to 80 by the seed."
    )
    crop: float = Field(
        0.0, ge=0, le=0.8, title="Cropped", description="Share of the tissue, from one side, that MSI did not measure."
    )
    n_landmarks: int = Field(9, ge=3, le=100, title="Landmarks", description="Pairs that come with each section.")
    click_um: float = Field(
        25.0,
        ge=0,
        le=500,
        title="Click error (µm)",
        description="Deviation of a landmark from its place, on each side.",
    )
    geometry: Path | None = Field(
        None, title="Visium folder", description="Take the positions of the spots from a real experiment."
    )
    image_px: int = Field(1400, ge=128, le=8192, title="Image (pixels)", description="Longer side of the histology.")
    seed: int = Field(0, ge=0, title="Seed", description="Another seed is another specimen.")

    @field_validator("ions_per_kind")
    @classmethod
    def _some_ions(cls, value: int | dict[Kind, int]) -> int | dict[Kind, int]:
        numbers = list(value.values()) if isinstance(value, dict) else [value]
        if any(number < 0 or number > 150 for number in numbers) or not sum(numbers):
            raise ValueError("give from 0 to 150 ions of each kind, and at least one in all")
        return value

    @model_validator(mode="after")
    def _geometry_of_spots(self) -> SampleChoices:
        if self.geometry is not None and self.technology != "visium":
            raise ValueError("positions from a Visium folder need the technology 'visium'")
        return self

    @property
    def kinds(self) -> list[Kind]:
        """The kind of every ion, in the order of `KINDS`."""
        each = self.ions_per_kind
        return [kind for kind in KINDS for _ in range(each.get(kind, 0) if isinstance(each, dict) else each)]

    @classmethod
    def of(cls, **values: Any) -> SampleChoices:
        """Check keyword choices.

        Raises
        ------
        RecipeProblem
            One is unknown or out of range.
        """
        unknown = [name for name in values if name not in cls.model_fields]
        if unknown:
            raise RecipeProblem(
                f"A simulated sample has no choice '{unknown[0]}'. It has: {', '.join(cls.model_fields)}."
            )
        try:
            return cls(**values)
        except ValidationError as error:
            raise RecipeProblem(f"This sample cannot be simulated. {explain(error)}") from error
