"""Plots of scores: what the model adds to baselines, and whether skill is more than smoothness."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_st2msi.report.style import ACCENT, FAINT, INK, blank, plain
from napari_st2msi.report.words import BASELINE_WORDS, VERDICTS, colour_of, fixed, kind_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Worse than this says no more than "useless", and would squeeze the rest.
FLOOR = -0.25


def png(figure: Figure, dpi: int = 144) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white")
    return buffer.getvalue()


def score_figure(scores: pd.DataFrame, rows: dict[str, str]) -> Figure:
    """Draw the R² of all ions, one row for each predictor.

    Parameters
    ----------
    scores
        One row an ion.
    rows
        Column of `scores` with the R² of a predictor, and its name; `r2` is the model.
    """
    figure, axis = _axes((7.4, 0.6 * len(rows) + 0.8))
    dice = np.random.default_rng(0)
    for place, column in enumerate(rows):
        values = scores[column].dropna().to_numpy(dtype=float)
        if not len(values):
            continue
        colour = ACCENT if column == "r2" else FAINT
        shown = np.clip(values, FLOOR, 1)
        axis.scatter(
            shown, place + dice.uniform(-0.26, 0.26, len(shown)), s=9, color=colour, alpha=0.45, linewidths=0, zorder=2
        )
        low, middle, high = np.clip(np.percentile(values, [25, 50, 75]), FLOOR, 1)
        axis.plot([low, high], [place, place], color=INK, linewidth=5, alpha=0.28, solid_capstyle="butt", zorder=3)
        axis.plot([middle, middle], [place - 0.3, place + 0.3], color=INK, linewidth=2, zorder=4)
        axis.annotate(
            fixed(np.median(values), 2), (1.0, place), (6, 0), textcoords="offset points", va="center", fontsize=8.5
        )
    axis.annotate("median", (1.0, -0.62), (6, 0), textcoords="offset points", va="center", fontsize=7.5, color=FAINT)
    axis.set_yticks(range(len(rows)), list(rows.values()))
    axis.set_ylim(len(rows) - 0.45, -0.75)
    _r2_axis(axis, "x", float(np.nanmin(scores[list(rows)].to_numpy(dtype=float))))
    axis.tick_params(axis="y", length=0)
    return figure


def baseline_figure(scores: pd.DataFrame) -> Figure:
    """Draw each ion's R² by the model against the best baseline without genes."""
    best = scores[[f"r2_{key}" for key in BASELINE_WORDS if f"r2_{key}" in scores]].max(axis=1)
    figure, axis = _axes((4.1, 3.9))
    axis.plot([FLOOR, 1], [FLOOR, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    _by_verdict(axis, best.clip(FLOOR, 1), scores["r2"].clip(FLOOR, 1), scores["verdict"])
    _r2_axis(axis, "x", float(best.min()), "best baseline without genes, R²")
    _r2_axis(axis, "y", float(scores["r2"].min()), "model, R²")
    axis.text(0.08, 0.97, "genes add", transform=axis.transAxes, fontsize=8, color=FAINT, va="top")
    axis.text(0.97, 0.02, "genes add nothing", transform=axis.transAxes, fontsize=8, color=FAINT, ha="right")
    return figure


def moran_figure(scores: pd.DataFrame) -> Figure:
    """Draw each ion's R² against its Moran's I: skill that only follows smoothness is no skill."""
    figure, axis = _axes((4.1, 3.9))
    _by_verdict(axis, scores["moran_i"], scores["r2"].clip(FLOOR, 1), scores["verdict"])
    axis.set_xlabel("Moran's I of the measured ion", fontsize=8.5)
    _r2_axis(axis, "y", float(scores["r2"].min()), "model, R²")
    return figure


def _axes(size: tuple[float, float]) -> tuple[Figure, Axes]:
    figure = blank(*size)
    axis = figure.subplots()
    plain(axis)
    return figure, axis


def _r2_axis(axis: Axes, which: str, lowest: float, label: str = "R² on held-out spots") -> None:
    """Limit an axis of R² to what can be compared; what lies below is drawn at the edge, and said."""
    clipped = lowest < FLOOR
    if clipped:
        label = f"{label} (below {FLOOR:g} drawn at the edge)"
    low = FLOOR if clipped else min(-0.05, lowest - 0.03)
    if which == "x":
        axis.set_xlim(low - 0.01, 1.0)
        axis.set_xlabel(label, fontsize=8.5)
        axis.axvline(0, color=FAINT, linewidth=0.8, zorder=1)
    else:
        axis.set_ylim(low - 0.01, 1.0)
        axis.set_ylabel(label, fontsize=8.5)
        axis.axhline(0, color=FAINT, linewidth=0.8, zorder=1)


def _by_verdict(axis: Axes, x: pd.Series, y: pd.Series, verdict: pd.Series) -> None:
    kinds = verdict.map(kind_of)
    for name in dict.fromkeys([*VERDICTS, *kinds.unique()]):
        own = (kinds == name).to_numpy()
        if own.any():
            label = f"{name} ({own.sum():,})"
            axis.scatter(x[own], y[own], s=16, color=colour_of(name), alpha=0.75, linewidths=0, label=label)
    axis.legend(
        fontsize=7.5,
        frameon=False,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=1,
        handletextpad=0.1,
        alignment="left",
    )
