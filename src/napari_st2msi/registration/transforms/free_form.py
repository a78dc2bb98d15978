"""Free-form: an affine followed by a displacement that varies smoothly over a grid of control points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import FileProblem, RecipeProblem
from napari_st2msi.registration.transforms.base import Transform, newton_inverse, numbers
from napari_st2msi.shapes import map_points

#: Points that are mapped at once: their sixteen weights stay in the cache.
_ROWS = 20_000


@dataclass(frozen=True, eq=False)
class FreeForm(Transform):
    """A cubic B-spline displacement after an affine (Rueckert et al. 1999, doi:10.1109/42.796284).

    ``forward(x) = a + d(a)`` with ``a = affine · x``, where the displacement ``d`` lies over the fixed
    side. Outside the grid it keeps the value it has at the edge.

    Attributes
    ----------
    affine
        (3, 3) float64, of µm to µm. It is not called `matrix`, because it does not say it all.
    origin, spacing
        (2,) float64, µm of the fixed side: x and y of the first control point, and their distances.
    coefficients
        (rows, columns, 2) float64, at least 4 × 4: displacements in µm along x and y that are blended.
        The grid covers the rectangle between its second and its last but one control points.
    """

    affine: NDArray[np.float64]
    origin: NDArray[np.float64]
    spacing: NDArray[np.float64]
    coefficients: NDArray[np.float64]

    kind = "free_form"
    label = "free-form"
    needs = 0

    def displacement(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the (n, 2) displacement in µm at (n, 2) points of the fixed side."""
        return self._blend(np.asarray(xy, dtype=np.float64), gradient=False)[0]

    def forward(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map (n, 2) points of the moving side to the fixed side."""
        straight = self._straight(xy)
        return straight + self.displacement(straight)

    def inverse(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map (n, 2) points of the fixed side to the moving side, to 0.001 µm; NaN where it folds."""
        xy = np.asarray(xy, dtype=np.float64)
        back = np.linalg.inv(self.affine)
        # Where the displacement is gentle this alone comes near; Newton goes the rest of the way.
        straight = xy - self.displacement(xy - self.displacement(xy))
        return newton_inverse(self, xy, map_points(back, straight))

    def jacobian(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (n, 2, 2): the derivative of `forward`."""
        gradient = self._blend(self._straight(xy), gradient=True)[1]
        return (np.eye(2) + gradient) @ self.affine[:2, :2]

    @property
    def reflects(self) -> bool:
        """Whether left and right are exchanged, by the affine part."""
        return bool(np.linalg.det(self.affine[:2, :2]) < 0)

    def to_dict(self) -> dict[str, Any]:
        """Return the transform as plain JSON values."""
        return {
            "kind": self.kind,
            "affine": self.affine.tolist(),
            "origin_um": self.origin.tolist(),
            "spacing_um": self.spacing.tolist(),
            "coefficients_um": self.coefficients.tolist(),
        }

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> Self:
        """Return the transform that `to_dict` wrote."""
        coefficients = numbers(facts, "coefficients_um", (None, None, 2))
        spacing = numbers(facts, "spacing_um", (2,))
        if min(coefficients.shape[:2]) < 4 or spacing.min() <= 0:
            raise FileProblem(
                "The stored registration is damaged: its control points cannot be used. Register the section again."
            )
        return cls(numbers(facts, "affine", (3, 3)), numbers(facts, "origin_um", (2,)), spacing, coefficients)

    @classmethod
    def fit(cls, moving: NDArray[np.floating], fixed: NDArray[np.floating], *, reflection: bool | None = None) -> Self:
        """Refuse: it is found from images, by the automatic registration."""
        raise RecipeProblem(
            "A free-form transform is found from images, not from landmarks. Register automatically, or choose "
            "thin_plate for landmarks."
        )

    def _straight(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        return map_points(self.affine, xy)

    def _blend(self, points: NDArray[np.float64], *, gradient: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the (n, 2) displacement, and its (n, 2, 2) gradient if wanted, at points of the fixed side."""
        rows, columns = self.coefficients.shape[:2]
        nodes = self.coefficients.reshape(-1, 2)
        value = np.zeros((len(points), 2))
        slope = np.zeros((len(points) if gradient else 0, 2, 2))
        for start in range(0, len(points), _ROWS):
            part = slice(start, start + _ROWS)
            place = (points[part] - self.origin) / self.spacing
            inside = np.clip(place, 1, np.array([columns, rows]) - 2 - 1e-9)
            # Where points are not finite, neither is what they map to.
            knot = np.floor(np.nan_to_num(inside, nan=1)).astype(np.intp)
            along = _splines(inside - knot)
            along_x, along_y = along[:, :, 0], along[:, :, 1]
            if gradient:
                steep = _slopes(inside - knot) * (inside == place) / self.spacing
                steep_x, steep_y = steep[:, :, 0], steep[:, :, 1]
            for i in range(4):
                for j in range(4):
                    node = nodes[(knot[:, 1] + i - 1) * columns + knot[:, 0] + j - 1]
                    value[part] += (along_y[i] * along_x[j])[:, None] * node
                    if gradient:
                        slope[part, :, 0] += (along_y[i] * steep_x[j])[:, None] * node
                        slope[part, :, 1] += (steep_y[i] * along_x[j])[:, None] * node
        return value, slope


def _splines(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (4, ...) weights of the control points at -1, 0, 1, 2 for the position t in [0, 1)."""
    s = 1 - t
    return np.stack([s**3, 4 - 6 * t**2 + 3 * t**3, 4 - 6 * s**2 + 3 * s**3, t**3]) / 6


def _slopes(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (4, ...) derivatives of `_splines`."""
    s = 1 - t
    return np.stack([-(s**2), 3 * t**2 - 4 * t, 4 * s - 3 * s**2, t**2]) / 2
