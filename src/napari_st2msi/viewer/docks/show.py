"""Docks by name: the docks lead to each other, and files dropped on the canvas lead to the Data dock."""

from __future__ import annotations

from typing import Any, Literal

from napari_st2msi.viewer.state import bare

PLUGIN = "napari-st2msi"
DockName = Literal["Data", "Train", "Explore"]


def show_dock(viewer: Any, name: DockName) -> Any:
    """Open a dock, or bring it to the front, and return it."""
    outer, dock = bare(viewer).window.add_plugin_dock_widget(PLUGIN, name, tabify=True)
    outer.show()
    outer.raise_()
    return dock
