"""The two canvases of the Register dock in one window: ST is napari's own, MSI comes and goes beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import ref

from napari.components import ViewerModel
from napari.layers import Layer
from qtpy.QtWidgets import QWidget

from napari_st2msi.section import Section
from napari_st2msi.viewer import layers, overlays
from napari_st2msi.viewer.aside import bring_back, put_aside, see, wanted
from napari_st2msi.viewer.docks.register_context import sides_of

#: What stays visible on the ST side while landmarks are placed.
_KEPT = ("histology", "spots", "landmarks_st")


class TwoCanvases:
    """Puts a second canvas beside napari's own and takes it away again, leaving the window as it was.

    Parameters
    ----------
    left
        The viewer; one without a window gets no second canvas, only the second model.
    """

    def __init__(self, left: Any) -> None:
        self.left = left
        self._section: Section | None = None
        self.right = ViewerModel(title="MSI")
        # The window owns the second canvas; holding it here would keep it when the window is closed.
        self._weak_qt: Callable[[], Any] = _nothing
        self._before: dict[str, Any] | None = None

    @property
    def _qt(self) -> Any:
        return self._weak_qt()

    @property
    def shown(self) -> bool:
        """Whether both canvases are seen."""
        return self._before is not None

    @property
    def widgets(self) -> tuple[QWidget, ...]:
        """The Qt widgets that draw the canvases, ST first; none without a window."""
        centre = self._centre()
        if centre is None or self._qt is None:
            return ()
        return self.left.window._qt_viewer.canvas.native, self._qt.canvas.native

    def show(self, section: Section) -> None:
        """Show ST on the left, without what lies over it, and the MSI canvas on the right."""
        if self._before is not None:
            return
        left, self._section = self.left, section
        landmarks = layers.find(left, section, "landmarks_st")
        self._before = {
            "landmarks": landmarks is not None and wanted(landmarks),
            "grid": left.canvas.grid.enabled,
            "title": left.canvas.overlays.text.model_dump(),
        }
        left.canvas.grid.enabled = False
        self.hide_others(section)
        left.layers.events.inserted.connect(self._on_inserted)
        self._add_canvas()
        sides = sides_of(section)
        for viewer, words in ((left, sides["fixed"]), (self.right, sides["moving"])):
            viewer.canvas.overlays.text.update(_title(words))

    def measure(self) -> None:
        """Show a scale bar on the MSI, once its view is what it will be: napari misplaces one that is there before."""
        self.right.canvas.overlays.scale_bar.visible = True

    def hide(self, section: Section | None) -> None:
        """Put everything back."""
        if self._before is None:
            return
        before, self._before = self._before, None
        left = self.left
        left.layers.events.inserted.disconnect(self._on_inserted)
        if self._qt is not None:
            self._qt.hide()
        self.right.canvas.overlays.scale_bar.visible = False
        left.canvas.grid.enabled = before["grid"]
        left.canvas.overlays.text.update(before["title"])
        self.show_others()
        landmarks = None if section is None else layers.find(left, section, "landmarks_st")
        if section is not None and landmarks is not None:
            # Elsewhere those are shown that the section carries, and not those that are being placed.
            see(landmarks, before["landmarks"] and overlays.has_landmarks(section))
            overlays.show_landmarks(left, section)

    def close(self) -> None:
        """Take the second canvas away for good."""
        if self._qt is not None:
            qt, self._weak_qt = self._qt, _nothing
            centre = self._centre()
            if centre is not None:
                centre.layout().removeWidget(qt)
            qt.close()
            qt.deleteLater()

    # -- what lies over the ST ------------------------------------------------------------------

    def hide_others(self, section: Section) -> None:
        """Hide what would cover the ST; the landmarks on it are shown by who edits them."""
        for layer in self.left.layers:
            self._hide_one(layer, section)

    def show_others(self) -> None:
        """Bring back what was hidden."""
        for layer in self.left.layers:
            layer.events.visible.disconnect(self._on_visible)
            bring_back(layer, "registering")

    def _hide_one(self, layer: Layer, section: Section) -> None:
        if layer.metadata.get(overlays.EDITED) or layers.role_of(layer, section) in _KEPT:
            return
        ours = layers.KEY in layer.metadata
        if ours or layer.visible:
            put_aside(layer, "registering")
        if ours:
            # Whoever shows it by its eye covers the ST with it.
            layer.events.visible.connect(self._on_visible)

    def _on_visible(self, event: Any) -> None:
        if event.source.visible and self._section is not None:
            self._hide_one(event.source, self._section)

    def _on_inserted(self, event: Any) -> None:
        """Hide what other docks make meanwhile, before it is seen; what the user adds by hand stays."""
        if layers.KEY in event.value.metadata and self._section is not None:
            self._hide_one(event.value, self._section)

    # -- the window -----------------------------------------------------------------------------

    def _centre(self) -> QWidget | None:
        """Return the middle of napari's window, whose layout holds its canvas; None without a window."""
        window = getattr(self.left, "window", None)
        return None if window is None else window._qt_window.centralWidget()

    def _add_canvas(self) -> None:
        centre = self._centre()
        if centre is None:
            return
        if self._qt is None:
            from napari.qt import QtViewer

            qt = QtViewer(self.right)
            self._weak_qt = ref(qt)
            layout = centre.layout()
            layout.addWidget(qt)
            layout.setStretch(0, 1)
            layout.setStretch(1, 1)
        self.right.theme = self.left.theme
        self._qt.show()
        # What changed while it was hidden was never painted, and vispy waits for that before it asks for more.
        self._qt.canvas.native.update()


def _nothing() -> None:
    return None


def _title(words: str) -> dict[str, Any]:
    return {"text": words, "visible": True, "position": "top_left", "font_size": 14, "box": True}
