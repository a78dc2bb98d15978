"""Saving a section: at any moment the old state or the new one is on disk."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import spatialdata
import zarr
from reader_samples import MIRROR, small_section
from spatialdata.transformations import Affine, set_transformation

from napari_st2msi.errors import FileProblem
from napari_st2msi.io import store
from napari_st2msi.io.landmarks import landmark_elements, read_landmark_elements
from napari_st2msi.io.open import open_any
from napari_st2msi.io.store import save
from napari_st2msi.registration.fit import fit
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.registration.persistence import apply, history, registration_of
from napari_st2msi.roles import PAIRED_TABLE
from napari_st2msi.section import CONFIDENCE, MSI_SYSTEM, SYSTEM, Section

pytestmark = pytest.mark.filterwarnings("ignore")


def paired_table(section: Section, value: float) -> ad.AnnData:
    st = section.sdata.tables["st"]
    table = ad.AnnData(np.full((st.n_obs, 2), value, dtype=np.float32), obs=st.obs.copy())
    table.var["mz"] = [100.0, 200.0]
    table.uns["spatialdata_attrs"] = dict(st.uns["spatialdata_attrs"])
    return table


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(small_section(), tmp_path_factory.mktemp("store") / "brain.zarr")


@pytest.fixture
def saved(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "brain.zarr"))


def leftovers(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if ".st2msi-" in entry.name)


def files_of(root: Path, under: str) -> dict[str, tuple[int, int]]:
    return {
        str(file.relative_to(root)): (file.stat().st_ino, file.stat().st_mtime_ns)
        for file in (root / under).rglob("*")
        if file.is_file() and file.name != "zarr.json"
    }


def test_what_is_saved_is_what_is_opened(tmp_path: Path) -> None:
    section = small_section(name="left hemisphere")
    path = save(section, tmp_path / "brain.zarr")
    again = open_any(path)
    assert section.path == again.path == path
    assert again.name == "left hemisphere"
    assert again.roles == section.roles
    np.testing.assert_array_equal(again.st.X, section.st.X)
    np.testing.assert_allclose(again.st.obsm["spatial"], section.st.obsm["spatial"])
    np.testing.assert_array_equal(again.msi.X, section.msi.X)
    np.testing.assert_allclose(again.msi_to_st, MIRROR)
    assert list(again.msi.obs_names) == list(section.msi.obs_names)
    np.testing.assert_array_equal(
        again.sdata["histology"]["scale0"]["image"].values, section.sdata["histology"]["scale0"]["image"].values
    )
    assert leftovers(tmp_path) == []
    # Any program that reads SpatialData opens it, with consolidated metadata.
    assert "msi_pixels" in spatialdata.read_zarr(path).shapes
    assert zarr.open_group(path, mode="r").metadata.consolidated_metadata is not None


def test_an_update_rewrites_tables_and_transformations_but_no_image(saved: Path) -> None:
    section = open_any(saved)
    before = files_of(saved, "images") | files_of(saved, "tables/msi")
    section.sdata.tables[PAIRED_TABLE] = paired_table(section, 3.0)
    for name, element in landmark_elements([1, 2, 3], np.eye(3)[:, :2], np.ones((3, 2))).items():
        section.sdata.points[name] = element
    moved = np.array([[1.0, 0, 7], [0, 1, 8], [0, 0, 1]])
    set_transformation(section.sdata["msi_pixels"], Affine(moved, ("x", "y"), ("x", "y")), SYSTEM)
    section.remember(pairing={"choices": {"method": "overlap"}})
    assert save(section) == saved
    after = files_of(saved, "images") | files_of(saved, "tables/msi")
    assert {name: facts[0] for name, facts in before.items()} == {name: facts[0] for name, facts in after.items()}
    again = open_any(saved)
    assert again.paired_table.X.max() == 3.0
    np.testing.assert_allclose(again.msi_to_st, moved)
    assert again.attrs["pairing"] == {"choices": {"method": "overlap"}}
    ids, moving, fixed = read_landmark_elements(again.sdata)
    assert (ids.tolist(), moving.shape, fixed.shape) == ([1, 2, 3], (3, 2), (3, 2))
    assert leftovers(saved.parent) == []


def bent(path: Path) -> Section:
    """Open a section and lay its MSI over ST by a spline."""
    section = open_any(path)
    xy = np.asarray(section.msi.obsm["spatial"])
    corners = np.array([xy[np.argmax(xy @ way)] for way in ([1, 1], [1, -1], [-1, 1], [-1, -1.1])])
    moving = np.concatenate([corners, xy.mean(axis=0, keepdims=True) + 3.0])
    fixed = moving @ MIRROR[:2, :2].T + MIRROR[:2, 2] + np.array([[0, 0], [4, 0], [0, 5], [-3, 0], [6, -7.0]])
    spline = fit(Landmarks(tuple("abcde"), moving, fixed), "thin_plate", smoothing=0.0)
    apply(section, spline)
    return section


def test_what_is_bent_is_saved_and_opened_with_its_history(saved: Path) -> None:
    section = bent(saved)
    confidence = np.linspace(0, 1, section.st.n_obs, dtype=np.float32)
    section.sdata.tables["st"].obs[CONFIDENCE] = confidence
    save(section)
    again = open_any(saved)
    assert again.warped_element == "msi_pixels_warped"
    np.testing.assert_array_equal(again.pixels().corners, section.pixels().corners)
    np.testing.assert_array_equal(again.msi_xy_in_st, section.msi_xy_in_st)
    assert registration_of(again).fingerprint == registration_of(section).fingerprint
    assert [earlier.registration.to_dict() for earlier in history(again)] == [
        earlier.registration.to_dict() for earlier in history(section)
    ]
    np.testing.assert_array_equal(again.st.obs[CONFIDENCE], confidence)
    assert "msi_pixels_warped" in spatialdata.read_zarr(saved).shapes

    # An affine takes the bent pixels, and the confidence of the spline, away from the disk as well.
    apply(again, fit(registration_of(again).landmarks, "affine"))
    save(again)
    third = open_any(saved)
    assert third.warped_element is None
    assert "msi_pixels_warped" not in third.sdata
    assert not (saved / "shapes" / "msi_pixels_warped").exists()
    assert CONFIDENCE not in third.st.obs
    assert history(third)[-1].registration.transform.kind == "thin_plate"


def test_only_what_changed_is_written(saved: Path) -> None:
    save(bent(saved))
    kinds = ("shapes", "images", "tables")
    before = {kind: files_of(saved, kind) for kind in kinds}
    again = open_any(saved)
    save(again)
    assert {kind: files_of(saved, kind) for kind in kinds} == before
    again.sdata.tables["st"].obs[CONFIDENCE] = np.float32(0.5)
    save(again)
    after = {kind: files_of(saved, kind) for kind in kinds}
    assert (after["shapes"], after["images"]) == (before["shapes"], before["images"])
    changed = {name for name in after["tables"] if after["tables"][name] != before["tables"].get(name)}
    assert changed
    assert all(name.startswith("tables/st/obs/") for name in changed)
    moved = again.sdata["st_spots"].copy()
    moved["geometry"] = moved.geometry.translate(1, 0)
    again.sdata["st_spots"] = moved
    save(again)
    assert {name for name, facts in files_of(saved, "shapes").items() if before["shapes"][name] != facts} == {
        "shapes/st_spots/shapes.parquet"
    }
    np.testing.assert_allclose(open_any(saved).sdata["st_spots"].geometry.x, moved.geometry.x)


def test_a_failed_save_of_a_registration_leaves_the_one_before(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = bent(saved)
    monkeypatch.setattr(spatialdata.SpatialData, "write_attrs", lambda *_: (_ for _ in ()).throw(OSError(5, "no")))
    with pytest.raises(FileProblem):
        save(section)
    monkeypatch.undo()
    old = open_any(saved)
    assert old.warped_element is None
    assert registration_of(old) is None
    np.testing.assert_allclose(old.msi_to_st, MIRROR)
    save(section)
    assert open_any(saved).warped_element is not None


def test_an_update_takes_away_what_was_taken_away(saved: Path) -> None:
    section = open_any(saved)
    section.sdata.tables[PAIRED_TABLE] = paired_table(section, 3.0)
    save(section)
    del section.sdata.tables[PAIRED_TABLE]
    save(section)
    assert not open_any(saved).paired
    assert not (saved / "tables" / PAIRED_TABLE).exists()


def test_a_second_update_replaces_the_first(saved: Path) -> None:
    section = open_any(saved)
    for value in (1.0, 2.0):
        section.sdata.tables[PAIRED_TABLE] = paired_table(section, value)
        save(section)
    assert open_any(saved).paired_table.X.max() == 2.0


def test_landmarks_read_from_the_zarr_survive_being_written_over(saved: Path) -> None:
    section = open_any(saved)
    for name, element in landmark_elements(["a", "b"], np.eye(2), np.eye(2)).items():
        section.sdata.points[name] = element
    save(section)
    lazy = open_any(saved)  # its landmarks are still on disk when they are replaced
    save(lazy)
    ids, moving, _ = read_landmark_elements(lazy.sdata)
    assert ids.tolist() == ["a", "b"]
    np.testing.assert_array_equal(moving, np.eye(2))


def test_overwriting_the_zarr_that_images_are_read_from(saved: Path) -> None:
    pixels = small_section().sdata["histology"]["scale0"]["image"].values
    section = open_any(saved)
    save(section, saved, overwrite=True)
    np.testing.assert_array_equal(section.sdata["histology"]["scale0"]["image"].values, pixels)
    np.testing.assert_array_equal(open_any(saved).sdata["histology"]["scale0"]["image"].values, pixels)


def test_saving_elsewhere_leaves_the_first_zarr_alone(saved: Path, tmp_path: Path) -> None:
    section = open_any(saved)
    section.sdata.tables[PAIRED_TABLE] = paired_table(section, 1.0)
    other = save(section, tmp_path / "other.zarr")
    assert section.path == other
    assert open_any(other).paired
    assert not open_any(saved).paired


def test_what_is_in_the_way_is_told_and_kept(saved: Path, tmp_path: Path) -> None:
    section = small_section()
    with pytest.raises(FileProblem, match="already there"):
        save(section, saved)
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter.txt").write_text("years of work")
    with pytest.raises(FileProblem, match="is no zarr"):
        save(section, folder, overwrite=True)
    assert (folder / "chapter.txt").read_text() == "years of work"
    with pytest.raises(FileProblem, match=r"folder '.*missing' does not exist"):
        save(section, tmp_path / "missing" / "brain.zarr")
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(FileProblem, match="does not exist"):
        save(section, file / "brain.zarr")
    with pytest.raises(FileProblem, match="Say where to write"):
        save(section)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "message", "in_place"),
    [
        (errno.ENOSPC, "disk is full", True),
        (errno.ENOSPC, "disk is full", False),
        (errno.EROFS, "may not write", True),
        (errno.EIO, "could not be written", False),
    ],
)
def test_a_failed_save_leaves_the_old_state(
    saved: Path, monkeypatch: pytest.MonkeyPatch, number: int, message: str, in_place: bool
) -> None:
    section = open_any(saved)
    section.sdata.tables[PAIRED_TABLE] = paired_table(section, 1.0)

    def fails(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    # The last thing that is written, after everything else is on disk.
    monkeypatch.setattr(spatialdata.SpatialData, "write_consolidated_metadata", fails)
    with pytest.raises(FileProblem, match=message):
        save(section, None if in_place else saved, overwrite=not in_place)
    monkeypatch.undo()
    assert leftovers(saved.parent) == []
    again = open_any(saved)
    assert not again.paired
    assert again.sdata["histology"]["scale0"]["image"].values.any()
    # And the section in memory is still good to save.
    save(section)
    assert open_any(saved).paired


def test_a_read_only_place_is_told() -> None:
    if not Path("/proc/self").is_dir():
        pytest.skip("no /proc here to be refused by")
    with pytest.raises(FileProblem, match=r"may not write|could not be written"):
        save(small_section(image=False), Path("/proc/self/brain.zarr"))


def test_opening_puts_back_what_a_crash_between_two_renames_left(saved: Path) -> None:
    old = saved.with_name(".brain.zarr.st2msi-old")
    saved.rename(old)
    section = open_any(saved)
    assert section.name == "brain"
    assert not old.exists()
    save(section)
    assert leftovers(saved.parent) == []


def test_leftovers_of_a_crash_are_removed_by_the_next_save(saved: Path) -> None:
    for what in ("new", "old"):
        folder = saved.with_name(f".brain.zarr.st2msi-{what}")
        folder.mkdir()
        (folder / "half").write_text("written")
    section = open_any(saved)
    section.sdata.tables[PAIRED_TABLE] = paired_table(section, 1.0)
    save(section)
    assert leftovers(saved.parent) == []
    assert open_any(saved).paired


def test_a_file_system_without_links_is_copied_to(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    section = open_any(saved)
    section.sdata.tables[PAIRED_TABLE] = paired_table(section, 1.0)
    clone = store._clone

    def without_links(source: Path, target: Path) -> None:
        # zarr links as well, to create a file only if there is none; that is not what is tried here.
        with monkeypatch.context() as patch:
            patch.setattr(os, "link", refuse)
            clone(source, target)

    monkeypatch.setattr(store, "_clone", without_links)
    save(section)
    again = open_any(saved)
    assert again.paired
    assert again.sdata["histology"]["scale0"]["image"].values.any()


KILLED = """
import sys, time, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[2])
from pathlib import Path
import numpy as np, spatialdata
from test_io_store import paired_table
from napari_st2msi.io.open import open_any
from napari_st2msi.io.store import save

