"""Opening one dock from another."""

from __future__ import annotations

from typing import Any

PLUGIN = "napari-st2msi"


def open_dock(viewer: Any, name: str) -> Any:
    """Open a dock of this plugin, or bring it to the front, and return it.

    Parameters
    ----------
    name
        As the manifest calls it: ``Data``, ``Train`` or ``Explore``.
    """
    from npe2 import PluginManager

    manager = PluginManager.instance()
    manager.discover()
    manifest = manager.get_manifest(PLUGIN)
    # napari's menu names docks so, and finds them by that; its own function for plugins names them otherwise.
    title = f"{name} ({manifest.display_name})"
    window = viewer.window
    dock = window.dock_widgets.get(title)
    if dock is None:
        (widget,) = (each for each in manifest.contributions.widgets or () if each.display_name == name)
        dock = widget.get_callable()(viewer)
        window.add_dock_widget(dock, name=title, tabify=True)
    outer = dock.parent()
    outer.show()
    outer.raise_()
    return dock
