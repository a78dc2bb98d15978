"""Names of landmarks over a canvas: white with a dark edge, so that they are read on any picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QObject, QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPainterPath, QPaintEvent, QPen
from qtpy.QtWidgets import QWidget

from napari_st2msi.viewer.parts.style import look_of

#: Of the edge around letters, in pixels of the screen.
_EDGE_PX = 3.0
_LEFT_OUT = 0.65


@dataclass(frozen=True)
class Name:
    """One name.

    Attributes
    ----------
    text
        What is written.
    y, x
        Where its marker is, in µm.
    away_px
        How far from there the letters begin.
    faint
        Whether the landmark is left out of the fit.
    """

    text: str
    y: float
    x: float
    away_px: float
    faint: bool = False


class Names(QWidget):
    """Writes names beside the markers of a canvas.

    napari writes letters in one colour without an edge, which disappear where the picture has that colour.

    Parameters
    ----------
    viewer
        Whose world the names lie in.
    canvas
        The widget that draws it.
    """

    def __init__(self, viewer: Any, canvas: QWidget) -> None:
        super().__init__(canvas)
        self._viewer = viewer
        self._names: tuple[Name, ...] = ()
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        canvas.installEventFilter(self)
        self.setGeometry(canvas.rect())
        self.show()

    def show_names(self, names: Sequence[Name]) -> None:
        """Write other names; those that come first get the better places."""
        names = tuple(names)
        if names != self._names:
            self._names = names
            self.update()

    def places(self) -> dict[str, QRectF]:
        """Return where each name is written on the canvas."""
        metrics = QFontMetricsF(self._font())
        world = np.array([(name.y, name.x) for name in self._names], dtype=np.float64).reshape(-1, 2)
        middles = [QPointF(x, y) for x, y in on_canvas(self._viewer, world, self.width(), self.height())]
        markers = [_square(middle, 0.7 * name.away_px) for name, middle in zip(self._names, middles, strict=True)]
        taken: dict[str, QRectF] = {}
        for name, middle in zip(self._names, middles, strict=True):
            size = metrics.horizontalAdvance(name.text), metrics.capHeight()
            around = [_beside(middle, size, name.away_px, right, up) for right in (1, -1) for up in (1, -1)]
            free = (one for one in around if not any(one.intersects(other) for other in (*taken.values(), *markers)))
            inside = (one for one in around if QRectF(self.rect()).contains(one))
            taken[name.text] = next((one for one in free if QRectF(self.rect()).contains(one)), next(inside, around[0]))
        return taken

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Write the names."""
        if self._viewer.dims.ndisplay != 2 or not self._names:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        edge = QPen(QColor(0, 0, 0, 220), _EDGE_PX)
        edge.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
        places, font = self.places(), self._font()
        for name in self._names:
            letters = QPainterPath()
            letters.addText(places[name.text].bottomLeft(), font, name.text)
            painter.setOpacity(_LEFT_OUT if name.faint else 1.0)
            painter.strokePath(letters, edge)
            painter.fillPath(letters, QColor("white"))
        painter.end()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Stay as large as the canvas."""
        if event is not None and event.type() == QEvent.Type.Resize and isinstance(watched, QWidget):
            self.setGeometry(watched.rect())
        return False

    def _font(self) -> QFont:
        font = QFont(self.font())
        font.setPointSize(look_of(self._viewer).font_pt)
        font.setWeight(QFont.Weight.DemiBold)
        return font


def on_canvas(viewer: Any, world: NDArray[np.float64], width: int, height: int) -> NDArray[np.float64]:
    """Return where on a canvas places of its world are seen, however it is turned.

    Parameters
    ----------
    viewer
        The viewer, showing two dimensions.
    world
        (n, 2) y and x in µm.
    width, height
        Of the canvas in pixels.

    Returns
    -------
    (n, 2) float64: pixels to the right and down from the upper left corner.
    """
    camera, dims = viewer.scene.camera, viewer.dims
    shown = world[:, [axis - (dims.ndim - 2) for axis in dims.displayed]]
    signs = [1 if str(words) in ("down", "right") else -1 for words in camera.orientation2d]
    down_right = signs * (shown - camera.center[-2:]) * camera.zoom
    return np.asarray(down_right[:, ::-1] + (width / 2, height / 2))


def _square(middle: QPointF, half: float) -> QRectF:
    return QRectF(middle.x() - half, middle.y() - half, 2 * half, 2 * half)


def _beside(middle: QPointF, size: tuple[float, float], away: float, right: int, up: int) -> QRectF:
    """Return the rectangle of a name at one of the four corners of its marker."""
    width, height = size
    # At 45° off a round marker, letters may begin nearer than its rim says.
    step = 0.75 * away
    left = middle.x() + step if right > 0 else middle.x() - step - width
    top = middle.y() - step - height if up > 0 else middle.y() + step
    return QRectF(left, top, width, height)
