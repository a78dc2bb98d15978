"""imzML files that are wrong, each with words that say what is wrong and what to do."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from imzml_files import UID, random_spectra, write

from napari_st2msi.errors import DataProblem, FileProblem, St2msiError
from napari_st2msi.io import imzml_header, imzml_xml
from napari_st2msi.io.imzml import read_imzml
from napari_st2msi.io.opening import Opening

WANTED = Opening(mz=(100.0,), pixel_size_um=10)
SECRET = "the content of another file"


def refuse(path: Path, error: type[St2msiError], match: str, opening: Opening = WANTED) -> None:
    before = sorted(path.parent.iterdir())
    with pytest.raises(error, match=match) as caught:
        read_imzml(path, opening)
    assert SECRET not in str(caught.value)
    assert sorted(path.parent.iterdir()) == before


def test_no_such_file(tmp_path: Path) -> None:
    refuse(tmp_path / "a.imzML", FileProblem, "There is no file")


def test_missing_ibd(tmp_path: Path) -> None:
    path = write(tmp_path / "a", random_spectra())
    path.with_suffix(".ibd").unlink()
    refuse(path, FileProblem, "no 'a.ibd' beside 'a.imzML'.*Put both into one folder")


@pytest.mark.parametrize("cut", [1, 1234])
def test_truncated_ibd_says_how_much_is_missing(tmp_path: Path, cut: int) -> None:
    path = write(tmp_path / "a", random_spectra())
    ibd = path.with_suffix(".ibd")
    ibd.write_bytes(ibd.read_bytes()[:-cut])
    refuse(path, FileProblem, f"is incomplete.*{cut:,} too few.*copy it again")


def test_empty_ibd(tmp_path: Path) -> None:
    path = write(tmp_path / "a", random_spectra())
    path.with_suffix(".ibd").write_bytes(b"")
    refuse(path, FileProblem, "empty or has only 0 bytes")


def test_wrong_uuid(tmp_path: Path) -> None:
    path = write(tmp_path / "a", random_spectra(), uuid="00000000-0000-0000-0000-000000000001")
    refuse(path, FileProblem, f"does not belong to 'a.imzML'.*{UID.hex}")


def test_odd_or_missing_uuid(tmp_path: Path) -> None:
    refuse(write(tmp_path / "a", random_spectra(), uuid="1234"), FileProblem, "not an identifier")
    section = read_imzml(write(tmp_path / "b", random_spectra(), uuid=""), WANTED)
    assert any("declares no identifier" in note for note in section.notes)


# -- hostile XML ------------------------------------------------------------------------------------


def test_external_entity_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text(SECRET)
    prologue = f'<!DOCTYPE mzML [<!ENTITY leak SYSTEM "file://{tmp_path}/secret.txt">]>\n'
    path = write(tmp_path / "a", random_spectra(), prologue=prologue, edit=lambda t: t.replace("spectrum=1", "&leak;"))
    refuse(path, FileProblem, "external entity.*refused")


def test_external_document_type_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a", random_spectra(), prologue='<!DOCTYPE mzML SYSTEM "http://127.0.0.1:9/x.dtd">\n')
    refuse(path, FileProblem, "refused")


def test_billion_laughs_are_refused(tmp_path: Path) -> None:
    entities = '<!ENTITY a0 "ha">' + "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))
    path = write(
        tmp_path / "a",
        random_spectra(),
        prologue=f"<!DOCTYPE mzML [{entities}]>\n",
        edit=lambda t: t.replace("spectrum=3", "&a11;"),
    )
    refuse(path, FileProblem, "refused")


def test_entity_without_declaration_inside_a_spectrum(tmp_path: Path) -> None:
    path = write(tmp_path / "a", random_spectra(), edit=lambda t: t.replace("spectrum=7", "&leak;"))
    refuse(path, FileProblem, "damaged at spectrum 7")


def test_document_type_inside_the_list(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a",
        random_spectra(),
        edit_spectrum=lambda i, t: '<!DOCTYPE x [<!ENTITY leak SYSTEM "file:///etc/hostname">]>' + t if i == 4 else t,
    )
    refuse(path, FileProblem, "refused|damaged")


def test_endless_spectrum_does_not_fill_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imzml_xml, "_LONGEST_SPECTRUM", 1 << 16)
    for module in (imzml_header, imzml_xml):
        monkeypatch.setattr(module, "_BLOCK", 1 << 14)
    filler = '<userParam name="x" value="y"/>' * 10_000
    path = write(tmp_path / "a", random_spectra(3), edit=lambda t: t.replace("</scan>", filler + "</scan>", 1))
    refuse(path, FileProblem, "of markup")


# -- damaged XML ------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.9, 0.98])
def test_xml_cut_off_anywhere(tmp_path: Path, share: float) -> None:
    path = write(tmp_path / "a", random_spectra(30))
    text = path.read_bytes()
    path.write_bytes(text[: int(len(text) * share)])
    refuse(path, FileProblem, "incomplete|not an imzML file")


def test_cut_off_says_after_how_many_spectra(tmp_path: Path) -> None:
    path = write(tmp_path / "a", random_spectra(30), edit=lambda t: t[: t.index('id="spectrum=20"')])
    refuse(path, FileProblem, "after 19 of 30 spectra")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "not an imzML file"),
        (b"x,y,500.1\n1,1,3\n", "damaged at line 1"),
        (b"<html><body>Not found</body></html>", "not an imzML file"),
        ("<?xml version='1.0' encoding='utf-16'?><mzML/>".encode("utf-16"), "UTF-8"),
    ],
)
def test_something_else_entirely(tmp_path: Path, content: bytes, match: str) -> None:
    path = write(tmp_path / "a", random_spectra())
    path.write_bytes(content)
    refuse(path, FileProblem, match)


def test_no_spectra(tmp_path: Path) -> None:
    refuse(write(tmp_path / "a", []), DataProblem, "holds no spectra")


def test_fewer_spectra_than_announced_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a", random_spectra(), edit=lambda t: t.replace('List count="12"', 'List count="13"'))
    assert any("announces 13 spectra and holds 12" in note for note in read_imzml(path, WANTED).notes)


def drop(accession: str, nth: int = 1) -> Callable[[int, str], str]:
    """Remove the nth parameter with this accession from the third spectrum."""

    def edit(number: int, text: str) -> str:
        found = list(re.finditer(rf'<cvParam [^>]*"{accession}"[^>]*/>', text))
        return text if number != 3 else text[: found[nth - 1].start()] + text[found[nth - 1].end() :]

    return edit


@pytest.mark.parametrize(
    ("accession", "nth", "what"),
    [
        ("IMS:1000050", 1, "position x"),
        ("IMS:1000051", 1, "position y"),
        ("IMS:1000102", 1, "place of the m/z array"),
        ("IMS:1000102", 2, "place of the intensity array"),
        ("IMS:1000103", 1, "number of m/z values"),
        ("IMS:1000103", 2, "number of intensities"),
    ],
)
def test_missing_parameters(tmp_path: Path, accession: str, nth: int, what: str) -> None:
    path = write(tmp_path / "a", random_spectra(), edit_spectrum=drop(accession, nth))
    refuse(path, FileProblem, f"Spectrum 3 .*does not give its {what}")


def test_missing_encoded_length_is_computed(tmp_path: Path) -> None:
    path = write(tmp_path / "a", random_spectra(), edit_spectrum=drop("IMS:1000104", 2))
    whole = write(tmp_path / "b", random_spectra())
    np.testing.assert_array_equal(read_imzml(path, WANTED).msi.X, read_imzml(whole, WANTED).msi.X)


def change(accession: str, value: str, nth: int = 1) -> Callable[[int, str], str]:
    """Set the nth parameter with this accession in the third spectrum."""

    def edit(number: int, text: str) -> str:
        found = list(re.finditer(rf'"{accession}"[^>]*value="([^"]*)"', text))
        start, stop = found[nth - 1].span(1)
        return text if number != 3 else text[:start] + value + text[stop:]

    return edit


@pytest.mark.parametrize(
    ("accession", "nth", "value", "match"),
    [
        ("IMS:1000102", 1, "-16", "negative offset"),
        ("IMS:1000102", 2, "-2147483648", "negative offset"),
        ("IMS:1000102", 1, "1000000000000", "incomplete"),
        ("IMS:1000102", 2, "999999999999999999", "incomplete"),
        ("IMS:1000102", 2, "99999999999999999999999999", "whole number"),
        ("IMS:1000103", 1, "999999999999999999", "no spectrum has"),
        ("IMS:1000103", 1, "-5", "negative length"),
        ("IMS:1000103", 1, "3", "contradicts itself"),
        ("IMS:1000104", 2, "99999999999", "contradicts itself"),
        ("IMS:1000050", 1, "first", "'first' where a whole number"),
        ("IMS:1000050", 1, "1.5", "'1.5' where a whole number"),
        ("IMS:1000051", 1, "nan", "'nan' where a whole number"),
        ("IMS:1000051", 1, "", "'' where a whole number"),
    ],
)
def test_impossible_numbers(tmp_path: Path, accession: str, nth: int, value: str, match: str) -> None:
    path = write(tmp_path / "a", random_spectra(), edit_spectrum=change(accession, value, nth))
    refuse(path, FileProblem, match)


def test_arrays_of_different_length(tmp_path: Path) -> None:
    path = write(tmp_path / "a", [((1, 1), [100.0, 101.0], [1, 2]), ((2, 1), [100.0, 101.0], [1])])
    refuse(path, FileProblem, "2 m/z values but 1 intensities")


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("MS:1000521", "MS:9999999", "number format"),
        ("MS:1000576", "MS:1002312", "compressed in a way"),
    ],
)
def test_unknown_formats(tmp_path: Path, old: str, new: str, match: str) -> None:
    refuse(write(tmp_path / "a", random_spectra(), edit=lambda t: t.replace(old, new)), FileProblem, match)


def test_formats_that_differ_between_spectra(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a",
        random_spectra(),
        edit_spectrum=lambda i, t: t.replace("<binary/>", '<cvParam accession="MS:1000574"/>') if i == 5 else t,
    )
    refuse(path, FileProblem, "not all stored in the same number format")


def test_damaged_and_dishonest_compression(tmp_path: Path) -> None:
    mz = np.linspace(100, 200, 50)
    path = write(tmp_path / "a", [((1, 1), mz, np.ones(50))], compressed=True)
    ibd = path.with_suffix(".ibd")
    ibd.write_bytes(UID.bytes + b"\xff" * (len(ibd.read_bytes()) - 16))
    refuse(path, FileProblem, "compressed array in 'a.ibd' is damaged")
    # A bomb: far more values packed than declared. Only the declared ones may ever be unpacked.
    path = write(tmp_path / "b", [((1, 1), mz, np.ones(50))], compressed=True)
    bomb = zlib.compress(bytes(50_000_000))
    content = path.with_suffix(".ibd").read_bytes()
    path.with_suffix(".ibd").write_bytes(content + bomb)
    text = path.read_text(encoding="latin-1")
    text = re.sub(r'(.*1000102"[^>]*value=)"\d+"', rf'\1"{len(content)}"', text, flags=re.DOTALL)
    text = re.sub(r'(.*1000104"[^>]*value=)"\d+"', rf'\1"{len(bomb)}"', text, flags=re.DOTALL)
    path.write_text(text, encoding="latin-1")
    refuse(path, FileProblem, "does not hold the 50 values")


# -- bad values -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    ("value", "match"),
    [(np.nan, "missing"), (np.inf, "infinite"), (-1.0, "negative.*baseline")],
)
def test_bad_intensities(tmp_path: Path, shared: bool, value: float, match: str) -> None:
    spectra = [((x, 2), [100.0, 101.0], [1.0, value if x == 3 else 2.0]) for x in (1, 2, 3)]
    refuse(write(tmp_path / "a", spectra, shared_axis=shared), DataProblem, match)
    refuse(write(tmp_path / "a", spectra, shared_axis=shared), DataProblem, "x = 3, y = 2")


@pytest.mark.parametrize("shared", [False, True])
def test_bad_mz_in_the_file(tmp_path: Path, shared: bool) -> None:
    spectra = [((x, 1), [100.0, np.nan], [1.0, 2.0]) for x in (1, 2)]
    refuse(write(tmp_path / "a", spectra, shared_axis=shared), DataProblem, "m/z values of 'a.imzML' are missing")


def test_duplicate_pixels(tmp_path: Path) -> None:
    spectra = [((1, 1), [100.0], [1]), ((2, 1), [100.0], [1]), ((1, 1), [100.0], [2])]
    refuse(write(tmp_path / "a", spectra), DataProblem, "1 spectra .* x = 1, y = 1, z = 1")


def test_all_spectra_empty(tmp_path: Path) -> None:
    path = write(tmp_path / "a", [((1, 1), [], []), ((2, 1), [], [])])
    section = read_imzml(path, WANTED)
    assert section.msi.X.tolist() == [[0], [0]]
    refuse(path, DataProblem, "no signal", Opening(pixel_size_um=1))
