"""MSI as a table of text: x, y, then a column per m/z (the layout of the SMA data set)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, FileProblem, GeometryProblem
from napari_st2msi.grid import Grid
from napari_st2msi.io.build import build_section, check_positions
from napari_st2msi.io.opening import Opening
from napari_st2msi.paired import check_values
from napari_st2msi.progress import Progress, check, never
from napari_st2msi.section import Section

#: Endings of the tables that `read_msi_table` reads.
ENDINGS = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")

# "798.541", "mz-798.541", "m/z 798.541", "X798.541" (R puts an X before a number), "mz_798.541_PC"
_MZ = re.compile(r"^\s*(?:m\.?[/_]?z|x|mass)?[\s_.:-]*(\d+(?:\.\d+)?)(?:[\s_:;|-]+(.*))?$", re.IGNORECASE)
_X = ("x", "x_coord", "coord_x", "pixel_x", "pos_x", "x_position")
_Y = ("y", "y_coord", "coord_y", "pixel_y", "pos_y", "y_position")


def read_msi_table(
    path: Path,
    opening: Opening | None = None,
    *,
    progress: Progress = Progress(),  # noqa: B008 (stateless)
    cancelled: Callable[[], bool] = never,
) -> Section:
    """Read MSI from comma, semicolon or tab separated text, gzipped or not.

    One column is x, one y, and every column whose name holds an m/z is an ion; others stay in `obs`.
    Positions one apart count pixels and need `opening.pixel_size_um`; others are µm, times
    `opening.um_per_unit`, and their pitch is the pixel size unless one is given.

    Raises
    ------
    FileProblem
        The file cannot be read as a table.
    DataProblem
        Columns are missing or twice, numbers are text, missing or negative, pixels are twice.
    GeometryProblem
        The size of a pixel is unknown.
    """
    opening = opening or Opening()
    progress(0.0, f"reading {path.name}")
    frame = read_text(path)
    check(cancelled)
    progress(0.7, "checking values")
    columns = {str(name).strip().lower(): name for name in reversed(frame.columns)}
    x, y = (next((columns[name] for name in names if name in columns), None) for names in (_X, _Y))
    if x is None or y is None:
        raise DataProblem(
            f"'{path.name}' has no column '{'x' if x is None else 'y'}'. A table of MSI pixels needs columns x and y, "
            f"then one column per m/z. Found: {', '.join(map(str, frame.columns[:6]))}, …"
        )
    positions = frame[[x, y]]
    return msi_section(frame.drop(columns=[x, y]), numbers(positions, path.name), opening, path)


def msi_section(frame: pd.DataFrame, positions: NDArray[np.float64], opening: Opening, path: Path) -> Section:
    """Return the section of a table of pixels; see `read_msi_table`.

    Parameters
    ----------
    frame
        Pixels × columns; those whose name holds an m/z are ions, the others go to `obs`.
    positions
        (pixels, 2) in units of the file.
    """
    from anndata import AnnData

    ions = parse_mz(frame.columns)
    if ions.empty:
        raise DataProblem(f"'{path.name}' has no column named by an m/z, such as 798.541 or mz-798.541.")
    if ions["mz"].duplicated().any():
        twice = ", ".join(f"{mz:g}" for mz in ions.loc[ions["mz"].duplicated(), "mz"].unique()[:3])
        raise DataProblem(f"'{path.name}' has columns with the same m/z ({twice}). Keep one of each.")
    values = numbers(frame[ions["column"]], path.name).astype(np.float32)
    check_values(values, "ions")
    table = AnnData(
        X=values,
        obs=frame.drop(columns=ions["column"]).set_axis([f"pixel_{i + 1}" for i in range(len(frame))], axis=0),
        var=ions.drop(columns="column").set_axis([f"mz-{mz:.5f}".rstrip("0") for mz in ions["mz"]], axis=0),
    )
    xy = check_positions(positions, table, "pixels")
    scale, size = pixel_scale(xy, opening)
    empty = int((values == 0).all(axis=0).sum())
    notes = (f"{empty:,} of {table.n_vars:,} ions are zero in every pixel.",) if empty else ()
    return build_section(
        name=opening.name or path.name.split(".")[0],
        msi=table,
        msi_xy=xy * scale,
        pixel_size_um=size,
        path=path,
        notes=notes,
    )


def pixel_scale(xy: NDArray[np.float64], opening: Opening) -> tuple[float, float | tuple[float, float]]:
    """Return µm per unit of the positions, and the size of a pixel in µm.

    Raises
    ------
    GeometryProblem
        Positions count pixels, or lie on no grid, and nobody said how large a pixel is.
    """
    grid = Grid.from_points(xy)
    counted = grid is not None and np.allclose(grid.pitch, 1, rtol=1e-3)
    if counted and opening.um_per_unit is None:
        if opening.pixel_size_um is None:
            raise GeometryProblem(
                "Positions of the MSI count pixels (1, 2, 3, …), so their size in µm is unknown. Give the MSI pixel "
                "size in µm."
            )
        return opening.pixel_size_um, opening.pixel_size_um
    scale = opening.um_per_unit or 1.0
    if opening.pixel_size_um is not None:
        return scale, opening.pixel_size_um
    if grid is None:
        raise GeometryProblem("The MSI pixels lie on no regular grid, so their size is unknown. Give it in µm.")
    width, height = grid.pitch
    return scale, (width * scale, height * scale)


def read_text(path: Path) -> pd.DataFrame:
    """Read a table of text; the separator is the likeliest of comma, semicolon and tab.

    Raises
    ------
    FileProblem
        It is missing, empty, or not a table.
    """
    import gzip

    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as stream:
            header = stream.readline()
        separator = max("\t;,", key=header.count)
        frame = pd.read_csv(path, sep=separator, engine="pyarrow" if path.suffix != ".gz" else "c")
    except (OSError, ValueError, UnicodeDecodeError, EOFError) as error:
        raise FileProblem(f"'{path}' cannot be read as a table: {error}") from error
    names = [str(name).strip() for name in header.rstrip("\r\n").split(separator)]
    repeated = sorted({name.strip('"') for name in names if names.count(name) > 1})
    if repeated:
        raise DataProblem(
            f"'{path.name}' has columns with the same name ({', '.join(repeated[:3])}). Keep one of each."
        )
    if frame.empty:
        raise FileProblem(f"'{path}' has a header and no rows.")
    return frame


def numbers(frame: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """Return the values of a table of numbers as (rows, columns) float64.

    Raises
    ------
    DataProblem
        A cell holds text or nothing; the first one is named by row and column.
    """
    for column in frame.columns:
        values = frame[column]
        if not pd.api.types.is_numeric_dtype(values) or values.isna().any():
            parsed = pd.to_numeric(values, errors="coerce")
            bad = np.flatnonzero(parsed.isna())
            if len(bad):
                cell = values.iloc[bad[0]]
                what = "nothing" if pd.isna(cell) or not str(cell).strip() else f"'{cell}'"
                raise DataProblem(
                    f"'{name}' has {what} instead of a number in row {bad[0] + 2}, column '{column}' "
                    f"({len(bad):,} such cells in that column). Mend the file and open it again."
                )
            frame = frame.assign(**{str(column): parsed})
    return frame.to_numpy(dtype=np.float64)


def parse_mz(columns: Iterable[object]) -> pd.DataFrame:
    """Return the columns whose names hold an m/z: `column`, `mz` (float64) and `name` (str)."""
    rows = []
    for column in columns:
        match = _MZ.match(str(column))
        if match and float(match[1]) > 0:
            rows.append({"column": column, "mz": float(match[1]), "name": (match[2] or "").strip()})
    return pd.DataFrame(rows, columns=["column", "mz", "name"])
