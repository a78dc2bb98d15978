"""Several regions in one table, laid side by side so that they do not overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem
from napari_st2msi.grid import Grid

#: Columns that usually say which region a row belongs to, the likeliest first.
COLUMNS = ("roi", "region", "section", "sample", "sample_id", "slide", "library_id", "fov", "image_id", "core")
_MOST = 200


@dataclass(frozen=True)
class Layout:
    """Where each region goes.

    Attributes
    ----------
    column
        Column of `obs` that names the region of a row.
    shift
        (x, y) to add, by region.
    """

    column: str
    shift: dict[str, tuple[float, float]]

    def apply(self, xy: NDArray[np.float64], labels: Sequence[str] | NDArray[np.str_]) -> NDArray[np.float64]:
        """Return shifted positions."""
        return xy + np.array([self.shift[label] for label in labels], dtype=float).reshape(-1, 2)


def find_column(obs: Sequence[pd.DataFrame], xy: Sequence[NDArray[np.float64]], wanted: str | None) -> str | None:
    """Return the column that says which region a row belongs to, None where there are no regions.

    Parameters
    ----------
    obs, xy
        Rows and positions of each table that has to be laid out.
    wanted
        What the user said. Without it the first of `COLUMNS` whose regions lie over one another.

    Raises
    ------
    DataProblem
        There is no such column.
    """
    if wanted is not None:
        for frame in obs:
            if wanted not in frame:
                raise DataProblem(
                    f"There is no column '{wanted}' to tell sections apart. Columns are: "
                    f"{', '.join(map(str, frame.columns))[:200] or 'none'}."
                )
        return wanted
    lower = [{str(column).lower(): str(column) for column in frame.columns} for frame in obs]
    for name in COLUMNS:
        if all(name in columns for columns in lower):
            column = lower[0][name]
            if all(column in frame for frame in obs) and _over_one_another(obs[0][column], xy[0]):
                return column
    return None


def largest(labels: pd.Series) -> NDArray[np.bool_]:
    """Return the rows of the region with the most rows: what is measured there need not fit between regions."""
    names = labels.astype(str)
    return np.asarray(names == names.value_counts().index[0], dtype=bool)


def side_by_side(
    column: str,
    labels: Sequence[pd.Series],
    xy: Sequence[NDArray[np.float64]],
    *,
    pixels: int | None = None,
    gap: float = 0.1,
) -> Layout:
    """Lay regions in rows and columns of a near-square table, in the order of their names.

    Parameters
    ----------
    labels, xy
        Of each table; a region has the same shift in all.
    pixels
        Which of the tables are MSI pixels: if they lie on a grid, regions move by whole pixels, so that all
        of them together still do.
    gap
        Between regions, as a share of the largest one.
    """
    names = pd.concat([series.astype(str) for series in labels], ignore_index=True)
    positions = np.concatenate(list(xy))
    low, high = (
        pd.DataFrame(positions, columns=["x", "y"]).groupby(names.to_numpy()).agg(how) for how in ("min", "max")
    )
    size = (high - low).max().to_numpy()
    step = size + gap * max(size.max(), 1.0)
    across = int(np.ceil(np.sqrt(len(low))))
    grid = None if pixels is None else Grid.from_points(xy[pixels][largest(labels[pixels])])
    shift = {}
    for place, (name, corner) in enumerate(low.iterrows()):
        node = np.array([place % across, place // across])
        move = node * step - corner.to_numpy()
        x, y = move if grid is None else np.round(move / grid.pitch) * grid.pitch
        shift[str(name)] = (float(x), float(y))
    return Layout(column, shift)


def _over_one_another(labels: pd.Series, xy: NDArray[np.float64]) -> bool:
    """Tell whether at least two regions share more than a tenth of the smaller one's bounding box."""
    names = labels.astype(str).to_numpy()
    distinct = np.unique(names)
    if not 2 <= len(distinct) <= min(_MOST, len(names) // 2):
        return False
    boxes = [(xy[names == name].min(axis=0), xy[names == name].max(axis=0)) for name in distinct]
    for i, (low, high) in enumerate(boxes):
        for other_low, other_high in boxes[i + 1 :]:
            shared = np.prod(np.clip(np.minimum(high, other_high) - np.maximum(low, other_low), 0, None))
            smaller = min(np.prod(high - low), np.prod(other_high - other_low))
            if smaller > 0 and shared > 0.1 * smaller:
                return True
    return False
