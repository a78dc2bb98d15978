"""Tables of a benchmark: the leaderboard, scores of every metabolite, what failed, and how long it took."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from napari_st2msi.benchmarking.combinations import Combination
from napari_st2msi.benchmarking.plan import Planned
from napari_st2msi.benchmarking.run import Outcome, result_folder
from napari_st2msi.benchmarking.store import read_evaluation, read_facts
from napari_st2msi.errors import DataProblem
from napari_st2msi.evaluation.block_errors import LEVEL
from napari_st2msi.evaluation.compare import ALL_IONS, compare
from napari_st2msi.evaluation.result import Evaluation
from napari_st2msi.evaluation.verdict import SKILL
from napari_st2msi.progress import Progress, check, never

#: Columns that say what a row is.
NAMES = ("data", "model", "features", "protocol", "seed")
#: The first row of each of these is what its other rows are compared with.
WITHIN = ("data", "protocol", "seed")
# Column of the leaderboard ← column of `Evaluation.flat()`; the median over ions.
_MEDIANS = {
    "pearson": "pearson",
    "spearman": "spearman",
    "rmse_sd": "rmse_sd",
    "ssim": "ssim",
    "residual_moran_i": "residual_moran_i",
    "presence_auc": "presence_auc",
    "presence_mcc": "presence_mcc",
    "r2_coordinates": "r2_coordinates",
    "r2_position": "r2_position",
    "skill_coordinates": "skill_coordinates",
    "skill_position": "skill_position",
    "gain": "gain",
}
_DIGITS, _DECIMALS = 6, 9
# Decimals of R² as reports and docks show it.
_SHOWN = 3
_NOT_RUN = "Not run yet."


def tables(
    done: Sequence[Planned],
    out: Path,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the leaderboard and the scores of every metabolite, of combinations that were done.

    Both are the same however and in whatever order combinations were run.

    Parameters
    ----------
    done
        Combinations whose results are in `out`.

    Returns
    -------
    leaderboard
        One row a combination, see `napari_st2msi.benchmarking.benchmark.Benchmark`.
    metabolites
        One row for each ion of each combination: names of the combination, `ion`, and all of
        `napari_st2msi.evaluation.result.Evaluation.flat`.
    """
    groups: dict[tuple[str, str, int], list[Planned]] = {}
    for each in sorted(done, key=lambda each: each.combination.id):
        own = each.combination
        groups.setdefault((own.data, own.protocol, own.seed), []).append(each)
    rows: list[dict[str, Any]] = []
    scores = []
    for number, group in enumerate(groups.values()):
        check(cancelled)
        progress(number / len(groups), "gathering results")
        found = {each.combination: read_evaluation(result_folder(out, each.key), values=False) for each in group}
        rows += _ranked(found)
        for combination, evaluation in found.items():
            flat = evaluation.flat().rename_axis("ion").reset_index()
            scores.append(pd.concat([pd.DataFrame([combination.names] * len(flat)), flat], axis=1))
    board = pd.DataFrame(rows, columns=[*NAMES, *COLUMNS]).astype(_KINDS)
    board = board.sort_values([*WITHIN, "rank"], kind="stable", ignore_index=True)
    every = pd.concat(scores, ignore_index=True) if scores else pd.DataFrame(columns=[*NAMES, "ion"])
    return _rounded(board), _rounded(every.sort_values([*NAMES], kind="stable", ignore_index=True))


#: Columns of the leaderboard after the names.
COLUMNS = (
    *("rank", "n_spots", "n_ions", "n_common", "r2_q1", "r2", "r2_q3", "r2_macro", "share_skill"),
    *_MEDIANS,
    *("share_gain", "moran_r2", "moran_gain"),
    *("best", "behind", "behind_lower", "behind_upper", "n_lower", "n_higher", "as_good"),
)
# Empty where a row was not set against the first.
_KINDS = {"n_lower": "Int64", "n_higher": "Int64", "as_good": "boolean"}


def _ranked(found: Mapping[Combination, Evaluation]) -> list[dict[str, Any]]:
    """Return rows of combinations that held out the same spots, compared on the ions that all of them learned."""
    common = _common(list(found.values()))
    rows = {each: _row(each, evaluation, common) for each, evaluation in found.items()}
    order = sorted(rows, key=lambda each: (-rows[each]["r2"] if np.isfinite(rows[each]["r2"]) else np.inf, each.id))
    best = order[0]
    for rank, each in enumerate(order, start=1):
        against = _LEVEL_WITH_ITSELF if each == best else _against(found[best], found[each], common)
        rows[each] |= {"rank": rank, "best": f"{best.model} · {best.features}", **against}
    return [rows[each] for each in order]


def _common(evaluations: list[Evaluation]) -> pd.Index:
    common = evaluations[0].learned
    for each in evaluations[1:]:
        common = common[common.isin(each.learned)]
    return common


