"""A ranked list of names with bars to the left and right of zero; one of them is chosen."""

from __future__ import annotations

from collections.abc import Sequence

from napari.utils.colormaps import ensure_colormap
from qtpy.QtCore import QEvent, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QHelpEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPalette
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

_DIVERGING = "RdBu_r"
_NUMBER_SHARE = 0.2


class Bars(QWidget):
    """Names, each with a bar from zero to its value; click one, or walk with the arrow keys.

    Parameters
    ----------
    what
        What the list is, for screen readers.
    name_share
        Share of the width for names.
    """

    #: The user chose a name; carries its key.
    chosen = Signal(str)

    def __init__(self, what: str, *, name_share: float = 0.32) -> None:
        super().__init__()
        self._name_share = name_share
        self.setAccessibleName(what)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._rows: list[tuple[str, str, float, str]] = []
        self._key: str | None = None

    @property
    def keys(self) -> list[str]:
        """The keys, from top to bottom."""
        return [key for key, *_ in self._rows]

    @property
    def key(self) -> str | None:
        """The key that is chosen."""
        return self._key

    def show_rows(self, rows: Sequence[tuple[str, str, float, str]]) -> None:
        """Show other rows: key, name, value and the value in words."""
        self._rows = list(rows)
        self.updateGeometry()
        self.update()

    def choose(self, key: str | None) -> None:
        """Mark a row without announcing it."""
        self._key = key
        self.update()

    def sizeHint(self) -> QSize:
        """Return room for all rows."""
        return QSize(240, self._height * max(len(self._rows), 1) + 2)

    def minimumSizeHint(self) -> QSize:
        """Return room for all rows."""
        return self.sizeHint()

    @property
    def _height(self) -> int:
        return int(self.fontMetrics().height()) + 5

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the rows."""
        painter = QPainter(self)
        palette = self.palette()
        text, faint = palette.color(QPalette.ColorRole.WindowText), palette.color(QPalette.ColorRole.WindowText)
        faint.setAlpha(60)
        width, height = self.width(), self._height
        left, right = width * self._name_share, width * (1 - _NUMBER_SHARE)
        values = [value for _, _, value, _ in self._rows]
        most = max((abs(value) for value in values), default=0.0) or 1.0
        # All on one side: the bars take all of the room.
        least, top = min(0.0, *values) if values else 0.0, max(0.0, *values) if values else 1.0
        span = (top - least) or most
        zero = left + (right - left) * (0.0 - least) / span
        for number, (key, name, value, words) in enumerate(self._rows):
            y = number * height + 1
            if key == self._key:
                painter.fillRect(QRectF(0, y, width, height), faint)
            painter.setPen(text)
            metrics = self.fontMetrics()
            short = metrics.elidedText(name, Qt.TextElideMode.ElideRight, int(left) - 6)
            painter.drawText(QRectF(2, y, left - 4, height), Qt.AlignmentFlag.AlignVCenter, short)
            end = zero + (right - left) * value / span
            bar = QRectF(min(zero, end), y + 3, max(abs(end - zero), 1.0), height - 6)
            painter.fillRect(bar, _colour(value / most))
            painter.drawText(
                QRectF(right + 2, y, width - right - 4, height),
                Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight,
                words,
            )
        painter.setPen(faint)
        painter.drawLine(int(zero), 0, int(zero), height * len(self._rows))
        if self.hasFocus():
            painter.drawRect(0, 0, width - 1, self.height() - 1)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Choose the row under the mouse."""
        if event is not None:
            self._choose_at(int(event.position().y()) // self._height)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Walk the rows."""
        step = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}.get(Qt.Key(event.key())) if event is not None else None
        if step is None:
            super().keyPressEvent(event)
            return
        here = self.keys.index(self._key) if self._key in self.keys else -1
        self._choose_at(here + step)

    def event(self, event: QEvent | None) -> bool:
        """Show the whole name where it is cut."""
        if isinstance(event, QHelpEvent):
            row = event.pos().y() // self._height
            if 0 <= row < len(self._rows):
                _, name, _, words = self._rows[row]
                QToolTip.showText(event.globalPos(), f"{name}: {words}", self)
            return True
        return bool(super().event(event))

    def _choose_at(self, row: int) -> None:
        if 0 <= row < len(self._rows):
            self.choose(self._rows[row][0])
            self.chosen.emit(self._rows[row][0])


def _colour(share: float) -> QColor:
    """Return the colour of a value from −1 to 1, off the pale middle that no background shows."""
    place = 0.5 + 0.5 * (0.35 + 0.5 * abs(share)) * (1 if share >= 0 else -1)
    red, green, blue, _ = ensure_colormap(_DIVERGING).map(place).ravel()
    return QColor.fromRgbF(float(red), float(green), float(blue))
