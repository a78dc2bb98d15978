"""Opening one dock from another."""

from __future__ import annotations

from typing import Any

PLUGIN = "napari-st2msi"


def open_dock(viewer: Any, name: str) -> None:
    """Open a dock of this plugin, or bring it to the front.

    Parameters
    ----------
    name
        As the manifest calls it: ``Data``, ``Train`` or ``Explore``.
    """
    dock, _ = viewer.window.add_plugin_dock_widget(PLUGIN, name, tabify=True)
    dock.show()
    dock.raise_()
