"""A scatter of named points: hover tells which, a click chooses one, a drag picks out several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyqtgraph
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QBrush, QColor, QPen
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from napari_st2msi.viewer.parts.style import Look

_HEIGHT = 230
_SIZE = 7.0
_OPACITY, _FAINT = 210, 45
_MARGIN = 0.07  # at the least height, the ring around a point at the edge has room


@dataclass(frozen=True)
class Kind:
    """How some of the points are drawn.

    Attributes
    ----------
    name
        What they are.
    colour
        ``#rrggbb``.
    symbol
        As pyqtgraph names it: kinds differ by more than their colour where there are few.
    """

    name: str
    colour: str
    symbol: str = "o"


class _Brush(pyqtgraph.ViewBox):
    """What lies behind the points: a drag spans a box, a click beside the points takes it away."""

    #: The corners of the box, in the units of the axes; empty for a click.
    spanned = Signal(QRectF)

    def mouseDragEvent(self, ev: Any, axis: Any = None) -> None:
        ev.accept()
        if ev.button() != Qt.MouseButton.LeftButton:
            return
        start, now = ev.buttonDownPos(ev.button()), ev.pos()
        if not ev.isFinish():
            self.updateScaleBox(start, now)
            return
        self.rbScaleBox.hide()
        self.spanned.emit(self.childGroup.mapRectFromParent(QRectF(QPointF(start), QPointF(now)).normalized()))

    def mouseClickEvent(self, ev: Any) -> None:
        if ev.button() == Qt.MouseButton.LeftButton:
            ev.accept()
            self.spanned.emit(QRectF())

    def wheelEvent(self, ev: Any, axis: Any = None) -> None:
        ev.ignore()  # it scrolls the dock


class _Axis(pyqtgraph.AxisItem):
    """An axis with the minus that all other numbers have."""

    def tickStrings(self, values: Any, scale: float, spacing: float) -> list[str]:
        return [text.replace("-", "−") for text in super().tickStrings(values, scale, spacing)]


class Scatter(QWidget):
    """Points in the colours of the theme. Points with a missing coordinate are left out.

    Parameters
    ----------
    words
        Returns what to say of a point when the mouse rests on it.
    """

    #: The user clicked a point; carries its key.
    chosen = Signal(str)
    #: The user picked out points; carries their keys, none after a click beside them.
    brushed = Signal(frozenset)

    def __init__(self, words: Callable[[str], str]) -> None:
        super().__init__()
        self._words = words
        self.keys: NDArray[np.str_] = np.empty(0, dtype=str)
        self.xy: NDArray[np.float64] = np.empty((0, 2))
        self._group: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._kinds: Sequence[Kind] = ()
        self._only: frozenset[str] = frozenset()
        self._marked: str | None = None
        self._titles = ("", "")
        self._look: Look | None = None
        self.box = _Brush(enableMenu=False)
        axes = {side: _Axis(side) for side in ("bottom", "left")}
        self.plot = pyqtgraph.PlotWidget(viewBox=self.box, axisItems=axes)
        self.plot.setMinimumHeight(_HEIGHT)
        self.plot.hideButtons()
        # Else the words of the axes are cut.
        self.plot.getPlotItem().setContentsMargins(0, 8, 8, 4)
        self.plot.wheelEvent = lambda event: event.ignore()
        self.zero = pyqtgraph.InfiniteLine(pos=0, angle=0)
        self.points = pyqtgraph.ScatterPlotItem(hoverable=True, tip=lambda x, y, data: self._words(str(data)))
        self.ring = pyqtgraph.ScatterPlotItem()
        self.ring.setAcceptedMouseButtons(Qt.MouseButton.NoButton)
        for item in (self.zero, self.points, self.ring):
            self.plot.addItem(item)
        self.points.sigClicked.connect(self._on_clicked)
        self.box.spanned.connect(self._on_spanned)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.plot)

    def sizeHint(self) -> QSize:
        """Return room for the points and the words of the axes."""
        return QSize(_HEIGHT, _HEIGHT)

    # -- what is shown --------------------------------------------------------------------------

    def show_points(
        self,
        keys: Sequence[str],
        xy: NDArray[np.float64],
        group: NDArray[np.int64],
        kinds: Sequence[Kind],
        titles: tuple[str, str],
    ) -> None:
        """Show other points.

        Parameters
        ----------
        keys, xy, group
            (n,) names, (n, 2) positions and (n,) positions in `kinds`.
        titles
            Of the axes, across and up.
        """
        known = np.isfinite(xy).all(axis=1)
        self.keys, self.xy = np.asarray(keys, dtype=str)[known], xy[known]
        self._group, self._kinds, self._titles = np.asarray(group)[known], kinds, titles
        self._fit()
        self._draw()
        self._title()

    def show_brushed(self, keys: frozenset[str]) -> None:
        """Let all other points fade; none do where no key is given."""
        if keys != self._only:
            self._only = keys
            self._draw()

    def mark(self, key: str | None) -> None:
        """Put a ring around a point."""
        self._marked = key
        self.ring.setData(pos=self.xy[np.flatnonzero(self.keys == key)[:1]])

    def set_look(self, look: Look) -> None:
        """Draw in the colours and the font size of the theme."""
        self._look = look
        self.plot.setBackground(look.background)
        self.zero.setPen(pyqtgraph.mkPen(look.border, width=1))
        self.ring.setPen(pyqtgraph.mkPen(look.text, width=2))
        self.ring.setBrush(None)
        self.ring.setSize(_SIZE + 7)
        self.box.rbScaleBox.setPen(pyqtgraph.mkPen(look.text, width=1))
        shade = QColor(look.text)
        shade.setAlpha(30)
        self.box.rbScaleBox.setBrush(QBrush(shade))
        font = self.font()
        font.setPointSize(look.font_pt - 1)
        for side in ("bottom", "left"):
            axis = self.plot.getAxis(side)
            axis.enableAutoSIPrefix(False)
            axis.setPen(look.border)
            axis.setTextPen(look.muted)
            axis.setStyle(tickFont=font, maxTickLevel=0)
        self._title()
        self._draw()

    def _title(self) -> None:
        if self._look is not None:
            style = {"color": self._look.muted, "font-size": f"{self._look.font_pt - 1}pt"}
            for side, words in zip(("bottom", "left"), self._titles, strict=True):
                self.plot.setLabel(side, words, **style)

    def _fit(self) -> None:
        """Let the axes end where the points do."""
        if len(self.xy):
            low, high = self.xy.min(axis=0), self.xy.max(axis=0)
            margin = np.where(high > low, (high - low) * _MARGIN, 0.5)
            (left, bottom), (right, top) = low - margin, high + margin
            self.box.setRange(xRange=(left, right), yRange=(bottom, top), padding=0)

    def _draw(self) -> None:
        if not len(self.keys):
            self.points.setData(pos=np.empty((0, 2)))
            self.mark(None)
            return
        strong, faint = ([_brush(kind.colour, opacity) for kind in self._kinds] for opacity in (_OPACITY, _FAINT))
        seen = np.isin(self.keys, list(self._only)) if self._only else np.ones(len(self.keys), dtype=bool)
        self.points.setData(
            pos=self.xy,
            data=self.keys,
            size=_SIZE,
            pen=QPen(Qt.PenStyle.NoPen),
            symbol=[self._kinds[group].symbol for group in self._group],
            brush=[(strong if here else faint)[group] for group, here in zip(self._group, seen, strict=True)],
        )
        self.mark(self._marked)

    # -- what the user does ---------------------------------------------------------------------

    def _on_clicked(self, _item: Any, points: Any, event: Any = None) -> None:
        if len(points):
            self.chosen.emit(str(points[0].data()))

    def _on_spanned(self, box: QRectF) -> None:
        if not len(self.keys):
            return
        x, y = self.xy.T
        inside = (x >= box.left()) & (x <= box.right()) & (y >= box.top()) & (y <= box.bottom())
        self.brushed.emit(frozenset() if box.isNull() else frozenset(self.keys[inside].tolist()))


def _brush(colour: str, opacity: int) -> QBrush:
    filled = QColor(colour)
    filled.setAlpha(opacity)
    return QBrush(filled)
