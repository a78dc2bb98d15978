"""Ridge for ions that are present in some spots only, all of them side by side.

Each such ion has spots of its own, hence a Gram matrix of its own, and decomposing each costs far more
than solving for all ions at once: conjugate gradients share their two matrix products among ions. Along
the principal axes of all spots an ion's Gram matrix is nearly diagonal, its share of theirs, so few
steps are needed; each penalty starts where the larger one before it ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.features.threads import threads_for
from napari_st2msi.models.choose import least_flexible
from napari_st2msi.models.inner import InnerFold
from napari_st2msi.progress import Progress, check, never

_BATCH = 2**22  # spots × ions worked on at once
_MOST_STEPS = 500
_ROUGH, _EXACT = 1e-3, 1e-11
# An error that once was below that of the mean, and rose so often in a row by so much of it, hardly falls below its
# least again. One above that of the mean may: with stiff penalties the directions of batches come first.
_RISES, _FAR = 3, 0.01


def choose_alpha_where(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    present: NDArray[np.bool_],
    alphas: NDArray[np.float64],
    folds: Sequence[InnerFold],
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> NDArray[np.float64]:
    """Return (k,) the penalty of each target, spots counting only where it is present.

    The rule is that of `napari_st2msi.models.ridge.fit_ridge`; errors along the path are good to about
    a thousandth. All folds go from the stiffest penalty to weaker ones together, and a target goes no further
    once its error has risen for good: the weakest penalties take by far the most steps, and are hardly
    ever chosen.
    """
    errors = np.zeros((len(folds), len(alphas) + 1, y.shape[1]))
    spaces = [_space(*fold.split(x)) for fold in folds]
    batches = _batches(len(x), y.shape[1])
    for piece, batch in enumerate(batches):
        part = progress.part(piece / len(batches), (piece + 1) / len(batches))
        parts = [
            _HeldOut(*space, y[:, batch], present[:, batch], fold) for space, fold in zip(spaces, folds, strict=True)
        ]
        of_batch = np.zeros((len(folds), len(alphas) + 1, len(batch)))
        of_batch[:, -1] = [held_out.of_mean for held_out in parts]
        going = np.ones(len(batch), dtype=bool)
        for step, candidate in enumerate(range(len(alphas) - 1, -1, -1)):
            part(step / len(alphas), "intensity where present")
            # What goes no further stays as bad as it was.
            of_batch[:, candidate] = of_batch[:, candidate + 1]
            for number, held_out in enumerate(parts):
                check(cancelled)
                of_batch[number, candidate, going] = held_out.errors(alphas[candidate], going)
            going &= ~_risen(of_batch[:, candidate:].sum(axis=0))
            if not going.any():
                of_batch[:, :candidate] = of_batch[:, candidate, None]
                break
        errors[:, :, batch] = of_batch
    return np.append(alphas, np.inf)[least_flexible(errors)]


def _risen(errors: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return (k,) whether errors have risen for good, from the last of (candidates, k) to the first."""
    if len(errors) <= _RISES:
        return np.zeros(errors.shape[1], dtype=bool)
    rising = (np.diff(errors[: _RISES + 1], axis=0) < 0).all(axis=0)
    far: NDArray[np.bool_] = errors[0] > errors.min(axis=0) + _FAR * errors[-1]
    useful: NDArray[np.bool_] = errors.min(axis=0) < errors[-1]
    return rising & far & useful


