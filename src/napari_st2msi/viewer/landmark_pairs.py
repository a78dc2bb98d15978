"""Landmarks while they are being placed: a point on either side, or on one of them only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import St2msiError

if TYPE_CHECKING:
    from napari_st2msi.registration.transforms import Transform

Side = Literal["moving", "fixed"]
Point = tuple[float, float]
OTHER: dict[Side, Side] = {"moving": "fixed", "fixed": "moving"}
#: Told apart by people of any colour vision as far as ten can be, and seen on stained tissue and on black.
COLOURS = (
    "#ffd92f",
    "#35c6e8",
    "#f0642e",
    "#7bd148",
    "#e86fc3",
    "#3f7fff",
    "#ffffff",
    "#b48cff",
    "#c8a15a",
    "#00c79a",
)
#: What the sides are called.
SIDES: dict[Side, str] = {"moving": "MSI", "fixed": "ST"}


@dataclass(frozen=True)
class Pair:
    """One landmark.

    Attributes
    ----------
    id
        Its name; it stays whatever happens to the others.
    colour
        ``#rrggbb``, the same on both sides and in the table.
    moving, fixed
        x and y in µm on the MSI side and on the ST side; None where it was not placed.
    enabled
        Whether the fit uses it.
    predicted
        The side on which the point is where the last fit expects it, and not where somebody put it.
    """

    id: str
    colour: str
    moving: Point | None = None
    fixed: Point | None = None
    enabled: bool = True
    predicted: Side | None = None

    def at(self, side: Side) -> Point | None:
        """Return where the landmark is on one side, predicted or placed."""
        return self.moving if side == "moving" else self.fixed

    def placed(self, side: Side) -> bool:
        """Tell whether somebody put it there."""
        return self.at(side) is not None and self.predicted != side

    @property
    def complete(self) -> bool:
        """Whether it was placed on both sides."""
        return self.placed("moving") and self.placed("fixed")


def placed_at(pair: Pair, side: Side, xy: Point | NDArray[np.float64]) -> Pair:
    """Return a landmark with its point on one side put somewhere."""
    here = known(xy)
    return replace(pair, moving=here) if side == "moving" else replace(pair, fixed=here)


def with_prediction(pair: Pair, transform: Transform | None) -> Pair:
    """Return a landmark with its missing point where a transform expects it; as it is where that cannot be told."""
    if transform is None or pair.complete:
        return pair
    missing: Side = "moving" if pair.moving is None else "fixed"
    counterpart = pair.at(OTHER[missing])
    if counterpart is None:
        return pair
    here = np.array([counterpart])
    try:
        there = transform.inverse(here) if missing == "moving" else transform.forward(here)
    except St2msiError:
        return pair
    if not np.isfinite(there).all():
        return pair
    return replace(placed_at(pair, missing, there[0]), predicted=missing)


def known(xy: Any) -> Point:
    """Return x and y as plain numbers."""
    x, y = xy
    return float(x), float(y)


def point_or_none(xy: Any) -> Point | None:
    """Return x and y as plain numbers, None for a point that is not there."""
    return None if xy is None else known(xy)
