"""Bent pixels as an image: every cell shows the pixel that lies there."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest
import shapely
from napari.layers import Image, Points

from bent import simulated, true_spline
from napari_st2msi.registration.confidence import confidence, keep_confidence
from napari_st2msi.registration.fit import fit
from napari_st2msi.registration.landmark_files import find_landmarks
from napari_st2msi.registration.persistence import apply
from napari_st2msi.section import CONFIDENCE
from napari_st2msi.shapes import squares
from napari_st2msi.viewer import layers, overlays
from napari_st2msi.viewer.explore_source import gather
from napari_st2msi.viewer.pictures import Pictures
from napari_st2msi.viewer.warped_pixels import cells_of


@pytest.fixture
def bent():
    section, truth = simulated()
    apply(section, true_spline())
    return section, truth


def places(site: layers.Site) -> tuple[np.ndarray, np.ndarray]:
    """Return where on the ST each cell of the image is drawn (x, y), and which pixel it shows."""
    rows, columns = np.indices(site.grid.index.shape).reshape(2, -1)
    drawn = np.column_stack([rows, columns, np.ones(len(rows))]) @ site.affine.T
    return drawn[:, 1::-1], site.grid.index.ravel()


def test_every_cell_shows_the_pixel_that_truly_lies_there(bent):
    section, truth = bent
    site = layers.pixel_site(section)
    xy, shown = places(site)
    # Straight edges between true corners: a cell may only be wrong at the very edge of a pixel.
    moving = truth.pose.to_msi(xy)
    grid = section.msi_grid
    column, row = ((moving - grid.to_um[:2, 2]) / grid.pitch).T
    inside = (row > -0.5) & (row < grid.index.shape[0] - 0.5) & (column > -0.5) & (column < grid.index.shape[1] - 0.5)
    expected = np.full(len(xy), -1)
    expected[inside] = grid.index[np.rint(row[inside]).astype(int), np.rint(column[inside]).astype(int)]
    edge = np.minimum(np.abs(row % 1 - 0.5), np.abs(column % 1 - 0.5)) < 0.06
    assert (shown[~edge] == expected[~edge]).all()
    assert edge.mean() < 0.3
    assert np.isin(np.arange(section.msi.n_obs), shown).all()
    # An affine alone would show other pixels in most places.
    matrix = section.msi_to_st
    straight = layers.Site(section.pixels("st2msi_msi"), matrix, grid)
    some = np.flatnonzero(~edge & inside)[::97]
    assert np.mean([straight.at(xy[cell]) == expected[cell] for cell in some]) < 0.8


def test_the_pixel_under_the_cursor_is_the_right_one(bent):
    section, _ = bent
    site = layers.pixel_site(section)
    np.testing.assert_allclose(site.positions, section.msi_xy_in_st, atol=1e-6)
    assert [site.at(xy) for xy in section.msi_xy_in_st[::37]] == list(range(0, section.msi.n_obs, 37))
    assert site.at(np.array([-1e5, 0.0])) is None


def test_ions_are_recoloured_in_place(viewer, bent):
    section, _ = bent
    gathered = gather(section, None, None, None)
    pictures = Pictures(viewer)
    pictures.set_source(gathered.source, gathered.sites)
    first, second = section.msi.var_names[:2]
    pictures.show_ion(first, "first")
    layer = pictures.layer("measured")
    assert isinstance(layer, Image)
    data = layer.data
    pictures.show_ion(second, "second")
    assert pictures.layer("measured") is layer
    assert layer.data is data
    values = np.asarray(section.msi[:, second].X).ravel()
    centre = section.msi_xy_in_st[100]
    assert layer.get_value(centre[::-1], world=True) == pytest.approx(values[100])
    assert pictures.at(tuple(centre[::-1]))["measured"] == pytest.approx(values[100])
    index = gathered.sites["pixels"].grid.index
    np.testing.assert_array_equal(np.isnan(data), index < 0)
    np.testing.assert_array_equal(data[index >= 0], values[index[index >= 0]])


def test_a_spline_takes_the_place_of_an_affine_and_back(viewer):
    section, _ = simulated()
    straight = fit(find_landmarks(section), "affine")
    apply(section, straight)
    overlays.show_section(viewer, section)
    total = layers.find(viewer, section, "tic")
    total.visible, total.opacity = False, 0.5
    apply(section, true_spline())
    overlays.show_section(viewer, section)
    bent = layers.find(viewer, section, "tic")
    assert bent.data.shape != section.msi_grid.index.shape
    assert (bent.visible, bent.opacity) == (False, 0.5)
    bent.visible = True
    centre = section.msi_xy_in_st[50]
    assert bent.get_value(centre[::-1], world=True) == pytest.approx(section.total_ions[50])
    # Landmarks of the MSI lie where the spline takes them, which is on those of the ST.
    moving, fixed = (layers.find(viewer, section, role).data for role in ("landmarks_msi", "landmarks_st"))
    assert np.abs(moving - fixed).max() < 0.1
    apply(section, straight)
    overlays.show_section(viewer, section)
    assert layers.find(viewer, section, "tic").data.shape == section.msi_grid.index.shape
    assert sum(layer.name == "total ion current" for layer in viewer.layers) == 1


def test_it_is_worked_out_once_for_each_registration(bent):
    section, _ = bent
    site = layers.pixel_site(section)
    assert layers.pixel_site(section) is site
    apply(section, fit(find_landmarks(section), "thin_plate"))
    assert layers.pixel_site(section) is not site


def test_bent_pixels_on_no_grid_are_points(viewer, make_section):
    section = make_section(regular=False)
    spline = true_spline()
    apply(section, spline)
    site = layers.pixel_site(section)
    layers.show_section(viewer, section)
    layer = layers.find(viewer, section, "tic")
    assert isinstance(layer, Points)
    np.testing.assert_allclose(site.positions, section.msi_xy_in_st, atol=1e-6)
    np.testing.assert_allclose(layer.data[:, ::-1], section.msi_xy_in_st, atol=1e-3)
    assert site.at(section.msi_xy_in_st[3]) == 3


def test_cells_are_those_whose_centre_a_polygon_covers():
    rng = np.random.default_rng(0)
    nodes = np.stack(np.meshgrid(np.arange(6), np.arange(6)), axis=-1).reshape(-1, 2) * 10.0
    corners = squares(nodes, 8.0) + rng.uniform(-4, 4, (36, 4, 2))
    corners[7] = corners[7, [0, 2, 1, 3]]  # crosses itself
    grid = cells_of(corners, (10.0, 10.0))
    rows, columns = np.indices(grid.index.shape).reshape(2, -1)
    centres = np.column_stack([columns, rows, np.ones(len(rows))]) @ grid.to_um.T
    covers = np.array(
        [shapely.contains_xy(shapely.Polygon(c), *centres[:, :2].T) for c in np.delete(corners, 7, axis=0)]
    )
    alone = np.flatnonzero(covers.sum(axis=0) == 1)
    found = grid.index.ravel()[alone]
    which = np.delete(np.arange(36), 7)[covers[:, alone].argmax(axis=0)]
    assert ((found == which) | (found == 7)).all()
    assert (grid.index.ravel()[covers.sum(axis=0) == 0] % 8 == 7).all()  # -1, or the one that crosses itself


def test_a_pixel_flung_far_out_does_not_fill_the_memory():
    nodes = np.stack(np.meshgrid(np.arange(50), np.arange(50)), axis=-1).reshape(-1, 2) * 10.0
    corners = squares(nodes, 10.0)
    corners[0] *= 1e7
    assert cells_of(corners, (10.0, 10.0)).index.size < 5_000_000


def lines_run(work: Callable[[], object]) -> int:
    """Return how many lines of Python some work takes, which tells loops over pixels from work on whole arrays."""
    count, before = 0, sys.gettrace()

    def trace(_frame: object, event: str, _what: object) -> object:
        nonlocal count
        count += event == "line"
        return trace

    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def test_nothing_is_done_pixel_by_pixel():
    """A hundred thousand bent pixels are laid out, and recoloured at every step through the ions, as whole arrays."""
    side = 316
    nodes = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2) * 10.0
    corners = squares(nodes, 10.0)
    corners += 30 * np.sin(corners[..., ::-1] / 400)
    grids = []
    assert lines_run(lambda: grids.append(cells_of(corners, (10.0, 10.0)))) < 1_000
    assert grids[0].index.size < 1_000_000
    assert lines_run(lambda: grids[0].image(np.arange(len(nodes), dtype=np.float32))) < 100


def test_confidence_is_a_grey_layer_that_waits_to_be_asked_for(viewer, bent):
    section, _ = bent
    overlays.show_confidence(viewer, section)
    assert layers.find(viewer, section, "confidence") is None
    judged = confidence(section, true_spline())
    keep_confidence(section, judged)
    overlays.show_section(viewer, section)
    layer = layers.find(viewer, section, "confidence")
    assert not layer.visible
    np.testing.assert_array_equal(layer.features["value"], section.st.obs[CONFIDENCE])
    grey = layer.face_color[:, :3]
    assert np.ptp(grey, axis=1).max() < 1e-6
    np.testing.assert_allclose(grey[:, 0], judged.value, atol=0.01)
    layer.visible = True
    overlays.show_confidence(viewer, section)
    assert layers.find(viewer, section, "confidence").visible
    apply(section, fit(find_landmarks(section), "affine"))
    overlays.show_section(viewer, section)
    assert layers.find(viewer, section, "confidence") is None
