"""What each ion is like, whatever model predicts it: how smooth, how rare, how bright, of which chemical class."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.features.ions import IonScale
from napari_st2msi.features.spatial import morans_i, neighbour_graph
from napari_st2msi.ions import find_column, ion_frame
from napari_st2msi.paired import dense
from napari_st2msi.recipe import Ions

if TYPE_CHECKING:
    from napari_st2msi.paired import PairedDataset

#: Numbers that say what an ion is like, in words for people.
PROPERTIES = {
    "moran_i": "Moran's I",
    "ceiling": "Ceiling",
    "sparsity": "Sparsity",
    "dynamic_range": "Dynamic range",
    "skewness": "Skewness",
    "entropy": "Entropy",
    "mean_intensity": "Mean intensity",
    "signal_to_noise": "Signal to noise",
}
#: Columns of `var` that name a chemical class.
CLASS_COLUMNS = ("class", "lipid_class", "chemical_class", "main_class", "superclass", "category")

_BINS = 32  # of intensities, for their entropy
# A head that lipids are named by, then carbons and double bonds: "PC(34:1)", "Cer d18:1/16:0", "PE(O-36:2)".
_LIPID = re.compile(r"^\s*([A-Za-z][A-Za-z0-9-]{0,9}?)[\s(]*\(?(?:[OP]-|[dtm])?\d{1,2}:\d{1,2}")


def properties(paired: PairedDataset, choices: Ions | None = None, *, ceiling: pd.Series | None = None) -> pd.DataFrame:
    """Return what each ion of covered spots is like.

    Parameters
    ----------
    choices
        The scale of learning, on which `moran_i`, `skewness`, `entropy` and `signal_to_noise` are.
    ceiling
        Of each ion, by `napari_st2msi.evaluation.ceilings.ceilings`; NaN without it.

    Returns
    -------
    DataFrame
        Ions × `moran_i` (six nearest neighbours, around the mean of each section), `ceiling`, `sparsity` (share of
        spots without the ion), `dynamic_range` (log10 of the 99th over the 1st percentile of intensities where
        the ion is present), `skewness` (third standardised moment), `entropy` (Shannon entropy in bits over 32
        bins of equal width), `mean_intensity` (as measured), `signal_to_noise` (mean over the deviation of what is
        not reproducible, √((1 - ceiling) · variance)), `class` (chemical class, empty where unknown). NaN for
        constant ions where it says nothing.
    """
    covered = paired.covered
    paired = paired if covered.all() else paired.select(covered)
    scale = IonScale(choices or Ions()).fit(paired.ions)
    values, raw = scale.forward(paired.ions), dense(paired.ions.X).astype(np.float64)
    present = scale.present(paired.ions)
    table = pd.DataFrame(index=paired.ions.var_names)
    table["moran_i"] = morans_i(values, neighbour_graph(paired.xy, paired.sections), paired.sections)
    table["ceiling"] = np.nan if ceiling is None else ceiling.reindex(table.index).to_numpy(dtype=float)
    table["sparsity"] = 1 - present.mean(axis=0)
    table["dynamic_range"] = _dynamic_range(raw, present)
    table["skewness"] = _skewness(values)
    table["entropy"] = _entropy(values)
    table["mean_intensity"] = raw.mean(axis=0)
    noise = np.sqrt((1 - table["ceiling"].to_numpy()).clip(1e-6) * values.var(axis=0))
    with np.errstate(divide="ignore", invalid="ignore"):
        table["signal_to_noise"] = np.where(noise > 0, values.mean(axis=0) / noise, np.nan)
    table["class"] = chemical_classes(paired.ions)
    return table


def chemical_classes(ions: Any) -> list[str]:
    """Return the chemical class of each ion: as annotated, else the head of a lipid's name, else empty.

    Parameters
    ----------
    ions
        AnnData of spots × ions. Of several names, all must agree.
    """
    column = find_column(ions.var.columns, CLASS_COLUMNS)
    if column is not None:
        return ["" if pd.isna(value) else str(value).strip() for value in ions.var[column]]
    return [lipid_class(name) for name in ion_frame(ions)["name"]]


def lipid_class(name: str) -> str:
    """Return the class that a lipid's name begins with.

    Examples
    --------
    >>> lipid_class("PC(34:1)"), lipid_class("Cer(d18:1/16:0)"), lipid_class("PE(O-36:2)"), lipid_class("Taurine")
    ('PC', 'Cer', 'PE', '')
    """
    heads = {found[1] if (found := _LIPID.match(each)) else "" for each in name.split("; ")}
    return heads.pop() if len(heads) == 1 else ""


def _dynamic_range(raw: NDArray[np.float64], present: NDArray[np.bool_]) -> NDArray[np.float64]:
    spans = np.full(raw.shape[1], np.nan)
    for ion in range(raw.shape[1]):
        own = raw[present[:, ion], ion]
        if len(own) > 1:
            low, high = np.quantile(own, [0.01, 0.99])
            spans[ion] = np.log10(high / low) if low > 0 else np.nan
    return spans


def _skewness(values: NDArray[np.float64]) -> NDArray[np.float64]:
    z = values - values.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.ptp(values, axis=0) > 0, (z**3).mean(axis=0) / (z**2).mean(axis=0) ** 1.5, np.nan)


def _entropy(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (ions,) bits that tell in which of 32 bins, from the least to the greatest value, a spot lies."""
    low, span = values.min(axis=0), np.ptp(values, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = np.where(span > 0, (values - low) / span, 0.0)
    cell = np.minimum((unit * _BINS).astype(np.int64), _BINS - 1) + _BINS * np.arange(values.shape[1])
    share = np.bincount(cell.ravel(), minlength=_BINS * values.shape[1]).reshape(-1, _BINS) / len(values)
    bits = -(share * np.log2(np.where(share > 0, share, 1.0))).sum(axis=1)
    return np.where(span > 0, bits, np.nan)
