"""The pages of the Explore dock about genes: what is behind an ion, and what changed genes would change."""

from __future__ import annotations

from copy import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.layers import Points
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtTest import QTest

from napari_st2msi import pipeline
from napari_st2msi.explain.attention import attention_of
from napari_st2msi.explain.perturb import Change
from napari_st2msi.features.pathways import bundled_sets
from napari_st2msi.io.build import build_section
from napari_st2msi.recipe import Recipe
from napari_st2msi.viewer import layers
from napari_st2msi.viewer.docks import explore_page, explore_spots
from napari_st2msi.viewer.docks.explore import ExploreDock
from planted import planted

DATA = planted(n_side=10)


@pytest.fixture(scope="module")
def trained() -> Any:
    recipe = {"model": {"name": "ridge"}, "genes": {"n_components": 20}}
    return pipeline.train(DATA, Recipe.model_validate(recipe))


@pytest.fixture
def section() -> Any:
    st = DATA.genes.copy()
    return build_section(name="planted", st=st, st_xy=DATA.xy, spot_diameter_um=90.0)


@pytest.fixture
def dock(viewer: Any, qtbot: Any, section: Any, trained: Any) -> ExploreDock:
    dock = ExploreDock(viewer)
    qtbot.addWidget(dock)
    dock.resize(420, 900)
    dock.show()
    qtbot.waitExposed(dock)
    dock.state.add_section(section)
    dock.state.set_prediction(trained.predict(section.st))
    qtbot.waitUntil(lambda: dock.gathered is not None and not dock._reading.running)
    dock.state.ion = "linear0"
    return dock


@pytest.fixture
def page(dock: ExploreDock, qtbot: Any, trained: Any) -> Any:
    """The page of genes, at rest."""
    dock.state.set_model(trained)
    click_tab(dock, 1)
    settle(dock, qtbot)
    return dock.pages.genes


def click_tab(dock: ExploreDock, number: int) -> None:
    bar = dock.pages.tabBar()
    QTest.mouseClick(bar, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, bar.tabRect(number).center())


def settle(dock: ExploreDock, qtbot: Any) -> None:
    page = dock.pages.genes
    jobs = (page._explaining, page._checking, page.comparison)
    qtbot.waitUntil(
        lambda: page.shown is not None and not (any(each.running for each in jobs) or page._rest.isActive()),
        timeout=20_000,
    )


def visible(dock: ExploreDock) -> list[str]:
    return [layer.name for layer in dock.viewer.layers if layer.visible]


def test_without_a_model_the_pages_say_what_to_do_and_offer_it(dock):
    for number, page in ((1, dock.pages.genes), (2, dock.pages.change)):
        click_tab(dock, number)
        assert page.empty.isVisible()
        assert not page.content.isVisible()
        assert "Train a model" in page.empty.label.text()
        assert page.empty.button.text() == "Open the Train dock"


def test_the_strongest_genes_are_listed_and_the_first_is_on_the_tissue(dock, page, trained):
    found = pipeline.explain_ion(trained, dock.state.section, "linear0")
    ranked = found.ranked()
    assert page.bars.keys == ranked.index[:15].tolist()
    signs = np.sign([value for _, _, value, _ in page.bars._rows])
    np.testing.assert_array_equal(signs, ranked["direction"].head(15))
    layer = layers.find(dock.viewer, dock.state.section, "attribution")
    assert isinstance(layer, Points)
    assert layer.name == f"attribution · {ranked.index[0]} → m/z 100.0000"
    np.testing.assert_allclose(layer.features["value"], found.of([ranked.index[0]]), atol=1e-6)
    assert visible(dock) == [layer.name]
    low, _, high = page.colour_bar.strip.numbers
    assert low == f"−{high}"
    assert page.colour_bar.provenance.text() == "log(1 + intensity)"
    assert "add up" in page.how.text()
    assert "not causation" in page.evidence.text()


