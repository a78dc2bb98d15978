"""Splits that hold out whole groups of spots: sections, donors, regions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, RecipeProblem
from napari_st2msi.paired import PairedDataset


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
