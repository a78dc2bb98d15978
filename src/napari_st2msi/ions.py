"""What an ion is called: m/z, name, formula and adduct, read from whatever columns a file has."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from anndata import AnnData

MZ_COLUMNS = ("mz", "m/z", "m.z", "m_z", "mzs", "mz_value", "mass_to_charge")
NAME_COLUMNS = ("name", "names", "moleculenames", "molecule_names", "annotation", "compound")
FORMULA_COLUMNS = ("formula", "sum_formula", "sumformula", "ionformula")
ADDUCT_COLUMNS = ("adduct", "adducts")


def find_column(columns: Iterable[object], wanted: Iterable[str]) -> str | None:
    """Return the first column whose lower-case name is in `wanted`, in the order of `wanted`."""
    lower = {str(column).lower(): str(column) for column in reversed(list(columns))}
    return next((lower[name] for name in wanted if name in lower), None)


def has_mz(table: AnnData) -> bool:
    """Tell whether a table's `var` carries m/z, that is, whether it is MSI."""
    column = find_column(table.var.columns, MZ_COLUMNS)
    if column is None:
        return False
    values = pd.to_numeric(table.var[column], errors="coerce")
    return bool(len(values) > 0 and (values > 0).all())


def ion_frame(table: AnnData) -> pd.DataFrame:
    """Return what is known of each ion of a table.

    Parameters
    ----------
    table
        Observations × ions; `var` carries m/z under any of `MZ_COLUMNS`.

    Returns
    -------
    DataFrame indexed by `table.var_names` with `mz` (float64, NaN when unknown), `name`, `formula`,
    `adduct` (str, empty when unknown) and `label`, for example ``m/z 798.5410 PC(34:1)+K``.
    """
    frame = pd.DataFrame(index=table.var_names)
    mz = find_column(table.var.columns, MZ_COLUMNS)
    frame["mz"] = np.nan if mz is None else pd.to_numeric(table.var[mz], errors="coerce").astype(float)
    for target, wanted in (("name", NAME_COLUMNS), ("formula", FORMULA_COLUMNS), ("adduct", ADDUCT_COLUMNS)):
        column = find_column(table.var.columns, wanted)
        frame[target] = "" if column is None else [_text(value) for value in table.var[column]]
    frame["label"] = [
        ion_label(mz, name, adduct) if np.isfinite(mz) else str(key)
        for key, mz, name, adduct in zip(
            frame.index, frame["mz"].to_numpy(), frame["name"], frame["adduct"], strict=True
        )
    ]
    return frame


def ion_label(mz: float, name: str = "", adduct: str = "", *, decimals: int = 4) -> str:
    """Return the words for one ion: ``m/z 798.5410 PC(34:1)+K``; of several names the first, and how many more."""
    first, *others = name.split("; ")
    # "[M+K]+", "[M+K]", "M+K" and "+K" all say the same; anything else, as "[2M+Na]+", stays whole.
    change = re.match(r"\[?M?([+-][^\]]*)", adduct.strip()) if first else None
    adduct = change[1] if change else f" {adduct.strip()}" if first else ""
    more = f" (+{len(others)})" if others else ""
    return f"m/z {mz:.{decimals}f} {first}{adduct}{more}".rstrip()


def _text(value: object) -> str:
    """Return one name or several ("a;b", ["a", "b"]) as "a; b", empty for missing."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    several = list(value) if isinstance(value, (list, tuple, np.ndarray)) else str(value).split(";")
    return "; ".join(text for name in several if (text := str(name).strip()))
