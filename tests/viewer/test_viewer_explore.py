"""The Explore dock, by mouse and keys."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from napari.components import ViewerModel
from napari.utils.action_manager import action_manager
from napari.utils.key_bindings import KeymapHandler
from napari.utils.shortcuts import _default_shortcuts
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_st2msi.errors import DataProblem
from napari_st2msi.io.build import build_section
from napari_st2msi.viewer.docks import explore
from napari_st2msi.viewer.docks.explore import ExploreDock
from napari_st2msi.viewer.ion_model import IonModel
from napari_st2msi.viewer.ion_query import matches
from napari_st2msi.viewer.ion_table import IonTable
from napari_st2msi.viewer.layers import VALUE, find


@pytest.fixture(autouse=True)
def _naparis_keys():
    """Bind the keys of napari that ours must get along with, as its window does."""
    actions = ("activate_labels_paint_mode", "activate_points_add_mode", "hold_for_pan_zoom", "new_label")
    for action in actions:
        for key in _default_shortcuts[f"napari:{action}"]:
            action_manager.bind_shortcut(f"napari:{action}", key)


@pytest.fixture
def dock(viewer, qtbot):
    dock = ExploreDock(viewer)
    qtbot.addWidget(dock)
    dock.resize(400, 700)
    dock.show()
    qtbot.waitExposed(dock)
    return dock


@pytest.fixture
def full(dock, qtbot, section, measured, guess):
    """A dock that looks at a section with everything."""
    dock.state.add_section(section)
    dock.state.set_paired(measured)
    dock.state.set_prediction(guess)
    qtbot.waitUntil(lambda: dock.gathered is not None and "residual" in dock.pictures.available)
    qtbot.waitUntil(lambda: not dock._reading.running)
    return dock


def press(viewer: ViewerModel, key: str) -> KeymapHandler:
    """Press a key the way napari's canvas does: the active layer is asked first, then the viewer."""
    handler = KeymapHandler()
    active = viewer.layers.selection.active
    handler.keymap_providers = [viewer] if active is None else [active, viewer]
    handler.press_key(key)
    return handler


def cell(table: IonTable, ion: str, key: str):
    place = [column.key for column in table.ions.columns].index(key)
    return table.ions.index(table.ions.row(ion), place)


def click(table: IonTable, ion: str, key: str = "mz") -> None:
    where = table.visualRect(cell(table, ion, key)).center()
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, where)


def shown(dock: ExploreDock) -> list[str]:
    return [dock.ions.table.ions.ion(row) for row in range(dock.ions.table.ions.rowCount())]


def text(table: IonTable, ion: str, key: str) -> str:
    return table.ions.data(cell(table, ion, key))


# -- before there is anything -----------------------------------------------------------------------


def test_without_a_section_it_says_what_to_do_and_offers_it(dock, qtbot, monkeypatch):
    assert dock.empty.isVisible()
    assert not dock.ions.isVisible()
    assert "Open one" in dock.empty.label.text()
    assert dock.empty.button.text() == "Open data"
    opened = []
    monkeypatch.setattr(explore, "open_dock", lambda viewer, name: opened.append(name))
    again = ExploreDock(dock.viewer)
    qtbot.addWidget(again)
    again.empty.button.click()
    assert opened == ["Data"]


def test_a_section_with_genes_only_has_no_ions_and_says_so(dock, make_section):
    dock.state.add_section(make_section(msi=False))
    assert dock.empty.isVisible()
    assert "genes and no ions" in dock.empty.label.text()


def test_what_is_still_being_read_of_another_section_is_not_shown_where_there_are_no_ions(dock, qtbot, make_section):
    dock.state.add_section(make_section("with ions"))
    assert dock._reading.running
    dock.state.add_section(make_section("genes only", msi=False))
    QTest.qWait(300)
    assert dock.empty.isVisible()
    assert dock.gathered is None
    assert dock.pictures.source is None


