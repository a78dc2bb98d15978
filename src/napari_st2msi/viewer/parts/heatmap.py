"""A heatmap of names × names, painted; hover tells the value, a click chooses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from napari.utils.colormaps import ensure_colormap
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QHelpEvent, QMouseEvent, QPainter, QPaintEvent, QPalette, QPen
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

_DIVERGING, _FROM_ZERO, _FIXED = "RdBu_r", "magma", "viridis"
_NAME_SHARE = 0.28
_LINES_OF_FOOT = 10  # for the names of columns, at most


class Heatmap(QWidget):
    """Rows × columns of values: each column scaled to its largest, signed or not, or all on one scale.

    Missing values are left empty.
    """

    #: The user clicked a cell; carries the keys of its row and column.
    chosen = Signal(str, str)

    def __init__(self, what: str) -> None:
        super().__init__()
        self.setAccessibleName(what)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.rows: list[str] = []
        self.columns: list[tuple[str, str]] = []
        self.values: NDArray[np.float64] = np.zeros((0, 0))
        self.marked: tuple[int, int] | None = None
        self._signed = True
        self._limits: tuple[float, float] | None = None

    def show_values(
        self,
        values: NDArray[np.float64],
        rows: Sequence[str],
        columns: Sequence[tuple[str, str]],
        *,
        signed: bool = True,
        limits: tuple[float, float] | None = None,
    ) -> None:
        """Show other values (rows, columns); columns are given as key and words. Not signed, they begin at zero.

        With limits there is one scale for all, and the values are written into the cells that have room for them.
        """
        self._signed, self._limits, self.marked = signed, limits, None
        self.values, self.rows, self.columns = np.asarray(values, dtype=float), list(rows), list(columns)
        self.updateGeometry()
        self.update()

    def mark(self, cell: tuple[int, int] | None) -> None:
        """Put a frame around a cell."""
        self.marked = cell
        self.update()

    def sizeHint(self) -> QSize:
        """Return room for all rows and the names of columns."""
        return QSize(240, self._height * len(self.rows) + self._foot)

    def minimumSizeHint(self) -> QSize:
        """Return room for all rows and the names of columns."""
        return self.sizeHint()

    @property
    def _height(self) -> int:
        return int(self.fontMetrics().height()) + 3

    @property
    def _foot(self) -> int:
        longest = max((self.fontMetrics().horizontalAdvance(words) for _, words in self.columns), default=0)
        return min(longest + 12, _LINES_OF_FOOT * self._height)

    @property
    def _left(self) -> float:
        return self.width() * _NAME_SHARE

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw cells and names."""
        if not self.rows or not self.columns:
            return
        painter = QPainter(self)
        painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
        left, height, metrics = self._left, self._height, self.fontMetrics()
        width = (self.width() - left) / len(self.columns)
        colours = self._colours()
        for i, row in enumerate(self.rows):
            short = metrics.elidedText(row, Qt.TextElideMode.ElideRight, int(left) - 6)
            painter.drawText(QRectF(2, i * height, left - 4, height), Qt.AlignmentFlag.AlignVCenter, short)
            for j in range(len(self.columns)):
                if np.isfinite(self.values[i, j]):
                    cell = QRectF(left + j * width, i * height, width - 1, height - 1)
                    colour = QColor.fromRgbF(*(float(part) for part in colours[i, j, :3]))
                    painter.fillRect(cell, colour)
                    self._write(painter, cell, self.values[i, j], colour)
        for j, (_, words) in enumerate(self.columns):
            painter.save()
            painter.translate(QPointF(left + (j + 0.5) * width, len(self.rows) * height + 4))
            painter.rotate(90)
            short = metrics.elidedText(words, Qt.TextElideMode.ElideRight, self._foot - 8)
            painter.drawText(QPointF(0, metrics.ascent() / 2 - 1), short)
            painter.restore()

        if self.marked is not None:
            painter.setPen(QPen(self.palette().color(QPalette.ColorRole.WindowText), 2))
            i, j = self.marked
            painter.drawRect(QRectF(left + j * width + 1, i * height + 1, width - 3, height - 3))

    def _colours(self) -> NDArray[np.float64]:
        """Return rows × columns × RGBA."""
        if self._limits is not None:
            low, high = self._limits
            share, name = (self.values - low) / max(high - low, 1e-300), _FIXED
        else:
            most = np.maximum(np.abs(self.values).max(axis=0), 1e-300)
            share = 0.5 + 0.5 * self.values / most if self._signed else self.values / most
            name = _DIVERGING if self._signed else _FROM_ZERO
        mapped = ensure_colormap(name).map(np.clip(np.nan_to_num(share), 0, 1).ravel())
        return np.asarray(mapped, dtype=float).reshape(*self.values.shape, 4)

    def _write(self, painter: QPainter, cell: QRectF, value: float, ground: QColor) -> None:
        text = f"{value:.2f}".replace("-", "−")
        if self._limits is None or self.fontMetrics().horizontalAdvance(text) > cell.width() - 2:
            return
        pen = painter.pen()
        painter.setPen(QColor("black" if ground.lightnessF() > 0.45 else "white"))
        painter.drawText(cell, Qt.AlignmentFlag.AlignCenter, text)
        painter.setPen(pen)

    def at(self, position: QPointF) -> tuple[int, int] | None:
        """Return row and column of the cell at a place, None beside."""
        if not self.columns:
            return None
        row = int(position.y() // self._height)
        column = int((position.x() - self._left) // ((self.width() - self._left) / len(self.columns)))
        inside = 0 <= row < len(self.rows) and 0 <= column < len(self.columns)
        return (row, column) if inside else None

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Choose the cell under the mouse."""
        cell = None if event is None else self.at(event.position())
        if cell is not None:
            self.chosen.emit(self.rows[cell[0]], self.columns[cell[1]][0])

    def event(self, event: QEvent | None) -> bool:
        """Tell the value of the cell under the mouse."""
        if isinstance(event, QHelpEvent):
            cell = self.at(QPointF(event.pos()))
            if cell is not None:
                row, column = cell
                number = self.values[row, column]
                sign = "+" if self._signed and self._limits is None else ""
                value = f"{number:{sign}.3g}" if np.isfinite(number) else "nothing"
                words = f"{self.rows[row]} → {self.columns[column][1]}: {value}"
                QToolTip.showText(event.globalPos(), words, self)
            return True
        return bool(super().event(event))
