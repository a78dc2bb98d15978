"""Squares of tissue and what lies around them: the geometry of honest splits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Default block side is the tissue's longer side divided by this.
BLOCKS_ALONG = 8
#: Default buffer in spot pitches.
BUFFER_PITCHES = 1.5


def longer_side(xy: NDArray[np.float64], section: NDArray[Any]) -> float:
    """Return the longer side of the bounding box in µm, the median over sections."""
    return float(np.median([np.ptp(xy[section == label], axis=0).max() for label in np.unique(section)]))


def spot_pitch(xy: NDArray[np.float64], section: NDArray[Any]) -> float:
    """Return the median distance to the nearest other spot of the section in µm; 0 for lone spots."""
    from scipy.spatial import cKDTree

    nearest = [np.zeros(0)]
    for label in np.unique(section):
        own = xy[section == label]
        if len(own) > 1:
            nearest.append(cKDTree(own).query(own, k=2)[0][:, 1])
    together = np.concatenate(nearest)
    return float(np.median(together)) if len(together) else 0.0


def squares(xy: NDArray[np.float64], section: NDArray[Any], side: float) -> NDArray[np.int64]:
    """Return (n,) the square of tissue, `side` µm wide and of one section, that each spot lies in."""
    _, section_code = np.unique(section, return_inverse=True)
    corner = np.zeros((section_code.max() + 1, 2))
    for code in range(len(corner)):
        corner[code] = xy[section_code == code].min(axis=0)
    cell = np.floor((xy - corner[section_code]) / side).astype(np.int64)
    _, block = np.unique(np.column_stack([section_code, cell]), axis=0, return_inverse=True)
    return np.asarray(block, dtype=np.int64).ravel()


def assign_blocks(
    xy: NDArray[np.float64], section: NDArray[Any], side: float, n_folds: int, seed: int
) -> tuple[NDArray[np.int64], int]:
    """Cut sections into squares and deal the squares out to folds.

    Parameters
    ----------
    xy, section
        (n, 2) positions in µm and (n,) section of each spot.
    side
        Side of a square in µm.
    n_folds, seed
        Squares go, fullest first and equals in random order, to the fold with the fewest spots.

    Returns
    -------
    (n,) fold of each spot, and the number of squares. With fewer squares than folds, some folds
    stay empty.
    """
    block = squares(xy, section, side)
    sizes = np.bincount(block)
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    fold_of = np.empty(len(sizes), dtype=np.int64)
    load = np.zeros(n_folds, dtype=np.int64)
    for member in order:
        fold_of[member] = load.argmin()
        load[fold_of[member]] += sizes[member]
    return fold_of[block], len(sizes)


def outside_buffer(
    xy: NDArray[np.float64], section: NDArray[Any], held: NDArray[np.bool_], buffer: float
) -> NDArray[np.bool_]:
    """Return (n,) which spots may train: not held out, and farther than `buffer` µm from any that is.

    Distance counts within a section only.
    """
    from scipy.spatial import cKDTree

    free = ~held
    if buffer <= 0:
        return free
    for label in np.unique(section[held]):
        here = section == label
        candidates = np.flatnonzero(here & free)
        if len(candidates):
            # Just beyond the buffer, so that a spot at exactly that distance is left out on every machine.
            reach = buffer * (1 + 1e-9)
            distance, _ = cKDTree(xy[here & held]).query(xy[candidates], distance_upper_bound=reach)
            free[candidates[np.isfinite(distance)]] = False
    return free