def test_msi_alone_shows_measured_and_nothing_else(dock, qtbot, make_section):
    section = make_section(st=False)
    dock.state.add_section(section)
    qtbot.waitUntil(lambda: dock.gathered is not None)
    # Without scores the brightest ion comes first: the lowest m/z is often all noise.
    brightest = section.ions["label"].iloc[int(section.msi.X.mean(axis=0).argmax())]
    assert brightest != section.ions["label"].iloc[0]
    assert [layer.name for layer in dock.viewer.layers] == [f"measured · {brightest}"]
    assert not dock.ions.buttons["predicted"].isEnabled()
    assert not dock.ions.residual.isVisible()
    assert not dock.ions.train.isVisible()
    keys = [column.key for column in dock.ions.table.ions.columns]
    assert keys == ["favourite", "mz", "name", "image", "mean_intensity", "prevalence"]


# -- choosing ---------------------------------------------------------------------------------------


def test_a_click_on_a_row_shows_that_ion_everywhere(full):
    click(full.ions.table, "ion3")
    assert full.state.ion == "ion3"
    assert full.ions.title.text() == "m/z 798.5410 PC(34:1)"
    assert full.pictures.layer("measured").name == "measured · m/z 798.5410 PC(34:1)"
    assert full.ions.table.currentIndex().row() == full.ions.table.ions.row("ion3")


def test_an_ion_chosen_elsewhere_is_marked_in_the_table(full):
    full.state.ion = "ion2"
    assert full.ions.table.ions.ion(full.ions.table.currentIndex().row()) == "ion2"
    assert full.pictures.ion == "ion2"


def test_the_arrow_keys_walk_the_table_as_sorted(full):
    assert shown(full) == ["ion1", "ion0", "ion3", "ion2"]  # by R², missing last
    click(full.ions.table, "ion1")
    press(full.viewer, "Down")
    assert full.state.ion == "ion0"
    QTest.keyClick(full.ions.table, Qt.Key.Key_Down)
    assert full.state.ion == "ion3"
    press(full.viewer, "Up")
    press(full.viewer, "Up")
    press(full.viewer, "Up")
    assert full.state.ion == "ion1"


def test_scores_baselines_and_verdict_are_said_in_words(full):
    full.state.ion = "ion1"
    assert full.ions.verdict.text() == "Predicted from genes"
    assert "R² 0.60 · gain 0.30" in full.ions.scores.text()
    assert "R² without genes: coordinates 0.25" in full.ions.scores.text()


def test_colour_bars_say_unit_limits_and_where_values_come_from(full):
    full.state.ion = "ion0"
    assert full.ions.intensity.what.text() == "Measured, predicted (intensity)"
    assert full.ions.intensity.provenance.text() == "out of fold"
    assert "Blocks were held out." in full.ions.intensity.provenance.toolTip()
    low, middle, high = full.ions.residual.strip.numbers
    assert float(middle) == 0
    assert low.replace("-", "−") == f"−{high}"


def test_the_cursor_reads_all_pictures(full, qtbot):
    full.state.ion = "ion0"
    x, y = full.state.section.spots.centres[0]
    full.viewer.cursor.position = (y, x)
    qtbot.waitUntil(
        lambda: "measured" in full.ions.cursor_words.text() and "predicted" in full.ions.cursor_words.text()
    )


def test_the_cursor_reads_the_interval_and_the_level_is_measured(full, qtbot, guess):
    guess.layers["lower"], guess.layers["upper"] = guess.X - 5, guess.X + 1000
    guess.var["interval_coverage"] = 0.91
    guess.uns["provenance"] |= {"interval_level": 0.8, "intervals": "From whole sections."}
    full.state.set_prediction(guess)
    qtbot.waitUntil(lambda: full.gathered.level == 0.8)
    full.state.ion = "ion0"
    assert "80% intervals hold 91% of held-out spots" in full.ions.scores.text()
    x, y = full.state.section.spots.centres[2]
    low, high = full.pictures.interval_at((y, x))
    assert (low, high) == pytest.approx((guess.X[2, 0] - 5, guess.X[2, 0] + 1000), rel=1e-5)
    full.viewer.cursor.position = (y, x)
    qtbot.waitUntil(lambda: "at 80%)" in full.ions.cursor_words.text())
    assert f"({low:,.1f} to {high:,.1f} at 80%)" in full.ions.cursor_words.text()
    assert full.ions.cursor_words.toolTip() == "From whole sections."
    full.viewer.cursor.position = (y + 1e6, x)
    qtbot.waitUntil(lambda: "nothing measured" in full.ions.cursor_words.text())
    assert full.pictures.interval_at((y + 1e6, x)) is None
    assert full.pictures.interval_at((y, x)) is not None
    del guess.layers["lower"]
    full.state.set_prediction(guess)
    qtbot.waitUntil(lambda: not full._reading.running and full.pictures.interval_at((y, x)) is None)


