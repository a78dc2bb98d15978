"""Tiers: every way to one, and its words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from napari_st2msi.errors import RecipeProblem
from napari_st2msi.evaluation.tiers import FINDINGS, TIERS, Tiers, tiers

BASE: dict[str, Any] = {
    "r2": 0.6, "r2_coordinates": 0.1, "r2_position": 0.05, "gain": 0.5, "gain_lower": 0.4, "gain_upper": 0.6,
    "moran_i": 0.62, "ceiling": 0.8, "ceiling_source": "split_half", "relative_r2": 0.75, "learnable": True,
}  # fmt: skip
NO_GAIN = {"gain": 0.0, "gain_lower": -0.01, "gain_upper": 0.02}


def judge(criteria: Tiers | None = None, **changes: Any) -> tuple[int, str, str]:
    row = tiers(pd.DataFrame([BASE | changes], index=["ion"]), criteria).loc["ion"]
    return int(row["tier"]), str(row["finding"]), str(row["reason"])


def test_words_of_every_finding() -> None:
    assert judge() == (
        1, "encoded",
        "tier 1: genes predict 75% of what is reproducible (ceiling 0.80 by halves of the spots' pixels); "
        "gain 0.50 [0.40, 0.60] over position",
    )  # fmt: skip
    assert judge(relative_r2=0.3)[:2] == (2, "partly encoded")
    assert judge(r2=0.3, r2_coordinates=0.31, **NO_GAIN) == (
        3, "smooth", "tier 3: smooth (I = 0.62) but coordinates alone explain it; gain 0.00 [−0.01, 0.02]",
    )  # fmt: skip
    assert "position alone explains it" in judge(r2_position=0.3, **NO_GAIN)[2]
    assert judge(r2_coordinates=-0.2, r2_position=0.0, **NO_GAIN)[1] == "patterned"
    assert judge(moran_i=0.01, ceiling=0.02, **NO_GAIN)[2].startswith("tier 3: noise (I = 0.01, ceiling 0.02); gain")
    assert judge(learnable=False)[1] == "not learnable"
    assert judge(r2=np.nan, gain=np.nan)[:2] == (3, "not learnable")


def test_a_gain_must_be_sure_unless_told_otherwise() -> None:
    tier, finding, reason = judge(gain_lower=-0.1)
    assert (tier, finding) == (3, "not sure")
    assert "too uncertain to count" in reason
    assert judge(Tiers(sure=False), gain_lower=-0.1)[0] == 1
    assert judge(Tiers(least_gain=0.55))[2].startswith(
        "tier 3: what genes seem to add to position is less than 0.55; gain"
    )


def test_a_lower_bound_is_called_one_and_flatters_nobody() -> None:
    tier, _, reason = judge(ceiling_source="nugget", ceiling=0.4, relative_r2=1.5)
    assert tier == 1
    assert "R² 0.60, where at least 0.40 is reproducible (the variogram's nugget)" in reason
    assert judge(ceiling_source="nugget", r2=0.2, ceiling=0.2, relative_r2=1.0)[0] == 2
    assert judge(ceiling_source="split_half", r2=0.2, ceiling=0.2, relative_r2=1.0)[0] == 1


def test_without_a_ceiling_r2_itself_counts() -> None:
    unknown = {"relative_r2": np.nan, "ceiling": np.nan, "ceiling_source": ""}
    assert judge(**unknown)[0] == 1
    assert judge(r2=0.4, **unknown)[0] == 2


def test_criteria_move_tiers() -> None:
    assert judge(Tiers(least_gain=0.55))[0] == 3
    assert judge(Tiers(least_share=0.8))[0] == 2
    assert judge(Tiers(least_structure=0.7), **NO_GAIN)[1] == "noisy"
    with pytest.raises(RecipeProblem, match="least_share"):
        Tiers.of({"least_share": 2})
    with pytest.raises(RecipeProblem, match="'gain' is not a choice of the tiers"):
        Tiers.of({"gain": 0.1})


def test_every_tier_and_finding_has_words() -> None:
    assert set(TIERS) == {1, 2, 3}
    assert all(words.endswith(".") for words in FINDINGS.values())