def test_the_layer_is_made_once_and_follows_gene_and_ion(dock, page, qtbot):
    layer = layers.find(dock.viewer, dock.state.section, "attribution")
    before, data = layer.face_color.copy(), layer.data
    place = QPoint(30, 3 * page.bars._height + 4)
    QTest.mouseClick(page.bars, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place)
    assert page.gene.key == page.bars.keys[3]
    assert page.gene.key in layer.name
    assert not np.allclose(layer.face_color, before)
    QTest.keyClick(page.bars, Qt.Key.Key_Down)
    assert page.gene.key == page.bars.keys[4]
    gene = page.gene.key
    dock.state.ion = "linear1"
    settle(dock, qtbot)
    assert layers.find(dock.viewer, dock.state.section, "attribution") is layer
    assert layer.name == f"attribution · {gene} → m/z 101.0000"
    assert layer.data is data or np.array_equal(layer.data, data)


def test_a_layer_deleted_by_hand_comes_back_and_leaving_hides_it(dock, page):
    dock.viewer.layers.remove(layers.find(dock.viewer, dock.state.section, "attribution"))
    page.show_gene("g3")
    assert visible(dock) == ["attribution · g3 → m/z 100.0000"]
    click_tab(dock, 0)
    assert visible(dock) == ["predicted · m/z 100.0000"]
    click_tab(dock, 1)
    assert visible(dock) == ["attribution · g3 → m/z 100.0000"]


def test_a_key_turns_to_the_genes_and_back(dock, page):
    press = dict(dock.keys._presses)["A"]
    press()
    assert dock.pages.currentWidget() is dock.ions
    press()
    assert dock.pages.currentWidget() is page


def test_a_long_title_is_drawn_smaller(dock, page):
    layer = layers.find(dock.viewer, dock.state.section, "attribution")
    dock.viewer.canvas.size = (400, 600)
    page.show_gene("g3")
    wide = layer.name_overlay.font_size
    page._labels["linear0"] = "a lipid with a name that is twice as long as the canvas is wide, and then some"
    page.show_gene("g4")
    assert layer.name_overlay.font_size < wide


@pytest.mark.parametrize("number", [1, 2])
def test_a_picture_asked_for_by_its_key_is_shown_on_the_page_of_pictures(dock, page, number):
    click_tab(dock, number)
    dock.keys._presses["P"]()
    assert dock.pages.currentWidget() is dock.ions
    assert visible(dock) == ["predicted · m/z 100.0000"]


def test_side_by_side_the_key_of_a_picture_brings_it_and_takes_none_away(dock, page):
    click_tab(dock, 0)
    dock.ions.toggle_grid()
    click_tab(dock, 1)
    dock.keys._presses["P"]()
    assert dock.pages.currentWidget() is dock.ions
    assert "predicted · m/z 100.0000" in visible(dock)


def test_what_is_painted_has_the_font_of_the_dock(dock, page):
    from napari.settings import get_settings

    painted = (page.bars, page.comparison.heatmap, page.colour_bar.strip)
    heights = []
    for size in (9, 13):
        get_settings().appearance.font_size = size
        assert {part.font().pointSize() for part in painted} == {size}
        heights.append(page.bars.sizeHint().height())
    assert heights[1] > heights[0]


def test_the_checks_are_shown_beside(page):
    assert "random ones" in page.checked.text()
    x, y = page.deletion._top.getData()
    assert len(x) == 6
    assert (np.diff(y) > 0).all()


def test_in_a_drawn_region_the_mean_contribution_there_is_ranked(dock, page, qtbot, trained):
    page.spots.kind.setCurrentIndex(1)
    page.spots._on_kind(1)
    shapes = layers.find(dock.viewer, dock.state.section, "region")
    assert str(shapes.mode) == "add_polygon_lasso"
    shapes.add(np.array([[-50, -50], [-50, 250], [250, 250], [250, -50]]), shape_type="polygon")
    qtbot.waitUntil(lambda: "9 spots" in page.unit.text())
    assert str(shapes.mode) == "pan_zoom"
    inside = (DATA.xy < 250).all(axis=1)
    np.testing.assert_array_equal(page.spots.mask(), inside)
    means = pipeline.explain_ion(trained, dock.state.section, "linear0", spots=inside).ranked()["mean"]
    expected = means.reindex(means.abs().sort_values(ascending=False).index)
    assert page.bars.keys == expected.index[:15].tolist()
    # Somewhere else there is no spot.
    shapes.data = [np.array([[5000, 5000], [5000, 5100], [5100, 5100]])]
    qtbot.waitUntil(lambda: "No spot lies" in page.unit.text())


