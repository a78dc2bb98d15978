"""Three tiers of ions: those that prediction can stand in for, those it can guide, and those to measure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from pydantic import Field

from napari_st2msi.evaluation.ceilings import LEAST, LOWER_BOUNDS, SOURCE_WORDS
from napari_st2msi.evaluation.verdict import SKILL, STRUCTURE
from napari_st2msi.recipe.choices import Choices

#: Tiers in words, by number.
TIERS = {
    1: "prediction can stand in for measurement",
    2: "genes add something: prediction can guide",
    3: "measure it: genes add nothing",
}
#: Findings, from the best: what an ion is, which a tier alone does not say.
FINDINGS = {
    "encoded": "Genes predict most of what is reproducible, better than position does.",
    "partly encoded": "Genes add to what position tells, but much is left.",
    "not sure": "Genes seem to add to position, but too little or too uncertainly to count.",
    "smooth": "Predictable, but position alone explains it.",
    "patterned": "Has a pattern that neither genes nor position predict.",
    "noisy": "Neither pattern nor skill.",
    "not learnable": "In too few spots, or constant.",
}


class Tiers(Choices):
    """What makes a tier. An ion goes to the first whose criteria it meets; all meet those of the third."""

    called: ClassVar[str] = "tiers"

    least_gain: float = Field(
        SKILL,
        ge=0,
        le=1,
        title="Least gain",
        description="R² that genes must add to the best of training mean, coordinates and position, for tiers 1 and 2.",
    )
    sure: bool = Field(
        True,
        title="Sure of the gain",
        description="Whether the whole 95 % interval of the gain must lie above 0, for tiers 1 and 2.",
    )
    least_share: float = Field(
        0.5,
        ge=0,
        le=1,
        title="Least share",
        description="R² as a share of what is reproducible (the ceiling), for tier 1. Where the ceiling is not known, "
        "or only from below, R² itself counts.",
    )
    least_structure: float = Field(
        STRUCTURE,
        ge=-1,
        le=1,
        title="Least structure",
        description="Moran's I from which an image has a pattern: it tells smooth from noisy ions in tier 3.",
    )


def tiers(table: pd.DataFrame, criteria: Tiers | None = None) -> pd.DataFrame:
    """Return the tier of each ion, what it was found to be, and why in words.

    Parameters
    ----------
    table
        Ions × `r2`, `r2_coordinates`, `r2_position`, `gain`, `gain_lower`, `gain_upper` (of one protocol),
        `moran_i`, `ceiling`, `ceiling_source`, `relative_r2`, `learnable`.

    Returns
    -------
    DataFrame
        Ions × `tier` (int64, 1 to 3), `finding` (a key of `FINDINGS`), `reason`.
    """
    criteria = Tiers() if criteria is None else criteria
    rows = [_judge(row, criteria) for row in table.to_dict("records")]
    return pd.DataFrame(rows, index=table.index, columns=["tier", "finding", "reason"]).astype({"tier": "int64"})


def _judge(ion: Mapping[Any, Any], criteria: Tiers) -> tuple[int, str, str]:
    r2, gain = float(ion["r2"]), float(ion["gain"])
    if not ion["learnable"] or not np.isfinite(r2) or not np.isfinite(gain):
        return 3, "not learnable", "tier 3: not learnable, in too few spots or constant"
    low, high = float(ion["gain_lower"]), float(ion["gain_upper"])
    added = f"gain {_two(gain)}" + (f" [{_two(low)}, {_two(high)}]" if np.isfinite(low + high) else "")
    if gain > criteria.least_gain and (low > 0 or not criteria.sure):
        # Of a ceiling that is only a lower bound, a share may be far too high: then R² itself must be enough.
        sound = np.isfinite(float(ion["relative_r2"])) and ion["ceiling_source"] not in LOWER_BOUNDS
        if (float(ion["relative_r2"]) if sound else r2) >= criteria.least_share:
            return 1, "encoded", f"tier 1: genes predict {_of_ceiling(ion)}; {added} over position"
        return 2, "partly encoded", f"tier 2: genes add to position, but predict {_of_ceiling(ion)}; {added}"
    if gain > SKILL and r2 > SKILL:
        why = "too uncertain to count" if gain > criteria.least_gain else f"less than {_two(criteria.least_gain)}"
        return 3, "not sure", f"tier 3: what genes seem to add to position is {why}; {added}"
    moran, ceiling = float(ion["moran_i"]), float(ion["ceiling"])
    where = {"coordinates": float(ion["r2_coordinates"]), "position": float(ion["r2_position"])}
    best = max(where, key=lambda name: where[name])
    if not moran >= criteria.least_structure:
        nothing = f"ceiling {_two(ceiling)}" if ceiling < LEAST else f"R² {_two(r2)}"
        return 3, "noisy", f"tier 3: noise (I = {_two(moran)}, {nothing}); {added}"
    if where[best] > SKILL:
        verb = "explain" if best == "coordinates" else "explains"
        return 3, "smooth", f"tier 3: smooth (I = {_two(moran)}) but {best} alone {verb} it; {added}"
    return 3, "patterned", f"tier 3: has a pattern (I = {_two(moran)}) that neither genes nor position predict; {added}"


def _of_ceiling(ion: Mapping[Any, Any]) -> str:
    """Say what R² is of what is reproducible."""
    r2, ceiling, share, source = (ion[name] for name in ("r2", "ceiling", "relative_r2", "ceiling_source"))
    if not np.isfinite(share):
        known = (
            f"where little is reproducible (ceiling {_two(ceiling)})"
            if np.isfinite(ceiling)
            else "of a ceiling that is not known"
        )
        return f"R² {_two(r2)}, {known}"
    if source in LOWER_BOUNDS:
        return f"R² {_two(r2)}, where at least {_two(ceiling)} is reproducible ({SOURCE_WORDS[source]})"
    return f"{min(share, 1.0):.0%} of what is reproducible (ceiling {_two(ceiling)} by {SOURCE_WORDS[source]})"


def _two(value: float) -> str:
    """Return a number with two decimals and a true minus; no sign at zero."""
    text = f"{value:.2f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")
