"""How a search for settings went: what each trial gave, and the best so far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_st2msi.report.style import INK, blank, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_KINDS = {"scored": ("#0b6e99", "scored"), "given up": ("#c77400", "given up early")}


def history_figure(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw each search as a panel: the R² of its trials, and the best so far as a line.

    Parameters
    ----------
    histories
        `Search.history` by what was held out meanwhile; a name may be empty.
    """
    from matplotlib.ticker import MaxNLocator

    n = max(len(histories), 1)
    columns = min(n, 3)
    rows = -(-n // columns)
    figure = blank(3.1 * columns + 0.6, 2.3 * rows + 0.4)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    low = _lowest(histories)
    for axis, (name, history) in zip(axes, histories.items(), strict=False):
        best = history["best"].to_numpy(dtype=float)
        axis.step(history["trial"], best, where="post", color=INK, linewidth=1.2, label="best so far")
        for state, (colour, words) in _KINDS.items():
            own = history[history["state"] == state]
            axis.scatter(own["trial"], own["r2"].clip(lower=low), s=16, color=colour, linewidths=0, label=words)
        axis.set_title(name, fontsize=9, color=INK, loc="left")
        plain(axis, 8)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_xlabel("trial", fontsize=8.5)
    for axis in axes[len(histories) :]:
        axis.set_visible(False)
    for axis in axes[::columns]:
        axis.set_ylabel("mean R² on inner folds", fontsize=8.5)
    if histories:
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, fontsize=7.5, frameon=False, loc="outside lower center", ncols=len(labels))
    return figure


def _lowest(histories: Mapping[str, pd.DataFrame]) -> float:
    """Return where the axis begins: one absurd trial must not squeeze the others into a line."""
    known = [history["r2"].to_numpy(dtype=float) for history in histories.values()]
    values = np.concatenate([each[np.isfinite(each)] for each in known] or [np.zeros(0)])
    if not len(values):
        return 0.0
    top, quarter = values.max(), np.quantile(values, 0.25)
    return float(max(values.min(), top - 3 * max(top - quarter, 0.01)))
