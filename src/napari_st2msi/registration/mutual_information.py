"""How well the features of both sides agree where they lie over each other: mutual information of many channels."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
#: A place of which less than this was measured takes no part.
_LEAST = 1e-6


@dataclass(frozen=True, eq=False)
class Channels:
    """Images of the moving side that can be asked between their pixels, with slopes.

    Attributes
    ----------
    image
        (h, w, k) float64.
    measured
        (h, w) float64, 1 where a pixel counts, 0 elsewhere.
    to_um
        (3, 3): (column, row, 1) to µm; centres of pixels at integers.
    """

    image: Array
    measured: Array
    to_um: Array
    _stacked: Array = field(init=False, repr=False)
    _to_index: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # A rim of nothing, so that points outside need no case of their own.
        stacked = np.dstack([self.image * self.measured[..., None], self.measured])
        object.__setattr__(self, "_stacked", np.ascontiguousarray(np.pad(stacked, ((2, 2), (2, 2), (0, 0)))))
        object.__setattr__(self, "_to_index", np.linalg.inv(self.to_um))

    def at(self, xy: Array) -> Looked:
        """Look between pixels at (n, 2) points, bilinearly; pixels that do not count take no part."""
        back = self._to_index
        height, width = self._stacked.shape[:2]
        place = xy @ back[:2, :2].T + back[:2, 2] + 2
        column = np.clip(place[:, 0], 0, width - 1.001)
        row = np.clip(place[:, 1], 0, height - 1.001)
        i, j = row.astype(np.intp), column.astype(np.intp)
        v, u = (row - i)[:, None], (column - j)[:, None]
        flat = self._stacked.reshape(-1, self._stacked.shape[2])
        first = i * width + j
        upper, lower = flat[first], flat[first + width]
        right, lower_right = flat[first + 1] - upper, flat[first + width + 1] - lower
        upper += u * right
        lower += u * lower_right
        lower -= upper
        lower_right -= right
        right += v * lower_right
        upper += v * lower
        weight = upper[:, -1]
        return Looked(upper[:, :-1] / np.maximum(weight, _LEAST)[:, None], weight, right, lower, back[:2, :2])


@dataclass(frozen=True, eq=False)
class Looked:
    """What was seen at points.

    Attributes
    ----------
    values
        (n, k).
    weight
        (n,) how much of the four pixels around counts, 0 to 1.
    """

    values: Array
    weight: Array
    _by_column: Array
    _by_row: Array
    _to_index: Array

    def slope(self, by_values: Array, by_weight: Array) -> Array:
        """Return (n, 2) derivative by the points, in µm, of something whose derivatives are given."""
        share = by_values / np.maximum(self.weight, _LEAST)[:, None]
        share[self.weight <= _LEAST] = 0.0
        # Values are sums over what counts, divided by the weight.
        of_weight = by_weight - (share * self.values).sum(axis=1)
        along = [(share * by[:, :-1]).sum(axis=1) + of_weight * by[:, -1] for by in (self._by_column, self._by_row)]
        return np.asarray(np.stack(along, axis=1) @ self._to_index)


@dataclass(frozen=True, eq=False)
class Joint:
    """Mean and covariance of the features of both sides, taken as jointly normal.

    The mutual information of the two sides is then −½ Σ log(1 − ρ²) over their canonical correlations ρ:
    it sees any linear relation between any mixture of the one and any mixture of the other, of either
    sign.

    Attributes
    ----------
    mean
        (p + q,).
    plain
        (p + q, p + q) the weighted covariance.
    whole, x, y
        The same of both sides together and of each, with something added to all variances.
    """

    mean: Array
    plain: Array
    whole: Array
    x: Array
    y: Array

    @classmethod
    def of(cls, x: Array, y: Array, weight: Array, shrinkage: float) -> Joint:
        """Measure (n, p) and (n, q) features with (n,) weights.

        `shrinkage` of the mean variance of a side is added to all its variances, so that few places do
        not agree by chance.
        """
        p = x.shape[1]
        z = np.hstack([x, y])
        total = max(float(weight.sum()), 1e-9)
        mean = (weight @ z) / total
        z = z - mean
        plain = (weight[:, None] * z).T @ z / total
        diagonal = np.diag(plain)
        ridge = np.repeat([diagonal[:p].mean(), diagonal[p:].mean()], [p, len(plain) - p]) * shrinkage
        whole = plain + np.diag(ridge + 1e-12)
        return cls(mean, plain, whole, whole[:p, :p], whole[p:, p:])

    @property
    def information(self) -> float:
        """Nats a place."""
        x, y, whole = (np.linalg.slogdet(part)[1] for part in (self.x, self.y, self.whole))
        return float(0.5 * (x + y - whole))

    def pointwise(self, x: Array, y: Array) -> Array:
        """Return (n,) how much likelier the features of each place are together than apart, in nats.

        Its mean over the places that were measured is the information; over other places it tells
        whether what was seen there holds elsewhere, and may be negative.
        """
        z = np.hstack([x, y]) - self.mean
        p = x.shape[1]
        parts = [(self.x, z[:, :p], 0.5), (self.y, z[:, p:], 0.5), (self.whole, z, -0.5)]
        found = np.full(len(z), self.information)
        for matrix, values, sign in parts:
            found += sign * (values * np.linalg.solve(matrix, values.T).T).sum(axis=1)
        return found


def information(x: Array, y: Array, weight: Array, shrinkage: float) -> tuple[float, Array, Array]:
    """Return the mutual information of two sets of features as `Joint` has it, with its derivatives.

    Parameters
    ----------
    x, y
        (n, p) and (n, q).
    weight
        (n,) how much each place counts.
    shrinkage
        See `Joint.of`.

    Returns
    -------
    The information in nats a place; its derivative by `y` (n, q), and by `weight` (n,), each times the
    sum of weights. That by weight leaves out what the shrinkage itself changes, which is next to nothing.
    """
    joint = Joint.of(x, y, weight, shrinkage)
    p = x.shape[1]
    z = np.hstack([x, y]) - joint.mean
    inverse = np.linalg.inv(joint.whole)
    pull = z @ inverse
    by_y = -pull[:, p:]
    by_weight = -0.5 * ((pull * z).sum(axis=1) - (inverse * joint.plain).sum())
    for part, matrix in ((slice(0, p), joint.x), (slice(p, None), joint.y)):
        inverse = np.linalg.inv(matrix)
        pull = z[:, part] @ inverse
        by_weight += 0.5 * ((pull * z[:, part]).sum(axis=1) - (inverse * joint.plain[part, part]).sum())
    by_y += pull
    return joint.information, weight[:, None] * by_y, by_weight
