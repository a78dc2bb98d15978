"""The leaderboard: combinations that held out the same spots, the best first, with how far each lies behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from qtpy.QtCore import QModelIndex, QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QKeyEvent, QPainter, QPen
from qtpy.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from napari_st2msi.report.benchmark import NO_FEATURES
from napari_st2msi.report.words import fixed
from napari_st2msi.viewer.docks.compare_choices import features_words, model_words
from napari_st2msi.viewer.parts.table import Table, TitledModel

_BEHIND = "behind"
#: Columns: of the leaderboard, title, what it means.
_COLUMNS = (
    ("model", "Model", "What predicted, and what it saw of genes where that differs"),
    ("r2", "R²", "Median over ions, out of fold"),
    (_BEHIND, "Behind", "Median over ions of how much lower R² is than the best's, with its 95 % interval (paired "
     "block bootstrap); an arrow: further than is drawn"),
    ("gain", "Gain", "Median over ions of the R² beyond the best baseline without genes"),
    ("share_gain", "Genes add", "Share of ions with a gain above 0.02"),
    ("r2_q1", "R² ¼", "A quarter of the ions is below"),
    ("r2_q3", "R² ¾", "A quarter of the ions is above"),
    ("pearson", "Pearson", "Median over ions"),
    ("ssim", "SSIM", "Likeness of images, median over ions"),
    ("moran_r2", "I and R²", "Spearman's correlation over ions of Moran's I with R²"),
    ("moran_gain", "I and gain", "Spearman's correlation over ions of Moran's I with gain"),
)  # fmt: skip
# Widths in pixels at an ordinary font: what is drawn, and the most that a name takes before it is elided.
_DRAWN, _NAME = 80, 156
_SHARES = ("share_gain",)
_MOST_ROWS = 9
# Rows are drawn as far behind as so many times the median row, and by so much R² at most.
_FAR, _FARTHEST = 6.0, 1.0


class BoardModel(TitledModel):
    """Rows of a leaderboard that hold out the same spots."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.frame = pd.DataFrame()
        self._several = False

    def set_frame(self, frame: pd.DataFrame) -> None:
        """Show other rows, in the order given."""
        self.beginResetModel()
        self.frame = frame.reset_index(drop=True)
        self._several = len(set(frame["features"]) - {NO_FEATURES}) > 1
        self.endResetModel()

    def names(self, row: int) -> dict[str, Any]:
        """Return what the combination of a row is."""
        own = self.frame.iloc[row]
        texts = {name: str(own[name]) for name in ("data", "model", "features", "protocol")}
        return {**texts, "seed": int(own["seed"])}

    @property
    def span(self) -> tuple[float, float]:
        """The least and the greatest difference to draw, 0 among them.

        Rows that lie behind much further than most do are drawn at the end, so that the others can be told apart.
        """
        ends = self.frame[["behind_lower", "behind_upper"]].dropna().to_numpy(dtype=float)
        if not len(ends):
            return 0.0, 1.0
        most = min(float(ends.max()), _FAR * float(np.median(ends[:, 1])), _FARTHEST)
        return min(float(ends.min()), 0.0), max(most, 1e-6)

    # -- Qt's questions -------------------------------------------------------------------------

    def _titles(self) -> Sequence[tuple[str, str]]:
        return [(title, explain) for _, title, explain in _COLUMNS]

    def _n_rows(self) -> int:
        return len(self.frame)

    def data(self, index: Any, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what a cell shows or says when pointed at."""
        key, row = _COLUMNS[index.column()][0], self.frame.iloc[index.row()]
        if role == Qt.ItemDataRole.ToolTipRole:
            return row_in_words(row)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignLeft if key == "model" else Qt.AlignmentFlag.AlignRight
            return Qt.AlignmentFlag.AlignVCenter | side
        if role != Qt.ItemDataRole.DisplayRole or key == _BEHIND:
            return None
        if key == "model":
            plain = row["features"] != NO_FEATURES and not self._several
            return model_words(str(row["model"])) if plain else _combination(row)
        value = float(row[key])
        if not np.isfinite(value):
            return ""
        return f"{value:.0%}" if key in _SHARES else _signed(value, 2)


class _Interval(QStyledItemDelegate):
    """Draws how far a row lies behind the best, on the same scale in every row; a line is at the best."""

    def paint(self, painter: Any, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        super().paint(painter, option, index)
        model = index.model()
        row = model.frame.iloc[index.row()]
        middle, low, high = (float(row[name]) for name in ("behind", "behind_lower", "behind_upper"))
        if not np.isfinite([middle, low, high]).all():
            return
        least, most = model.span
        area = QRectF(option.rect).adjusted(7, 0, -7, 0)

        def place(value: float) -> float:
            # The best is on the right, as more is better.
            return float(area.right() - (min(value, most) - least) / (most - least) * area.width())

        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        chosen = option.state & QStyle.StateFlag.State_Selected
        colour = option.palette.highlightedText().color() if chosen else option.palette.text().color()
        faint = QColor(colour)
        faint.setAlpha(90)
        painter.setPen(QPen(faint, 1))
        painter.drawLine(QPointF(place(0), area.top()), QPointF(place(0), area.bottom()))
        if pd.isna(row["as_good"]) or not row["as_good"]:
            colour.setAlpha(170)
        painter.setPen(QPen(colour, 1.5))
        y = area.center().y()
        painter.drawLine(QPointF(place(high), y), QPointF(place(low), y))
        painter.setBrush(colour)
        if high > most:  # the end of what is drawn is not that of the interval
            left = area.left()
            painter.drawPolygon([QPointF(left - 4, y), QPointF(left + 1, y - 3), QPointF(left + 1, y + 3)])
        if middle <= most:
            painter.drawEllipse(QPointF(place(middle), y), 3, 3)
        painter.restore()


class Board(Table):
    """The table itself; a row that is clicked, or chosen by Return, is looked at."""

    #: The user wants to look at a combination; carries its names.
    chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.board = BoardModel(self)
        self.setModel(self.board)
        self.setItemDelegateForColumn([key for key, *_ in _COLUMNS].index(_BEHIND), _Interval(self))
        self.clicked.connect(self._on_row)

    def show_rows(self, frame: pd.DataFrame) -> None:
        """Show other rows, the best first."""
        self.board.set_frame(frame)
        self.fit()

    def fit(self) -> None:
        """Give columns and rows the room that they need at the current font."""
        scale, head = max(1.0, self.fontMetrics().horizontalAdvance("0") / 8.0), self.horizontalHeader()
        for place, (key, *_) in enumerate(_COLUMNS):
            needed = max(self.sizeHintForColumn(place), head.sectionSizeHint(place))
            if key == _BEHIND:
                needed = max(needed, round(_DRAWN * scale))
            self.setColumnWidth(place, min(needed, round(_NAME * scale)) if key == "model" else needed)
        height = self.fontMetrics().height() + 8
        self.verticalHeader().setDefaultSectionSize(height)
        rows = min(max(self.board.rowCount(), 2), _MOST_ROWS)
        self.setFixedHeight(rows * height + self.horizontalHeader().sizeHint().height() + 20)

    def mark(self, names: dict[str, Any] | None) -> None:
        """Select the row of a combination, without announcing it."""
        self.clearSelection()
        for row in range(self.board.rowCount()):
            if self.board.names(row) == names:
                self.selectRow(row)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Look at the current row on Return. Qt's `activated` would come with a double click as well."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentIndex().isValid():
            self._on_row(self.currentIndex())
        else:
            super().keyPressEvent(event)

    def _on_row(self, index: QModelIndex) -> None:
        self.chosen.emit(self.board.names(index.row()))


def _combination(row: pd.Series) -> str:
    return f"{model_words(str(row['model']))} · {features_words(str(row['features']))}"


def row_in_words(row: pd.Series) -> str:
    """Return one row as sentences."""
    behind, low, high = (_signed(float(row[name]), 3) for name in ("behind", "behind_lower", "behind_upper"))
    text = f"{_combination(row)}: median R² {_signed(float(row['r2']), 2)} over {int(row['n_common']):,} ions. "
    if int(row["rank"]) == 1:
        return f"{text}The best."
    if pd.isna(row["behind"]):
        return f"{text}{_apart_in_words(row)}"
    lower, higher = int(row["n_lower"]), int(row["n_higher"])
    level = int(row["n_common"]) - lower - higher
    text += (
        f"Behind the best by {behind} [{low}, {high}], median over ions: lower on "
        f"{lower:,}, higher on {higher:,}, not told apart on {level:,}."
    )
    if pd.isna(row["as_good"]):
        text += " Whether it is as good is not known: an ion lies in too few places for an interval."
    elif row["as_good"]:
        text += " As good."
    return text


def _signed(value: float, digits: int) -> str:
    return fixed(value, digits).replace("-", "−")


def _apart_in_words(row: pd.Series) -> str:
    if not int(row["n_common"]):
        return "Not set against the best: no ion was learned by all."
    return "Not set against the best: its buffer is another, so other spots trained it."
