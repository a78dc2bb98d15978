"""Core results as layers: made once, found again, updated in place."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image, Points

from napari_st2msi.io.landmarks import landmark_elements
from napari_st2msi.viewer import layers, overlays
from napari_st2msi.viewer.explore_source import gather
from napari_st2msi.viewer.ion_values import Columns, IonSource, limits_of, rows_of, spread_of
from napari_st2msi.viewer.pictures import Pictures


def show(pictures, section, measured=None, guess=None):
    gathered = gather(section, None if measured is None else measured.ions, None, guess)
    pictures.set_source(gathered.source, gathered.sites)
    return gathered


@pytest.fixture
def pictures(viewer):
    return Pictures(viewer)


def test_a_grid_is_an_image_in_micrometres_with_missing_pixels_transparent(viewer, pictures, section):
    show(pictures, section)
    pictures.show_ion("ion1", "m/z 616.1000 heme")
    layer = pictures.layer("measured")
    assert isinstance(layer, Image)
    assert layer.data.dtype == np.float32
    assert layer.data.shape == (5, 6)
    assert np.isnan(layer.data[4, 5])
    assert layer.colormap.map(np.array([np.nan]))[0, 3] == 0
    # The pixel in row 2 and column 3 lies at x = 30, y = 20 µm.
    np.testing.assert_allclose(layer.data_to_world((2, 3)), (20, 30))
    value = layer.get_value((20, 30), world=True)
    row = 2 * 6 + 3
    assert value == pytest.approx(float(section.msi[row, "ion1"].X[0, 0]))
    assert str(layer.units[0]) == "micrometer"
    assert viewer.canvas.overlays.scale_bar.visible


def test_irregular_pixels_are_points(pictures, make_section):
    section = make_section(regular=False)
    show(pictures, section)
    pictures.show_ion("ion1", "heme")
    assert isinstance(pictures.layer("measured"), Points)
    assert len(pictures.layer("measured").data) == section.msi.n_obs


def test_switching_ions_makes_no_layers_and_changes_data_names_and_limits(viewer, pictures, section, measured, guess):
    show(pictures, section, measured, guess)
    pictures.show_ion("ion0", "first")
    before = list(viewer.layers)
    for ion in ("ion1", "ion2", "ion3"):
        pictures.show_ion(ion, f"label of {ion}")
    assert list(viewer.layers) == before
    assert [layer.name for layer in before] == [f"{p} · label of ion3" for p in ("measured", "predicted", "residual")]
    image, predicted, residual = before
    truth = np.asarray(section.msi[:, "ion3"].X).ravel()
    np.testing.assert_array_equal(image.data[np.isfinite(image.data)], truth)
    np.testing.assert_allclose(predicted.features["value"], np.asarray(guess[:, "ion3"].X).ravel())
    difference = np.asarray(measured.ions[:, "ion3"].X).ravel() - np.asarray(guess[:, "ion3"].X).ravel()
    np.testing.assert_allclose(residual.features["value"], difference)
    assert tuple(image.contrast_limits) == pytest.approx(limits_of(truth)[0])


def test_measured_and_predicted_share_limits_and_residual_is_symmetric(pictures, section, measured, guess):
    show(pictures, section, measured, guess)
    pictures.show_ion("ion0", "x")
    values = pictures.values
    low, high = values.limits
    from napari.utils.colormaps import ensure_colormap

    viridis, diverging = ensure_colormap(layers.INTENSITY), ensure_colormap(layers.DIVERGING)
    expected = viridis.map((values.predicted - low) / (high - low))
    np.testing.assert_allclose(pictures.layer("predicted").face_color, expected, atol=1e-3)
    finite = np.isfinite(values.residual)
    expected = diverging.map((values.residual[finite] + values.spread) / (2 * values.spread))
    np.testing.assert_allclose(pictures.layer("residual").face_color[finite], expected, atol=1e-3)


def test_a_spot_without_msi_is_transparent_and_not_zero(pictures, section, measured, guess):
    show(pictures, section, measured, guess)
    pictures.show_ion("ion0", "x")
    layer = pictures.layer("residual")
    assert np.isnan(layer.features["value"].to_numpy()[7])
    assert layer.face_color[7, 3] == 0
    assert (layer.face_color[:7, 3] == 1).all()
    # Small markers are mixed with their border, though it has no width.
    np.testing.assert_allclose(layer.border_color, layer.face_color)


def test_a_layer_deleted_by_hand_is_not_missed_and_comes_back_when_asked_for(
    viewer, pictures, section, measured, guess
):
    show(pictures, section, measured, guess)
    pictures.show_ion("ion0", "x")
    viewer.layers.remove(pictures.layer("predicted"))
    pictures.show_ion("ion1", "y")
    assert pictures.layer("predicted") is None
    assert len(viewer.layers) == 2
    pictures.show("predicted", "y")
    assert pictures.layer("predicted").visible
    assert pictures.layer("predicted").name == "predicted · y"
    np.testing.assert_allclose(pictures.layer("predicted").features["value"], np.asarray(guess[:, "ion1"].X).ravel())


def test_all_layers_deleted_by_hand_are_survived(viewer, pictures, section, measured, guess):
    show(pictures, section, measured, guess)
    pictures.show_ion("ion0", "x")
    viewer.layers.clear()
    pictures.show_ion("ion1", "y")
    pictures.set_grid(True)
    pictures.show("measured", "y")
    assert pictures.layer("measured").visible


def test_a_layer_renamed_by_hand_is_still_ours(viewer, pictures, section):
    show(pictures, section)
    pictures.show_ion("ion0", "x")
    pictures.layer("measured").name = "my favourite"
    pictures.show_ion("ion1", "y")
    assert len(viewer.layers) == 1
    assert viewer.layers[0].name == "measured · y"


def test_two_sections_do_not_mix(viewer, pictures, make_section):
    one, two = make_section("one", seed=1), make_section("two", seed=2)
    show(pictures, one)
    pictures.show_ion("ion0", "x")
    first = pictures.layer("measured")
    kept = first.data.copy()
    show(pictures, two)
    pictures.show_ion("ion3", "y")
    assert pictures.layer("measured") is not first
    np.testing.assert_array_equal(first.data, kept)
    assert not first.visible
    assert pictures.layer("measured").visible
    show(pictures, one)
    pictures.show_ion("ion2", "z")
    assert pictures.layer("measured") is first
    assert len(viewer.layers) == 2


def test_before_registration_msi_lies_beside_the_spots_and_afterwards_over_them(pictures, make_section):
    section = make_section(registered=False)
    show(pictures, section)
    pictures.show_ion("ion0", "x")
    layer = pictures.layer("measured")
    assert layer.extent.world[0, 1] >= section.spots.centres[:, 0].max()
    from spatialdata.transformations import Identity, set_transformation

    set_transformation(section.sdata[section.roles.msi_element], Identity(), "st2msi")
    show(pictures, section)
    pictures.show_ion("ion0", "x")
    assert pictures.layer("measured") is layer
    np.testing.assert_allclose(layer.data_to_world((0, 0)), (0, 0), atol=1e-9)


def test_the_ion_looked_at_moves_with_a_new_registration_at_once(viewer, pictures, make_section):
    from spatialdata.transformations import Affine, set_transformation

    section = make_section(registered=False)
    show(pictures, section)
    pictures.show_ion("ion0", "x")
    turned = Affine(np.array([[0.0, 1, 3], [1, 0, 5], [0, 0, 1]]), ("x", "y"), ("x", "y"))
    set_transformation(section.sdata[section.roles.msi_element], turned, "st2msi")
    layers.show_section(viewer, section)
    total = layers.find(viewer, section, "tic")
    np.testing.assert_allclose(pictures.layer("measured").extent.world, total.extent.world)


def test_a_mirrored_and_turned_registration_is_drawn_where_pairing_puts_it(make_section):
    section = make_section(registered=False)
    from spatialdata.transformations import Affine, set_transformation

    matrix = np.array([[0.0, -2.0, 5.0], [-2.0, 0.0, 7.0], [0.0, 0.0, 1.0]])
    set_transformation(section.sdata[section.roles.msi_element], Affine(matrix, ("x", "y"), ("x", "y")), "st2msi")
    site = layers.pixel_site(section)
    rows, columns = np.nonzero(section.msi_grid.index >= 0)
    drawn = np.column_stack([rows, columns, np.ones(len(rows))]) @ site.affine.T
    order = section.msi_grid.index[rows, columns]
    np.testing.assert_allclose(drawn[:, 1::-1], section.pixels().centres[order])


def test_the_stained_section_is_multiscale_rgb_with_the_pixel_corner_at_the_origin(viewer):
    from napari_st2msi.io.build import build_section

    image = np.zeros((1200, 1100, 3), dtype=np.uint8)
    st = make_spots()
    section = build_section(
        st=st, st_xy=np.array([[0.0, 0], [50, 50]]), spot_diameter_um=5, image=image, image_to_um=np.diag([2, 2, 1])
    )
    layer = layers.show_histology(viewer, section)
    assert layer.rgb
    assert layer.multiscale
    np.testing.assert_allclose(layer.data_to_world((0, 0)), (1, 1))
    assert layers.show_histology(viewer, section) is layer


def make_spots():
    from anndata import AnnData

    return AnnData(np.ones((2, 2), dtype=np.float32))


def test_spots_have_their_true_size(viewer, section):
    layer = layers.show_spots(viewer, section)
    assert layer.size == pytest.approx(8.0)


def test_side_by_side_shows_all_and_a_stack_one(viewer, pictures, section, measured, guess):
    show(pictures, section, measured, guess)
    pictures.show_ion("ion0", "x")

    def visible():
        return [p for p in ("measured", "predicted", "residual") if pictures.layer(p).visible]

    assert visible() == ["measured"]
    pictures.show("residual", "x")
    assert visible() == ["residual"]
    pictures.set_grid(True)
    assert visible() == ["measured", "predicted", "residual"]
    assert viewer.canvas.grid.enabled
    pictures.show("predicted", "x")
    assert visible() == ["measured", "residual"]
    pictures.set_grid(False)
    assert visible() == ["residual"]


def test_blinking_shows_the_other_while_held(pictures, section, measured, guess):
    show(pictures, section, measured, guess)
    pictures.show_ion("ion0", "x")
    assert pictures.blink(True)
    assert pictures.layer("predicted").visible
    assert not pictures.layer("measured").visible
    assert pictures.blink(False)
    assert pictures.layer("measured").visible
    assert not pictures.layer("predicted").visible


def test_values_under_the_cursor_of_pixels_and_spots(pictures, section, measured, guess):
    show(pictures, section, measured, guess)
    pictures.show_ion("ion0", "x")
    pictures.set_grid(True)
    x, y = section.spots.centres[0]
    found = pictures.at((y, x))
    assert found["predicted"] == pytest.approx(float(guess[0, "ion0"].X[0, 0]))
    assert found["measured"] == pytest.approx(float(section.msi[0, "ion0"].X[0, 0]))
    assert pictures.at((-500.0, -500.0)) == {}


def test_an_ion_that_was_not_predicted_is_missing_and_not_the_ion_before(pictures, section, measured, guess):
    show(pictures, section, measured, guess[:, ["ion0", "ion1"]].copy())
    pictures.show_ion("ion0", "x")
    pictures.show_ion("ion3", "y")
    assert pictures.layer("predicted").features["value"].isna().all()
    assert (pictures.layer("predicted").face_color[:, 3] == 0).all()


def test_measured_can_be_looked_at_per_spot(pictures, section, measured, guess):
    show(pictures, section, measured, guess)
    pictures.show_ion("ion0", "x")
    pictures.measure_at("spots", "x")
    layer = pictures.layer("measured")
    assert isinstance(layer, Points)
    np.testing.assert_allclose(layer.features["value"], np.asarray(measured.ions[:, "ion0"].X).ravel())


# -- values -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csr_matrix", "csc_matrix"])
def test_columns_of_sparse_tables_equal_those_of_dense_ones(section, kind):
    import scipy.sparse

    table = section.msi.copy()
    dense = Columns(table).take("ion2")
    table.X = getattr(scipy.sparse, kind)(table.X)
    columns = Columns(table)
    np.testing.assert_array_equal(columns.take("ion2"), dense)
    columns.prepare()
    np.testing.assert_array_equal(columns.take("ion2"), dense)


def test_limits_go_from_zero_to_the_hotspots_and_survive_odd_ions():
    assert limits_of(np.array([])) == ((0.0, 1.0), False)
    assert limits_of(np.full(3, np.nan)) == ((0.0, 1.0), False)
    assert limits_of(np.zeros(5)) == ((0.0, 1.0), False)
    rare = np.zeros(1000)
    rare[0] = 7.0
    assert limits_of(rare) == ((0.0, 7.0), False)
    (low, high), clipped = limits_of(np.arange(1001.0))
    assert (low, high, clipped) == (0.0, 995.0, True)
    assert spread_of(np.array([-3.0, np.nan, 2.0])) == 3.0
    assert spread_of(None) == 1.0


def test_spots_of_several_sections_are_told_apart(make_section, measured, guess):
    one, two = make_section("one"), make_section("two")
    joined = guess.copy()
    joined.obs_names = [f"two:{name}" for name in joined.obs_names]
    joined.obs["section"] = "two"
    assert (rows_of(two, joined) == np.arange(8)).all()
    assert (rows_of(one, joined) == -1).all()


def test_pixels_are_left_out_when_the_prediction_is_in_other_units(section, measured, guess):
    guess.layers["measured"] = np.asarray(measured.ions.X)
    assert IonSource(section, measured.ions, guess).pixels is not None
    guess.layers["measured"] = np.asarray(measured.ions.X) * 0.01
    source = IonSource(section, measured.ions, guess)
    assert source.pixels is None
    np.testing.assert_allclose(
        source.values("ion0").residual, guess[:, "ion0"].layers["measured"].ravel() - guess[:, "ion0"].X.ravel()
    )


def test_side_by_side_gives_no_cells_to_what_lies_over_the_tissue(viewer, pictures, section, measured, guess):
    layers.show_section(viewer, section)
    show(pictures, section, measured, guess)
    pictures.show_ion("ion0", "x")
    spots, total = (layers.find(viewer, section, role) for role in ("spots", "tic"))
    spots.visible, total.visible = True, False
    pictures.set_grid(True)
    assert not spots.visible
    pictures.set_grid(False)
    assert spots.visible
    assert not total.visible


def test_naparis_own_button_of_the_grid_does_the_same(viewer, pictures, section, measured, guess):
    layers.show_section(viewer, section)
    show(pictures, section, measured, guess)
    pictures.show_ion("ion0", "x")
    layers.find(viewer, section, "spots").visible = True

    def visible():
        return [layer.name for layer in viewer.layers if layer.visible]

    viewer.canvas.grid.enabled = True
    assert visible() == ["measured · x", "predicted · x", "residual · x"]
    viewer.canvas.grid.enabled = False
    assert visible() == ["ST spots", "measured · x"]


def test_on_another_page_the_grid_brings_no_pictures(viewer, pictures, section, measured, guess):
    show(pictures, section, measured, guess)
    pictures.show_ion("ion0", "x")
    pictures.put_away()
    viewer.canvas.grid.enabled = True
    assert not any(layer.visible for layer in viewer.layers)
    pictures.arrange()
    assert all(layer.visible for layer in viewer.layers)


@pytest.mark.parametrize("registered", [False, True])
def test_landmarks_are_seen_while_msi_lies_beside_st_and_afterwards_only_by_hand(viewer, make_section, registered):
    section = make_section(registered=registered)
    points = np.array([[0.0, 0.0], [40.0, 0.0], [0.0, 30.0]])
    section.sdata.points.update(landmark_elements(["1", "2", "3"], points, points))
    overlays.show_landmarks(viewer, section)
    st, msi = (layers.find(viewer, section, role) for role in ("landmarks_st", "landmarks_msi"))
    assert (st.visible, msi.visible) == (not registered, not registered)
    assert st.text.visible
    assert msi.text.visible is not registered, "over each other the same number would be read twice"
    st.visible = msi.visible = not st.visible
    overlays.show_landmarks(viewer, section)
    assert st.visible is msi.visible is registered, "what was chosen by hand stays"


@pytest.mark.parametrize("everywhere", [False, True])
def test_coverage_is_seen_at_once_only_where_spots_have_no_ions(viewer, section, measured, everywhere):
    if everywhere:
        measured.ions.X[7] = 1
    overlays.show_coverage(viewer, section, measured)
    assert layers.find(viewer, section, "coverage").visible is not everywhere