def test_a_prediction_of_a_new_section_says_what_to_know_and_shows_unlike_spots(full, qtbot, guess, make_section):
    novelty = np.array([0.5, 3.0, 0.2, 1.4, 0.9, np.nan, 0.1, 0.3])
    guess.obs["novelty"], guess.obs["ood"] = novelty, novelty > 1
    guess.uns["provenance"] |= {"kind": "new_section", "share_ood": 0.25, "share_genes_matched": 0.6, "n_sections": 4}
    full.state.set_prediction(guess)
    qtbot.waitUntil(lambda: full.messages.level == "warning")
    assert "40% of the model's genes are missing" in full.messages.text
    assert "25% of the spots have genes unlike any in training" in full.messages.text
    section = full.state.section
    layer = find(full.viewer, section, "novelty")
    assert not layer.visible
    assert layer.name == "spots unlike training (novelty)"
    drawn = layer.features[VALUE].to_numpy()
    np.testing.assert_allclose(drawn[np.isfinite(drawn)], [3.0, 1.4], rtol=1e-6)
    full.messages.action.click()
    assert layer.visible
    full.messages.clear()
    full.state.mark_stale("prediction", "paired again since")
    qtbot.waitUntil(lambda: "train again" in full.state_line.text())
    assert full.messages.text == "", "what was dismissed is not said again"
    known = guess.copy()
    known.obs["novelty"] = 0.5
    known.uns["provenance"] |= {"share_ood": 0.0, "share_genes_matched": 1.0}
    full.state.set_prediction(known)
    qtbot.waitUntil(lambda: find(full.viewer, section, "novelty") is None)
    full.state.set_prediction(guess)
    qtbot.waitUntil(lambda: "unlike any in training" in full.messages.text)
    full.state.add_section(make_section("other", st=False, seed=9))
    qtbot.waitUntil(lambda: full.messages.text == "")


# -- keys -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "picture"), [("P", "predicted"), ("R", "residual"), ("M", "measured")])
def test_letters_show_pictures_even_where_points_have_another_use_for_them(full, key, picture):
    full.pictures.show("residual", "x")  # a Points layer is active: P would be its mode for adding
    press(full.viewer, key)
    assert full.pictures.front == picture
    assert full.pictures.layer(picture).visible
    assert full.ions.buttons[picture].isChecked()
    assert str(full.pictures.layer("residual").mode) == "pan_zoom"


def test_space_held_blinks_and_released_shows_what_was_there(full):
    handler = press(full.viewer, "Space")
    assert full.pictures.layer("predicted").visible
    handler.release_key("Space")
    assert full.pictures.layer("measured").visible
    assert not full.pictures.layer("predicted").visible


def test_pictures_put_away_do_not_blink(full):
    full.pictures.put_away()
    seen = shown(full)
    for held in (True, False):
        assert not full.pictures.blink(held)
        assert shown(full) == seen


def test_space_is_naparis_while_somebody_paints(full):
    labels = full.viewer.add_labels(np.zeros((4, 4), dtype=int))
    labels.mode = "paint"
    handler = press(full.viewer, "Space")
    assert str(labels.mode) == "pan_zoom"
    handler.release_key("Space")
    assert str(labels.mode) == "paint"


def test_keys_of_other_layers_are_left_alone(full):
    labels = full.viewer.add_labels(np.zeros((4, 4), dtype=int))
    press(full.viewer, "P")
    assert str(labels.mode) == "paint"
    assert full.pictures.front == "measured"


def test_keys_hold_only_while_the_dock_is_open(full):
    assert full.keys.bound
    full.hide()
    assert not full.keys.bound
    assert not full.viewer.keymap
    press(full.viewer, "G")
    assert not full.pictures.grid
    full.show()
    press(full.viewer, "G")
    assert full.pictures.grid
    assert full.ions.grid.isChecked()


