"""Spectra of an imzML file in chunks, and the ion intensities in them: one pass, vectorised."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, FileProblem
from napari_st2msi.io.imzml_index import ArrayIndex, ImzmlIndex
from napari_st2msi.progress import Progress, check, never

Normalisation = Literal["none", "tic", "rms", "median"]

# Small enough for the processor's cache, which is worth more than fewer and larger chunks.
_POINTS = 1 << 17
_VALUES = 1 << 18
# Cells of the table in which m/z are looked up, and how many edges one may hold to be worth it.
_CELLS = 1 << 18
_MOST_EDGES = 8


@dataclass(frozen=True)
class Chunk:
    """Some spectra, one after the other.

    Attributes
    ----------
    rows
        (k,) which spectra of the index.
    start
        (k + 1,) where each begins in `intensity`, and where the last ends.
    mz
        (points,) m/z of each point; (length of a spectrum,) where all share one axis.
    intensity
        (points,) as stored.
    """

    rows: NDArray[np.int64]
    start: NDArray[np.int64]
    mz: NDArray[Any]
    intensity: NDArray[Any]


def chunks(
    index: ImzmlIndex,
    *,
    most_rows: int = _POINTS,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Iterator[Chunk]:
    """Go once through all spectra, in the order in which they lie in the .ibd file.

    Each chunk is mapped and released again, so no more than one is ever in memory.

    Parameters
    ----------
    most_rows
        At most so many spectra at a time.

    Raises
    ------
    FileProblem
        The file got shorter while it was read, or a compressed array is damaged.
    DataProblem
        An m/z or an intensity is NaN or infinite, or an intensity is negative.
    """
    order = np.argsort(index.intensity.offset, kind="stable")
    points = np.cumsum(index.intensity.length[order])
    shared = _shared_axis(index) if index.shared_axis else None
    first = 0
    while first < len(order):
        check(cancelled)
        before = points[first - 1] if first else 0
        last = int(np.searchsorted(points, before + _POINTS, side="right"))
        last = min(max(last, first + 1), first + most_rows)
        rows = order[first:last]
        raw = _map(index)
        start = np.concatenate([[0], np.cumsum(index.intensity.length[rows])])
        intensity = _values(raw, index, index.intensity, rows)
        mz = _values(raw, index, index.mz, rows) if shared is None else shared
        del raw
        chunk = Chunk(rows, start, mz, intensity)
        _check_chunk(index, chunk, check_mz=shared is None)
        yield chunk
        first = last
        progress(first / len(order), f"read {first:,} of {len(order):,} spectra")


@dataclass(frozen=True)
class IonReading:
    """What one pass over a file gives.

    Attributes
    ----------
    intensities
        (spectra, ions) float32.
    tic
        (spectra,) float64, sum of all intensities of each spectrum as stored.
    mz_range
        Lowest and highest m/z of any point; NaN when all spectra are empty.
    """

    intensities: NDArray[np.float32]
    tic: NDArray[np.float64]
    mz_range: tuple[float, float]


def read_ions(
    index: ImzmlIndex,
    mz: NDArray[np.float64],
    ppm: float,
    *,
    normalisation: Normalisation = "none",
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> IonReading:
    """Read the intensity of each ion in each spectrum.

    The intensity of an ion is the sum of all points from ``mz - mz * ppm * 1e-6`` to
    ``mz + mz * ppm * 1e-6``, both included; sums are formed in float64. Windows may overlap.

    Parameters
    ----------
    mz
        (ions,) m/z in any order.
    normalisation
        Each spectrum is divided by: ``tic``, the sum of its intensities; ``rms``, the square root of
        the mean of their squares over the points stored; ``median``, the median of those above zero,
        so that it does not matter whether zeros are stored. The whole spectrum counts, not only the
        ions read. A spectrum without signal stays zero.
    """
    window = mz * ppm * 1e-6
    lower, upper = mz - window, mz + window
    result = np.zeros((len(index), len(mz)), dtype=np.float32)
    tic = np.zeros(len(index))
    if index.shared_axis:
        summed: Callable[[Chunk], NDArray[np.float64]] = _SharedAxisWindows(_shared_axis(index), lower, upper)
    else:
        summed = _Windows(lower, upper)
    low, high = np.inf, -np.inf
    most_rows = max(1, _VALUES // max(1, len(mz)))
    for chunk in chunks(index, most_rows=most_rows, progress=progress, cancelled=cancelled):
        if len(chunk.intensity) == 0:
            continue
        low, high = min(low, float(chunk.mz.min())), max(high, float(chunk.mz.max()))
        total = _per_spectrum(chunk, chunk.intensity)
        tic[chunk.rows] = total
        values = summed(chunk)
        if normalisation != "none":
            scale = total if normalisation == "tic" else _scale(chunk, normalisation)
            values = np.divide(values, scale[:, None], out=np.zeros_like(values), where=scale[:, None] > 0)
        result[chunk.rows] = values
    return IonReading(result, tic, (low, high) if low <= high else (np.nan, np.nan))


class _SharedAxisWindows:
    """Sums over windows of one m/z axis: the points of every window are gathered, then added up."""

    def __init__(self, axis: NDArray[Any], lower: NDArray[np.float64], upper: NDArray[np.float64]) -> None:
        order = np.argsort(axis, kind="stable")
        axis = axis[order].astype(np.float64)
        begin = np.searchsorted(axis, lower, side="left")
        count = np.searchsorted(axis, upper, side="right") - begin
        self._ions = np.flatnonzero(count > 0)
        begin, count = begin[self._ions], count[self._ions]
        self._start = np.concatenate([[0], np.cumsum(count)])[:-1]
        within = np.arange(count.sum()) - np.repeat(self._start, count)
        self._points = order[np.repeat(begin, count) + within]
        self._n_ions = len(lower)
        self._length = len(axis)

    def __call__(self, chunk: Chunk) -> NDArray[np.float64]:
        values = np.zeros((len(chunk.rows), self._n_ions))
        filled = np.diff(chunk.start) > 0
        if len(self._ions):
            gathered = chunk.intensity.reshape(-1, self._length).take(self._points, axis=1)
            summed = np.add.reduceat(gathered, self._start, axis=1, dtype=np.float64)
            values[np.ix_(filled, self._ions)] = summed
        return values


class _Windows:
    """Sums over windows for spectra that each have their own m/z.

    The edges of all windows cut the m/z axis into segments, none of which is partly inside a window.
    Every point is looked up once among the edges and added to its segment; a window is the sum of the
    segments it spans, of which there is one unless windows overlap.
    """

    def __init__(self, lower: NDArray[np.float64], upper: NDArray[np.float64]) -> None:
        # A point equal to the upper edge is inside: the cut is the next number above.
        above = np.nextafter(upper, np.inf)
        edges = np.unique(np.concatenate([lower, above]))
        self._segments_of = _Segments(edges)
        # Segment i lies between edges i - 1 and i; the first and the last are in no window.
        begin = np.searchsorted(edges, lower) + 1
        end = np.searchsorted(edges, above) + 1
        count = end - begin
        first = np.concatenate([[0], np.cumsum(count)])
        segments = np.repeat(begin, count) + np.arange(first[-1]) - np.repeat(first[:-1], count)
        used, self._members = np.unique(segments, return_inverse=True)
        self._apart = len(used) == len(segments) == len(lower)
        if self._apart:
            # One segment an ion: let its column be the ion's own.
            used = segments
        self._first = first[:-1]
        self._n_columns = len(used)
        self._column = np.full(len(edges) + 1, -1, dtype=np.int64)
        self._column[used] = np.arange(len(used))

    def __call__(self, chunk: Chunk) -> NDArray[np.float64]:
        column = self._column.take(self._segments_of(chunk.mz.astype(np.float64, copy=False)))
        inside = np.flatnonzero(column >= 0)
        offset = np.repeat(np.arange(len(chunk.rows)) * self._n_columns, np.diff(chunk.start))
        cell = column.take(inside) + offset.take(inside)
        size = len(chunk.rows) * self._n_columns
        sums: NDArray[Any] = np.bincount(cell, chunk.intensity.take(inside), minlength=size)
        sums = sums.reshape(len(chunk.rows), self._n_columns)
        return sums if self._apart else np.add.reduceat(sums[:, self._members], self._first, axis=1)


class _Segments:
    """How many edges lie at or below each value: `numpy.searchsorted`, three times as fast.

    The range of the edges is cut into equal cells, for each of which it is known how many edges lie
    before it. What is left is to compare a value with the few edges inside its cell. Rounding does no
    harm, because it never puts the smaller of two numbers into the later cell.
    """

    def __init__(self, edges: NDArray[np.float64]) -> None:
        self._edges = np.append(edges, np.inf)
        self._low, self._high = edges[0], edges[-1]
        self._per_unit = (_CELLS - 1) / (self._high - self._low)
        count = np.bincount(self._cell(edges), minlength=_CELLS)
        self._before = (np.cumsum(count) - count).astype(np.int32)
        self._most = int(count.max())

    def _cell(self, values: NDArray[np.float64]) -> NDArray[np.int32]:
        place = np.clip(values, self._low, self._high)
        place -= self._low
        place *= self._per_unit
        return place.astype(np.int32)

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.integer]:
        if self._most > _MOST_EDGES:
            return np.searchsorted(self._edges, values, side="right")
        found = self._before.take(self._cell(values))
        for _ in range(self._most):
            found += values >= self._edges.take(found)
        return found


def _per_spectrum(chunk: Chunk, values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the float64 sum of the values of each spectrum of a chunk."""
    sums = np.zeros(len(chunk.rows))
    filled = np.diff(chunk.start) > 0
    # Between two filled spectra lie empty ones only, so the next start is where a sum ends.
    sums[filled] = np.add.reduceat(values, chunk.start[:-1][filled], dtype=np.float64)
    return sums


