"""Ion images from imzML: the same numbers as pyimzML, on the pixels where they belong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from imzml_files import PIXEL_SIZE, UID, random_spectra, write
from pyimzml.compression import NoCompression, ZlibCompression
from pyimzml.ImzMLParser import ImzMLParser, getionimage
from pyimzml.ImzMLWriter import ImzMLWriter

from napari_st2msi.errors import GeometryProblem
from napari_st2msi.io import imzml_read
from napari_st2msi.io.imzml import read_imzml
from napari_st2msi.io.imzml_index import read_index
from napari_st2msi.io.opening import Opening
from napari_st2msi.progress import Cancelled, Progress

MZ = (100.5, 103.25, 103.3, 107.7, 109.999)
PPM = 500.0


def expected(path: Path, mz: np.ndarray, ppm: float, z: int = 1) -> dict[tuple[int, int], np.ndarray]:
    """Return what pyimzML's getionimage gives for each pixel with this z."""
    with ImzMLParser(str(path)) as parser:
        # float64 throughout: a Python float would be rounded to the precision of the file's m/z.
        images = [getionimage(parser, np.float64(m), tol=np.float64(m * ppm * 1e-6), z=z) for m in mz]
        return {(x, y): np.array([im[y - 1, x - 1] for im in images]) for x, y, zz in parser.coordinates if zz == z}


def assert_same(path: Path, *, mz: tuple[float, ...] = MZ, ppm: float = PPM) -> None:
    section = read_imzml(path, Opening(mz=mz, ppm=ppm, pixel_size_um=10))
    wanted = expected(path, np.array(mz), ppm)
    assert len(wanted) == section.msi.n_obs
    for x, y, row in zip(section.msi.obs["x"], section.msi.obs["y"], section.msi.X, strict=True):
        np.testing.assert_allclose(row, wanted[x, y], rtol=2e-6)
    assert section.msi.X.any()


@pytest.mark.parametrize("mode", ["continuous", "processed"])
@pytest.mark.parametrize("mz_dtype", [np.float32, np.float64])
@pytest.mark.parametrize("intensity_dtype", [np.int32, np.int64, np.float32, np.float64])
def test_equals_pyimzml(tmp_path: Path, mode: str, mz_dtype: type, intensity_dtype: type) -> None:
    spectra = random_spectra(shared_axis=mode == "continuous", integers=np.issubdtype(intensity_dtype, np.integer))
    path = tmp_path / "a.imzML"
    with ImzMLWriter(str(path), mode=mode, mz_dtype=mz_dtype, intensity_dtype=intensity_dtype) as writer:
        for position, mz, intensity in spectra[:5] + spectra[6:]:  # one pixel was not measured
            writer.addSpectrum(np.asarray(mz), np.asarray(intensity), position)
    assert_same(path)


@pytest.mark.parametrize(
    ("mz_compression", "intensity_compression"), [(ZlibCompression, ZlibCompression), (NoCompression, ZlibCompression)]
)
def test_reads_zlib(tmp_path: Path, mz_compression: type, intensity_compression: type) -> None:
    spectra = random_spectra()
    plain, packed = tmp_path / "plain.imzML", tmp_path / "packed.imzML"
    for path, first, second in (
        (plain, NoCompression, NoCompression),
        (packed, mz_compression, intensity_compression),
    ):
        with ImzMLWriter(str(path), mode="processed", mz_compression=first(), intensity_compression=second()) as writer:
            for position, mz, intensity in spectra:
                writer.addSpectrum(np.asarray(mz), np.asarray(intensity), position)
    opening = Opening(mz=MZ, ppm=PPM, pixel_size_um=10)
    np.testing.assert_array_equal(read_imzml(packed, opening).msi.X, read_imzml(plain, opening).msi.X)


@pytest.mark.parametrize("name", ["Example_Continuous", "Example_Processed"])
def test_real_examples_equal_pyimzml(real_data: Path, name: str) -> None:
    path = real_data / "pyimzml_examples" / f"{name}.imzML"
    mz = (152.0, 153.0833, 227.25, 328.9, 345.0, 781.33)
    section = read_imzml(path, Opening(mz=mz, ppm=300))
    wanted = expected(path, np.array(mz), 300)
    for x, y, row in zip(section.msi.obs["x"], section.msi.obs["y"], section.msi.X, strict=True):
        np.testing.assert_allclose(row, wanted[x, y], rtol=2e-6)
    assert section.pixels("st2msi_msi").diameter == pytest.approx(100)
    assert section.msi_grid is not None
    assert section.msi_grid.index.shape == (3, 3)
    picked = read_imzml(path, Opening(n_peaks=30, ppm=200))
    assert picked.msi.shape == (9, 30)
    assert picked.msi.X.any(axis=0).all()


