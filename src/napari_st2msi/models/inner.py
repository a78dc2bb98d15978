"""Folds inside the training spots, on which models choose their penalties."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.features.blocks import (
    BLOCKS_ALONG,
    BUFFER_PITCHES,
    assign_blocks,
    longer_side,
    outside_buffer,
    spot_pitch,
)
from napari_st2msi.paired import PairedDataset

if TYPE_CHECKING:
    from napari_st2msi.features.turned import Turned


class InnerFold(NamedTuple):
    """A split of the training spots.

    Attributes
    ----------
    fit, held
        Positions of the spots to fit on and of those to judge by.
    features
        (n, features) of all training spots, where what they are was learned on `fit` (directions that
        go along with ions must not know those held out); None where they are the same in all folds.
    design
        What gives such features of any spots; None where `features` is.
    """

    fit: NDArray[np.int64]
    held: NDArray[np.int64]
    features: NDArray[np.floating] | None = None
    design: Turned | None = None

    def split(self, features: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Return the features of the spots to fit on and of those held out."""
        own = features if self.features is None else self.features
        return own[self.fit], own[self.held]


N_FOLDS = 5


def inner_folds(train: PairedDataset) -> list[InnerFold]:
    """Split training spots: whole sections where there are three or more, else blocks with a buffer.

    The split imitates what the model will face, a new section or a new piece of tissue: a penalty
    chosen on random spots would be far too small, because neighbours resemble each other.

    Returns
    -------
    At most five folds; none where the spots allow no split, and then nothing can be chosen.
    """
    labels, code = np.unique(train.sections, return_inverse=True)
    if len(labels) < 3:
        return block_folds(train)
    fold = _deal(np.bincount(code), min(N_FOLDS, len(labels)))[code]
    return [
        InnerFold(np.flatnonzero(fold != number), np.flatnonzero(fold == number)) for number in range(fold.max() + 1)
    ]


def choosing_folds(train: PairedDataset) -> list[InnerFold]:
    """Return the folds that settings are chosen on: `inner_folds`, and for two sections those of either kind.

    Blocks within a section say nothing of the next one, where penalties chosen on them gave R² far below 0; a
    single other section says little, but that. So of two sections each is held out once, and then blocks.
    """
    labels, code = np.unique(train.sections, return_inverse=True)
    if len(labels) != 2:
        return inner_folds(train)
    each = [InnerFold(np.flatnonzero(code != number), np.flatnonzero(code == number)) for number in (0, 1)]
    return [*each, *block_folds(train)]


def block_folds(train: PairedDataset) -> list[InnerFold]:
    """Split training spots into blocks of tissue with a buffer around those held out."""
    side = longer_side(train.xy, train.sections) / BLOCKS_ALONG
    if side <= 0:
        return []
    fold, _ = assign_blocks(train.xy, train.sections, side, N_FOLDS, seed=0)
    buffer = BUFFER_PITCHES * spot_pitch(train.xy, train.sections)
    folds = []
    for number in range(N_FOLDS):
        held = fold == number
        fit = outside_buffer(train.xy, train.sections, held, buffer) & ~train.sharing_pixels(np.flatnonzero(held))
        if held.any() and fit.any():
            folds.append(InnerFold(np.flatnonzero(fit), np.flatnonzero(held)))
    return folds if len(folds) > 1 else []


def _deal(sizes: NDArray[np.int64], n_folds: int) -> NDArray[np.int64]:
    """Return the fold of each section: largest first, to the fold with the fewest spots."""
    fold_of = np.empty(len(sizes), dtype=np.int64)
    load = np.zeros(n_folds, dtype=np.int64)
    for member in np.argsort(-sizes, kind="stable"):
        fold_of[member] = load.argmin()
        load[fold_of[member]] += sizes[member]
    return fold_of
