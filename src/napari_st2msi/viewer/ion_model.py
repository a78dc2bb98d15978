"""The rows of the table of ions, from a data frame, sorted and filtered by numpy.

A `QSortFilterProxyModel` would ask Python for every comparison, which takes a second for ten thousand
ions; here a sort is one `argsort` and a filter one mask.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QIcon

from napari_st2msi.errors import DataProblem
from napari_st2msi.evaluation.tiers import TIERS
from napari_st2msi.viewer.ion_query import matches
from napari_st2msi.viewer.parts.table import TitledModel

# Small images are drawn for so long, then the window may breathe for so long.
_DRAW_S, _IDLE_MS = 0.015, 20
#: Orders of sorting.
UP, DOWN = Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder


@dataclass(frozen=True)
class Column:
    """One column of the table."""

    key: str
    title: str
    explain: str
    decimals: int = 2
    width: int = 48
    #: Shown unless the user hides it.
    default: bool = True


FAVOURITE = Column("favourite", "★", "Favourite (F)", width=24)
IMAGE = Column("image", "Image", "Measured, or predicted where nothing was measured", width=54)
COLUMNS = (
    FAVOURITE,
    Column("mz", "m/z", "Mass over charge", decimals=4, width=72),
    Column("name", "Name", "Annotation and adduct, as the file gives them", width=96),
    IMAGE,
    Column("r2", "R²", "Out of fold, against the training mean: 0 is no better than the mean, 1 is perfect"),
    Column("gain", "Gain", "R² beyond the best baseline that knows the position and not the genes"),
    Column("ceiling_share", "Of ceiling", "Share of the reproducible variance that is predicted", width=70),
    Column("presence_auc", "AUC", "Presence: area under the ROC curve, out of fold; 0.5 is chance"),
    Column("moran_i", "Moran's I", "How smooth the measured image is: 0 is noise, 1 is perfectly smooth", width=70),
    Column("tier", "Tier", "; ".join(f"{tier}: {words}" for tier, words in TIERS.items()), decimals=0, width=40),
    Column("mean_intensity", "Mean", "Mean measured intensity", decimals=1, width=70),
    Column("prevalence", "Present", "Share of pixels or spots above zero", width=60),
    Column("pearson", "Pearson", "Correlation out of fold", width=62, default=False),
    Column("spearman", "Spearman", "Rank correlation out of fold", width=70, default=False),
    Column("rmse", "RMSE", "Root mean square error out of fold, on the learning scale", width=62, default=False),
    Column("rmse_sd", "RMSE/SD", "RMSE in deviations of the measured ion, out of fold", width=70, default=False),
    Column("ssim", "SSIM", "Likeness of the measured and the predicted image, out of fold", width=62, default=False),
    Column("residual_moran_i", "I left", "Moran's I of what the prediction leaves", width=62, default=False),
    Column("presence_mcc", "MCC", "Presence: Matthews' correlation out of fold; 0 is chance", width=62, default=False),
    Column("formula", "Formula", "As the file gives it", width=90, default=False),
)


class IonModel(TitledModel):
    """Ions × what is known of them, as sorted and filtered. The rows come from a frame indexed by ion."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.frame = pd.DataFrame({"mz": [], "name": [], "label": []})
        self.columns: tuple[Column, ...] = (FAVOURITE,)
        self.favourites: frozenset[str] = frozenset()
        self.query = ""
        self.only: frozenset[str] = frozenset()
        self.sorted_by: tuple[str, Qt.SortOrder] = ("mz", UP)
        self._rows: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._cells: dict[str, NDArray[Any]] = {}
        self._images: dict[str, QIcon] = {}
        self._wanted: list[str] = []
        self._draw: Callable[[str], QIcon] | None = None
        self._idle = QTimer(self)
        self._idle.setInterval(_IDLE_MS)
        self._idle.timeout.connect(self._draw_some)

    # -- what is shown ----------------------------------------------------------------------------

    def set_frame(self, frame: pd.DataFrame, favourites: frozenset[str]) -> None:
        """Show other ions or scores, sorted as before; the first scores by R², best first."""
        scored = "r2" in frame and not frame["r2"].isna().all()
        had_scores = "r2" in self._cells
        self.beginResetModel()
        self.frame, self.favourites = frame, favourites
        self.columns = tuple(
            column
            for column in COLUMNS
            if column in (FAVOURITE, IMAGE) or (column.key in frame and _says_something(frame[column.key]))
        )
        self._cells = {column.key: frame[column.key].to_numpy() for column in self.columns if column.key in frame}
        self._cells |= {"name": np.asarray(_short_names(frame), dtype=object), "label": frame["label"].to_numpy()}
        if scored != had_scores or self.sorted_by[0] not in self._keys:
            self.sorted_by = ("r2", DOWN) if scored else ("mz" if "mz" in self._keys else "name", UP)
        try:
            self._rows = self._arranged(self.query)
        except DataProblem:  # a score that was asked for is gone with the scores
            self.query = ""
            self._rows = self._arranged("")
        self.endResetModel()

    def set_query(self, text: str) -> None:
        """Show the ions that fulfil every term.

        Raises
        ------
        DataProblem
            A term cannot be understood; what was shown stays.
        """
        rows = self._arranged(text)
        self.beginResetModel()
        self.query, self._rows = text, rows
        self.endResetModel()

    def set_only(self, ions: frozenset[str]) -> None:
        """Show only some ions, of those that fulfil every term; all of these when empty."""
        if ions != self.only:
            self.beginResetModel()
            self.only = ions
            self._rows = self._arranged(self.query)
            self.endResetModel()

    def set_favourites(self, favourites: frozenset[str]) -> None:
        """Show other favourites."""
        self.favourites = favourites
        self._changed(FAVOURITE)

    def set_painter(self, draw: Callable[[str], QIcon] | None) -> None:
        """Set what draws the small image of an ion; images are drawn when they come into view."""
        self._draw = draw
        self._images.clear()
        self._wanted.clear()
        self._changed(IMAGE)

    def sort(self, place: int, order: Qt.SortOrder = UP) -> None:
        """Sort by a column; missing values come last in either order."""
        if 0 <= place < len(self.columns):
            self.beginResetModel()
            self.sorted_by = (self.columns[place].key, order)
            self._rows = self._arranged(self.query)
            self.endResetModel()

    def ion(self, row: int) -> str:
        """Return the ion of a row as shown."""
        return str(self.frame.index[self._rows[row]])

    def row(self, ion: str | None) -> int:
        """Return the row in which an ion is shown, -1 when it is not."""
        if ion is None or ion not in self.frame.index:
            return -1
        found = np.flatnonzero(self._rows == self.frame.index.get_loc(ion))
        return int(found[0]) if len(found) else -1

    @property
    def _keys(self) -> list[str]:
        return [column.key for column in self.columns]

    def _arranged(self, query: str) -> NDArray[np.int64]:
        """Return the positions in the frame of the rows to show, in order."""
        mask = np.ones(len(self.frame), dtype=bool)
        if query.strip():
            mask = matches(self.frame, query, self.favourites)
        if self.only:
            mask &= self.frame.index.isin(list(self.only))
        rows = np.flatnonzero(mask)
        key, order = self.sorted_by
        if key == FAVOURITE.key:
            values: NDArray[Any] = ~self.frame.index.isin(list(self.favourites))
        elif key in self._cells:
            values = self._cells[key]
        else:
            return rows
        values = values[rows]
        if values.dtype.kind not in "fiub":
            values = np.unique(np.char.lower(values.astype(str)), return_inverse=True)[1]
        values = values.astype(float)
        return rows[np.argsort(values if order == UP else -values, kind="stable")]

    def _changed(self, column: Column) -> None:
        if len(self._rows) and column in self.columns:
            place = self.columns.index(column)
            self.dataChanged.emit(self.index(0, place), self.index(len(self._rows) - 1, place))

    # -- Qt's questions ---------------------------------------------------------------------------

    def _titles(self) -> Sequence[tuple[str, str]]:
        return [(column.title, column.explain) for column in self.columns]

    def _n_rows(self) -> int:
        return len(self._rows)

    def data(self, index: Any, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what a cell shows or says when pointed at."""
        column, row = self.columns[index.column()], int(self._rows[index.row()])
        ion = str(self.frame.index[row])
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignVCenter | self._side(column)
        if column == IMAGE:
            return self._image(ion) if role == Qt.ItemDataRole.DecorationRole else None
        if role == Qt.ItemDataRole.DisplayRole:
            if column == FAVOURITE:
                return "★" if ion in self.favourites else "☆"
            return _words(column, self._cells[column.key][row])
        if role == Qt.ItemDataRole.ToolTipRole and column.key in ("name", "mz"):
            return str(self._cells["label"][row])
        return None

    def _side(self, column: Column) -> Qt.AlignmentFlag:
        if column in (FAVOURITE, IMAGE) or column.key == "tier":
            return Qt.AlignmentFlag.AlignHCenter
        numbers = self._cells[column.key].dtype.kind in "fiu"
        return Qt.AlignmentFlag.AlignRight if numbers else Qt.AlignmentFlag.AlignLeft

    # -- small images -----------------------------------------------------------------------------

    def _image(self, ion: str) -> QIcon | None:
        if ion not in self._images and self._draw is not None:
            if ion in self._wanted:
                self._wanted.remove(ion)
            self._wanted.append(ion)
            # Starting a timer that runs sets it back: asked often enough, it would never come.
            if not self._idle.isActive():
                self._idle.start()
        return self._images.get(ion)

    def _draw_some(self) -> None:
        if self._draw is None or not self._wanted:
            self._idle.stop()
            return
        # A few at a time: repainting the window for each would take longer than drawing it.
        until = time.perf_counter() + _DRAW_S
        while self._wanted and time.perf_counter() < until:
            ion = self._wanted.pop()  # what was asked for last is in view; what scrolled by can wait
            self._images[ion] = self._draw(ion)
        self._changed(IMAGE)


def _says_something(values: pd.Series) -> bool:
    return not bool((values.isna() | (values.astype(object) == "")).all())


def _short_names(frame: pd.DataFrame) -> list[str]:
    """Return the label without its m/z, which has a column of its own; all of it where there is no m/z."""
    return [
        (label.split(" ", 2) + ["", "", ""])[2] if label.startswith("m/z ") else label
        for label in frame["label"].astype(str)
    ]


def _words(column: Column, value: Any) -> str:
    if isinstance(value, str):
        return value
    if not np.isfinite(value):
        return ""
    if column.key in ("prevalence", "ceiling_share"):
        return f"{value:.0%}"
    if column.key in ("mean_intensity", "rmse"):
        return f"{value:.4g}" if abs(value) < 1e5 else f"{value:.2e}"
    return f"{value:.{column.decimals}f}".replace("-", "−")
