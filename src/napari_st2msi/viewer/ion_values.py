"""The values of one ion at a time: measured, predicted, residual, and the limits to show them with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.progress import check, never
from napari_st2msi.section import Section

if TYPE_CHECKING:
    from anndata import AnnData

#: Hotspots above this percentile of measured are drawn in the last colour.
HOTSPOTS = 99.5


class Columns:
    """Columns of a table, quick to take one by one.

    Parameters
    ----------
    table
        Observations × ions.
    rows
        (n,) which row of the table each place shows, -1 for none; all rows in order when None.
    layer
        Take these values instead of `X`.
    """

    def __init__(self, table: AnnData, rows: NDArray[np.int64] | None = None, layer: str | None = None) -> None:
        self._matrix = table.X if layer is None else table.layers[layer]
        self._names = table.var_names
        self._rows = rows
        self.n = table.n_obs if rows is None else len(rows)

    def prepare(self) -> None:
        """Turn sparse rows into sparse columns; long for large tables, so call it in the background."""
        if hasattr(self._matrix, "tocsc") and self._matrix.format != "csc":
            self._matrix = self._matrix.tocsc()

    def __contains__(self, ion: str) -> bool:
        return ion in self._names

    def take(self, ion: str) -> NDArray[np.float32]:
        """Return the (n,) values of an ion, NaN where a place has no row or the table no such ion."""
        if ion not in self._names:
            return np.full(self.n, np.nan, dtype=np.float32)
        column = self._matrix[:, self._names.get_loc(ion)]
        if hasattr(column, "toarray"):
            column = column.toarray()
        values = np.asarray(column, dtype=np.float32).ravel()
        if self._rows is None:
            return values
        return np.where(self._rows >= 0, values[self._rows], np.float32(np.nan))


@dataclass(frozen=True)
class IonValues:
    """One ion, as it is shown.

    Attributes
    ----------
    pixels, spots
        Measured values of MSI pixels and of spots; None where there are none.
    predicted, residual
        Values of spots; residual is measured − predicted.
    limits
        Shared by measured and predicted.
    clipped
        Whether measured values lie above the upper limit.
    spread
        The residual is shown from −spread to +spread.
    lower, upper
        Ends of the intervals of spots; None where the prediction has none.
    """

    pixels: NDArray[np.float32] | None
    spots: NDArray[np.float32] | None
    predicted: NDArray[np.float32] | None
    residual: NDArray[np.float32] | None
    limits: tuple[float, float]
    clipped: bool
    spread: float
    lower: NDArray[np.float32] | None = None
    upper: NDArray[np.float32] | None = None


class IonSource:
    """Where the values of a section's ions come from.

    Parameters
    ----------
    section
        The section looked at.
    paired
        Measured ions of spots (spots × ions); may hold spots of other sections too.
    prediction
        Predicted ions of spots, likewise. Where it carries the layer ``measured`` (as an evaluation
        does), residuals are taken to that: it is in the units of the prediction.

    Attributes
    ----------
    pixels, spots, predicted
        Columns of measured MSI pixels, measured spots and predicted spots; None where there are
        none. Pixels are left out when the prediction is in other units, normalised for example:
        one colour scale could not hold both.
    lower, upper
        Columns of the ends of intervals; None where the prediction has none.
    """

    def __init__(self, section: Section, paired: AnnData | None = None, prediction: AnnData | None = None) -> None:
        self.section = section
        self.pixels = Columns(section.msi) if section.has_msi else None
        self.spots = self.predicted = self.lower = self.upper = None
        if not section.has_st:
            return
        if paired is not None:
            self.spots = Columns(paired, rows_of(section, paired))
        if prediction is not None:
            rows = rows_of(section, prediction)
            self.predicted = Columns(prediction, rows)
            if {"lower", "upper"} <= set(prediction.layers):
                self.lower, self.upper = (Columns(prediction, rows, end) for end in ("lower", "upper"))
            if "measured" in prediction.layers:
                measured = Columns(prediction, rows, "measured")
                if self.spots is not None and not _same_units(self.spots, measured, prediction.var_names):
                    self.pixels = None
                self.spots = measured

    def prepare(self) -> None:
        """Do what makes taking columns quick; call it in the background."""
        for columns in (self.pixels, self.spots, self.predicted):
            if columns is not None:
                columns.prepare()

    def values(self, ion: str) -> IonValues:
        """Return what is known of an ion."""
        pixels, spots, predicted, lower, upper = (
            columns.take(ion) if columns is not None and ion in columns else None
            for columns in (self.pixels, self.spots, self.predicted, self.lower, self.upper)
        )
        residual = None if spots is None or predicted is None else spots - predicted
        shown = pixels if pixels is not None else spots if spots is not None else predicted
        limits, clipped = limits_of(shown)
        return IonValues(pixels, spots, predicted, residual, limits, clipped, spread_of(residual), lower, upper)


def _same_units(one: Columns, other: Columns, ions: pd.Index) -> bool:
    """Tell whether two sources agree where both have values, judged by the first ion that has any."""
    for ion in ions:
        a, b = one.take(str(ion)), other.take(str(ion))
        both = np.isfinite(a) & np.isfinite(b)
        if both.any() and a[both].any():
            return bool(np.allclose(a[both], b[both], rtol=1e-3))
    return True


def rows_of(section: Section, table: AnnData) -> NDArray[np.int64]:
    """Return which row of a table belongs to each spot of a section, -1 for none.

    A table of several sections may carry the section's name in front of that of the spot, as
    `PairedDataset.concat` does where names clash.
    """
    names: pd.Index = section.st.obs_names
    rows = table.obs_names.get_indexer(names)
    if "section" in table.obs:
        own = table.obs["section"].astype(str).to_numpy() == section.name
        prefixed = table.obs_names.get_indexer([f"{section.name}:{name}" for name in names])
        rows = np.where(prefixed >= 0, prefixed, rows)
        if own.any():
            rows = np.where((rows >= 0) & own[rows], rows, -1)
    return np.asarray(rows, dtype=np.int64)


def limits_of(values: NDArray[np.floating] | None) -> tuple[tuple[float, float], bool]:
    """Return the limits from 0 to the 99.5th percentile, and whether anything lies above."""
    finite = values[np.isfinite(values)] if values is not None else np.empty(0)
    if not len(finite):
        return (0.0, 1.0), False
    low, top, high = min(0.0, float(finite.min())), float(finite.max()), float(_percentile(finite))
    if high <= low:  # an ion seen in fewer than one of 200 places
        high = top if top > low else low + 1.0
    return (low, high), top > high


def spread_of(residual: NDArray[np.floating] | None) -> float:
    """Return the limit that is symmetric around zero and leaves out the same hotspots."""
    if residual is None:
        return 1.0
    size = np.abs(residual[np.isfinite(residual)])
    if not len(size):
        return 1.0
    return float(_percentile(size)) or float(size.max()) or 1.0


def _percentile(values: NDArray[np.floating]) -> Any:
    # One value is picked, not interpolated: a partition is several times faster than np.percentile.
    place = round((len(values) - 1) * HOTSPOTS / 100)
    return np.partition(values, place)[place]


def descriptors(
    columns: Columns,
    ions: pd.Index,
    cancelled: Callable[[], bool] = never,
) -> pd.DataFrame:
    """Return what can be said of ions before any model: `mean_intensity` and `prevalence` (share above zero).

    Missing values do not count.
    """
    mean, prevalence = np.full(len(ions), np.nan), np.full(len(ions), np.nan)
    for i, ion in enumerate(ions):
        check(cancelled)
        values = columns.take(ion)
        values = values[np.isfinite(values)]
        if len(values):
            mean[i], prevalence[i] = values.mean(dtype=float), np.count_nonzero(values > 0) / len(values)
    return pd.DataFrame({"mean_intensity": mean, "prevalence": prevalence}, index=ions)
