"""MSI as a table of text: x, y, then a column of intensities per m/z."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, FileProblem
from napari_st2msi.io import regions
from napari_st2msi.io.build import build_section
from napari_st2msi.io.opening import Opening
from napari_st2msi.io.units import msi_scale
from napari_st2msi.progress import Progress, check, never
from napari_st2msi.section import Section

SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
_X = ("x", "x_coord", "pixel_x", "column", "col")
_Y = ("y", "y_coord", "pixel_y", "row")
#: An m/z as programs write it into a header: 798.54, mz-798.54, mz_798.54, m/z 798.54, X798.54.
_MZ = re.compile(r"^(?:(?:x|m\s*[/._]?\s*z)[\s_.:=-]*)?(\d+(?:\.\d+)?)(?:\s*(?:da|m/z))?$", re.IGNORECASE)
#: A pixel without signal in so many ions was not measured; rasters are padded with such pixels.
_ENOUGH_IONS = 20
_ROWS = 20_000


@dataclass(frozen=True)
class IonTable:
    """The columns of a table of intensities.

    Attributes
    ----------
    intensities
        (pixels, ions) float32.
    mz
        (ions,) float64 as the header says.
    names
        (ions,) the header, unique.
    other
        The remaining columns (str), row by row.
    """

    intensities: NDArray[np.float32]
    mz: NDArray[np.float64]
    names: list[str]
    other: pd.DataFrame


def is_table(path: Path) -> bool:
    """Tell whether a file is a table by its name."""
    return path.name.lower().endswith(SUFFIXES)


def read_table(
    path: Path,
    opening: Opening | None = None,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Section:
    """Read MSI from CSV or TSV, gzipped or not: a pixel a row with x, y and a column per m/z.

    Columns that are neither positions nor m/z are kept as text with the pixels. Rows that are empty in all
    of at least 20 ions are pixels that were not measured, and left out.

    Raises
    ------
    FileProblem
        The file is missing, or no table.
    DataProblem
        x or y or m/z columns are missing; values are text, missing or negative; pixels or m/z come twice.
    """
    from anndata import AnnData

    opening = opening or Opening()
    progress(0.0, f"reading {path.name}")
    table = read_ion_table(path, progress=progress.part(0.0, 0.8), cancelled=cancelled)
    xy = positions_of(table.other, path.name)
    intensities, xy, other, notes = measured(table, xy)
    names = [f"x{x:g}_y{y:g}" for x, y in xy]
    obs = other.reset_index(drop=True).assign(x=xy[:, 0], y=xy[:, 1])
    if opening.group is not None:
        column = regions.find_column([obs], [xy], opening.group) or opening.group
        labels = obs[column].astype(str)
        xy = regions.side_by_side(column, [labels], [xy], pixels=0).apply(xy, labels.tolist())
        obs["section"] = pd.Categorical(labels)
        names = [f"{label}_{name}" for label, name in zip(labels, names, strict=True)]
    obs.index = pd.Index(names)
    scale = msi_scale(xy, opening)
    progress(0.9, "building the section")
    section = build_section(
        name=opening.name or stem(path),
        msi=AnnData(X=intensities, obs=obs, var=pd.DataFrame({"mz": table.mz}, index=table.names)),
        msi_xy=xy * scale.um_per_unit,
        pixel_size_um=scale.pixel_um,
        path=path,
        notes=(*notes, *scale.notes),
    )
    progress(1.0, "opened")
    return section


def read_ion_table(
    path: Path,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> IonTable:
    """Read a table whose header holds m/z, in blocks of rows.

    Raises
    ------
    FileProblem
        The file is missing, or no table.
    DataProblem
        No column is an m/z, one comes twice, or an intensity is text, missing or negative.
    """
    header, separator, decimal = _header(path)
    mz = {i: number for i, title in enumerate(header) if (number := mz_of(title)) is not None}
    if not mz:
        raise DataProblem(
            f"'{path.name}' has no column of intensities. Name them by their m/z, such as 798.541 or mz-798.541; "
            f"its columns are: {', '.join(header)[:200]}."
        )
    _refuse_duplicates([header[i] for i in mz], list(mz.values()), path.name)
    rest = [i for i in range(len(header)) if i not in mz]
    # One column more than the header has: rows with more values would otherwise lose them unnoticed.
    types: dict[int, type] = {i: np.float32 if i in mz else str for i in range(len(header) + 1)}
    intensities, other, start = [], [], 0
    try:
        with pd.read_csv(
            path, sep=separator, decimal=decimal, header=None, skiprows=1, dtype=types, chunksize=_ROWS,
            index_col=False, na_values=["NA", "NaN", "nan", ""], keep_default_na=False, skip_blank_lines=True,
            names=range(len(header) + 1),
        ) as blocks:  # fmt: skip
            for block in blocks:
                check(cancelled)
                if block[len(header)].notna().any():
                    raise _first_text(path, header, mz, separator, decimal)
                values = block[list(mz)].to_numpy(dtype=np.float32)
                _refuse_values(values, start, [header[i] for i in mz], path.name)
                intensities.append(values)
                other.append(block[rest])
                start += len(block)
                progress(min(0.99, start / (start + _ROWS)), f"{start:,} pixels read")
    except (ValueError, pd.errors.ParserError) as error:
        raise _first_text(path, header, mz, separator, decimal) from error
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise FileProblem(f"'{path}' cannot be read: {error}.") from error
    if not start:
        raise DataProblem(f"'{path.name}' has a header and no rows.")
    kept = pd.concat(other, ignore_index=True).set_axis([header[i] for i in rest], axis=1)
    return IonTable(
        np.concatenate(intensities),
        np.array(list(mz.values())),
        [header[i] for i in mz],
        kept,
    )


def mz_of(title: str) -> float | None:
    """Return the m/z that a column is named after, None where it is none."""
    found = _MZ.match(title.strip().strip('"'))
    return float(found[1]) if found and float(found[1]) > 0 else None


def positions_of(columns: pd.DataFrame, where: str) -> NDArray[np.float64]:
    """Return (n, 2) positions from the columns x and y.

    Raises
    ------
    DataProblem
        There are none, or they hold something else than numbers.
    """
    lower = {str(column).strip().lower(): column for column in columns.columns}
    x, y = (next((lower[name] for name in names if name in lower), None) for names in (_X, _Y))
    if x is None or y is None:
        missing = " and ".join(name for name, column in (("x", x), ("y", y)) if column is None)
        raise DataProblem(
            f"'{where}' has no column {missing}. Each pixel needs its position in columns named x and y; "
            f"columns other than m/z are: {', '.join(map(str, columns.columns))[:200] or 'none'}."
        )
    xy = columns[[x, y]].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    bad = np.argwhere(~np.isfinite(xy))
    if len(bad):
        row, column = bad[0]
        raise DataProblem(
            f"'{where}' has {len(bad):,} positions that are not numbers: the first in row {row + 2}, "
            f"column '{(x, y)[column]}'."
        )
    return xy


def measured(
    table: IonTable, xy: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float64], pd.DataFrame, list[str]]:
    """Return intensities, positions and other columns of the pixels that were measured, and notes.

    Raises
    ------
    DataProblem
        No pixel has a signal.
    """
    other = table.other.drop(columns=[c for c in table.other if str(c).strip().lower() in (*_X, *_Y)])
    filled: NDArray[np.bool_] = np.asarray(table.intensities.any(axis=1), dtype=bool)
    if not filled.any():
        raise DataProblem("All intensities are zero.")
    notes = []
    silent = int((~table.intensities.any(axis=0)).sum())
    if silent:
        notes.append(f"{silent:,} of {len(table.mz):,} ions are zero in every pixel and kept.")
    if filled.all() or len(table.mz) < _ENOUGH_IONS:
        return table.intensities, xy, other, notes
    notes.append(f"{int((~filled).sum()):,} of {len(filled):,} pixels have no signal in any ion and are left out.")
    return table.intensities[filled], xy[filled], other.loc[filled], notes


def stem(path: Path) -> str:
    """Return a file's name without its suffixes."""
    lower = path.name.lower()
    suffix = next((suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if lower.endswith(suffix)), "")
    return path.name[: len(path.name) - len(suffix)] or path.name


