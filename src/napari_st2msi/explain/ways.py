"""On the way from the training mean to a spot: what fitted maps say, and how steep they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from napari_st2msi.models.chain import Chain
from napari_st2msi.models.kernel import Kernel
from napari_st2msi.models.maps import Linear


@dataclass(frozen=True)
class Slopes:
    """Slopes (n, features), kept as weights times directions where all spots share a few of these.

    Attributes
    ----------
    directions
        (q, features); or (n, features) without weights.
    weights
        (n, q), or None.
    """

    directions: NDArray[np.floating]
    weights: NDArray[np.floating] | None = None

    def whole(self) -> NDArray[np.floating]:
        """Return (n, features)."""
        return self.directions if self.weights is None else self.weights @ self.directions

    def along(self, difference: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return (n,) slopes times (n, features) differences, summed."""
        if self.weights is None:
            return np.einsum("nf,nf->n", self.directions, difference)
        return np.einsum("nq,nq->n", self.weights, difference @ self.directions.T)

    def __add__(self, other: Slopes) -> Slopes:
        if self.weights is None or other.weights is None:
            return Slopes(self.whole() + other.whole())
        return Slopes(np.vstack([self.directions, other.directions]), np.hstack([self.weights, other.weights]))


class Way(Protocol):
    """One target of a map between two places, the same for every spot: the mean at 0 and the spot at 1."""

    def values(self, at: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (steps, n) values at (steps,) shares of the way."""

    def slopes(self, at: NDArray[np.float64], weights: NDArray[np.float64]) -> Slopes:
        """Return the gradients at (steps,) shares of the way, summed with (steps, n) weights.

        Times what features differ by between the two places it is what each brings.
        """


class LinearWay:
    """A linear map: as steep everywhere."""

    def __init__(self, fitted: Linear, start: NDArray[np.floating], end: NDArray[np.floating], target: int) -> None:
        self._slope, self._intercept = fitted.slope[:, target], fitted.intercept[target]
        self._start, self._end = start @ self._slope, end @ self._slope

    def values(self, at: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `Way`."""
        # The intercept last: of an ion that is everywhere the log odds are infinite.
        return self._start + at[:, None] * (self._end - self._start) + self._intercept

    def slopes(self, at: NDArray[np.float64], weights: NDArray[np.float64]) -> Slopes:
        """See `Way`."""
        return Slopes(self._slope[None], weights.sum(axis=0)[:, None])


class KernelWay:
    """A kernel compares directions; lengths count as given.

    Straight to the mean a direction would stay as it is until it vanishes, and nothing could be told of
    the features. So the length is that of the spot all along the way, as norms are held fixed when
    transformers are explained (Ali et al. 2022, arXiv:2202.07304). Where features are all zero at the mean, as
    after the reduction ``svd`` with rings, the whole difference is shared out.
    """

    def __init__(self, fitted: Kernel, start: NDArray[np.floating], end: NDArray[np.floating], target: int) -> None:
        self._fitted = fitted
        self._weight = fitted.whitening @ fitted.linear.slope[:, target]
        self._intercept = fitted.linear.intercept[target]
        length = np.sqrt((np.asarray(end, dtype=np.float64) ** 2).mean(axis=1, keepdims=True))
        self._length = np.where(length > 1e-12, length, np.inf)
        self._start, self._end = start / self._length, end / self._length

    def values(self, at: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `Way`."""
        return np.array([self._similarity(self._place(share)) @ self._weight for share in at]) + self._intercept

    def slopes(self, at: NDArray[np.float64], weights: NDArray[np.float64]) -> Slopes:
        """See `Way`."""
        total = np.zeros(self._end.shape)
        for share, weight in zip(at, weights, strict=True):
            place = self._place(share)
            pull = self._similarity(place) * self._weight
            gradient = pull @ self._fitted.landmarks - pull.sum(axis=1, keepdims=True) * place
            total += weight[:, None] * 2 * self._fitted.gamma * gradient
        return Slopes(total / self._length)

    def _place(self, share: float) -> NDArray[np.float64]:
        return self._start + share * (self._end - self._start)

    def _similarity(self, place: NDArray[np.float64]) -> NDArray[np.float64]:
        landmarks = self._fitted.landmarks
        square = (place**2).sum(axis=1)[:, None] + (landmarks**2).sum(axis=1) - 2 * place @ landmarks.T
        return np.exp(-self._fitted.gamma * np.maximum(square, 0.0))


class ChainWay:
    """A chain of classifiers: each ion's odds depend on those before it."""

    def __init__(self, fitted: Chain, start: NDArray[np.floating], end: NDArray[np.floating], target: int) -> None:
        self._fitted, self._target = fitted, target
        self._start, self._end = (np.asarray(place, dtype=np.float64) for place in (start, end))

    def values(self, at: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `Way`."""
        return np.array([self._fitted(self._place(share))[:, self._target] for share in at])

    def slopes(self, at: NDArray[np.float64], weights: NDArray[np.float64]) -> Slopes:
        """See `Way`."""
        fitted, total = self._fitted, np.zeros(self._end.shape)
        for share, weight in zip(at, weights, strict=True):
            odds = fitted(self._place(share))
            reached = np.zeros(odds.shape)
            reached[:, self._target] = weight
            # Backwards along the chain: what each ion's odds mean for those that look at it.
            for ion in fitted.order[::-1]:
                if fitted.weight[ion].any():
                    seen = fitted.before[ion]
                    chance = expit(odds[:, seen])
                    step = reached[:, [ion]] * fitted.weight[ion] * chance * (1 - chance)
                    for place, other in enumerate(seen):
                        reached[:, other] += step[:, place]
            total += reached @ fitted.odds.slope.T
        return Slopes(total)

    def _place(self, share: float) -> NDArray[np.float64]:
        return self._start + share * (self._end - self._start)
