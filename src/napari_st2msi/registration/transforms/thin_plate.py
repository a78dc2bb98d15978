"""Thin-plate spline: the bending of a sheet through, or near, the landmarks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import FileProblem, GeometryProblem, RecipeProblem
from napari_st2msi.registration.transforms.base import (
    Transform,
    affine_between,
    check_pairs,
    newton_inverse,
    numbers,
)
from napari_st2msi.shapes import map_points

#: Points that are mapped at once: what their distances to the landmarks take stays in the cache.
_ROWS = 20_000
_UM = 1000.0
#: Smoothings that are weighed, in units of the squared spread of the landmarks.
_SMOOTHINGS = np.geomspace(5e-3, 5e2, 31)


@dataclass(frozen=True, eq=False)
class ThinPlateSpline(Transform):
    """The smoothest map through the landmarks, or near them (Bookstein 1989, doi:10.1109/34.24792).

    It minimises the squared distances at the landmarks plus `smoothing` times the bending energy
    (Wahba 1990, doi:10.1137/1.9781611970128).

    Attributes
    ----------
    moving, fixed
        (n, 2) float64, µm: landmarks on both sides, not all on one line.
    smoothing
        mm², 0 or more. 0 passes through every landmark; the larger it is, the nearer to an affine.
    """

    moving: NDArray[np.float64]
    fixed: NDArray[np.float64]
    smoothing: float = 0.0
    _weights: NDArray[np.float64] = field(init=False, repr=False)
    _affine: NDArray[np.float64] = field(init=False, repr=False)

    kind = "thin_plate"
    label = "thin-plate spline"
    needs = 3

    def __post_init__(self) -> None:
        bending = Bending(self.moving)
        weights = bending.weights(self.fixed, self.smoothing)
        # What bending leaves at the landmarks is the affine part, exactly.
        rest = self.fixed - bending.kernel @ weights - self.smoothing * weights
        object.__setattr__(self, "_weights", weights)
        object.__setattr__(self, "_affine", affine_between(self.moving, rest))

    def forward(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map (n, 2) points of the moving side to the fixed side."""
        xy = np.asarray(xy, dtype=np.float64)
        out = map_points(self._affine, xy)
        for start in range(0, len(xy), _ROWS):
            part = slice(start, start + _ROWS)
            out[part] += kernel(_squares(xy[part], self.moving)) @ self._weights
        return out

    def inverse(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map (n, 2) points of the fixed side to the moving side, to 0.001 µm; NaN where the spline folds."""
        back = np.linalg.inv(self.nearest_affine(self.moving))
        return newton_inverse(self, xy, map_points(back, xy))

    def jacobian(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (n, 2, 2): the derivative of `forward`."""
        xy = np.asarray(xy, dtype=np.float64)
        out = np.tile(self._affine[:2, :2], (len(xy), 1, 1))
        for start in range(0, len(xy), _ROWS):
            part = slice(start, start + _ROWS)
            steep = _steepness(_squares(xy[part], self.moving))
            # Σ w (x - c) = x Σ w - Σ w c, for the weights of both coordinates.
            whole = steep @ self._weights
            for axis in range(2):
                pulled = steep @ (self._weights * self.moving[:, axis, None])
                out[part, :, axis] += (xy[part, axis, None] * whole - pulled) / _UM**2
        return out

    @property
    def reflects(self) -> bool:
        """Whether left and right are exchanged, by the affine nearest at the landmarks."""
        return bool(np.linalg.det(self.nearest_affine(self.moving)) < 0)

    def to_dict(self) -> dict[str, Any]:
        """Return the landmarks and the smoothing: the spline follows from them."""
        return {
            "kind": self.kind,
            "moving_um": self.moving.tolist(),
            "fixed_um": self.fixed.tolist(),
            "smoothing_mm2": self.smoothing,
        }

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> Self:
        """Return the transform that `to_dict` wrote."""
        moving = numbers(facts, "moving_um", (None, 2))
        fixed = numbers(facts, "fixed_um", (len(moving), 2))
        smoothing = float(numbers(facts, "smoothing_mm2", ()))
        try:
            return cls.fit(moving, fixed, smoothing=smoothing)
        except (GeometryProblem, RecipeProblem, np.linalg.LinAlgError) as error:
            raise FileProblem("The stored registration is damaged. Register the section again.") from error

    @classmethod
    def fit(
        cls,
        moving: NDArray[np.floating],
        fixed: NDArray[np.floating],
        *,
        reflection: bool | None = None,
        smoothing: float | None = 0.0,
    ) -> Self:
        """Fit to pairs of points.

        Parameters
        ----------
        smoothing
            mm²; 0 for exact, None for the one that the landmarks speak for, see `Bending.likely_smoothing`.

        Raises
        ------
        GeometryProblem
            Too few pairs, all on one line, or a reflection that was ruled out.
        RecipeProblem
            The smoothing is negative.
        """
        check_pairs(cls.label, cls.needs, moving, fixed)
        if smoothing is not None and not 0 <= smoothing < np.inf:
            raise RecipeProblem(f"The smoothing of a thin-plate spline is 0 mm² or more, not {smoothing:g}.")
        if smoothing is None:
            smoothing = Bending(moving).likely_smoothing(fixed)
        points, goals = (np.array(xy, dtype=np.float64) for xy in (moving, fixed))
        found = cls(points, goals, float(smoothing))
        if reflection is not None and found.reflects != reflection:
            raise GeometryProblem(
                f"The landmarks fit a thin-plate spline only {'as they are' if reflection else 'mirrored'}, but the "
                f"MSI was said {'to be' if reflection else 'not to be'} mirrored. Let the mirroring be found."
            )
        return found


class Bending:
    """How a sheet bends between given points, whatever they are moved to.

    Attributes
    ----------
    kernel
        (n, n) float64: what a unit weight at one point does at the others, mm².
    """

    def __init__(self, moving: NDArray[np.floating]) -> None:
        self.kernel = kernel(_squares(moving, moving))
        self._spread = float(moving.var() / _UM**2)
        n = len(moving)
        plane = np.column_stack([(moving - moving.mean(axis=0)) / moving.std(), np.ones(n)])
        across = np.linalg.qr(plane, mode="complete")[0][:, 3:]  # what no affine reaches
        stiffness, modes = np.linalg.eigh(across.T @ self.kernel @ across)
        self._stiffness, self._modes = np.maximum(stiffness, 1e-12), across @ modes

    def weights(self, fixed: NDArray[np.floating], smoothing: float) -> NDArray[np.float64]:
        """Return the (n, 2) weights that bend the sheet towards (n, 2) points."""
        return self._modes @ ((self._modes.T @ fixed) / (self._stiffness + smoothing)[:, None])

    def left_out(
        self, fixed: NDArray[np.floating], smoothings: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return how far each point is missed by the spline through all others, without fitting it again.

        Rippa 1999 (doi:10.1023/A:1018975909870): a weight over the diagonal of the inverse.

        Parameters
        ----------
        fixed
            (n, 2), µm.
        smoothings
            (k,), mm².

        Returns
        -------
        errors
            (k, n, 2) vectors in µm. Meaningless where the others do not determine a spline.
        precision
            (k, n) diagonal of the inverse, mm⁻²: the smaller, the less the others say about that point.
        energy
            (k,) of bending and misses together, µm² mm⁻².
        """
        goal = self._modes.T @ fixed
        give = 1 / (self._stiffness + np.asarray(smoothings, dtype=np.float64)[:, None])
        precision = np.maximum(give @ (self._modes**2).T, 1e-300)
        weights = (self._modes * give[:, None, :]) @ goal
        return weights / precision[..., None], precision, give @ (goal**2).sum(axis=1)

    def likely_smoothing(self, fixed: NDArray[np.floating]) -> float:
        """Return the smoothing (mm²) that (n, 2) points on the fixed side speak for.

        Clicks scatter, and tissue bends: the smoothing is the ratio of the two. Each of a wide range is
        weighed by its restricted likelihood (Wahba 1985, doi:10.1214/aos/1176349743), and the result is
        the mean of their logarithms. From few landmarks that is steadier than the single most likely
        one, or than the one with the smallest leave-one-out errors.
        """
        if not len(self._stiffness):
            return 0.0
        tried = _SMOOTHINGS * self._spread
        energy = self.left_out(fixed, tried)[2]
        return float(_weighed(tried, len(self._stiffness), energy[:, None], self._loosening(tried)[:, None])[0])

    def likely_smoothings(self, fixed: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return for each of n points the smoothing (mm²) that all others speak for."""
        tried = _SMOOTHINGS * self._spread
        errors, precision, energy = self.left_out(fixed, tried)
        # Without a point the energy is less by its share, and the determinant by its precision.
        rest = energy[:, None] - (errors**2).sum(axis=2) * precision
        return _weighed(tried, len(self._stiffness) - 1, rest, self._loosening(tried)[:, None] + np.log(precision))

    def _loosening(self, smoothings: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.log(self._stiffness + smoothings[:, None]).sum(axis=1)


def _weighed(
    smoothings: NDArray[np.float64], freedom: int, energy: NDArray[np.float64], determinant: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the mean of (k,) smoothings, weighed by their likelihood, for each column of (k, m) energies."""
    fits = -freedom * np.log(np.maximum(energy, 1e-12)) - determinant
    weight = np.exp(fits - fits.max(axis=0))
    return np.asarray(np.exp(np.log(smoothings) @ weight / weight.sum(axis=0)), dtype=np.float64)


def kernel(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return r² log r of squared distances in mm², 0 at 0."""
    return 0.5 * squares * np.log(np.maximum(squares, 1e-300))


def _steepness(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what, times the difference of two points, is the gradient of the kernel; 0 at 0."""
    return np.where(squares > 0, 1 + np.log(np.maximum(squares, 1e-300)), 0.0)


def _squares(xy: NDArray[np.floating], to: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the (n, m) squared distances between two sets of points in µm, in mm²."""
    x = (xy[:, 0, None] - to[:, 0]) / _UM
    y = (xy[:, 1, None] - to[:, 1]) / _UM
    return np.asarray(x * x + y * y, dtype=np.float64)
