"""Splits that keep neighbours apart: pieces of tissue, with a buffer around them in which nothing trains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import RecipeProblem
from napari_st2msi.features.blocks import (
    BLOCKS_ALONG,
    BUFFER_PITCHES,
    assign_blocks,
    longer_side,
    outside_buffer,
    spot_pitch,
)

Split = tuple[NDArray[np.int64], NDArray[np.int64]]


class SpatialBlocks:
    """Hold out squares of tissue, with a buffer around them in which nothing trains.

    Works as a scikit-learn splitter on positions: ``split(xy, groups=section)``. Random splits of
    spots leak, because neighbours resemble each other (Roberts et al. 2017, doi:10.1111/ecog.02881).

    Parameters
    ----------
    n_folds
        Into how many folds the squares go; each gets about the same number of spots.
    block_um
        Side of a square. None: an eighth of the tissue's longer side (the median over sections).
    buffer_um
        Training spots at most this far from a held-out spot of their section are left out. None:
        1.5 times the median distance between neighbouring spots.
    seed
        Of the order in which equally full squares are dealt out.
    least_train
        The buffer shrinks where, in any fold, less than this share of the spots that are not held out would
        be left to train.
    """

    def __init__(
        self,
        n_folds: int = 5,
        block_um: float | None = None,
        buffer_um: float | None = None,
        seed: int = 0,
        least_train: float = 0.0,
    ) -> None:
        self.n_folds, self.block_um, self.buffer_um, self.seed = n_folds, block_um, buffer_um, seed
        self.least_train = least_train

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of folds."""
        return self.n_folds

    def sizes(self, xy: NDArray[np.float64], section: NDArray[Any]) -> tuple[float, float]:
        """Return block side and buffer in µm, with the defaults filled in and the buffer as narrow as it must be.

        Raises
        ------
        RecipeProblem
            There are fewer spots or squares than folds.
        """
        side, buffer, _ = self._lay_out(xy, section)
        return side, buffer

    def split(self, X: NDArray[np.float64], y: Any = None, groups: NDArray[Any] | None = None) -> Iterator[Split]:
        """Yield (train, test) positions.

        Parameters
        ----------
        X
            (n, 2) positions in µm.
        groups
            (n,) section of each spot; None for a single one.

        Raises
        ------
        RecipeProblem
            There are fewer spots or squares than folds, or the buffer leaves nothing to train on.
        """
        xy, section = _places(X, groups)
        side, buffer, fold = self._lay_out(xy, section)
        yield from apart(xy, section, fold, buffer, f"blocks of {side:,.0f} µm")

    def _lay_out(self, xy: NDArray[np.float64], section: NDArray[Any]) -> tuple[float, float, NDArray[np.int64]]:
        """Return block side, buffer and (n,) the fold of each spot."""
        if len(xy) < self.n_folds:
            raise RecipeProblem(f"{len(xy)} spots cannot go into {self.n_folds} folds. Use fewer folds or more spots.")
        side = longer_side(xy, section) / BLOCKS_ALONG if self.block_um is None else self.block_um
        # Spots on one single place have no extent; one square of any size holds them.
        fold, n_blocks = assign_blocks(xy, section, side if side > 0 else 1.0, self.n_folds, self.seed)
        if n_blocks < self.n_folds:
            raise RecipeProblem(
                f"Squares of {side:,.0f} µm cut the tissue into {n_blocks} only, too few for {self.n_folds} folds. "
                "Use smaller blocks or fewer folds."
            )
        return side, buffer_around(xy, section, fold, self.buffer_um, self.least_train), fold