def test_what_a_user_bound_to_a_key_comes_back(viewer, qtbot):
    def mine(viewer):
        pass

    viewer.bind_key("G", mine)
    dock = ExploreDock(viewer)
    qtbot.addWidget(dock)
    dock.show()
    dock.hide()
    assert list(viewer.keymap.values()) == [mine]


def test_letters_typed_into_the_table_are_keys_and_no_search(full):
    full.ions.table.setFocus()
    before = full.ions.table.currentIndex().row()
    QTest.keyClicks(full.ions.table, "m")
    assert full.ions.table.currentIndex().row() == before


def test_letters_typed_into_the_filter_stay_there(full):
    full.ions.search.setFocus()
    QTest.keyClicks(full.ions.search, "PG")
    assert full.ions.search.text() == "PG"
    assert full.pictures.front == "measured"
    assert not full.pictures.grid


def test_the_list_of_keys_names_every_key(full):
    full.show_keys()
    from qtpy.QtWidgets import QMessageBox

    box = full.findChild(QMessageBox)
    for key in ("↑ ↓", "Space", "M  P  R", "G", "F"):
        assert key in box.text()
    box.close()


# -- favourites, filter, sorting --------------------------------------------------------------------


def test_a_star_is_a_favourite_and_chooses_nothing(full):
    full.state.ion = "ion1"
    click(full.ions.table, "ion3", "favourite")
    assert full.state.favourites == {"ion3"}
    assert full.state.ion == "ion1"
    assert text(full.ions.table, "ion3", "favourite") == "★"
    press(full.viewer, "F")
    assert full.state.favourites == {"ion1", "ion3"}


def test_typing_filters_and_says_how_many_are_left(full):
    QTest.keyClicks(full.ions.search, "class:PC r2<0.5")
    assert shown(full) == ["ion3"]
    assert full.ions.count.text() == "1 of 4 ions"
    full.ions.search.clear()
    assert len(shown(full)) == 4


def test_a_filter_that_cannot_be_understood_says_why_and_keeps_what_was_shown(full):
    full.ions.search.setText("PC")
    full.ions.search.setText("PC speed>3")
    assert full.ions.search.property("wrong") == "true"
    assert "no score 'speed'" in full.ions.count.text()
    assert set(shown(full)) == {"ion2", "ion3"}


def test_the_ion_looked_at_stays_when_it_is_filtered_away(full):
    full.state.ion = "ion1"
    full.ions.search.setText("PC")
    assert full.state.ion == "ion1"
    assert not full.ions.table.currentIndex().isValid()
    full.ions.search.clear()
    assert full.ions.table.ions.ion(full.ions.table.currentIndex().row()) == "ion1"


def test_a_click_on_a_header_sorts_and_missing_scores_come_last_both_ways(full):
    header = full.ions.table.horizontalHeader()
    place = [column.key for column in full.ions.table.ions.columns].index("r2")

    def press_header() -> None:
        x = header.sectionViewportPosition(place) + 5
        QTest.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=header.rect().center().__class__(x, 8))

    press_header()
    assert shown(full) == ["ion3", "ion0", "ion1", "ion2"]
    press_header()
    assert shown(full) == ["ion1", "ion0", "ion3", "ion2"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("798.54 ± 5 ppm", ["ion3"]),
        ("798.54 ± 1 ppm", []),
        ("798.54+-0.01", ["ion3"]),
        ("760,58 +/- 10 mDa", ["ion2"]),
        ("798.5", ["ion3"]),
        ("pc(34", ["ion2", "ion3"]),
        ("r2>0.2", ["ion1"]),
        ("r2 >= 0.1 r2 <= 0.6", ["ion0", "ion1"]),
        ("mz<700 gain>0", ["ion1"]),
        ("class:PC", ["ion2", "ion3"]),
        ("name:heme", ["ion1"]),
        ("verdict:position", ["ion0"]),
        ("fav", ["ion0"]),
        ("fav r2>0.5", []),
        ("r2>-0.3 r2<0", ["ion3"]),
        ("", ["ion0", "ion1", "ion2", "ion3"]),
    ],
)
def test_queries(guess, query, found):
    from napari_st2msi.ions import ion_frame

    frame = ion_frame(guess).join(guess.var[["r2", "gain", "verdict"]])
    assert list(frame.index[matches(frame, query, frozenset({"ion0"}))]) == found


