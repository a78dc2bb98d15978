"""Learnability in words and pictures: how many ions are in which tier, and what Moran's I is worth under each split."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_st2msi.evaluation.forecast import LEAST_IONS
from napari_st2msi.evaluation.properties import PROPERTIES
from napari_st2msi.evaluation.tiers import TIERS
from napari_st2msi.report.figures import FLOOR
from napari_st2msi.report.style import FAINT, INK, blank, plain
from napari_st2msi.report.words import fixed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from napari_st2msi.evaluation.learnability import Learnability

#: Colours of the tiers, safe for colour-blind eyes.
TIER_COLOURS = {1: "#0b6e99", 2: "#c77400", 3: "#8a94a0"}

#: Said where no correlation over ions is known.
TOO_FEW = f"Fewer than {LEAST_IONS} ions could be learned: too few to say what goes with what."


def learnability_lines(found: Learnability) -> dict[str, str]:
    """Return what was found as lines for the command line."""
    table = found.table
    lines = {
        "judged by": found.protocols[found.judged_by],
        **{f"tier {number}": f"{found.counts[number]:,} ions: {words}" for number, words in TIERS.items()},
        "findings": ", ".join(f"{count:,} {name}" for name, count in table["finding"].value_counts().items()),
    }
    if found.correlations["spearman"].notna().any():
        lines |= {f"Moran's I, {protocol}": moran_words(found, protocol) for protocol in found.protocols}
    else:
        lines["Moran's I"] = TOO_FEW
    told = found.forecasts[found.forecasts["protocol"] == found.judged_by]
    for row in told.to_dict("records"):
        lines[f"{row['outcome']} from properties"] = (
            f"R² {fixed(row['r2'], 2)} on ions not seen; intervals of ±{row['half_width']:.2f} held "
            f"{row['coverage']:.0%} where {row['level']:.0%} was asked for; most important: {_most(row)}"
        )
    if found.notes:
        lines["note"] = "\n".join(found.notes)
    return lines


def moran_words(found: Learnability, protocol: str) -> str:
    """Say how Moran's I goes with skill and with gain under one protocol."""
    model = found.model.replace("_", "-")
    return (
        f"Spearman {_signed(found.spearman(protocol, 'r2'))} with R² of {model}, "
        f"{_signed(found.spearman(protocol, 'r2', predictor='coordinates'))} with R² of coordinates alone, "
        f"{_signed(found.spearman(protocol, 'gain'))} with what genes add"
    )


def famous_figure(found: Learnability) -> Figure:
    """Draw Moran's I against the skill of coordinates, of the model, and against gain: a column for each protocol."""
    rows = {
        "r2_coordinates": "coordinates only, R²",
        "r2": f"{found.model.replace('_', '-')}, R²",
        "gain": "gain over position, R²",
    }
    names = list(found.protocols)
    figure = blank(2.5 * len(names) + 0.6, 6.4)
    axes = figure.subplots(len(rows), len(names), squeeze=False, sharex=True, sharey="row")
    for axis, name in zip(axes[0], names, strict=True):
        axis.set_title(name.replace("_", " "), fontsize=9, loc="left", color=INK, fontweight="bold")
    for line, (column, words) in zip(axes, rows.items(), strict=True):
        for axis, name in zip(line, names, strict=True):
            outcome, _, predictor = column.partition("_")
            rho = found.spearman(name, outcome, predictor=predictor or None)
            _scatter(axis, found.table, f"{name}_{column}")
            axis.set_title(f"ρ = {_signed(rho)}", fontsize=9, loc="right", color=INK)
        line[0].set_ylabel(words, fontsize=8.5)
    for axis in axes[-1]:
        axis.set_xlabel("Moran's I", fontsize=8.5)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, frameon=False, loc="outside lower center", ncols=len(labels))
    return figure


def _scatter(axis: Axes, table: pd.DataFrame, column: str) -> None:
    axis.axhline(0, color=FAINT, linewidth=0.8, zorder=1)
    for tier, colour in TIER_COLOURS.items():
        own = table[table["tier"] == tier]
        shown = own[column].clip(FLOOR, 1)
        axis.scatter(
            own["moran_i"], shown, s=11, color=colour, alpha=0.7, linewidths=0, label=f"tier {tier}", zorder=5 - tier
        )
    plain(axis, 8)


def _most(row: dict[Any, Any]) -> str:
    """Return the two most important properties of a forecast in words."""
    worth = {words: float(row[f"importance_{name}"]) for name, words in PROPERTIES.items()}
    known = sorted((words for words in worth if np.isfinite(worth[words])), key=lambda words: -worth[words])
    return ", ".join(words if words.startswith("Moran") else words.lower() for words in known[:2])


def _signed(value: float) -> str:
    if not np.isfinite(value):
        return "unknown"
    text = fixed(value, 2)
    return text.replace("-", "−")
