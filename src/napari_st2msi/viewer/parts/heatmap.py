"""A heatmap of names × names, painted; hover tells the value, a click chooses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from napari.utils.colormaps import ensure_colormap
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QHelpEvent, QMouseEvent, QPainter, QPaintEvent, QPalette
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

_DIVERGING, _FROM_ZERO = "RdBu_r", "magma"
_NAME_SHARE = 0.28
_FOOT = 112


class Heatmap(QWidget):
    """Rows × columns of values, signed or shares, each column scaled to its largest."""

    #: The user clicked a cell; carries the keys of its row and column.
    chosen = Signal(str, str)

    def __init__(self, what: str) -> None:
        super().__init__()
        self.setAccessibleName(what)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.rows: list[str] = []
        self.columns: list[tuple[str, str]] = []
        self.values: NDArray[np.float64] = np.zeros((0, 0))
        self._signed = True

    def show_values(
        self,
        values: NDArray[np.float64],
        rows: Sequence[str],
        columns: Sequence[tuple[str, str]],
        *,
        signed: bool = True,
    ) -> None:
        """Show other values (rows, columns); columns are given as key and words. Not signed, they begin at zero."""
        self._signed = signed
        self.values, self.rows, self.columns = np.asarray(values, dtype=float), list(rows), list(columns)
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        """Return room for all rows and the names of columns."""
        return QSize(240, self._height * len(self.rows) + _FOOT)

    def minimumSizeHint(self) -> QSize:
        """Return room for all rows and the names of columns."""
        return self.sizeHint()

    @property
    def _height(self) -> int:
        return int(self.fontMetrics().height()) + 3

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
        most = np.maximum(np.abs(self.values).max(axis=0), 1e-300)
        share = 0.5 + 0.5 * self.values / most if self._signed else self.values / most
        colormap = ensure_colormap(_DIVERGING if self._signed else _FROM_ZERO)
        colours = colormap.map(share.ravel()).reshape(*self.values.shape, 4)
        for i, row in enumerate(self.rows):
            short = metrics.elidedText(row, Qt.TextElideMode.ElideRight, int(left) - 6)
            painter.drawText(QRectF(2, i * height, left - 4, height), Qt.AlignmentFlag.AlignVCenter, short)
            for j in range(len(self.columns)):
                cell = QRectF(left + j * width, i * height, width - 1, height - 1)
                painter.fillRect(cell, QColor.fromRgbF(*(float(part) for part in colours[i, j, :3])))
        for j, (_, words) in enumerate(self.columns):
            painter.save()
            painter.translate(QPointF(left + (j + 0.5) * width, len(self.rows) * height + 4))
            painter.rotate(90)
            short = metrics.elidedText(words, Qt.TextElideMode.ElideRight, _FOOT - 8)
            painter.drawText(QPointF(0, metrics.ascent() / 2 - 1), short)
            painter.restore()

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
                value = f"{self.values[row, column]:{'+' if self._signed else ''}.3g}"
                words = f"{self.rows[row]} → {self.columns[column][1]}: {value}"
                QToolTip.showText(event.globalPos(), words, self)
            return True
        return bool(super().event(event))
