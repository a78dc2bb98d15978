"""One side of the Register dock: landmarks as markers of constant size, placed and dragged with the mouse."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from napari.layers import Points
from napari.utils.colormaps.standardize_color import transform_color
from numpy.typing import NDArray
from qtpy.QtWidgets import QWidget

from napari_st2msi.viewer import overlays
from napari_st2msi.viewer.docks.register_names import Name, Names
from napari_st2msi.viewer.landmark_editor import LandmarkEditor
from napari_st2msi.viewer.landmark_pairs import Pair, Point, Side

NAMES: dict[Side, str] = {"fixed": "landmarks ST", "moving": "landmarks MSI"}
HELP = "use <L> to add landmarks, <E> to disable one, <Del> to delete it, <?> for all keys"
_MARKER_PX, _SELECTED_PX = 13.0, 18.0
# A press this near to the middle of a marker is meant for it.
_REACH_PX = 11.0
# A press that moves less than this before it is let go is a click.
_STILL_PX = 4.0
_GAP_PX = 2.0
_LEFT_OUT = 0.6


class LandmarkCanvas:
    """Shows the landmarks of one side in a viewer, and passes what the mouse does to the editor.

    A click adds a point while `adding`; a drag of a marker moves it, whatever the mode. A click on a
    predicted marker accepts it.

    Parameters
    ----------
    viewer
        The viewer or viewer model whose world is µm of this side, as (y, x).
    side
        ``fixed`` (ST) or ``moving`` (MSI).
    editor
        The landmarks.
    """

    def __init__(self, viewer: Any, side: Side, editor: LandmarkEditor) -> None:
        self.viewer = viewer
        self.side: Side = side
        self.layer: Points | None = None
        self._editor = editor
        self._adding = False
        self._doubles: list[Callable[..., Any]] = []
        self._names: Names | None = None
        self._looks: list[_Look] = []

    # -- coming and going -----------------------------------------------------------------------

    def show(self, layer: Points | None, put: Callable[[Points], None], canvas: QWidget | None = None) -> None:
        """Show the landmarks and listen to the mouse.

        Parameters
        ----------
        layer
            The layer to draw into, if there is one.
        put
            Adds a new layer to the viewer otherwise.
        canvas
            What draws the viewer; None where there is no window.
        """
        if self.layer is not None:
            return
        self._editor.changed.connect(self.refresh)
        self._editor.predictions_changed.connect(self.refresh)
        self._editor.selection_changed.connect(self.refresh)
        self.viewer.mouse_drag_callbacks.append(self._on_mouse)
        self.viewer.layers.selection.events.active.connect(self._show_cursor)
        self.viewer.scene.camera.events.zoom.connect(self._on_zoom)
        if canvas is not None:
            self._names = Names(self.viewer, canvas)
            for moved in self._moves:
                moved.connect(self._on_camera)
        if layer is None:
            layer = Points(np.zeros((0, 2)), name=NAMES[self.side], units=("um", "um"))
            put(layer)
        layer.metadata[overlays.EDITED] = True
        # First of all: a layer that is not seen does not notice how many points it has.
        layer.visible = True
        layer.features = {"id": [""] * len(layer.data)}
        layer.text = {"string": " {id}", "size": 11, "anchor": "upper_left", "color": "white"}
        layer.text.visible = self._names is None
        layer.events.editable.connect(self._lock)
        # napari's status line tells of its own tools otherwise.
        layer.help = HELP
        self.layer, self._looks = layer, []
        self._lock()
        self.refresh()
        self._show_cursor()

    def hide(self) -> None:
        """Listen no longer. The layer stays: napari takes half a second to take one away."""
        if self.layer is None:
            return
        for signal in (self._editor.changed, self._editor.predictions_changed, self._editor.selection_changed):
            signal.disconnect(self.refresh, missing_ok=True)
        self.viewer.mouse_drag_callbacks.remove(self._on_mouse)
        self.viewer.layers.selection.events.active.disconnect(self._show_cursor)
        self.viewer.scene.camera.events.zoom.disconnect(self._on_zoom)
        if self._names is not None:
            for moved in self._moves:
                moved.disconnect(self._on_camera)
            self._names.hide()
            self._names.deleteLater()
            self._names = None
        self.layer.events.editable.disconnect(self._lock)
        self.layer.editable = True
        self.layer.text.visible = True
        self.layer.metadata.pop(overlays.EDITED, None)
        self.layer = None
        self.viewer.cursor.style = "standard"

    def activate(self) -> None:
        """Make the landmarks the active layer of the canvas while they are shown."""
        if self.layer is not None and self.layer in self.viewer.layers:
            self.viewer.layers.selection.active = self.layer
            # A new layer is activated before it knows its own help.
            self.viewer.help = self.layer.help

    @property
    def adding(self) -> bool:
        """Whether a click adds a point."""
        return self._adding

    @adding.setter
    def adding(self, adding: bool) -> None:
        if adding == self._adding:
            return
        self._adding = adding
        # Two quick clicks place points; elsewhere napari zooms by them.
        doubles = self.viewer.mouse_double_click_callbacks
        if adding:
            self._doubles = list(doubles)
            doubles.clear()
        else:
            doubles.extend(self._doubles)
        if self.layer is not None:
            self._show_cursor()

    def centre_on(self, id: str) -> None:
        """Move the view so that a landmark is in its middle."""
        here = self._editor.pair(id).at(self.side)
        if here is None:
            return
        dims = self.viewer.dims
        world = dict(zip(range(dims.ndim - 2, dims.ndim), reversed(here), strict=True))
        self.viewer.scene.camera.center = tuple(world[axis] for axis in dims.displayed)

    # -- drawing --------------------------------------------------------------------------------

    def refresh(self, *_: Any) -> None:
        """Draw the landmarks as they are now."""
        layer = self.layer
        if layer is None or layer not in self.viewer.layers:
            # Deleted by hand: it comes back when the dock is shown again.
            return
        shown = [pair for pair in self._editor.pairs if pair.at(self.side) is not None]
        positions = _positions(shown, self.side)
        if not np.array_equal(layer.data, positions):
            layer.data = positions
        looks = [_look(pair, self.side, pair.id == self._editor.selected) for pair in shown]
        # A drag changes positions only: what else is drawn stays as it is.
        if looks and looks != self._looks:
            layer.features = {"id": [pair.id for pair in shown]}
            layer.symbol = [look.symbol for look in looks]
            layer.face_color = np.array([look.face for look in looks], dtype=np.float32)
            layer.border_color = np.array([look.border for look in looks], dtype=np.float32)
            layer.border_width = [look.border_width for look in looks]
        self._looks = looks
        self._on_zoom()
        self._write_names(shown)

    def _write_names(self, pairs: list[Pair]) -> None:
        if self._names is not None:
            # The selected one first, because it gets the best place.
            ordered = sorted(pairs, key=lambda pair: pair.id != self._editor.selected)
            self._names.show_names([self._name(pair) for pair in ordered])

    def _name(self, pair: Pair) -> Name:
        x, y = cast("Point", pair.at(self.side))
        size = _SELECTED_PX if pair.id == self._editor.selected else _MARKER_PX
        return Name(pair.id, y, x, size / 2 + _GAP_PX, faint=not pair.enabled)

    @property
    def _moves(self) -> tuple[Any, ...]:
        """What tells that places are seen elsewhere on the canvas."""
        dims = self.viewer.dims.events
        return self.viewer.scene.camera.events, dims.order, dims.ndisplay

    def _on_camera(self, _event: Any = None) -> None:
        if self._names is not None:
            self._names.update()

    def _lock(self, _event: Any = None) -> None:
        """Keep napari's own tools from the layer: the mouse goes through the editor, so that it can be undone."""
        # napari unlocks a layer whenever it gets other points.
        if self.layer is not None and self.layer.editable:
            self.layer.editable = False

    def _on_zoom(self, _event: Any = None) -> None:
        """Keep the markers at their size on the screen.

        napari can hold the size of points within limits on the screen, but then draws borders far too wide.
        """
        if self.layer is not None and self._looks:
            sizes = np.array([look.size_px for look in self._looks]) / self.viewer.scene.camera.zoom
            if not np.allclose(self.layer.size, sizes, rtol=1e-3):
                self.layer.size = sizes

    def _show_cursor(self, _event: Any = None) -> None:
        self.viewer.cursor.style = "crosshair" if self._adding else "standard"

    # -- the mouse ------------------------------------------------------------------------------

    def _on_mouse(self, viewer: Any, event: Any) -> Generator[None, None, None]:
        if event.button != 1 or event.modifiers or viewer.dims.ndisplay != 2:
            return
        under = self._under(self._xy(event))
        if under is None:
            yield from self._click_beside(event)
            return
        # The camera must not pan along with the marker.
        camera = viewer.scene.camera
        panning, camera.mouse_pan = camera.mouse_pan, False
        try:
            yield from self._drag(under, event)
        finally:
            camera.mouse_pan = panning

    def _click_beside(self, event: Any) -> Generator[None, None, None]:
        """Add a point, unless the view was panned; without the mode, let go of the selection."""
        start = np.array(event.pos)
        yield
        while event.type == "mouse_move":
            yield
        if np.linalg.norm(np.array(event.pos) - start) > _STILL_PX:
            return
        if self._adding:
            self._editor.add(self.side, self._xy(event))
        else:
            self._editor.select(None)

    def _drag(self, id: str, event: Any) -> Generator[None, None, None]:
        """Move a marker along with the mouse; a mere click selects it, and accepts it where it is predicted."""
        start, xy = np.array(event.pos), np.array(self._xy(event))
        grip = np.array(self._editor.pair(id).at(self.side)) - xy
        moved = False
        self._editor.select(id)
        yield
        while event.type == "mouse_move":
            moved = moved or bool(np.linalg.norm(np.array(event.pos) - start) > _STILL_PX)
            if moved:
                self._editor.move(id, self.side, _point(self._xy(event) + grip), going_on=True)
            yield
        if moved:
            # Moves are thinned out on their way here; where it was let go is exact.
            self._editor.move(id, self.side, _point(self._xy(event) + grip), going_on=True)
            self._editor.settle()
        elif self._editor.pair(id).predicted == self.side:
            self._editor.confirm(id)

    def _under(self, xy: Point) -> str | None:
        """Return the landmark whose marker is under the pointer; of several the nearest."""
        shown = [pair for pair in self._editor.pairs if pair.at(self.side) is not None]
        if not shown:
            return None
        away = np.linalg.norm(_positions(shown, self.side)[:, ::-1] - np.array(xy), axis=1)
        nearest = int(away.argmin())
        return shown[nearest].id if away[nearest] * self.viewer.scene.camera.zoom <= _REACH_PX else None

    def _xy(self, event: Any) -> Point:
        y, x = event.position[-2:]
        return float(x), float(y)


