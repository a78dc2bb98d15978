"""From p-values of many ions to the share of false ones among those that are believed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def q_values(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each p-value the false discovery rate at which it would just be believed.

    Benjamini & Hochberg 1995, doi:10.1111/j.2517-6161.1995.tb02031.x. NaN stays NaN and does not count.

    Parameters
    ----------
    p
        Of any shape; an array of two dimensions is corrected along the first, each column by itself.
    """
    from scipy.stats import false_discovery_control

    p = np.asarray(p, dtype=np.float64)
    if p.ndim == 2:
        return np.column_stack([q_values(column) for column in p.T]) if p.shape[1] else p.copy()
    q = np.full(p.shape, np.nan)
    known = np.isfinite(p)
    if known.any():
        q[known] = false_discovery_control(p[known])
    return q
