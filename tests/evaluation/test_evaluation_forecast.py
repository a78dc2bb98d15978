"""What properties say about an outcome: planted relations are found, none is found in noise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from napari_st2msi.evaluation.forecast import (
    LEVEL,
    Ranks,
    expected,
    expected_tiers,
    forecast,
    rank_correlations,
    tier_forecast,
)

N = 300
RNG = np.random.default_rng(1)
CAUSE, COPY = RNG.normal(size=N), RNG.normal(size=N)
PROPERTIES = pd.DataFrame(
    {"cause": CAUSE, "echo": CAUSE + 0.5 * COPY, "other": RNG.normal(size=N), "never": np.nan},
    index=[f"i{k}" for k in range(N)],
)
OUTCOME = pd.Series(np.tanh(CAUSE) + 0.2 * RNG.normal(size=N), index=PROPERTIES.index)


def test_an_echo_correlates_and_adds_nothing() -> None:
    found = rank_correlations(PROPERTIES, OUTCOME)
    assert found.loc["cause", "spearman"] > 0.85
    assert found.loc["echo", "spearman"] > 0.7
    assert found.loc["cause", "partial"] > 0.7
    assert abs(found.loc["echo", "partial"]) < 0.15
    assert abs(found.loc["other", "spearman"]) < 0.15
    assert np.isnan(found.loc["never", "spearman"])
    assert (found["n"] == N).all()


def test_spearman_is_scipys() -> None:
    from scipy.stats import spearmanr

    found = rank_correlations(PROPERTIES[["echo"]], OUTCOME)
    assert found.loc["echo", "spearman"] == pytest.approx(spearmanr(PROPERTIES["echo"], OUTCOME).statistic)
    assert found.loc["echo", "partial"] == pytest.approx(found.loc["echo", "spearman"])  # given nothing else


def test_what_others_say_wholly_has_no_partial() -> None:
    twice = PROPERTIES[["cause"]].assign(twin=2 * CAUSE)
    assert rank_correlations(twice, OUTCOME)["partial"].isna().all()


def test_a_planted_relation_is_forecast_out_of_fold() -> None:
    found = forecast(PROPERTIES, OUTCOME)
    assert found.r2 > 0.7
    assert found.importance.idxmax() == "cause"
    assert found.importance["other"] < 0.05
    assert "never" not in found.importance
    assert found.coverage == pytest.approx(LEVEL, abs=0.05)


def test_nothing_is_forecast_from_noise() -> None:
    found = forecast(PROPERTIES, pd.Series(RNG.normal(size=N), index=PROPERTIES.index))
    assert found.r2 < 0.05
    assert found.importance.abs().max() < 0.2
    assert found.coverage == pytest.approx(LEVEL, abs=0.05)


def test_intervals_hold_for_ions_that_are_new() -> None:
    known, new = PROPERTIES[:200], PROPERTIES[200:]
    found = forecast(known, OUTCOME[:200])
    said = expected(new, known, found, OUTCOME[:200])
    inside = (OUTCOME[200:] >= said["lower"]) & (OUTCOME[200:] <= said["upper"])
    assert 0.8 <= inside.mean() <= 1.0
    assert (said["upper"] - said["lower"]).max() < np.ptp(OUTCOME)


def test_tiers_are_forecast() -> None:
    tier = pd.Series(np.where(CAUSE > 0.5, 1, np.where(CAUSE > -0.5, 2, 3)), index=PROPERTIES.index)
    likely = tier_forecast(PROPERTIES, tier)
    assert np.allclose(likely.sum(axis=1), 1)
    assert (likely.idxmax(axis=1) == tier).mean() > 0.85
    said = expected_tiers(PROPERTIES[:5], PROPERTIES, tier)
    assert (said.idxmax(axis=1) == tier[:5]).all()
    one = expected_tiers(PROPERTIES[:5], PROPERTIES, pd.Series(3, index=PROPERTIES.index))
    assert (one[3] == 1).all()


def test_too_few_or_constant_says_nothing() -> None:
    assert forecast(PROPERTIES[:10], OUTCOME[:10]) is None
    assert forecast(PROPERTIES, pd.Series(0.5, index=PROPERTIES.index)) is None
    assert forecast(PROPERTIES[["never"]], OUTCOME) is None
    assert tier_forecast(PROPERTIES[:10], pd.Series(1, index=PROPERTIES.index[:10])).isna().all().all()
    assert rank_correlations(PROPERTIES[:10], OUTCOME[:10])["spearman"].isna().all()


def test_ranks_of_values_and_of_missing_ones() -> None:
    ranks = Ranks(np.array([[1.0], [2.0], [2.0], [4.0]]))
    assert ranks(np.array([[0.0], [2.0], [3.0], [9.0], [np.nan]])).ravel().tolist() == [0, 0.5, 0.75, 1, 0.5]
