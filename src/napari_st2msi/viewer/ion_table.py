"""The table of ions: its current row is the ion looked at."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
from qtpy.QtCore import QModelIndex, QPoint, QSize, Qt, Signal
from qtpy.QtGui import QKeyEvent, QMouseEvent
from qtpy.QtWidgets import QMenu, QWidget

from napari_st2msi.viewer.ion_model import DOWN, FAVOURITE, IMAGE, UP, IonModel
from napari_st2msi.viewer.parts.table import Table


class IonTable(Table):
    """The table itself: its current row is the ion looked at."""

    #: The user chose an ion, by mouse or keys.
    chosen = Signal(str)
    #: The star of an ion was clicked.
    starred = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.ions = IonModel(self)
        self.setModel(self.ions)
        self._ion: str | None = None
        self._hidden: dict[str, bool] = {}
        self.setIconSize(QSize(48, 28))
        self.setMinimumHeight(150)
        header = self.horizontalHeader()
        header.setSectionsClickable(True)
        header.setSortIndicatorShown(True)
        header.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        header.customContextMenuRequested.connect(self._choose_columns)
        header.sectionClicked.connect(self._sort_by)
        self.ions.modelReset.connect(self._after_reset)
        self.selectionModel().currentRowChanged.connect(self._on_current)

    def set_frame(self, frame: pd.DataFrame, favourites: frozenset[str]) -> None:
        """Show other ions or scores."""
        self.ions.set_frame(frame, favourites)
        self.fit_columns()

    def fit_columns(self) -> None:
        """Give columns the width of their content at the current font size."""
        self.set_widths([column.width for column in self.ions.columns])
        for place, column in enumerate(self.ions.columns):
            self.setColumnHidden(place, self._hidden.get(column.key, not column.default))
        self.verticalHeader().setDefaultSectionSize(max(32, self.fontMetrics().height() + 12))

    def show_ion(self, ion: str | None) -> None:
        """Mark an ion, without announcing it."""
        self._ion = ion
        row = self.ions.row(ion)
        if row < 0:
            self.setCurrentIndex(QModelIndex())
        elif row != self.currentIndex().row():
            self.setCurrentIndex(self.ions.index(row, 1))

    def step(self, by: int) -> None:
        """Go to the previous or next ion as the table is sorted and filtered."""
        rows = self.ions.rowCount()
        if rows:
            current = self.currentIndex().row()
            self.setCurrentIndex(self.ions.index(0 if current < 0 else min(max(current + by, 0), rows - 1), 1))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Leave letters and Space to the viewer's keys; a table would search with them."""
        if event.text() and event.text().isprintable() and not event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            event.ignore()
        else:
            super().keyPressEvent(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Take a click on a star as making a favourite, not as choosing the ion."""
        index = self.indexAt(event.pos())
        if index.isValid() and self.ions.columns[index.column()] == FAVOURITE:
            self.starred.emit(self.ions.ion(index.row()))
        else:
            super().mousePressEvent(event)

    def columns_menu(self) -> QMenu:
        """Return the menu that shows and hides columns."""
        menu = QMenu(self)
        for place, column in enumerate(self.ions.columns):
            if column.key not in ("mz", FAVOURITE.key):
                action = menu.addAction(column.title)
                action.setCheckable(True)
                action.setChecked(not self.isColumnHidden(place))
                action.toggled.connect(partial(self._set_column, column.key))
        return menu

    def _set_column(self, key: str, shown: bool) -> None:
        self._hidden[key] = not shown
        self.fit_columns()

    def _choose_columns(self, where: QPoint) -> None:
        self.columns_menu().exec(self.horizontalHeader().mapToGlobal(where))

    def _sort_by(self, place: int) -> None:
        column = self.ions.columns[place]
        if column == IMAGE:
            return
        key, order = self.ions.sorted_by
        if column.key == key:
            order = DOWN if order == UP else UP
        else:
            # Of scores the best are wanted first, of m/z and names the beginning.
            order = UP if column.key in (FAVOURITE.key, "mz", "name", "formula", "tier") else DOWN
        self.ions.sort(place, order)

    def _after_reset(self) -> None:
        key, order = self.ions.sorted_by
        keys = [column.key for column in self.ions.columns]
        if key in keys:
            self.horizontalHeader().setSortIndicator(keys.index(key), order)
        self.show_ion(self._ion)

    def _on_current(self, current: Any, _before: Any) -> None:
        if not current.isValid():
            return
        self.scrollTo(current)
        ion = self.ions.ion(current.row())
        if ion != self._ion:
            self._ion = ion
            self.chosen.emit(ion)
