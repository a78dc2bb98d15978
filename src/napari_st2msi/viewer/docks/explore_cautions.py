"""What to know of a prediction before looking at it, said by the Explore dock once, and the spots that it is about."""

from __future__ import annotations

from typing import Any

from napari_st2msi.section import Section
from napari_st2msi.viewer.aside import see, wanted
from napari_st2msi.viewer.explore_source import Gathered
from napari_st2msi.viewer.layers import find
from napari_st2msi.viewer.overlays import show_novelty
from napari_st2msi.viewer.parts.dock import Dock


class Cautions:
    """Says in a dock's message what a prediction is to be taken with, and marks spots unlike those of training.

    Parameters
    ----------
    dock
        Whose viewer and messages to use.
    """

    def __init__(self, dock: Dock) -> None:
        self._dock = dock
        self._said: tuple[Section | None, tuple[str, ...]] = (None, ())

    def show(self, gathered: Gathered) -> None:
        """Say what is new; the same is not said twice of a section, so that it can be dismissed."""
        section = gathered.source.section
        show_novelty(self._dock.viewer, section, gathered.novelty)
        now = (section, gathered.cautions)
        if now == self._said:
            return
        self.forget()
        self._said = now
        if gathered.cautions:
            marked = find(self._dock.viewer, section, "novelty") is not None
            action = ("Show these spots", self._toggle) if marked else None
            self._dock.messages.show_warning(" ".join(gathered.cautions), action=action)

    def forget(self, *_: Any) -> None:
        """Take back what was said, because something else is looked at."""
        if self._said[1]:
            self._dock.messages.clear()
        self._said = (None, ())

    def _toggle(self) -> None:
        section = self._said[0]
        layer = None if section is None else find(self._dock.viewer, section, "novelty")
        if layer is not None:
            see(layer, not wanted(layer))
