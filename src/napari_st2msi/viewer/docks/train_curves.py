"""Losses of a network while it is trained."""

from __future__ import annotations

import pyqtgraph
from qtpy.QtCore import Qt

from napari_st2msi.models.deep.following import Told
from napari_st2msi.viewer.parts.live_curve import LiveCurve
from napari_st2msi.viewer.parts.style import Look
from napari_st2msi.viewer.parts.words import Words

_EARLIER = 5


class LossCurve(LiveCurve):
    """Training and validation loss by epoch; the networks before stay as faint lines of their validation loss."""

    def __init__(self) -> None:
        super().__init__("epoch", "loss")
        self._held: list[float] = []
        self._held_line = self.plot.plot()
        self._earlier: list[pyqtgraph.PlotDataItem] = []
        self._faint, self._colours = "gray", ("gray", "gray")
        self.label = Words(role="note")
        self.label.setTextFormat(Qt.TextFormat.RichText)
        layout = self.layout()
        assert layout is not None
        layout.insertWidget(0, self.label)
        self._told: Told | None = None
        self.setToolTip(
            "Loss of the spots learned from, and of blocks of tissue kept for validation. "
            "Training ends when the latter no longer falls; the best epoch is kept."
        )

    @property
    def held(self) -> tuple[float, ...]:
        """The validation losses of this network so far."""
        return tuple(self._held)

    def clear(self) -> None:
        """Begin anew."""
        self._told, self._held = None, []
        for line in self._earlier:
            self.plot.removeItem(line)
        self._earlier = []
        self.label.setText("")
        self.show_values(())

    def add_epoch(self, told: Told) -> None:
        """Add an epoch; a network that begins anew moves the one before to the back."""
        if self._told is not None and told.epoch.number <= self._told.epoch.number:
            self._put_back()
        self._told = told
        self._held.append(told.epoch.validation)
        self.add(told.epoch.training)

    def set_look(self, look: Look) -> None:
        """Draw in the colours and the font size of the theme."""
        super().set_look(look)
        self._faint, self._colours = look.border, (look.muted, look.good)
        self._line.setPen(pyqtgraph.mkPen(look.muted, width=2))
        self._line.setSymbolBrush(look.muted)
        self._held_line.setPen(pyqtgraph.mkPen(look.good, width=2))
        self._held_line.setSymbolBrush(look.good)
        self._held_line.setSymbolPen(None)
        for line in self._earlier:
            line.setPen(pyqtgraph.mkPen(look.border, width=1))
        self._say()

    def _put_back(self) -> None:
        line = self.plot.plot(range(1, len(self._held) + 1), self._held, pen=pyqtgraph.mkPen(self._faint, width=1))
        line.setZValue(-1)
        self._earlier.append(line)
        if len(self._earlier) > _EARLIER:
            self.plot.removeItem(self._earlier.pop(0))
        self._held, self._values = [], []

    def _draw(self) -> None:
        super()._draw()
        self._held_line.setSymbol("o" if len(self._held) == 1 else None)
        self._held_line.setSymbolSize(5)
        self._held_line.setData(range(1, len(self._held) + 1), self._held)
        self._say()

    def _say(self) -> None:
        if self._told is None or not self._held:
            return
        best = min(range(len(self._held)), key=self._held.__getitem__)
        training, validation = self._colours
        of = f" {self._told.network} of {self._told.networks}" if self._told.networks > 1 else ""
        self.label.setText(
            f"{self._told.what.capitalize()}{of} · epoch {self._told.epoch.number} · "
            f'<span style="color:{training}">■</span> training {self._told.epoch.training:.3f} · '
            f'<span style="color:{validation}">■</span> validation {self._held[-1]:.3f}, '
            f"best {self._held[best]:.3f} in epoch {best + 1}"
        )
