"""What is saved is opened aligned by others: plain spatialdata, and napari-spatialdata."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bent import on_a_grid, simulated, true_spline
from napari_st2msi.io.store import save
from napari_st2msi.registration.fit import fit
from napari_st2msi.registration.persistence import apply

#: Pixels of 50 µm; an aligned reader is right to far less.
NEAR_UM = 3.0


@pytest.fixture(scope="module", params=["affine", "thin_plate"])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, str]:
    """A saved section as plain spatialdata reads it, the truth, and the element that shows where MSI lies."""
    from spatialdata import read_zarr

    # Without a warp an affine is the truth; with one, only a spline is.
    affine = request.param == "affine"
    section, truth = simulated(0.0 if affine else 200.0)
    apply(section, fit(on_a_grid(section, truth, 4), "affine") if affine else true_spline())
    path = save(section, tmp_path_factory.mktemp("readers") / "one.zarr")
    return read_zarr(path), (section, truth), "msi_pixels" if affine else "msi_pixels_warped"


def true_corners(facts: Any) -> np.ndarray:
    section, truth = facts
    return truth.pose.to_st(section.pixels("st2msi_msi").corners)


def as_drawn(layer: Any) -> np.ndarray:
    """Return (n, 4, 2) corners of polygons, x and y, where a layer draws them."""
    polygons = np.array([polygon[:4, -2:] for polygon in layer.data])
    matrix = layer.affine.affine_matrix[-3:, -3:]
    return (polygons @ matrix[:2, :2].T + matrix[:2, 2])[..., ::-1]


def test_transform_brings_every_pixel_to_its_place(written: tuple[Any, Any, str]) -> None:
    import spatialdata

    sdata, facts, element = written
    moved = spatialdata.transform(sdata[element], to_coordinate_system="st2msi")
    corners = np.array([np.asarray(polygon.exterior.coords)[:4] for polygon in moved.geometry])
    assert np.linalg.norm(corners - true_corners(facts), axis=2).max() < NEAR_UM
    spots = spatialdata.transform(sdata["st_spots"], to_coordinate_system="st2msi")
    np.testing.assert_allclose(np.column_stack([spots.geometry.x, spots.geometry.y]), facts[0].spots.centres)
    # The element as it was measured stays what it was, and lies over the ST by the nearest affine.
    assert {"st2msi", "st2msi_msi"} <= set(
        spatialdata.transformations.get_transformation(sdata["msi_pixels"], get_all=True)
    )


def test_extents_agree(written: tuple[Any, Any, str]) -> None:
    from spatialdata import get_extent

    sdata, facts, element = written
    extent = get_extent(sdata[element], coordinate_system="st2msi")
    corners = true_corners(facts)
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    np.testing.assert_allclose([extent["x"], extent["y"]], np.column_stack([low, high]), atol=NEAR_UM)
    together = get_extent(sdata, coordinate_system="st2msi", elements=[element, "st_spots"])
    spots = facts[0].spots.centres
    assert together["x"][0] == pytest.approx(min(low[0], spots[:, 0].min() - 27.5), abs=NEAR_UM)


def test_a_box_over_the_st_cuts_out_the_same_tissue_of_both(written: tuple[Any, Any, str]) -> None:
    import spatialdata

    sdata, facts, element = written
    section, truth = facts
    centre = section.spots.centres.mean(axis=0)
    low, high = centre - 400, centre + 400
    cut = spatialdata.bounding_box_query(
        sdata, axes=("x", "y"), min_coordinate=low, max_coordinate=high, target_coordinate_system="st2msi"
    )
    found = cut[element].index.to_numpy()
    true = truth.pose.to_st(np.asarray(section.msi.obsm["spatial"]))
    well_inside = np.flatnonzero(((true > low + 30) & (true < high - 30)).all(axis=1))
    well_outside = np.flatnonzero(((true < low - 60) | (true > high + 60)).any(axis=1))
    assert len(well_inside) > 100
    assert np.isin(well_inside, found).all()
    assert not np.isin(well_outside, found).any()
    spots = section.spots.centres
    inside = ((spots > low + 30) & (spots < high - 30)).all(axis=1)
    assert np.isin(np.flatnonzero(inside), cut["st_spots"].index).all()


def test_landmarks_of_both_sides_meet(written: tuple[Any, Any, str]) -> None:
    from spatialdata import get_centroids

    sdata, _, element = written
    moving, fixed = (
        get_centroids(sdata[name], coordinate_system="st2msi").compute()[["x", "y"]].to_numpy()
        for name in ("landmarks_msi", "landmarks_st")
    )
    away = np.linalg.norm(moving - fixed, axis=1)
    # Points have one transformation each: of a spline, readers know the nearest affine.
    assert away.max() < (NEAR_UM if element == "msi_pixels" else 200.0)


def test_napari_spatialdata_shows_it_aligned(written: tuple[Any, Any, str], make_napari_viewer: Any) -> None:
    from napari.utils.events import EventedList
    from napari_spatialdata._viewer import SpatialDataViewer

    sdata, facts, element = written
    viewer = make_napari_viewer()
    reader = SpatialDataViewer(viewer, EventedList(data=[sdata]))
    reader.add_sdata_shapes(sdata, element, "st2msi", False)
    reader.add_sdata_circles(sdata, "st_spots", "st2msi", False)
    reader.add_sdata_image(sdata, "histology", "st2msi", False)
    pixels, spots, histology = viewer.layers
    assert np.abs(as_drawn(pixels) - true_corners(facts)).max() < NEAR_UM
    centres = facts[0].spots.centres[:, ::-1]
    drawn = np.array([spots.data_to_world(point) for point in spots.data])[:, -2:]
    np.testing.assert_allclose(drawn, centres, atol=1e-6)
    shown = histology.extent.world[:, -2:]
    assert (shown[0] < centres.min(axis=0)).all()
    assert (shown[1] > centres.max(axis=0)).all()


def test_interactive_of_napari_spatialdata_adds_them(
    written: tuple[Any, Any, str], make_napari_viewer: Any, qtbot: Any
) -> None:
    import napari_spatialdata

    sdata, facts, element = written
    viewer = make_napari_viewer()
    window = napari_spatialdata.Interactive(sdata, headless=True)
    for name in (element, "st_spots"):
        window.add_element(name, element_coordinate_system="st2msi", view_element_system=True)
        # It reads polygons on a thread of its own.
        qtbot.waitUntil(lambda name=name: name in viewer.layers, timeout=60_000)
    assert [layer.name for layer in viewer.layers] == [element, "st_spots"]
    assert np.abs(as_drawn(viewer.layers[element]) - true_corners(facts)).max() < NEAR_UM
    spots = viewer.layers["st_spots"]
    drawn = np.array([spots.data_to_world(point) for point in spots.data])[:, -2:]
    np.testing.assert_allclose(drawn, facts[0].spots.centres[:, ::-1], atol=1e-6)
