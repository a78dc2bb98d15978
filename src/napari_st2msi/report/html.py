"""The report: one HTML file that needs nothing else, now or in ten years."""

from __future__ import annotations

from datetime import date
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.evaluation.conformal import COLUMNS as COVERAGE_COLUMNS
from napari_st2msi.evaluation.verdict import SKILL
from napari_st2msi.paired import PairedDataset, dense
from napari_st2msi.report.figures import baseline_figure, moran_figure, score_figure
from napari_st2msi.report.folds import folds_figure
from napari_st2msi.report.measures import measures, over_sections
from napari_st2msi.report.methods import methods
from napari_st2msi.report.overview import overview_figure, overview_words
from napari_st2msi.report.page import figure_tag, filled
from napari_st2msi.report.search import history_figure
from napari_st2msi.report.table import write_whole
from napari_st2msi.report.tissue import ion_figure, side_by_side
from napari_st2msi.report.words import (
    VERDICTS,
    colour_of,
    fixed,
    held_out,
    in_short,
    kind_of,
    model_words,
    predictors,
    quartiles,
    scored,
)

if TYPE_CHECKING:
    from napari_st2msi.evaluation.batch import BatchEffect
    from napari_st2msi.evaluation.result import Evaluation
    from napari_st2msi.recipe import Recipe
    from napari_st2msi.section import Section

_BEST, _OTHERS = 3, ((0.5, "the middle by R²"), (0.0, "the worst by R²"))

# Column of the scores: its heading, and how many digits of it mean something.
_COLUMNS = {
    "mz": ("m/z", 4),
    "r2": ("R²", 3),
    "gain": ("gain", 3),
    "genes_over_position": ("genes added", 3),
    "r2_coordinates": ("R² neighbours", 3),
    "r2_position": ("R² position", 3),
    "pearson": ("Pearson", 3),
    "spearman": ("Spearman", 3),
    "rmse_sd": ("RMSE/SD", 3),
    "ssim": ("SSIM", 3),
    "presence_auc": ("presence AUC", 3),
    "presence_mcc": ("presence MCC", 3),
    "moran_i": ("Moran's I", 3),
    "residual_moran_i": ("I of residual", 3),
    "prevalence": ("present in", 2),
    "interval_coverage": ("within interval", 3),
}


def write_report(
    path: str | Path,
    evaluation: Evaluation,
    *,
    recipe: Recipe | None = None,
    section: Section | None = None,
    paired: PairedDataset | None = None,
    title: str | None = None,
    batch: BatchEffect | None = None,
) -> Path:
    """Write the report of an evaluation as one HTML file with everything inside.

    Parameters
    ----------
    path
        Where to. The file is written beside its place and moved there when it is whole.
    evaluation
        Scores and the out-of-fold prediction.
    recipe
        The choices of the run; without it the report cannot say what was done to genes and ions.
    section
        The section, when there is just one: its stain, and how well MSI fits.
    paired
        What was evaluated: how many genes, and how far MSI covers the spots.
    title
        Heading; by default, from the sections.
    batch
        What standardising genes within sections does, if that was compared.

    Raises
    ------
    FileProblem
        The file cannot be written.
    """
    page = report_page(evaluation, recipe=recipe, section=section, paired=paired, title=title, batch=batch)
    return write_whole(path, lambda file: file.write_text(page, encoding="utf-8"))


