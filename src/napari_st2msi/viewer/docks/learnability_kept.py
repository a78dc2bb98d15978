"""What the Learnability dock finds again when it is closed and opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from weakref import WeakKeyDictionary, WeakSet

from napari_st2msi.section import Section
from napari_st2msi.viewer.docks.learnability_work import Assessed
from napari_st2msi.viewer.state import ViewerState


@dataclass(eq=False)
class Kept:
    """What was chosen and found in one viewer, which outlives the dock.

    Attributes
    ----------
    ticked
        Ways of holding out, as `napari_st2msi.evaluation.learnability.learnability` takes them.
    left_out
        Paired sections that are not ticked.
    assessed
        By section, what was asked and found.
    running
        Whether something is being assessed; still so in a dock that is opened anew if closing the other stopped it.
    """

    ticked: tuple[str, ...] = ("random", "blocks")
    left_out: WeakSet[Section] = field(default_factory=WeakSet)
    assessed: WeakKeyDictionary[Section, Assessed] = field(default_factory=WeakKeyDictionary)
    running: bool = False


_KEPT: WeakKeyDictionary[ViewerState, Kept] = WeakKeyDictionary()


def kept(state: ViewerState) -> Kept:
    """Return what is kept of a viewer."""
    return _KEPT.setdefault(state, Kept())
