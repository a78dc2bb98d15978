"""What a pairing should be warned about, and why two sides do not meet, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.pairing.weights import BY_AREA, pixel_side
from napari_st2msi.recipe import Pairing
from napari_st2msi.shapes import Outlines

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

#: Share of spots without enough MSI from which on the user is warned.
_MANY = 0.1
#: Two sides of one tissue differ in extent by less than this factor, whatever part was measured.
_SAME_SIZE = 8.0


def warnings_for(
    spots: Outlines, pixels: Outlines, weights: csr_matrix, uncovered: NDArray[np.bool_], choices: Pairing
) -> tuple[str, ...]:
    """Return what the user should know about a pairing.

    Parameters
    ----------
    spots, pixels
        Outlines in one frame, µm.
    weights
        (spots, pixels) CSR.
    uncovered
        (spots,) those that count as not measured.
    choices
        What was asked for.
    """
    found = []
    side = pixel_side(pixels) if len(pixels) > 1 or pixels.diameter is not None else 0.0
    if spots.diameter is not None and side > spots.diameter:
        found.append(
            f"MSI pixels ({side:,.0f} µm) are larger than spots ({spots.diameter:,.0f} µm): neighbouring spots "
            "share pixels, so their ions are not independent."
        )
    share = float(uncovered.mean())
    if share > _MANY:
        lack, remedy = (
            (f"less than {choices.min_coverage:.0%} of their area under MSI pixels", "allow less coverage")
            if choices.method in BY_AREA
            else ("no MSI pixel in reach", "look farther for pixels")
        )
        found.append(
            f"{int(uncovered.sum()):,} of {len(uncovered):,} spots ({share:.0%}) have {lack} and count as not "
            f"measured. Check the registration, or {remedy}."
        )
        if (hint := units_hint(spots, pixels)) is not None:
            found.append(hint)
    feeds = np.bincount(weights.indices, minlength=weights.shape[1])
    used = int((feeds > 0).sum())
    several = int((feeds > 1).sum())
    if used and several > used / 2:
        found.append(
            f"{several:,} of {used:,} pixels ({several / used:.0%}) feed more than one spot: neighbouring spots look "
            "more alike than they are. Hold out whole blocks of tissue with a buffer when models are compared."
        )
    return tuple(found)


def why_apart(spots: Outlines, pixels: Outlines) -> str:
    """Return why no pixel lies over any spot: where both are, and what is likely wrong."""
    hint = units_hint(spots, pixels)
    return f"No MSI pixel lies over any spot: spots span {_span(spots)}, MSI pixels {_span(pixels)}. " + (
        hint or "Register the section with landmarks, or check the registration."
    )


def units_hint(spots: Outlines, pixels: Outlines) -> str | None:
    """Return what suggests that the two sides are in different units, None where nothing does."""
    size_st, size_msi = (float(np.linalg.norm(np.ptp(o.centres, axis=0))) for o in (spots, pixels))
    if min(len(spots), len(pixels)) < 10 or not size_st or not size_msi:
        return None
    ratio = size_st / size_msi
    if 1 / _SAME_SIZE < ratio < _SAME_SIZE:
        return None
    small, times = ("MSI", ratio) if ratio > 1 else ("ST", 1 / ratio)
    likely = "in millimetres" if 1000 / _SAME_SIZE < times < 1000 * _SAME_SIZE else "in other units"
    # Positions counted in pixels: neighbours are one apart.
    if abs(pixel_step(pixels if small == "MSI" else spots) - 1) < 0.05:
        likely = "counted in pixels"
    return (
        f"The {small} is about {times:,.0f} times smaller than the other side: its positions seem to be {likely}, "
        f"not in µm. Open it again and say how many µm one unit of its positions is."
    )


def pixel_step(outlines: Outlines) -> float:
    """Return the usual distance between neighbouring centres."""
    return pixel_side(Outlines(outlines.centres))


def _span(outlines: Outlines) -> str:
    low, high = outlines.centres.min(axis=0), outlines.centres.max(axis=0)
    return " and ".join(f"{axis} {a:,.0f} to {b:,.0f}" for axis, a, b in zip("xy", low, high, strict=True)) + " µm"
