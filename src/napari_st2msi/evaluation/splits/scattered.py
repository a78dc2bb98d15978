"""Splits of single spots, which do not keep neighbours apart: to show what such splits are worth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import RecipeProblem


class RandomSpots:
    """Hold out single spots at random, to show what such splits are worth: the spots around them train.

    Works as a scikit-learn splitter: ``split(X)``. Neighbours resemble each other, so that scores are
    flattered (Roberts et al. 2017, doi:10.1111/ecog.02881).

    Parameters
    ----------
    n_folds
        Into how many folds spots go, of sizes that differ by one at most. Two: random halves, each held out once.
    seed
        Of the order of spots.
    """

    def __init__(self, n_folds: int = 5, seed: int = 0) -> None:
        self.n_folds, self.seed = n_folds, seed

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of folds."""
        return self.n_folds

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield (train, test) positions.

        Raises
        ------
        RecipeProblem
            There are fewer than two spots a fold.
        """
        n = len(X)
        if n < 2 * self.n_folds:
            raise RecipeProblem(f"{n} spots cannot go into {self.n_folds} folds. Use fewer folds or more spots.")
        fold = np.random.default_rng(self.seed).permutation(np.arange(n) % self.n_folds)
        for number in range(self.n_folds):
            yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)
