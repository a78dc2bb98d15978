"""Projective: straight lines stay straight, parallels need not; what a tilted camera does to a plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import GeometryProblem
from napari_st2msi.registration.transforms.base import Transform, affine_between, check_pairs, homogeneous, numbers
from napari_st2msi.shapes import map_points

#: Of the divisor: landmarks between which it varies more than this lie about the horizon.
_STEEPEST = 1e3


@dataclass(frozen=True, eq=False)
class Projective(Transform):
    """A homography, eight numbers.

    Attributes
    ----------
    homography
        (3, 3) float64, maps (x, y, 1) to multiples of (x, y, 1) in µm; its divisor is positive where the
        landmarks are. Beyond the horizon, where the divisor is not positive, points map to NaN.
    """

    homography: NDArray[np.float64]

    kind = "projective"
    label = "projective"
    needs = 4

    def forward(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map (n, 2) points of the moving side to the fixed side; NaN beyond the horizon."""
        return _divide(self.homography, xy)[0]

    def inverse(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map (n, 2) points of the fixed side to the moving side; NaN where nothing is mapped to."""
        back = np.linalg.inv(self.homography)
        # Divisor of the way back times divisor of the way there is one: both are positive.
        return _divide(back, xy)[0]

    def jacobian(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (n, 2, 2): the derivative of `forward`."""
        to, divisor = _divide(self.homography, xy)
        h = self.homography
        return (h[:2, :2] - to[:, :, None] * h[2, :2]) / divisor[:, None, None]

    @property
    def reflects(self) -> bool:
        """Whether left and right are exchanged."""
        return bool(np.linalg.det(self.homography) < 0)

    def to_dict(self) -> dict[str, Any]:
        """Return the transform as plain JSON values."""
        return {"kind": self.kind, "homography": self.homography.tolist()}

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> Self:
        """Return the transform that `to_dict` wrote."""
        return cls(numbers(facts, "homography", (3, 3)))

    @classmethod
    def fit(cls, moving: NDArray[np.floating], fixed: NDArray[np.floating], *, reflection: bool | None = None) -> Self:
        """Fit by least squares of the distances on the fixed side.

        Starts from the normalised direct linear transform (Hartley 1997, doi:10.1109/34.601246).

        Raises
        ------
        GeometryProblem
            Too few pairs, too many on one line, a horizon between the landmarks, or a reflection that
            was ruled out.
        """
        check_pairs(cls.label, cls.needs, moving, fixed)
        inward, outward = _normal(moving), _normal(fixed)
        a, b = (map_points(matrix, xy) for matrix, xy in ((inward, moving), (outward, fixed)))
        start = _direct(a, b)
        h = _refine(start, a, b)
        found = np.linalg.inv(outward) @ h @ inward
        divisor = _divide(found, moving)[1]
        if divisor.max() < 0:
            found, divisor = -found, -divisor
        if not (divisor.min() > 0 and divisor.max() < _STEEPEST * divisor.min()):
            raise GeometryProblem(
                "A projective transform does not fit these landmarks: its horizon runs between them. Choose affine, "
                "or check that no landmarks are exchanged."
            )
        result = cls(found / np.abs(divisor).mean())
        if reflection is not None and result.reflects != reflection:
            raise GeometryProblem(
                f"The landmarks fit a projective transform only {'as they are' if reflection else 'mirrored'}, but the "
                f"MSI was said {'to be' if reflection else 'not to be'} mirrored. Let the mirroring be found."
            )
        return result


def _divide(
    homography: NDArray[np.floating], xy: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where points go, NaN beyond the horizon, and their divisors."""
    above = map_points(homography, xy)
    divisor = np.asarray(xy @ homography[2, :2] + homography[2, 2], dtype=np.float64)
    return above / np.where(divisor > 0, divisor, np.nan)[:, None], divisor


def _normal(xy: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the (3, 3) matrix that brings points around zero, at a distance of about one."""
    middle, spread = xy.mean(axis=0), xy.std()
    return homogeneous(np.eye(2) / spread, -middle / spread)


def _direct(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the homography of the direct linear transform."""
    n = len(a)
    ones = np.column_stack([a, np.ones(n)])
    rows = np.zeros((2 * n, 9))
    rows[:n, :3], rows[n:, 3:6] = ones, ones
    rows[:n, 6:], rows[n:, 6:] = -b[:, :1] * ones, -b[:, 1:] * ones
    _, singular, vt = np.linalg.svd(rows)
    if singular[7] < 1e-9 * singular[0]:
        raise GeometryProblem(
            "A projective transform is not determined by these landmarks: too many lie on one line. Add one away from "
            "it, or choose affine."
        )
    h = vt[-1].reshape(3, 3)
    return h * np.sign(h[2, 2] or 1.0)


def _refine(start: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the homography with the smallest sum of squared distances, found from a start."""
    from scipy.optimize import least_squares

    ones = np.column_stack([a, np.ones(len(a))])
    divisor = ones @ start[2]
    crosses = not (divisor.min() > 0 or divisor.max() < 0)
    if len(a) == 4:
        return start  # exact
    if crosses or abs(start[2, 2]) < 1e-6:
        start = affine_between(a, b)

    def miss(p: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y, w = np.append(p, 1.0).reshape(3, 3) @ ones.T
        return np.concatenate([x / w - b[:, 0], y / w - b[:, 1]])

    def slope(p: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y, w = np.append(p, 1.0).reshape(3, 3) @ ones.T
        over = ones / w[:, None]
        none = np.zeros_like(over)
        return np.vstack(
            [
                np.hstack([over, none, -(x / w)[:, None] * over[:, :2]]),
                np.hstack([none, over, -(y / w)[:, None] * over[:, :2]]),
            ]
        )

    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        found = least_squares(miss, (start / start[2, 2]).ravel()[:8], jac=slope, method="lm", max_nfev=50)
    return np.append(found.x, 1.0).reshape(3, 3)
