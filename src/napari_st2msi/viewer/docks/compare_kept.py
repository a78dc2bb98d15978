"""What the Compare dock finds again when it is closed and opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakKeyDictionary, WeakSet

from napari_st2msi.benchmarking.config import OWN_FEATURES, Config
from napari_st2msi.section import Section
from napari_st2msi.viewer.docks.compare_choices import FIRST_MODELS
from napari_st2msi.viewer.docks.compare_work import Compared
from napari_st2msi.viewer.state import ViewerState


@dataclass(eq=False)
class Kept:
    """What was chosen and found in one viewer, which outlives the dock.

    Attributes
    ----------
    models, features, protocols
        What is ticked.
    left_out
        Paired sections that are not ticked.
    config
        That was loaded instead of the ticks, and its file.
    compared
        What was found last.
    """

    models: tuple[str, ...] = FIRST_MODELS
    features: tuple[str, ...] = (OWN_FEATURES,)
    protocols: tuple[str, ...] = ("random", "blocks")
    left_out: WeakSet[Section] = field(default_factory=WeakSet)
    config: tuple[Path, Config] | None = None
    compared: Compared | None = None


_KEPT: WeakKeyDictionary[ViewerState, Kept] = WeakKeyDictionary()


def kept(state: ViewerState) -> Kept:
    """Return what is kept of a viewer."""
    return _KEPT.setdefault(state, Kept())
