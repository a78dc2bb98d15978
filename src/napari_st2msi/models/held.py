"""What is learned from predictions of spots that were held out on inner folds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.models.choose import least_flexible
from napari_st2msi.models.inner import InnerFold

_TINY = 1e-9


def trusted(
    guesses: Sequence[NDArray[np.floating]],
    targets: NDArray[np.float64],
    present: NDArray[np.bool_],
    folds: Sequence[InnerFold],
) -> NDArray[np.float64]:
    """Return (k,) by which factor, 0 to 1, predictions of each target are to be drawn to its mean.

    It is the factor with the smallest squared error on spots held out; 0 where on inner folds the mean is not
    clearly worse: see `napari_st2msi.models.choose.least_flexible`.

    Parameters
    ----------
    guesses
        For each of the first folds (held, k) what a model that did not learn from the held-out spots says of
        them, as deviation from the mean. With none, nothing is to be trusted.
    targets
        (n, k) deviations from the mean.
    present
        (n, k) which spots count for which target.
    """
    along, square = np.zeros((len(guesses), targets.shape[1])), np.zeros((len(guesses), targets.shape[1]))
    for number, guess in enumerate(guesses):
        fold = folds[number]
        counts = present[fold.held]
        along[number] = (counts * guess * targets[fold.held]).sum(axis=0)
        square[number] = (counts * guess**2).sum(axis=0)
    factor = np.clip(along.sum(axis=0) / np.maximum(square.sum(axis=0), _TINY), 0.0, 1.0)
    # By how much the squared error of each fold differs from that of the mean.
    errors = np.stack([factor**2 * square - 2 * factor * along, np.zeros_like(along)], axis=1)
    return np.where(least_flexible(errors) == 0, factor, 0.0)
