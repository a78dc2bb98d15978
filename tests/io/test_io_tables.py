"""MSI as tables of text."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from napari_st2msi.errors import DataProblem, FileProblem, GeometryProblem
from napari_st2msi.io.opening import Opening
from napari_st2msi.io.tables import parse_mz, read_msi_table
from napari_st2msi.section import MSI_SYSTEM, Section

VALUES = np.arange(24, dtype=float).reshape(12, 2) / 7


def write(path: Path, *, step: float = 100.0, header: str = "x,y,798.541,mz-104.10705", separator: str = ",") -> Path:
    rows = [header.replace(",", separator)]
    for i, (a, b) in enumerate(VALUES):
        rows.append(separator.join(f"{v:.6g}" for v in (step * (i % 4), step * (i // 4), a, b)))
    text = "\n".join(rows) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def check(section: Section, size: float) -> None:
    assert section.msi.shape == (12, 2)
    np.testing.assert_allclose(section.msi.X, VALUES, rtol=1e-5)
    assert section.ions["mz"].tolist() == [798.541, 104.10705]
    assert section.pixels(MSI_SYSTEM).diameter == pytest.approx(size)
    assert section.msi_grid is not None
    assert section.msi_grid.index.shape == (3, 4)
    assert not section.registered


@pytest.mark.parametrize(("name", "separator"), [("a.csv", ","), ("a.csv", ";"), ("a.tsv", "\t"), ("a.csv.gz", ",")])
def test_any_separator_gzipped_or_not(tmp_path: Path, name: str, separator: str) -> None:
    check(read_msi_table(write(tmp_path / name, separator=separator)), 100)


def test_counted_pixels_need_a_size(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", step=1)
    with pytest.raises(GeometryProblem, match="Positions of the MSI count pixels"):
        read_msi_table(path)
    check(read_msi_table(path, Opening(pixel_size_um=50)), 50)


def test_units_can_be_said(tmp_path: Path) -> None:
    check(read_msi_table(write(tmp_path / "a.csv", step=0.1), Opening(um_per_unit=1000)), 100)


def test_other_columns_are_kept_beside_the_pixels(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("spot,x,y,tissue,500.5\na,0,0,in,1\nb,20,0,out,2\n")
    section = read_msi_table(path)
    assert section.msi.obs["tissue"].tolist() == ["in", "out"]
    assert section.msi.n_vars == 1


@pytest.mark.parametrize(
    ("text", "problem", "message"),
    [
        ("x,y,500.5\n0,0,1\n20,0,abc\n", DataProblem, r"'abc' instead of a number in row 3, column '500.5'"),
        ("x,y,500.5\n0,0,1\n20,0,\n", DataProblem, "nothing instead of a number in row 3"),
        ("x,y,500.5\n0,0,1\n20,0,nan\n", DataProblem, "instead of a number in row 3"),
        ("x,y,500.5\n0,0,1\n20,0,-4\n", DataProblem, "1 values of the ions are negative"),
        ("x,y,500.5\n0,0,1\n0,0,4\n", DataProblem, "lie exactly on another one"),
        ("x,y,500.5,500.5\n0,0,1,1\n20,0,4,4\n", DataProblem, r"columns with the same name \(500.5\)"),
        ("x,y,500.5,mz-500.5\n0,0,1,1\n20,0,4,4\n", DataProblem, r"columns with the same m/z \(500.5\)"),
        ("a,y,500.5\n0,0,1\n", DataProblem, "has no column 'x'"),
        ("x,y,glucose\n0,0,1\n20,0,1\n", DataProblem, "no column named by an m/z"),
        ("x,y,500.5\n", FileProblem, "no rows"),
        ("", FileProblem, "cannot be read as a table"),
        ("x,y,500.5\n0,0,1\n7,0,2\n9,3,1\n", GeometryProblem, "no regular grid"),
    ],
)
def test_bad_tables_say_what_is_wrong(tmp_path: Path, text: str, problem: type, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(problem, match=message):
        read_msi_table(path)


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    with pytest.raises(FileProblem, match="cannot be read"):
        read_msi_table(tmp_path / "missing.csv")
    (tmp_path / "broken.csv.gz").write_bytes(gzip.compress(b"x,y,500.5\n0,0,1\n" * 100)[:30])
    with pytest.raises(FileProblem, match="cannot be read"):
        read_msi_table(tmp_path / "broken.csv.gz")


def test_ions_that_are_zero_everywhere_are_kept_and_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x,y,500.5,600.5\n0,0,1,0\n20,0,2,0\n")
    section = read_msi_table(path)
    assert section.msi.n_vars == 2
    assert section.notes == ("1 of 2 ions are zero in every pixel.",)


def test_mz_in_column_names() -> None:
    found = parse_mz(["798.541", "mz-104.1", "X58.2", "m/z 760.585 PC(34:1)", "mz_12", "cluster", "x", "MZ.3.5"])
    assert found["mz"].tolist() == [798.541, 104.1, 58.2, 760.585, 12.0, 3.5]
    assert found["name"].tolist() == ["", "", "", "PC(34:1)", "", ""]
