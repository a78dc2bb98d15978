"""What all tables of the docks are made of: a model with a title for each column, and a view with one look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt
from qtpy.QtWidgets import QAbstractItemView, QTableView, QWidget

# What lies under no cell: the table as a whole.
_WHOLE = QModelIndex()


class TitledModel(QAbstractTableModel):
    """A table whose columns each have a title, and words on what it means."""

    def _titles(self) -> Sequence[tuple[str, str]]:
        raise NotImplementedError

    def _n_rows(self) -> int:
        raise NotImplementedError

    def rowCount(self, parent: QModelIndex = _WHOLE) -> int:
        """Return the number of rows."""
        return 0 if parent.isValid() else self._n_rows()

    def columnCount(self, parent: QModelIndex = _WHOLE) -> int:
        """Return the number of columns."""
        return 0 if parent.isValid() else len(self._titles())

    def headerData(self, section: int, orientation: Any, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the title of a column, or what it means."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        title, explain = self._titles()[section]
        if role == Qt.ItemDataRole.DisplayRole:
            return title
        return explain if role == Qt.ItemDataRole.ToolTipRole else None


class Table(QTableView):
    """A view of rows, one of which can be selected, and which are not edited cell by cell."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setAlternatingRowColors(True)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.verticalHeader().hide()
        self.horizontalHeader().setHighlightSections(False)

    def set_widths(self, widths: Sequence[int]) -> None:
        """Give columns widths in pixels at an ordinary font, wider at a larger one."""
        scale = max(1.0, self.fontMetrics().horizontalAdvance("0") / 8.0)
        for place, width in enumerate(widths):
            self.setColumnWidth(place, round(width * scale))