def test_a_spot_is_picked_by_a_click_and_not_by_a_drag(page, qtbot, dock):
    before = list(dock.viewer.mouse_drag_callbacks)
    page.spots.kind.setCurrentIndex(2)
    page.spots._on_kind(2)
    assert page.spots.pick.isChecked()
    callback = dock.viewer.mouse_drag_callbacks[-1]
    assert len(dock.viewer.mouse_drag_callbacks) == len(before) + 1
    for moved, picked in ((40, False), (0, True)):
        event = SimpleNamespace(type="mouse_press", pos=(10, 10), position=(205.0, 310.0))
        turns = callback(dock.viewer, event)
        next(turns)
        event.type, event.pos = "mouse_release", (10 + moved, 10)
        with pytest.raises(StopIteration):
            next(turns)
        assert (page.spots.mask() is not None) is picked
    assert np.flatnonzero(page.spots.mask()).tolist() == [23]
    assert not page.spots.pick.isChecked()
    assert dock.viewer.mouse_drag_callbacks == before
    assert "spot23" in page.unit.text()


def test_a_cluster_of_the_data_may_be_chosen(dock, page, qtbot, trained):
    assert page.spots.kind.findData("cluster") < 0
    section = dock.state.section
    section.st.obs["leiden"] = pd.Categorical(["a"] * 60 + ["b"] * 40)
    page.spots.set_section(None)
    page.spots.set_section(section)
    place = page.spots.kind.findData("cluster")
    page.spots.kind.setCurrentIndex(place)
    page.spots.kind.activated.emit(place)
    page.spots.cluster.set_value(("leiden", "b"))
    assert np.flatnonzero(page.spots.mask()).tolist() == list(range(60, 100))
    assert page.spots.words.text() == "40 spots in leiden b"
    assert "40 spots in leiden b" in page.unit.text()
    means = pipeline.explain_ion(trained, section, "linear0", spots=np.arange(60, 100)).ranked()["mean"]
    assert page.bars.keys[0] == means.abs().idxmax()


@pytest.fixture(scope="module")
def clustered() -> Any:
    recipe = {"model": {"name": "ridge"}, "genes": {"n_components": 20, "signature_mask": "yes", "n_clusters": 3}}
    return pipeline.train(DATA, Recipe.model_validate(recipe))


def test_clusters_that_the_model_knows_may_be_chosen_on_both_pages(dock, page, qtbot, trained, clustered):
    dock.state.set_model(clustered)
    spots = page.spots
    qtbot.waitUntil(lambda: spots.kind.findData("cluster") >= 0)
    settle(dock, qtbot)
    signatures = clustered.predictor.design_.signatures_
    which = signatures.assign(dock.state.section.st)
    offered = [spots.cluster.box.itemData(number) for number in range(spots.cluster.box.count())]
    names = np.array(signatures.clusters_)
    assert [name for _, name in offered] == sorted(set(names[which]))
    assert len(offered) > 1
    spots.kind.setCurrentIndex(spots.kind.findData("cluster"))
    spots.cluster.set_value(offered[1])
    spots._on_kind(3)
    np.testing.assert_array_equal(spots.mask(), names[which] == offered[1][1])
    assert f"model's cluster {offered[1][1]}" in page.unit.text()
    assert dock.pages.change.spots.kind.findData("cluster") >= 0
    # Another model knows none: all spots again.
    dock.state.set_model(trained)
    qtbot.waitUntil(lambda: spots.kind.findData("cluster") < 0)
    assert spots.mask() is None
    assert dock.pages.change.spots.kind.findData("cluster") < 0


def test_a_column_chosen_stays_when_the_clusters_of_the_model_come(page):
    page.spots.section.st.obs["leiden"] = pd.Categorical(["a"] * 60 + ["b"] * 40)
    page.spots.set_learned(np.array(["0", "1"] * 50))
    page.spots.kind.setCurrentIndex(page.spots.kind.findData("cluster"))
    page.spots.cluster.set_value(("leiden", "b"))
    page.spots.set_learned(np.array(["x", "y"] * 50))
    assert page.spots.cluster.value() == ("leiden", "b")
    assert int(page.spots.mask().sum()) == 40


def test_columns_that_are_no_clusters_are_not_offered():
    names = [f"s{number}" for number in range(100)]
    obs = pd.DataFrame({"barcode": names, "same": "x", "number": range(100), "part": pd.Categorical(["u", "v"] * 50)})
    assert explore_spots.clusters_of(obs) == [("part", "u"), ("part", "v")]


