"""The command `register`: one section or many, what is written beside, and what is refused."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import napari_st2msi as st2msi
from command_line import refused, result, run
from napari_st2msi.io import store
from napari_st2msi.registration import automatic
from napari_st2msi.registration.landmark_files import find_landmarks, write_landmarks
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.registration.registration import Registration, Trust
from napari_st2msi.registration.transforms import Affine

run, result, refused = (partial(each, "register") for each in (run, result, refused))
COLUMNS = ["msi_x_um", "msi_y_um", "st_x_um", "st_y_um"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sections as they come, and a folder with a file of landmarks for each."""
    folder = tmp_path_factory.mktemp("sections")
    (folder / "picked").mkdir()
    for seed, name in enumerate(("first", "second")):
        simulation = st2msi.simulate(name=name, n_spots=150, n_genes=60, ions_per_kind=2, image_px=128, seed=seed)
        section = simulation.sections[0]
        st2msi.save(section, folder / f"{name}.zarr")
        write(folder / "picked" / f"{name}.csv", find_landmarks(section))
    return folder


@pytest.fixture
def sections(made: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(made, tmp_path / "work"))


def write(path: Path, landmarks: Landmarks) -> Path:
    points = np.hstack([landmarks.moving, landmarks.fixed])
    pd.DataFrame(points, columns=COLUMNS, index=pd.Index(landmarks.ids, name="id")).to_csv(path)
    return path


def changed(folder: Path, **columns: Any) -> Path:
    """Write the landmarks of the first section, with other columns."""
    frame = pd.read_csv(folder / "picked" / "first.csv").assign(**columns)
    frame.to_csv(folder / "changed.csv", index=False)
    return folder / "changed.csv"


# -- by landmarks ---------------------------------------------------------------------------------


def test_the_transform_is_chosen_and_the_table_shown(sections: Path) -> None:
    shown = run(sections / "first.zarr", "--landmarks", sections / "picked" / "first.csv")
    assert shown.exit_code == 0, shown.stderr
    assert "(chosen)" in shown.stdout
    assert "thin-plate spline, exact" in shown.stdout
    assert "missed by" in shown.stdout
    section = st2msi.open_section(sections / "first.zarr")
    assert section.registered


def test_report_overlay_and_field_are_written(sections: Path) -> None:
    report, overlay, field = (sections / name for name in ("report.json", "overlay.png", "field.mha"))
    facts = result(
        sections / "first.zarr",
        "--report",
        report,
        "--overlay",
        overlay,
        "--displacement",
        field,
        "--out",
        sections / "o",
    )
    assert facts["files"] == {"displacement": str(field), "overlay": str(overlay), "report": str(report)}
    said = json.loads(report.read_text(encoding="utf-8"))
    assert said["section"] == "first"
    assert said["kept"] is True
    assert said["left_out"]["median"] == facts["left_out"]["median"]
    assert Registration.from_dict(said).fingerprint == facts["fingerprint"]
    assert overlay.read_bytes().startswith(b"\x89PNG")
    assert field.read_bytes().startswith(b"ObjectType")
    assert not st2msi.open_section(sections / "first.zarr").registered


@pytest.mark.parametrize("transform", ["rigid", "similarity", "affine", "projective", "thin_plate"])
def test_a_transform_that_was_asked_for(sections: Path, transform: str) -> None:
    assert result(sections / "first.zarr", "--transform", transform)["transform"]["kind"] == transform


def test_mirrored_is_found_or_told(sections: Path) -> None:
    first = sections / "first.zarr"
    found = result(first)["reflects"]
    told = "yes" if found else "no"
    assert result(first, "--mirrored", told)["reflects"] == found
    wrong = result(first, "--transform", "similarity", "--mirrored", "no" if found else "yes")
    assert wrong["reflects"] != found
    assert "only" in refused(first, "--transform", "affine", "--mirrored", "no" if found else "yes")


