"""SpatialData of any layout: what is what, where it lies, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import anndata as ad
import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
import spatialdata
import xarray
from reader_samples import genes, grid, hexagons, ions, small_section
from scipy.sparse import csr_matrix
from spatialdata.models import Image2DModel, Labels2DModel, PointsModel, ShapesModel, TableModel
from spatialdata.transformations import Affine, Identity, Scale

from napari_st2msi.errors import DataProblem, FileProblem
from napari_st2msi.io.open import open_any
from napari_st2msi.io.opening import Opening
from napari_st2msi.io.store import save
from napari_st2msi.section import ATTRS, MSI_SYSTEM, SYSTEM

pytestmark = pytest.mark.filterwarnings("ignore")
WIDTH, HEIGHT = 12, 10


def write(sdata: spatialdata.SpatialData, folder: Path, name: str = "file.zarr") -> Path:
    sdata.write(folder / name)
    return folder / name


def annotated(table: ad.AnnData, region: str, instances: object = None) -> ad.AnnData:
    table = table.copy()
    table.obs["region"] = pd.Categorical([region] * table.n_obs)
    table.obs["instance_id"] = np.arange(table.n_obs) if instances is None else instances
    return TableModel.parse(table, region=region, region_key="region", instance_key="instance_id")


def boxes(xy: np.ndarray, side: float) -> list:
    return list(shapely.box(*(xy - side / 2).T, *(xy + side / 2).T))


def thyra_like(pixel: float = 20.0, *, in_image_pixels: float = 1.0) -> spatialdata.SpatialData:
    """Table with text instances, pixel polygons in µm, an image of the total ion current, and attributes."""
    xy = grid(WIDTH, HEIGHT)
    table = ions(len(xy), k=6)
    table.X = csr_matrix(table.X)
    table.obs_names = [str(i) for i in range(len(xy))]
    table.obs["x"], table.obs["y"] = xy[:, 0].astype("int32"), xy[:, 1].astype("int32")
    frame = geopandas.GeoDataFrame(geometry=boxes(xy * pixel * in_image_pixels, pixel * in_image_pixels))
    frame.index = pd.Index(table.obs_names)
    systems = {"msi_dataset": Identity(), "global": Identity()}
    tic = xarray.DataArray(np.ones((1, HEIGHT, WIDTH)), dims=("c", "y", "x"))
    return spatialdata.SpatialData(
        tables={"msi_dataset_z0": annotated(table, "msi_dataset_z0_pixels", table.obs_names.to_numpy())},
        shapes={"msi_dataset_z0_pixels": ShapesModel.parse(frame, transformations=dict(systems))},
        images={"msi_dataset_z0_tic": Image2DModel.parse(tic, transformations=dict(systems))},
        attrs={"pixel_size_x_um": pixel, "pixel_size_y_um": pixel, "pixel_size_units": "micrometers"},
    )


def metaspace_like(pixel: float = 25.0, *, scaled: bool = True) -> spatialdata.SpatialData:
    """Table on points that count pixels, and a scale to µm."""
    xy = grid(WIDTH, HEIGHT)
    table = ions(len(xy), k=4)
    table.obs_names = pd.RangeIndex(len(xy)).astype(str)
    table.obs["ion_image_pixel_x"], table.obs["ion_image_pixel_y"] = xy[:, 0], xy[:, 1]
    table.uns["metaspace"] = {"metadata": {"MS_Analysis": {"Pixel_Size": {"Xaxis": pixel, "Yaxis": pixel}}}}
    scale = Scale([pixel, pixel], ("x", "y")) if scaled else Identity()
    points = PointsModel.parse(
        pd.DataFrame({"x": xy[:, 0], "y": xy[:, 1], "C6H12O6+K": 1.0}), transformations={"global": scale}
    )
    optical = np.random.default_rng(0).integers(0, 255, (HEIGHT * 8, WIDTH * 8, 3), dtype=np.uint8)
    to_um = Affine(
        np.array([[pixel / 8, 0, -pixel / 2], [0, pixel / 8, -pixel / 2], [0, 0, 1]]), ("x", "y"), ("x", "y")
    )
    return spatialdata.SpatialData(
        tables={"table": annotated(table, "maldi_points")},
        points={"maldi_points": points},
        images={"optical_image": Image2DModel.parse(optical, dims=("y", "x", "c"), transformations={"global": to_um})},
    )


def visium_like(um_per_pixel: float = 0.25, system: str = "slide") -> spatialdata.SpatialData:
    """What spatialdata-io writes: circles in full-resolution pixels, and no system named global."""
    xy, array = hexagons()
    table = genes(len(xy))
    table.obs["array_row"], table.obs["array_col"] = array[:, 0], array[:, 1]
    circles = ShapesModel.parse(
        xy / um_per_pixel, geometry=0, radius=32.5 / um_per_pixel, transformations={system: Identity()}
    )
    picture = np.full((3, 120, 110), 200, np.uint8)
    hires = Image2DModel.parse(
        picture,
        dims=("c", "y", "x"),
        transformations={system: Scale([10 / um_per_pixel, 10 / um_per_pixel], ("x", "y")), "hires": Identity()},
    )
    return spatialdata.SpatialData(
        tables={"table": annotated(table, "slide")}, shapes={"slide": circles}, images={"slide_hires_image": hires}
    )


def together(st: spatialdata.SpatialData, msi: spatialdata.SpatialData, **attrs: object) -> spatialdata.SpatialData:
    parts = {name: element for _, name, element in st.gen_elements()}
    parts |= {f"msi_{name}" if name in parts else name: element for _, name, element in msi.gen_elements()}
    return spatialdata.SpatialData.init_from_elements(parts, attrs={**msi.attrs, **attrs})


# -- layouts of others --------------------------------------------------------------------------------


def test_thyra_layout(tmp_path: Path) -> None:
    section = open_any(write(thyra_like(), tmp_path))
    assert section.roles.msi == "msi_dataset_z0"
    assert section.roles.image is None  # the total ion current is no histology
    assert section.msi.shape == (120, 6)
    np.testing.assert_allclose(section.msi.obsm["spatial"], grid(WIDTH, HEIGHT) * 20)
    assert section.summary()["pixel_size_um"] == pytest.approx(20)
    assert section.msi_grid.index.shape == (HEIGHT, WIDTH)
    assert section.notes == ()
    assert {"global", "msi_dataset", MSI_SYSTEM} <= set(section.sdata.coordinate_systems)


def test_thyra_layout_in_pixels_of_an_optical_image(tmp_path: Path) -> None:
    section = open_any(write(thyra_like(in_image_pixels=0.4), tmp_path))
    assert section.summary()["pixel_size_um"] == pytest.approx(20)
    assert "scaled by 2.5" in section.notes[0]


def test_the_users_pixel_size_wins(tmp_path: Path) -> None:
    section = open_any(write(thyra_like(), tmp_path), opening=Opening(pixel_size_um=50))
    assert section.summary()["pixel_size_um"] == pytest.approx(50)
    np.testing.assert_allclose(np.ptp(section.msi.obsm["spatial"][:, 0]), 50 * (WIDTH - 1))


@pytest.mark.parametrize("scaled", [True, False])
def test_metaspace_layout(tmp_path: Path, scaled: bool) -> None:
    section = open_any(write(metaspace_like(scaled=scaled), tmp_path))
    assert section.roles.msi_element == "msi_pixels"
    assert "maldi_points" in section.sdata.points
    np.testing.assert_allclose(section.msi.obsm["spatial"], grid(WIDTH, HEIGHT) * 25, atol=1e-6)
    np.testing.assert_allclose(section.pixels(MSI_SYSTEM).area, 625)
    assert section.roles.image == "optical_image"
    assert section.registered  # onto the optical image, as the file says
    if scaled:
        np.testing.assert_allclose(section.pixels().centres, grid(WIDTH, HEIGHT) * 25, atol=1e-6)


def test_squares_made_for_points_are_kept(tmp_path: Path) -> None:
    path = write(metaspace_like(), tmp_path)
    section = open_any(path)
    save(section)
    again = open_any(path)
    assert again.roles == section.roles
    np.testing.assert_allclose(again.pixels(MSI_SYSTEM).area, 625)
    assert sorted(again.sdata.shapes) == ["msi_pixels"]


def test_labels_layout(tmp_path: Path) -> None:
    labels = np.kron(np.arange(1, 121).reshape(HEIGHT, WIDTH), np.ones((3, 3), int))
    element = Labels2DModel.parse(labels, dims=("y", "x"), transformations={"global": Scale([10, 10], ("x", "y"))})
    sdata = spatialdata.SpatialData(
        tables={"ions": annotated(ions(120), "cells", np.arange(1, 121))}, labels={"cells": element}
    )
    section = open_any(write(sdata, tmp_path))
    assert section.summary()["pixel_size_um"] == pytest.approx(30)
    np.testing.assert_allclose(section.msi.obsm["spatial"], grid(WIDTH, HEIGHT) * 30 + 15)


def test_visium_layout(tmp_path: Path) -> None:
    section = open_any(write(visium_like(), tmp_path))
    xy, _ = hexagons()
    np.testing.assert_allclose(section.st.obsm["spatial"], xy, atol=1e-6)
    assert section.roles.image == "slide_hires_image"
    from spatialdata.transformations import get_transformation

    image = get_transformation(section.sdata["slide_hires_image"], SYSTEM).to_affine_matrix(("x", "y"), ("x", "y"))
    np.testing.assert_allclose(np.diag(image), [10, 10, 1])
    assert section.notes == ()


# -- ST and MSI in one file ---------------------------------------------------------------------------


def aligned(system: str, shift: float = 0.0) -> spatialdata.SpatialData:
    """Visium in pixels, and MSI that says how it lies in them: mirrored, 80 pixels wide."""
    msi = thyra_like()
    to_pixels = np.array([[-4.0, 0, 2800 + shift], [0, 4, 300 + shift], [0, 0, 1]])
    frame = msi.shapes["msi_dataset_z0_pixels"]
    msi.shapes["msi_dataset_z0_pixels"] = ShapesModel.parse(
        geopandas.GeoDataFrame(geometry=frame.geometry),
        transformations={"global": Identity(), system: Affine(to_pixels, ("x", "y"), ("x", "y"))},
    )
    return together(visium_like(system=system), msi)


def test_shared_system_registers(tmp_path: Path) -> None:
    section = open_any(write(aligned("slide"), tmp_path))
    assert section.registered
    assert "coordinate system 'slide'" in section.notes[-1]
    np.testing.assert_allclose(section.msi_to_st, [[-1, 0, 700], [0, 1, 75], [0, 0, 1]], atol=1e-6)
    assert section.summary()["pixel_size_um"] == pytest.approx(20)
    assert section.msi_grid is not None
    np.testing.assert_allclose(section.pixels().area, 400, rtol=1e-6)


def test_shared_system_without_overlap_does_not(tmp_path: Path) -> None:
    section = open_any(write(aligned("slide", shift=1e5), tmp_path))
    assert not section.registered
    assert "do not overlap" in section.notes[-1]


def test_nothing_shared_is_not_registered_unless_the_user_says_so(tmp_path: Path) -> None:
    path = write(together(visium_like(), thyra_like()), tmp_path)
    assert not open_any(path).registered
    section = open_any(path, opening=Opening(same_frame=True))
    np.testing.assert_allclose(section.msi_to_st, np.eye(3), atol=1e-9)


def test_msi_that_was_turned_keeps_its_rows(tmp_path: Path) -> None:
    msi = thyra_like()
    turn = np.array([[0.6, -0.8, 5], [0.8, 0.6, 7], [0, 0, 1]])
    frame = geopandas.GeoDataFrame(geometry=msi.shapes["msi_dataset_z0_pixels"].geometry)
    msi.shapes["msi_dataset_z0_pixels"] = ShapesModel.parse(
        frame, transformations={"global": Affine(turn, ("x", "y"), ("x", "y"))}
    )
    section = open_any(write(msi, tmp_path))
    assert section.msi_grid is not None
    assert section.summary()["pixel_size_um"] == pytest.approx(20)


# -- what is what -------------------------------------------------------------------------------------


def test_the_user_may_say_otherwise(tmp_path: Path) -> None:
    sdata = together(visium_like(), thyra_like())
    second = annotated(genes(100, g=3, seed=5), "slide")
    sdata.tables["with_nuclei"] = second
    path = write(sdata, tmp_path)
    first = open_any(path)
    assert first.roles.st == "table"
    assert any("Other tables in the file: with_nuclei" in note for note in first.notes)
    section = open_any(path, opening=Opening(st="with_nuclei", name="mine"))
    assert section.st.n_vars == 3
    assert section.name == "mine"
    with pytest.raises(DataProblem, match=r"no table 'tabel'.*Tables are: "):
        open_any(path, opening=Opening(st="tabel"))
    with pytest.raises(DataProblem, match="no 'elsewhere' in the file"):
        open_any(path, opening=Opening(st_element="elsewhere"))
    with pytest.raises(DataProblem, match="is no image"):
        open_any(path, opening=Opening(image="slide"))


def test_sections_are_named_by_a_column(tmp_path: Path) -> None:
    sdata = visium_like()
    sdata.tables["table"].obs["mouse"] = np.repeat(["m1", "m2"], 50)
    path = write(sdata, tmp_path)
    section = open_any(path, opening=Opening(group="mouse"))
    assert section.st.obs["section"].value_counts().to_dict() == {"m1": 50, "m2": 50}
    save(section)
    assert set(open_any(path).st.obs["section"]) == {"m1", "m2"}
    with pytest.raises(DataProblem, match="no column 'donor'"):
        open_any(path, opening=Opening(group="donor"))


def test_one_table_is_one_thing(tmp_path: Path) -> None:
    path = write(thyra_like(), tmp_path)
    section = open_any(path, opening=Opening(st="msi_dataset_z0"))
    assert section.has_st
    assert not section.has_msi


def test_an_element_that_does_not_belong_is_told(tmp_path: Path) -> None:
    path = write(together(visium_like(), thyra_like()), tmp_path)
    with pytest.raises(DataProblem, match="no counterpart in 'slide'"):
        open_any(path, opening=Opening(msi_element="slide"))


def test_tables_that_annotate_nothing(tmp_path: Path) -> None:
    table = ions(120)
    sdata = spatialdata.SpatialData(tables={"ions": TableModel.parse(table.copy())})
    loose = open_any(write(sdata, tmp_path, "loose.zarr"))
    assert loose.roles.msi_element is None
    assert "choose its element" in loose.notes[0]
    table.obsm["spatial"] = grid(WIDTH, HEIGHT)
    placed = open_any(
        write(spatialdata.SpatialData(tables={"ions": TableModel.parse(table.copy())}), tmp_path, "placed.zarr"),
        opening=Opening(pixel_size_um=10),
    )
    np.testing.assert_allclose(placed.msi.obsm["spatial"], grid(WIDTH, HEIGHT) * 10, atol=1e-9)
    pixels = geopandas.GeoDataFrame(geometry=boxes(grid(WIDTH, HEIGHT) * 5, 5))
    both = spatialdata.SpatialData(
        tables={"ions": TableModel.parse(ions(120))}, shapes={"squares": ShapesModel.parse(pixels)}
    )
    path = write(both, tmp_path, "both.zarr")
    linked = open_any(path, opening=Opening(msi_element="squares"))
    assert any("row by row" in note for note in linked.notes)
    np.testing.assert_allclose(linked.msi.obsm["spatial"], grid(WIDTH, HEIGHT) * 5)
    assert open_any(save(linked)).roles.msi_element == "squares"


def test_images_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(small_section(), tmp_path / "brain.zarr")
    shutil.rmtree(path / "images" / "histology" / "s0" / "c")  # reading a pixel would now give nothing
    monkeypatch.setattr("dask.array.Array.compute", lambda *_: pytest.fail("an image was read"))
    section = open_any(path)
    assert section.roles.image == "histology"
    section.summary()


# -- what is refused ----------------------------------------------------------------------------------


def test_damaged_stores_are_told(tmp_path: Path) -> None:
    path = save(small_section(image=False), tmp_path / "brain.zarr")
    whole = shutil.copytree(path, tmp_path / "whole.zarr")
    (path / "shapes" / "st_spots" / "shapes.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(FileProblem, match="cannot be read as SpatialData"):
        open_any(path)
    shutil.rmtree(path)
    shutil.copytree(whole, path)
    (path / "zarr.json").write_text((path / "zarr.json").read_text()[:50])
    with pytest.raises(FileProblem, match="is damaged"):
        open_any(path)
    (path / "zarr.json").unlink()
    with pytest.raises(FileProblem, match=r"no zarr\.json"):
        open_any(path)


def test_other_zarrs_are_told(tmp_path: Path) -> None:
    import zarr

    zarr.create_group(tmp_path / "other.zarr")
    with pytest.raises(FileProblem, match="holds nothing that SpatialData knows"):
        open_any(tmp_path / "other.zarr")
    only = spatialdata.SpatialData(shapes=dict(visium_like().shapes))
    with pytest.raises(DataProblem, match="no table of genes or ions"):
        open_any(write(only, tmp_path, "shapes.zarr"))


def test_a_store_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = save(small_section(image=False), tmp_path / "brain.zarr")
    array = path / "tables" / "msi" / "X" / "zarr.json"
    content = json.loads(array.read_text())
    content["codecs"] = [{"name": "numcodecs.pickle", "configuration": {}}]
    array.write_text(json.dumps(content))
    with pytest.raises(FileProblem, match="could run code"):
        open_any(path)
    older = array.with_name(".zarray")
    older.write_text(json.dumps({"zarr_format": 2, "filters": [{"id": "pickle", "protocol": 5}]}))
    content["codecs"] = [{"name": "bytes"}]
    array.write_text(json.dumps(content))
    with pytest.raises(FileProblem, match="could run code"):
        open_any(path)
    older.unlink()
    array.write_text(json.dumps(content))
    root = path / "zarr.json"
    content = json.loads(root.read_text())
    content["consolidated_metadata"]["metadata"]["tables/../../../secret"] = {}
    root.write_text(json.dumps(content))
    with pytest.raises(FileProblem, match="outside of its own folder"):
        open_any(path)


def test_sizes_are_not_changed_behind_the_users_back(tmp_path: Path) -> None:
    path = save(small_section(image=False), tmp_path / "brain.zarr")
    section = open_any(path, opening=Opening(pixel_size_um=10))
    assert section.summary()["pixel_size_um"] == pytest.approx(100)
    assert "convert anew" in section.notes[0]


def test_a_newer_layout_is_refused(tmp_path: Path) -> None:
    section = small_section(image=False)
    path = save(section, tmp_path / "brain.zarr")
    section.remember(version=99)
    section.sdata.path = path
    section.sdata.write_attrs()
    section.sdata.write_consolidated_metadata()
    with pytest.raises(FileProblem, match="newer version of napari-st2msi"):
        open_any(path)


@pytest.mark.parametrize(
    "facts",
    [
        "text",
        {"version": "1"},
        {"roles": ["msi"]},
        {"group": ["roi"]},
        {"pairing": "text"},
        {"registration": []},
    ],
)
def test_what_this_package_cannot_have_written_is_told(tmp_path: Path, facts: object) -> None:
    sdata = thyra_like()
    sdata.attrs[ATTRS] = facts
    with pytest.raises(FileProblem, match="is damaged: its attributes"):
        open_any(write(sdata, tmp_path))


@pytest.mark.parametrize("role", [["msi_dataset_z0"], "nowhere", 5])
def test_saved_roles_that_do_not_fit_are_found_anew(tmp_path: Path, role: object) -> None:
    sdata = thyra_like()
    sdata.attrs[ATTRS] = {"roles": {"msi": role}}
    assert open_any(write(sdata, tmp_path)).roles.msi == "msi_dataset_z0"


def test_metadata_nested_without_end_is_told(tmp_path: Path) -> None:
    path = write(thyra_like(), tmp_path)
    (path / "zarr.json").write_text("[" * 200_000)
    with pytest.raises(FileProblem, match="is no JSON"):
        open_any(path)
