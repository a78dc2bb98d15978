"""The tables of learnability: scores of every protocol beside properties, tiers, and which property tells what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from napari_st2msi.evaluation.ceilings import relative
from napari_st2msi.evaluation.forecast import LEVEL, forecast, rank_correlations, tier_forecast
from napari_st2msi.evaluation.properties import PROPERTIES
from napari_st2msi.evaluation.tiers import Tiers, tiers

if TYPE_CHECKING:
    from napari_st2msi.evaluation.result import Evaluation

#: What is to be told from properties: columns of the table without the name of the protocol before them.
OUTCOMES = {"r2": "skill", "gain": "gain over position"}
# Of each protocol: column of the table ← column of `Evaluation.flat()`.
_SCORES = ("r2", "gain", "gain_lower", "gain_upper", "r2_coordinates", "r2_position", "pearson", "spearman")


def scores_and_properties(
    found: Mapping[str, Evaluation], beyond: Mapping[str, pd.DataFrame], known: pd.DataFrame, source: pd.Series
) -> pd.DataFrame:
    """Return one row an ion: what it is and is like, and its scores under every protocol (`beyond`: significance)."""
    first = next(iter(found.values())).flat()
    ions = first[["mz", "name", "formula", "adduct", "label"]]
    parts = [ions, known[["class"]], known[list(PROPERTIES)], source.rename("ceiling_source")]
    learnable = pd.Series(True, index=known.index, name="learnable")
    for name, each in found.items():
        flat = each.flat()
        learnable &= flat["learnable"].astype(bool) & flat["r2"].notna()
        scores = flat[list(_SCORES)].astype(float)
        for baseline in ("coordinates", "position"):
            scores[f"gain_{baseline}"] = scores["r2"] - scores[f"r2_{baseline}"].clip(lower=0.0)
        parts.append(scores.join(beyond[name][["skill_p", "skill_q"]]).add_prefix(f"{name}_"))
    return pd.concat([*parts, learnable], axis=1)


def judged(table: pd.DataFrame, by: str, criteria: Tiers) -> pd.DataFrame:
    """Return the table with tiers by one protocol, and how likely properties alone make each."""
    table = table.drop(columns=[name for name in table if str(name).startswith("tier_likely_")])
    table["relative_r2"] = relative(table[f"{by}_r2"], table["ceiling"])
    own = table.rename(columns={f"{by}_{score}": score for score in _SCORES})
    table[["tier", "finding", "reason"]] = tiers(own, criteria)
    likely = tier_forecast(table[list(PROPERTIES)], table["tier"]).reindex(columns=[1, 2, 3], fill_value=0.0)
    return table.join(likely.add_prefix("tier_likely_"))


def correlations(table: pd.DataFrame, protocols: Sequence[str], model: str) -> pd.DataFrame:
    """Return how each property ranks ions as skill and gain do, under every protocol; see `Learnability`."""
    own = table[table["learnable"]]
    parts = []
    for name in protocols:
        wanted = {(model, outcome): own[f"{name}_{outcome}"] for outcome in OUTCOMES}
        wanted |= {(baseline, "r2"): own[f"{name}_r2_{baseline}"] for baseline in ("coordinates", "position")}
        for (predictor, outcome), values in wanted.items():
            rows = rank_correlations(own[list(PROPERTIES)], values).rename_axis("property").reset_index()
            parts.append(rows.assign(protocol=name, predictor=predictor, outcome=outcome))
    first = ["protocol", "predictor", "outcome", "property"]
    return pd.concat(parts, ignore_index=True)[[*first, "spearman", "partial", "n"]]


def forecasts(table: pd.DataFrame, protocols: Sequence[str]) -> pd.DataFrame:
    """Return how well all properties together tell skill and gain under every protocol; see `Learnability`."""
    own = table[table["learnable"]]
    rows: list[dict[str, Any]] = []
    for name in protocols:
        for outcome in OUTCOMES:
            found = forecast(own[list(PROPERTIES)], own[f"{name}_{outcome}"])
            if found is None:
                continue
            facts = {"r2": found.r2, "spearman": found.spearman, "level": LEVEL}
            facts |= {"half_width": found.half_width, "coverage": found.coverage}
            importance = {f"importance_{name}": value for name, value in found.importance.items()}
            rows.append({"protocol": name, "outcome": outcome, **facts, **importance})
    columns = ["protocol", "outcome", "r2", "spearman", "level", "half_width", "coverage"]
    columns += [f"importance_{name}" for name in PROPERTIES]
    return pd.DataFrame(rows).reindex(columns=columns)