def test_shapes_of_all_kinds_hold_spots():
    centres = np.array([[0.0, 0.0], [9.0, 9.0], [5.0, 0.5]])
    box = np.array([[-10.0, -10.0], [10.0, -10.0], [10.0, 10.0], [-10.0, 10.0]])
    assert explore_spots._inside(box, "rectangle", centres).tolist() == [True, True, True]
    assert explore_spots._inside(box, "ellipse", centres).tolist() == [True, False, True]
    assert not explore_spots._inside(box, "path", centres).any()
    bow = np.array([[-10.0, -10.0], [10.0, 10.0], [10.0, -10.0], [-10.0, 10.0]])
    assert explore_spots._inside(bow, "polygon", centres)[2]


def test_ions_are_compared_and_a_cell_leads_to_its_gene_and_ion(dock, page, qtbot):
    page.matrix.expand()
    comparison, heatmap = page.comparison, page.comparison.heatmap
    comparison.button.click()
    assert comparison.run_bar.isVisible()
    qtbot.waitUntil(lambda: len(heatmap.columns) > 0, timeout=20_000)
    assert not comparison.run_bar.isVisible()
    assert heatmap.columns[0] == ("linear0", "100.0000")
    assert heatmap.values.shape == (14, len(heatmap.columns))
    assert len(heatmap.columns) == 10
    assert (heatmap.values < 0).any()
    place = QPoint(int(heatmap._left) + 1 + int((heatmap.width() - heatmap._left) / 10), 3)
    assert heatmap.at(QPointF(place)) == (0, 1)
    assert heatmap.at(QPointF(1, 1)) is None
    QTest.mouseClick(heatmap, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place)
    assert dock.state.ion == heatmap.columns[1][0]
    assert page.gene.key == heatmap.rows[0]
    settle(dock, qtbot)
    assert heatmap.rows[0] in visible(dock)[0]


def test_what_was_compared_goes_with_its_model(dock, page, qtbot, trained):
    page.matrix.expand()
    comparison, heatmap = page.comparison, page.comparison.heatmap
    comparison.button.click()
    qtbot.waitUntil(lambda: len(heatmap.columns) > 0, timeout=20_000)
    dock.state.ion = "linear1"
    assert heatmap.columns  # another ion is no other comparison
    comparison.button.click()
    dock.state.set_model(copy(trained))
    assert not comparison.running
    assert not comparison.run_bar.isVisible()
    assert not heatmap.columns
    assert not comparison.words.text()


def test_asking_to_compare_nothing_leaves_what_is_compared_to_go_with_its_model(dock, page, qtbot, trained):
    comparison, heatmap = page.comparison, page.comparison.heatmap
    comparison.compare()
    wanted, comparison._wanted = comparison._wanted, lambda: None
    comparison.compare()
    comparison._wanted = wanted
    qtbot.waitUntil(lambda: len(heatmap.columns) > 0, timeout=20_000)
    dock.state.set_model(copy(trained))
    assert not heatmap.columns


def test_what_was_compared_goes_with_the_genes_of_its_section(dock, page, qtbot):
    comparison, heatmap = page.comparison, page.comparison.heatmap
    comparison.compare()
    qtbot.waitUntil(lambda: len(heatmap.columns) > 0, timeout=20_000)
    page.refresh()
    assert heatmap.columns
    dock.state.section.forget_caches()  # as where its table of genes is another one
    page.refresh()
    assert not heatmap.columns


def test_a_pathway_is_shown_over_the_tissue_as_the_sum_of_its_genes(dock, page, trained):
    page._pathways = {"lipids (pathway, 2 genes)": ["g1", "g2"]}
    page.gene.set_choices([(name, name) for name in (*page._pathways, *page.shown.names)])
    page.gene.setText("lipids")
    QTest.keyClick(page.gene, Qt.Key.Key_Return)
    layer = layers.find(dock.viewer, dock.state.section, "attribution")
    assert layer.name == "attribution · lipids → m/z 100.0000"
    expected = pipeline.explain_ion(trained, dock.state.section, "linear0").of(["g1", "g2"])
    np.testing.assert_allclose(layer.features["value"], expected, atol=1e-5)
    assert page.bars.key not in page.bars.keys


