"""A curve that grows while work goes on."""

from __future__ import annotations

import pyqtgraph
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_st2msi.viewer.parts.style import Look

#: More often than this nobody sees a curve grow, and drawing it would cost the work its time.
_EVERY_MS = 100


class LiveCurve(QWidget):
    """One number by step, drawn in the colours of the theme.

    Parameters
    ----------
    across, up
        What the axes show, with its unit.
    """

    def __init__(self, across: str, up: str) -> None:
        super().__init__()
        self._words = (across, up)
        self._values: list[float] = []
        self.plot = pyqtgraph.PlotWidget()
        self.plot.setFixedHeight(140)
        # Else the uppermost number and the letters below the line of the lowest words are cut.
        self.plot.getPlotItem().setContentsMargins(0, 8, 8, 4)
        self.plot.setMenuEnabled(False)
        self.plot.hideButtons()
        self.plot.setMouseEnabled(x=False, y=False)
        # The wheel scrolls the dock.
        self.plot.wheelEvent = lambda event: event.ignore()
        self._line = self.plot.plot()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.plot)
        self._clock = QTimer(self)
        self._clock.setSingleShot(True)
        self._clock.setInterval(_EVERY_MS)
        self._clock.timeout.connect(self._draw)

    @property
    def values(self) -> tuple[float, ...]:
        """The numbers so far."""
        return tuple(self._values)

    def add(self, value: float) -> None:
        """Add the number of another step."""
        self._values.append(float(value))
        if not self._clock.isActive():
            self._clock.start()

    def show_values(self, values: tuple[float, ...]) -> None:
        """Show other numbers."""
        self._values = [float(value) for value in values]
        self._draw()

    def set_look(self, look: Look) -> None:
        """Draw in the colours and the font size of the theme."""
        self.plot.setBackground(look.background)
        self._line.setPen(pyqtgraph.mkPen(look.good, width=2))
        self._line.setSymbolBrush(look.good)
        self._line.setSymbolPen(None)
        style = {"color": look.muted, "font-size": f"{look.font_pt - 1}pt"}
        font = self.font()
        font.setPointSize(look.font_pt - 1)
        for side, words in zip(("bottom", "left"), self._words, strict=True):
            axis = self.plot.getAxis(side)
            axis.setPen(look.border)
            axis.setTextPen(look.muted)
            axis.setStyle(tickFont=font, maxTickLevel=0)
            self.plot.setLabel(side, words, **style)

    def _draw(self) -> None:
        # A line through one point cannot be seen.
        self._line.setSymbol("o" if len(self._values) == 1 else None)
        self._line.setSymbolSize(5)
        self._line.setData(range(1, len(self._values) + 1), self._values)
