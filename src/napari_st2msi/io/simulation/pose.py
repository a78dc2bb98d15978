"""How the MSI section lies against the ST section: reflection, rotation, scale and a smooth warp."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.io.simulation.fields import Fields
from napari_st2msi.shapes import map_points

#: The warp never changes a length by more than this share, so it cannot fold.
STEEPEST = 0.4


@dataclass(frozen=True)
class Pose:
    """The exact map from the MSI's frame to the ST's frame, both in µm.

    A point goes through the affine `matrix` and is then displaced by `warp`, a smooth field over the
    ST frame: ``st = a + warp(a)`` with ``a = matrix · msi``.

    Attributes
    ----------
    matrix
        (3, 3) affine: reflection, rotation, scale and translation.
    warp
        Two fields: the displacement along x and y in µm. None for none.
    """

    matrix: NDArray[np.float64]
    warp: Fields | None = None

    def to_st(self, msi_xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map (..., 2) points from MSI to ST."""
        straight = map_points(self.matrix, msi_xy)
        return straight + self._displacement(straight)

    def to_msi(self, st_xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map (..., 2) points from ST to MSI, exact to far below 0.1 µm."""
        straight = st_xy
        # The displacement is a contraction, so the fixed point of a = st - warp(a) is approached
        # by at least a factor 1 / STEEPEST each time: 300 µm shrink below 1e-6 in 22 steps.
        for _ in range(0 if self.warp is None else 24):
            straight = st_xy - self._displacement(straight)
        inverse = np.linalg.inv(self.matrix)
        return map_points(inverse, straight)

    def jacobian(self, msi_xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the (..., 2, 2) derivative of `to_st` at points of the MSI."""
        step = 0.5
        columns = [(self.to_st(msi_xy + d) - self.to_st(msi_xy - d)) / (2 * step) for d in step * np.eye(2)]
        return np.stack(columns, axis=-1)

    def best_affine(self, msi_xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the (3, 3) affine nearest to `to_st` over (n, 2) points, by least squares."""
        design = np.column_stack([msi_xy, np.ones(len(msi_xy))])
        solution = np.linalg.lstsq(design, self.to_st(msi_xy), rcond=None)[0]
        return np.vstack([solution.T, [0, 0, 1]])

    def _displacement(self, straight: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.warp is None:
            return np.zeros_like(straight)
        return self.warp(straight.reshape(-1, 1, 2)).reshape(straight.shape)


def draw_pose(
    rng: np.random.Generator,
    edge: NDArray[np.float64],
    *,
    reflection: bool | None,
    rotation_deg: float | None,
    scale: float | None,
    warp_um: float | None,
    margin: float,
) -> Pose:
    """Draw a pose; what is None is random.

    Parameters
    ----------
    edge
        (n, 2) points of the tissue in the ST frame. In the MSI frame their smallest x and y is `margin`.
    warp_um
        Largest displacement over the tissue.
    """
    mirrored = bool(rng.random() < 0.5) if reflection is None else reflection
    angle = np.radians(rng.uniform(-180, 180) if rotation_deg is None else rotation_deg)
    factor = rng.uniform(0.95, 1.05) if scale is None else scale
    amplitude = rng.uniform(20, 80) if warp_um is None else warp_um
    linear = factor * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if mirrored:
        linear = linear @ np.diag([-1.0, 1.0])
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    pose = Pose(matrix, None if amplitude == 0 else _warp(rng, edge, amplitude))
    first = pose.to_msi(edge).min(axis=0) - margin
    shifted = matrix.copy()
    shifted[:2, 2] = linear @ first
    return replace(pose, matrix=shifted)


def _warp(rng: np.random.Generator, edge: NDArray[np.float64], amplitude: float) -> Fields:
    """Draw a displacement with the given largest length, lengthening its waves until it is gentle."""
    low, high = edge.min(axis=0), edge.max(axis=0)
    reach = 0.1 * (high - low) + amplitude
    low, high = low - reach, high + reach
    across = np.stack(np.meshgrid(*[np.linspace(a, b, 60) for a, b in zip(low, high, strict=True)]), axis=-1)
    length = 0.28 * float((high - low).max())
    while True:
        fields = Fields.random(rng, low, high, length, 2)
        size = np.hypot(*fields(across.reshape(-1, 1, 2)).T).max()
        fields = replace(fields, coefficients=fields.coefficients * amplitude / size)
        moved = fields(across.reshape(-1, 1, 2)).reshape(across.shape)
        dx, dy = across[0, 1, 0] - across[0, 0, 0], across[1, 0, 1] - across[0, 0, 1]
        gradient = np.stack([np.gradient(moved, dy, axis=0), np.gradient(moved, dx, axis=1)], axis=-1)
        if np.linalg.norm(gradient, ord=2, axis=(-2, -1)).max() < STEEPEST:
            return fields
        length *= 1.5
