"""Every reflection, rotation, scale and shift of MSI over ST, tried at a coarse resolution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import GeometryProblem
from napari_st2msi.progress import Progress, check, never
from napari_st2msi.registration.sides import FixedSide, MovingSide
from napari_st2msi.shapes import map_points

#: Lengths of the MSI are multiplied by these: what "µm" means may differ, and tissue shrinks.
SCALES = (0.8, 0.9, 1.0, 1.12, 1.25)
#: The shorter of both tissues is so many cells long; the longer at most `_MOST_CELLS`.
CELLS, _MOST_CELLS = 32, 96
_COMPONENTS = 6
#: Overlaps below this share of the smaller tissue are not looked at.
_LEAST_OVERLAP = 0.15

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pose:
    """A way to lay MSI over ST.

    Attributes
    ----------
    matrix
        (3, 3) float64: µm of the MSI to µm of the ST.
    score
        How well both sides agree, in nats: from features, and from the outlines of the tissue.
    reflected
        Whether the MSI is mirrored.
    degrees, scale
        Rotation after mirroring left and right, and µm of the ST for 1 µm of the MSI.
    """

    matrix: Array
    score: float
    reflected: bool
    degrees: float
    scale: float


def find_poses(
    fixed: FixedSide,
    moving: MovingSide,
    *,
    turns: int = 36,
    scales: Sequence[float] = SCALES,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> list[Pose]:
    """Return the best shift for every reflection, rotation and scale, best first.

    Features are averaged over coarse cells and whitened. For every pose the squared correlations of
    each feature of the one side with each of the other are summed over the cells in common, for all
    shifts at once by fast Fourier transforms; times half the number of cells, this is the
    information of `mutual_information` when it is small. The agreement of the tissues' outlines
    counts likewise, over what MSI measured.

    Parameters
    ----------
    turns
        How many rotations.
    scales
        µm of the ST for 1 µm of the MSI.

    Raises
    ------
    GeometryProblem
        The tissues overlap nowhere by enough.
    """
    coarse = _Field.of(fixed, moving)
    found: list[Pose] = []
    for number, scale in enumerate(scales):
        for reflected in (False, True):
            for turn in range(turns):
                check(cancelled)
                pose = coarse.best_shift(scale, reflected, 2 * np.pi * turn / turns)
                if pose is not None:
                    found.append(pose)
            progress((2 * number + 1 + reflected) / (2 * len(scales)), "trying rotations and reflections")
    if not found:
        raise GeometryProblem(
            "MSI and ST cannot be laid over each other so that their tissues overlap. Check their sizes in µm, or "
            "register with landmarks."
        )
    return sorted(found, key=lambda pose: -pose.score)


def distinct(poses: Sequence[Pose], xy: Array, apart_um: float, most: int) -> list[Pose]:
    """Return the best poses that bring points of the MSI to different places, best first.

    Parameters
    ----------
    xy
        (n, 2) µm: points on the tissue of the MSI.
    apart_um
        Two poses are the same when they differ by less than this, in the mean over the points.
    """
    kept: list[tuple[Pose, Array]] = []
    for pose in poses:
        here = map_points(pose.matrix, xy)
        if all(np.hypot(*(here - there).T).mean() > apart_um for _, there in kept):
            kept.append((pose, here))
            if len(kept) == most:
                break
    return [pose for pose, _ in kept]


@dataclass(frozen=True, eq=False)
class _Field:
    """Both sides at a coarse resolution.

    `fixed` (p, h, w) whitened features of the ST, 0 where `there` (h, w) is 0; `outline` (h, w) its
    tissue. The MSI is looked at between its pixels: `moving` (q, ...), `used`, `measured`, `tissue`.
    """

    low: Array
    cell: float
    fixed: Array
    there: Array
    outline: Array
    moving: Array
    used: Array
    measured: Array
    tissue: Array
    to_um: Array
    _waves: dict[tuple[int, int], tuple[Any, Any, Any, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, fixed: FixedSide, moving: MovingSide) -> _Field:
        from scipy.ndimage import gaussian_filter

        tissue = fixed.mask.centres
        both = np.concatenate([fixed.xy, tissue])
        low, high = both.min(axis=0), both.max(axis=0)
        shorter = min(_length(tissue), _length(moving.centres(moving.tissue)), _length(fixed.xy))
        cell = max(shorter / CELLS, float((high - low).max()) / _MOST_CELLS, fixed.pitch_um)
        low = low - cell
        columns, rows = np.ceil((high - low) / cell).astype(int) + 1
        place = np.floor((fixed.xy - low) / cell).astype(np.int64)
        index = place[:, 1] * columns + place[:, 0]
        count = np.bincount(index, minlength=rows * columns)
        features = fixed.features[:, :_COMPONENTS]
        sums = np.stack([np.bincount(index, values, minlength=len(count)) for values in features.T])
        there = (count > 0).reshape(rows, columns)
        binned = (sums / np.maximum(count, 1)).reshape(-1, rows, columns)
        row, column = np.mgrid[:rows, :columns]
        centres = low + cell * (np.column_stack([column.ravel(), row.ravel()]) + 0.5)
        outline = fixed.mask.at(centres).reshape(rows, columns) | (there & (not fixed.on_glass))
        channels = moving.channels(_COMPONENTS, 0.6 * cell, on_glass=fixed.on_glass)
        steps = np.hypot(moving.to_um[0, :2], moving.to_um[1, :2])[::-1]
        return cls(
            low,
            cell,
            _whitened(binned, there),
            there.astype(float),
            outline.astype(float),
            _whitened(np.moveaxis(channels.image, -1, 0), channels.measured > 0),
            gaussian_filter(channels.measured, 0.5 * cell / steps),
            moving.measured.astype(float),
            gaussian_filter(moving.tissue.astype(float), 0.5 * cell / steps),
            moving.to_um,
        )

    def waves(self, rows: int, columns: int) -> tuple[Any, Any, Any, Any]:
        """Return the Fourier transforms of the ST, kept for poses of the same size."""
        from scipy import fft

        if (rows, columns) not in self._waves:
            images = (self.there, self.fixed, self.fixed**2, self.outline)
            first, second, third, fourth = (fft.rfft2(image, (rows, columns)) for image in images)
            self._waves[rows, columns] = first, second, third, fourth
        return self._waves[rows, columns]

    def best_shift(self, scale: float, reflected: bool, angle: float) -> Pose | None:
        """Return the shift at which one rotation agrees best, None where there is no overlap."""
        from scipy import fft
        from scipy.ndimage import map_coordinates

        linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        if reflected:
            linear = linear @ np.diag([-1.0, 1.0])
        height, width = self.measured.shape
        corners = np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]], dtype=float)
        corners = map_points(self.to_um, corners) @ linear.T
        first = corners.min(axis=0)
        columns, rows = np.ceil((corners.max(axis=0) - first) / self.cell).astype(int) + 1
        row, column = np.mgrid[:rows, :columns]
        turned = first + self.cell * np.column_stack([column.ravel(), row.ravel()])
        back = np.linalg.inv(self.to_um)
        pixel = map_points(back, turned @ np.linalg.inv(linear).T)
        at = [pixel[:, 1], pixel[:, 0]]

        def look(image: Array, order: int = 1) -> Array:
            return np.asarray(map_coordinates(image, at, order=order)).reshape(rows, columns)

        used, tissue, measured = look(self.used) > 0.5, look(self.tissue) > 0.5, look(self.measured, 0) > 0.5
        moving = np.stack([look(image) for image in self.moving]) * used
        shape = [fft.next_fast_len(a + b, real=True) for a, b in zip(self.there.shape, (rows, columns), strict=True)]

        def forward(image: Any) -> Any:
            return fft.rfft2(image, shape)

        def shifts(product: Any) -> Any:
            return fft.irfft2(product, shape)

        there, fixed_waves, fixed_squares, outline = self.waves(shape[0], shape[1])
        counts, moving_waves = np.conj(forward(used.astype(float))), np.conj(forward(moving))
        cells = np.maximum(shifts(there * counts), 1.0)
        fixed_sum, moving_sum = shifts(fixed_waves * counts), shifts(there * moving_waves)
        fixed_power = shifts(fixed_squares * counts) - fixed_sum**2 / cells
        moving_power = shifts(there * np.conj(forward(moving**2))) - moving_sum**2 / cells
        together = shifts(fixed_waves[:, None] * moving_waves[None]) - fixed_sum[:, None] * moving_sum[None] / cells
        power = np.maximum(fixed_power[:, None] * moving_power[None], 1e-2)
        score = 0.5 * cells * np.minimum(together**2 / power, 1.0).sum(axis=(0, 1))
        whole = float(measured.sum())
        if tissue.sum() < 0.98 * whole:
            score = score + _outline_score(
                shifts(outline * np.conj(forward((tissue & measured).astype(float)))),
                shifts(outline * np.conj(forward(measured.astype(float)))),
                float((tissue & measured).sum()),
                whole,
            )
        score[cells < _LEAST_OVERLAP * min(self.there.sum(), used.sum())] = -np.inf
        best = np.unravel_index(int(score.argmax()), score.shape)
        if not np.isfinite(score[best]):
            return None
        rows_fixed, columns_fixed = self.there.shape
        down = best[0] - shape[0] if best[0] >= rows_fixed else best[0]
        right = best[1] - shape[1] if best[1] >= columns_fixed else best[1]
        matrix = np.eye(3)
        matrix[:2, :2] = linear
        # Cell (i, j) of the turned MSI lies on cell (i + down, j + right) of the ST.
        matrix[:2, 2] = self.low + self.cell * (np.array([right, down]) + 0.5) - first
        return Pose(matrix, float(score[best]), reflected, float(np.degrees(angle)), scale)


def _outline_score(both: Array, st: Array, msi: float, whole: float) -> Array:
    """Return the information of two outlines over `whole` cells: −½ n log(1 − φ²) where they agree."""
    covariance = both - st * msi / whole
    spread = np.maximum(st * (1 - st / whole), 1e-6) * max(msi * (1 - msi / whole), 1e-6)
    phi2 = np.where(covariance > 0, covariance**2 / spread, 0.0)
    return np.asarray(-0.5 * whole * np.log(1 - np.clip(phi2, 0, 0.98)))


def _whitened(features: Array, where: NDArray[np.bool_]) -> Array:
    """Return (k, h, w) features without correlation over some places, and 0 elsewhere."""
    inside = features[:, where]
    centred = features - inside.mean(axis=1)[:, None, None]
    size, directions = np.linalg.eigh(np.cov(inside).reshape(len(features), len(features)))
    # The weakest are noise at this resolution: they are not blown up to the height of the others.
    turn = directions / np.sqrt(size + 0.05 * size.max())
    return np.asarray(np.einsum("kj,khw->jhw", turn, centred) * where)


def _length(xy: Array) -> float:
    return float(np.ptp(xy, axis=0).max())