@dataclass(frozen=True)
class _Look:
    """How one landmark is drawn: filled where it was placed, hollow where predicted, crossed where not used."""

    id: str
    symbol: str
    size_px: float
    face: tuple[float, ...]
    border: tuple[float, ...]
    border_width: float


def _look(pair: Pair, side: Side, selected: bool) -> _Look:
    colour = tuple(float(part) for part in transform_color(pair.colour)[0][:3])
    predicted = pair.predicted == side
    frame = colour if predicted else (1.0, 1.0, 1.0) if selected else (0.0, 0.0, 0.0)
    return _Look(
        id=pair.id,
        symbol="disc" if pair.enabled else "x",
        size_px=_SELECTED_PX if selected else _MARKER_PX,
        face=(*colour, 0.0 if predicted else 1.0 if pair.enabled else _LEFT_OUT),
        border=(*frame, 1.0 if pair.enabled or selected else _LEFT_OUT),
        border_width=0.18 if predicted else 0.13,
    )


def _positions(pairs: list[Pair], side: Side) -> NDArray[np.float64]:
    """Return (n, 2) positions as napari counts them: y, x."""
    return np.array([pair.at(side) for pair in pairs], dtype=np.float64).reshape(-1, 2)[:, ::-1]


def _point(xy: NDArray[np.float64]) -> Point:
    return float(xy[0]), float(xy[1])
