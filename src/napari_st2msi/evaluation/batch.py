"""What standardising genes within each section does to skill on sections that were not seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_st2msi.errors import RecipeProblem
from napari_st2msi.evaluation.evaluate import cross_validate
from napari_st2msi.evaluation.verdict import SKILL
from napari_st2msi.progress import Progress, never
from napari_st2msi.recipe import Recipe

if TYPE_CHECKING:
    from napari_st2msi.evaluation.result import Evaluation
    from napari_st2msi.paired import PairedDataset

_WORST = -1.0  # a few ions that are predicted absurdly must not hide the others


@dataclass(frozen=True)
class BatchEffect:
    """Skill with genes standardised over all training spots, and within each section by itself.

    Attributes
    ----------
    r2
        Learnable ions × R² on held-out spots: columns ``training`` (over all training spots) and ``section``
        (within each section).
    per_section
        Which of the two the recipe asks for.
    held_out
        What was held out, in words.
    """

    r2: pd.DataFrame
    per_section: bool
    held_out: str

    def in_words(self) -> str:
        """Say what standardising within sections does, and whether the recipe should."""
        gain = self.r2["section"] - self.r2["training"]
        better, worse = int((gain > SKILL).sum()), int((gain < -SKILL).sum())
        mean = self.r2.clip(lower=_WORST).mean()
        text = (
            "Standardising genes within each section instead of over all training spots takes the mean R² over ions "
            f"(none counted below {_WORST:g}) from {mean['training']:.3f} to {mean['section']:.3f} ({self.held_out} "
            f"held out): better by more than {SKILL:g} for {better:,} of {len(gain):,} ions, worse for {worse:,}."
        )
        helps = better > worse and mean["section"] > mean["training"]
        if helps and not self.per_section:
            return f"{text} Sections differ in more than their tissue: turn 'Standardise per section' on."
        if not helps and self.per_section and worse > better:
            return f"{text} It takes away differences between sections that ions follow: turn it off."
        return text


def compare_standardisation(
    paired: PairedDataset,
    recipe: Recipe | None = None,
    *,
    evaluation: Evaluation | None = None,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> BatchEffect:
    """Measure skill on held-out groups with genes standardised in both ways.

    Parameters
    ----------
    recipe
        Held out is the group it names, ``section`` if it holds out blocks or single spots.
    evaluation
        Of this recipe, to save half of the work; used where it held out groups.

    Raises
    ------
    RecipeProblem
        There is one section only, or the recipe does not standardise at all.
    """
    recipe = Recipe() if recipe is None else recipe
    if not recipe.genes.standardise:
        raise RecipeProblem("The recipe does not standardise genes, so there is nothing to compare. Turn it on.")
    if len(np.unique(paired.sections)) < 2:
        raise RecipeProblem(
            "There is one section only. What standardising within sections does shows on another section: "
            "give two or more."
        )
    grouped = recipe.evaluation.protocol == "leave_group_out"
    protocol = (
        recipe.evaluation
        if grouped
        else recipe.evaluation.model_copy(update={"protocol": "leave_group_out", "group": "section"})
    )
    found: dict[str, Evaluation] = {}
    for number, name in enumerate(("training", "section")):
        if evaluation is not None and grouped and recipe.genes.per_section == (name == "section"):
            found[name] = evaluation
            continue
        genes = recipe.genes.model_copy(update={"per_section": name == "section"})
        other = recipe.model_copy(update={"genes": genes, "evaluation": protocol})
        found[name] = cross_validate(
            paired, other, progress=progress.part(number / 2, (number + 1) / 2), cancelled=cancelled
        )
    tables = {name: each.flat() for name, each in found.items()}
    learnable = np.logical_and.reduce([table["learnable"].to_numpy(dtype=bool) for table in tables.values()])
    r2 = pd.DataFrame({name: table["r2"] for name, table in tables.items()})[learnable].dropna()
    progress(1.0, "compared")
    return BatchEffect(r2, recipe.genes.per_section, f"each '{protocol.group}'")