def test_registering_again_says_that_the_pairing_is_old(sections: Path) -> None:
    first = sections / "first.zarr"
    result(first)
    section = st2msi.open_section(first)
    st2msi.pair(section)
    st2msi.save(section)
    assert any("pair" in note.lower() for note in result(first, "--transform", "rigid")["notes"])


# -- many sections --------------------------------------------------------------------------------


def test_a_batch_isolates_what_fails(sections: Path) -> None:
    (sections / "picked" / "second.csv").write_text("nothing\n1\n", encoding="utf-8")
    done = run(
        *(sections / f"{name}.zarr" for name in ("first", "second", "third")),
        *("--landmarks", sections / "picked", "--report", sections / "reports", "--overlay", sections / "pictures"),
        *("--out", sections / "out", "--json"),
    )
    assert done.exit_code == 2
    assert "Traceback" not in done.output
    facts = json.loads(done.stdout)
    assert [one["file"] for one in facts["sections"]] == ["first.zarr"]
    assert list(facts["failed"]) == ["second.zarr", "third.zarr"]
    assert "lacks" in facts["failed"]["second.zarr"] or "column" in facts["failed"]["second.zarr"]
    assert [path.name for path in (sections / "reports").iterdir()] == ["first.json"]
    assert [path.name for path in (sections / "pictures").iterdir()] == ["first.png"]
    assert st2msi.open_section(sections / "out" / "first.zarr").registered


def test_a_batch_into_the_sections_themselves(sections: Path) -> None:
    both = [sections / "first.zarr", sections / "second.zarr"]
    shown = run(*both, "--landmarks", sections / "picked")
    assert shown.exit_code == 0, shown.stderr
    assert "first.zarr" in shown.stdout
    assert all(st2msi.open_section(path).registered for path in both)


def test_a_batch_needs_a_folder_of_landmarks(sections: Path) -> None:
    both = [sections / "first.zarr", sections / "second.zarr"]
    assert "Give a folder" in refused(*both, "--landmarks", sections / "picked" / "first.csv")
    assert "are called 'first'" in refused(both[0], both[0])
    (sections / "picked" / "first.csv").unlink()
    words = refused(both[0], "--landmarks", sections / "picked")
    assert "Name the file 'first.csv'" in words


def test_other_formats_in_a_folder_of_landmarks(sections: Path) -> None:
    """Of elastix the moving side is named like the section, of spatialdata the zarr; a zarr is one set, not many."""
    first, picked = sections / "first.zarr", sections / "picked"
    section = st2msi.open_section(first)
    landmarks = find_landmarks(section)
    (picked / "first.csv").unlink()
    write_landmarks(section, landmarks, picked / "first.txt", "elastix")
    elastix = result(first, "--landmarks", picked)
    (picked / "first_moving.txt").unlink()
    zarr = write_landmarks(section, landmarks, picked / "first.zarr")[0]
    assert result(first, "--landmarks", picked)["fingerprint"] == elastix["fingerprint"]
    assert "Give a folder" in refused(first, sections / "second.zarr", "--landmarks", zarr)


def test_one_name_for_many_sections(sections: Path) -> None:
    assert "--name" in refused(sections / "first.zarr", sections / "second.zarr", "--name", "one")


# -- stopping -------------------------------------------------------------------------------------


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("accept", [(), ("--accept-untrusted",)])
def test_stopping_writes_nothing(sections: Path, monkeypatch: pytest.MonkeyPatch, accept: tuple[str, ...]) -> None:
    """Not even the best so far, which the search returns where it is stopped."""
    before = content(sections)

    def propose(*_: Any, **__: Any) -> Registration:
        signal.raise_signal(signal.SIGINT)
        return by_images(trusted=False)

    monkeypatch.setattr(automatic, "propose", propose)
    asked = ("--report", sections / "a.json", "--overlay", sections / "a.png", "--displacement", sections / "a.mha")
    done = run(sections / "first.zarr", "--automatic", *asked, *accept)
    assert done.exit_code == 130
    assert "Stopped. Nothing was changed." in done.stderr
    assert content(sections) == before


