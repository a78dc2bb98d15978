"""Transforms of the plane, fitted to pairs of points by least squares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import FileProblem, GeometryProblem, RecipeProblem

#: Points closer to one line than this part of their spread lie on it.
_ON_A_LINE = 1e-6


@dataclass(frozen=True, eq=False)
class Linear:
    """A transform with a matrix; its subclasses say which matrices and how they are fitted.

    Attributes
    ----------
    matrix
        (3, 3) float64: maps (x, y, 1) of the moving side to (x, y, 1) of the fixed side, in µm.
    """

    matrix: NDArray[np.float64]

    #: Name in recipes, on the command line and on disk.
    kind: ClassVar[str]
    #: Pairs of points needed, not all on a line, for one answer, reflection included.
    needs: ClassVar[int] = 3

    def forward(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map (n, 2) points of the moving side to the fixed side."""
        return np.asarray(xy @ self.matrix[:2, :2].T + self.matrix[:2, 2], dtype=np.float64)

    def inverse(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map (n, 2) points of the fixed side to the moving side."""
        back = np.linalg.inv(self.matrix)
        return np.asarray(xy @ back[:2, :2].T + back[:2, 2], dtype=np.float64)

    @property
    def reflects(self) -> bool:
        """Whether left and right are exchanged."""
        return bool(np.linalg.det(self.matrix[:2, :2]) < 0)

    @property
    def scale(self) -> float:
        """How much longer lengths become, on average over directions."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix[:2, :2]))))

    @classmethod
    def fit(cls, moving: NDArray[np.floating], fixed: NDArray[np.floating]) -> Self:
        """Fit to (n, 2) points of the moving side and their counterparts on the fixed side.

        Raises
        ------
        GeometryProblem
            Too few pairs, or all on one line.
        """
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Return the transform as plain JSON values."""
        return {"kind": self.kind, "matrix": self.matrix.tolist()}

    @classmethod
    def _check(cls, moving: NDArray[np.floating], fixed: NDArray[np.floating]) -> None:
        if len(moving) < cls.needs:
            raise GeometryProblem(
                f"{len(moving)} pairs of landmarks are too few: {cls.kind} needs at least {cls.needs}, "
                "and errors can be judged from one more on."
            )
        for side, xy in (("MSI", moving), ("ST", fixed)):
            if straightness(xy) < _ON_A_LINE:
                raise GeometryProblem(
                    f"The landmarks on the {side} side all lie on one line, so it is unknown how the tissue lies "
                    "across it. Add one away from that line."
                )


class Affine(Linear):
    """Shift, rotation, reflection, and a stretch that may differ by direction: six numbers."""

    kind = "affine"

    @classmethod
    def fit(cls, moving: NDArray[np.floating], fixed: NDArray[np.floating]) -> Self:
        """Fit by least squares; a reflection comes out where the points ask for one."""
        cls._check(moving, fixed)
        # Around the centre and in units of the spread, so that µm by the ten thousand lose no digits.
        middle, spread = moving.mean(axis=0), moving.std()
        design = np.column_stack([(moving - middle) / spread, np.ones(len(moving))])
        solution = np.linalg.lstsq(design, fixed, rcond=None)[0]
        linear = solution[:2].T / spread
        return cls(_homogeneous(linear, solution[2] - linear @ middle))


class Similarity(Linear):
    """Shift, rotation, one scale for all directions, and a reflection where the points ask for one."""

    kind = "similarity"

    @classmethod
    def fit(cls, moving: NDArray[np.floating], fixed: NDArray[np.floating]) -> Self:
        """Fit by least squares in closed form.

        Umeyama 1991 (doi:10.1109/34.88573) without its last step, which forbids reflections.
        """
        cls._check(moving, fixed)
        from_middle, to_middle = moving.mean(axis=0), fixed.mean(axis=0)
        a, b = moving - from_middle, fixed - to_middle
        u, singular, vt = np.linalg.svd(b.T @ a)
        linear = singular.sum() / (a**2).sum() * (u @ vt)
        return cls(_homogeneous(linear, to_middle - linear @ from_middle))


#: All transforms by name.
TRANSFORMS: dict[str, type[Linear]] = {"affine": Affine, "similarity": Similarity}


def transform_class(kind: str) -> type[Linear]:
    """Return the transform of a name.

    Raises
    ------
    RecipeProblem
        There is none of that name.
    """
    if kind not in TRANSFORMS:
        raise RecipeProblem(f"There is no transform '{kind}'. Choose one of: {', '.join(TRANSFORMS)}.")
    return TRANSFORMS[kind]


def transform_from_dict(facts: dict[str, Any]) -> Linear:
    """Return the transform that `to_dict` wrote.

    Raises
    ------
    FileProblem
        It is not one.
    """
    try:
        matrix = np.asarray(facts["matrix"], dtype=np.float64)
        kind = transform_class(facts["kind"])
    except (KeyError, TypeError, ValueError) as error:
        raise FileProblem("The stored registration is damaged. Register the section again.") from error
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        raise FileProblem("The stored registration is damaged: it has no 3 × 3 matrix. Register the section again.")
    return kind(matrix)


def straightness(xy: NDArray[np.floating]) -> float:
    """Return the spread of points across their main direction, as a part of that along it (0 to 1)."""
    along, across = np.linalg.svd(xy - xy.mean(axis=0), compute_uv=False)
    return float(across / along) if along > 0 else 0.0


def _homogeneous(linear: NDArray[np.float64], shift: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = linear, shift
    return matrix
