"""How skill is measured."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from napari_st2msi.recipe.choices import Choices


class Evaluation(Choices):
    """How skill is measured: always on spots that the model did not see."""

    protocol: Literal["blocks", "leave_group_out", "random"] = Field(
        "blocks",
        title="Held out",
        description="blocks: squares of tissue with a buffer around them; "
        "leave_group_out: whole sections, donors or regions; random: single spots, whose neighbours then train: for "
        "comparison only, such scores are flattered.",
    )
    group: str = Field(
        "section", title="Group", description="For 'leave_group_out': the column of obs that names the group."
    )
    n_folds: int = Field(
        5, ge=2, le=50, title="Folds", description="For 'blocks' and 'random': into how many folds they go."
    )
    block_um: float | None = Field(
        None, gt=0, title="Block side (µm)", description="Empty: an eighth of the tissue's longer side."
    )
    buffer_um: float | None = Field(
        None,
        ge=0,
        title="Buffer (µm)",
        description="Training spots nearer than this to a held-out spot are left out. Empty: 1.5 spot pitches.",
    )
    seed: int = Field(0, ge=0, title="Seed", description="Of the assignment of blocks or spots to folds.")
