"""How networks are trained."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from napari_st2msi.recipe.choices import Choices
from napari_st2msi.recipe.model import Model


class Networks(Choices):
    """How networks are trained."""

    epochs: int = Field(40, ge=1, le=100_000, title="Epochs", description="At most so many.")
    patience: int = Field(8, ge=1, title="Patience", description="Stop after so many epochs that bring nothing.")
    batch: int = Field(128, ge=1, title="Minibatch", description="Spots in one step of learning.")
    learning_rate: float = Field(
        2e-3, gt=0, le=1, title="Learning rate", description="The highest; it rises, then falls."
    )
    device: Literal["auto", "cuda", "mps", "cpu"] = Field(
        "auto", title="Device", description="auto: the GPU if torch finds one, else the processor."
    )
    devices: int = Field(
        1, ge=1, le=64, title="GPUs", description="For 'mlp': how many NVIDIA GPUs share each minibatch."
    )
    precision: Literal["full", "mixed"] = Field(
        "full", title="Precision", description="mixed: 16 bits where an NVIDIA GPU gains by it."
    )
    seed: int = Field(0, ge=0, title="Seed", description="Of their start, order of spots and dropout.")


#: Models that are one network, or a few of the same kind averaged.
NETWORKS = ("mlp", "gcn", "graphsage", "gat", "cvae", "transformer", "linear_transformer")


def trains_networks(model: Model) -> bool:
    """Return whether a model is a network or has one inside."""
    parts = {model.name}
    if model.name == "two_stage":
        parts |= {model.intensity}
    if model.name in ("two_stage", "stack"):
        parts |= {model.presence}
    return bool(parts & {*NETWORKS, "network", "networks"}) or ("stack" in parts and model.stack_mlp)
