"""Partial least squares: directions of the features that go along with the targets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_TURNS = 100


def simpls(
    x: NDArray[np.floating], y: NDArray[np.floating], n_components: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weights and loadings of SIMPLS (de Jong 1993, doi:10.1016/0169-7439(93)85002-X).

    Parameters
    ----------
    x, y
        (n, p) features and (n, k) targets, both centred.
    n_components
        How many components at most; there are fewer where the features have fewer directions that go
        along with any target.

    Returns
    -------
    Weights R (p, c), such that the scores T = X R are orthonormal, and loadings Q (k, c): with the first
    c components Y is estimated as X R Qᵀ.
    """
    cross = np.asarray(x.T @ y, dtype=np.float64)
    size = np.linalg.norm(cross)
    weights: list[NDArray[np.float64]] = []
    loadings: list[NDArray[np.float64]] = []
    basis = np.empty((x.shape[1], min(n_components, *x.shape)))
    for number in range(basis.shape[1]):
        weight = _leading(cross)
        score = x @ weight
        length = np.linalg.norm(score)
        if np.linalg.norm(cross) <= 1e-10 * size or length <= 1e-12:
            break
        weight, score = weight / length, score / length
        loading = np.asarray(x.T @ score, dtype=np.float64)
        known = basis[:, :number]
        # Twice, because once leaves what rounding adds over many components.
        fresh = loading - known @ (known.T @ loading)
        fresh -= known @ (known.T @ fresh)
        basis[:, number] = fresh / np.linalg.norm(fresh)
        cross -= np.outer(basis[:, number], basis[:, number] @ cross)
        weights.append(weight)
        loadings.append(np.asarray(y.T @ score, dtype=np.float64))
    if not weights:
        return np.zeros((x.shape[1], 0)), np.zeros((y.shape[1], 0))
    return np.column_stack(weights), np.column_stack(loadings)


def _leading(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the leading left singular vector, by power iteration from the longest column."""
    if not matrix.size or not matrix.any():
        return np.zeros(len(matrix))
    vector = matrix[:, np.linalg.norm(matrix, axis=0).argmax()].copy()
    vector /= np.linalg.norm(vector)
    for _ in range(_TURNS):
        turned = matrix @ (matrix.T @ vector)
        turned /= np.linalg.norm(turned)
        done = np.abs(turned - vector).max() < 1e-9
        vector = turned
        if done:
            break
    return vector
