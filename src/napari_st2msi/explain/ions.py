"""Which ion is meant: by its name in the table, by m/z, or by part of its annotation."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from napari_st2msi.errors import DataProblem
from napari_st2msi.ions import MZ_COLUMNS, NAME_COLUMNS, find_column


def find_ion(ions: pd.DataFrame, wanted: str) -> int:
    """Return the position of an ion.

    Parameters
    ----------
    ions
        `var` of the ions.
    wanted
        A name of the index; an m/z, meant as exactly as its decimals say and at least to 0.005; or part of an
        annotation that only one ion has.

    Raises
    ------
    DataProblem
        No ion fits, or several annotations do.
    """
    text = str(wanted).strip()
    if text in ions.index:
        return int(ions.index.get_indexer(pd.Index([text]))[0])
    column = find_column(ions.columns, MZ_COLUMNS)
    if re.fullmatch(r"\d+(\.\d*)?", text) and column is not None:
        away = np.abs(pd.to_numeric(ions[column], errors="coerce").to_numpy(dtype=float) - float(text))
        nearest = int(np.nanargmin(away))
        if away[nearest] <= max(0.5 * 10.0 ** -len(text.partition(".")[2]), 0.005) and "." in text:
            return nearest
        raise DataProblem(
            f"The model predicts no ion at m/z {text}. The nearest is {float(ions[column].iloc[nearest]):.4f}."
        )
    column = find_column(ions.columns, NAME_COLUMNS)
    if column is not None and text:
        fits = np.flatnonzero(ions[column].astype(str).str.contains(text, case=False, regex=False))
        if len(fits) == 1:
            return int(fits[0])
        if len(fits) > 1:
            some = ", ".join(f"'{ions.index[place]}'" for place in fits[:4])
            raise DataProblem(f"{len(fits)} ions are called like '{text}': {some}. Name one of them.")
    raise DataProblem(f"The model predicts no ion '{text}'. It knows names like '{ions.index[0]}'.")