path = Path(sys.argv[1])
section = open_any(path)
section.sdata.tables["msi_on_st"] = paired_table(section, 9.0)

def wait(*args, **kwargs):
    print("writing", flush=True)
    time.sleep(60)

spatialdata.SpatialData.write_consolidated_metadata = wait
save(section, None if sys.argv[3] == "update" else path, overwrite=sys.argv[3] != "update")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("how", ["update", "overwrite"])
def test_killed_in_the_middle_of_writing(saved: Path, how: str) -> None:
    command = [sys.executable, "-c", KILLED, str(saved), str(Path(__file__).parent), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "writing"
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert leftovers(saved.parent) == [".brain.zarr.st2msi-new"]
    section = open_any(saved)
    assert not section.paired
    assert section.sdata["histology"]["scale0"]["image"].values.any()
    section.sdata.tables[PAIRED_TABLE] = paired_table(section, 1.0)
    save(section)
    assert leftovers(saved.parent) == []
    assert open_any(saved).paired_table.X.max() == 1.0


def test_a_registration_as_the_first_version_wrote_it_still_opens(saved: Path) -> None:
    """Attributes as version 0.1 of this package left them: no history, nothing bent, no confidence."""
    section = open_any(saved)
    moving = np.array([[10.0, 10], [50, 10], [10, 60], [40, 40]])
    landmarks = Landmarks(tuple("abcd"), moving, moving @ MIRROR[:2, :2].T + MIRROR[:2, 2])
    apply(section, fit(landmarks, "affine"))
    new = section.attrs["registration"]
    names = ("transform", "landmarks", "residuals_um", "left_out_um", "rms_um", "reflects", "fingerprint", "warnings")
    facts = {name: section.attrs[name] for name in ("version", "name", "roles") if name in section.attrs}
    section.sdata.attrs["st2msi"] = {**facts, "registration": {"version": 1, **{name: new[name] for name in names}}}
    save(section)
    old = open_any(saved)
    np.testing.assert_allclose(registration_of(old).transform.matrix, MIRROR, atol=1e-6)
    assert history(old) == ()
    assert old.warped_element is None


def test_an_older_store_is_written_anew_as_a_whole(tmp_path: Path) -> None:
    from spatialdata._io.format import SpatialDataContainerFormatV01

    path = tmp_path / "old.zarr"
    small_section().sdata.write(path, sdata_formats=SpatialDataContainerFormatV01())
    assert not (path / "zarr.json").exists()
    section = open_any(path)
    assert section.has_st
    assert section.has_msi
    section.sdata.tables[PAIRED_TABLE] = paired_table(section, 1.0)
    save(section)
    assert (path / "zarr.json").exists()
    assert open_any(path).paired
    assert section.sdata["histology"]["scale0"]["image"].values.any()


def test_coordinate_systems_of_the_file_stay(tmp_path: Path) -> None:
    section = small_section(image=False)
    set_transformation(section.sdata["msi_pixels"], Affine(MIRROR, ("x", "y"), ("x", "y")), "instrument")
    again = open_any(save(section, tmp_path / "brain.zarr"))
    save(again)
    assert set(again.sdata.coordinate_systems) == {"instrument", SYSTEM, MSI_SYSTEM}
