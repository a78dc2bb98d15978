"""A colour bar with its limits, its unit, and where the values come from."""

from __future__ import annotations

import numpy as np
from napari.utils.colormaps import ensure_colormap
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QImage, QPainter, QPaintEvent, QPalette
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget
from superqt import QElidingLabel

_BAR_HEIGHT = 12


class ColourBar(QWidget):
    """What the colours of a layer mean.

    Above the bar stand what is shown with its unit (left) and where the values come from (right, for
    example "out of fold"); below it the limits and the middle.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.what = QElidingLabel()
        self.what.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.provenance = QLabel()
        self.provenance.setProperty("role", "note")
        self.provenance.setSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Preferred)
        self.provenance.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.strip = _Strip()
        head = QHBoxLayout()
        head.addWidget(self.what, 1)
        head.addWidget(self.provenance)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(1)
        layout.addLayout(head)
        layout.addWidget(self.strip)

    def show_scale(
        self,
        what: str,
        colormap: str,
        limits: tuple[float, float],
        *,
        provenance: str = "",
        clipped: bool = False,
        explain: str = "",
    ) -> None:
        """Show a scale.

        Parameters
        ----------
        what
            What is shown, with its unit: "measured, predicted (intensity)".
        colormap
            A napari colour map.
        limits
            Values of the first and last colour.
        provenance
            Where the values come from.
        clipped
            Whether values above the upper limit exist and are drawn in the last colour.
        explain
            A sentence for who points at the provenance.
        """
        self.what.setText(what)
        self.provenance.setText(provenance)
        self.provenance.setToolTip(explain)
        self.strip.set_scale(colormap, limits, clipped)


class _Strip(QWidget):
    """The painted bar with three numbers under it."""

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._image = QImage()
        self.numbers: tuple[str, ...] = ()

    def set_scale(self, colormap: str, limits: tuple[float, float], clipped: bool) -> None:
        colours = np.ascontiguousarray(ensure_colormap(colormap).map(np.linspace(0, 1, 256)) * 255, dtype=np.uint8)
        self._image = QImage(colours.tobytes(), 256, 1, 4 * 256, QImage.Format.Format_RGBA8888).copy()
        low, high = limits
        step = (high - low) / 2
        self.numbers = (
            short(low, step),
            short((low + high) / 2, step),
            ("≥ " if clipped else "") + short(high, step),
        )
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(200, _BAR_HEIGHT + 2 + self.fontMetrics().height())

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        bar = QRectF(0.5, 0.5, self.width() - 1, _BAR_HEIGHT)
        painter.drawImage(bar, self._image)
        text = self.palette().color(QPalette.ColorRole.WindowText)
        frame = QColor(text)
        frame.setAlpha(90)
        painter.setPen(frame)
        painter.drawRect(bar)
        painter.setPen(text)
        below = QRectF(0, _BAR_HEIGHT + 2, self.width(), self.height() - _BAR_HEIGHT - 2)
        places = (Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignHCenter, Qt.AlignmentFlag.AlignRight)
        for number, place in zip(self.numbers, places, strict=False):
            painter.drawText(below, place | Qt.AlignmentFlag.AlignTop, number)


def short(value: float, step: float) -> str:
    """Return a number with the digits that differences of `step` make significant."""
    if not np.isfinite(value):
        return ""
    size = max(abs(value), abs(step))
    if size >= 1e5 or 0 < size < 1e-3:
        text = f"{value:.2g}".replace("e+0", "e").replace("e+", "e").replace("e-0", "e-") if value else "0"
        return text.replace("-", "−")
    decimals = 0 if step <= 0 or step >= 20 else int(np.clip(np.ceil(1 - np.log10(step)), 0, 6))
    return f"{value:,.{decimals}f}".replace("-", "−")
