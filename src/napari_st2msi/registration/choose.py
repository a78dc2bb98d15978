"""Try every transform on the landmarks, and choose the one that predicts best where it was not told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import GeometryProblem
from napari_st2msi.registration.advice import folded
from napari_st2msi.registration.registration import Candidate, root_mean_square, summary
from napari_st2msi.registration.transforms import (
    Affine,
    Projective,
    Rigid,
    Similarity,
    ThinPlateSpline,
    Transform,
)

Fitter = Callable[[NDArray[np.floating], NDArray[np.floating]], Transform]

#: Errors that differ by less than this, µm, are the same: the stiffer transform is preferred.
_SAME_UM = 0.1
#: By so much less a spline's errors count; see `try_all`.
_BETWEEN = 0.05


@dataclass(frozen=True, eq=False)
class Tried:
    """A transform and what came of fitting it.

    Attributes
    ----------
    kind, label
        Its name in the code, and in words.
    fitter
        Fits it to pairs of points.
    transform
        Fitted to all pairs; None where that failed.
    rms_um
        Root mean square of its residuals.
    left_out_um
        (n,) how far it misses each pair when fitted to the others; NaN where the others are too few.
    chosen
        Whether it is the one to use.
    why_not
        Why it is not, in words.
    automatic
        Whether it can be chosen automatically.
    folds
        Whether it lays the tissue over itself somewhere; asked where it could be chosen automatically.
    """

    kind: str
    label: str
    fitter: Fitter
    transform: Transform | None
    rms_um: float
    left_out_um: NDArray[np.float64]
    automatic: bool = True
    folds: bool = False
    chosen: bool = False
    why_not: str = ""

    @property
    def score_um(self) -> float:
        """Mean leave-one-out error; NaN unless it is known for every pair."""
        return float(self.left_out_um.mean()) if len(self.left_out_um) else float("nan")

    @property
    def candidate(self) -> Candidate:
        """The line of the table."""
        known = summary(self.left_out_um)
        return Candidate(self.kind, self.label, self.rms_um, known, self.score_um, self.chosen, self.why_not)

    def influence(
        self, moving: NDArray[np.floating], fixed: NDArray[np.floating], where: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """Return (n,): how far the map moves, at most at (m, 2) points, when each pair is left out; NaN if unknown."""
        moved = np.full(len(moving), np.nan)
        if self.transform is None:
            return moved
        whole = self.transform.forward(where)
        for one, others in _leaving_out(len(moving)):
            try:
                without = self.fitter(moving[others], fixed[others])
            except GeometryProblem:
                continue
            far = np.linalg.norm(without.forward(where) - whole, axis=1)
            moved[one] = np.nanmax(far) if np.isfinite(far).any() else np.nan
        return moved


def candidates(reflection: bool | None, smoothing: float | None) -> list[Tried]:
    """Return what is tried, from the stiffest to the most pliable, not fitted yet."""
    exact = smoothing == 0
    rubber: list[tuple[str, float | None, bool]] = [("thin-plate spline, exact", 0.0, exact)]
    if not exact:
        label = "smoothed" if smoothing is None else f"smoothing {smoothing:g} mm²"
        rubber.insert(0, (f"thin-plate spline, {label}", smoothing, True))
    unfitted = partial(Tried, transform=None, rms_um=float("nan"), left_out_um=np.zeros(0))
    stiff = [
        unfitted(kind.kind, kind.label, partial(kind.fit, reflection=reflection), automatic=kind is not Projective)
        for kind in (Rigid, Similarity, Affine, Projective)
    ]
    return stiff + [
        unfitted(
            ThinPlateSpline.kind,
            label,
            partial(ThinPlateSpline.fit, reflection=reflection, smoothing=value),
            automatic=automatic,
        )
        for label, value, automatic in rubber
    ]


def try_all(
    moving: NDArray[np.floating],
    fixed: NDArray[np.floating],
    wanted: str = "auto",
    *,
    reflection: bool | None = None,
    smoothing: float | None = None,
    suspected: bool = False,
    where: NDArray[np.floating] | None = None,
) -> list[Tried]:
    """Fit every transform to pairs of points, and mark the one to use.

    The automatic choice is the one with the smallest mean leave-one-out error among rigid, similarity,
    affine and the smoothed spline. The errors of the spline count 5 % less: most landmarks lie at the
    border of all others, where a spline that was not told of them is at its worst, and most of the
    tissue lies between. Where a landmark is suspected they do not, because a spline bends towards it.

    The exact spline and the projective transform are in the table only. The former repeats every error
    of a click, and the smoothed one comes near it where there are none; no section was ever seen by a
    tilted camera. Leaving them out makes the choice steadier (benchmarks/landmarks.py).

    Parameters
    ----------
    moving, fixed
        (n, 2) float64, µm.
    wanted
        ``auto``, or the kind of the one to use.
    suspected
        Whether one of the pairs is unlikely to be a good click.
    where
        (m, 2) µm of the moving side where there is tissue, the points themselves if None: what folds there
        is not chosen automatically.
    """
    where = moving if where is None else where
    tried = [_try(one, moving, fixed, where) for one in candidates(reflection, smoothing)]
    kinds = [one.kind for one in tried]
    best = _best(tried, suspected) if wanted == "auto" else kinds.index(wanted)
    return [
        replace(one, chosen=True) if i == best else _why_not(one, tried[best], wanted) for i, one in enumerate(tried)
    ]


def table(tried: list[Tried]) -> tuple[Candidate, ...]:
    """Return the table of all that were tried."""
    return tuple(one.candidate for one in tried)


def _try(one: Tried, moving: NDArray[np.floating], fixed: NDArray[np.floating], where: NDArray[np.floating]) -> Tried:
    missed = np.full(len(moving), np.nan)
    try:
        whole = one.fitter(moving, fixed)
    except GeometryProblem as problem:
        return replace(one, left_out_um=missed, why_not=str(problem))
    for i, others in _leaving_out(len(moving)):
        try:
            without = one.fitter(moving[others], fixed[others])
        except GeometryProblem:
            continue
        missed[i] = np.linalg.norm(without.forward(moving[[i]]) - fixed[i])
    rms = root_mean_square(np.linalg.norm(whole.forward(moving) - fixed, axis=1))
    folds = one.automatic and whole.matrix is None and folded(whole, where) > 0
    return replace(one, transform=whole, rms_um=rms, left_out_um=missed, folds=folds)


def _best(tried: list[Tried], suspected: bool) -> int:
    less = 1.0 if suspected else 1 - _BETWEEN
    scores = np.array([one.score_um if one.automatic and not one.folds else np.nan for one in tried])
    scores *= [less if one.kind == ThinPlateSpline.kind else 1.0 for one in tried]
    if np.isfinite(scores).any():
        return int(np.flatnonzero(scores <= np.nanmin(scores) + _SAME_UM)[0])
    # Too few to leave one out: the similarity asks least of them, and tissue is cut to scale.
    kinds = [one.kind for one in tried]
    return kinds.index(Similarity.kind)


def _why_not(one: Tried, best: Tried, wanted: str) -> Tried:
    if one.why_not:
        return one
    if wanted != "auto":
        return replace(one, why_not="another was asked for")
    if not np.isfinite(one.score_um):
        return replace(one, why_not="too few landmarks to leave one out")
    if one.folds:
        return replace(one, why_not="it lays the tissue over itself")
    more = one.score_um - best.score_um
    if more > _SAME_UM:
        return replace(one, why_not=f"misses landmarks left out by {more:,.1f} µm more")
    if not one.automatic:
        reason = "it repeats every error of a click" if one.kind == ThinPlateSpline.kind else "no camera was tilted"
        return replace(one, why_not=f"only by hand: {reason}")
    if best.kind == ThinPlateSpline.kind:
        return replace(one, why_not="no better at landmarks left out, and worse between them")
    return replace(one, why_not="no better, and more pliable")


def _leaving_out(n: int) -> list[tuple[int, NDArray[np.intp]]]:
    return [(one, np.delete(np.arange(n), one)) for one in range(n)]
