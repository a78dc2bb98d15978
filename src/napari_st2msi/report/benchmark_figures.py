"""Figures of a benchmark: models × features, skill by what is held out, and Moran's I against skill and gain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_st2msi.report.style import ACCENT, FAINT, INK, blank, plain
from napari_st2msi.report.words import fixed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Safe for colour-blind eyes.
_COLOURS = (ACCENT, "#c77400", "#8a4fae", "#3d8f5f", "#b23a48", "#66727f")
_FLOOR = -0.25
_ACROSS = 3


def heatmaps(board: pd.DataFrame) -> Figure:
    """Draw median R² of models × features, a panel for each way to hold out.

    Parameters
    ----------
    board
        Rows of one data set.
    """
    models, features = _in_order(board, "model"), sorted(dict.fromkeys(board["features"]))
    protocols = sorted(dict.fromkeys(board["protocol"]))
    across = min(len(protocols), max(1, _ACROSS if len(features) <= 3 else 2))
    down = -(-len(protocols) // across)
    width = max(1.5, 0.62 * len(features)) * across + 1.9
    figure = blank(max(width, 4.2), (0.34 * len(models) + 1.25) * down + 0.2)
    axes = figure.subplots(down, across, squeeze=False, sharey=True)
    r2 = board["r2"].astype(float)
    low, high = 0.0, max(0.05, float(r2.max()))  # what is worse than the mean is one colour: one may be far worse
    for axis, protocol in zip(axes.ravel(), protocols, strict=False):
        own = board[board["protocol"] == protocol]
        cells = own.pivot_table(index="model", columns="features", values="r2", aggfunc="mean", dropna=False)
        cells = cells.reindex(index=models, columns=features).astype(float)
        good = own.assign(as_good=own["as_good"].fillna(False)).groupby(["model", "features"])["as_good"].all()
        values = cells.to_numpy()
        axis.imshow(values, cmap="YlGnBu", vmin=low, vmax=high, aspect="auto")
        best = np.nanmax(values) if np.isfinite(values).any() else np.nan
        for row, model in enumerate(models):
            for column, feature in enumerate(features):
                value = values[row, column]
                if not np.isfinite(value):
                    continue
                dark = (value - low) / (high - low) > 0.6
                first, level = value == best, bool(good.get((model, feature), False))
                axis.text(
                    column, row, f"{fixed(value, 2)}{' ·' if level and not first else ''}", ha="center", va="center",
                    fontsize=7.5, color="white" if dark else INK, weight="bold" if first else "normal",
                )  # fmt: skip
        axis.set_title(protocol, fontsize=9, color=INK, loc="left")
        axis.set_xticks(range(len(features)), features, rotation=40, ha="right", fontsize=8)
        axis.set_yticks(range(len(models)), models, fontsize=8.5)
        axis.tick_params(length=0, labelcolor=INK)
        axis.spines[:].set_visible(False)
    for axis in axes.ravel()[len(protocols) :]:
        axis.set_visible(False)
    return figure


def protocol_figure(board: pd.DataFrame) -> Figure:
    """Draw the median R² of each model, with its best features, by what is held out; and of what needs no gene.

    Parameters
    ----------
    board
        Rows of one data set.
    """
    protocols = sorted(dict.fromkeys(board["protocol"]))
    best = board.groupby(["model", "features", "protocol"])["r2"].mean().groupby(["model", "protocol"]).max()
    alone = board.groupby("protocol")[["r2_coordinates", "r2_position"]].mean()
    models = _in_order(board, "model")
    rows = {name: [float(best.get((name, protocol), np.nan)) for protocol in protocols] for name in models}
    words = {"r2_coordinates": "coordinates", "r2_position": "position"}
    for column, name in words.items():
        if name not in rows:
            rows[name] = [float(alone.loc[protocol, column]) for protocol in protocols]
    figure = blank(7.4, 0.3 * len(rows) + 1.0)
    axis = figure.subplots()
    for place, values in enumerate(rows.values()):
        shown = np.clip(values, _FLOOR, 1)
        known = shown[np.isfinite(shown)]
        if len(known):
            axis.plot([known.min(), known.max()], [place, place], color=FAINT, linewidth=1, alpha=0.5, zorder=1)
        for number, value in enumerate(shown):
            axis.scatter(value, place, s=34, color=_COLOURS[number % len(_COLOURS)], linewidths=0, zorder=3)
    for number, protocol in enumerate(protocols):
        axis.scatter([], [], s=34, color=_COLOURS[number % len(_COLOURS)], linewidths=0, label=protocol)
    axis.axvline(0, color=FAINT, linewidth=0.8, zorder=0)
    axis.set_yticks(range(len(rows)), list(rows))
    axis.set_ylim(len(rows) - 0.5, -0.5)
    clipped = " (below −0.25 drawn at the edge)" if np.nanmin(list(rows.values())) < _FLOOR else ""
    axis.set_xlabel(f"median R² on held-out spots{clipped}", fontsize=8.5)
    plain(axis)
    axis.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper left", ncols=len(protocols), fontsize=8, frameon=False, handletextpad=0.1)
    return figure


def moran_figure(board: pd.DataFrame) -> Figure:
    """Draw how Moran's I goes with R² and with gain over ions: a row for each way to hold out, a dot a combination."""
    protocols = sorted(dict.fromkeys(board["protocol"]))
    figure = blank(7.4, 0.42 * len(protocols) + 1.1)
    axis = figure.subplots()
    dice = np.random.default_rng(0)
    kinds = (("moran_r2", _COLOURS[1], "with R²", -0.14), ("moran_gain", _COLOURS[0], "with gain", 0.14))
    for column, colour, words, shift in kinds:
        for place, protocol in enumerate(protocols):
            values = board.loc[board["protocol"] == protocol, column].astype(float)
            spread = place + shift + dice.uniform(-0.08, 0.08, len(values))
            axis.scatter(values, spread, s=20, color=colour, alpha=0.7, linewidths=0, zorder=3)
        axis.scatter([], [], s=20, color=colour, linewidths=0, label=f"Moran's I {words}")
    axis.axvline(0, color=FAINT, linewidth=0.8, zorder=0)
    axis.set_yticks(range(len(protocols)), protocols)
    axis.set_ylim(len(protocols) - 0.5, -0.5)
    axis.set_xlim(-1.02, 1.02)
    axis.set_xlabel("Spearman's correlation over ions", fontsize=8.5)
    plain(axis)
    axis.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper left", ncols=2, fontsize=8, frameon=False, handletextpad=0.1)
    return figure


def _in_order(board: pd.DataFrame, what: str) -> list[str]:
    """Return names, those of the highest R² first."""
    return list(board.groupby(what)["r2"].max().sort_values(ascending=False, kind="stable").index)
