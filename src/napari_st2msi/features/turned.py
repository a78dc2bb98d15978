"""Directions that were learned on part of the spots, turned onto those that were learned on all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.features.design import Design

if TYPE_CHECKING:
    from anndata import AnnData


class Turned:
    """A design that was learned in an inner fold, turned onto that of all training spots.

    Parameters
    ----------
    own, seen
        The design of the fold, and (n, p) what it makes of the spots it was learned on.
    onto, target
        The design of all training spots, and (n, q) what that makes of the same spots.
    """

    def __init__(self, own: Design, seen: NDArray[np.floating], onto: Design, target: NDArray[np.floating]) -> None:
        self._own, self._here, self._there = own, seen.mean(axis=0), target.mean(axis=0)
        self._turns = [
            (own.bands[name], turned((seen - self._here)[:, own.bands[name]], (target - self._there)[:, columns]))
            for name, columns in onto.bands.items()
        ]

    def transform(self, genes: AnnData, context: AnnData | None = None) -> NDArray[np.float32]:
        """Return (spots, q); see `Design.transform`."""
        return self.of(self._own.transform(genes, context)).astype(np.float32)

    def of(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (spots, q) float64 of what the design of the fold makes of spots."""
        centred = features - self._here
        return self._there + np.hstack([centred[:, columns] @ turn for columns, turn in self._turns])


def turned(features: NDArray[np.floating], onto: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (p, q) the rotation of features (n, p) that brings them nearest to others (n, q) of the same spots.

    Orthogonal Procrustes (Schönemann 1966, doi:10.1007/BF02289451): lengths and angles between spots stay what
    they are, so a penalty means the same before and after.
    """
    left, _, right = np.linalg.svd(features.T @ onto, full_matrices=False)
    turn: NDArray[np.float64] = left @ right
    return turn
