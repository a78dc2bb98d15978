"""How ion intensities are scaled."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from napari_st2msi.recipe.choices import Choices


class Ions(Choices):
    """How ion intensities are scaled before a model learns them."""

    normalisation: Literal["none", "tic"] = Field(
        "none", title="Normalisation", description="tic: divide by the spot's total ion current."
    )
    log1p: bool = Field(True, title="log1p", description="Learn log(1+x): errors then count in ratios.")
    presence_rule: Literal["above_zero", "noise", "mixture"] = Field(
        "above_zero",
        title="Present",
        description="When an ion counts as present, learned on training spots. above_zero: with any intensity; noise: "
        "above a level of noise, the same for all ions; mixture: in the upper of two groups of the ion's own "
        "intensities, where there are two.",
    )
    noise_quantile: float = Field(
        0.05,
        gt=0,
        lt=1,
        title="Share of noise",
        description="For 'noise': this share of all intensities above zero counts as noise.",
    )
    min_spots: int = Field(
        10,
        ge=1,
        title="Least spots per ion",
        description="Ions present in fewer training spots are not learned, and the report says so.",
    )
    n_top: int | None = Field(
        None,
        ge=1,
        title="Variable ions",
        description="Learn only this many, the most variable of the training spots; the others get their mean. "
        "Empty: all.",
    )
