"""What a file of landmarks says, in its own units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

#: In what a file counts: ``um``; ``pixels``, whose centres lie at integers, of the MSI grid or of the full
#: histology; ``mm``; ``magpie``, positions in steps of an MSI pixel or pixels of Visium's hires image; or
#: ``unsaid``, where the file does not tell µm, mm and pixels apart.
Unit = Literal["um", "mm", "pixels", "magpie", "unsaid"]


@dataclass(frozen=True, eq=False)
class Found:
    """Pairs of points as they stand in a file.

    Attributes
    ----------
    moving, fixed
        (n, 2) float64, MSI and ST.
    ids
        (n,) names; counted from 1 when empty.
    enabled
        (n,) bool; all where None.
    units
        In what the MSI side and the ST side are counted.
    notes
        What had to be assumed, in words.
    """

    moving: NDArray[np.float64]
    fixed: NDArray[np.float64]
    ids: tuple[str, ...] = ()
    enabled: NDArray[np.bool_] | None = None
    units: tuple[Unit, Unit] = ("um", "um")
    notes: tuple[str, ...] = field(default=())


def unique(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return names of which each is there once, and what was done about it, in words.

    People call two landmarks "vessel", or none anything: the first keeps its name, others get a number.
    """
    found: dict[str, None] = {}
    for number, name in enumerate(names, 1):
        own, again = name or str(number), 1
        while own in found or (own != name and own in names):
            again += 1
            own = f"{name or number} ({again})"
        found[own] = None
    twice = sorted({name for name in names if name and names.count(name) > 1})
    notes = (f"Several landmarks are called {', '.join(twice[:5])}: they were numbered.",) if twice else ()
    return tuple(found), notes
