"""AnnData and MuData: paired, apart, in regions, and one modality alone."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from reader_samples import genes, grid, hexagons, ions

from napari_st2msi.errors import DataProblem, FileProblem
from napari_st2msi.io.open import open_any
from napari_st2msi.io.opening import Opening
from napari_st2msi.io.store import save
from napari_st2msi.pipeline import paired_dataset

pytestmark = pytest.mark.filterwarnings("ignore")


def write(table: ad.AnnData, file: Path) -> Path:
    table.write_h5ad(file)
    return file


def st_file(folder: Path, n: int = 60, **obs: object) -> Path:
    table = genes(n)
    table.obsm["spatial"] = np.random.default_rng(3).random((n, 2)) * 500
    table.obs = table.obs.assign(**obs)
    return write(table, folder / "st.h5ad")


def msi_file(folder: Path, width: int = 12, height: int = 10, **obs: object) -> Path:
    table = ions(width * height)
    table.obsm["spatial"] = grid(width, height)
    table.obs = table.obs.assign(**obs)
    return write(table, folder / "msi.h5ad")


def paired_files(folder: Path, n: int = 60, regions: bool = True) -> tuple[Path, Path]:
    st, msi = genes(n), ions(n)
    msi.obs_names = st.obs_names
    xy = np.random.default_rng(3).random((n, 2)) * 500
    for table in (st, msi):
        table.obsm["spatial"] = xy
        if regions:
            table.obs["roi"] = np.array(["A", "B", "C"])[np.arange(n) % 3]
    shuffled = msi[np.random.default_rng(4).permutation(n)].copy()
    return write(st, folder / "proteins.h5ad"), write(shuffled, folder / "ions.h5ad")


def test_same_observations_are_paired_by_name(tmp_path: Path) -> None:
    st, msi = paired_files(tmp_path, regions=False)
    section = open_any(st, msi)
    assert section.paired
    assert not section.has_msi
    assert "already paired" in section.notes[0]
    data = paired_dataset(section)
    expected = ions(60)
    np.testing.assert_array_equal(data.ions.X, expected.X)  # although the file lists them in another order
    np.testing.assert_array_equal(data.genes.X, genes(60).X)
    assert (data.obs["coverage"] == 1).all()
    assert set(data.sections) == {"proteins"}


def test_either_order_will_do(tmp_path: Path) -> None:
    st, msi = paired_files(tmp_path)
    section = open_any(msi, st)
    assert section.st.n_vars == 8
    assert section.paired_table.n_vars == 5


def test_regions_over_one_another_are_laid_side_by_side(tmp_path: Path) -> None:
    section = open_any(*paired_files(tmp_path))
    assert "3 regions (column 'roi')" in section.notes[1]
    xy, label = section.st.obsm["spatial"], section.st.obs["section"].to_numpy()
    assert set(label) == {"A", "B", "C"}
    boxes = {name: (xy[label == name].min(axis=0), xy[label == name].max(axis=0)) for name in "ABC"}
    for a, b in (("A", "B"), ("A", "C"), ("B", "C")):
        apart = (boxes[a][1] < boxes[b][0]) | (boxes[b][1] < boxes[a][0])
        assert apart.any()
    original = section.st.obsm["spatial_original"]
    for name in "ABC":
        shift = xy[label == name] - original[label == name]
        np.testing.assert_allclose(shift, np.broadcast_to(shift[0], shift.shape), atol=1e-9)
    assert set(paired_dataset(section).sections) == {"A", "B", "C"}


def test_regions_that_lie_apart_stay_where_they_are(tmp_path: Path) -> None:
    table = genes(40)
    table.obs["sample"] = np.repeat(["a", "b"], 20)
    table.obsm["spatial"] = np.random.default_rng(0).random((40, 2)) * 100 + np.repeat([[0, 0], [500, 0]], 20, axis=0)
    file = write(table, tmp_path / "st.h5ad")
    section = open_any(file)
    np.testing.assert_allclose(section.st.obsm["spatial"], table.obsm["spatial"])
    chosen = open_any(file, opening=Opening(group="sample"))
    assert set(chosen.st.obs["section"]) == {"a", "b"}
    with pytest.raises(DataProblem, match=r"no column 'patient'.*sample"):
        open_any(file, opening=Opening(group="patient"))


def test_two_with_their_own_coordinates_are_apart(tmp_path: Path) -> None:
    section = open_any(st_file(tmp_path), msi_file(tmp_path), Opening(pixel_size_um=50, name="mouse 3"))
    assert section.name == "mouse 3"
    assert (section.st.n_obs, section.msi.n_obs) == (60, 120)
    assert not section.registered
    assert not section.paired
    assert section.summary()["pixel_size_um"] == pytest.approx(50)
    same = open_any(st_file(tmp_path), msi_file(tmp_path), Opening(pixel_size_um=50, same_frame=True))
    np.testing.assert_allclose(same.msi_to_st, np.eye(3))


def test_rows_that_are_merely_numbered_alike_are_not_paired(tmp_path: Path) -> None:
    st, msi = genes(120), ions(120)
    st.obsm["spatial"], msi.obsm["spatial"] = np.random.default_rng(0).random((120, 2)) * 99, grid()
    for table in (st, msi):
        table.obs_names = [str(i) for i in range(120)]
    section = open_any(write(st, tmp_path / "a.h5ad"), write(msi, tmp_path / "b.h5ad"))
    assert not section.paired
    assert section.has_msi


def test_regions_of_both_move_together(tmp_path: Path) -> None:
    st = st_file(tmp_path, roi=np.repeat(["A", "B"], 30))
    msi = msi_file(tmp_path, roi=np.repeat(["A", "B"], 60))
    section = open_any(st, msi, Opening(same_frame=True, um_per_unit=2.0))
    for table in (section.st, section.msi):
        moved = table.obsm["spatial"] - 2 * table.obsm["spatial_original"]
        for name in "AB":
            here = moved[(table.obs["section"] == name).to_numpy()]
            np.testing.assert_allclose(here, np.broadcast_to(here[0], here.shape), atol=1e-6)
    b_st = section.st.obs["section"] == "B"
    b_msi = section.msi.obs["section"] == "B"
    shift_st = (section.st.obsm["spatial"] - 2 * section.st.obsm["spatial_original"])[b_st.to_numpy()][0]
    shift_msi = (section.msi.obsm["spatial"] - 2 * section.msi.obsm["spatial_original"])[b_msi.to_numpy()][0]
    np.testing.assert_allclose(shift_st, shift_msi)
    assert section.msi_grid is not None  # regions moved by whole pixels
    assert section.msi_grid.pitch == pytest.approx((2, 2))


def test_positions_from_columns(tmp_path: Path) -> None:
    table = ions(120)
    table.obs["X"], table.obs["Y"] = grid()[:, 0], grid()[:, 1]
    section = open_any(write(table, tmp_path / "a.h5ad"), opening=Opening(um_per_unit=25))
    np.testing.assert_allclose(section.msi.obsm["spatial"], grid() * 25, atol=1e-9)
    assert not section.has_st


def test_visium_positions_are_scaled_by_their_lattice(tmp_path: Path) -> None:
    xy, array = hexagons()
    table = genes(100)
    table.obsm["spatial"] = xy / 0.4
    table.obs["array_row"], table.obs["array_col"] = array[:, 0], array[:, 1]
    section = open_any(write(table, tmp_path / "a.h5ad"))
    np.testing.assert_allclose(section.st.obsm["spatial"], xy, atol=1e-6)
    assert section.spots.diameter == pytest.approx(55)


def test_names_that_are_mz_make_msi(tmp_path: Path) -> None:
    table = ions(120)
    table.obsm["spatial"] = grid()
    del table.var["mz"]
    section = open_any(write(table, tmp_path / "a.h5ad"))
    assert section.has_msi
    np.testing.assert_allclose(section.ions["mz"], [700, 712.5, 725, 737.5, 750])


def test_metaspace_says_how_large_a_pixel_is(tmp_path: Path) -> None:
    table = ions(120)
    table.obsm["spatial"] = grid()
    table.uns["metaspace"] = {"metadata": {"MS_Analysis": {"Pixel_Size": {"Xaxis": 25.0, "Yaxis": 25.0}}}}
    section = open_any(write(table, tmp_path / "a.h5ad"))
    assert section.summary()["pixel_size_um"] == pytest.approx(25)
    assert section.notes == ()


def test_names_of_columns_that_zarr_cannot_hold(tmp_path: Path) -> None:
    table = ions(120)
    table.obsm["spatial"] = grid()
    table.obs["cell type"], table.obs["Cell type"], table.obs["region"] = "a", "b", "cortex"
    table.var["m/z error (ppm)"] = 1.0
    table.uns["my colours!"] = [1, 2]
    section = open_any(write(table, tmp_path / "a.h5ad"))
    again = open_any(save(section, tmp_path / "a.zarr"))
    obs = again.sdata.tables["msi"].obs
    assert (obs["cell_type"] == "a").all()
    assert (obs["Cell_type_"] == "b").all()
    assert (obs["region"] == "cortex").all()
    assert "m_z_error__ppm_" in again.msi.var


def test_different_units_are_pointed_out(tmp_path: Path) -> None:
    table = genes(60)
    table.obsm["spatial"] = np.random.default_rng(3).random((60, 2)) * 20_000  # full-resolution pixels
    section = open_any(write(table, tmp_path / "st.h5ad"), msi_file(tmp_path), Opening(pixel_size_um=10))
    assert any("probably not in µm" in note for note in section.notes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.obsm.pop("spatial"), "no positions"),
        (lambda t: t.obsm.update(spatial=np.full((120, 2), np.nan)), "120 of 120 rows of MSI have no position"),
        (lambda t: t.obsm.update(spatial=np.zeros((120, 2))), "lie exactly on another one"),
        (lambda t: t.obsm.update(spatial=np.zeros((120, 1))), "one coordinate only"),
        (lambda t: t.X.__setitem__((3, 2), np.nan), r"1 values of the ions are missing"),
        (lambda t: t.X.__setitem__((3, 2), -1), r"1 values of the ions are negative"),
        (lambda t: setattr(t, "obs_names", ["a"] * 120), "Some rows of the table have the same name"),
        (lambda t: setattr(t, "var_names", ["a"] * 5), "Some columns of the table have the same name"),
    ],
)
def test_bad_tables_are_told(tmp_path: Path, change: object, message: str) -> None:
    table = ions(120)
    table.obsm["spatial"] = grid()
    change(table)
    with pytest.raises(DataProblem, match=message):
        open_any(write(table, tmp_path / "a.h5ad"))


def test_an_empty_table_is_told(tmp_path: Path) -> None:
    table = genes(4)[:0].copy()
    table.obsm["spatial"] = np.zeros((0, 2))
    with pytest.raises(DataProblem, match="empty"):
        open_any(write(table, tmp_path / "a.h5ad"))


def test_what_is_no_anndata_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.h5ad").write_bytes(b"\x89HDF\r\n\x1a\n and no more")
    with pytest.raises(FileProblem, match="cannot be read as AnnData"):
        open_any(tmp_path / "a.h5ad")
    with pytest.raises(FileProblem, match="There is no"):
        open_any(st_file(tmp_path), tmp_path / "none.h5ad")


def test_mudata(tmp_path: Path) -> None:
    mudata = pytest.importorskip("mudata")
    st, msi, other = genes(60), ions(60), genes(60, g=3)
    st.obsm["spatial"] = msi.obsm["spatial"] = other.obsm["spatial"] = np.random.default_rng(0).random((60, 2)) * 300
    msi.obs_names = st.obs_names
    other.var_names = ["p1", "p2", "p3"]
    file = tmp_path / "a.h5mu"
    mudata.MuData({"rna": st, "msi": msi, "protein": other}).write_h5mu(file)
    section = open_any(file)
    assert section.paired
    assert section.st.n_vars == 8
    assert section.notes[-1] == "Modalities not used: protein."
    assert open_any(file, opening=Opening(st="protein")).st.n_vars == 3
    with pytest.raises(DataProblem, match=r"no modality 'dna'.*rna, msi, protein"):
        open_any(file, opening=Opening(st="dna"))
    for table in (st, msi):
        del table.obsm["spatial"]
    shared = mudata.MuData({"rna": st, "msi": msi})
    shared.obsm["spatial"] = np.random.default_rng(1).random((60, 2)) * 300
    shared.write_h5mu(tmp_path / "shared.h5mu")
    np.testing.assert_allclose(open_any(tmp_path / "shared.h5mu").st.obsm["spatial"], shared.obsm["spatial"])
    file.write_bytes(b"nothing")
    with pytest.raises(FileProblem, match="cannot be read as MuData"):
        open_any(file)


def test_real_tonsil(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "tonsil_imc_tofsims"
    section = open_any(folder / "proteins_imc.h5ad", folder / "ions_tofsims.h5ad")
    assert section.st.shape == (17_244, 26)
    assert section.paired_table.shape == (17_244, 189)
    assert sorted(set(section.st.obs["section"])) == [f"Donor{d}_{i}" for d in "AE" for i in (1, 2, 3)]
    again = open_any(save(section, tmp_path / "tonsil.zarr"))
    data = paired_dataset(again)
    assert len(data) == 17_244
    assert len(set(data.sections)) == 6
    measured = ad.read_h5ad(folder / "ions_tofsims.h5ad")
    np.testing.assert_array_equal(data.ions.X[:50], measured.X[:50])


def test_real_bladder(real_data: Path) -> None:
    folder = real_data / "mouse_bladder_msi"
    section = open_any(
        folder / "bladder_msi.h5ad",
        opening=Opening(pixel_size_um=10, histology=folder / "mouse_urinary_bladder_HE.tif"),
    )
    assert section.msi.shape == (34_840, 79)
    assert section.msi_grid.index.shape == (134, 260)
    assert not section.registered
    assert section.roles.image == "histology"
    assert any("stretched over the data" in note for note in section.notes)
    frame = pd.DataFrame(section.pixels("st2msi_msi").centres)
    from spatialdata import get_extent

    extent = get_extent(section.sdata["histology"], coordinate_system="st2msi")
    np.testing.assert_allclose(extent["x"], [frame[0].min() - 5, frame[0].max() + 5])
    np.testing.assert_allclose(extent["y"], [frame[1].min() - 5, frame[1].max() + 5])


def test_tables_without_values_are_told(tmp_path: Path) -> None:
    genes, msi = paired_files(tmp_path)
    for full, order in ((genes, (0, 1)), (msi, (1, 0))):
        table = ad.read_h5ad(full)
        bare = write(ad.AnnData(obs=table.obs, var=table.var, obsm=dict(table.obsm)), tmp_path / "bare.h5ad")
        with pytest.raises(DataProblem, match="has no values"):
            open_any(bare)
        pair = (bare, msi if order[0] == 0 else genes)
        with pytest.raises(DataProblem, match="has no values"):
            open_any(pair[order[0]], pair[order[1]])


@pytest.mark.parametrize("size", [np.nan, 0, -5.0, "unknown"])
def test_a_size_of_pixels_that_is_none_is_not_taken(tmp_path: Path, size: object) -> None:
    table = ad.read_h5ad(msi_file(tmp_path))
    table.uns["metaspace"] = {"metadata": {"MS_Analysis": {"Pixel_Size": {"Xaxis": size}}}}
    section = open_any(write(table, tmp_path / "metaspace.h5ad"))
    assert "does not say how large an MSI pixel is" in " ".join(section.notes)


@pytest.mark.parametrize("place", ["a", np.nan])
def test_columns_that_only_look_like_visium_are_passed_over(tmp_path: Path, place: object) -> None:
    file = st_file(tmp_path, array_row=[place] * 60, array_col=[1.0] * 60)
    assert "they are taken as µm" in " ".join(open_any(file).notes)
