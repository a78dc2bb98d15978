"""Rigid, similarity and affine: transforms with a matrix, fitted in closed form."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import GeometryProblem
from napari_st2msi.registration.transforms.base import Transform, affine_between, check_pairs, homogeneous, numbers
from napari_st2msi.shapes import map_points


@dataclass(frozen=True, eq=False)
class Linear(Transform):
    """A transform with a matrix; its subclasses say which matrices and how they are fitted.

    Attributes
    ----------
    matrix
        (3, 3) float64: maps (x, y, 1) of the moving side to (x, y, 1) of the fixed side, in µm.
    """

    matrix: NDArray[np.float64] = field()

    needs = 3

    def forward(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map (n, 2) points of the moving side to the fixed side."""
        return map_points(self.matrix, xy)

    def inverse(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map (n, 2) points of the fixed side to the moving side."""
        return map_points(np.linalg.inv(self.matrix), xy)

    def jacobian(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (n, 2, 2): the linear part of the matrix, the same everywhere."""
        return np.tile(self.matrix[:2, :2], (len(xy), 1, 1))

    @property
    def reflects(self) -> bool:
        """Whether left and right are exchanged."""
        return bool(np.linalg.det(self.matrix[:2, :2]) < 0)

    @property
    def scale(self) -> float:
        """How much longer lengths become, on average over directions."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix[:2, :2]))))

    def to_dict(self) -> dict[str, Any]:
        """Return the transform as plain JSON values."""
        return {"kind": self.kind, "matrix": self.matrix.tolist()}

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> Self:
        """Return the transform that `to_dict` wrote."""
        return cls(numbers(facts, "matrix", (3, 3)))


class Rigid(Linear):
    """Shift, rotation, and a reflection where the points ask for one; lengths stay."""

    kind = "rigid"
    label = "rigid"

    @classmethod
    def fit(cls, moving: NDArray[np.floating], fixed: NDArray[np.floating], *, reflection: bool | None = None) -> Self:
        """Fit by least squares in closed form; two pairs are enough where the reflection is known.

        Kabsch 1976 (doi:10.1107/S0567739476001873), with reflections.
        """
        turn, _, shift = _turn(cls.label, moving, fixed, reflection)
        return cls(homogeneous(turn, shift(turn)))


class Similarity(Linear):
    """Shift, rotation, one scale for all directions, and a reflection where the points ask for one."""

    kind = "similarity"
    label = "similarity"

    @classmethod
    def fit(cls, moving: NDArray[np.floating], fixed: NDArray[np.floating], *, reflection: bool | None = None) -> Self:
        """Fit by least squares in closed form; two pairs are enough where the reflection is known.

        Umeyama 1991 (doi:10.1109/34.88573); its last step, which forbids reflections, is left to choose.
        """
        turn, scale, shift = _turn(cls.label, moving, fixed, reflection)
        return cls(homogeneous(scale * turn, shift(scale * turn)))


class Affine(Linear):
    """Shift, rotation, reflection, and a stretch that may differ by direction: six numbers."""

    kind = "affine"
    label = "affine"

    @classmethod
    def fit(cls, moving: NDArray[np.floating], fixed: NDArray[np.floating], *, reflection: bool | None = None) -> Self:
        """Fit by least squares; a reflection comes out where the points ask for one.

        Raises
        ------
        GeometryProblem
            Too few pairs, all on one line, or they ask for the reflection that was ruled out: the best
            affine without it would press the tissue into a line.
        """
        check_pairs(cls.label, cls.needs, moving, fixed)
        found = cls(affine_between(moving, fixed))
        if reflection is not None and found.reflects != reflection:
            raise GeometryProblem(
                f"The landmarks fit an affine only {'as they are' if reflection else 'mirrored'}, but the MSI was "
                f"said {'to be' if reflection else 'not to be'} mirrored. Check that no landmarks are exchanged, or "
                "let the mirroring be found."
            )
        return found


def _turn(
    label: str, moving: NDArray[np.floating], fixed: NDArray[np.floating], reflection: bool | None
) -> tuple[NDArray[np.float64], float, Any]:
    """Return the orthogonal matrix that turns points best, the best scale with it, and the shift for a linear part."""
    known = reflection is not None
    check_pairs(label, 2 if known else 3, moving, fixed, plane=not known)
    from_middle, to_middle = moving.mean(axis=0), fixed.mean(axis=0)
    a, b = moving - from_middle, fixed - to_middle
    u, singular, vt = np.linalg.svd(b.T @ a)
    mirrored = np.linalg.det(u @ vt) < 0
    last = -1.0 if known and mirrored != reflection else 1.0
    spread = float((a**2).sum())
    scale = (singular[0] + last * singular[1]) / spread if spread > 0 else 0.0
    if scale <= 0:
        raise GeometryProblem(
            f"{label.capitalize()} does not fit these landmarks: turned any way, they do not agree. Check that no "
            "landmarks are exchanged or at the same point."
        )
    return (u * [1.0, last]) @ vt, scale, lambda linear: to_middle - linear @ from_middle
