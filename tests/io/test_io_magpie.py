"""MAGPIE projects, and the landmarks that people picked in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from reader_samples import ions, write_space_ranger

from napari_st2msi.errors import DataProblem, FileProblem
from napari_st2msi.io.landmarks import landmark_elements, read_landmark_elements
from napari_st2msi.io.magpie import read_landmarks, read_landmarks_csv
from napari_st2msi.io.open import open_any
from napari_st2msi.io.opening import Opening
from napari_st2msi.io.store import save
from napari_st2msi.io.visium import visium_geometry

pytestmark = pytest.mark.filterwarnings("ignore")
COLUMNS = ["X_left", "Y_left", "X_right", "Y_right"]
#: MSI pixel → µm of ST: mirrored, 60 µm a pixel.
TO_ST = np.array([[-60.0, 0, 1150], [0, 60, 150]])


def write_project(folder: Path, *, landmarks: bool = True, turned: bool = False) -> Path:
    outs = write_space_ranger(folder / "tmp")
    outs.rename(folder / "visium")
    (folder / "msi").mkdir()
    xy = np.stack(np.meshgrid(np.arange(1, 16), np.arange(1, 14)), axis=-1).reshape(-1, 2)
    names = [f"pixel_{i}" for i in range(len(xy))]
    table = ions(len(xy))
    values = pd.DataFrame(table.X, columns=table.var_names)
    values.insert(0, "spot_id", names)
    values.to_csv(folder / "msi" / "MSI_intensities.csv", index=False)
    metadata = pd.DataFrame({"spot_id": names, "x": xy[:, 0], "y": xy[:, 1], "Sample": "s1"})
    metadata.iloc[::-1].to_csv(folder / "msi" / "MSI_metadata.csv", index=False)  # another order
    if turned:
        metadata.assign(x=-metadata.y, y=metadata.x).to_csv(folder / "msi" / "MSI_metadata_modified.csv", index=False)
    if landmarks:
        write_landmarks(folder / "landmarks_noHE.csv", picked(), hires_of(picked(), folder))
    return folder


def picked() -> np.ndarray:
    return np.array([[2.0, 3], [13, 2.5], [12, 11], [3, 12], [7, 6]])


def hires_of(msi: np.ndarray, folder: Path) -> np.ndarray:
    um = msi @ TO_ST[:, :2].T + TO_ST[:, 2]
    return um / visium_geometry(folder / "visium").hires_um


def write_landmarks(file: Path, left: np.ndarray, right: np.ndarray) -> None:
    pd.DataFrame(np.hstack([left, right]), columns=COLUMNS).to_csv(file)  # older versions write an index


def test_project(tmp_path: Path) -> None:
    section = open_any(write_project(tmp_path / "slide1"), opening=Opening(pixel_size_um=60))
    assert section.name == "slide1"
    assert section.st.shape == (90, 12)
    assert section.msi.shape == (195, 5)
    assert section.roles.image == "histology"
    assert section.summary()["pixel_size_um"] == pytest.approx(60)
    assert not section.registered
    # Matched by spot_id and not by row.
    np.testing.assert_allclose(section.msi.obsm["spatial"][:2], [[60, 60], [120, 60]])
    np.testing.assert_allclose(section.msi.X, ions(195).X, rtol=1e-5)
    ids, moving, fixed = read_landmark_elements(section.sdata)
    assert len(ids) == 5
    np.testing.assert_allclose(moving, picked() * 60)
    np.testing.assert_allclose(fixed, picked() @ TO_ST[:, :2].T + TO_ST[:, 2], rtol=1e-9)
    assert any("5 landmarks" in note for note in section.notes)


def test_it_survives_being_saved(tmp_path: Path) -> None:
    section = open_any(write_project(tmp_path / "slide1"), opening=Opening(pixel_size_um=60))
    again = open_any(save(section, tmp_path / "slide1.zarr"))
    assert again.roles == section.roles
    np.testing.assert_allclose(read_landmark_elements(again.sdata)[1], picked() * 60)


def test_pixel_size_is_estimated_from_landmarks(tmp_path: Path) -> None:
    section = open_any(write_project(tmp_path / "slide1"))
    assert section.summary()["pixel_size_um"] == pytest.approx(60, rel=1e-6)
    assert any("estimated from the landmarks: 60" in note for note in section.notes)


def test_positions_turned_in_magpie_are_those_of_the_landmarks(tmp_path: Path) -> None:
    section = open_any(write_project(tmp_path / "slide1", turned=True), opening=Opening(pixel_size_um=60))
    np.testing.assert_allclose(section.msi.obsm["spatial"][1], [-60, 120])
    assert any("turned in MAGPIE" in note for note in section.notes)


def test_landmarks_through_the_histology_of_the_msi(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "slide1", landmarks=False)
    he = picked() * 31 + [5, -7]  # MSI's own H&E: 31 pixels per MSI pixel
    write_landmarks(folder / "landmarks_MSI2HE.csv", picked(), he)
    assert read_landmarks(folder, visium_geometry(folder / "visium"))[0] is None  # one half only
    elsewhere = np.array([[4.0, 5], [10, 9], [6, 2]])
    write_landmarks(folder / "landmarks_HE2HE.csv", elsewhere * 31 + [5, -7], hires_of(elsewhere, folder))
    section = open_any(folder, opening=Opening(pixel_size_um=60))
    _, moving, _ = read_landmark_elements(section.sdata)
    np.testing.assert_allclose(moving, elsewhere * 60, rtol=1e-9)
    assert any("picked through the MSI's own H&E" in note for note in section.notes)


def test_missing_pieces_are_named(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "slide1")
    (folder / "msi" / "MSI_metadata.csv").rename(folder / "kept.csv")
    with pytest.raises(FileProblem, match=r"no 'MSI_metadata\.csv'"):
        open_any(folder)
    (folder / "kept.csv").rename(folder / "msi" / "MSI_metadata.csv")
    (folder / "msi" / "MSI_intensities.csv").unlink()
    with pytest.raises(FileProblem, match="no intensities"):
        open_any(folder)
    (folder / "visium").rename(folder / "elsewhere")
    with pytest.raises(FileProblem, match="no folder 'visium'"):
        open_any(folder)


def test_tables_that_do_not_match_are_told(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "slide1")
    file = folder / "msi" / "MSI_metadata.csv"
    metadata = pd.read_csv(file)
    metadata.iloc[5:].to_csv(file, index=False)
    with pytest.raises(DataProblem, match="5 of 195 pixels"):
        open_any(folder)
    pd.concat([metadata, metadata.iloc[:2]]).to_csv(file, index=False)
    with pytest.raises(DataProblem, match="2 pixels twice"):
        open_any(folder)
    metadata.drop(columns="spot_id").to_csv(file, index=False)
    with pytest.raises(DataProblem, match="no column spot_id"):
        open_any(folder)


def test_bad_landmarks_are_told(tmp_path: Path) -> None:
    file = tmp_path / "landmarks_noHE.csv"
    with pytest.raises(FileProblem, match="cannot be read"):
        read_landmarks_csv(file)
    pd.DataFrame({"X_left": [1], "Y_left": [2]}).to_csv(file)
    with pytest.raises(DataProblem, match="no single column X_right, Y_right"):
        read_landmarks_csv(file)
    pd.DataFrame([[1, 2, 3, None], [1, 2, 3, 4]], columns=COLUMNS).to_csv(file)
    with pytest.raises(DataProblem, match="1 of 2 landmarks"):
        read_landmarks_csv(file)
    pd.DataFrame([[1, 2, 3, 4], [1, 2, 3, "?"]], columns=COLUMNS).to_csv(file)
    with pytest.raises(DataProblem, match=r"column Y_right: '\?' is not a number"):
        read_landmarks_csv(file)


def test_landmarks_that_a_spreadsheet_saved_again(tmp_path: Path) -> None:
    file = tmp_path / "landmarks_noHE.csv"
    file.write_text("X_left;Y_left;X_right;Y_right\r\n1,5;2;3;4\r\n5;6;7;8,25\r\n", encoding="utf-16")
    moving, fixed = read_landmarks_csv(file)
    np.testing.assert_array_equal(moving, [[1.5, 2], [5, 6]])
    np.testing.assert_array_equal(fixed, [[3, 4], [7, 8.25]])


def test_landmark_elements_keep_pairs_together() -> None:
    import spatialdata

    moving, fixed = np.arange(6.0).reshape(3, 2), np.arange(6.0).reshape(3, 2) * 10
    elements = landmark_elements(["a", "b", "c"], moving, fixed)
    back = landmark_elements(["c", "a", "d"], moving, fixed)
    sdata = spatialdata.SpatialData(
        points={"landmarks_msi": elements["landmarks_msi"], "landmarks_st": back["landmarks_st"]}
    )
    ids, left, right = read_landmark_elements(sdata)
    assert ids.tolist() == ["a", "c"]
    np.testing.assert_array_equal(left, moving[[0, 2]])
    np.testing.assert_array_equal(right, fixed[[1, 0]])
    with pytest.raises(DataProblem, match="same id"):
        landmark_elements([1, 1], np.zeros((2, 2)), np.zeros((2, 2)))
    with pytest.raises(DataProblem, match="as many positions"):
        landmark_elements([1, 2], np.full((2, 2), np.nan), np.zeros((2, 2)))
    assert read_landmark_elements(spatialdata.SpatialData()) is None


def test_real_project(real_data: Path) -> None:
    folder = real_data / "magpie_sma_V11L12-038_D1"
    with pytest.raises(FileProblem, match="positions of MSI pixels but no intensities"):
        open_any(folder)
    landmarks, notes = read_landmarks(folder, visium_geometry(folder))
    assert notes == []
    moving, fixed = landmarks
    assert len(moving) == 10
    # The affine map of these landmarks has a reflection and a root mean square of 121 µm.
    lifted = np.column_stack([moving * 100, np.ones(10)])
    fit, *_ = np.linalg.lstsq(lifted, fixed, rcond=None)
    assert np.linalg.det(fit[:2]) < 0
    assert np.sqrt(((lifted @ fit - fixed) ** 2).sum(axis=1).mean()) == pytest.approx(121, abs=1)


def test_real_geometry_with_intensities_of_our_own(real_data: Path, tmp_path: Path) -> None:
    import shutil

    from reader_samples import write_10x_h5

    source = real_data / "magpie_sma_V11L12-038_D1"
    folder = tmp_path / "D1"
    folder.mkdir()
    for file in source.iterdir():
        shutil.copyfile(file, folder / file.name)
    metadata = pd.read_csv(folder / "MSI_metadata.csv")
    table = ions(len(metadata))
    values = pd.DataFrame(table.X, columns=table.var_names)
    values.insert(0, "spot_id", metadata["spot_id"])
    values.to_csv(folder / "MSI_intensities.csv", index=False)
    geometry = visium_geometry(folder)
    barcodes = list(geometry.barcodes[geometry.in_tissue])
    write_10x_h5(folder / "filtered_feature_bc_matrix.h5", np.ones((len(barcodes), 3), int), barcodes, list("ABC"))
    (folder / "spatial").mkdir()
    for name in ("tissue_positions_list.csv", "scalefactors_json.json", "tissue_lowres_image.png"):
        (folder / name).rename(folder / "spatial" / name)
    section = open_any(folder, opening=Opening(pixel_size_um=100))
    assert (section.st.n_obs, section.msi.n_obs) == (2913, 3084)
    assert section.msi_grid is not None
    assert section.msi_grid.pitch == pytest.approx((100, 100))
    estimated = open_any(folder).summary()["pixel_size_um"]
    assert estimated == pytest.approx(100, rel=0.1)
