"""Files of landmarks as other programs, other alphabets and spreadsheets leave them."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from landmark_samples import plain_section, reread

from napari_st2msi.errors import DataProblem, FileProblem, GeometryProblem
from napari_st2msi.io.one_file import write_texts
from napari_st2msi.registration.landmark_files import elements, read_landmarks, write_landmarks
from napari_st2msi.registration.landmark_files.found import unique
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.section import Section

pytestmark = pytest.mark.filterwarnings("ignore")

LANDMARKS = Landmarks(
    ("a", "b", "c", "d"),
    np.array([[150.0, 250], [4800, 400], [2500.5, 3700], [900, 2100]]),
    np.array([[100.0, 200], [3900, 300], [2000, 3100.25], [700, 1700]]),
)


@pytest.fixture(scope="module")
def section() -> Section:
    return plain_section(np.zeros(2))


def text(section: Section, folder: Path, format: str) -> str:
    suffix = ".json" if format == "json" else ".csv"
    return write_landmarks(section, LANDMARKS, folder / f"whole{suffix}", format)[0].read_text(encoding="utf-8")


SPOILT = {
    "as it is": lambda whole: whole.encode(),
    "with a mark": lambda whole: whole.encode("utf-8-sig"),
    "of Windows": lambda whole: whole.replace("\n", "\r\n").encode(),
    "of an old Mac": lambda whole: whole.replace("\n", "\r").encode(),
    "Unicode of a spreadsheet": lambda whole: whole.replace(",", "\t").encode("utf-16"),
    "semicolons": lambda whole: whole.replace(",", ";").encode(),
    "decimal commas": lambda whole: whole.replace(",", ";").replace(".", ",").encode(),
    "a comma at the end": lambda whole: whole.replace("\n", ",\n").encode(),
    "an empty line": lambda whole: whole.replace("\n", "\n\n").encode(),
}


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize("format", ["csv", "magpie"])
def test_tables_as_spreadsheets_leave_them(section: Section, tmp_path: Path, format: str, how: str) -> None:
    found, _ = reread(section, tmp_path, SPOILT[how](text(section, tmp_path, format)))
    np.testing.assert_allclose(found.moving, LANDMARKS.moving, rtol=1e-12)
    np.testing.assert_allclose(found.fixed, LANDMARKS.fixed, rtol=1e-12)


def test_the_alphabet_of_old_windows(section: Section, tmp_path: Path) -> None:
    whole = text(section, tmp_path, "csv").replace("_um", "_µm").replace("a,", "Gefäß,", 1)
    found, notes = reread(section, tmp_path, whole.replace("msi_x_µm", "msi_x_µm").encode("cp1252"))
    assert notes == []
    np.testing.assert_array_equal(found.moving, LANDMARKS.moving)
    with pytest.raises(FileProblem, match="not a text file"):
        reread(section, tmp_path, whole.encode() + b"\0\0")
    with pytest.raises(FileProblem, match="not a text file"):
        reread(section, tmp_path, b"PK\x03\x04" + bytes(range(256)))


def test_magpie_in_other_letters_order_and_with_a_column_more(section: Section, tmp_path: Path) -> None:
    whole = text(section, tmp_path, "magpie")
    found, _ = reread(section, tmp_path, whole.replace("X_left", "x_left").replace("Y_right", "y_right"))
    np.testing.assert_allclose(found.fixed, LANDMARKS.fixed)
    (tmp_path / "a.csv").write_text(whole)
    frame = pd.read_csv(tmp_path / "a.csv")[["Y_right", "X_right", "Y_left", "X_left"]]
    found, _ = reread(section, tmp_path, frame.to_csv())
    np.testing.assert_allclose(found.moving, LANDMARKS.moving)
    with pytest.raises(DataProblem, match="no single column X_left, X_right"):
        reread(section, tmp_path, whole.replace("X_right", "X_left"))
    with pytest.raises(DataProblem, match="Landmark 1 has no position on the MSI side"):
        reread(section, tmp_path, whole.replace("1.5", "", 1))
    with pytest.raises(DataProblem, match="holds no landmarks"):
        reread(section, tmp_path, whole.splitlines()[0])


@pytest.mark.parametrize("format", ["csv", "bigwarp"])
def test_names_that_are_there_twice_are_numbered(section: Section, tmp_path: Path, format: str) -> None:
    lines = text(section, tmp_path, format).splitlines()
    same = [line.replace('"b"', '"a"') if '"' in line else line.replace("b,", "a,") for line in lines]
    found, notes = reread(section, tmp_path, "\n".join(same))
    assert found.ids == ("a", "a (2)", "c", "d")
    assert notes == ["Several landmarks are called a: they were numbered."]


def test_numbered_names_hit_no_other() -> None:
    assert unique(["a", "a (2)", "a", "", "4", ""])[0] == ("a", "a (2)", "a (3)", "4 (2)", "4", "6")
    assert unique(["a", "b"]) == (("a", "b"), ())
    with pytest.raises(DataProblem, match="Several landmarks are called 'a'"):
        Landmarks(("a", "b", "a"), np.zeros((3, 2)), np.zeros((3, 2)))


def test_names_with_separators_in_them(section: Section, tmp_path: Path) -> None:
    found, _ = reread(section, tmp_path, text(section, tmp_path, "bigwarp").replace('"a"', '"a;b;c;d;e;f;g"'))
    assert found.ids[0] == "a;b;c;d;e;f;g"


@pytest.mark.parametrize("huge", ["1e160", "-1e300", "1.7e308"])
@pytest.mark.parametrize("format", ["csv", "bigwarp", "json"])
def test_numbers_that_are_no_place_on_a_slide(section: Section, tmp_path: Path, format: str, huge: str) -> None:
    whole = text(section, tmp_path, format)
    name = "a.json" if format == "json" else "a.csv"
    for number in ("2500.5", "3100.25"):
        with pytest.raises(GeometryProblem, match="Landmark c lies far outside the"):
            reread(section, tmp_path, whole.replace(number, huge), name)


def test_json_that_no_program_writes(section: Section, tmp_path: Path) -> None:
    whole = text(section, tmp_path, "json")
    for spoilt in (
        "[" * 100_000,
        whole.replace("2500.5", "1" + "0" * 400),
        whole.replace("2500.5", "1" + "0" * 5000),
        whole.replace('"a"', "{}").replace("[150.0, 250.0]", "{}"),
    ):
        with pytest.raises((FileProblem, DataProblem), match=r"damaged|not a number"):
            reread(section, tmp_path, spoilt, "a.json")


def test_point_sets_as_they_are_typed(section: Section, tmp_path: Path) -> None:
    moving, fixed = write_landmarks(section, LANDMARKS, tmp_path / "e.txt", "elastix")
    for spoil in (
        lambda whole: "\n" + whole,
        lambda whole: whole.replace("\n", "\r\n") + "\r\n",
        lambda whole: whole.replace(" ", "\t"),
        lambda whole: "\n".join(line + " 0" if " " in line else line for line in whole.splitlines()),  # in 3D
    ):
        whole = moving.read_text()
        moving.write_text(spoil(whole))
        np.testing.assert_array_equal(read_landmarks(section, fixed).moving, LANDMARKS.moving)
        moving.write_text(whole)


# -- writing ----------------------------------------------------------------------------------------


def test_a_full_disk_leaves_what_was_there(section: Section, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the two point sets neither is replaced: one alone would pair other points."""
    files = write_landmarks(section, LANDMARKS, tmp_path / "e.txt", "elastix")
    before = [path.read_text() for path in files]
    write, left = Path.write_text, [1]

    def full(path: Path, *arguments: Any, **more: Any) -> int:
        write(path, "half", encoding="utf-8")
        if left.pop() if left else False:
            return 4
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(FileProblem, match="The disk is full"):
        write_landmarks(section, LANDMARKS.without("a"), tmp_path / "e.txt", "elastix")
    monkeypatch.undo()
    assert [path.read_text() for path in files] == before
    assert sorted(tmp_path.iterdir()) == sorted(files)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError])
def test_what_was_stopped_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: type) -> None:
    (tmp_path / "a.csv").write_text("old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(stop()))
    with pytest.raises(stop):
        write_texts({tmp_path / "a.csv": "new"})
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert (tmp_path / "a.csv").read_text() == "old"


def test_elements_come_back_where_the_swap_was_stopped(
    section: Section, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_landmarks(section, LANDMARKS, tmp_path / "points.zarr")[0]
    rename = elements.os.rename

    def stopped(source: Path, target: Path) -> None:
        if ".st2msi-new" in str(source):
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(elements.os, "rename", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_landmarks(section, LANDMARKS.without("a"), path)
    monkeypatch.undo()
    assert len(read_landmarks(section, path)) == 4
    assert [each.name for each in tmp_path.iterdir()] == ["points.zarr"]
