"""Splits that keep neighbours apart (blocks of tissue with a buffer, whole groups), and one that does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, RecipeProblem
from napari_st2msi.features.blocks import (
    BLOCKS_ALONG,
    BUFFER_PITCHES,
    assign_blocks,
    longer_side,
    outside_buffer,
    spot_pitch,
)
from napari_st2msi.paired import PairedDataset
from napari_st2msi.recipe import Evaluation


@dataclass(frozen=True)
class Fold:
    """One split: which spots train and which are held out, by position.

    Attributes
    ----------
    name
        In words: ``fold 2`` or the name of the group held out.
    train, test
        Positions of spots. Spots in a buffer are in neither.
    """

    name: str
    train: NDArray[np.int64]
    test: NDArray[np.int64]


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
    """

    def __init__(
        self, n_folds: int = 5, block_um: float | None = None, buffer_um: float | None = None, seed: int = 0
    ) -> None:
        self.n_folds, self.block_um, self.buffer_um, self.seed = n_folds, block_um, buffer_um, seed

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of folds."""
        return self.n_folds

    def sizes(self, xy: NDArray[np.float64], section: NDArray[Any]) -> tuple[float, float]:
        """Return block side and buffer in µm, with the defaults filled in."""
        side = longer_side(xy, section) / BLOCKS_ALONG if self.block_um is None else self.block_um
        buffer = BUFFER_PITCHES * spot_pitch(xy, section) if self.buffer_um is None else self.buffer_um
        return side, buffer

    def split(
        self, X: NDArray[np.float64], y: Any = None, groups: NDArray[Any] | None = None
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
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
        xy = np.asarray(X, dtype=float)
        section = np.zeros(len(xy), dtype=int) if groups is None else np.asarray(groups)
        if len(xy) < self.n_folds:
            raise RecipeProblem(f"{len(xy)} spots cannot go into {self.n_folds} folds. Use fewer folds or more spots.")
        side, buffer = self.sizes(xy, section)
        # Spots on one single place have no extent; one square of any size holds them.
        fold, n_blocks = assign_blocks(xy, section, side if side > 0 else 1.0, self.n_folds, self.seed)
        if n_blocks < self.n_folds:
            raise RecipeProblem(
                f"Squares of {side:,.0f} µm cut the tissue into {n_blocks} only, too few for {self.n_folds} folds. "
                "Use smaller blocks or fewer folds."
            )
        splits = []
        for number in range(self.n_folds):
            held = fold == number
            train = outside_buffer(xy, section, held, buffer)
            if not train.any():
                raise RecipeProblem(
                    f"A buffer of {buffer:,.0f} µm around blocks of {side:,.0f} µm leaves no spot to train on. "
                    "Use a smaller buffer or larger blocks."
                )
            splits.append((np.flatnonzero(train), np.flatnonzero(held)))
        yield from splits


class LeaveGroupOut:
    """Hold out one group of spots after the other: a section, a donor, a region.

    Works as a scikit-learn splitter: ``split(X, groups=labels)``.

    Parameters
    ----------
    column
        What the groups are, for messages.
    """

    def __init__(self, column: str = "section") -> None:
        self.column = column

    def get_n_splits(self, X: Any = None, y: Any = None, groups: NDArray[Any] | None = None) -> int:
        """Return the number of groups."""
        return 0 if groups is None else len(np.unique(groups))

    def split(
        self, X: Any, y: Any = None, groups: NDArray[Any] | None = None
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield (train, test) positions, groups in sorted order.

        Raises
        ------
        RecipeProblem
            There is one group only, or a group is a single spot.
        """
        labels = np.zeros(len(X), dtype=int) if groups is None else np.asarray(groups)
        names, sizes = np.unique(labels, return_counts=True)
        if len(names) < 2:
            raise RecipeProblem(
                f"All spots have the same '{self.column}', so no group can be held out. "
                "Choose another column, or hold out blocks of tissue instead."
            )
        if sizes.min() < 2:
            lonely = ", ".join(f"'{name}'" for name in names[sizes < 2][:3])
            raise RecipeProblem(
                f"The group {lonely} of '{self.column}' is a single spot, on which no skill can be measured. "
                "Choose another column, or leave that spot out."
            )
        for name in names:
            yield np.flatnonzero(labels != name), np.flatnonzero(labels == name)


class RandomSpots:
    """Hold out single spots at random, to show what such splits are worth: the spots around them train.

    Works as a scikit-learn splitter: ``split(X)``. Neighbours resemble each other, so that scores are
    flattered (Roberts et al. 2017, doi:10.1111/ecog.02881).

    Parameters
    ----------
    n_folds
        Into how many folds spots go, of sizes that differ by one at most.
    seed
        Of the order of spots.
    """

    def __init__(self, n_folds: int = 5, seed: int = 0) -> None:
        self.n_folds, self.seed = n_folds, seed

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of folds."""
        return self.n_folds

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield (train, test) positions.

        Raises
        ------
        RecipeProblem
            There are fewer than two spots a fold.
        """
        n = len(X)
        if n < 2 * self.n_folds:
            raise RecipeProblem(f"{n} spots cannot go into {self.n_folds} folds. Use fewer folds or more spots.")
        fold = np.random.default_rng(self.seed).permutation(np.arange(n) % self.n_folds)
        for number in range(self.n_folds):
            yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)


def make_folds(paired: PairedDataset, choices: Evaluation) -> list[Fold]:
    """Return the folds that a recipe asks for.

    Raises
    ------
    RecipeProblem
        The choices do not fit the data: too few spots, blocks or groups, too wide a buffer, or a
        column that is not there.
    DataProblem
        Positions or group labels are missing.
    """
    if not np.isfinite(paired.xy).all():
        raise DataProblem("Some spots have no position (NaN or infinite). Remove them first.")
    if choices.protocol == "blocks":
        blocks = SpatialBlocks(choices.n_folds, choices.block_um, choices.buffer_um, choices.seed)
        splits = blocks.split(paired.xy, groups=paired.sections)
        return [Fold(f"fold {number}", *split) for number, split in enumerate(splits, 1)]
    if choices.protocol == "random":
        random = RandomSpots(choices.n_folds, choices.seed).split(paired.xy)
        return [Fold(f"fold {number}", *split) for number, split in enumerate(random, 1)]
    labels = group_labels(paired, choices.group)
    splits = LeaveGroupOut(choices.group).split(paired.xy, groups=labels)
    return [Fold(str(labels[test[0]]), train, test) for train, test in splits]


def group_labels(paired: PairedDataset, column: str) -> NDArray[Any]:
    """Return (n,) the group of each spot as str.

    Raises
    ------
    RecipeProblem
        There is no such column.
    DataProblem
        Some spots have no group.
    """
    if column not in paired.obs:
        raise RecipeProblem(
            f"There is no column '{column}' to hold groups out by. Choose one of: {', '.join(map(str, paired.obs))}."
        )
    missing = int(paired.obs[column].isna().sum())
    if missing:
        raise DataProblem(f"{missing:,} spots have no '{column}'. Fill it in, or leave these spots out.")
    return paired.obs[column].astype(str).to_numpy()
