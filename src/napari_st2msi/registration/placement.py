"""Where each place of the ST lies in the MSI while the fit goes on, and the transform that comes of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import GeometryProblem
from napari_st2msi.registration.control_grid import ControlGrid
from napari_st2msi.registration.transforms import Affine, FreeForm, Transform

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Placement:
    """A map from µm of the ST to µm of the MSI: the way features are looked up.

    ``msi = linear · st + shift + bend(st)`` with a displacement of cubic B-splines.

    Attributes
    ----------
    linear, shift
        (2, 2) and (2,).
    grid, coefficients
        Control points and their (count, 2) displacements in µm of the MSI; None for an affine.
    """

    linear: Array
    shift: Array
    grid: ControlGrid | None = None
    coefficients: Array | None = None

    @classmethod
    def of_matrix(cls, matrix: Array) -> Placement:
        """Return the placement of a (3, 3) matrix from MSI to ST."""
        back = np.asarray(np.linalg.inv(matrix), dtype=np.float64)
        return cls(back[:2, :2], back[:2, 2])

    @classmethod
    def of_transform(cls, transform: Transform, xy: Array, spacing: float) -> Placement:
        """Return the placement nearest to any transform over (n, 2) places of the ST.

        Raises
        ------
        GeometryProblem
            It leads from hardly any of them to the MSI.
        """
        if transform.matrix is not None:
            return cls.of_matrix(transform.matrix)
        there = transform.inverse(xy)
        known = np.isfinite(there).all(axis=1)
        if known.sum() < 3:
            raise GeometryProblem(
                "The transform to begin with folds, or leads past the ST. Check the landmarks, or begin with an affine."
            )
        xy, there = xy[known], there[known]
        design = np.column_stack([xy, np.ones(len(xy))])
        solution = np.asarray(np.linalg.lstsq(design, there, rcond=None)[0], dtype=np.float64)
        straight = cls(solution[:2].T, solution[2])
        grid = ControlGrid.over(xy.min(axis=0), xy.max(axis=0), spacing)
        return replace(straight, grid=grid, coefficients=grid.through(xy, there - straight.at(xy), 1e-3))

    def at(self, xy: Array) -> Array:
        """Map (n, 2) places of the ST to the MSI."""
        there = xy @ self.linear.T + self.shift
        if self.grid is not None:
            there = there + self.grid.basis(xy) @ self.coefficients
        return np.asarray(there)

    def on(self, grid: ControlGrid | None, xy: Array) -> Placement:
        """Return the same map with another grid, as near as it can be over (n, 2) places."""
        if grid is None:
            return Placement(self.linear, self.shift)
        if self.grid is None:
            return replace(self, grid=grid, coefficients=np.zeros((grid.count, 2)))
        bend = self.grid.basis(xy) @ self.coefficients
        return replace(self, grid=grid, coefficients=grid.through(xy, bend, 1e-3))

    def difference_um(self, other: Placement, xy: Array) -> Array:
        """Return (n,) how far two placements are apart at places of the ST, in µm of the ST."""
        return np.asarray(np.hypot(*((self.at(xy) - other.at(xy)) @ np.linalg.inv(self.linear).T).T))

    def transform(self, xy: Array) -> Affine | FreeForm:
        """Return the transform from MSI to ST.

        Parameters
        ----------
        xy
            (n, 2) µm: places of the ST, whose box (and a rim of one spacing) it is exact in.
        """
        matrix = np.eye(3)
        matrix[:2, :2] = np.linalg.inv(self.linear)
        matrix[:2, 2] = -matrix[:2, :2] @ self.shift
        if self.grid is None:
            return Affine(matrix)
        # msi = linear·x + shift + bend(x), so its affine image is a = x + linear⁻¹·bend(x), and x = a + d(a).
        low, high = xy.min(axis=0) - self.grid.spacing, xy.max(axis=0) + self.grid.spacing
        step = self.grid.spacing / 9
        axes = [np.arange(start, stop + step, step) for start, stop in zip(low, high, strict=True)]
        places = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
        bend = (self.grid.basis(places) @ self.coefficients) @ matrix[:2, :2].T
        straight = places + bend
        finer = ControlGrid.over(straight.min(axis=0), straight.max(axis=0), self.grid.spacing / 3)
        coefficients = finer.through(straight, -bend)
        spacing = np.full(2, finer.spacing)
        return FreeForm(matrix, finer.origin, spacing, coefficients.reshape(*finer.shape, 2))
