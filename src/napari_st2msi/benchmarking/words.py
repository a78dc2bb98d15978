"""What a benchmark did and found, in words; its report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from napari_st2msi.benchmarking.config import OWN_FEATURES
from napari_st2msi.evaluation.block_errors import DRAWS, LEVEL
from napari_st2msi.evaluation.protocols import strictest
from napari_st2msi.evaluation.verdict import SKILL
from napari_st2msi.models.registry import BASELINES
from napari_st2msi.recipe import PRESETS
from napari_st2msi.report.benchmark import NO_FEATURES, benchmark_page
from napari_st2msi.report.methods import genes_in_words, ions_in_words, model_in_words
from napari_st2msi.report.words import BASELINE_WORDS, fixed

if TYPE_CHECKING:
    from napari_st2msi.benchmarking.combinations import Combination
    from napari_st2msi.benchmarking.found import Benchmark


# Metabolites of each data set that the report lists; the table has all.
_SHOWN = 15


def write_report(found: Benchmark) -> None:
    """Write the report of a benchmark into its folder, one HTML file.

    Raises
    ------
    FileProblem
        It cannot be written.
    """
    from napari_st2msi.report.table import write_whole

    page = benchmark_page(
        found.leaderboard,
        found.failures,
        title=found.config.title,
        lead=in_short(found),
        facts=_facts(found),
        metabolites=best_metabolites(found),
        methods=methods(found),
        config=found.config.to_yaml(),
    )
    write_whole(found.report, lambda file: file.write_text(page, encoding="utf-8"))


def in_short(found: Benchmark) -> list[str]:
    """Say in a sentence for each data set and protocol what came first, by how much, and what genes added."""
    sentences = []
    board = found.leaderboard[found.leaderboard["seed"] == min(found.config.seeds)]
    for (data, protocol), rows in board.groupby(["data", "protocol"], sort=False):
        first, fair = rows.iloc[0], rows[rows["features"] != NO_FEATURES]
        best = fair.iloc[0] if len(fair) else first
        sees = "of the models that see genes, " if len(fair) < len(rows) and len(fair) else ""
        level = int(rows["as_good"].sum()) - 1 if best["rank"] == 1 else 0
        others = f", with {level:,} others as good" if level > 1 else ", with another as good" if level else ""
        apart = int(rows["as_good"].isna().sum()) if rows["n_common"].any() else 0
        beside = f" Not set against the first, as other spots trained them: {apart:,}." if apart else ""
        above = "" if best["rank"] == 1 else f" Better, without a gene: {first['model']}, with {fixed(first['r2'], 3)}."
        sentences.append(
            f"{data}, {protocol}: {sees}{best['model']} on {best['features']} came first{others}; median R² "
            f"{fixed(best['r2'], 3)}, {_gained(best['gain'])}.{above}{beside}"
        )
    return sentences or ["Nothing was done: see what failed."]


def _gained(gain: float) -> str:
    if gain > 0:
        return f"{fixed(gain, 3)} above what needs no gene"
    return f"no better than what needs no gene (gain {fixed(gain, 3)})"


def methods(found: Benchmark) -> list[tuple[str, str]]:
    """Return what was done, made from the choices and from what the data turned out to be: headings and texts."""
    config = found.config
    first = {name: _firsts(found, name) for name in ("model", "features")}
    base = config.recipe
    parts = [("Data", "\n".join(_data_in_words(name, facts) for name, facts in found.plan.data.items()))]
    features = [
        f"'{name}'{_meant(name)}: {genes_in_words(each.recipe)}"
        for name, each in first["features"].items()
        if name != NO_FEATURES
    ]
    parts.append(("Genes", "\n".join(features) or "No model saw genes."))
    ions = {ions_in_words(each.recipe): name for name, each in first["features"].items() if name != NO_FEATURES}
    if len(ions) > 1:
        words = "\n".join(f"With '{name}': {text}" for text, name in ions.items())
    else:
        words = next(iter(ions), ions_in_words(base))
    parts.append(("Ions", words))
    parts.append(("Models", "\n".join(_model_in_words(name, each) for name, each in first["model"].items())))
    held = [
        f"{protocol}{f', {data}' if len(found.plan.protocols) > 1 else ''}: {note}"
        for data, protocols in found.plan.protocols.items()
        for protocol, note in protocols.items()
    ]
    seeds = ", ".join(map(str, config.seeds))
    many = len(config.seeds) > 1
    shared = (
        f"Seed{'s' * many} of folds, networks and searches: {seeds}. All models were measured on the same folds, and "
        "everything fitted was fitted on training spots."
    )
    parts.append(("Held out", "\n".join([*held, shared])))
    parts.append(
        (
            "Baselines",
            "Beside every model, on the same folds and without a gene: "
            f"{', '.join(BASELINE_WORDS[name] for name in BASELINES)}. Gain is R² above the best of training mean, "
            "neighbours and position.",
        )
    )
    scale = "log(1 + x) of intensities" if base.ions.log1p else "intensities"
    parts.append(
        (
            "Scores",
            f"For each ion by itself, on {scale}: R² is 1 − the squared error over that of the training mean. Medians "
            "and quartiles are over the ions that all combinations of the same data, protocol and seed learned, so "
            f"that rows are about the same ions. There is skill above R² = {SKILL:g}. Models that held out the same "
            "spots are compared with the first of them: the median over ions of the difference in R², with its "
            f"{LEVEL:.0%} interval of the paired block bootstrap ({DRAWS:,} draws of squares of tissue), and the "
            "numbers of ions on which they are lower and higher by the interval of that ion. Those whose interval over "
            "all reaches 0 are as good as the first, unless more ions are lower than higher by over one in twenty of "
            "those that differ. The first of many is flattered, and intervals are about other tissue of these "
            "sections, not about other donors.",
        )
    )
    parts.append(("Computing", _computing(found)))
    return parts


def best_metabolites(found: Benchmark) -> dict[str, tuple[str, pd.DataFrame]]:
    """Return for each data set the metabolites with the highest gain, by the model that did best on strict folds.

    Returns
    -------
    For each data set what was chosen, in words, and a table: `label`, `moran_i`, R² by protocol, `gain`, `gain_lower`,
    `gain_upper`, `verdict`. Data on which no model that sees genes was done are left out.
    """
    strict = {each.combination.protocol: each.combination.recipe.evaluation.protocol for each in found.plan.planned}
    chosen = {}
    for data, rows in found.leaderboard.groupby("data", sort=False):
        rows = rows[(rows["features"] != NO_FEATURES) & (rows["seed"] == min(found.config.seeds))]
        if not len(rows):
            continue
        protocol = strictest({name: strict[name] for name in rows["protocol"]})
        best = rows[rows["protocol"] == protocol].iloc[0]
        own = found.metabolites.query(
            "data == @data and model == @best.model and features == @best.features and seed == @best.seed"
        )
        r2 = own.pivot_table(index="ion", columns="protocol", values="r2").add_prefix("R² ")
        judged = own[(own["protocol"] == protocol) & own["learnable"].astype(bool)].set_index("ion")
        top = judged.sort_values("gain", ascending=False, kind="stable").head(_SHOWN)
        table = top[["label", "moran_i"]].join(r2).join(top[["gain", "gain_lower", "gain_upper", "verdict"]])
        words = f"{data}: {best['model']} on {best['features']}, judged by {protocol}"
        chosen[str(data)] = words, table
    return chosen


def _facts(found: Benchmark) -> dict[str, str]:
    plan = found.plan
    n_done = len(found.leaderboard)
    facts = {
        "combinations done": f"{n_done:,} of {len(plan.planned):,}",
        "data sets": f"{len(plan.data):,}",
        "models": f"{len(found.config.models):,}",
        "features": f"{len(found.config.features):,}",
        "ways to hold out": f"{len(found.config.protocols):,}",
    }
    if len(plan.data) == 1:
        (own,) = plan.data.values()
        facts |= {"spots": f"{own['spots']:,}", "ions": f"{own['ions']:,}"}
    return facts


def _firsts(found: Benchmark, what: str) -> dict[str, Combination]:
    """Return for each name a combination that has it."""
    first: dict[str, Combination] = {}
    for each in found.plan.planned:
        first.setdefault(getattr(each.combination, what), each.combination)
    return first


def _data_in_words(name: str, facts: dict[str, Any]) -> str:
    sections = facts["sections"]
    where = f"{len(sections):,} sections" if len(sections) > 1 else f"section '{sections[0]}'"
    kind = " (simulated)" if facts["simulated"] else ""
    without = f"; {facts['without_ions']:,} more had no ions and were left out" if facts["without_ions"] else ""
    return (
        f"'{name}'{kind}: {facts['spots']:,} spots of {where}, {facts['genes']:,} genes, {facts['ions']:,} ions"
        f"{without}."
    )


def _meant(name: str) -> str:
    if name in PRESETS:
        return " (a preset of the literature)"
    return " (as the recipe says)" if name == OWN_FEATURES else ""


def _model_in_words(name: str, each: Combination) -> str:
    own = "" if name == each.recipe.model.name else f"'{name}' is "
    return f"{own}{model_in_words(each.recipe)}"


def _computing(found: Benchmark) -> str:
    from napari_st2msi.training.versions import versions

    known = ", ".join(f"{name} {number}" for name, number in versions().items())
    seconds = float(found.timings["seconds"].sum())
    minutes = f"{seconds / 60:,.0f} minutes" if seconds < 2 * 3600 else f"{seconds / 3600:,.1f} hours"
    time = f"{seconds:,.0f} seconds" if seconds < 120 else minutes
    threads = found.config.threads
    return (
        f"Each combination ran on {threads} thread{'s' * (threads > 1)}; together they took {time} of computing. "
        f"Versions: {known}."
    )


def shown_failures(table: pd.DataFrame, most: int = 5) -> list[str]:
    """Return what failed as lines, for the command line."""
    lines = [
        f"{row['model']} · {row['features']} · {row['protocol']} · {row['data']}: {row['message']}"
        for row in table.head(most).to_dict("records")
    ]
    return [*lines, *([f"and {len(table) - most:,} more"] if len(table) > most else [])]
