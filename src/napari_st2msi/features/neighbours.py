"""Neighbours at one step, two steps and more: a distance that is learned, applied to any section."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Beyond the k-th neighbour: enough for what reading positions in pixels rounds away, and less than the next ring.
_SLACK = 1.15


def step_length(xy: NDArray[np.float64], section: NDArray[Any], k: int) -> float:
    """Return the distance in µm within which a spot in the middle of the tissue has about k neighbours.

    It is 1.15 times the median distance to the k-th nearest spot of the section: on the hexagonal
    lattice of Visium with k = 6 exactly the six neighbours, on a square grid the eight around a spot,
    among cells as many as are near. 0 for lone spots.
    """
    from scipy.spatial import cKDTree

    farthest = [np.zeros(0)]
    for label in np.unique(section):
        own = xy[section == label]
        count = min(k, len(own) - 1)
        if count > 0:
            farthest.append(cKDTree(own).query(own, k=[count + 1])[0].ravel())
    together = np.concatenate(farthest)
    return _SLACK * float(np.median(together)) if len(together) else 0.0


def ring_means(
    xy: NDArray[np.float64], section: NDArray[Any], asked: NDArray[np.int64], step: float, n_rings: int
) -> list[Any]:
    """Return for each ring the sparse matrix that averages over it.

    Ring r holds the spots of the same section that are farther than r - 1 and at most r steps away; the
    spot itself is in none.

    Parameters
    ----------
    xy, section
        (n, 2) positions in µm and (n,) section of all spots that are known.
    asked
        Positions, in these, of the spots whose rings are wanted.
    step
        In µm: see `step_length`.

    Returns
    -------
    `n_rings` CSR arrays (asked, n) whose rows sum to 1, or to 0 where a ring is empty.
    """
    from scipy.sparse import csr_array
    from scipy.spatial import cKDTree

    pieces = []
    for label in np.unique(section[asked]):
        rows, own = np.flatnonzero(section[asked] == label), np.flatnonzero(section == label)
        near = cKDTree(xy[asked[rows]]).sparse_distance_matrix(cKDTree(xy[own]), n_rings * step, output_type="ndarray")
        row, column = rows[near["i"]], own[near["j"]]
        other = asked[row] != column
        pieces.append((row[other], column[other], near["v"][other]))
    row, column = (np.concatenate([piece[i] for piece in pieces] or [np.zeros(0, int)]) for i in (0, 1))
    distance = np.concatenate([piece[2] for piece in pieces] or [np.zeros(0)])
    ring = np.maximum(np.ceil(distance / step), 1).astype(np.int64) if step > 0 else np.ones(len(distance), int)
    means = []
    for number in range(1, n_rings + 1):
        here = ring == number
        count = np.bincount(row[here], minlength=len(asked))
        weight = 1.0 / count[row[here]]
        means.append(csr_array((weight, (row[here], column[here])), shape=(len(asked), len(xy))))
    return means


def spreading(xy: NDArray[np.float64], section: NDArray[Any], step: float) -> Any:
    """Return (n, n) CSR S: the mean over a spot and its neighbours one step away; rows sum to 1.

    Powers of S spread values over the tissue, the "simple graph convolution" of Wu et al. 2019
    (arXiv:1902.07153).
    """
    from scipy.sparse import csr_array, diags_array

    (mean,) = ring_means(xy, section, np.arange(len(xy)), step, 1)
    count = np.diff(mean.indptr)
    around = csr_array((np.ones(mean.nnz), mean.indices, mean.indptr), shape=mean.shape)
    return csr_array(diags_array(1.0 / (count + 1)) @ (around + diags_array(np.ones(len(xy)))))