def _header(path: Path) -> tuple[list[str], str, str]:
    """Return the titles, the separator and the decimal mark."""
    try:
        with _text(path) as stream:
            first, second = stream.readline(), stream.readline()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise FileProblem(f"'{path}' cannot be read: {reason}.") from error
    if not first.strip():
        raise FileProblem(f"'{path.name}' is empty.")
    separator = max(";\t,", key=first.count)
    if not first.count(separator):
        raise FileProblem(f"'{path.name}' is no table: its columns are not separated by comma, semicolon or tab.")
    decimal = "," if separator != "," and re.search(r"\d,\d", second) and "." not in second else "."
    titles = next(csv.reader([first], delimiter=separator))
    if decimal == ",":
        titles = [re.sub(r"(?<=\d),(?=\d)", ".", title) for title in titles]
    return [title.strip() for title in titles], separator, decimal


def _text(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return TextIOWrapper(gzip.open(path), encoding="utf-8-sig")
    return path.open(encoding="utf-8-sig")


def _refuse_duplicates(titles: Sequence[str], mz: Sequence[float], where: str) -> None:
    for what, names in (("column", pd.Index(titles)), ("m/z", pd.Index(mz))):
        if not names.is_unique:
            twice = ", ".join(map(str, names[names.duplicated()].unique()[:3]))
            raise DataProblem(f"'{where}' has the {what} {twice} more than once. Keep one of them.")


def _refuse_values(values: NDArray[np.float32], start: int, titles: Sequence[str], where: str) -> None:
    for bad, what in ((~np.isfinite(values), "missing or infinite"), (values < 0, "negative")):
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise DataProblem(
                f"'{where}' has {what} intensities ({int(bad.sum()):,} in these rows): the first in row "
                f"{start + row + 2}, column '{titles[column]}'. Remove the row or fill in a value."
            )


def _first_text(
    path: Path, header: Sequence[str], mz: dict[int, float], separator: str, decimal: str
) -> DataProblem | FileProblem:
    """Return the error for the first value that is no number, found by reading all as text."""
    row = 2
    try:
        with _text(path) as stream:
            next(stream)
            for line in csv.reader(stream, delimiter=separator):
                if line and len(line) != len(header):
                    return DataProblem(
                        f"Row {row} of '{path.name}' has {len(line)} columns, the header has {len(header)}."
                    )
                for column in mz:
                    if line and not _is_number(line[column], decimal):
                        return DataProblem(
                            f"'{path.name}' has text where a number should be: '{line[column][:40]}' in row {row}, "
                            f"column '{header[column]}'."
                        )
                row += 1
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        return FileProblem(f"'{path}' cannot be read: {error}.")
    return FileProblem(f"'{path.name}' cannot be read as a table of numbers.")


def _is_number(text: str, decimal: str) -> bool:
    try:
        float(text.replace(decimal, ".") or "nan")
    except ValueError:
        return text.strip() in ("NA", "")
    return True
