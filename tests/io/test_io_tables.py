"""MSI as text: the SMA layout and its relatives, and everything that spreadsheets do to numbers."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from reader_samples import grid

from napari_st2msi.errors import DataProblem, FileProblem
from napari_st2msi.io.opening import Opening
from napari_st2msi.io.tables import mz_of, read_ion_table, read_table


def frame(width: int = 6, height: int = 5, k: int = 3, **columns: object) -> pd.DataFrame:
    xy = grid(width, height).astype(int)
    table = pd.DataFrame({"x": xy[:, 0], "y": xy[:, 1]})
    values = np.random.default_rng(0).gamma(2, 10, (len(xy), k)).round(3)
    for i in range(k):
        table[f"{700 + 12.5 * i:.3f}"] = values[:, i]
    return table.assign(**columns)


def write(folder: Path, table: pd.DataFrame, name: str = "msi.csv", **options: object) -> Path:
    table.to_csv(folder / name, index=False, **options)
    return folder / name


@pytest.mark.parametrize(
    ("title", "mz"),
    [
        ("798.54", 798.54),
        ("mz-798.54", 798.54),
        ("mz_798.54", 798.54),
        ("m/z 798.54", 798.54),
        ("m.z.798.54", 798.54),
        ("-798.54", None),
        ("X798.54", 798.54),
        ("MZ798", 798.0),
        (' "798.54" ', 798.54),
        ("798.54 Da", 798.54),
        ("x", None),
        ("y", None),
        ("spot_id", None),
        ("0", None),
        ("cluster_3", None),
        ("PC 34:1", None),
    ],
)
def test_what_a_column_is_called(title: str, mz: float | None) -> None:
    assert mz_of(title) == mz


def test_sma_layout(tmp_path: Path) -> None:
    table = frame()
    section = read_table(write(tmp_path, table), Opening(pixel_size_um=100))
    assert section.name == "msi"
    assert not section.has_st
    np.testing.assert_allclose(section.msi.X, table.iloc[:, 2:].to_numpy(), rtol=1e-6)
    np.testing.assert_allclose(section.msi.var["mz"], [700, 712.5, 725])
    np.testing.assert_allclose(section.msi.obsm["spatial"], table[["x", "y"]].to_numpy() * 100, atol=1e-9)
    assert section.summary()["pixel_size_um"] == pytest.approx(100)
    assert section.notes == ()


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz", "a.txt"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_and_compression(tmp_path: Path, name: str, separator: str) -> None:
    section = read_table(write(tmp_path, frame(), name, sep=separator), Opening(pixel_size_um=50))
    assert section.msi.shape == (30, 3)
    assert section.name == "a"


def test_decimal_commas(tmp_path: Path) -> None:
    table = frame()
    file = write(tmp_path, table.rename(columns=lambda c: c.replace(".", ",")), sep=";", decimal=",")
    section = read_table(file, Opening(pixel_size_um=50))
    np.testing.assert_allclose(section.msi.X, table.iloc[:, 2:].to_numpy(), rtol=1e-6)
    np.testing.assert_allclose(section.msi.var["mz"], [700, 712.5, 725])


def test_other_columns_stay_with_the_pixels(tmp_path: Path) -> None:
    table = frame(region=["white matter"] * 30, **{"cell type": "neuron"})
    table.insert(0, "", [f"p{i}" for i in range(30)])  # what R writes as row names
    section = read_table(write(tmp_path, table), Opening(pixel_size_um=50))
    assert (section.sdata.tables["msi"].obs["region"] == "white matter").all()
    assert (section.sdata.tables["msi"].obs["cell_type"] == "neuron").all()
    assert section.msi.shape == (30, 3)


def test_pixel_size_comes_from_the_user_or_the_grid(tmp_path: Path) -> None:
    file = write(tmp_path, frame())
    unknown = read_table(file)
    assert unknown.summary()["pixel_size_um"] == pytest.approx(1)
    assert "does not say how large an MSI pixel is" in unknown.notes[0]
    assert read_table(file, Opening(um_per_unit=20)).summary()["pixel_size_um"] == pytest.approx(20)
    in_um = frame().assign(x=lambda t: t.x * 50, y=lambda t: t.y * 50)
    section = read_table(write(tmp_path, in_um))
    assert section.summary()["pixel_size_um"] == pytest.approx(50)
    both = read_table(write(tmp_path, in_um), Opening(pixel_size_um=10, um_per_unit=3))
    assert both.summary()["pixel_size_um"] == pytest.approx(10)
    assert np.ptp(both.msi.obsm["spatial"][:, 0]) == pytest.approx(50)


def test_padding_of_a_raster_is_left_out(tmp_path: Path) -> None:
    table = frame(k=25)
    table.iloc[[0, 7], 2:] = 0.0
    table.iloc[:, 5] = 0.0  # an ion that is never there is kept
    section = read_table(write(tmp_path, table), Opening(pixel_size_um=50))
    assert section.msi.shape == (28, 25)
    assert "2 of 30 pixels have no signal" in section.notes[1]
    assert "1 of 25 ions are zero in every pixel and kept" in section.notes[0]
    few = frame()
    few.iloc[0, 2:] = 0.0  # a short list of ions may well be absent from a measured pixel
    assert read_table(write(tmp_path, few), Opening(pixel_size_um=50)).msi.n_obs == 30


def test_sections_in_one_table_are_laid_side_by_side(tmp_path: Path) -> None:
    table = pd.concat([frame(slide="a"), frame(slide="b")])
    section = read_table(write(tmp_path, table), Opening(pixel_size_um=50, group="slide"))
    assert section.msi.obs["section"].value_counts().to_dict() == {"a": 30, "b": 30}
    a, b = (section.msi.obsm["spatial"][section.msi.obs["section"] == name] for name in "ab")
    assert a[:, 0].max() < b[:, 0].min()
    assert section.summary()["pixel_size_um"] == pytest.approx(50)
    assert section.msi_grid is not None
    assert section.msi_grid.pitch == pytest.approx((50, 50))
    with pytest.raises(DataProblem, match="no column 'mouse'"):
        read_table(write(tmp_path, table), Opening(group="mouse"))


def test_many_rows_are_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_st2msi.io import tables

    monkeypatch.setattr(tables, "_ROWS", 7)
    table = frame()
    read = read_ion_table(write(tmp_path, table))
    np.testing.assert_allclose(read.intensities, table.iloc[:, 2:].to_numpy(), rtol=1e-6)
    table.iloc[20, 3] = -1.0
    with pytest.raises(DataProblem, match=r"row 22, column '712\.500'"):
        read_ion_table(write(tmp_path, table))


def spoilt(row: int, column: int, value: object) -> pd.DataFrame:
    table = frame().astype(object)
    table.iloc[row, column] = value
    return table


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (spoilt(3, 3, "n.d."), r"'n\.d\.' in row 5, column '712\.500'"),
        (spoilt(3, 3, "1,000.5"), r"'1,000\.5' in row 5"),
        (spoilt(4, 2, np.nan), r"missing or infinite.*row 6, column '700\.000'"),
        (spoilt(4, 2, "inf"), r"missing or infinite.*row 6"),
        (spoilt(0, 4, -2.5), r"negative.*row 2, column '725\.000'"),
        (spoilt(2, 0, "left"), "positions that are not numbers: the first in row 4, column 'x'"),
        (spoilt(1, 0, 0), "lie exactly on another one"),
        (frame().drop(columns="x"), "no column x"),
        (frame().drop(columns=["x", "y"]), "no column x and y"),
        (frame().iloc[:, :2], "no column of intensities"),
        (frame().iloc[:0], "no rows"),
        (frame(**{"mz-700.0": 1.0}), r"the m/z 700\.0 more than once"),
        (frame().assign(**dict.fromkeys(frame().columns[2:], 0.0)), "All intensities are zero"),
    ],
)
def test_bad_tables_are_told_with_their_place(tmp_path: Path, table: pd.DataFrame, message: str) -> None:
    with pytest.raises(DataProblem, match=message):
        read_table(write(tmp_path, table), Opening(pixel_size_um=50))


def test_a_repeated_column_is_told(tmp_path: Path) -> None:
    table = frame()
    table.insert(4, "700.000", 1.0, allow_duplicates=True)
    with pytest.raises(DataProblem, match=r"column 700\.000 more than once"):
        read_table(write(tmp_path, table))


@pytest.mark.parametrize("row", [2, 5])
def test_rows_of_another_length_are_told(tmp_path: Path, row: int) -> None:
    file = write(tmp_path, frame())
    lines = file.read_text().splitlines()
    lines[row - 1] += ",1,2"
    file.write_text("\n".join(lines))
    with pytest.raises(DataProblem, match=rf"Row {row} of 'msi\.csv' has 7 columns, the header has 5"):
        read_table(file)


def test_what_is_no_table_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileProblem, match="cannot be read"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(FileProblem, match="is empty"):
        read_table(tmp_path / "empty.csv")
    (tmp_path / "prose.csv").write_text("Dear colleague\nplease find attached\n")
    with pytest.raises(FileProblem, match="is no table"):
        read_table(tmp_path / "prose.csv")
    (tmp_path / "image.csv").write_bytes(b"\x89PNG\xff\xfe\x00\x01,\n\xff\xff")
    with pytest.raises(FileProblem, match="no text"):
        read_table(tmp_path / "image.csv")
    (tmp_path / "torn.csv.gz").write_bytes(gzip.compress(frame().to_csv(index=False).encode())[:-40])
    with pytest.raises(FileProblem, match="cannot be read"):
        read_table(tmp_path / "torn.csv.gz")
