"""A list of m/z to read, typed or from a CSV file, with the names that go with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from napari_st2msi.errors import DataProblem
from napari_st2msi.io.text_table import cells, number, read_text
from napari_st2msi.ions import ADDUCT_COLUMNS, FORMULA_COLUMNS, MZ_COLUMNS, NAME_COLUMNS, find_column


def mz_frame(mz: Sequence[float]) -> pd.DataFrame:
    """Return the `var` of ions that have an m/z and no name.

    Returns
    -------
    DataFrame with `mz` (float64) and `name` (empty), indexed by m/z as text, unique.

    Raises
    ------
    DataProblem
        An m/z is not a positive number, or there is none.
    """
    return _finish(pd.DataFrame({"mz": np.asarray(mz, dtype=float), "name": ""}), "The list of m/z")


def read_mz_table(path: Path) -> pd.DataFrame:
    """Read ions from a CSV file (comma, semicolon or tab; decimal commas too), as exported by annotation tools.

    One column must be m/z (any of `ions.MZ_COLUMNS`, upper or lower case); names, formulas and adducts
    are taken where there are such columns. Lines before the header that begin with ``#`` are skipped.
    A file without a header is taken as m/z and, if there is a second column, names.

    Returns
    -------
    DataFrame in the order of the file: `mz` (float64), `name`, and `formula` and `adduct` if known (str);
    indexed by m/z as text, made unique. Rows that repeat an earlier one entirely are left out.

    Raises
    ------
    FileProblem
        The file cannot be read, or is empty.
    DataProblem
        There is no m/z column, it holds something else than positive numbers, or there are no rows.
    """
    rows = _rows(path)
    if not rows:
        raise DataProblem(f"'{path.name}' is empty. It needs a column of m/z and, if known, one of names.")
    if np.isfinite(_mz(rows[0][0])):
        rows = [["mz", "name", *[f"column {i}" for i in range(3, len(rows[0]) + 1)]][: len(rows[0])], *rows]
    header = rows[0]
    column = find_column(header, MZ_COLUMNS)
    if column is None:
        raise DataProblem(
            f"'{path.name}' has no column of m/z. Name one 'mz' or 'm/z'; its columns are: {', '.join(header)[:200]}."
        )
    table = {title: [row[i] if i < len(row) else "" for row in rows[1:]] for i, title in enumerate(header)}
    values = np.array([_mz(text) for text in table[column]], dtype=float)
    bad = [text for text, value in zip(table[column], values, strict=True) if np.isnan(value)]
    if bad:
        raise DataProblem(
            f"{len(bad):,} of {len(values):,} values in column '{column}' of '{path.name}' are not numbers "
            f"(the first: '{bad[0][:40]}')."
        )
    frame = pd.DataFrame({"mz": values})
    frame["name"] = ""
    for target, wanted in (("name", NAME_COLUMNS), ("formula", FORMULA_COLUMNS), ("adduct", ADDUCT_COLUMNS)):
        found = find_column(header, wanted)
        if found is not None:
            frame[target] = table[found]
    return _finish(frame, f"'{path.name}'")


def _rows(path: Path) -> list[list[str]]:
    lines = read_text(path, "m/z").splitlines()
    while lines and (not lines[0].strip() or lines[0].lstrip().startswith("#")):
        lines.pop(0)
    return [row for row in cells("\n".join(lines)) if any(row)] if lines else []


def _mz(cell: str) -> float:
    """Return the number in a cell, NaN where there is none."""
    value = number(cell)
    return float("nan") if value is None else value


def _finish(frame: pd.DataFrame, what: str) -> pd.DataFrame:
    frame = frame.drop_duplicates(ignore_index=True)
    if frame.empty:
        raise DataProblem(f"{what} holds no m/z.")
    bad = frame.loc[~(np.isfinite(frame["mz"]) & (frame["mz"] > 0)), "mz"]
    if len(bad):
        raise DataProblem(f"{what} holds {bad.iloc[0]:g} as m/z. Each must be a number above zero.")
    frame.index = pd.Index(_unique([f"{mz:.4f}" for mz in frame["mz"]]))
    return frame


def _unique(names: list[str]) -> list[str]:
    """Append -1, -2, ... to names that came before: isomers share their m/z."""
    count: dict[str, int] = {}
    result = []
    for name in names:
        earlier = count.get(name, 0)
        count[name] = earlier + 1
        result.append(f"{name}-{earlier}" if earlier else name)
    return result