def report_page(
    evaluation: Evaluation,
    *,
    recipe: Recipe | None = None,
    section: Section | None = None,
    paired: PairedDataset | None = None,
    title: str | None = None,
    batch: BatchEffect | None = None,
) -> str:
    """Return the report as the text of an HTML page; see `write_report`."""
    from napari_st2msi import __version__

    flat = evaluation.flat()
    model = model_words(evaluation)
    names = sorted(set(evaluation.prediction.obs["section"].astype(str)))
    title = title or f"Ions predicted from genes: {names[0] if len(names) == 1 else f'{len(names)} sections'}"
    fair = scored(flat)
    return filled(
        "evaluation.html",
        title=escape(title),
        subtitle=escape(f"{_counted(names)} · model {model} · {held_out(evaluation)} · {date.today().isoformat()}"),
        lead=escape(in_short(flat)),
        facts=_facts(flat, evaluation, paired),
        held_out_sentence=escape(
            f"{evaluation.protocol['note']} R² of each ion is against the mean of its training spots; quartiles are "
            f"over the {len(fair):,} ions that could be learned. Above R² = {SKILL:g} there is skill: shrunken models "
            "reach small positive values on pure noise."
        ),
        folds=_folds(evaluation),
        measures=_measures(evaluation),
        predictors=_predictor_table(quartiles(flat, model), model) if len(fair) else "",
        score_figure=_score_figure(fair, model),
        pair_figures=_pair_figures(fair),
        intervals=_intervals(evaluation),
        searches=_searches(evaluation),
        batch="" if batch is None else f"<h2>Differences between sections</h2><p>{escape(batch.in_words())}</p>",
        overview=_overview(section, paired),
        gallery=_gallery(fair, evaluation),
        verdicts="".join(f"<li>{_chip(name)} {escape(words)}</li>" for name, words in _verdicts(flat).items()),
        ions=_ion_table(flat),
        methods="\n".join(
            f"<h3>{escape(heading)}</h3><p>{escape(text)}</p>" for heading, text in methods(evaluation, recipe)
        ),
        recipe=_recipe(recipe),
        footer=escape(f"Written by napari-st2msi {__version__}."),
    )


def _counted(names: list[str]) -> str:
    shown = ", ".join(names[:6])
    return f"Section {shown}" if len(names) == 1 else f"{len(names)} sections: {shown}{' …' if len(names) > 6 else ''}"


def _facts(flat: pd.DataFrame, evaluation: Evaluation, paired: PairedDataset | None) -> str:
    facts = {"spots predicted": f"{evaluation.prediction.n_obs:,}"}
    if paired is not None:
        facts["genes"] = f"{paired.genes.n_vars:,}"
    facts["ions"] = f"{len(flat):,}"
    fair = scored(flat)
    facts["ions predicted from genes"] = f"{int((fair['verdict'] == 'predicted from genes').sum()):,}"
    if len(fair):
        facts["median R²"] = fixed(fair["r2"].median(), 3)
        facts["median gain over position"] = fixed(fair["gain"].median(), 3)
    return "\n".join(f"<div><dt>{escape(str(k))}</dt><dd>{escape(str(v))}</dd></div>" for k, v in facts.items())