def solve_where(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    present: NDArray[np.bool_],
    alpha: NDArray[np.float64],
    *,
    cancelled: Callable[[], bool] = never,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return slope (r, k) and intercept (k,) of ridge on the spots where each target is present.

    An infinite penalty gives the mean of these spots.
    """
    slope, intercept = np.zeros((x.shape[1], y.shape[1])), _mean(y, present)
    finite = np.flatnonzero(np.isfinite(alpha))
    if not len(finite):
        return slope, intercept
    axes, values, centre = principal_axes(x)
    z = (x - centre) @ axes
    for part in _batches(len(x), len(finite)):
        check(cancelled)
        batch = finite[part]
        w = present[:, batch].astype(np.float64)
        with threads_for(2.0 * z.size * len(batch)):
            path = _Path(z, values, y[:, batch] - intercept[batch], w)
            own, offset = path.solve(alpha[batch], _EXACT, cancelled)
        slope[:, batch] = axes @ own
        intercept[batch] += offset - centre @ slope[:, batch]
    return slope, intercept


def principal_axes(
    x: NDArray[np.floating],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return axes (r, m), the sum of squares along each (m,), and the centre (r,) of features.

    A mere rotation: penalties mean the same before and after. m is r, or less where spots are fewer.
    """
    n, r = x.shape
    centre = x.mean(axis=0)
    centred = x - centre
    with threads_for(10.0 * min(n, r) ** 3):
        if r <= n:
            values, axes = np.linalg.eigh(centred.T @ centred)
            return axes, np.maximum(values, 0.0), centre
        values, left = np.linalg.eigh(centred @ centred.T)
    real = values > values[-1] * 1e-12
    return centred.T @ left[:, real] / np.sqrt(values[real]), values[real], centre


def _space(
    x: NDArray[np.floating], x_held: NDArray[np.floating]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    """Return features to fit on and held out along the principal axes of the first, and the squares along each."""
    axes, values, centre = principal_axes(x)
    fit, held = (((part - centre) @ axes).astype(np.float32) for part in (x, x_held))
    return fit, held, values


@dataclass
class _HeldOut:
    """Errors on the spots held out on an inner fold, for one penalty after the other.

    `y` and `present` are (n, k) of all spots.
    """

    z_fit: NDArray[np.float32]
    z_held: NDArray[np.float32]
    values: NDArray[np.float64]
    y: InitVar[NDArray[np.floating]]
    present: InitVar[NDArray[np.bool_]]
    fold: InitVar[InnerFold]

    def __post_init__(self, y: NDArray[np.floating], present: NDArray[np.bool_], fold: InnerFold) -> None:
        w, w_held = (present[rows].astype(np.float32) for rows in (fold.fit, fold.held))
        mean = _mean(y[fold.fit], w)
        fit, self._held = ((y[rows] - mean).astype(np.float32) for rows in (fold.fit, fold.held))
        # A target with fewer than two spots to fit on says nothing for or against any penalty.
        self._counts = np.where(w.sum(axis=0) < 2, np.float32(0.0), w_held)
        self._path = _Path(self.z_fit, self.values, fit, w)

    @property
    def of_mean(self) -> NDArray[np.float64]:
        """(k,) summed squared errors of the mean."""
        return (self._counts * self._held**2).sum(axis=0, dtype=np.float64)

    def errors(self, alpha: float, going: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the summed squared errors of the targets that are going."""
        with threads_for(2.0 * self.z_fit.size * int(going.sum())):
            slope, intercept = self._path.solve(np.full(len(going), alpha), _ROUGH, going=going)
            missed = self._held[:, going] - self.z_held @ slope[:, going] - intercept[going]
        return (self._counts[:, going] * missed**2).sum(axis=0, dtype=np.float64)


@dataclass
class _Path:
    """Solutions for one penalty after the other, of many targets at once."""

    z: NDArray[np.floating]
    values: NDArray[np.float64]
    y: NDArray[np.floating]
    w: NDArray[np.floating]
    _slope: NDArray[np.floating] = field(init=False)
    _product: NDArray[np.floating] = field(init=False)

    def __post_init__(self) -> None:
        self._count = np.maximum(self.w.sum(axis=0), 1.0)
        self._level = (self.w * self.y).sum(axis=0) / self._count
        self._moment = self.z.T @ (self.w * (self.y - self._level))
        self._slope, self._product = np.zeros_like(self._moment), np.zeros_like(self._moment)

    def solve(
        self,
        alpha: NDArray[np.float64],
        tolerance: float,
        cancelled: Callable[[], bool] = never,
        going: NDArray[np.bool_] | None = None,
    ) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Return slope (r, k) and intercept (k,), from where the last penalty ended.

        A target has converged when its residual, measured by the preconditioner, is `tolerance` times
        that of a slope of nothing. Those that are not going stay where they are.
        """
        alpha = alpha.astype(self.z.dtype)
        scale = 1.0 / (self.values[:, None] * (self._count / len(self.z)) + alpha)
        scale = scale.astype(self.z.dtype)
        residual = self._moment - self._product - alpha * self._slope
        size = (residual**2 * scale).sum(axis=0)
        target = tolerance**2 * (self._moment**2 * scale).sum(axis=0)
        if going is not None:
            target = np.where(going, target, np.inf)
        direction = scale * residual
        for _ in range(_MOST_STEPS):
            check(cancelled)
            go = np.flatnonzero(size > target)
            if not len(go):
                break
            # All targets step while most have not converged: copying the others out costs more.
            some = slice(None) if 2 * len(go) > len(size) else go
            d = direction[:, some]
            product = self._gram(d, some)
            curved = (d * product).sum(axis=0) + alpha[some] * (d * d).sum(axis=0)
            step = np.where(curved > 0, size[some] / np.where(curved > 0, curved, 1.0), 0.0).astype(d.dtype)
            self._slope[:, some] += step * d
            self._product[:, some] += step * product
            rest = residual[:, some] - step * (product + alpha[some] * d)
            before, residual[:, some] = size[some], rest
            now = (rest**2 * scale[:, some]).sum(axis=0)
            turn = np.where(before > 0, now / np.where(before > 0, before, 1.0), 0.0).astype(d.dtype)
            direction[:, some] = scale[:, some] * rest + turn * d
            size[some] = now
        intercept = self._level - (self.w * (self.z @ self._slope)).sum(axis=0) / self._count
        return self._slope, intercept

    def _gram(self, slope: NDArray[np.floating], some: slice | NDArray[np.int64]) -> NDArray[np.floating]:
        """Return the centred Gram matrix of each target times its slope."""
        w = self.w[:, some]
        along = self.z @ slope
        along -= (w * along).sum(axis=0) / self._count[some]
        return self.z.T @ (w * along)


def _mean(y: NDArray[np.floating], w: NDArray[Any]) -> NDArray[np.float64]:
    return (y * w).sum(axis=0) / np.maximum(w.sum(axis=0), 1)


def _batches(n: int, k: int) -> list[NDArray[np.int64]]:
    return np.array_split(np.arange(k), max(1, -(-k * n // _BATCH)))
