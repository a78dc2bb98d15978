"""Opening one dock from another."""

from __future__ import annotations

from typing import Any

PLUGIN = "napari-st2msi"


def open_dock(viewer: Any, name: str) -> Any:
    """Open a dock of this plugin, or bring it to the front, and return it.

    Parameters
    ----------
    name
        As the manifest calls it: ``Data``, ``Register``, ``Train``, ``Explore``, ``Learnability`` or ``Compare``.
    """
    outer, dock = viewer.window.add_plugin_dock_widget(PLUGIN, name, tabify=True)
    outer.show()
    outer.raise_()
    return dock
