"""Layers that are out of the way for a while: for which reasons, and whether they are seen again afterwards.

Another section is looked at, landmarks are being placed, pictures stand side by side: each may want the same
layer out of the way, and each ends on its own. A layer comes back when the last of them has ended, as it was
left or as somebody wanted it meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from napari.layers import Layer

Why = Literal["another section", "registering", "side by side"]
_KEY = "napari_st2msi_aside"


@dataclass
class _Aside:
    """Why a layer is out of the way, and whether it is to be seen afterwards."""

    visible: bool
    why: set[Why] = field(default_factory=set)


def put_aside(layer: Layer, why: Why) -> None:
    """Hide a layer for a reason; shown by hand meanwhile, it is hidden again, and seen afterwards."""
    aside = layer.metadata.setdefault(_KEY, _Aside(layer.visible))
    aside.why.add(why)
    if layer.visible:
        aside.visible = True
        layer.visible = False


def bring_back(layer: Layer, why: Why) -> None:
    """Take back one reason; without any left the layer is seen if it was, if it should be, or if it is by hand."""
    aside = layer.metadata.get(_KEY)
    if aside is None or why not in aside.why:
        return
    aside.why.discard(why)
    if not aside.why:
        del layer.metadata[_KEY]
        see(layer, aside.visible or layer.visible)


def see(layer: Layer, visible: bool) -> None:
    """Show or hide a layer now, or as soon as it is no longer out of the way."""
    aside = layer.metadata.get(_KEY)
    if aside is not None:
        aside.visible = visible
    elif layer.visible != visible:  # napari would draw everything anew even where that changes nothing
        layer.visible = visible


def wanted(layer: Layer) -> bool:
    """Tell whether a layer is seen, or would be if it were not out of the way."""
    aside = layer.metadata.get(_KEY)
    return layer.visible if aside is None else aside.visible
