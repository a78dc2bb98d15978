"""The patterns that the spots of a tissue can carry, from smooth to rough."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from threading import Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem
from napari_st2msi.evaluation.autocorrelation import checked
from napari_st2msi.features.blocks import longer_side, squares
from napari_st2msi.features.spatial import centred, neighbour_graph
from napari_st2msi.features.threads import threads_for
from napari_st2msi.progress import Progress, check, never

#: More spots are looked at in squares, of which there are at most so many, in each section by its share of the spots.
MOST_SPOTS = 4000
# How often it is asked whether the user wants to stop.
_PATIENCE_S = 0.1


@dataclass(frozen=True)
class Waves:
    """The patterns that a tissue's spots can carry, from smooth to rough.

    Attributes
    ----------
    places
        (n,) the place that each spot is part of: the spot itself, or a square of tissue where there are many.
    xy, sections
        (places, 2) and (places,) where places are.
    modes
        For each section its name and (places of the section, modes) float32: orthonormal eigenvectors, all
        orthogonal to a constant, smoothest first.
    """

    places: NDArray[np.int64]
    xy: NDArray[np.float64]
    sections: NDArray[Any]
    modes: list[tuple[str, NDArray[np.float32]]]

    def gathered(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (places, ions): means of the places, around the mean of their section, of length 1; NaN if constant.

        Raises
        ------
        DataProblem
            There are not as many rows as spots.
        """
        if len(values) != len(self.places):
            raise DataProblem(f"The waves are of {len(self.places):,} spots, the values of {len(values):,}.")
        means = _means(np.asarray(values, dtype=np.float64), self.places)
        level = np.abs(means).max(axis=0, initial=0.0)
        means = centred(means, self.sections)
        length = np.sqrt((means**2).sum(axis=0))
        # What rounding leaves of a constant ion is no image.
        return np.asarray(means / np.where(length > 1e-10 * level, length, np.nan))


def waves(
    xy: NDArray[np.float64],
    sections: NDArray[Any] | None = None,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Waves:
    """Return the waves of spots: eigenvectors of the graph of neighbours, by section.

    These are Moran's eigenvectors (Dray, Legendre & Peres-Neto 2006, doi:10.1016/j.ecolmodel.2006.02.015) for weights
    that count a spot as its own neighbour as often as it lacks others at the edge, that is, of the graph's
    Laplacian. Without this, waves fade towards the edge as tissue does not, and independent images that change
    slowly are found alike too often: docs/statistics.md.

    Takes some seconds for 3,000 spots; made once, waves serve any number of ions and predictions of these spots.
    """
    _, xy, sections = checked(xy, xy, sections)
    places = _places(xy, sections)
    first = np.unique(places, return_index=True)[1]
    xy, sections = _means(xy, places), sections[first]
    labels, modes = np.unique(sections), []
    for number, label in enumerate(labels):
        progress(number / len(labels), "patterns that the tissue can carry")
        own = sections == label
        modes.append((str(label), _modes(neighbour_graph(xy[own], sections[own]), cancelled)))
    return Waves(places, xy, sections, modes)


def _modes(graph: Any, cancelled: Callable[[], bool]) -> NDArray[np.float32]:
    """Return (n, n - 1) eigenvectors of the Laplacian of mutual neighbours, smoothest first, without the constant."""
    mutual = ((graph + graph.T) > 0).toarray().astype(np.float32)
    degree = mutual.sum(axis=1)
    # The constant belongs to the largest eigenvalue now, apart from all else, and is left away.
    laplacian = np.diag(degree) - mutual + np.float32((2 * degree.max(initial=1.0) + 1) / len(degree))

    def decompose() -> NDArray[np.float32]:
        with threads_for(0):  # threads that wait for each other at every step made it ten times slower
            vectors: NDArray[np.float32] = np.linalg.eigh(laplacian)[1]  # scipy's would keep the window waiting
        return vectors

    return _patiently(decompose, cancelled)[:, :-1]


def _patiently(work: Callable[[], NDArray[np.float32]], cancelled: Callable[[], bool]) -> NDArray[np.float32]:
    """Do one long step that cannot be stopped on a thread, and leave it to itself when the user stops."""
    check(cancelled)
    done: Future[NDArray[np.float32]] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    Thread(target=run, name="waves", daemon=True).start()
    while not wait([done], _PATIENCE_S).done:
        check(cancelled)
    return done.result()


def _places(xy: NDArray[np.float64], sections: NDArray[Any]) -> NDArray[np.int64]:
    """Return (n,) the place of each spot: itself, or a square of tissue where there are many spots."""
    places = np.arange(len(xy))
    for label in np.unique(sections) if len(xy) > MOST_SPOTS else []:
        own = np.flatnonzero(sections == label)
        most = max(1, MOST_SPOTS * len(own) // len(xy))
        side = max(longer_side(xy[own], sections[own]) / np.sqrt(len(own)), 1e-9)
        square = np.arange(len(own))
        while square.max(initial=0) >= most:
            side *= 1.1
            square = squares(xy[own], sections[own], side)
        places[own] = len(xy) + own[np.unique(square, return_index=True)[1]][square]
    return np.asarray(np.unique(places, return_inverse=True)[1], dtype=np.int64)


def _means(values: NDArray[np.float64], places: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (places, ...) the mean of each place's rows."""
    from scipy.sparse import csr_array

    count = np.bincount(places)
    matrix = csr_array((1 / count[places], (places, np.arange(len(places)))), shape=(len(count), len(places)))
    return np.asarray(matrix @ values)