def test_bounds_are_included(tmp_path: Path) -> None:
    mz = 200.0
    low, high = mz - mz * 10 * 1e-6, mz + mz * 10 * 1e-6
    points = [np.nextafter(low, 0), low, mz, high, np.nextafter(high, 300)]
    for shared in (False, True):
        path = write(tmp_path / "a", [((1, 1), points, [1, 2, 4, 8, 16])], shared_axis=shared)
        assert read_imzml(path, Opening(mz=(mz,), ppm=10)).msi.X.tolist() == [[14]]


def test_window_below_all_points_is_zero(tmp_path: Path) -> None:
    # getionimage returns the first point here, which no window holds.
    path = write(tmp_path / "a", [((1, 1), [200.0, 201.0], [5, 7])])
    section = read_imzml(path, Opening(mz=(150.0, 200.0), ppm=10))
    assert section.msi.X.tolist() == [[0, 5]]
    assert any("outside of the measured range" in note for note in section.notes)


@pytest.mark.parametrize("shared", [False, True])
def test_overlapping_repeated_and_unsorted_ions(tmp_path: Path, shared: bool) -> None:
    spectra = random_spectra(shared_axis=shared)
    path = write(tmp_path / "a", spectra, shared_axis=shared)
    rng = np.random.default_rng(3)
    mz = rng.uniform(99, 111, 80)
    index = read_index(path)
    mz[7] = mz[11]
    for ppm in (1.0, 300.0, 20_000.0):
        found = imzml_read.read_ions(index, mz, ppm).intensities
        for row, (_, points, intensity) in zip(found, spectra, strict=True):
            points, intensity = np.asarray(points), np.asarray(intensity, dtype="<f4").astype(float)
            inside = np.abs(points[:, None] - mz) <= mz * ppm * 1e-6
            np.testing.assert_allclose(row, intensity @ inside, rtol=1e-6)
    section = read_imzml(path, Opening(mz=tuple(mz), ppm=300))
    assert section.msi.n_vars == 79  # the repeated one counts once
    assert any("share signal" in note for note in section.notes)


@pytest.mark.parametrize("spread", [1e-9, 1e-3, 1.0, 900.0])
def test_looking_up_edges_equals_a_binary_search(spread: float) -> None:
    rng = np.random.default_rng(0)
    edges = np.unique(np.concatenate([100 + spread * rng.random(500), [100.0, 1000.0]]))
    near = np.concatenate([np.nextafter(edges, -np.inf), edges, np.nextafter(edges, np.inf)])
    values = np.concatenate([near, rng.uniform(50, 1100, 1000), [0.0, -1.0, 1e-300, 1e35]])
    found = imzml_read._Segments(edges)(values)
    np.testing.assert_array_equal(found, np.searchsorted(edges, values, side="right"))