class TissueHalves:
    """Hold out one half of every section, then the other, with a buffer along the cut.

    Sections are cut across their longer side, where half of the spots lie on either side. The farthest that a
    single section lets a model reach into tissue it has not seen. Works as a scikit-learn splitter on
    positions: ``split(xy, groups=section)``.

    Parameters
    ----------
    buffer_um, least_train
        As in `SpatialBlocks`.
    """

    def __init__(self, buffer_um: float | None = None, least_train: float = 0.0) -> None:
        self.buffer_um, self.least_train = buffer_um, least_train

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of folds."""
        return 2

    def buffer(self, xy: NDArray[np.float64], section: NDArray[Any]) -> float:
        """Return the buffer in µm, with the default filled in and as narrow as it must be.

        Raises
        ------
        RecipeProblem
            As `split`.
        """
        return buffer_around(xy, section, _halves(xy, section), self.buffer_um, self.least_train)

    def split(self, X: NDArray[np.float64], y: Any = None, groups: NDArray[Any] | None = None) -> Iterator[Split]:
        """Yield (train, test) positions: first the upper or left halves held out, then the others.

        Raises
        ------
        RecipeProblem
            A section has fewer than two spots or all on one line across, or the buffer leaves nothing to train on.
        """
        xy, section = _places(X, groups)
        fold = _halves(xy, section)
        buffer = buffer_around(xy, section, fold, self.buffer_um, self.least_train)
        yield from apart(xy, section, fold, buffer, "half of each section")


def _halves(xy: NDArray[np.float64], section: NDArray[Any]) -> NDArray[np.int64]:
    """Return (n,) which half of its section each spot lies in."""
    fold = np.zeros(len(xy), dtype=np.int64)
    for label in np.unique(section):
        own = np.flatnonzero(section == label)
        along = xy[own, np.ptp(xy[own], axis=0).argmax()]
        # Spots of one row stay together.
        beyond = along > np.median(along)
        if not beyond.any():
            beyond = along == along.max()
        if len(own) < 2 or beyond.all():
            raise RecipeProblem(
                f"Section '{label}' cannot be cut in two: its {len(own)} spots lie in one place. Leave it out."
            )
        fold[own] = beyond
    return fold


def buffer_around(
    xy: NDArray[np.float64],
    section: NDArray[Any],
    fold: NDArray[np.int64],
    buffer_um: float | None,
    least_train: float,
) -> float:
    """Return the buffer in µm around folds: as given, else 1.5 spot pitches, and as narrow as it must be.

    Parameters
    ----------
    fold
        (n,) the fold in which each spot is held out.
    buffer_um, least_train
        As in `SpatialBlocks`.
    """
    buffer = BUFFER_PITCHES * spot_pitch(xy, section) if buffer_um is None else buffer_um
    return min(buffer, widest_buffer(xy, section, fold, least_train)) if least_train > 0 else buffer


def widest_buffer(xy: NDArray[np.float64], section: NDArray[Any], fold: NDArray[np.int64], share: float) -> float:
    """Return the widest buffer in µm that leaves a share of the spots that are not held out, in every fold.

    Infinite where other sections alone are that many.
    """
    from scipy.spatial import cKDTree

    widest = np.inf
    for number in range(fold.max() + 1):
        held = fold == number
        distance = np.full(len(xy), np.inf)
        for label in np.unique(section[held]):
            here = section == label
            distance[here] = cKDTree(xy[here & held]).query(xy[here])[0]
        free = np.sort(distance[~held])[::-1]
        if len(free):
            # Of spots at exactly this distance all are left out, hence just below.
            widest = min(widest, free[int(np.ceil(share * len(free))) - 1] * (1 - 1e-6))
    return float(widest)


def _places(X: NDArray[np.float64], groups: NDArray[Any] | None) -> tuple[NDArray[np.float64], NDArray[Any]]:
    xy = np.asarray(X, dtype=float)
    return xy, np.zeros(len(xy), dtype=int) if groups is None else np.asarray(groups)


def apart(
    xy: NDArray[np.float64], section: NDArray[Any], fold: NDArray[np.int64], buffer: float, what: str
) -> list[Split]:
    """Return the splits, all or none: a fold that cannot train is found before any of them is used."""
    splits = []
    for number in range(fold.max() + 1):
        held = fold == number
        train = outside_buffer(xy, section, held, buffer)
        if not train.any():
            raise RecipeProblem(
                f"A buffer of {buffer:,.0f} µm around {what} leaves no spot to train on. "
                "Use a smaller buffer, or hold out other pieces."
            )
        splits.append((np.flatnonzero(train), np.flatnonzero(held)))
    return splits
