"""Deletion curves: how much a prediction changes without the genes that are said to matter, and without random ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.explain.attribution import Part
from napari_st2msi.explain.explainer import Explainer
from napari_st2msi.explain.ions import find_ion
from napari_st2msi.progress import Progress, check, never

N_RANDOM = 10
_MOST_SPOTS = 256
_COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


@dataclass(frozen=True)
class DeletionCurve:
    """Mean change of a prediction when genes are taken to their training mean.

    Attributes
    ----------
    counts
        (steps,) how many genes, ascending.
    top
        (steps,) mean size of the change without so many of the strongest genes.
    random
        (sets, steps) the same without as many genes drawn at random.
    unit
        Of the changes.
    n_spots
        Over how many spots.
    """

    counts: NDArray[np.int64]
    top: NDArray[np.float64]
    random: NDArray[np.float64]
    unit: str
    n_spots: int

    @property
    def advantage(self) -> float:
        """How many times more the strongest genes change the prediction than random ones, at most 20 of them."""
        by_chance = float(self.random[:, self._step].mean())
        return float(self.top[self._step]) / by_chance if by_chance > 1e-12 else 1.0

    @property
    def compared(self) -> int:
        """Of how many genes `advantage` tells."""
        return int(self.counts[self._step])

    @property
    def _step(self) -> int:
        return int(np.searchsorted(self.counts, 20, side="right")) - 1

    def frame(self) -> pd.DataFrame:
        """Return a row a step: `genes`, `change_top`, and mean, least and largest of `change_random`."""
        return pd.DataFrame(
            {
                "genes": self.counts,
                "change_top": self.top,
                "change_random": self.random.mean(axis=0),
                "change_random_least": self.random.min(axis=0),
                "change_random_most": self.random.max(axis=0),
            }
        )


def deletion_curve(
    explainer: Explainer,
    ion: str,
    ranked: Sequence[Sequence[str]],
    *,
    part: Part = "prediction",
    n_random: int = N_RANDOM,
    seed: int = 0,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> DeletionCurve:
    """Take the strongest genes to their training mean, there and around, and see how far the prediction moves.

    If a ranking tells what the model uses, its first genes move the prediction more than random ones do
    (Samek et al. 2017, doi:10.1109/TNNLS.2016.2599820). With more than 256 spots an even choice of them is used.

    Parameters
    ----------
    explainer
        The model at some spots.
    ion
        Its name.
    ranked
        Genes, or the genes of each pathway, strongest first; random ones are drawn among the same.
    n_random
        How many random sets of each size.
    """
    column = find_ion(explainer.learner.ions_.var_, ion)
    some = even_choice(len(explainer.inputs))
    without = explainer.without(some, part)
    before = explainer.predicted(some, part)[:, column]
    groups = [explainer.inputs.names.get_indexer(pd.Index(own)) for own in ranked]

    def change(order: NDArray[np.int64]) -> float:
        check(cancelled)
        genes = np.unique(np.concatenate([groups[place] for place in order]))
        return float(np.abs(without(genes[genes >= 0])[:, column] - before).mean())

    n = len(groups)
    counts = np.array([count for count in _COUNTS if count < n] + [n])
    rng = np.random.default_rng(seed)
    orders = [np.arange(n), *(rng.permutation(n) for _ in range(n_random))]
    changes = np.empty((len(orders), len(counts)))
    for number, order in enumerate(orders):
        for step, count in enumerate(counts):
            changes[number, step] = change(order[:count])
        progress((number + 1) / len(orders), "deleting genes")
    return DeletionCurve(counts, changes[0], changes[1:], explainer.unit(part), len(some))


def even_choice(n: int) -> NDArray[np.int64]:
    """Return at most 256 of n positions, evenly spread: enough to judge an explanation by."""
    return np.unique(np.linspace(0, n - 1, min(n, _MOST_SPOTS)).round().astype(np.int64))
