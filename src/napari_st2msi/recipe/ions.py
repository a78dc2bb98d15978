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
