"""Pixel values to spot values and back, through one sparse matrix of weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem
from napari_st2msi.paired import check_values, dense
from napari_st2msi.progress import Progress, check, never

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

#: Values looked at together: 4 million are 16 to 32 MB.
_CHUNK = 4_000_000


def aggregate(
    weights: csr_matrix,
    values: Any,
    *,
    mean: bool = True,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> NDArray[np.floating]:
    """Return the value of every spot: W·X/ΣW, or W·X where a total is wanted.

    Parameters
    ----------
    weights
        (spots, pixels) CSR.
    values
        (pixels, ions), array or sparse. Only pixels with a weight are read.
    mean
        False for the weighted total instead of the weighted mean.

    Returns
    -------
    (spots, ions), float32 for float32 values, else float64. Spots without any pixel are NaN, never 0.
    """
    if hasattr(values, "tocsr"):
        values = values.tocsr()
    n_spots, n_ions = weights.shape[0], values.shape[1]
    result = np.full((n_spots, n_ions), np.nan, dtype=np.result_type(values.dtype, np.float32))
    total = np.asarray(weights.sum(axis=1)).ravel()
    # Spots go by in runs whose pixels fit the chunk, ions in blocks where even one spot's do not.
    longest = max(1, _CHUNK // max(1, n_ions))
    start = 0
    while start < n_spots:
        stop = max(start + 1, int(np.searchsorted(weights.indptr, weights.indptr[start] + longest, side="right")) - 1)
        part = weights[start:stop]
        used = np.unique(part.indices)
        part = part[:, used]
        some = total[start:stop] > 0
        block = max(1, _CHUNK // max(1, len(used)))
        for first in range(0, n_ions, block):
            check(cancelled)
            progress((start + (stop - start) * first / n_ions) / n_spots, "Averaging pixels over spots")
            here = values[used] if block >= n_ions else values[:, first : first + block][used]
            found = dense(part @ here)[some]
            if mean:
                found /= total[start:stop][some, None]
            result[np.flatnonzero(some)[:, None] + start, np.arange(first, min(first + block, n_ions))] = found
        start = stop
    return result


def spread(weights: csr_matrix, values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the value of every pixel from the spots over it: Wᵀ·v/ΣWᵀ, the way back of `aggregate`.

    Parameters
    ----------
    weights
        (spots, pixels) CSR, the same as for the way there.
    values
        (spots,) or (spots, ions) float; NaN spots give nothing to any pixel.

    Returns
    -------
    (pixels,) or (pixels, ions) float64; NaN for pixels under no spot with a value.
    `Grid.image` makes a picture of one column.
    """
    values = np.asarray(values, dtype=np.float64)
    known = np.isfinite(values)
    back = weights.T.tocsr()
    with np.errstate(invalid="ignore"):
        return np.asarray((back @ np.where(known, values, 0)) / (back @ known.astype(np.float64)))


def measured_pixels(values: Any, *, cancelled: Callable[[], bool] = never) -> NDArray[np.bool_]:
    """Tell which pixels were measured: rows of nothing but NaN were not.

    Parameters
    ----------
    values
        (pixels, ions) intensities, array or sparse.

    Raises
    ------
    DataProblem
        Some values of measured pixels are NaN, infinite or negative, or no pixel was measured.
    """
    measured = np.ones(values.shape[0], dtype=bool)
    if hasattr(values, "tocsr"):
        check_values(values, "ions")
        return measured
    step = max(1, _CHUNK // max(1, values.shape[1]))
    for start in range(0, len(measured), step):
        check(cancelled)
        rows = np.asarray(values[start : start + step])
        # One sum a row finds NaN and infinity; only where there is any is it worth looking closer.
        if not np.isfinite(rows.sum(axis=1)).all():
            measured[start : start + step] = ~np.isnan(rows).all(axis=1)
            rows = rows[measured[start : start + step]]
        check_values(rows, "ions")
    if not measured.any():
        raise DataProblem("No MSI pixel has a value; all are missing (NaN). Check the file that was opened.")
    return measured
