"""The table of the transforms that were tried on the landmarks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QFontMetrics, QResizeEvent
from qtpy.QtWidgets import QAbstractItemView, QTableView, QWidget

from napari_st2msi.registration.registration import Candidate
from napari_st2msi.viewer.parts.table import Table, TitledModel

_TRIED = (
    ("Transform", "From the stiffest to the most pliable"),
    ("RMS\nµm", "Root mean square of the residuals. Flatters, the more so the more pliable"),
    ("Median\nµm", "Left-out error, median"),
    ("Mean\nµm", "Left-out error, mean: the smallest is chosen"),
    ("Max\nµm", "Left-out error, maximum"),
)
#: Columns that give way in a narrow dock: what flatters first; what decides stays.
_LEAST = (1, 4, 2)


class CandidateModel(TitledModel):
    """The transforms that were tried on the landmarks."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._candidates: tuple[Candidate, ...] = ()

    def set_candidates(self, candidates: tuple[Candidate, ...]) -> None:
        """Show other candidates."""
        self.beginResetModel()
        self._candidates = candidates
        self.endResetModel()

    def _titles(self) -> Sequence[tuple[str, str]]:
        return _TRIED

    def _n_rows(self) -> int:
        return len(self._candidates)

    def data(self, index: Any, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what a cell shows."""
        if not index.isValid():
            return None
        one, column = self._candidates[index.row()], index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            if column == 0:
                # A narrow dock would cut the long name before the two splines differ.
                label = one.label.replace("thin-plate spline", "spline")
                return f"✓ {label}" if one.chosen else label
            left_out = one.left_out
            return um((one.rms_um, left_out["median"], left_out["mean"], left_out["max"])[column - 1])
        if role == Qt.ItemDataRole.ToolTipRole:
            return "This one is used." if one.chosen else one.why_not
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if column else Qt.AlignmentFlag.AlignLeft
            return side | Qt.AlignmentFlag.AlignVCenter
        return None


class CandidateTable(Table):
    """The table of the transforms that were tried."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.candidates = CandidateModel(self)
        self._name = 0  # the width that the longest name needs
        self.setModel(self.candidates)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setAccessibleName("Transforms tried")

    def set_candidates(self, candidates: tuple[Candidate, ...]) -> None:
        """Show other candidates."""
        self.candidates.set_candidates(candidates)
        self.fit_columns()

    def fit_columns(self) -> None:
        """Give columns the width of their words at the current font size, and rows their height."""
        model, metrics = self.candidates, self.fontMetrics()
        n = model.rowCount()
        height = metrics.height() + 8
        self.horizontalHeader().setFixedHeight(2 * metrics.height() + 12)
        self.verticalHeader().setDefaultSectionSize(height)
        for place, (title, _) in enumerate(_TRIED):
            self.setColumnWidth(place, width(metrics, title))
        self.horizontalHeader().setSectionResizeMode(0, self.horizontalHeader().ResizeMode.Stretch)
        self.setFixedHeight(head(self) + height * n)
        self._name = max((width(metrics, model.data(model.index(row, 0))) for row in range(n)), default=0)
        make_room(self, self._name, _LEAST)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Show the columns that there is room for."""
        super().resizeEvent(event)
        make_room(self, self._name, _LEAST)


def width(metrics: QFontMetrics, title: str) -> int:
    """Return the width of a column whose title is written in as many lines as it has."""
    return max(metrics.horizontalAdvance(line) for line in title.split("\n")) + 10


def make_room(table: QTableView, first: int, least: Sequence[int]) -> None:
    """Hide columns, in the order of `least`, until the others fit beside a first column of `first` pixels."""
    metrics, model = table.fontMetrics(), table.model()
    titles = [str(model.headerData(place, Qt.Orientation.Horizontal)) for place in range(model.columnCount())]
    needed = first + sum(width(metrics, title) for title in titles[1:])
    for place in least:
        hidden = needed > table.viewport().width()
        table.setColumnHidden(place, hidden)
        if hidden:
            needed -= width(metrics, titles[place])


def head(table: QTableView) -> int:
    """Return the height of a table without its rows: titles in two lines, and its frame."""
    return 2 * table.fontMetrics().height() + 16 + 2 * table.frameWidth()


def um(value: float) -> str:
    """Return a length in µm with the digits that matter."""
    if not np.isfinite(value):
        return "–"
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}"