def test_pathways_are_those_with_genes_among_the_data():
    named = bundled_sets()
    title, genes = next(iter(named.items()))
    found = explore_page.pathways_among([*(gene.title() for gene in genes[:4]), "g1"])
    assert found[f"{title} (pathway, 4 genes)"] == [gene.title() for gene in genes[:4]]
    assert explore_page.pathways_among(["g1", "g2"]) == {}


def test_a_transformer_shows_its_attention_beside_with_checks_and_ions(dock, page, qtbot):
    recipe = {"model": {"name": "transformer", "ensemble": 1}, "networks": {"epochs": 1}, "genes": {"n_components": 8}}
    assert not page.kind.isVisible()
    dock.state.set_model(pipeline.train(DATA, Recipe.model_validate(recipe)))
    assert page.kind.isVisible()
    page.kind.setCurrentIndex(1)
    page.kind.activated.emit(1)
    settle(dock, qtbot)
    model = dock.state.model.predictor
    found = attention_of(model, dock.state.section.st, ["linear0", "linear1"])
    weights = found.of("linear0")
    assert page.bars.keys == weights.mean().sort_values(ascending=False, kind="stable").index[:15].tolist()
    layer = layers.find(dock.viewer, dock.state.section, "attribution")
    assert layer.name == f"attention · {page.gene.key} → m/z 100.0000"
    np.testing.assert_allclose(layer.features["value"], weights[page.gene.key], atol=1e-6)
    assert page.colour_bar.provenance.text() == "share of attention"
    assert "most" not in page.unit.text()
    assert "attended genes to their mean" in page.checked.text()
    assert "random weights" in page.checked.text()
    page.comparison.compare()
    qtbot.waitUntil(lambda: len(page.comparison.heatmap.columns) > 0, timeout=20_000)
    heatmap = page.comparison.heatmap
    assert "share of attention over all spots" in page.comparison.words.text()
    expected = found.region().loc[heatmap.rows, "linear1"]
    column = [ion for ion, _ in heatmap.columns].index("linear1")
    np.testing.assert_allclose(heatmap.values[:, column], expected, atol=1e-6)
    # What genes bring is worked out when it is asked for.
    assert list(page.found) == ["contributions", "attention"]
    page.kind.setCurrentIndex(0)
    page.kind.activated.emit(0)
    settle(dock, qtbot)
    assert page.colour_bar.provenance.text() == "log(1 + intensity)"


def test_an_ion_that_the_model_does_not_predict_is_said_to_be(dock, page, trained):
    page.state.ion = "elsewhere"
    page.refresh()
    assert "does not predict this ion" in page.empty.label.text()
    assert not page.empty.button.isVisible()


def test_changed_genes_change_ions_on_the_tissue(dock, page, qtbot, trained):
    click_tab(dock, 2)
    change = dock.pages.change
    assert not change.run_bar.button.isEnabled()
    change.search.setText("g3")
    QTest.keyClick(change.search, Qt.Key.Key_Return)
    change.add("g5")
    assert change.genes == ["g3", "g5"]
    change.how.set_value("scale")
    assert change.amount.isVisible()
    change.amount.set_value(3)
    QTest.mouseClick(change.run_bar.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: change.found is not None, timeout=20_000)
    expected = pipeline.perturb(trained, dock.state.section, Change(("g3", "g5"), "scale", 3.0))
    layer = layers.find(dock.viewer, dock.state.section, "change")
    assert layer.name == "change · 2 genes × 3 → m/z 100.0000"
    np.testing.assert_allclose(layer.features["value"], expected.change[:, 0], atol=1e-4)
    assert visible(dock) == [layer.name]
    assert change.bars.keys == expected.ranked().index[:15].tolist()
    change.bars.chosen.emit("linear2")
    assert dock.state.ion == "linear2"
    assert layer.name.endswith("m/z 102.0000")
    change.clear_button.click()
    assert change.chosen_words.text() == "No gene yet."


def test_a_pathway_brings_its_genes(dock, page):
    change = dock.pages.change
    change._pathways = {"lipids (pathway, 2 genes)": ["g1", "g2"]}
    change.add("g2")
    change.add("lipids (pathway, 2 genes)")
    assert change.genes == ["g2", "g1"]
