"""How settings are searched for."""

from __future__ import annotations

from pydantic import Field

from napari_st2msi.recipe.choices import Choices


class Search(Choices):
    """Search for the settings of the model, always inside the training spots."""

    trials: int = Field(
        0,
        ge=0,
        le=10_000,
        title="Trials",
        description="How many settings to try before each fit. 0: as chosen here, without a search.",
    )
    minutes: float | None = Field(
        None, gt=0, title="Minutes", description="At most so long for each search. Empty: as long as it takes."
    )
    seed: int = Field(0, ge=0, title="Seed", description="Of the order in which settings are tried.")
