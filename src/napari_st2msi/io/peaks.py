"""Peaks of the mean spectrum, for imzML files opened without a list of m/z."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem
from napari_st2msi.io.imzml_index import ImzmlIndex
from napari_st2msi.io.imzml_read import Chunk, chunks
from napari_st2msi.progress import Progress, never

# Beyond any ion; keeps the number of bins bounded when a file holds nonsense.
_HIGHEST_MZ = 1e6


def pick_peaks(
    index: ImzmlIndex,
    n_peaks: int,
    ppm: float,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> NDArray[np.float64]:
    """Return the m/z of the highest peaks of the mean spectrum, ascending.

    This is a pass over the file of its own. Spectra that share an m/z axis are averaged on it: peaks of
    curves are its local maxima, peaks of centroids all its points. Others are averaged in bins one
    tolerance wide (at least 1 ppm, and a quarter of the distance of the points of a curve): peaks are
    local maxima of the smoothed bins, at the mean m/z of the signal in the highest bin and its
    neighbours; for curves at the nearest point of a spectrum, since a window between two points would
    read nothing. Going down from the highest, a peak is left out when its window would overlap that of
    one taken before. Spectra count as stored, before any normalisation.

    Parameters
    ----------
    n_peaks
        At most so many.
    ppm
        Half width of the window in which an ion will be read.

    Raises
    ------
    DataProblem
        There is no signal at all.
    """
    if index.shared_axis:
        mz, height = _mean_on_axis(index, progress, cancelled)
        candidates = _maxima(height) if index.profile else np.flatnonzero(height > 0)
        mz, height = mz[candidates], height[candidates]
    else:
        mz, height = _mean_in_bins(index, max(ppm, 1.0), progress, cancelled)
    if len(mz) == 0:
        raise DataProblem(f"'{index.path.name}' holds no signal, so no peaks can be picked.")
    return np.sort(mz[_apart(mz, height, n_peaks, ppm)])


def _mean_on_axis(
    index: ImzmlIndex, progress: Progress, cancelled: Callable[[], bool]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    axis = total = np.zeros(0)
    for chunk in chunks(index, progress=progress, cancelled=cancelled):
        if len(total) == 0:
            axis, total = chunk.mz.astype(np.float64), np.zeros(len(chunk.mz))
        total += chunk.intensity.reshape(-1, len(axis)).sum(axis=0, dtype=np.float64)
    order = np.argsort(axis, kind="stable")
    return axis[order], total[order] / len(index)


def _mean_in_bins(
    index: ImzmlIndex, ppm: float, progress: Progress, cancelled: Callable[[], bool]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from scipy.ndimage import gaussian_filter1d

    bins, reach, axis = None, 1, np.zeros(0)
    for chunk in chunks(index, progress=progress, cancelled=cancelled):
        if len(chunk.intensity) == 0:
            continue
        if bins is None:
            # A curve sampled more coarsely than the tolerance must not fall apart into its points.
            axis = _longest_axis(chunk) if index.profile else axis
            spacing = _spacing_ppm(axis)
            width = max(ppm, spacing / 4)
            bins, reach = _Bins(width), max(1, int(np.ceil(2 * spacing / width)))
        bins.add(chunk)
    if bins is None or not bins.signal.any():
        return np.zeros(0), np.zeros(0)
    signal, moment = (np.pad(values, reach) for values in (bins.signal, bins.moment))
    # A Gaussian, for a moving sum would ripple with the number of points that fall into it.
    height = gaussian_filter1d(signal, reach / 2, mode="constant")
    around = _maxima(height)[:, None] + np.arange(-reach, reach + 1)
    around = np.clip(around, 0, len(signal) - 1)
    top = np.unique(np.take_along_axis(around, signal[around].argmax(axis=1)[:, None], axis=1))
    moment = moment[top - 1] + moment[top] + moment[top + 1]
    mz = moment / (signal[top - 1] + signal[top] + signal[top + 1])
    return (_nearest(axis, mz) if len(axis) else mz), height[top] / len(index)


def _longest_axis(chunk: Chunk) -> NDArray[np.float64]:
    """Return the m/z points of the chunk's longest spectrum, ascending."""
    longest = int(np.diff(chunk.start).argmax())
    return np.unique(chunk.mz[chunk.start[longest] : chunk.start[longest + 1]].astype(np.float64))


def _nearest(axis: NDArray[np.float64], mz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the point of the axis that is nearest to each m/z."""
    right = np.minimum(np.searchsorted(axis, mz), len(axis) - 1)
    left = np.maximum(right - 1, 0)
    return np.where(mz - axis[left] < axis[right] - mz, axis[left], axis[right])


def _spacing_ppm(axis: NDArray[np.float64]) -> float:
    """Return how far neighbouring points of a spectrum are apart, in ppm; 0 for fewer than two.

    Spacing varies along the m/z axis: it is the median within an eighth of the points, where that is
    largest. Gaps, where points without signal were dropped, do not count, being few.
    """
    axis = axis[axis >= 1]
    steps = np.diff(axis) / axis[1:] * 1e6
    return max((float(np.median(part)) for part in np.array_split(steps, 8) if len(part)), default=0.0)


class _Bins:
    """Signal and signal × m/z in logarithmic bins; the range grows with what is seen."""

    def __init__(self, ppm: float) -> None:
        self._width = np.log1p(ppm * 1e-6)
        self._first = 0
        self.signal = np.zeros(0)
        self.moment = np.zeros(0)

    def add(self, chunk: Chunk) -> None:
        seen = (chunk.mz >= 1) & (chunk.mz <= _HIGHEST_MZ)
        mz = chunk.mz[seen].astype(np.float64)
        intensity = chunk.intensity[seen].astype(np.float64)
        if len(mz) == 0:
            return
        number = np.floor(np.log(mz) / self._width).astype(np.int64)
        low, high = int(number.min()), int(number.max()) + 1
        self._cover(low, high)
        part = slice(low - self._first, high - self._first)
        self.signal[part] += np.bincount(number - low, intensity, high - low)
        self.moment[part] += np.bincount(number - low, intensity * mz, high - low)

    def _cover(self, low: int, high: int) -> None:
        if len(self.signal) == 0:
            self._first = low
        before = max(0, self._first - low)
        after = max(0, high - self._first - len(self.signal))
        if before or after:
            self.signal = np.pad(self.signal, (before, after))
            self.moment = np.pad(self.moment, (before, after))
            self._first -= before


def _maxima(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return where values are higher than their neighbours; the middle of flat tops, and the ends too."""
    from scipy.signal import find_peaks

    return find_peaks(np.pad(values, 1))[0] - 1


def _apart(mz: NDArray[np.float64], height: NDArray[np.float64], n_peaks: int, ppm: float) -> NDArray[np.int64]:
    """Return the highest peaks of which no two windows overlap; `mz` may be in any order."""
    order = np.argsort(mz, kind="stable")
    sorted_mz = mz[order]
    reach = 2 * ppm * 1e-6
    begin = np.searchsorted(sorted_mz, sorted_mz * (1 - reach), side="left")
    end = np.searchsorted(sorted_mz, sorted_mz * (1 + reach), side="right")
    free = np.ones(len(mz), dtype=bool)
    taken: list[int] = []
    for i in np.argsort(-height[order], kind="stable"):
        if len(taken) == n_peaks:
            break
        if free[i]:
            taken.append(int(i))
            free[begin[i] : end[i]] = False
    return order[taken]
