"""Whether a registration that was found from images may be believed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.registration.masks import Mask, dice
from napari_st2msi.registration.registration import Trust
from napari_st2msi.registration.sides import FixedSide, MovingSide
from napari_st2msi.registration.transforms import Transform
from napari_st2msi.section import Section

#: The best pose must agree so many times as well as the best one that is different.
_MARGIN = 1.2
#: Halves of the channels that are farther apart than this, in lengths of the tissue, found different poses.
_APART = 0.08
#: Share of the smaller tissue that must lie over the other one.
_OVERLAP = 0.25
#: The error of the whole, as a part of its distance to a half: measured on simulated sections.
_ERROR = 1.1


@dataclass(frozen=True, eq=False)
class Evidence:
    """What speaks for or against a placement.

    Attributes
    ----------
    margin
        How many times as well the best pose agrees as the best different one; NaN if none was tried.
    held_out
        Nats a place of the affine on tissue that it was not fitted to; NaN if unknown.
    gain
        What free-form adds to it; NaN if unknown.
    halves
        For each half of genes and ions (of ions, where there is no ST), (n,) µm between its placement and that of
        the whole.
    folds
        Whether the free-form folded, and the affine stands for it.
    before_um, after_um
        (landmarks,) errors at landmarks left out, before and after refinement; None without landmarks.
    stopped
        Whether the user stopped it.
    """

    margin: float = float("nan")
    held_out: float = float("nan")
    gain: float = float("nan")
    halves: tuple[NDArray[np.float64], ...] = ()
    folds: bool = False
    before_um: NDArray[np.float64] | None = None
    after_um: NDArray[np.float64] | None = None
    stopped: bool = False

    def with_landmarks(self, before: NDArray[np.float64], after: NDArray[np.float64]) -> Evidence:
        """Return the same with errors at landmarks left out."""
        return replace(self, before_um=before, after_um=after)


def judge(
    section: Section,
    fixed: FixedSide,
    moving: MovingSide,
    transform: Transform,
    evidence: Evidence,
    curve: tuple[float, ...],
) -> Trust:
    """Return whether to believe a transform, with every reason in words and every number.

    Among the measures, `expected_error_um` is what the median error over the tissue is likely to be: from
    how far two halves of the genes and ions, each searched on its own, lie from the whole. Where there is no
    ST, the ions alone are halved.
    """
    channels = "genes and ions" if section.has_st else "ions"
    tissue = moving.centres(moving.tissue)
    there = transform.forward(tissue)
    on = fixed.mask.at(there)
    st = len(fixed.mask.centres) * float(abs(np.linalg.det(fixed.mask.to_um[:2, :2])))
    msi = len(tissue) * moving.pitch_um**2
    area = abs(np.linalg.det(transform.nearest_affine(tissue)[:2, :2]))
    overlap = float(on.sum() * moving.pitch_um**2 * area / max(min(st, msi * area), 1e-9))
    determinant = np.linalg.det(transform.jacobian(tissue))
    pixel = moving.pitch_um * float(np.sqrt(area))
    apart = [float(np.median(each)) for each in evidence.halves]
    measures = {
        "dice": dice(section, transform, fixed.mask, Mask(moving.tissue, moving.to_um)),
        "overlap": overlap,
        "margin": evidence.margin,
        "held_out_nats": evidence.held_out,
        "free_form_gain_nats": evidence.gain,
        "expected_error_um": _ERROR * float(np.mean(apart)) if apart else float("nan"),
        "pixel_um": pixel,
        "smallest_jacobian": float((determinant * np.sign(np.median(determinant))).min()),
    }
    against = []
    if evidence.stopped:
        against.append("It was stopped before the end: this is the best that was found until then.")
    if apart and max(apart) > _APART * fixed.size_um:
        against.append(
            f"Half of the {channels}, searched alone, lies elsewhere: the pose may be wrong altogether. Compare the "
            "overlay with the outlines, or begin with three landmarks."
        )
    elif apart and measures["expected_error_um"] > max(pixel, 0.5 * fixed.pitch_um):
        against.append(
            f"Halves of the {channels} differ so much that an error of about {measures['expected_error_um']:,.0f} "
            f"µm is to be expected, more than an MSI pixel ({pixel:,.0f} µm). Add landmarks, or refine as an affine."
        )
    if np.isfinite(evidence.margin) and evidence.margin < _MARGIN:
        against.append(
            "Another way to lay the MSI, turned, mirrored or shifted, agrees nearly as well. Compare the overlay with "
            "what you know of the tissue, or begin with three landmarks."
        )
    if np.isfinite(evidence.held_out) and evidence.held_out <= 0:
        against.append(
            "On tissue that it was not fitted to, both sides tell nothing about each other. Register with landmarks."
        )
    if overlap < _OVERLAP:
        against.append(
            f"Only {overlap:.0%} of the tissue lies over tissue of the other side. Check the sizes in µm, or register "
            "with landmarks."
        )
    if measures["smallest_jacobian"] <= 0:
        against.append("The transform folds somewhere in the tissue. Refine as an affine.")
    against += _landmarks(evidence, measures)
    if against:
        return Trust(False, tuple(against), measures, curve)
    return Trust(True, _favour(evidence, measures, channels), measures, curve)


def _landmarks(evidence: Evidence, measures: dict[str, float]) -> list[str]:
    """Add what landmarks left out say to `measures`; return what speaks against it."""
    if evidence.before_um is None or evidence.after_um is None:
        return []
    known = np.isfinite(evidence.before_um) & np.isfinite(evidence.after_um)
    if not known.any():
        return []
    before, after = (float(np.median(errors[known])) for errors in (evidence.before_um, evidence.after_um))
    measures["left_out_before_um"], measures["left_out_after_um"] = before, after
    if after <= before:
        return []
    return [
        f"Landmarks left out are missed by {after:,.0f} µm after refinement and by {before:,.0f} µm before it "
        "(medians): it did not help there. Keep the landmarks' own transform, or check the landmarks."
    ]


def _favour(evidence: Evidence, measures: dict[str, float], channels: str) -> tuple[str, ...]:
    words = []
    error = measures["expected_error_um"]
    if np.isfinite(error):
        words.append(
            f"Halves of the {channels}, searched on their own, agree: an error of about {error:,.0f} µm is to be "
            f"expected, {error / measures['pixel_um']:.0%} of an MSI pixel."
        )
    if np.isfinite(evidence.margin):
        words.append(f"It agrees {evidence.margin:.1f} times as well as any other way to lay the MSI.")
    if "left_out_after_um" in measures:
        words.append(
            f"Landmarks left out are missed by {measures['left_out_after_um']:,.0f} µm after refinement and by "
            f"{measures['left_out_before_um']:,.0f} µm before it (medians)."
        )
    if evidence.folds:
        words.append("A free-form would fold, so an affine was kept.")
    elif np.isfinite(evidence.gain):
        words.append(
            "A free-form holds better than an affine on tissue left out."
            if evidence.gain > 0
            else "A free-form is no better than an affine on tissue left out, so the affine was kept."
        )
    else:
        words.append("Only an affine was looked for: where the tissue bends, that comes on top of the error.")
    return tuple(words)
