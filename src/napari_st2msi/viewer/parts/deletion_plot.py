"""How a prediction changes without its strongest genes, and without random ones."""

from __future__ import annotations

import numpy as np
import pyqtgraph
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_st2msi.explain.deletion import DeletionCurve
from napari_st2msi.viewer.parts.style import Look


class DeletionPlot(QWidget):
    """The deletion curve of the strongest genes over the range of random ones."""

    def __init__(self) -> None:
        super().__init__()
        self.plot = pyqtgraph.PlotWidget()
        self.plot.setFixedHeight(165)
        self.plot.setMenuEnabled(False)
        self.plot.hideButtons()
        self.plot.setMouseEnabled(x=False, y=False)
        self.plot.wheelEvent = lambda event: event.ignore()  # it scrolls the page
        self.plot.setLogMode(x=True, y=False)
        self._low, self._high = pyqtgraph.PlotDataItem(), pyqtgraph.PlotDataItem()
        self._between = pyqtgraph.FillBetweenItem(self._low, self._high)
        self._random, self._top = pyqtgraph.PlotDataItem(), pyqtgraph.PlotDataItem()
        for item in (self._low, self._high, self._between, self._random, self._top):
            self.plot.addItem(item)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.plot)

    def show_curve(self, curve: DeletionCurve) -> None:
        """Show another curve."""
        frame = curve.frame()
        genes = frame["genes"].to_numpy(dtype=float)
        self._top.setData(genes, frame["change_top"].to_numpy())
        self._random.setData(genes, frame["change_random"].to_numpy())
        self._low.setData(genes, frame["change_random_least"].to_numpy())
        self._high.setData(genes, frame["change_random_most"].to_numpy())
        powers = range(int(np.floor(np.log10(genes.max()))) + 1)
        self.plot.getAxis("bottom").setTicks([[(power, f"{10**power:,}") for power in powers]])

    def set_look(self, look: Look) -> None:
        """Draw in the colours and the font size of the theme."""
        self.plot.setBackground(look.background)
        shade = QColor(look.muted)
        shade.setAlpha(70)
        self._between.setBrush(shade)
        for item in (self._low, self._high):
            item.setPen(None)
        self._random.setPen(pyqtgraph.mkPen(look.muted, width=2))
        self._top.setPen(pyqtgraph.mkPen(look.good, width=2))
        style = {"color": look.muted, "font-size": f"{look.font_pt - 1}pt"}
        font = self.font()
        font.setPointSize(look.font_pt - 1)
        for side, words in (("bottom", "genes taken to their mean"), ("left", "change")):
            axis = self.plot.getAxis(side)
            axis.enableAutoSIPrefix(False)
            axis.setPen(look.border)
            axis.setTextPen(look.muted)
            axis.setStyle(tickFont=font, maxTickLevel=0)
            self.plot.setLabel(side, words, **style)