def test_a_query_for_a_score_that_is_not_there_names_those_that_are(guess):
    with pytest.raises(DataProblem, match="r2, gain"):
        matches(guess.var.assign(label="", name="")[["r2", "gain", "label", "name"]], "speed>1")


def test_ten_thousand_ions_are_sorted_and_filtered_without_asking_python_for_each(qtbot):
    n = 10_000
    frame = pd.DataFrame(
        {"mz": np.linspace(100, 900, n), "name": "x", "label": "x", "r2": np.random.default_rng(0).normal(size=n)}
    )
    model = IonModel()
    model.set_frame(frame, frozenset())
    model.set_query("r2>0")
    assert model.rowCount() == (frame.r2 > 0).sum()
    values = [model.frame.r2[int(model.ion(row))] for row in range(100)]
    assert values == sorted(values, reverse=True)


def test_small_images_are_drawn_when_they_come_into_view(full, qtbot):
    index = cell(full.ions.table, "ion1", "image")
    qtbot.waitUntil(lambda: full.ions.table.ions.data(index, Qt.ItemDataRole.DecorationRole) is not None)
    icon = full.ions.table.ions.data(index, Qt.ItemDataRole.DecorationRole)
    assert not icon.isNull()


def test_columns_can_be_shown_and_hidden(full):
    menu = full.ions.table.columns_menu()
    action = next(action for action in menu.actions() if action.text() == "Gain")
    place = [column.key for column in full.ions.table.ions.columns].index("gain")
    assert not full.ions.table.isColumnHidden(place)
    action.trigger()
    assert full.ions.table.isColumnHidden(place)


# -- what changes underneath ------------------------------------------------------------------------


def test_an_evaluation_that_is_stale_says_what_to_do(full, qtbot):
    full.state.mark_stale("prediction", "paired again since")
    qtbot.waitUntil(lambda: "paired again since: train again" in full.state_line.text())


def test_switching_sections_switches_table_and_layers(full, qtbot, make_section):
    first = full.pictures.layer("measured")
    other = make_section("other", st=False, seed=9)
    full.state.add_section(other)
    qtbot.waitUntil(lambda: full.gathered is not None and full.gathered.source.section is other)
    assert not first.visible
    assert "r2" not in [column.key for column in full.ions.table.ions.columns]
    assert full.pictures.layer("measured") is not first
    full.state.remove_section(other)
    qtbot.waitUntil(lambda: "residual" in full.pictures.available)
    assert first.visible
    assert shown(full) == ["ion1", "ion0", "ion3", "ion2"]


def test_the_eye_in_the_layer_list_is_followed_by_the_buttons(full):
    full.pictures.layer("measured").visible = False
    full.pictures.layer("residual").visible = True
    assert not full.ions.buttons["measured"].isChecked()
    assert full.ions.buttons["residual"].isChecked()


def test_deleting_layers_by_hand_while_browsing(full):
    full.viewer.layers.clear()
    full.state.ion = "ion3"
    full.state.ion = "ion2"
    assert not full.ions.buttons["predicted"].isChecked()
    QTest.mouseClick(full.ions.buttons["predicted"], Qt.MouseButton.LeftButton)
    assert full.pictures.layer("predicted").visible


def test_a_section_that_cannot_be_read_says_so_in_words(dock, qtbot, make_section):
    section = make_section()
    element = section.roles.msi_element
    from spatialdata.transformations import remove_transformation

    remove_transformation(section.sdata[element], remove_all=True)
    dock.state.add_section(section)
    qtbot.waitUntil(lambda: dock.messages.isVisible())
    assert "micrometres" in dock.messages.text
    assert not dock.messages.toggle.isVisible()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_it_follows_the_theme_and_the_font(full, theme):
    from napari.settings import get_settings

    full.viewer.theme = theme
    assert full.styleSheet().count("#f0f1f2" if theme == "dark" else "#1e1e21")
    get_settings().appearance.font_size = 14
    assert "15pt" in full.styleSheet()


@pytest.mark.parametrize("size", [9, 10, 13])
def test_nothing_is_wider_than_the_narrowest_dock(full, qtbot, size):
    from napari.settings import get_settings

    get_settings().appearance.font_size = size
    full.resize(320, 600)
    qtbot.waitUntil(lambda: full.width() == 320)
    qtbot.waitUntil(lambda: full.scroll.widget().width() <= full.scroll.viewport().width())