def test_stopping_a_batch_says_what_was_done(sections: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def propose(section: st2msi.Section, *_: Any, **__: Any) -> Registration:
        if section.name == "second":
            signal.raise_signal(signal.SIGINT)
        return by_images(trusted=True)

    monkeypatch.setattr(automatic, "propose", propose)
    shutil.copytree(sections / "first.zarr", sections / "third.zarr")
    done = run(*(sections / f"{name}.zarr" for name in ("first", "second", "third")), "--automatic")
    assert done.exit_code == 130
    assert "Registered before: first.zarr. Not registered: second.zarr, third.zarr." in " ".join(done.stderr.split())
    assert st2msi.open_section(sections / "first.zarr").registered
    assert not st2msi.open_section(sections / "third.zarr").registered


# -- automatic ------------------------------------------------------------------------------------


def by_images(*, trusted: bool) -> Registration:
    """What the search returns, without searching."""
    none = Landmarks((), np.zeros((0, 2)), np.zeros((0, 2)))
    trust = Trust(trusted, ("Reasons.",), {"dice": 0.5, "expected_error_um": 12.0})
    return Registration(none, Affine(np.eye(3)), np.zeros(0), np.zeros(0), source="automatic", trust=trust)


def test_a_batch_says_how_far_off_each_is(sections: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automatic, "propose", lambda *_, **__: by_images(trusted=True))
    shown = run(sections / "first.zarr", sections / "second.zarr", "--automatic")
    assert shown.exit_code == 0, shown.stderr
    assert shown.stdout.count("affine, an error of about 12 µm expected") == 2


def test_what_is_not_trusted_is_not_kept(sections: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = sections / "first.zarr"

    monkeypatch.setattr(automatic, "propose", lambda *_, **__: by_images(trusted=False))
    words = refused(first, "--automatic", "--overlay", sections / "a.png", "--report", sections / "a.json")
    assert "not trusted" in words
    assert "Reasons." in words
    assert "--accept-untrusted" in words
    assert (sections / "a.png").exists()
    said = json.loads((sections / "a.json").read_text(encoding="utf-8"))
    assert said["kept"] is False
    assert said["trust"]["measures"] == {"dice": 0.5, "expected_error_um": 12.0}
    assert not st2msi.open_section(first).registered
    shown = run(first, "--automatic", "--accept-untrusted")
    assert shown.exit_code == 0, shown.stderr
    assert "no, kept all the same" in shown.stdout
    np.testing.assert_allclose(st2msi.open_section(first).msi_to_st, np.eye(3))


def test_refinement_starts_at_the_landmarks(sections: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def propose(
        section: st2msi.Section, landmarks: Landmarks, *, start: Registration, refine: str, **_: Any
    ) -> Registration:
        seen.update(landmarks=landmarks, start=start, refine=refine)
        trust = Trust(True, ("Landmarks left out are missed by 20 µm after refinement and by 30 µm before it.",))
        return Registration(
            landmarks, start.transform, start.residuals_um, start.left_out_um, source="refined", trust=trust
        )

    monkeypatch.setattr(automatic, "propose", propose)
    csv = sections / "picked" / "first.csv"
    done = run(
        *(sections / "first.zarr", "--automatic", "--landmarks", csv, "--transform", "similarity", "--refine", "affine")
    )
    assert done.exit_code == 0, done.stderr
    assert seen["start"].transform.kind == "similarity"
    assert seen["refine"] == "affine"
    assert len(seen["landmarks"]) == 9
    assert "after refinement" in done.stdout


def test_choices_that_do_not_go_together(sections: Path) -> None:
    first = sections / "first.zarr"
    assert "Add --landmarks" in refused(first, "--automatic", "--transform", "rigid")
    assert "Add --landmarks" in refused(first, "--automatic", "--mirrored", "yes")
    assert "Add --automatic" in refused(first, "--accept-untrusted")


# -- bad input ------------------------------------------------------------------------------------


def test_bad_landmarks_are_refused_in_words(sections: Path) -> None:
    first = sections / "first.zarr"
    csv = pd.read_csv(sections / "picked" / "first.csv")
    few = sections / "few.csv"
    csv.iloc[:2].to_csv(few, index=False)
    assert "too few" in refused(first, "--landmarks", few)
    csv.iloc[:3].to_csv(few, index=False)
    assert "needs at least 4" in refused(first, "--landmarks", few, "--transform", "projective")
    line = changed(sections, msi_y_um=csv["msi_x_um"])
    assert "on one line" in refused(first, "--landmarks", line)
    double = csv.copy()
    double.loc[3, COLUMNS[:2]] = double.loc[5, COLUMNS[:2]].to_numpy()
    double.to_csv(few, index=False)
    assert "same point" in refused(first, "--landmarks", few)
    csv.drop(columns="st_x_um").to_csv(few, index=False)
    assert "st_x_um" in refused(first, "--landmarks", few)
    outside = changed(sections, st_x_um=csv["st_x_um"] + 1e6)
    assert "outside" in refused(first, "--landmarks", outside)
    assert not st2msi.open_section(first).registered


def test_places_that_cannot_be(sections: Path) -> None:
    first = sections / "first.zarr"
    assert "There is no" in refused(first, "--landmarks", sections / "nowhere.csv")
    assert "no folder" in refused(first, "--report", sections / "nowhere" / "report.json")
    assert "already there" in refused(first, "--out", sections / "second.zarr")
    assert "nothing.zarr" in refused(sections / "nothing.zarr")
    (sections / "file").write_text("", encoding="utf-8")
    assert "cannot be a folder" in refused(first, sections / "second.zarr", "--report", sections / "file")
    assert "--report writes .json" in refused(first, "--report", sections / "report.txt")
    assert "nothing else belongs into it" in refused(first, "--report", first / "report.json")


def test_the_report_does_not_replace_the_landmarks(sections: Path) -> None:
    picked = write_landmarks(
        st2msi.open_section(sections / "first.zarr"), find_landmarks(st2msi.open_section(sections / "first.zarr")),
        sections / "picked" / "first.json",
    )[0]  # fmt: skip
    before = picked.read_bytes()
    (sections / "picked" / "first.csv").unlink()
    words = refused(sections / "first.zarr", "--landmarks", sections / "picked", "--report", sections / "picked")
    assert "take the place of the landmarks" in words
    assert picked.read_bytes() == before


def test_what_cannot_be_updated_is_refused_before_the_work(sections: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automatic, "propose", lambda *_, **__: pytest.fail("began"))
    section = st2msi.open_section(sections / "first.zarr")
    section.st.write_h5ad(sections / "st.h5ad")
    assert "by --out" in refused(sections / "st.h5ad", "--automatic")
    monkeypatch.setattr(os, "access", lambda _, mode: mode != os.W_OK)
    assert "You may not write" in refused(sections / "first.zarr", "--automatic")


def test_a_full_disk(sections: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The section stays, nothing half is left, and no report says that it was kept."""
    before = content(sections)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "_update", full)
    words = refused(sections / "first.zarr", "--report", sections / "report.json")
    assert "The disk is full" in words
    assert content(sections) == before
    monkeypatch.undo()
    monkeypatch.setattr(os, "replace", full)
    assert "The disk is full" in refused(sections / "first.zarr", "--overlay", sections / "overlay.png")
    assert content(sections) == before


def test_a_disk_that_cannot_be_written(sections: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It refuses even to take away what is not there."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    for name in ("unlink", "mkdir", "write_text", "write_bytes"):
        monkeypatch.setattr(Path, name, refuse)
    assert "You may not write" in refused(sections / "first.zarr")
    for option, name in (("--report", "a.json"), ("--overlay", "a.png"), ("--displacement", "a.mha")):
        assert "You may not write" in refused(sections / "first.zarr", option, sections / name)
