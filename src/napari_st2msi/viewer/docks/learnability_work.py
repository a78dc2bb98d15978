"""The long work of the Learnability dock: on a background thread, without widgets or state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pandas as pd

from napari_st2msi.evaluation.protocols import short_name
from napari_st2msi.paired import PairedDataset
from napari_st2msi.progress import Progress
from napari_st2msi.recipe import Recipe
from napari_st2msi.recipe.networks import trains_networks
from napari_st2msi.section import Section
from napari_st2msi.viewer.docks.train_work import gather
from napari_st2msi.viewer.load_torch import load_torch

if TYPE_CHECKING:
    from napari_st2msi.evaluation.learnability import Learnability
    from napari_st2msi.evaluation.tiers import Tiers


@dataclass(frozen=True, eq=False)
class Asked:
    """What is to be assessed.

    Attributes
    ----------
    sections, parts
        Sections, and their paired spots.
    protocols
        As `napari_st2msi.evaluation.learnability.learnability` takes them.
    """

    sections: tuple[Section, ...]
    parts: tuple[PairedDataset, ...]
    recipe: Recipe
    protocols: tuple[str, ...]

    def predicts_as(self, other: Asked) -> bool:
        """Return whether spots held out in the same way were predicted in the same way."""
        same = len(self.parts) == len(other.parts) and all(map(lambda a, b: a is b, self.parts, other.parts))
        return same and _predicting(self.recipe) == _predicting(other.recipe)


@dataclass(frozen=True, eq=False)
class Assessed:
    """What was asked, and found."""

    asked: Asked
    found: Learnability


@dataclass(frozen=True, eq=False)
class Expected:
    """What to expect of a new metabolite.

    Attributes
    ----------
    known
        What it is like: numbers by property.
    row
        As `napari_st2msi.evaluation.learnability.Learnability.expect` returns it.
    found
        What it was learned from: the ions that were assessed, without one that it is like.
    """

    known: dict[str, float]
    row: pd.Series
    found: Learnability


def _predicting(recipe: Recipe) -> dict[str, object]:
    """Return the choices that say how spots are predicted: all but what learnability chooses itself."""
    choices = recipe.model_dump(exclude={"intervals", "pairing"})
    return {**choices, "evaluation": {**choices["evaluation"], "protocol": None, "group": None}}


def assess(
    asked: Asked,
    criteria: Tiers,
    before: Assessed | None = None,
    *,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> Assessed:
    """Find which ions can be learned.

    Parameters
    ----------
    before
        What was assessed before; spots that were predicted in the same way then are not predicted again.
    """
    from napari_st2msi.evaluation.learnability import learnability

    progress(0.0, "gathering spots")
    paired = gather(asked.sections, asked.parts, asked.recipe, cancelled)
    if trains_networks(asked.recipe.model):
        progress(0.0, "starting torch")
        load_torch()
    known = {}
    if before is not None and before.asked.predicts_as(asked):
        wanted = set(map(short_name, asked.protocols))
        known = {name: each for name, each in before.found.evaluations.items() if name in wanted}
    found = learnability(
        paired,
        asked.recipe,
        protocols=asked.protocols,
        section=asked.sections,
        evaluations=known,
        criteria=criteria,
        progress=progress,
        cancelled=cancelled,
    )
    return Assessed(asked, found)


def judge(
    found: Learnability, criteria: Tiers, by: str, *, progress: Progress, cancelled: Callable[[], bool]
) -> Learnability:
    """Judge tiers anew; no spot is predicted again."""
    return found.judged(criteria, by)


def expect(
    found: Learnability,
    known: dict[str, float],
    like: str | None,
    *,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> Expected:
    """Find what to expect of a new metabolite from what it is like.

    Parameters
    ----------
    like
        A measured ion that it is like, from which nothing is learned: what became of it is not known of a new one.
    """
    from napari_st2msi.evaluation.properties import PROPERTIES

    others = found if like is None else replace(found, table=found.table.drop(index=like))
    new = pd.DataFrame([known], index=["new"], columns=list(PROPERTIES), dtype=float)
    return Expected(known, others.expect(new).iloc[0], others)
