"""Principal directions of features: the space in which the linear models are solved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import ModelProblem
from napari_st2msi.features.threads import threads_for

_ROWS = 4096
_EXACT = 5000
_PASSES, _MORE = 5, 16


class Rows(Protocol):
    """Features that are computed some spots at a time."""

    @property
    def shape(self) -> tuple[int, int]:
        """(spots, features)."""

    def __call__(self, rows: NDArray[np.int64]) -> NDArray[np.floating]:
        """Return (rows, features)."""


class Rotation:
    """Rotate centred features onto their leading principal directions.

    Nothing is rescaled, so a ridge penalty means the same before and after. With at least as many
    directions as features (or spots) this is a mere change of axes and loses nothing.

    Parameters
    ----------
    n_directions
        How many directions to keep at most; None keeps all.
    """

    def __init__(self, n_directions: int | None) -> None:
        self.n_directions = n_directions

    def fit(self, features: NDArray[np.floating] | Rows) -> Self:
        """Learn centre and directions from (spots, features), given whole or some rows at a time.

        The smaller of the two Gram matrices is decomposed exactly; where both are large, a randomised
        decomposition with a fixed seed takes its place, which passes over blocks of rows (Halko et
        al. 2011, doi:10.1137/090771806).
        """
        n, p = features.shape
        keep = min(n, p) if self.n_directions is None else min(n, p, self.n_directions)
        self.centre_: NDArray[np.float64] = sum(block.sum(axis=0, dtype=np.float64) for block in blocks(features)) / n
        if min(n, p) > _EXACT and keep < min(n, p) // 4:
            self.directions_: NDArray[np.float64] = self._randomised(features, keep)
        elif p <= n:
            self.directions_ = _leading(self._through(features, lambda part: part), keep)[1]
        else:
            centred = np.concatenate(list(blocks(features))) - self.centre_
            values, left = _leading(centred @ centred.T, keep)
            self.directions_ = centred.T @ left / np.sqrt(values)
        return self

    def transform(self, features: NDArray[np.floating] | Rows) -> NDArray[np.float64]:
        """Return (spots, directions) float64."""
        offset = self.centre_ @ self.directions_
        rotated = np.empty((features.shape[0], self.directions_.shape[1]))
        start = 0
        for block in blocks(features):
            rotated[start : start + len(block)] = block @ self.directions_ - offset
            start += len(block)
        return rotated

    def _through(self, features: NDArray[np.floating] | Rows, of: Callable[[Any], Any]) -> NDArray[np.float64]:
        """Return Xᵀ of(X) for centred X, block by block."""
        total: Any = 0.0
        for block in blocks(features):
            centred = block - self.centre_
            total = total + centred.T @ of(centred)
        return total

    def _randomised(self, features: NDArray[np.floating] | Rows, keep: int) -> NDArray[np.float64]:
        basis = np.random.default_rng(0).standard_normal((features.shape[1], keep + _MORE))
        for _ in range(_PASSES):
            basis = np.linalg.qr(self._through(features, partial(_times, basis=basis)))[0]
        gram = basis.T @ self._through(features, partial(_times, basis=basis))
        return basis @ _leading((gram + gram.T) / 2, keep)[1]

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return everything fitted as JSON values and named arrays."""
        return {"n_directions": self.n_directions}, {"centre": self.centre_, "directions": self.directions_}

    def restore(self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        self.n_directions = facts["n_directions"]
        self.centre_, self.directions_ = arrays["centre"], arrays["directions"]
        if self.directions_.ndim != 2 or self.directions_.shape[0] != len(self.centre_):
            raise ModelProblem("The model's directions do not fit its features.")
        return self


def _times(part: NDArray[np.float64], basis: NDArray[np.float64]) -> NDArray[np.float64]:
    return part @ basis


def blocks(features: NDArray[np.floating] | Rows) -> Iterator[NDArray[np.floating]]:
    """Yield the rows of features, some thousand at a time."""
    for start in range(0, features.shape[0], _ROWS):
        stop = min(start + _ROWS, features.shape[0])
        yield features[start:stop] if isinstance(features, np.ndarray) else features(np.arange(start, stop))


def _leading(gram: NDArray[np.float64], keep: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the largest eigenvalues, largest first, and their vectors; null directions are left out."""
    # scipy's finds a part of them in less time, but lets no other thread run meanwhile, such as that of a window.
    with threads_for(1.4 * len(gram) ** 3):
        values, vectors = np.linalg.eigh(gram)
    values, vectors = values[::-1][:keep], vectors[:, ::-1][:, :keep]
    real = values > max(values[0], 0.0) * 1e-10
    return values[real], np.ascontiguousarray(vectors[:, real])
