"""Which ions are read from imzML: typed, from a table, or picked on the mean spectrum."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from imzml_files import random_spectra, write

from napari_st2msi.errors import DataProblem, FileProblem
from napari_st2msi.io.imzml import read_imzml
from napari_st2msi.io.imzml_index import read_index
from napari_st2msi.io.mz_table import mz_frame, read_mz_table
from napari_st2msi.io.opening import Opening
from napari_st2msi.io.peaks import pick_peaks

TRUTH = np.array([150.1, 233.3333, 400.75, 401.2, 799.9])
HEIGHT = np.array([50.0, 10.0, 100.0, 80.0, 30.0])


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "ions.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    "text",
    [
        "mz,name,formula,adduct\n798.541,PC(34:1),C42H82NO8P,M+K\n184.0733,phosphocholine,C5H14NO4P,M+H\n",
        "Name;Formula;Adduct;M/Z\nPC(34:1);C42H82NO8P;M+K;798.541\nphosphocholine;C5H14NO4P;M+H;184.0733\n",
        "\ufeffmz\tname\tformula\tadduct\tcolour\r\n798.541\tPC(34:1)\tC42H82NO8P\tM+K\tred\r\n"
        "184.0733\tphosphocholine\tC5H14NO4P\tM+H\t\r\n\r\n",
        "# exported yesterday\n# by hand\nadduct,formula,mz,moleculeNames\n"
        "M+K,C42H82NO8P,798.541,PC(34:1)\nM+H,C5H14NO4P,184.0733,phosphocholine\n",
    ],
)
def test_tables_of_many_programs(tmp_path: Path, text: str) -> None:
    ions = read_mz_table(table(tmp_path, text))
    assert ions["mz"].tolist() == [798.541, 184.0733]
    assert ions["name"].tolist() == ["PC(34:1)", "phosphocholine"]
    assert ions["formula"].tolist() == ["C42H82NO8P", "C5H14NO4P"]
    assert ions["adduct"].tolist() == ["M+K", "M+H"]
    assert ions.index.tolist() == ["798.5410", "184.0733"]


def test_table_without_header(tmp_path: Path) -> None:
    ions = read_mz_table(table(tmp_path, "500.25,a\n600.5,b\n"))
    assert ions["mz"].tolist() == [500.25, 600.5]
    assert ions["name"].tolist() == ["a", "b"]
    assert read_mz_table(table(tmp_path, "500.25\n600.5\n"))["name"].tolist() == ["", ""]


def test_table_of_a_spreadsheet_with_decimal_commas(tmp_path: Path) -> None:
    for encoding in ("utf-8", "utf-16"):
        ions = read_mz_table(table(tmp_path, ";mz;name\r\n1;500,25;a\r\n2;600,5;b\r\n", encoding))
        assert ions["mz"].tolist() == [500.25, 600.5]
        assert ions["name"].tolist() == ["a", "b"]


def test_table_in_latin_1(tmp_path: Path) -> None:
    assert read_mz_table(table(tmp_path, "mz,name\n500.25,β".replace("β", "ß"), "latin-1"))["name"].tolist() == ["ß"]


def test_isomers_keep_their_names_and_repeats_go(tmp_path: Path) -> None:
    ions = read_mz_table(table(tmp_path, "mz,name\n180.0634,glucose\n180.0634,fructose\n180.0634,glucose\n"))
    assert ions.index.tolist() == ["180.0634", "180.0634-1"]
    assert ions["name"].tolist() == ["glucose", "fructose"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("# only a comment\n", "is empty"),
        ("mz,name\n", "holds no m/z"),
        ("mass,name\n500.1,a\n", "no column of m/z.*mass, name"),
        ("mz,name\n500.1,a\nmany,b\n", "1 of 2 values in column 'mz'.*'many'"),
        ("mz,name\n500.1,a\n,b\n", "1 of 2 values"),
        ("mz,name\n-3,a\n", "holds -3 as m/z"),
        ("mz,name\nnan,a\n", "1 of 1 values"),
        ("mz,name\ninf,a\n", "holds inf as m/z"),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, match: str) -> None:
    with pytest.raises(DataProblem, match=match):
        read_mz_table(table(tmp_path, text))


def test_missing_table(tmp_path: Path) -> None:
    with pytest.raises(FileProblem, match="cannot be read"):
        read_mz_table(tmp_path / "ions.csv")
    with pytest.raises(FileProblem, match="the file is empty"):
        read_mz_table(table(tmp_path, ""))


@pytest.mark.parametrize("mz", [(0.0,), (-5.0, 100.0), (float("nan"),), (float("inf"),)])
def test_bad_typed_list(mz: tuple[float, ...]) -> None:
    with pytest.raises(DataProblem, match="as m/z"):
        mz_frame(mz)


def test_table_reaches_the_section(tmp_path: Path) -> None:
    path = write(tmp_path / "a", random_spectra())
    csv = table(tmp_path, "m/z,name,adduct\n107.7,second,M+H\n100.5,first,M+Na\n")
    section = read_imzml(path, Opening(mz_table=csv, ppm=500))
    assert section.ions["mz"].tolist() == [107.7, 100.5]
    assert section.ions["name"].tolist() == ["second", "first"]
    assert section.ions["label"].tolist() == ["m/z 107.7000 second+H", "m/z 100.5000 first+Na"]
    typed = read_imzml(path, Opening(mz=(107.7, 100.5), ppm=500))
    np.testing.assert_array_equal(section.msi.X, typed.msi.X)
    with pytest.raises(DataProblem, match="Give one of them"):
        read_imzml(path, Opening(mz_table=csv, mz=(100.5,)))


# -- peaks ------------------------------------------------------------------------------------------


def curves(shared: bool, ppm_width: float = 30.0) -> list[tuple[tuple[int, int], np.ndarray, np.ndarray]]:
    """Return profile spectra of the true peaks, sampled on an axis 10 ppm apart, with noise."""
    rng = np.random.default_rng(0)
    axis = np.exp(np.arange(np.log(140), np.log(810), 10e-6))
    spectra = []
    for pixel in range(6):
        mz = axis if shared else axis * (1 + rng.normal(0, 1e-6))
        intensity = np.zeros(len(mz))
        for centre, height in zip(TRUTH, HEIGHT, strict=True):
            intensity += height * rng.uniform(0.5, 1.5) * np.exp(-0.5 * ((mz / centre - 1) * 1e6 / ppm_width) ** 2)
        spectra.append(((pixel + 1, 1), mz, intensity + rng.uniform(0, 0.01, len(mz))))
    return spectra


@pytest.mark.parametrize("shared", [False, True])
def test_peaks_of_curves(tmp_path: Path, shared: bool) -> None:
    index = read_index(write(tmp_path / "a", curves(shared), shared_axis=shared, kind="profile"))
    peaks = pick_peaks(index, 5, 20.0)
    np.testing.assert_allclose(peaks, TRUTH, rtol=20e-6)
    np.testing.assert_allclose(pick_peaks(index, 2, 20.0), [400.75, 401.2], rtol=20e-6)


@pytest.mark.parametrize("shared", [False, True])
def test_peaks_of_centroids(tmp_path: Path, shared: bool) -> None:
    rng = np.random.default_rng(1)
    noise = np.sort(rng.uniform(140, 810, 200))
    spectra = []
    for pixel in range(30):
        jitter = 0 if shared else rng.normal(0, 2e-6, len(TRUTH))
        mz = np.concatenate([TRUTH * (1 + jitter), noise if shared else rng.uniform(140, 810, 200)])
        intensity = np.concatenate([HEIGHT * rng.uniform(0.5, 1.5, len(TRUTH)), rng.uniform(0, 1, 200)])
        order = np.argsort(mz)
        spectra.append(((pixel + 1, 1), mz[order], intensity[order]))
    index = read_index(write(tmp_path / "a", spectra, shared_axis=shared))
    np.testing.assert_allclose(pick_peaks(index, 5, 10.0), TRUTH, rtol=3e-6)
    many = pick_peaks(index, 10_000, 10.0)
    assert (np.diff(many) > 2 * 10e-6 * many[1:] * 0.999).all()
    assert len(many) > 100


def test_neighbouring_centroids_on_one_axis_are_all_peaks(tmp_path: Path) -> None:
    path = write(tmp_path / "a", [((1, 1), [100.0, 101.0, 102.0, 103.0], [1, 2, 3, 0])], shared_axis=True)
    assert pick_peaks(read_index(path), 10, 10.0).tolist() == [100, 101, 102]


def test_coarse_curve_does_not_fall_apart(tmp_path: Path) -> None:
    # Points 500 ppm apart, a tolerance of 5 ppm: still one peak, on a point that is there.
    mz = 200 * np.exp(np.arange(-20, 21) * 500e-6)
    spectra = [((x, 1), mz, 100 * np.exp(-0.5 * (np.arange(-20, 21) / 3) ** 2)) for x in (1, 2)]
    path = write(tmp_path / "a", spectra, kind="profile")
    section = read_imzml(path, Opening(n_peaks=10, ppm=5))
    np.testing.assert_allclose(section.ions["mz"], [200], rtol=1e-9)
    np.testing.assert_allclose(section.msi.X, [[100], [100]])


def test_peaks_are_ions_of_the_section(tmp_path: Path) -> None:
    section = read_imzml(write(tmp_path / "a", curves(True), shared_axis=True, kind="profile"), Opening(n_peaks=3))
    assert section.msi.n_vars == 3
    assert section.msi.X.all()
    assert any("3 highest peaks" in note for note in section.notes)


@pytest.mark.parametrize("name", ["Example_Continuous", "Example_Processed"])
def test_peaks_of_coarse_real_curves_lie_on_points_that_were_measured(real_data: Path, name: str) -> None:
    section = read_imzml(real_data / "pyimzml_examples" / f"{name}.imzML")
    assert section.msi.n_vars == 200
    assert section.msi.X.any(axis=0).all()
