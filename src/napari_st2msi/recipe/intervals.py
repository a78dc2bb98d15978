"""How sure a prediction says it is."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from napari_st2msi.recipe.choices import Choices


class Intervals(Choices):
    """Intervals around predicted values, from what the model missed on spots that it did not see."""

    level: float = Field(
        0.9,
        ge=0.5,
        le=0.99,
        title="Interval level",
        description="Share of spots whose measured value is to lie within its interval.",
    )
    make_intervals: Literal["evaluated", "always", "never"] = Field(
        "evaluated",
        title="Intervals",
        description="evaluated: when skill is measured, from the same held-out spots where they will do; "
        "always: also without that, at the price of a few more fits; never: none.",
    )
