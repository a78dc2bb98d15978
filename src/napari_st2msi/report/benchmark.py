"""The report of a benchmark: which model on which features, held out how, and what to believe of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from napari_st2msi.report.benchmark_figures import heatmaps, moran_figure, protocol_figure
from napari_st2msi.report.page import figure_tag, filled
from napari_st2msi.report.words import fixed

# Column of the leaderboard: its heading, and whether it is text.
_COLUMNS = {
    "data": ("data", True),
    "protocol": ("held out", True),
    "seed": ("seed", False),
    "rank": ("rank", False),
    "model": ("model", True),
    "features": ("features", True),
    "r2": ("median R²", False),
    "behind": ("behind", False),
    "n_lower": ("ions lower", False),
    "n_higher": ("ions higher", False),
    "gain": ("gain", False),
    "share_gain": ("ions with gain", False),
    "r2_coordinates": ("R² neighbours", False),
    "r2_position": ("R² position", False),
    "pearson": ("Pearson", False),
    "spearman": ("Spearman", False),
    "rmse_sd": ("RMSE/SD", False),
    "ssim": ("SSIM", False),
    "residual_moran_i": ("I of residual", False),
    "presence_auc": ("presence AUC", False),
    "moran_r2": ("I ~ R²", False),
    "moran_gain": ("I ~ gain", False),
    "n_common": ("ions", False),
}
#: What the features of models are called that see no gene.
NO_FEATURES = "none"
_WHOLE = ("seed", "rank", "n_lower", "n_higher", "n_common")


def benchmark_page(
    leaderboard: pd.DataFrame,
    failures: pd.DataFrame,
    *,
    title: str,
    lead: Sequence[str],
    facts: Mapping[str, str],
    metabolites: Mapping[str, tuple[str, pd.DataFrame]],
    methods: Sequence[tuple[str, str]],
    config: str,
) -> str:
    """Return the report as the text of an HTML page that needs nothing else.

    Parameters
    ----------
    leaderboard, failures
        As `napari_st2msi.benchmarking.benchmark.Benchmark` has them.
    lead
        What came out, in sentences.
    facts
        Numbers to show large, with their words.
    metabolites
        For each data set which model was chosen, in words, and the metabolites to list.
    methods
        What was done: headings and texts.
    config
        As YAML.
    """
    from napari_st2msi import __version__

    names = ", ".join(dict.fromkeys(leaderboard["data"])) or "nothing done"
    return filled(
        "benchmark.html",
        title=escape(title),
        subtitle=escape(f"{names} · {len(leaderboard):,} combinations"),
        lead="".join(f"<p>{escape(sentence)}</p>" for sentence in lead),
        facts="\n".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items()),
        failed=_failed(failures),
        heatmaps=_heatmaps(leaderboard),
        protocols=_protocols(leaderboard),
        moran=_moran(leaderboard),
        leaderboard=_table(leaderboard),
        metabolites="".join(_metabolites(words, table) for words, table in metabolites.values()),
        methods="\n".join(f"<h3>{escape(heading)}</h3>{_paragraphs(text)}" for heading, text in methods),
        config=escape(config),
        footer=escape(f"Written by napari-st2msi {__version__}."),
    )


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{escape(line)}</p>" for line in text.splitlines())


def _failed(failures: pd.DataFrame) -> str:
    if not len(failures):
        return ""
    rows = "".join(
        "<tr>" + "".join(f'<td class="text">{escape(str(row[name]))}</td>' for name in failures) + "</tr>"
        for row in failures.to_dict("records")
    )
    head = "".join(f'<th class="text">{escape(str(name))}</th>' for name in failures)
    return (
        f"<h2>What failed</h2><p>{len(failures):,} of the combinations have no result. Start the benchmark again to "
        f'try them again.</p><table class="wrapped"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    )


def _heatmaps(board: pd.DataFrame) -> str:
    if not len(board):
        return "<p>Nothing was done.</p>"
    parts = []
    with_genes = board[board["features"] != NO_FEATURES]
    for data, own in (with_genes if len(with_genes) else board).groupby("data", sort=False):
        caption = (
            f"{data}: median R² over ions, the mean over seeds. Bold: the first of its panel; with a dot: as good as "
            "the first of the leaderboard, by the paired block bootstrap in every seed."
        )
        parts.append(figure_tag(heatmaps(own), caption))
    return "".join(parts)


def _protocols(board: pd.DataFrame) -> str:
    if not len(board):
        return ""
    words = (
        "Each model with the features that suit it best. Where spots around a held-out one train (random, half), "
        "neighbours alone score high, and so does any model that recognises a place."
    )
    pictures = [figure_tag(protocol_figure(own), str(data)) for data, own in board.groupby("data", sort=False)]
    return f"<p>{words}</p>{''.join(pictures)}"


def _moran(board: pd.DataFrame) -> str:
    known = board.dropna(subset=["moran_r2", "moran_gain"])
    if not len(known):
        return "<p>There are too few ions to tell.</p>"
    return figure_tag(
        moran_figure(known),
        "Rank correlation over ions of Moran's I with R², and with gain over what needs no gene; a dot for each "
        "combination. Smoothness goes along with R² wherever knowing a place is enough.",
    )


def _metabolites(words: str, table: pd.DataFrame) -> str:
    skills = [name for name in table if str(name).startswith("R² ")]
    head = "".join(f"<th>{escape(str(name))}</th>" for name in ("Moran's I", *skills, "gain, with its 95% interval"))
    rows = []
    for row in table.to_dict("records"):
        numbers = "".join(f"<td>{_shown(row[name])}</td>" for name in ("moran_i", *skills))
        gain = f"{_shown(row['gain'])} [{_shown(row['gain_lower'])}, {_shown(row['gain_upper'])}]"
        text = f'<td class="text">{escape(str(row["label"]))}</td>'
        rows.append(f'<tr>{text}{numbers}<td>{gain}</td><td class="text">{escape(str(row["verdict"]))}</td></tr>')
    return (
        f'<h3>{escape(words)}</h3><table><thead><tr><th class="text">metabolite</th>{head}'
        f'<th class="text">verdict</th></tr></thead><tbody>{"".join(rows)}</tbody></table>'
    )


def _shown(value: float) -> str:
    return fixed(value, 3) if np.isfinite(value) else "–"


def _table(board: pd.DataFrame) -> str:
    several = len(set(board["seed"])) > 1
    columns = {name: words for name, words in _COLUMNS.items() if name != "seed" or several}
    columns = {name: words for name, words in columns.items() if len(board) and board[name].notna().any()}
    marks = {True: ' class="text"', False: ""}
    head = "".join(
        f'<th{marks[text]} scope="col"><button type="button">{escape(words)}</button></th>'
        for words, text in columns.values()
    )
    rows = []
    for row in board.to_dict("records"):
        mark = ' class="model"' if row["rank"] == 1 else ""
        rows.append(f"<tr{mark}>{''.join(_cell(name, row) for name in columns)}</tr>")
    return f'<table class="sorted"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _cell(name: str, row: Mapping[Any, Any]) -> str:
    value = row[name]
    if _COLUMNS[name][1]:
        return f'<td class="text">{escape(str(value))}</td>'
    number = float("nan") if pd.isna(value) else float(value)
    if not np.isfinite(number):
        return '<td data-value="">–</td>'
    if name in _WHOLE:
        return f'<td data-value="{number:g}">{number:,.0f}</td>'
    if name == "share_gain":
        return f'<td data-value="{number:.6g}">{number:.0%}</td>'
    if name == "behind" and row["rank"] != 1:
        low, high = (fixed(float(row[end]), 3) for end in ("behind_lower", "behind_upper"))
        return f'<td data-value="{number:.6g}">{fixed(number, 3)} [{low}, {high}]{" ·" if row["as_good"] else ""}</td>'
    bar = f' class="bar" style="--share:{100 * float(np.clip(number, 0, 1)):.0f}%"' if name == "r2" else ""
    return f'<td{bar} data-value="{number:.6g}">{fixed(number, 3)}</td>'
