"""What comes next for a section: the one thing that the button of the Data dock offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from napari_st2msi.recipe import Pairing
from napari_st2msi.viewer.state import Work


@dataclass(frozen=True)
class Step:
    """One step of the way from files to predictions.

    Attributes
    ----------
    verb
        What the button says.
    enabled
        Whether it can be taken now.
    hint
        Why not, and what to do about it.
    """

    kind: Literal["open", "register", "pair", "train", "explore"]
    verb: str
    enabled: bool = True
    hint: str = ""


def next_step(work: Work | None, *, wanted: bool, pairing: Pairing) -> Step:
    """Return what comes next.

    Parameters
    ----------
    work
        What was made of the section looked at; None while none is open.
    wanted
        Whether paths are given that are not open yet.
    pairing
        The choices that pairing would use.
    """
    if wanted:
        return Step("open", "Open")
    if work is None:
        return Step("open", "Open", False, "Choose a file or folder first, drop one here, or open a sample.")
    section = work.section
    if not section.has_st:
        return Step("explore", "Explore ions")
    if not section.has_msi:
        return Step("train", "Predict or train" if work.paired is None else "Train")
    if not section.registered:
        return Step("register", "Register")
    if work.paired is None:
        return Step("pair", "Pair")
    remembered = section.attrs.get("pairing", {}).get("choices")
    if "paired" in work.stale or (remembered is not None and Pairing.model_validate(remembered) != pairing):
        return Step("pair", "Pair again")
    return Step("train", "Train")