def _predictor_table(table: pd.DataFrame, model: str) -> str:
    rows = []
    for name, row in table.iterrows():
        mark = ' class="model"' if name == model else ""
        cells = "".join(f"<td>{fixed(row[column], 3)}</td>" for column in ("lower", "median", "upper"))
        share = f"{int(row['over']):,} of {int(row['ions']):,}"
        rows.append(f'<tr{mark}><td class="text">{escape(str(name))}</td>{cells}<td>{share}</td></tr>')
    return (
        '<table><thead><tr><th class="text">predictor</th><th>lower quartile</th><th>median R²</th><th>upper quartile'
        f"</th><th>ions above {SKILL:g}</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _folds(evaluation: Evaluation) -> str:
    xy, sections = _spots(evaluation)
    return figure_tag(
        folds_figure(xy, sections, evaluation.folds),
        "Left: spots by the fold in which they were held out. Then single folds: grey spots neither trained nor were "
        "scored there, for their nearness to held-out ones.",
    )


def _measures(evaluation: Evaluation) -> str:
    table = measures(evaluation)
    if not len(table):
        return ""
    rows = []
    for name, row in table.iterrows():
        cells = "".join(f"<td>{fixed(row[column], 3)}</td>" for column in ("lower", "median", "upper"))
        mean = "–" if np.isnan(row["mean"]) else fixed(row["mean"], 3)
        words = f'<td class="text">{escape(row["words"])}</td>'
        rows.append(f'<tr><td class="text">{escape(str(name))}</td>{cells}<td>{mean}</td>{words}</tr>')
    said = over_sections(evaluation)
    return (
        "<details><summary>Further measures, over ions</summary>"
        '<table><thead><tr><th class="text">measure</th><th>lower quartile</th><th>median</th><th>upper quartile</th>'
        '<th>training mean</th><th class="text">what it says</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>{f'<p>{escape(said)}</p>' if said else ''}</details>"
    )


def _score_figure(fair: pd.DataFrame, model: str) -> str:
    if not len(fair):
        return ""
    figure = score_figure(fair, predictors(fair, model))
    return figure_tag(figure, "Each dot is an ion. Bars span the quartiles, lines are medians.")


def _pair_figures(fair: pd.DataFrame) -> str:
    if not len(fair):
        return ""
    return figure_tag(
        baseline_figure(fair),
        "The model against the best baseline without genes. What lies above the dashed line, genes add.",
    ) + figure_tag(
        moran_figure(fair),
        "Skill against how smooth an ion is in space. Where skill only follows Moran's I, a model may have learned "
        "smoothness and nothing else.",
    )


def _intervals(evaluation: Evaluation) -> str:
    if evaluation.intervals is None:
        return ""
    rows = []
    for row in evaluation.intervals.rows():
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        rows.append(f'<tr><td class="text">{escape(row[0])}</td>{cells}</tr>')
    head = "".join(f"<th>{escape(words)}</th>" for words in COVERAGE_COLUMNS[1:])
    return (
        f"<h2>Intervals</h2><p>{escape(evaluation.intervals.in_words())} Those of a fold were made from the other "
        "folds only. Each ion has its own width, the same for all spots on the learning scale: an interval says how "
        "far off the model is, and not where.</p>"
        f'<table><thead><tr><th class="text">{COVERAGE_COLUMNS[0]}</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _searches(evaluation: Evaluation) -> str:
    if not evaluation.searches:
        return ""
    rows = "".join(
        f'<tr><td class="text">{escape(name)}</td><td class="text">{escape(found.settings_in_words())}</td>'
        f"<td>{len(found.history):,}</td><td>{fixed(found.history['best'].iloc[-1], 3)}</td></tr>"
        for name, found in evaluation.searches.items()
    )
    figure = history_figure({name: found.history for name, found in evaluation.searches.items()})
    return (
        "<h2>Search for settings</h2><p>Settings were searched for anew in every fold, inside its training spots, so "
        "that the scores of this report are of a model with its search. R² here is the mean over ions on inner folds, "
        "and the best of many trials is flattered.</p>"
        '<table><thead><tr><th class="text">held out</th><th class="text">best settings, where they differ</th>'
        f"<th>trials</th><th>R² of the best</th></tr></thead><tbody>{rows}</tbody></table>"
        f"{figure_tag(figure, 'Each dot is a trial; the line is the best so far.')}"
    )


def _overview(section: Section | None, paired: PairedDataset | None) -> str:
    if section is None or paired is None or not section.has_st:
        return ""
    figure = overview_figure(section, paired)
    return (
        f"<h2>The section</h2><p>{escape(overview_words(section))}</p>"
        f"{figure_tag(figure, alt='the stained section, and how much of each spot lies under MSI')}"
    )


def _gallery(fair: pd.DataFrame, evaluation: Evaluation) -> str:
    if not len(fair):
        return ""
    prediction = evaluation.prediction
    measured, predicted = dense(prediction.layers["measured"]), dense(prediction.X)
    xy = side_by_side(*_spots(evaluation))
    ranked = fair.sort_values("r2", ascending=False, kind="stable").index
    chosen = dict.fromkeys(ranked[:_BEST], "")
    for place, words in _OTHERS:
        chosen.setdefault(ranked[round((len(ranked) - 1) * (1 - place))], f" · {words}")
    pictures = []
    for ion, words in chosen.items():
        column = prediction.var_names.get_loc(ion)
        row = fair.loc[ion]
        figure = ion_figure(
            xy,
            measured[:, column],
            predicted[:, column],
            title=f"{row['label']} · R² {fixed(row['r2'], 2)} · gain {fixed(row['gain'], 2)}{words}",
        )
        pictures.append(figure_tag(figure, alt=f"{row['label']}: measured, predicted and residual"))
    return (
        "<h2>Ion images: the best, the middle and the worst</h2><p>Every predicted value is out of fold: it comes "
        "from a model that did not see the spot. Measured and predicted share their limits; intensities above the "
        "99.5th percentile are drawn in the last colour. Spots are drawn large enough to touch; those without a "
        f"value are left out.</p>{''.join(pictures)}"
    )


def _spots(evaluation: Evaluation) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Return positions (n, 2) and sections (n,) of the held-out spots."""
    prediction = evaluation.prediction
    return np.asarray(prediction.obsm["spatial"])[:, :2], prediction.obs["section"].astype(str).to_numpy()


def _ion_table(flat: pd.DataFrame) -> str:
    columns = {name: words for name, words in _COLUMNS.items() if name in flat and flat[name].notna().any()}
    named = "mz" not in columns or (flat["name"] != "").any()
    head = "".join(
        f'<th{mark} scope="col"><button type="button">{escape(words)}</button></th>'
        for words, mark in [
            *[(words, "") for name, (words, _) in columns.items() if name == "mz"],
            *([("name", ' class="text"')] if named else []),
            ("verdict", ' class="text"'),
            *[(words, "") for name, (words, _) in columns.items() if name != "mz"],
        ]
    )
    rows = []
    for ion, row in flat.sort_values("r2", ascending=False, kind="stable").iterrows():
        name = escape(str(row["name"] or (ion if "mz" not in columns else "")))
        cells = [
            *([f'<td class="text name" title="{name}">{name}</td>'] if named else []),
            f'<td class="text" data-value="{escape(str(row["verdict"]))}">{_chip(str(row["verdict"]))}</td>',
        ]
        span = _span(row["gain_lower"], row["gain_upper"])
        numbers = [
            _number(row[column], digits, bar=column == "r2", beside=span if column == "gain" else "")
            for column, (_, digits) in columns.items()
        ]
        first = numbers.pop(0) if "mz" in columns else ""
        rows.append(f"<tr>{first}{''.join(cells)}{''.join(numbers)}</tr>")
    return f'<table id="ions" class="sorted"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _span(low: float, high: float) -> str:
    """Return an interval as it stands beside its number."""
    if not (np.isfinite(low) and np.isfinite(high)):
        return ""
    return f' <span class="faint small">[{fixed(low, 2)}, {fixed(high, 2)}]</span>'


def _number(value: float, digits: int, *, bar: bool = False, beside: str = "") -> str:
    if not np.isfinite(value):
        return '<td data-value="">–</td>'
    share = f' class="bar" style="--share:{100 * float(np.clip(value, 0, 1)):.0f}%"' if bar else ""
    return f'<td{share} data-value="{value:.6g}">{fixed(value, digits)}{beside}</td>'


def _chip(verdict: str) -> str:
    return f'<span class="verdict" style="color:{colour_of(verdict)}">{escape(verdict)}</span>'


def _verdicts(flat: pd.DataFrame) -> dict[str, str]:
    there = {kind_of(str(verdict)) for verdict in flat["verdict"]}
    return {name: words for name, (_, words) in VERDICTS.items() if name in there}


def _recipe(recipe: Recipe | None) -> str:
    if recipe is None:
        return ""
    return f"<details><summary>The recipe, to run it again</summary><pre>{escape(recipe.to_yaml())}</pre></details>"
