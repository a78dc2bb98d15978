"""Opening anything: dispatch by what a path is, two paths as one section, and what is told otherwise."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from reader_samples import genes, grid, hexagons, ions, small_section, write_space_ranger
from spatialdata.transformations import get_transformation

from napari_st2msi.errors import DataProblem, FileProblem
from napari_st2msi.io.combine import combine
from napari_st2msi.io.open import open_any
from napari_st2msi.io.opening import Opening
from napari_st2msi.io.store import save
from napari_st2msi.pipeline import open_section, pair, paired_dataset
from napari_st2msi.progress import Cancelled, Progress
from napari_st2msi.section import MSI_SYSTEM, SYSTEM

pytestmark = pytest.mark.filterwarnings("ignore")


def msi_csv(folder: Path, width: int = 20, height: int = 18) -> Path:
    xy = grid(width, height).astype(int)
    table = ions(len(xy))
    frame = pd.DataFrame(table.X, columns=[f"{mz:.2f}" for mz in table.var["mz"]])
    frame.insert(0, "y", xy[:, 1])
    frame.insert(0, "x", xy[:, 0])
    frame.to_csv(folder / "msi.csv", index=False)
    return folder / "msi.csv"


def msi_h5ad(folder: Path) -> Path:
    table = ions(120)
    table.obsm["spatial"] = grid()
    table.write_h5ad(folder / "msi.h5ad")
    return folder / "msi.h5ad"


def to_um(section: object, name: str, system: str = SYSTEM) -> np.ndarray:
    return get_transformation(section.sdata[name], system).to_affine_matrix(("x", "y"), ("x", "y"))


def test_space_ranger_and_a_table_of_msi_to_paired_spots(tmp_path: Path) -> None:
    outs = write_space_ranger(tmp_path / "brain")
    section = open_any(outs, msi_csv(tmp_path), Opening(pixel_size_um=60, same_frame=True))
    assert section.name == "brain"
    assert section.registered
    assert section.roles.image == "histology"
    assert section.path is None
    paired = pair(section)
    assert paired.covered.sum() > 50
    path = save(section, tmp_path / "brain.zarr")
    again = open_any(path)
    assert len(paired_dataset(again)) == len(paired)
    np.testing.assert_allclose(again.msi_to_st, np.eye(3))


def test_without_being_told_two_files_are_not_registered(tmp_path: Path) -> None:
    outs = write_space_ranger(tmp_path / "brain")
    section = open_any(outs, msi_csv(tmp_path), Opening(pixel_size_um=60))
    assert not section.registered
    other_way = open_any(msi_csv(tmp_path), outs, Opening(pixel_size_um=60))
    assert other_way.st.shape == section.st.shape
    assert any("other way round" in note for note in other_way.notes)


def test_two_zarrs(tmp_path: Path) -> None:
    st, msi = small_section(name="mouse"), small_section(name="msi only")
    first, second = save(st, tmp_path / "st.zarr"), save(msi, tmp_path / "msi.zarr")
    section = open_any(first, second)
    assert section.name == "mouse"
    assert (section.roles.st, section.roles.msi) == ("st", "msi_msi")
    assert not section.registered
    again = open_any(save(section, tmp_path / "both.zarr"))
    assert again.roles == section.roles
    np.testing.assert_array_equal(again.msi.X, msi.msi.X)
    np.testing.assert_allclose(again.msi.obsm["spatial"], msi.msi.obsm["spatial"])


def test_a_zarr_of_st_and_an_h5ad_of_msi(tmp_path: Path) -> None:
    path = save(small_section(), tmp_path / "st.zarr")
    section = open_any(path, msi_h5ad(tmp_path), Opening(pixel_size_um=40))
    assert section.msi.n_obs == 120
    assert section.summary()["pixel_size_um"] == pytest.approx(40)


def test_imzml_by_either_of_its_files(real_data: Path) -> None:
    folder = real_data / "pyimzml_examples"
    for name in ("Example_Continuous.imzML", "Example_Continuous.ibd"):
        section = open_any(folder / name, opening=Opening(mz=(151.9, 256.2), ppm=500))
        assert section.msi.shape == (9, 2)


def test_any_form_of_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(small_section(image=False), tmp_path / "brain.zarr")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for form in ("brain.zarr", "brain.zarr/", "~/brain.zarr", str(path), "brain.zarr/zarr.json"):
        section = open_section(form)
        assert section.name == "brain"
    save(section)
    monkeypatch.chdir(tmp_path.parent)
    save(open_section(path))


def test_histology_of_unknown_size_is_stretched_over_the_data(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "he.tif", np.zeros((30, 40, 3), np.uint8), photometric="rgb")
    section = open_any(msi_h5ad(tmp_path), opening=Opening(pixel_size_um=10, histology=tmp_path / "he.tif"))
    np.testing.assert_allclose(to_um(section, "histology"), [[3, 0, -5], [0, 100 / 30, -5], [0, 0, 1]])
    assert not section.registered
    assert any("for orientation only" in note for note in section.notes)
    again = open_any(save(section, tmp_path / "a.zarr"))
    np.testing.assert_allclose(to_um(again, "histology"), to_um(section, "histology"))


def test_histology_of_known_size_begins_at_the_origin(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "he.tif", np.zeros((30, 40, 3), np.uint8), photometric="rgb")
    opening = Opening(pixel_size_um=10, histology=tmp_path / "he.tif", histology_um_per_pixel=0.5)
    section = open_any(msi_h5ad(tmp_path), opening=opening)
    np.testing.assert_allclose(to_um(section, "histology"), np.diag([0.5, 0.5, 1]))


def test_a_second_histology_goes_beside_the_first(tmp_path: Path) -> None:
    path = save(small_section(), tmp_path / "brain.zarr")
    tifffile.imwrite(tmp_path / "he.tif", np.zeros((30, 40, 3), np.uint8), photometric="rgb")
    section = open_any(path, opening=Opening(histology=tmp_path / "he.tif", histology_um_per_pixel=2))
    assert section.roles.image == "histology_file"
    save(section)
    again = open_any(path)
    assert again.roles.image == "histology_file"
    assert set(again.sdata.images) == {"histology", "histology_file"}


def test_histology_under_st_and_msi_of_two_files(tmp_path: Path) -> None:
    xy, _ = hexagons()
    table = genes(100)
    table.obsm["spatial"] = xy
    table.write_h5ad(tmp_path / "st.h5ad")
    tifffile.imwrite(tmp_path / "he.tif", np.zeros((30, 40, 3), np.uint8), photometric="rgb")
    section = open_any(
        tmp_path / "st.h5ad", msi_csv(tmp_path), Opening(pixel_size_um=50, histology=tmp_path / "he.tif")
    )
    assert section.roles.image == "histology"
    np.testing.assert_allclose(to_um(section, "histology")[0, 0] * 40, np.ptp(xy[:, 0]))


def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileProblem, match="There is no"):
        open_any(tmp_path / "nothing.zarr")
    with pytest.raises(FileProblem, match=r"What can be opened: a SpatialData \.zarr"):
        open_any(tmp_path)
    (tmp_path / "slides.pptx").write_text("")
    with pytest.raises(FileProblem, match="of no kind that can be opened"):
        open_any(tmp_path / "slides.pptx")
    shutil.make_archive(str(tmp_path / "a.zarr"), "zip", tmp_path)
    with pytest.raises(FileProblem, match="Unpack it first"):
        open_any(tmp_path / "a.zarr.zip")
    (tmp_path / "alone.ibd").write_bytes(b"")
    with pytest.raises(FileProblem, match=r"the \.imzML file that describes them is not beside it"):
        open_any(tmp_path / "alone.ibd")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(FileProblem, match=r"no zarr\.json"):
        open_any(tmp_path / "empty.zarr")


def test_two_files_of_one_kind_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataProblem, match="Neither file has genes"):
        open_any(msi_csv(tmp_path), msi_h5ad(tmp_path))
    outs = write_space_ranger(tmp_path / "brain")
    with pytest.raises(DataProblem, match="Neither file has ions"):
        open_any(outs, outs)


def test_sizes_that_cannot_be_of_one_tissue_are_pointed_out() -> None:
    st, msi = small_section(image=False), small_section(image=False)
    assert not any("probably not in µm" in note for note in combine(st, msi).notes)
    from spatialdata.transformations import Scale, set_transformation

    set_transformation(msi.sdata["msi_pixels"], Scale([0.01, 0.01], ("x", "y")), MSI_SYSTEM)
    msi.forget_caches()
    assert any("probably not in µm" in note for note in combine(st, msi).notes)


def test_opening_can_be_stopped_and_says_where_it_stands(tmp_path: Path) -> None:
    outs = write_space_ranger(tmp_path / "brain")
    for path in (outs, msi_csv(tmp_path), msi_h5ad(tmp_path), save(small_section(image=False), tmp_path / "a.zarr")):
        with pytest.raises(Cancelled):
            open_any(path, cancelled=lambda: True)
        seen: list[float] = []
        open_any(path, progress=Progress(lambda fraction, _, seen=seen: seen.append(fraction)))
        assert seen == sorted(seen)
        assert seen[-1] == 1.0
        assert len(seen) > 2


def test_the_folder_one_stands_in_opens_under_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(save(small_section(), tmp_path / "brain.zarr"))
    section = open_any(Path())
    assert section.path == tmp_path / "brain.zarr"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileProblem, match="of no kind that can be opened"):
        open_any(Path())
