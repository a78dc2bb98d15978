"""How skill is measured."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from napari_st2msi.recipe.choices import Choices


class Evaluation(Choices):
    """How skill is measured: always on spots that the model did not see."""

    protocol: Literal["blocks", "leave_group_out", "knndm", "tissue_halves", "random", "half"] = Field(
        "blocks",
        title="Held out",
        description="blocks: squares of tissue with a buffer around them; "
        "leave_group_out: whole sections or donors, or regions of a section with a buffer; "
        "knndm: pieces of tissue that lie as far from training spots as spots without ions lie from measured ones; "
        "tissue_halves: half of each section, with a buffer; random: single spots, whose neighbours then train; "
        "half: a random half of the spots. Scores of the last two are flattered: for comparison only.",
    )
    group: str = Field(
        "section", title="Group", description="For 'leave_group_out': the column of obs that names the group."
    )
    n_folds: int = Field(
        5, ge=2, le=50, title="Folds", description="For 'blocks', 'knndm' and 'random': into how many folds they go."
    )
    blocks_by: Literal["tissue", "variogram"] = Field(
        "tissue",
        title="Sizes by",
        description="Blocks and buffers. tissue: sides of an eighth of the tissue, a buffer of 1.5 spot pitches; "
        "variogram: both as wide as ions resemble themselves, with what features and pixels reach, as far as enough "
        "spots are left to train.",
    )
    block_um: float | None = Field(None, gt=0, title="Block side (µm)", description="Empty: as 'Sizes by' says.")
    buffer_um: float | None = Field(
        None,
        ge=0,
        title="Buffer (µm)",
        description="For 'blocks', 'tissue_halves' and groups within a section: training spots nearer than this to a "
        "held-out spot are left out. Empty: as 'Sizes by' says.",
    )
    distance_um: float | None = Field(
        None,
        ge=0,
        title="Distance to predict at (µm)",
        description="For 'knndm': how far predicted spots will lie from measured ones. Empty: as those without ions.",
    )
    genes_over_position: bool = Field(
        False,
        title="What genes add to position",
        description="Also fits position and genes together (a ridge regression), to compare with position alone.",
    )
    seed: int = Field(0, ge=0, title="Seed", description="Of the assignment of blocks or spots to folds.")