def _row(each: Combination, evaluation: Evaluation, common: pd.Index) -> dict[str, Any]:
    flat = evaluation.flat().loc[common]
    low, middle, high = _quartiles(flat["r2"])
    place = evaluation.table.index.get_indexer(common)
    sections = [_median(pd.Series(r2[place])) for r2 in evaluation.errors.r2_by_section(evaluation.model).values()]
    return {
        **each.names,
        "n_spots": int(evaluation.prediction.n_obs),
        "n_ions": len(evaluation.learned),
        "n_common": len(common),
        **{"r2_q1": low, "r2": middle, "r2_q3": high, "r2_macro": float(np.mean(sections))},
        "share_skill": _share(flat["r2"]),
        **{name: _median(flat[column]) for name, column in _MEDIANS.items()},
        "share_gain": _share(flat["gain"]),
        "moran_r2": _spearman(flat["moran_i"], flat["r2"]),
        "moran_gain": _spearman(flat["moran_i"], flat["gain"]),
    }


_LEVEL_WITH_ITSELF = {
    **{"behind": 0.0, "behind_lower": 0.0, "behind_upper": 0.0},
    **{"n_lower": 0, "n_higher": 0, "as_good": True},
}


def _against(best: Evaluation, other: Evaluation, common: pd.Index) -> dict[str, Any]:
    """Return how another stands to the best, by the paired block bootstrap, over all ions and ion by ion.

    It is as good where the interval of the median difference reaches 0 and no more ions are lower than higher. Of the
    ions on which the two differ, 95 % intervals leave one in twenty to chance. What rounds to 0.000 is no difference.
    """
    try:
        found = compare({"best": _only(best, common), "other": _only(other, common)})
    except DataProblem:  # not a single ion that both learned, or a wider buffer around what looks farther
        return {}
    over_all, ions = found[found["ion"] == ALL_IONS].iloc[0], found[found["ion"] != ALL_IONS]
    low, high = (ions[end].to_numpy(dtype=float).round(_SHOWN) for end in ("lower", "upper"))
    lower, higher, differ = (int(which.sum()) for which in (low > 0, high < 0, (low < 0) | (high > 0)))
    least = float(over_all["lower"])
    return {
        "behind": float(over_all["difference"]),
        "behind_lower": least,
        "behind_upper": float(over_all["upper"]),
        "n_lower": lower,
        "n_higher": higher,
        "as_good": None if np.isnan(least) else least <= 0 and lower - higher <= (1 - LEVEL) * differ,
    }


def _only(evaluation: Evaluation, ions: pd.Index) -> Evaluation:
    """Return an evaluation in which no other ions count as learned."""
    table = evaluation.table.copy()
    table["ion", "learnable"] = table["ion"]["learnable"].astype(bool) & table.index.isin(ions)
    return replace(evaluation, table=table)


def failures(
    planned: Sequence[Planned], outcomes: Mapping[str, Outcome | None], done: Sequence[Planned]
) -> pd.DataFrame:
    """Return what has no result, one row a combination: its names, and `message`, why it has none."""
    rows = []
    for each in planned:
        if each not in done:
            outcome = outcomes[each.combination.id]
            rows.append({**each.combination.names, "message": _NOT_RUN if outcome is None else outcome.message})
    return pd.DataFrame(rows, columns=[*NAMES, "message"]).sort_values(list(NAMES), ignore_index=True)


def timings(done: Sequence[Planned], out: Path) -> pd.DataFrame:
    """Return how long each combination took when it was run: its names, `seconds` and `threads`."""
    rows = []
    for each in done:
        facts = read_facts(result_folder(out, each.key))
        rows.append({**each.combination.names, "seconds": facts["seconds"], "threads": facts["threads"]})
    return pd.DataFrame(rows, columns=[*NAMES, "seconds", "threads"]).sort_values(list(NAMES), ignore_index=True)


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose numbers have six digits and nine decimals: what comes after them is the computer's."""
    table = table.copy()
    for name in table.columns[[pd.api.types.is_float_dtype(kind) for kind in table.dtypes]]:
        values = table[name].to_numpy(dtype=np.float64)
        known = np.isfinite(values)
        values[known] = [float(f"{value:.{_DIGITS}g}") + 0.0 for value in np.round(values[known], _DECIMALS)]
        table[name] = values
    return table


def _quartiles(values: pd.Series) -> tuple[float, float, float]:
    known = values[np.isfinite(values.astype(float))]
    if not len(known):
        return float("nan"), float("nan"), float("nan")
    low, middle, high = np.quantile(known.astype(float), [0.25, 0.5, 0.75])
    return float(low), float(middle), float(high)


def _median(values: pd.Series) -> float:
    return _quartiles(values)[1]


def _share(values: pd.Series) -> float:
    return float((values > SKILL).mean()) if len(values) else float("nan")


def _spearman(one: pd.Series, other: pd.Series) -> float:
    """Return the rank correlation; NaN where fewer than three are known or one is the same everywhere."""
    known = pd.concat([one.astype(float), other.astype(float)], axis=1).dropna()
    if len(known) < 3 or (known.nunique() < 2).any():
        return float("nan")
    ranks = known.rank()
    return float(np.corrcoef(ranks.iloc[:, 0], ranks.iloc[:, 1])[0, 1])
