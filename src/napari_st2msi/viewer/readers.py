"""What napari calls when a section is opened by its menu, or dropped on the canvas."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_st2msi.viewer.samples import SUFFIX, sample_name

Reader = Callable[[str], list[tuple[Any, ...]]]
#: What a reader returns to say that it opened the file but has no layers to hand over.
NOTHING: list[tuple[Any, ...]] = [(None,)]


def get_reader(path: str | list[str]) -> Reader | None:
    """Return what opens a section, None for what is not one or for several files at once."""
    if isinstance(path, list):
        if len(path) != 1:
            return None
        path = path[0]
    kind = Path(path).suffix.lower()
    if kind == SUFFIX:
        return read_sample if sample_name(path) is not None else None
    if kind == ".imzml" or (kind == ".zarr" and is_spatialdata(Path(path))):
        return read_section
    return None


def read_section(path: str) -> list[tuple[Any, ...]]:
    """Open a section through the Data dock of the current viewer.

    The dock reads in the background, shows progress and errors, and adds the layers. Without a window
    the section is read here and its layers are returned.

    Raises
    ------
    St2msiError
        There is no window to show it in, and the section cannot be read.
    """
    viewer = _viewer()
    if viewer is None:
        from napari_st2msi.pipeline import open_section

        return _layer_data(open_section(path))
    from napari_st2msi.viewer.parts.open_dock import open_dock

    open_dock(viewer, "Data").open_paths([Path(path)])
    return NOTHING


def read_sample(path: str) -> list[tuple[Any, ...]]:
    """Simulate a sample through the Data dock of the current viewer; without a window, right here."""
    name = sample_name(path)
    assert name is not None
    viewer = _viewer()
    if viewer is None:
        from napari_st2msi.io.sample import SAMPLES
        from napari_st2msi.pipeline import simulate

        return [data for section in simulate(choices=SAMPLES[name]).sections for data in _layer_data(section)]
    from napari_st2msi.viewer.parts.open_dock import open_dock

    open_dock(viewer, "Data").open_sample(name)
    return NOTHING


def is_spatialdata(path: Path) -> bool:
    """Tell from its attributes, without opening it, whether a zarr is a SpatialData."""
    for file, inside in (("zarr.json", "attributes"), (".zattrs", None)):
        try:
            facts = json.loads((path / file).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        attributes = facts if inside is None or not isinstance(facts, dict) else facts.get(inside)
        if isinstance(attributes, dict) and "spatialdata_attrs" in attributes:
            return True
    return False


def _viewer() -> Any:
    """Return the current viewer if it has a window that is still open."""
    from napari import current_viewer

    viewer = current_viewer()
    return viewer if viewer is not None and getattr(viewer, "window", None) is not None else None


def _layer_data(section: Any) -> list[tuple[Any, ...]]:
    from napari.components import ViewerModel

    from napari_st2msi.viewer.layers import show_section

    viewer = ViewerModel()
    show_section(viewer, section)
    return [layer.as_layer_data_tuple() for layer in viewer.layers]
