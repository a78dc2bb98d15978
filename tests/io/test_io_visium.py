"""Space Ranger output of both generations, and micrometres from the distance between spots."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from reader_samples import hexagons, write_10x_h5, write_space_ranger
from scipy.spatial import cKDTree

from napari_st2msi.errors import DataProblem, FileProblem, GeometryProblem
from napari_st2msi.io.open import open_any
from napari_st2msi.io.opening import Opening
from napari_st2msi.io.visium import um_per_unit, visium_geometry
from napari_st2msi.section import SYSTEM

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("generation", [1, 2])
def test_both_generations(tmp_path: Path, generation: int) -> None:
    outs = write_space_ranger(tmp_path / "mouse_brain", generation=generation)
    section = open_any(outs)
    assert section.name == "mouse_brain"
    assert section.st.shape == (90, 12)  # the filtered matrix has spots in tissue only
    xy, _ = hexagons()
    np.testing.assert_allclose(section.st.obsm["spatial"], xy[:90] + 200, atol=0.3)
    assert section.summary()["spot_diameter_um"] == pytest.approx(55)
    assert {"array_row", "array_col", "in_tissue"} <= set(section.st.obs)
    assert not section.has_msi
    again = open_any(tmp_path / "mouse_brain")  # the folder above outs does as well
    np.testing.assert_array_equal(again.st.X.toarray(), section.st.X.toarray())


def test_histology_lies_under_the_spots(tmp_path: Path) -> None:
    outs = write_space_ranger(tmp_path / "brain")
    section = open_any(outs)
    from spatialdata.transformations import get_transformation

    image = section.sdata[section.roles.image]
    matrix = get_transformation(image, SYSTEM).to_affine_matrix(("x", "y"), ("x", "y"))
    np.testing.assert_allclose(np.diag(matrix)[:2], 0.25 / 0.1, rtol=1e-3)  # µm per hires pixel
    with Image.open(outs / "spatial" / "tissue_hires_image.png") as hires:
        assert section.sdata[section.roles.image].shape[1:] == hires.size[::-1]


def test_diameter_is_the_users_where_given(tmp_path: Path) -> None:
    outs = write_space_ranger(tmp_path / "brain")
    assert open_any(outs, opening=Opening(spot_diameter_um=50)).spots.diameter == pytest.approx(50)


def test_size_does_not_come_from_the_spot_diameter(tmp_path: Path) -> None:
    outs = write_space_ranger(tmp_path / "brain", um_per_pixel=0.5)
    file = outs / "spatial" / "scalefactors_json.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "spot_diameter_fullres": 9999.0}))
    assert visium_geometry(outs).um_per_pixel == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("angle", [0, 37, 90])
def test_um_per_unit_whatever_the_pose(angle: float) -> None:
    xy, array = hexagons(8, 9)
    turn = np.deg2rad(angle)
    pose = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.diag([-1, 1]) / 0.17
    keep = np.random.default_rng(0).random(len(xy)) < 0.4
    moved = np.rint(xy @ pose.T + 3000)
    assert um_per_unit(moved[keep], *array[keep].T) == pytest.approx(0.17, rel=1e-3)


def test_what_is_no_lattice_is_told() -> None:
    xy, array = hexagons(8, 9)
    shuffled = np.random.default_rng(0).permutation(xy)
    with pytest.raises(GeometryProblem, match="do not lie on Visium's hexagonal lattice"):
        um_per_unit(shuffled, *array.T)
    for few in (slice(0, 1), slice(0, 2), slice(0, 9)):  # the last: one row
        with pytest.raises(GeometryProblem, match="Too few spots"):
            um_per_unit(xy[few], *array[few].T)


def test_raw_counts_are_taken_where_there_are_no_filtered_ones(tmp_path: Path) -> None:
    outs = write_space_ranger(tmp_path / "brain")
    barcodes = [f"BC{i:04d}-1" for i in range(100)]
    (outs / "filtered_feature_bc_matrix.h5").unlink()
    write_10x_h5(outs / "raw_feature_bc_matrix.h5", np.ones((100, 4), int), barcodes, list("ABCD"))
    section = open_any(outs)
    assert section.st.n_obs == 100
    assert any("raw counts" in note for note in section.notes)


def test_duplicate_genes_are_told_apart(tmp_path: Path) -> None:
    outs = write_space_ranger(tmp_path / "brain", names=["Pcp4", "Pcp4", "Gfap", "Pcp4"])
    section = open_any(outs)
    assert section.st.var_names.is_unique
    assert "2 gene names appear more than once" in section.notes[0]


def test_full_resolution_histology(tmp_path: Path) -> None:
    outs = write_space_ranger(tmp_path / "brain", rows=3, columns=4, um_per_pixel=1.0)
    Image.fromarray(np.full((700, 900, 3), 90, np.uint8)).save(tmp_path / "he.png")
    section = open_any(outs, opening=Opening(histology=tmp_path / "he.png"))
    assert any("full-resolution" in note for note in section.notes)
    from spatialdata.transformations import get_transformation

    matrix = get_transformation(section.sdata[section.roles.image], SYSTEM).to_affine_matrix(("x", "y"), ("x", "y"))
    assert matrix[0, 0] == pytest.approx(1.0, rel=1e-2)
    given = open_any(outs, opening=Opening(histology=tmp_path / "he.png", histology_um_per_pixel=0.8))
    matrix = get_transformation(given.sdata[given.roles.image], SYSTEM).to_affine_matrix(("x", "y"), ("x", "y"))
    assert matrix[0, 0] == pytest.approx(0.8)
    Image.fromarray(np.full((7, 9, 3), 90, np.uint8)).save(tmp_path / "thumb.png")
    with pytest.raises(GeometryProblem, match="Give its pixel size"):
        open_any(outs, opening=Opening(histology=tmp_path / "thumb.png"))


def test_a_histology_file_is_laid_once(tmp_path: Path) -> None:
    outs = write_space_ranger(tmp_path / "brain", rows=3, columns=4, um_per_pixel=1.0)
    Image.fromarray(np.full((700, 900, 3), 90, np.uint8)).save(tmp_path / "he.png")
    for path in (outs, outs.parent, outs / "spatial"):
        assert list(open_any(path, opening=Opening(histology=tmp_path / "he.png")).sdata.images) == ["histology"]


def test_missing_pieces_are_named(tmp_path: Path) -> None:
    whole = write_space_ranger(tmp_path / "whole")

    def without(*names: str) -> Path:
        outs = Path(shutil.copytree(whole, tmp_path / "-".join(names).replace("/", "_") / "outs"))
        for name in names:
            (outs / name).unlink()
        return outs

    with pytest.raises(FileProblem, match=r"no counts.*filtered_feature_bc_matrix\.h5"):
        open_any(without("filtered_feature_bc_matrix.h5"))
    with pytest.raises(FileProblem, match="is of no kind that can be opened"):
        open_any(without("spatial/tissue_positions.csv"))
    with pytest.raises(FileProblem, match="has no tissue_positions"):
        visium_geometry(tmp_path)
    low = open_any(without("spatial/tissue_hires_image.png"))
    assert low.roles.image is not None
    none = open_any(without("spatial/tissue_hires_image.png", "spatial/tissue_lowres_image.png"))
    assert none.roles.image is None
    assert "no histology" in none.notes[-1]


def test_damaged_pieces_are_named(tmp_path: Path) -> None:
    outs = write_space_ranger(tmp_path / "brain")
    counts = outs / "filtered_feature_bc_matrix.h5"
    good = counts.read_bytes()
    counts.write_bytes(good[:300])
    with pytest.raises(FileProblem, match="is damaged"):
        open_any(outs)
    counts.write_bytes(good)
    scales = outs / "spatial" / "scalefactors_json.json"
    scales.write_text("{half")
    with pytest.raises(FileProblem, match="scale factors"):
        open_any(outs)
    scales.unlink()
    with pytest.raises(FileProblem, match="cannot be read as Space Ranger output"):
        open_any(outs)


def test_positions_that_do_not_fit_are_told(tmp_path: Path) -> None:
    outs = write_space_ranger(tmp_path / "brain")
    file = outs / "spatial" / "tissue_positions.csv"
    table = pd.read_csv(file)
    renamed = table.assign(barcode=table.barcode.str.replace("BC", "XX"))
    renamed.to_csv(file, index=False)
    with pytest.raises(DataProblem, match=r"90 of 90 barcodes.*different slides"):
        open_any(outs)
    table.assign(array_row=table.array_row.astype(str) + "a").to_csv(file, index=False)
    with pytest.raises(DataProblem, match="not numbers"):
        open_any(outs)
    pd.concat([table, table.iloc[:3]]).to_csv(file, index=False)
    with pytest.raises(DataProblem, match="3 barcodes twice"):
        open_any(outs)
    table.drop(columns="array_col").to_csv(file, index=False)
    with pytest.raises(FileProblem, match="no column array_col"):
        open_any(outs)


def test_real_geometry(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "magpie_sma_V11L12-038_D1"
    geometry = visium_geometry(folder)
    assert len(geometry.barcodes) == 4992
    assert geometry.in_tissue.sum() == 2913
    # From row to row the picture of this slide is stretched by half a percent; neighbours are 100 µm apart.
    nearest = cKDTree(geometry.xy_um).query(geometry.xy_um, k=2)[0][:, 1]
    assert np.median(nearest) == pytest.approx(100, rel=2e-4)
    assert geometry.hires_um == pytest.approx(geometry.um_per_pixel / 0.04155585)
    # As Space Ranger output, with counts of our own.
    spatial = tmp_path / "D1" / "outs" / "spatial"
    spatial.mkdir(parents=True)
    for name in ("tissue_positions_list.csv", "scalefactors_json.json", "tissue_lowres_image.png"):
        shutil.copyfile(folder / name, spatial / name)
    barcodes = list(geometry.barcodes[geometry.in_tissue])
    write_10x_h5(spatial.parent / "filtered_feature_bc_matrix.h5", np.ones((2913, 3), int), barcodes, list("ABC"))
    section = open_any(spatial.parent)
    assert section.name == "D1"
    np.testing.assert_allclose(section.st.obsm["spatial"], geometry.xy_um[geometry.in_tissue])
    assert section.roles.image == "histology"
