"""The keys of the docks. They hold while a dock is open and give way to napari's."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from app_model.types import KeyBinding
from napari.layers import Layer

#: What the keys do, in the order of the list that ``?`` shows.
WORDS = (
    ("↑ ↓", "previous and next ion"),
    ("M  P  R", "show measured, predicted, residual"),
    ("Space", "held: blink measured against predicted"),
    ("A", "genes behind the ion, and back"),
    ("G", "side by side, or stacked"),
    ("F", "favourite"),
    ("?", "this list"),
)


class Keys:
    """Binds keys to a viewer while wanted, and puts back what was there.

    napari asks the active layer first, then the viewer. Keys are bound to the viewer, so those of
    other layers (painting labels, drawing shapes) go on working. Our own layers are pictures: where
    their kind has another use for a key (``P`` adds a point), `claim` makes ours win on that layer.

    Parameters
    ----------
    viewer
        The viewer.
    presses
        Key → what it does.
    hold
        Called with True when Space goes down and with False when it comes up; returns whether it
        had any use for it. None leaves Space to napari.
    """

    def __init__(
        self, viewer: Any, presses: dict[str, Callable[[], None]], hold: Callable[[bool], bool] | None = None
    ) -> None:
        self._viewer = viewer
        self._presses = presses
        self._hold = hold
        self._before: dict[KeyBinding, Any] | None = None

    @property
    def bound(self) -> bool:
        """Whether the keys hold."""
        return self._before is not None

    def bind(self) -> None:
        """Take the keys."""
        if self.bound:
            return
        self._before = dict(self._viewer.keymap)
        for key, press in self._presses.items():
            self._viewer.bind_key(key, _calling(press), overwrite=True)
        if self._hold is not None:
            self._viewer.bind_key("Space", self._space, overwrite=True)

    def release(self) -> None:
        """Give the keys back."""
        if self._before is None:
            return
        for key in [*self._presses, *(["Space"] if self._hold is not None else [])]:
            binding = KeyBinding.from_str(key)
            self._viewer.keymap.pop(binding, None)
            if binding in self._before:
                self._viewer.keymap[binding] = self._before[binding]
        self._before = None

    def claim(self, layer: Layer) -> None:
        """Let our keys win over the uses that a layer's kind has for them."""
        for key, press in self._presses.items():
            if KeyBinding.from_str(key) in type(layer).class_keymap:
                layer.bind_key(key, self._while_bound(press), overwrite=True)

    def _while_bound(self, press: Callable[[], None]) -> Callable[[Any], None]:
        def act(_layer: Any) -> None:
            if self.bound:
                press()

        return act

    def _space(self, viewer: Any) -> Generator[None, None, None]:
        layer = viewer.layers.selection.active
        pans_anyway = layer is None or str(layer.mode) == "pan_zoom"
        assert self._hold is not None
        if not (pans_anyway and self._hold(True)):
            # In the middle of drawing, Space is napari's: it moves the camera while held.
            napari_space = type(viewer).class_keymap.get(KeyBinding.from_str("Space"))
            if napari_space is not None:
                yield from napari_space(viewer)
            return
        yield
        self._hold(False)


def _calling(press: Callable[[], None]) -> Callable[[Any], None]:
    def act(_viewer: Any) -> None:
        press()

    return act
