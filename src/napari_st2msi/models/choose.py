"""How a setting is chosen for each target from the errors on inner folds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SLACK = 0.5  # standard errors


def least_flexible(errors: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the last candidate that is not clearly worse than the best.

    Parameters
    ----------
    errors
        (folds, candidates, k) summed errors; candidates go from the most to the least flexible.

    Returns
    -------
    (k,) index of a candidate: the last whose error is within half a standard error of the best. The
    standard error is that of the difference to the best over folds, since folds differ far more
    than candidates do. The rule with a whole standard error is that of Breiman et al. 1984
    (Classification and Regression Trees); half keeps unlearnable ions at their mean as well and
    loses less where signal is weak (measured in docs/evaluation.md).
    """
    n_folds, n_candidates, k = errors.shape
    if n_folds < 2:
        return np.full(k, n_candidates - 1)
    best = errors.sum(axis=0).argmin(axis=0)
    excess = errors - np.take_along_axis(errors, best[None, None, :], axis=1)
    slack = _SLACK * excess.std(axis=0, ddof=1) * np.sqrt(n_folds)
    close = excess.sum(axis=0) <= slack
    return n_candidates - 1 - close[::-1].argmax(axis=0)
