"""Registration without landmarks, or refined from them: proposed, never applied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import GeometryProblem
from napari_st2msi.features.threads import threads_for
from napari_st2msi.progress import Cancelled, Progress, check, never
from napari_st2msi.registration.advice import folded
from napari_st2msi.registration.fit import fit
from napari_st2msi.registration.intensity import AFFINE, COARSE, FREE_FORM, Refined, held_out_gain, refine
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.registration.placement import Placement
from napari_st2msi.registration.poses import SCALES, Pose, distinct, find_poses
from napari_st2msi.registration.registration import Registration
from napari_st2msi.registration.sides import (
    FixedSide,
    MovingSide,
    check_halves,
    check_sizes,
    fixed_side,
    half,
    moving_side,
)
from napari_st2msi.registration.transforms import POINT_TRANSFORMS, Transform
from napari_st2msi.registration.trust import Evidence, judge
from napari_st2msi.section import Section

Refine = Literal["free_form", "affine"]
#: Poses that are refined, and how far apart two must be to be different, in lengths of the tissue.
_POSES, APART = 8, 0.08
#: Landmarks are dealt out to at most so many parts that are left out in turn.
_PARTS = 4


@dataclass
class _Search:
    """What is known so far; kept when the user stops."""

    best: Placement | None = None
    curve: list[float] = field(default_factory=list)
    margin: float = float("nan")
    scale: float = 1.0


def propose(
    section: Section,
    landmarks: Landmarks | None = None,
    *,
    start: Registration | Transform | None = None,
    refine: Refine = "free_form",
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
    step: Callable[[float], None] | None = None,
) -> Registration:
    """Find how MSI lies over ST from what was measured, and say how far that can be trusted.

    Without a start, every reflection and rotation is tried. Then the placement is refined from coarse
    to fine, as an affine and as a free-form, by the mutual information between components of genes
    (and the stain) and of ions: without ST, between the stain and ions. Of both the simpler is
    kept unless the other holds better on tissue that it was not fitted to. Nothing is applied.

    Parameters
    ----------
    section
        A section with MSI, and with ST or histology.
    landmarks
        Where to begin, unless `start` says. They are also left out in turn to measure whether
        refinement helped.
    start
        Where to begin.
    refine
        ``affine`` stays with an affine.
    progress, cancelled
        When the user stops, the best so far is returned, flagged; `Cancelled` is raised if there is none.
    step
        Called with the agreement (nats a place; higher is better) at each iteration.

    Raises
    ------
    DataProblem
        There is no MSI, nothing to lay it over, too little tissue, or no contrast; values are NaN.
    GeometryProblem
        Both sides cannot be the same tissue in the same unit, or landmarks are too few to begin with.
    Cancelled
        The user stopped before anything was found.
    """
    search = _Search()

    def after(value: float) -> None:
        search.curve.append(value)
        if step is not None:
            step(value)

    # The matrices are small: threads would wait for each other.
    with threads_for(0):
        progress(0.0, "looking at both sides")
        check_halves(section)
        fixed = fixed_side(section, cancelled=cancelled)
        check(cancelled)
        moving = moving_side(section, on_glass=fixed.on_glass, cancelled=cancelled)
        check_sizes(fixed, moving)
        check(cancelled)
        given = start.transform if isinstance(start, Registration) else start
        if given is None and landmarks is not None and landmarks.enabled.sum() > 0:
            given = fit(landmarks).transform
        fitted = given.kind if given is not None and given.kind in POINT_TRANSFORMS else "auto"
        job = _Job(section, fixed, moving, refine, fitted, cancelled, after)
        try:
            evidence = job.run(search, given, landmarks, progress)
        except Cancelled:
            if search.best is None:
                raise
            evidence = Evidence(margin=search.margin, stopped=True)
        assert search.best is not None
        return _registration(section, job, search, evidence, landmarks, "automatic" if given is None else "refined")


@dataclass(frozen=True, eq=False)
class _Job:
    section: Section
    fixed: FixedSide
    moving: MovingSide
    kind: Refine
    fitted: str
    cancelled: Callable[[], bool]
    step: Callable[[float], None]

    def run(
        self, search: _Search, given: Transform | None, landmarks: Landmarks | None, progress: Progress
    ) -> Evidence:
        """Search, refine and gather evidence; `search.best` is the best so far at any moment."""
        fixed, moving = self.fixed, self.moving
        if given is None:
            self.search(search, progress.part(0.1, 0.45))
        else:
            search.best = Placement.of_transform(given, fixed.xy, fixed.size_um / 4)
        assert search.best is not None
        begin = search.best
        start = Placement(begin.linear, begin.shift) if begin.grid is None else begin
        straight = refine(
            fixed, moving, start.on(None, fixed.xy), AFFINE[1:],
            progress=progress.part(0.45, 0.5), cancelled=self.cancelled, step=self.step,
        ).placement  # fmt: skip
        search.best = straight
        check(self.cancelled)
        gain = held = float("nan")
        folds = False
        if self.kind == "free_form":
            bent = self.bend(begin, progress.part(0.5, 0.6), self.step)
            search.best = bent.placement
            check(self.cancelled)
            progress(0.6, "holding out blocks of tissue")
            held, gain = held_out_gain(fixed, moving, straight, cancelled=self.cancelled)
            folds = self.folds(bent.placement)
            if folds or not gain > 0:
                search.best = straight
        best = search.best
        apart = []
        for odd in (0, 1):
            progress(0.7 + 0.12 * odd, "searching with halves of the data")
            apart.append(self.of_half(odd, best, search.scale, found=given is None))
            check(self.cancelled)
        evidence = Evidence(margin=search.margin, held_out=held, gain=gain, halves=tuple(apart), folds=folds)
        if landmarks is not None:
            evidence = self.leave_out(landmarks, evidence, progress.part(0.92, 1.0))
        progress(1.0, "done")
        return evidence

    def search(self, search: _Search, progress: Progress) -> None:
        """Try every pose, refine the best ones, and keep the best of these."""
        poses = find_poses(self.fixed, self.moving, progress=progress.part(0, 0.8), cancelled=self.cancelled)
        chosen = self.candidates(poses)
        search.best = Placement.of_matrix(chosen[0].matrix)
        found: list[Refined] = []
        totals: list[float] = []
        for number, pose in enumerate(chosen):
            found.append(refine(self.fixed, self.moving, Placement.of_matrix(pose.matrix), COARSE))
            totals.append(found[-1].total + self.outlines(found[-1].placement))
            best = int(np.argmax(totals))
            search.best, search.scale = found[best].placement, chosen[best].scale
            self.step(found[best].information)
            check(self.cancelled)
            progress(0.8 + 0.2 * (number + 1) / len(chosen), "refining the best poses")
        assert search.best is not None
        others = [total for each, total in zip(found, totals, strict=True) if self.differ(search.best, each.placement)]
        search.margin = max(totals) / max(max(others), 1e-9) if others else float("nan")

    def candidates(self, poses: list[Pose]) -> list[Pose]:
        """Return the poses to refine: the best that differ at all, then the best that differ much."""
        size = self.fixed.size_um
        near, far = (distinct(poses, self.tissue, apart * size, _POSES) for apart in (APART, 3 * APART))
        return near + [pose for pose in far if pose not in near][: _POSES // 2]

    def bend(self, begin: Placement, progress: Progress, step: Callable[[float], None] | None) -> Refined:
        """Refine to a free-form, from the levels that its start still needs."""
        levels = FREE_FORM[1:] if begin.grid is None else FREE_FORM[2:]
        return refine(self.fixed, self.moving, begin, levels, progress=progress, cancelled=self.cancelled, step=step)

    def of_half(self, odd: int, best: Placement, scale: float, *, found: bool) -> NDArray[np.float64]:
        """Return (n,) µm between the placement and that from half of what was measured.

        Where the pose was found and not given, the half finds it anew.
        """
        fixed, moving = half(self.section, self.fixed, self.moving, odd, self.cancelled)
        check(self.cancelled)
        start = best.on(None, fixed.xy)
        if found:
            near = tuple(value for value in SCALES if 0.85 < value / scale < 1.18)
            poses = find_poses(fixed, moving, turns=24, scales=near, cancelled=self.cancelled)
            tried = []
            for pose in self.candidates(poses)[:_POSES]:
                tried.append(refine(fixed, moving, Placement.of_matrix(pose.matrix), COARSE))
                check(self.cancelled)
            start = max(tried, key=lambda each: each.total + self.outlines(each.placement)).placement
        # Free to bend even where the whole was kept straight, so that its bias shows.
        levels = AFFINE if self.kind == "affine" else FREE_FORM
        half_way = refine(fixed, moving, start, levels[1:], cancelled=self.cancelled)
        return best.difference_um(half_way.placement, self.overlap(best))

    def leave_out(self, landmarks: Landmarks, evidence: Evidence, progress: Progress) -> Evidence:
        """Measure, at landmarks that the start did not know, whether refinement helped."""
        used = np.flatnonzero(landmarks.enabled)
        before, after = np.full(len(landmarks), np.nan), np.full(len(landmarks), np.nan)
        parts = min(_PARTS, len(used))
        for number in range(parts):
            check(self.cancelled)
            progress(number / parts, "leaving out landmarks")
            out = used[number::parts]
            try:
                start = fit(landmarks.without(*(landmarks.ids[i] for i in out)), self.fitted).transform
            except GeometryProblem:
                continue
            begin = Placement.of_transform(start, self.fixed.xy, self.fixed.size_um / 4)
            levels = AFFINE[1:] if self.kind == "affine" else FREE_FORM[1:] if begin.grid is None else FREE_FORM[2:]
            ended = refine(self.fixed, self.moving, begin, levels, cancelled=self.cancelled).placement
            check(self.cancelled)
            refined = ended.transform(self.fixed.xy)
            for transform, errors in ((start, before), (refined, after)):
                errors[out] = np.hypot(*(transform.forward(landmarks.moving[out]) - landmarks.fixed[out]).T)
        return evidence.with_landmarks(before, after)

    def outlines(self, placement: Placement) -> float:
        """Return how well the outlines of the tissue agree, in nats over what MSI measured."""
        transform = placement.transform(self.fixed.xy)
        measured = self.moving.centres(self.moving.measured)
        st, msi = self.fixed.mask.at(transform.forward(measured)), self.moving.tissue[self.moving.measured]
        if not (st.any() and msi.any()) or st.all() or msi.all():
            return 0.0
        phi = float(np.corrcoef(st, msi)[0, 1])
        places = len(measured) * (self.moving.pitch_um / self.fixed.pitch_um) ** 2
        return -0.5 * places * float(np.log(1 - np.clip(phi, 0, 0.99) ** 2))

    def overlap(self, placement: Placement) -> NDArray[np.float64]:
        """Return (m, 2) places of the ST that lie on measured tissue, all where there are none."""
        channels = self.moving.channels(1, 0.0, on_glass=False)
        on = channels.at(placement.at(self.fixed.xy)).weight > 0.5
        return self.fixed.xy[on] if on.any() else self.fixed.xy

    def differ(self, one: Placement, other: Placement) -> bool:
        return bool(one.difference_um(other, self.fixed.xy).mean() > APART * self.fixed.size_um)

    def folds(self, placement: Placement) -> bool:
        return folded(placement.transform(self.fixed.xy), self.tissue) > 0

    @property
    def tissue(self) -> NDArray[np.float64]:
        """(m, 2) µm of the MSI: the pixels on tissue."""
        return self.moving.centres(self.moving.tissue)


def _registration(
    section: Section,
    job: _Job,
    search: _Search,
    evidence: Evidence,
    landmarks: Landmarks | None,
    source: Literal["automatic", "refined"],
) -> Registration:
    assert search.best is not None
    transform = search.best.transform(job.fixed.xy)
    trust = judge(section, job.fixed, job.moving, transform, evidence, tuple(search.curve))
    given = Landmarks((), np.zeros((0, 2)), np.zeros((0, 2))) if landmarks is None else landmarks
    residuals = np.hypot(*(transform.forward(given.moving) - given.fixed).T) if len(given) else np.zeros(0)
    left_out = residuals if evidence.after_um is None else np.where(given.enabled, evidence.after_um, residuals)
    warnings = () if trust.trusted else trust.reasons
    return Registration(given, transform, residuals, left_out, warnings=warnings, source=source, trust=trust)
