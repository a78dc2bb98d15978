"""`Transform`: what every map from MSI to ST can do, and the helpers they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import FileProblem, GeometryProblem

#: Points closer to one line than this part of their spread lie on it.
ON_A_LINE = 1e-6
#: An inverse found step by step is this near, in µm.
TOLERANCE_UM = 1e-3
_STEPS = 40


class Transform(ABC):
    """A map of the plane from the moving side (MSI) to the fixed side (ST), both in µm.

    A transform never changes once it is made. All methods take and return arrays in float64.
    """

    #: Name in recipes, on the command line and on disk.
    kind: ClassVar[str]
    #: What it is called in tables and sentences.
    label: ClassVar[str]
    #: Pairs of points needed for one answer, reflection included; 0 where it is not fitted to points.
    needs: ClassVar[int]
    #: (3, 3) float64, maps (x, y, 1) to (x, y, 1); None where no such matrix says it all.
    matrix: NDArray[np.float64] | None = None

    @abstractmethod
    def forward(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map (n, 2) points of the moving side to the fixed side."""

    @abstractmethod
    def inverse(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map (n, 2) points of the fixed side to the moving side; NaN where none is mapped there."""

    @abstractmethod
    def jacobian(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (n, 2, 2): the derivative of `forward` at (n, 2) points of the moving side."""

    @property
    @abstractmethod
    def reflects(self) -> bool:
        """Whether left and right are exchanged."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the transform as plain JSON values."""

    @classmethod
    @abstractmethod
    def from_dict(cls, facts: dict[str, Any]) -> Self:
        """Return the transform that `to_dict` wrote.

        Raises
        ------
        FileProblem
            It is not one.
        """

    @classmethod
    @abstractmethod
    def fit(cls, moving: NDArray[np.floating], fixed: NDArray[np.floating], *, reflection: bool | None = None) -> Self:
        """Fit to (n, 2) points of the moving side and their counterparts on the fixed side.

        Parameters
        ----------
        moving, fixed
            The points, µm.
        reflection
            Whether the moving side is mirrored; None for whichever fits better.

        Raises
        ------
        GeometryProblem
            Too few pairs, or points that leave more than one answer.
        """

    def nearest_affine(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the (3, 3) affine nearest to `forward` over (n, 2) moving points, by least squares.

        Raises
        ------
        GeometryProblem
            Fewer than three points, or all on one line.
        """
        if self.matrix is not None:
            return self.matrix
        to = self.forward(xy)
        known = np.isfinite(to).all(axis=1)
        return affine_between(np.asarray(xy, dtype=np.float64)[known], to[known])


def affine_between(moving: NDArray[np.floating], fixed: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the (3, 3) affine that brings (n, 2) points nearest to their counterparts.

    Raises
    ------
    GeometryProblem
        Fewer than three points, or all on one line.
    """
    if len(moving) < 3 or straightness(moving) < ON_A_LINE:
        raise GeometryProblem("An affine needs three points that do not lie on one line.")
    # Around the centre and in units of the spread, so that µm by the ten thousand lose no digits.
    middle, spread = moving.mean(axis=0), moving.std()
    design = np.column_stack([(moving - middle) / spread, np.ones(len(moving))])
    solution = np.linalg.lstsq(design, fixed, rcond=None)[0]
    linear = solution[:2].T / spread
    return homogeneous(linear, solution[2] - linear @ middle)


def homogeneous(linear: NDArray[np.float64], shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (3, 3) matrix of a (2, 2) linear part and a shift."""
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = linear, shift
    return matrix


def straightness(xy: NDArray[np.floating]) -> float:
    """Return the spread of points across their main direction, as a part of that along it (0 to 1)."""
    if len(xy) < 2:
        return 0.0
    along, across = np.linalg.svd(xy - xy.mean(axis=0), compute_uv=False)
    return float(across / along) if along > 0 else 0.0


def check_pairs(
    label: str, needs: int, moving: NDArray[np.floating], fixed: NDArray[np.floating], *, plane: bool = True
) -> None:
    """Refuse pairs that leave more than one answer.

    Parameters
    ----------
    label, needs
        Of the transform to be fitted.
    plane
        Whether points on one line leave it open.

    Raises
    ------
    GeometryProblem
        Too few pairs, or all on one line.
    """
    if len(moving) < needs:
        raise GeometryProblem(
            f"{len(moving)} {'pair of landmarks is' if len(moving) == 1 else 'pairs of landmarks are'} too few: "
            f"{label} needs at least {needs}, and errors can be judged from one more on."
        )
    for side, xy in (("MSI", moving), ("ST", fixed)):
        if plane and straightness(xy) < ON_A_LINE:
            raise GeometryProblem(
                f"The landmarks on the {side} side all lie on one line, so it is unknown how the tissue lies "
                "across it. Add one away from that line."
            )


def numbers(facts: dict[str, Any], name: str, shape: tuple[int | None, ...]) -> NDArray[np.float64]:
    """Return a stored array of a given shape; None stands for any length.

    Raises
    ------
    FileProblem
        It is missing, of another shape, or not finite.
    """
    try:
        array = np.asarray(facts[name], dtype=np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise FileProblem("The stored registration is damaged. Register the section again.") from error
    fits = array.ndim == len(shape) and all(
        wanted is None or have == wanted for have, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits or not np.isfinite(array).all():
        raise FileProblem(f"The stored registration is damaged: its {name} cannot be used. Register the section again.")
    return array


def newton_inverse(transform: Transform, xy: NDArray[np.floating], start: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (n, 2) moving points that a transform maps to (n, 2) fixed points.

    Newton's method with halved steps where a whole one leads away. A point stays NaN where it comes to
    no end, or to one where the transform is turned inside out: there it folds, and no answer is right.
    """
    goal = np.asarray(xy, dtype=np.float64)
    found = np.array(start, dtype=np.float64)
    miss = transform.forward(found) - goal
    length = np.linalg.norm(miss, axis=1)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        for _ in range(_STEPS):
            open_ = np.flatnonzero(length > TOLERANCE_UM)
            if not len(open_):
                break
            step = _solve(transform.jacobian(found[open_]), miss[open_])
            share = np.ones(len(open_))
            for _ in range(5):
                there = found[open_] - share[:, None] * step
                off = transform.forward(there) - goal[open_]
                size = np.linalg.norm(off, axis=1)
                worse = ~(size < length[open_])
                if not worse.any():
                    break
                share[worse] /= 2
            found[open_], miss[open_], length[open_] = there, off, size
        right_side_up = (np.linalg.det(transform.jacobian(found)) < 0) == transform.reflects
        return np.where((right_side_up & (length <= TOLERANCE_UM))[:, None], found, np.nan)


def _solve(jacobian: NDArray[np.float64], value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n, 2) solutions of n systems of two equations; not finite where there is none."""
    (a, b), (c, d) = jacobian.transpose(1, 2, 0)
    x, y = value.T
    return np.stack([d * x - b * y, a * y - c * x], axis=1) / (a * d - b * c)[:, None]
