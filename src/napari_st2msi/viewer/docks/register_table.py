"""The tables of the Register dock: landmarks with their errors, and the transforms that were tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QModelIndex, Qt, Signal
from qtpy.QtGui import QBrush, QColor, QIcon, QKeyEvent, QPainter, QPixmap, QResizeEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QWidget

from napari_st2msi.errors import DataProblem
from napari_st2msi.registration.registration import Registration
from napari_st2msi.viewer.docks.register_candidates import head, make_room, um, width
from napari_st2msi.viewer.landmark_editor import LandmarkEditor
from napari_st2msi.viewer.landmark_pairs import SIDES, Pair, Side
from napari_st2msi.viewer.parts.table import Table, TitledModel

_UP, _DOWN = Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder
Tier = Literal["A", "B", "C"]
#: Colours of the tiers that people of any colour vision tell apart on dark and on light; the letter says the same.
TIERS: dict[Tier, tuple[str, str]] = {
    "A": ("#4f9fd6", "good: less than half a pixel off"),
    "B": ("#d99a1c", "fair: less than one pixel off"),
    "C": ("#c65bb0", "bad: more than one pixel off"),
}
_ID, _USED, _RESIDUAL, _LEFT_OUT, _INFLUENCE, _TIER = range(6)
_COLUMNS = (
    ("Id", "Double click to rename"),
    ("Used", "Whether the fit uses it (E)"),
    ("Residual\nµm", "How far the fit misses it. Flatters: it was fitted to this very point"),
    ("Left out\nµm", "How far the fit to all others misses it: the error to expect where nobody clicked"),
    ("Influence\nµm", "How far the MSI moves, at most, when it is left out"),
    ("Tier", "By the left-out error. " + "; ".join(f"{tier}: {words}" for tier, (_, words) in TIERS.items())),
)

#: Columns that give way in a narrow dock, the one that is missed least first; tips of rows say what they held.
_LEAST = (_INFLUENCE, _RESIDUAL)


def tier_of(error_um: float, pixel_um: float | None) -> Tier | None:
    """Return how good an error is beside the size of an MSI pixel; None while either is unknown."""
    if pixel_um is None or not np.isfinite(error_um):
        return None
    return "A" if error_um < pixel_um / 2 else "B" if error_um < pixel_um else "C"


@dataclass(frozen=True)
class Row:
    """One landmark with its errors; NaN while they are unknown."""

    pair: Pair
    residual_um: float = float("nan")
    left_out_um: float = float("nan")
    influence_um: float = float("nan")
    outlier: bool = False
    tier: Tier | None = None
    sides: Mapping[Side, str] = field(default_factory=lambda: SIDES, compare=False)

    @property
    def lacks(self) -> str:
        """What is missing for the landmark to count, in few words."""
        if self.pair.complete:
            return ""
        if self.pair.predicted:
            return f"{self.sides[self.pair.predicted]} ?"
        return f"no {self.sides['moving' if self.pair.moving is None else 'fixed']}"


def rows_of(
    pairs: tuple[Pair, ...],
    registration: Registration | None,
    pixel_um: float | None,
    sides: Mapping[Side, str] = SIDES,
) -> list[Row]:
    """Return the landmarks with the errors that a registration gives them; `sides` says what these are called."""
    if registration is None:
        return [Row(pair, sides=sides) for pair in pairs]
    known = {id: place for place, id in enumerate(registration.landmarks.ids)}
    rows = []
    for pair in pairs:
        place = known.get(pair.id)
        if place is None or not pair.complete:
            rows.append(Row(pair, sides=sides))
            continue
        left_out = float(registration.left_out_um[place])
        rows.append(
            Row(
                pair,
                float(registration.residuals_um[place]),
                left_out,
                float(registration.influence_um[place]) if pair.enabled else float("nan"),
                bool(registration.outlier[place]),
                tier_of(left_out, pixel_um),
                sides,
            )
        )
    return rows


class LandmarkModel(TitledModel):
    """Landmarks in rows, sorted by any column; edits go to the editor."""

    #: A name could not be given; carries why, in words.
    refused = Signal(str)

    def __init__(self, editor: LandmarkEditor, parent: Any = None) -> None:
        super().__init__(parent)
        self._editor = editor
        self._rows: list[Row] = []
        self._order: NDArray[np.intp] = np.zeros(0, dtype=np.intp)
        self._sorted: tuple[int, Qt.SortOrder] = (-1, _UP)

    def set_rows(self, rows: list[Row]) -> None:
        """Show other landmarks or errors."""
        before, self._rows = self._rows, rows
        order = self._arranged()
        same = [row.pair.id for row in before] == [row.pair.id for row in rows]
        if same and np.array_equal(order, self._order):
            if rows:
                self.dataChanged.emit(self.index(0, 0), self.index(len(rows) - 1, _TIER))
            return
        self.beginResetModel()
        self._order = order
        self.endResetModel()

    def id(self, row: int) -> str:
        """Return the landmark in a row of the view."""
        return self._rows[self._order[row]].pair.id

    def row(self, id: str | None) -> int:
        """Return the row of the view in which a landmark is, -1 for none."""
        return next((place for place, i in enumerate(self._order) if self._rows[i].pair.id == id), -1)

    def sort(self, column: int, order: Qt.SortOrder = _UP) -> None:
        """Sort by a column; unknown values come last. A column of -1 gives the order of placing."""
        self._sorted = (column, order)
        self.beginResetModel()
        self._order = self._arranged()
        self.endResetModel()

    def _arranged(self) -> NDArray[np.intp]:
        column, order = self._sorted
        if column < 0:
            return np.arange(len(self._rows))
        if column == _ID:
            keys = [(_natural(row.pair.id), place) for place, row in enumerate(self._rows)]
            places = np.array([place for _, place in sorted(keys)], dtype=np.intp)
            return places if order == _UP else places[::-1]
        values = np.array([_number(row, column) for row in self._rows], dtype=np.float64)
        return np.argsort(values if order == _UP else -values, kind="stable")

    # -- Qt's questions -------------------------------------------------------------------------

    def _titles(self) -> Sequence[tuple[str, str]]:
        return _COLUMNS

    def _n_rows(self) -> int:
        return len(self._rows)

    def flags(self, index: Any) -> Any:
        """Return what can be done with a cell."""
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        if index.column() == _ID:
            flags |= Qt.ItemFlag.ItemIsEditable
        elif index.column() == _USED:
            flags |= Qt.ItemFlag.ItemIsUserCheckable
        return flags

    def data(self, index: Any, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what a cell shows."""
        if not index.isValid():
            return None
        row, column = self._rows[self._order[index.row()]], index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return _words(row, column)
        if role == Qt.ItemDataRole.EditRole and column == _ID:
            return row.pair.id
        if role == Qt.ItemDataRole.DecorationRole and column == _ID:
            return _swatch(row.pair)
        if role == Qt.ItemDataRole.CheckStateRole and column == _USED:
            return Qt.CheckState.Checked if row.pair.enabled else Qt.CheckState.Unchecked
        if role == Qt.ItemDataRole.ForegroundRole and column in (_LEFT_OUT, _TIER) and row.tier is not None:
            return QBrush(QColor(TIERS[row.tier][0]))
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignLeft if column == _ID else Qt.AlignmentFlag.AlignRight
            side = Qt.AlignmentFlag.AlignHCenter if column == _TIER else side
            return side | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.ToolTipRole:
            return _hint(row)
        return None

    def setData(self, index: Any, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        """Rename a landmark, or use it or not."""
        id = self.id(index.row())
        if role == Qt.ItemDataRole.CheckStateRole and index.column() == _USED:
            self._editor.enable(id, Qt.CheckState(value) == Qt.CheckState.Checked)
            return True
        if role == Qt.ItemDataRole.EditRole and index.column() == _ID:
            try:
                self._editor.rename(id, str(value))
            except DataProblem as problem:
                self.refused.emit(str(problem))
                return False
            return True
        return False


class LandmarkTable(Table):
    """The table itself: its current row is the landmark selected."""

    #: The user chose a landmark, by mouse or keys; carries its id.
    chosen = Signal(str)

    def __init__(self, editor: LandmarkEditor, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.landmarks = LandmarkModel(editor, self)
        self.setModel(self.landmarks)
        self._selected: str | None = None
        self.setEditTriggers(QAbstractItemView.EditTrigger.DoubleClicked)
        header = self.horizontalHeader()
        header.setSectionsClickable(True)
        header.setSortIndicatorShown(True)
        header.setSortIndicator(-1, _UP)
        header.sectionClicked.connect(self._sort_by)
        self.setAccessibleName("Landmarks")
        self.landmarks.modelReset.connect(self._after_reset)
        self.selectionModel().currentRowChanged.connect(self._on_current)
        self.fit_columns()

    def set_rows(self, rows: list[Row]) -> None:
        """Show other landmarks or errors."""
        self.landmarks.set_rows(rows)
        self._fit_height()

    def show_landmark(self, id: str | None) -> None:
        """Mark a landmark, without announcing it."""
        self._selected = id
        row = self.landmarks.row(id)
        if row < 0:
            self.setCurrentIndex(QModelIndex())
            self.clearSelection()
        elif row != self.currentIndex().row():
            self.setCurrentIndex(self.landmarks.index(row, _RESIDUAL))

    def fit_columns(self) -> None:
        """Give columns the width of their titles at the current font size."""
        metrics = self.fontMetrics()
        for place, (title, _) in enumerate(_COLUMNS):
            self.setColumnWidth(place, width(metrics, title))
        self.horizontalHeader().setFixedHeight(2 * metrics.height() + 12)
        self.verticalHeader().setDefaultSectionSize(metrics.height() + 8)
        # Names take what room there is: a scroll bar must not push the tier out of sight.
        self.horizontalHeader().setMinimumSectionSize(width(metrics, "00"))
        self.horizontalHeader().setSectionResizeMode(_ID, QHeaderView.ResizeMode.Stretch)
        self._fit_height()
        self._make_room()

    def _fit_height(self) -> None:
        # Ten rows at once, then it scrolls.
        rows = min(max(self.landmarks.rowCount(), 3), 10)
        self.setFixedHeight(head(self) + rows * self.verticalHeader().defaultSectionSize())

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Show the columns that there is room for."""
        super().resizeEvent(event)
        self._make_room()

    def _make_room(self) -> None:
        # A name of two digits beside its marker.
        make_room(self, self.iconSize().width() + width(self.fontMetrics(), "00"), _LEAST)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Leave letters to the keys of the dock; a table would search with them."""
        if event.text() and event.text().isprintable():
            event.ignore()
        else:
            super().keyPressEvent(event)

    def _sort_by(self, column: int) -> None:
        """Sort by a column, the worst errors first; the other way at the second click, as placed at the third."""
        first, second = (_UP, _DOWN) if column in (_ID, _TIER) else (_DOWN, _UP)
        before = self.landmarks._sorted
        if before == (column, second):
            column, order = -1, _UP
        else:
            order = second if before == (column, first) else first
        self.horizontalHeader().setSortIndicator(column, order)
        self.landmarks.sort(column, order)

    def _after_reset(self) -> None:
        self.show_landmark(self._selected)

    def _on_current(self, current: Any, _before: Any) -> None:
        if current.isValid():
            id = self.landmarks.id(current.row())
            if id != self._selected:
                self._selected = id
                self.chosen.emit(id)


def _swatch(pair: Pair) -> QIcon:
    """Draw the marker of a landmark: filled where it is placed on both sides, hollow otherwise."""
    pixmap = QPixmap(24, 24)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    colour = QColor(pair.colour)
    pen = painter.pen()
    pen.setWidth(3)
    pen.setColor(QColor("black") if pair.complete else colour)
    painter.setPen(pen)
    painter.setBrush(colour if pair.complete else Qt.GlobalColor.transparent)
    painter.drawEllipse(3, 3, 18, 18)
    painter.end()
    return QIcon(pixmap)


def _words(row: Row, column: int) -> str:
    if column == _ID:
        return row.pair.id
    if column == _LEFT_OUT and row.lacks:
        return row.lacks
    if column == _TIER:
        return (row.tier or "") + (" !" if row.outlier else "")
    return "" if column == _USED else um(_number(row, column))


def _hint(row: Row) -> str:
    errors = f"Residual {um(row.residual_um)} µm, influence {um(row.influence_um)} µm."
    known = np.isfinite(row.residual_um)
    return " ".join(part for part in (_advice(row), errors if known else "") if part)


def _advice(row: Row) -> str:
    if row.outlier:
        return "The other landmarks speak against this one: look whether it was misplaced, or disable it (E)."
    if row.pair.predicted:
        return "Drag the hollow marker to where it belongs, or click it to accept it."
    if row.lacks:
        return "Select it and click where it belongs."
    return "" if row.tier is None else f"{row.tier}: {TIERS[row.tier][1]}."


def _number(row: Row, column: int) -> float:
    if column == _TIER:
        return float("nan") if row.tier is None else float("ABC".index(row.tier))
    return {
        _USED: float(row.pair.enabled),
        _RESIDUAL: row.residual_um,
        _LEFT_OUT: row.left_out_um,
        _INFLUENCE: row.influence_um,
    }[column]


def _natural(id: str) -> tuple[bool, float, str]:
    """Return a key that sorts 2 before 10, and numbers before names."""
    return (False, float(id), "") if id.isdecimal() else (True, 0.0, id)