# -- real data and a real window --------------------------------------------------------------------


def test_every_ion_of_the_bladder_can_be_looked_at(dock, qtbot, real_data):
    import anndata

    table = anndata.read_h5ad(real_data / "mouse_bladder_msi" / "bladder_msi.h5ad")
    xy = np.asarray(table.obsm["spatial"], dtype=float)[:, :2]
    msi = AnnData(table.X, obs=table.obs[[]].copy(), var=table.var.copy())
    dock.state.add_section(build_section(name="bladder", msi=msi, msi_xy=xy, pixel_size_um=1.0))
    qtbot.waitUntil(lambda: dock.gathered is not None, timeout=30_000)
    assert dock.ions.table.ions.rowCount() == 79
    for row in range(79):
        dock.state.ion = dock.ions.table.ions.ion(row)
        image = dock.pictures.layer("measured").data
        assert image.size == 34_840
        np.testing.assert_allclose(np.nansum(image), np.asarray(msi[:, dock.state.ion].X.sum()), rtol=1e-4)
    assert len(dock.viewer.layers) == 1


def test_in_a_real_window_keys_reach_the_dock_from_the_table(make_napari_viewer, qtbot, section, measured, guess):
    viewer = make_napari_viewer(show=True)
    dock = ExploreDock(viewer)
    viewer.window.add_dock_widget(dock, area="right", name="Explore")
    dock.state.add_section(section)
    dock.state.set_paired(measured)
    dock.state.set_prediction(guess)
    qtbot.waitUntil(lambda: dock.gathered is not None and "residual" in dock.pictures.available, timeout=20_000)
    dock.ions.table.setFocus()
    QTest.keyClick(dock.ions.table, Qt.Key.Key_P)
    assert dock.pictures.front == "predicted"
    QTest.keyClick(dock.ions.table, Qt.Key.Key_G)
    assert viewer.canvas.grid.enabled
    before = dock.state.ion
    QTest.keyClick(dock.ions.table, Qt.Key.Key_Down)
    assert dock.state.ion != before
    assert len(viewer.layers) == 3
    viewer.window.remove_dock_widget(dock)
    assert not dock.keys.bound


def test_brushed_ions_are_shown_alone_until_all_are_wanted(full, qtbot):
    full.ions.search.setText("mz>600")
    assert full.ions.table.ions.rowCount() == 3
    full.state.brushed = frozenset({"ion0", "ion2"})
    rows = full.ions.table.ions
    assert [rows.ion(row) for row in range(rows.rowCount())] == ["ion2"]  # what was typed holds as well
    assert "1 of 4 ions" in full.ions.count.text()
    assert "marked" in full.ions.count.text()
    full.ions.search.setText("")
    assert {rows.ion(row) for row in range(rows.rowCount())} == {"ion0", "ion2"}
    qtbot.mouseClick(full.ions.every, Qt.MouseButton.LeftButton)
    assert full.state.brushed == frozenset()
    assert rows.rowCount() == 4
    assert full.ions.every.isHidden()


def test_tiers_of_learnability_are_columns_of_the_table(full, qtbot):
    table = pd.DataFrame({"tier": [1, 3, 2], "relative_r2": [0.8, -0.1, np.nan]}, index=["ion1", "ion0", "ion3"])
    full.state.set_learnability(SimpleNamespace(table=table, judged_by="leave_donor"))
    qtbot.waitUntil(lambda: "tier" in full.gathered.frame, timeout=10_000)
    said = {}
    for ion in ("ion0", "ion2"):
        full.state.ion = ion
        said[ion] = full.ions.verdict.text()
    assert said["ion0"].endswith(" · Tier 3, judged by each donor")
    assert "Tier" not in said["ion2"]
    assert full.gathered.frame["ceiling_share"]["ion1"] == 0.8
    rows = full.ions.table.ions
    place = [column.key for column in rows.columns].index("tier")
    shown = {rows.ion(row): rows.data(rows.index(row, place)) for row in range(rows.rowCount())}
    assert shown == {"ion0": "3", "ion1": "1", "ion2": "", "ion3": "2"}
    full.ions.search.setText("tier:1")
    assert [rows.ion(row) for row in range(rows.rowCount())] == ["ion1"]
