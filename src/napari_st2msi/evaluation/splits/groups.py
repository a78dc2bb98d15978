"""Splits that hold out whole groups of spots: sections, donors, regions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, RecipeProblem
from napari_st2msi.evaluation.splits.blocks import apart, buffer_around
from napari_st2msi.paired import PairedDataset


class LeaveGroupOut:
    """Hold out one group of spots after the other: a section, a donor, a region.

    Groups that lie in one section have neighbours in each other, as blocks have, and get a buffer like theirs. Works
    as a scikit-learn splitter: ``split(X, groups=labels)``.

    Parameters
    ----------
    column
        What the groups are, for messages.
    buffer_um, least_train
        As in `napari_st2msi.evaluation.splits.SpatialBlocks`.
    """

    def __init__(self, column: str = "section", buffer_um: float | None = None, least_train: float = 0.0) -> None:
        self.column, self.buffer_um, self.least_train = column, buffer_um, least_train

    def get_n_splits(self, X: Any = None, y: Any = None, groups: NDArray[Any] | None = None) -> int:
        """Return the number of groups."""
        return 0 if groups is None else len(np.unique(groups))

    def buffer(self, xy: NDArray[np.float64], labels: NDArray[Any], sections: NDArray[Any]) -> float:
        """Return the buffer in µm, with the default filled in and as narrow as it must be; 0 if no group needs one."""
        if not cut_sections(labels, sections):
            return 0.0
        return buffer_around(xy, sections, np.unique(labels, return_inverse=True)[1], self.buffer_um, self.least_train)

    def split(
        self, X: Any, y: Any = None, groups: NDArray[Any] | None = None, *, sections: NDArray[Any] | None = None
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield (train, test) positions, groups in sorted order.

        Parameters
        ----------
        X
            (n, 2) positions in µm; anything of that length without `sections`.
        groups
            (n,) the group of each spot.
        sections
            (n,) its section, where groups may share one; None if they do not.

        Raises
        ------
        RecipeProblem
            There is one group only, a group is a single spot, or the buffer leaves nothing to train on.
        """
        labels = np.zeros(len(X), dtype=int) if groups is None else np.asarray(groups)
        sections = labels if sections is None else sections
        names, number, sizes = np.unique(labels, return_inverse=True, return_counts=True)
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
        yield from apart(X, sections, number, self.buffer(X, labels, sections), f"each '{self.column}'")


def cut_sections(labels: NDArray[Any], sections: NDArray[Any]) -> bool:
    """Return whether several groups lie in one section."""
    pairs = set(zip(labels.tolist(), sections.tolist(), strict=True))
    return len(pairs) > len(np.unique(sections))


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
