"""How MSI pixels become ion values of spots."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from napari_st2msi.recipe.choices import Choices


class Pairing(Choices):
    """How MSI pixels become ion values of ST spots."""

    method: Literal["overlap", "radius", "nearest", "inverse_distance", "sum"] = Field(
        "overlap",
        title="Method",
        description="overlap: mean of the pixels weighted by the exact area they share with the spot; "
        "radius: mean of the pixels whose centre is within the radius; nearest: mean of the k nearest; "
        "inverse_distance: the k nearest weighted by 1/distance; sum: total signal by share of pixel area.",
    )
    radius_um: float = Field(
        50.0, gt=0, title="Radius (µm)", description="For 'radius': how far a pixel's centre may lie."
    )
    k: int = Field(
        4, ge=1, le=100, title="Neighbours", description="For 'nearest' and 'inverse_distance': how many pixels."
    )
    max_distance_um: float | None = Field(
        None,
        gt=0,
        title="Farthest pixel (µm)",
        description="For 'nearest' and 'inverse_distance': pixels beyond this do not count. "
        "Empty: one and a half pixels.",
    )
    spot_diameter_um: float | None = Field(
        None,
        gt=0,
        title="Spot diameter (µm)",
        description="Empty: as the data says (55 µm for Visium).",
    )
    min_coverage: float = Field(
        0.5,
        ge=0,
        le=1,
        title="Least coverage",
        description="Spots with a smaller share of their area under MSI pixels count as not measured.",
    )
    uncovered: Literal["drop", "nan"] = Field(
        "drop",
        title="Spots without MSI",
        description="drop: leave them out; nan: keep them, with missing values. Never zero.",
    )
