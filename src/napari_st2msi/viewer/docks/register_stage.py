"""Both canvases of the Register dock with the landmarks on them: brought out together, and taken away again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from napari.layers import Points
from qtpy.QtCore import QTimer

from napari_st2msi.section import Section
from napari_st2msi.viewer import layers
from napari_st2msi.viewer.docks.register_canvas import LandmarkCanvas
from napari_st2msi.viewer.docks.register_context import RegisterContext
from napari_st2msi.viewer.docks.register_keys import RegisterKeys
from napari_st2msi.viewer.docks.register_layout import RegisterLayout
from napari_st2msi.viewer.docks.register_window import TwoCanvases


class Stage:
    """Shows landmarks on both canvases and keeps mouse and keys for them as long as they are shown.

    Parameters
    ----------
    dock
        Whose canvases and landmarks to show.
    commands
        What each key of `register_keys.KEYS` does.
    save
        Called when the user asks to save.

    Attributes
    ----------
    fixed, moving
        The landmarks in the ST and in the MSI.
    """

    def __init__(self, dock: RegisterLayout, commands: dict[str, Callable[[], None]], save: Callable[[], None]) -> None:
        self._context: RegisterContext = dock.context
        self._canvases: TwoCanvases = dock.canvases
        self.fixed = LandmarkCanvas(dock.viewer, "fixed", dock.editor)
        self.moving = LandmarkCanvas(dock.canvases.right, "moving", dock.editor)
        self._keys = RegisterKeys(dock, (dock.viewer, dock.canvases.right), commands, save)
        dock.viewer.layers.events.inserted.connect(self._on_layer)

    @property
    def shown(self) -> bool:
        """Whether both canvases are seen."""
        return self._canvases.shown

    def show(self, section: Section) -> None:
        """Show both canvases with the landmarks of a section, and take mouse and keys."""
        context, canvases = self._context, self._canvases
        canvases.show(section)
        known = layers.find(context.left, section, "landmarks_st")
        st, msi = canvases.widgets or (None, None)
        self.fixed.show(known, partial(layers.add, context.left, section, "landmarks_st"), st)
        right = context.right.layers
        self.moving.show(next((layer for layer in right if isinstance(layer, Points)), None), right.append, msi)
        context.shown = True
        canvases.measure()
        self.activate()
        for layer in (*layers.own_layers(context.left, section), self.moving.layer):
            self._keys.claim(layer)
        self._keys.bind(canvases.widgets)

    def hide(self) -> None:
        """Give mouse and keys back, and leave the window as it was."""
        self._keys.release()
        self._context.shown = False
        self.fixed.hide()
        self.moving.hide()
        self._canvases.hide(self._context.section)

    def add_landmarks(self, adding: bool) -> None:
        """Let clicks add landmarks, or no longer."""
        self.fixed.adding = self.moving.adding = adding
        if adding:
            self.activate()

    def centre_on(self, id: str) -> None:
        """Bring a landmark into view on both sides."""
        for canvas in (self.fixed, self.moving):
            canvas.centre_on(id)

    def activate(self) -> None:
        """Make the landmarks the active layers: the tools of another one would get the clicks and keys, too."""
        for canvas in (self.fixed, self.moving):
            canvas.activate()

    def _on_layer(self, event: Any) -> None:
        """Keep keys and clicks for the landmarks when another dock shows something meanwhile."""
        section = self._context.section
        if self.shown and section is not None and layers.role_of(event.value, section) is not None:
            self._keys.claim(event.value)
            # napari activates a new layer after it has told of it.
            QTimer.singleShot(0, self.activate)