def _scale(chunk: Chunk, normalisation: Normalisation) -> NDArray[np.float64]:
    """Return what each spectrum of a chunk is divided by; 0 for spectra without signal."""
    if normalisation == "rms":
        squares = _per_spectrum(chunk, chunk.intensity.astype(np.float64) ** 2)
        return np.sqrt(squares / np.maximum(np.diff(chunk.start), 1))
    medians = np.zeros(len(chunk.rows))
    for i, (begin, end) in enumerate(zip(chunk.start[:-1], chunk.start[1:], strict=True)):
        signal = chunk.intensity[begin:end]
        signal = signal[signal > 0]
        if len(signal):
            medians[i] = np.median(signal)
    return medians


# -- bytes ------------------------------------------------------------------------------------------


def _map(index: ImzmlIndex) -> NDArray[np.uint8]:
    try:
        # As a plain array, whose slices cost a fifth of those of a memmap.
        return np.asarray(np.memmap(index.ibd, dtype=np.uint8, mode="r"))
    except (OSError, ValueError) as error:
        raise FileProblem(f"'{index.ibd}' cannot be read: {error}.") from error


def _values(raw: NDArray[np.uint8], index: ImzmlIndex, array: ArrayIndex, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Return the values of some spectra, one after the other, as a new array."""
    begin, end = array.offset[rows], (array.offset + array.stored)[rows]
    pieces = [raw[a:b] for a, b in zip(begin.tolist(), end.tolist(), strict=True)]
    if array.zlib:
        pieces = [_inflate(index, array, row, piece) for row, piece in zip(rows, pieces, strict=True)]
    joined: NDArray[np.uint8] = np.concatenate(pieces)
    if len(joined) != int(array.length[rows].sum()) * array.dtype.itemsize:
        raise FileProblem(f"'{index.ibd.name}' became shorter while it was read. Copy it again.")
    return joined.view(array.dtype)


def _inflate(index: ImzmlIndex, array: ArrayIndex, row: np.int64, piece: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Decompress one array to the size it is declared to have, and not a byte more."""
    size = int(array.length[row]) * array.dtype.itemsize
    if size == 0:
        return piece[:0]
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(piece.tobytes(), size)
    except zlib.error as error:
        raise FileProblem(f"A compressed array in '{index.ibd.name}' is damaged ({error}). Copy it again.") from error
    if len(data) != size or inflater.decompress(inflater.unconsumed_tail, 1):
        raise FileProblem(
            f"A compressed array in '{index.ibd.name}' does not hold the {array.length[row]:,} values that "
            f"'{index.path.name}' describes. Export it again."
        )
    return np.frombuffer(data, dtype=np.uint8)


def _shared_axis(index: ImzmlIndex) -> NDArray[Any]:
    """Return the m/z array that all spectra share."""
    first = np.flatnonzero(index.mz.length)[:1]
    axis = _values(_map(index), index, index.mz, first)
    if not np.isfinite(axis).all():
        raise DataProblem(f"Some m/z values of '{index.path.name}' are missing (NaN) or infinite. Export it again.")
    return axis


def _check_chunk(index: ImzmlIndex, chunk: Chunk, *, check_mz: bool) -> None:
    if len(chunk.intensity) == 0:
        return
    # A minimum or maximum is NaN as soon as one value is.
    low, high = chunk.intensity.min(), chunk.intensity.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        where = _where(index, chunk, ~np.isfinite(chunk.intensity))
        raise DataProblem(
            f"Intensities of '{index.path.name}' are missing (NaN) or infinite, first {where}. Export it again."
        )
    if low < 0:
        raise DataProblem(
            f"Intensities of '{index.path.name}' are negative, first {_where(index, chunk, chunk.intensity < 0)}. "
            "Some programs leave them when they subtract a baseline: export without that, or with "
            "negative values set to zero."
        )
    if check_mz and not (np.isfinite(chunk.mz.min()) and np.isfinite(chunk.mz.max())):
        raise DataProblem(
            f"m/z values of '{index.path.name}' are missing (NaN) or infinite, first "
            f"{_where(index, chunk, ~np.isfinite(chunk.mz))}. Export it again."
        )


def _where(index: ImzmlIndex, chunk: Chunk, bad: NDArray[np.bool_]) -> str:
    row = chunk.rows[int(np.searchsorted(chunk.start, int(np.argmax(bad)), side="right")) - 1]
    x, y, z = index.xyz[row]
    return f"at pixel x = {x}, y = {y}" + (f", z = {z}" if z != 1 else "")
