"""Histology files: what is read, what is trusted about their size, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_st2msi.errors import FileProblem
from napari_st2msi.io import images
from napari_st2msi.io.images import as_rgb, read_histology

RGB = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_rgb_is_read_as_it_is(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"he.{suffix}"
    if suffix == "tif":
        tifffile.imwrite(file, RGB)
    else:
        Image.fromarray(RGB).save(file)
    picture = read_histology(file)
    np.testing.assert_array_equal(picture.pixels, RGB)
    assert picture.um_per_pixel is None
    assert picture.reduced == 1


def test_jpeg_is_read(tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 30, 3), 200, np.uint8)).save(tmp_path / "he.JPG", format="JPEG")
    np.testing.assert_allclose(read_histology(tmp_path / "he.JPG").pixels, 200, atol=2)


def test_grey_transparent_16_bit_and_float_become_rgb() -> None:
    grey = np.array([[0, 255]], dtype=np.uint8)
    np.testing.assert_array_equal(as_rgb(grey), [[[0, 0, 0], [255, 255, 255]]])
    rgba = np.array([[[10, 20, 30, 0], [10, 20, 30, 255]]], dtype=np.uint8)
    np.testing.assert_array_equal(as_rgb(rgba), [[[255, 255, 255], [10, 20, 30]]])
    deep = np.array([[0, 2048, 4096]], dtype=np.uint16)  # a 12-bit camera
    np.testing.assert_array_equal(as_rgb(deep)[0, :, 0], [0, 128, 255])
    np.testing.assert_array_equal(as_rgb(np.array([[0.0, 0.5, 1.0]]))[0, :, 0], [0, 128, 255])
    np.testing.assert_array_equal(as_rgb(np.array([[False, True]]))[0, :, 0], [0, 255])


def test_planes_and_channels_first_are_sorted_out(tmp_path: Path) -> None:
    file = tmp_path / "stack.tif"
    tifffile.imwrite(file, np.moveaxis(RGB, -1, 0)[None], metadata={"axes": "ZCYX"}, imagej=False, ome=True)
    np.testing.assert_array_equal(read_histology(file).pixels, RGB)


@pytest.mark.parametrize(
    ("options", "um"),
    [
        ({"resolution": (40_000, 40_000), "resolutionunit": "CENTIMETER"}, 0.25),
        ({"resolution": (50_800, 50_800), "resolutionunit": "INCH"}, 0.5),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, None),  # a screen's
        ({"resolution": (300, 300), "resolutionunit": "INCH"}, None),  # a printer's
        ({"resolution": (1, 1), "resolutionunit": "NONE"}, None),
        ({"description": "Aperio Image|AppMag = 20|MPP = 0.4990", "metadata": None}, 0.499),
        ({"imagej": True, "resolution": (2.0, 2.0), "metadata": {"unit": "um"}}, 0.5),
        ({"ome": True, "metadata": {"PhysicalSizeX": 0.65, "PhysicalSizeXUnit": "µm"}}, 0.65),
        ({"ome": True, "metadata": {"PhysicalSizeX": 650, "PhysicalSizeXUnit": "nm"}}, 0.65),
    ],
)
def test_size_is_taken_only_where_it_is_credible(tmp_path: Path, options: dict, um: float | None) -> None:
    file = tmp_path / "he.tif"
    tifffile.imwrite(file, RGB, photometric="rgb", **options)
    found = read_histology(file).um_per_pixel
    assert found == (None if um is None else pytest.approx(um))


def test_of_a_large_pyramid_a_level_that_fits_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = np.kron(RGB, np.ones((4, 4, 1), np.uint8))
    file = tmp_path / "slide.tif"
    with tifffile.TiffWriter(file) as writer:
        resolution = {"resolution": (40_000, 40_000), "resolutionunit": "CENTIMETER", "photometric": "rgb"}
        writer.write(full, subifds=2, **resolution)
        writer.write(full[::2, ::2], subfiletype=1, photometric="rgb")
        writer.write(full[::4, ::4], subfiletype=1, photometric="rgb")
    assert read_histology(file).pixels.shape == full.shape
    monkeypatch.setattr(images, "MOST_PIXELS", 10_000)
    picture = read_histology(file)
    assert picture.pixels.shape == (80, 120, 3)
    assert picture.reduced == 2
    assert picture.um_per_pixel == pytest.approx(0.5)
    assert "1/2" in picture.notes[0]
    monkeypatch.setattr(images, "MOST_PIXELS", 100)
    with pytest.raises(FileProblem, match="pyramidal TIFF"):
        read_histology(file)


def test_too_large_a_png_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(RGB).save(tmp_path / "he.png")
    monkeypatch.setattr(images, "MOST_PIXELS", 100)
    with pytest.raises(FileProblem, match="million pixels"):
        read_histology(tmp_path / "he.png")


@pytest.mark.parametrize("suffix", ["tif", "png", "jpg"])
def test_damaged_files_are_told(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"he.{suffix}").write_bytes(b"II*\x00 not a picture at all")
    with pytest.raises(FileProblem, match="cannot be read"):
        read_histology(tmp_path / f"he.{suffix}")


def test_truncated_tiff_is_told(tmp_path: Path) -> None:
    file = tmp_path / "he.tif"
    tifffile.imwrite(file, np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8), compression="zlib")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(FileProblem, match="cannot be read"):
        read_histology(file)


def test_what_is_no_picture_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileProblem, match="There is no histology file"):
        read_histology(tmp_path / "none.tif")
    (tmp_path / "notes.docx").write_text("")
    with pytest.raises(FileProblem, match="Use TIFF, PNG or JPEG"):
        read_histology(tmp_path / "notes.docx")
    with pytest.raises(FileProblem, match="neither grey nor RGB"):
        as_rgb(np.zeros((4, 4, 7), np.uint8))


def test_real_histology_has_no_size_since_150_dpi_is_a_printers(real_data: Path) -> None:
    picture = read_histology(real_data / "mouse_bladder_msi" / "mouse_urinary_bladder_HE.tif")
    assert picture.pixels.shape == (482, 904, 3)
    assert picture.um_per_pixel is None
