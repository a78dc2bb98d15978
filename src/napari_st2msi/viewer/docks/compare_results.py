"""What a benchmark found: leaderboard and heatmap of one data set, and what failed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_st2msi.benchmarking.config import OWN_FEATURES
from napari_st2msi.evaluation.protocols import protocol_words
from napari_st2msi.recipe import PRESETS
from napari_st2msi.report.benchmark import NO_FEATURES
from napari_st2msi.report.figures import FLOOR
from napari_st2msi.viewer.docks.compare_board import Board, row_in_words
from napari_st2msi.viewer.docks.compare_choices import features_words, model_words, names_in_words
from napari_st2msi.viewer.parts.dock import form
from napari_st2msi.viewer.parts.fields import ChoiceField
from napari_st2msi.viewer.parts.heatmap import Heatmap
from napari_st2msi.viewer.parts.words import Words

#: What cells can show: columns of the leaderboard, and what they are called.
MEASURES = (
    ("r2", "R² (median over ions)"),
    ("gain", "gain over position (median)"),
    ("share_gain", "share of ions that genes add to"),
    ("r2_macro", "R² (mean over sections)"),
    ("pearson", "Pearson (median)"),
    ("ssim", "SSIM (median)"),
    ("presence_auc", "AUC of presence (median)"),
    ("moran_r2", "Moran's I and R² (Spearman)"),
    ("moran_gain", "Moran's I and gain (Spearman)"),
)
_ORDER = (OWN_FEATURES, *PRESETS)
_MOST_FAILURES = 12


class ResultsView(QWidget):
    """The leaderboard of one way of holding out, over the heatmap of all."""

    #: The user wants to look at a combination; carries its names.
    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._board = pd.DataFrame()
        self._cells: dict[tuple[str, str], dict[str, Any]] = {}
        #: Names of the combination that is looked at.
        self.looked: dict[str, Any] | None = None
        self.data, self.protocol, self.seed = ChoiceField([]), ChoiceField([]), ChoiceField([])
        self.measure = ChoiceField(MEASURES)
        upper, self._rows = form()
        for title, field in (("Data", self.data), ("Held out", self.protocol), ("Seed", self.seed)):
            self._rows.addRow(title, field)
            field.changed.connect(self._draw)
        self.table, self.heatmap = Board(), Heatmap("Models by features and ways of holding out")
        self.best = Words(role="note")
        lower, rows = form()
        rows.addRow("Cells", self.measure)
        self.measure.changed.connect(self._draw_cells)
        self.table.chosen.connect(self.chosen)
        self.heatmap.chosen.connect(self._on_cell)
        self.table.selectionModel().currentRowChanged.connect(self._on_row)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 4)
        layout.setSpacing(4)
        for part in (upper, self.table, self.best, lower, self.heatmap):
            layout.addWidget(part)

    def show_board(self, board: pd.DataFrame) -> None:
        """Show another leaderboard; what is chosen stays where it is there."""
        self._board = board
        for name, field in (("data", self.data), ("protocol", self.protocol), ("seed", self.seed)):
            values = list(dict.fromkeys(board[name].tolist()))
            before = field.value()
            field.set_choices([(value, protocol_words(str(value))) if name == "protocol" else (value, str(value))
                               for value in values])  # fmt: skip
            if before in values:
                field.blockSignals(True)
                field.set_value(before)
                field.blockSignals(False)
            self._rows.setRowVisible(field, len(values) > 1)
        self._draw()

    def mark(self, names: dict[str, Any] | None) -> None:
        """Frame the combination that is looked at."""
        self.looked = names
        self.table.mark(names)
        place = next((cell for cell, own in self._cells.items() if own == names), None)
        keys = [key for key, _ in self.heatmap.columns]
        self.heatmap.mark(None if place is None else (self.heatmap.rows.index(place[0]), keys.index(place[1])))

    def fit(self) -> None:
        """Follow the font size."""
        self.heatmap.updateGeometry()
        self.table.fit()

    # -- drawing --------------------------------------------------------------------------------

    def _own(self) -> pd.DataFrame:
        """Return the rows of the data and the seed that are chosen."""
        board = self._board
        return board[(board["data"] == self.data.value()) & (board["seed"] == self.seed.value())]

    def _draw(self) -> None:
        own = self._own()
        rows = own[own["protocol"] == self.protocol.value()].sort_values("rank")
        self.table.show_rows(rows)
        self.best.setText(board_in_words(rows))
        self._draw_cells()

    def _draw_cells(self) -> None:
        own, measure = self._own(), self.measure.value()
        models = list(dict.fromkeys(own.sort_values("rank")["model"].astype(str)))
        known = [name for name in dict.fromkeys(own["features"].astype(str)) if name != NO_FEATURES] or [NO_FEATURES]
        seen = sorted(known, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
        protocols = list(dict.fromkeys(own["protocol"].astype(str)))
        columns = {
            f"{features}|{protocol}": " · ".join(
                ([protocol_words(protocol)] if len(protocols) > 1 or len(seen) == 1 else [])
                + ([features_words(features)] if len(seen) > 1 else [])
            )
            for protocol in protocols
            for features in seen
        }
        values = np.full((len(models), len(columns)), np.nan)
        labels = _distinct([model_words(model) for model in models], models)
        self._cells = {}
        for row in own.to_dict("records"):
            place = models.index(str(row["model"]))
            # What sees no gene is the same whatever the others see.
            for features in seen if row["features"] == NO_FEATURES else [str(row["features"])]:
                key = f"{features}|{row['protocol']}"
                values[place, list(columns).index(key)] = float(row[measure])
                names = {name: str(row[name]) for name in ("data", "model", "features", "protocol")}
                self._cells[labels[place], key] = {**names, "seed": int(row["seed"])}
        finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
        # One model that fails badly must not make all others look alike.
        limits = (min(max(low, FLOOR), 0.0), high if high > 0 else 1.0)
        self.heatmap.show_values(values, labels, list(columns.items()), limits=limits)
        self.mark(self.looked)

    # -- what the user does ---------------------------------------------------------------------

    def _on_cell(self, row: str, column: str) -> None:
        names = self._cells.get((row, column))
        if names is not None:
            self.chosen.emit(names)

    def _on_row(self, current: Any, _before: Any) -> None:
        if current.isValid():
            self.best.setText(row_in_words(self.table.board.frame.iloc[current.row()]))


class FailuresView(QWidget):
    """Which combinations failed, and why."""

    def __init__(self) -> None:
        super().__init__()
        self.words = Words()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 4)
        layout.addWidget(self.words)

    def show_failures(self, failures: pd.DataFrame) -> None:
        """List others."""
        lines = [
            f"{names_in_words(row)} · {row['data']}: {row['message']}"
            for row in failures.head(_MOST_FAILURES).to_dict("records")
        ]
        more = len(failures) - _MOST_FAILURES
        self.words.setText("\n\n".join([*lines, *([f"And {more:,} more, in failures.csv."] if more > 0 else [])]))


def board_in_words(rows: pd.DataFrame) -> str:
    """Return what is best, how many are as good, and how many were not set against it."""
    if rows.empty:
        return "Nothing was done under this way of holding out."
    as_good = rows.iloc[1:]["as_good"].astype("boolean")
    others, ties, apart = int(as_good.notna().sum()), int(as_good.sum()), int(as_good.isna().sum())
    text = row_in_words(rows.iloc[0])
    if others and not ties:
        text += " No other is as good."
    elif others == 1:
        text += " The other is as good."
    elif others:
        text += f" {ties:,} of {others:,} others {'is' if ties == 1 else 'are'} as good."
    if apart:
        text += f" Not judged against it: {apart:,} (point at a row to see why)."
    return text


def _distinct(labels: list[str], names: list[str]) -> list[str]:
    """Return labels, and names where two models would be called the same."""
    return [label if labels.count(label) == 1 else name for label, name in zip(labels, names, strict=True)]