@pytest.mark.parametrize("shared", [False, True])
def test_many_small_chunks_give_the_same(tmp_path: Path, shared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    spectra = random_spectra(40, shared_axis=shared, empty=(0, 7, 8, 39))
    path = write(tmp_path / "a", spectra, shared_axis=shared)
    opening = Opening(mz=MZ, ppm=PPM, normalisation="tic")
    whole = read_imzml(path, opening).msi
    monkeypatch.setattr(imzml_read, "_POINTS", 300)
    parts = read_imzml(path, opening).msi
    np.testing.assert_array_equal(whole.X, parts.X)
    np.testing.assert_array_equal(whole.obs["tic"], parts.obs["tic"])
    assert (whole.X[[0, 7, 8, 39]] == 0).all()


def test_spectra_may_lie_in_any_order_in_the_ibd(tmp_path: Path) -> None:
    spectra = random_spectra(8)
    path = write(tmp_path / "a", spectra)
    forward = read_imzml(path, Opening(mz=MZ, ppm=PPM)).msi
    text = path.read_text(encoding="latin-1")
    head, *blocks = text.split("<spectrum id=")
    blocks[-1], tail = blocks[-1].split("</spectrumList>")
    path.write_text(head + "".join("<spectrum id=" + block for block in reversed(blocks)) + "</spectrumList>" + tail)
    backward = read_imzml(path, Opening(mz=MZ, ppm=PPM)).msi
    assert backward.obs_names.tolist() == forward.obs_names.tolist()[::-1]
    np.testing.assert_array_equal(backward[forward.obs_names].X, forward.X)


@pytest.mark.parametrize("shared", [False, True])
def test_normalisations(tmp_path: Path, shared: bool) -> None:
    axis = [100.0, 101, 102, 103]
    spectra = [((1, 1), axis, [0, 3, 4, 5]), ((2, 1), axis, [0, 0, 0, 0]), ((3, 1), axis, [1, 1, 0, 2])]
    path = write(tmp_path / "a", spectra, shared_axis=shared)
    values = np.array([spectrum[2] for spectrum in spectra], dtype=float)
    divisors = {
        "none": np.ones(3),
        "tic": np.array([12, np.inf, 4]),
        "rms": np.array([np.sqrt(50 / 4), np.inf, np.sqrt(6 / 4)]),
        "median": np.array([4, np.inf, 1]),
    }
    for normalisation, divisor in divisors.items():
        section = read_imzml(path, Opening(mz=(101, 103), ppm=10, normalisation=normalisation))
        np.testing.assert_allclose(section.msi.X, (values / divisor[:, None])[:, [1, 3]], rtol=1e-6)
        np.testing.assert_array_equal(section.msi.obs["tic"], [12, 0, 4])
        assert section.msi.uns["imzml"]["normalisation"] == normalisation
    assert any("spectra are empty" in note for note in section.notes)


def test_pixels_lie_where_their_coordinates_say(tmp_path: Path) -> None:
    spectra = [((x, y), [100.0], [x + 10 * y]) for x, y in ((3, 2), (4, 2), (4, 5))]
    scan = PIXEL_SIZE.replace('y" value="50"', 'y" value="20"')
    section = read_imzml(write(tmp_path / "a", spectra, scan=scan), Opening(mz=(100.0,)))
    np.testing.assert_allclose(section.msi.obsm["spatial"], [[125, 30], [175, 30], [175, 90]])
    np.testing.assert_allclose(section.pixels("st2msi_msi").area, 50 * 20)
    assert section.msi.obs[["x", "y"]].to_numpy().tolist() == [[3, 2], [4, 2], [4, 5]]
    assert "z" not in section.msi.obs
    assert section.name == "a"
    assert not section.has_st
    assert not section.registered


def test_slices_are_laid_side_by_side(tmp_path: Path) -> None:
    spectra = [((x, 1, z), [100.0], [x + 10 * z]) for z in (2, 5) for x in (1, 2)]
    section = read_imzml(write(tmp_path / "a", spectra), Opening(mz=(100.0,)))
    assert section.msi.obs["z"].tolist() == [2, 2, 5, 5]
    assert section.msi.X[:, 0].tolist() == [21, 22, 51, 52]
    assert len(np.unique(section.msi.obsm["spatial"], axis=0)) == 4
    assert section.msi_grid is not None
    assert any("2 slices" in note for note in section.notes)
    single = read_imzml(write(tmp_path / "b", spectra[:2]), Opening(mz=(100.0,)))
    assert "z" not in single.msi.obs


def test_3d_coordinates_equal_pyimzml(tmp_path: Path) -> None:
    path = tmp_path / "a.imzML"
    spectra = random_spectra()
    with ImzMLWriter(str(path), mode="processed") as writer:
        for z in (1, 2):
            for position, mz, intensity in spectra:
                writer.addSpectrum(np.asarray(mz), np.asarray(intensity) * z, (*position, z))
    table = read_imzml(path, Opening(mz=MZ, ppm=PPM, pixel_size_um=10)).msi
    for z in (1, 2):
        wanted = expected(path, np.array(MZ), PPM, z=z)
        part = table[table.obs["z"] == z]
        for x, y, row in zip(part.obs["x"], part.obs["y"], part.X, strict=True):
            np.testing.assert_allclose(row, wanted[x, y], rtol=2e-6)


@pytest.mark.parametrize(
    ("scan", "size", "note"),
    [
        (PIXEL_SIZE, (50, 50), None),
        (PIXEL_SIZE.replace("micrometer", "nanometer").replace('"50"', '"50000"'), (50, 50), None),
        (PIXEL_SIZE.replace(' unitName="micrometer"', ""), (50, 50), "no unit"),
        ('<cvParam accession="IMS:1000046" value="2500" unitName="square micrometer"/>', (50, 50), "is an area"),
        (
            '<cvParam accession="IMS:1000042" value="4"/><cvParam accession="IMS:1000044" value="200"/>'
            '<cvParam accession="IMS:1000046" name="pixel size" value="2500"/>',
            (50, 50),
            "is an area",
        ),
        ('<cvParam accession="IMS:1000046" value="25" unitAccession="UO:0000017"/>', (25, 25), None),
        ('<cvParam accession="IMS:1000046" value="unknown"/>', None, None),
        ('<cvParam accession="IMS:1000046" value="0"/>', None, None),
        ("", None, None),
    ],
)
def test_pixel_size(tmp_path: Path, scan: str, size: tuple[float, float] | None, note: str | None) -> None:
    path = write(tmp_path / "a", [((1, 1), [100.0], [1])], scan=scan)
    index = read_index(path)
    assert index.pixel_size_um == (None if size is None else pytest.approx(size))
    assert any(note in line for line in index.notes) if note else not index.notes
    if size is None:
        with pytest.raises(GeometryProblem, match="Give the MSI pixel size"):
            read_imzml(path, Opening(mz=(100.0,)))
    given = read_imzml(path, Opening(mz=(100.0,), pixel_size_um=7))
    assert given.pixels("st2msi_msi").diameter == pytest.approx(7)


@pytest.mark.parametrize("uuid", [str(UID), UID.hex, f"{{{UID}}}".upper(), UID.bytes_le.hex()])
def test_identifier_in_any_spelling(tmp_path: Path, uuid: str) -> None:
    path = write(tmp_path / "a", [((1, 1), [100.0], [1])], uuid=uuid)
    assert not read_index(path).notes


def test_ending_of_the_ibd_in_any_case(tmp_path: Path) -> None:
    path = write(tmp_path / "a", [((1, 1), [100.0], [1])])
    path.with_suffix(".ibd").rename(path.with_suffix(".IBD"))
    assert read_imzml(path, Opening(mz=(100.0,))).msi.X.tolist() == [[1]]


def test_markup_may_vary_from_spectrum_to_spectrum(tmp_path: Path) -> None:
    spectra = random_spectra(60)

    def vary(number: int, text: str) -> str:
        changes = [
            lambda t: t,
            lambda t: t.replace("<scan>", '<scan><userParam name="note" value="it&apos;s &lt; 5"/>'),
            lambda t: t.replace(
                'accession="IMS:1000050" name="position x"', "name='position x' accession='IMS:1000050'"
            ),
            lambda t: "<!-- <spectrum> of the second region -->\n" + t,
            lambda t: t.replace("\n", "\r\n  "),
            lambda t: t.replace('count="1"', f'count="1" extra{number}="Gie\xdfen"'),
            lambda t: t.replace('x" value="1"', 'x" value="1.0"'),
        ]
        return changes[number % len(changes)](text)

    plain = read_index(write(tmp_path / "plain", spectra))
    varied = read_index(write(tmp_path / "varied", spectra, edit_spectrum=vary))
    np.testing.assert_array_equal(varied.xyz, plain.xyz)
    for kind in ("mz", "intensity"):
        for what in ("offset", "length", "stored"):
            np.testing.assert_array_equal(getattr(getattr(varied, kind), what), getattr(getattr(plain, kind), what))


def test_namespace_prefix_and_index_wrapper(tmp_path: Path) -> None:
    import re

    def prefix(text: str) -> str:
        text = re.sub(r"<(/?)(\w)", r"<\1m:\2", text).replace("xmlns=", "xmlns:m=")
        return text.replace("<m:mzML", "<m:indexedmzML><m:mzML").replace("</m:mzML>", "</m:mzML></m:indexedmzML>")

    path = write(tmp_path / "a", random_spectra(5), edit=prefix)
    assert len(read_index(path)) == 5


def test_all_zero_ion_is_kept_and_said(tmp_path: Path) -> None:
    section = read_imzml(write(tmp_path / "a", random_spectra()), Opening(mz=(80.0, 100.5), ppm=PPM))
    assert section.msi.n_vars == 2
    assert any("zero in every pixel and kept: m/z 80.0000" in note for note in section.notes)


def test_says_where_it_stands_and_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imzml_read, "_POINTS", 300)
    path = write(tmp_path / "a", random_spectra(40))
    seen: list[float] = []
    read_imzml(path, Opening(n_peaks=3), progress=Progress(lambda fraction, message: seen.append(fraction)))
    assert seen == sorted(seen)
    assert len(seen) > 20
    assert seen[-1] == 1
    with pytest.raises(Cancelled):
        read_imzml(path, Opening(mz=MZ), cancelled=lambda: True)
