"""What the canvases of the Register dock show, and that turning them moves no landmark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QPoint, Qt

from napari_st2msi import pipeline
from napari_st2msi.section import Section
from napari_st2msi.viewer import layers
from napari_st2msi.viewer.docks.register_canvas import LandmarkCanvas
from napari_st2msi.viewer.docks.register_context import RegisterContext
from napari_st2msi.viewer.docks.register_turn import Turn, set_turn, turn_of
from napari_st2msi.viewer.docks.register_views import WORDS, ViewsPanel
from napari_st2msi.viewer.landmark_editor import LandmarkEditor
from napari_st2msi.viewer.landmark_pairs import Side
from napari_st2msi.viewer.state import ViewerState


@pytest.fixture(scope="module")
def brain() -> Section:
    return pipeline.simulate(name="brain", n_spots=200, n_genes=60, ions_per_kind=1, image_px=128, seed=3).sections[0]


@pytest.fixture
def context(viewer: ViewerModel) -> RegisterContext:
    context = RegisterContext(ViewerState(), viewer, ViewerModel())
    context.shown = True
    return context


@pytest.fixture
def make_panel(qtbot: Any, context: RegisterContext) -> Callable[[Side], ViewsPanel]:
    def make(side: Side) -> ViewsPanel:
        panel = ViewsPanel(context, side)
        qtbot.addWidget(panel)
        panel.resize(400, 90)
        panel.show()
        return panel

    return make


def show(qtbot: Any, panel: ViewsPanel, what: str, name: str | None = None) -> None:
    """Choose a view and wait for its picture."""
    panel.show_view(what, name)
    qtbot.waitUntil(lambda: not panel.jobs.running, timeout=30_000)


def settle(qtbot: Any, panel: ViewsPanel) -> None:
    qtbot.waitUntil(lambda: not panel.jobs.running and panel.view is not None, timeout=30_000)


def test_each_side_offers_what_it_has(
    qtbot: Any, context: RegisterContext, make_panel: Callable[[Side], ViewsPanel], brain: Section, section: Section
) -> None:
    st, msi = make_panel("fixed"), make_panel("moving")
    assert not st.isEnabled()
    context.set_section(brain)
    words = [st.choice.box.itemText(i) for i in range(st.choice.box.count())]
    assert words == [WORDS[view] for view in ("histology", "counts", "gene", "components", "clusters")]
    assert [msi.choice.box.itemData(i) for i in range(4)] == ["tic", "ion", "components", "segmentation"]
    settle(qtbot, st)
    settle(qtbot, msi)
    assert msi.summary() == "total ion current"
    context.set_section(section)
    assert st.what == "counts"  # there is no stain
    settle(qtbot, st)


def test_every_view_is_drawn_in_layers_made_once(
    qtbot: Any, context: RegisterContext, make_panel: Callable[[Side], ViewsPanel], brain: Section
) -> None:
    panel = make_panel("fixed")
    context.set_section(brain)
    settle(qtbot, panel)
    stain = layers.find(context.left, brain, "histology")
    assert panel.picture.layer is stain
    assert stain.visible
    show(qtbot, panel, "counts")
    values = panel.picture.layer
    assert not stain.visible
    assert values.visible
    assert not values.rgb
    before = values.data.copy()
    show(qtbot, panel, "gene", brain.st.var_names[3])
    assert panel.picture.layer is values
    assert values.name == brain.st.var_names[3]
    assert not np.array_equal(values.data, before, equal_nan=True)
    show(qtbot, panel, "components")
    colours = panel.picture.layer
    assert colours.rgb
    show(qtbot, panel, "clusters")
    assert panel.picture.layer is colours
    assert [layer for layer in context.left.layers if layer.visible] == [colours]
    assert len(context.left.layers) == 3
    show(qtbot, panel, "histology")
    assert [layer for layer in context.left.layers if layer.visible] == [stain]


def test_changing_what_is_shown_never_touches_landmarks(
    qtbot: Any, context: RegisterContext, make_panel: Callable[[Side], ViewsPanel], brain: Section
) -> None:
    panel = make_panel("moving")
    context.set_section(brain)
    context.editor.add("moving", (120.0, 340.5))
    context.editor.add("fixed", (110.0, 350.5))
    facts = context.editor.to_dict()
    for what, name in (("components", None), ("ion", brain.ions.index[0]), ("segmentation", None), ("tic", None)):
        show(qtbot, panel, what, name)
    qtbot.mouseClick(panel.right_button, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(panel.mirror_button, Qt.MouseButton.LeftButton)
    assert context.editor.to_dict() == facts


def test_an_ion_is_found_by_typing(
    qtbot: Any, context: RegisterContext, make_panel: Callable[[Side], ViewsPanel], section: Section
) -> None:
    panel = make_panel("moving")
    context.set_section(section)
    settle(qtbot, panel)
    panel.choice.set_value("ion")
    assert panel.names.isVisible()
    assert panel.view.name == "total ion current"  # until an ion is chosen
    qtbot.keyClicks(panel.names, "heme")
    qtbot.keyClick(panel.names, Qt.Key.Key_Return)
    settle(qtbot, panel)
    assert panel.view.name == "m/z 616.1000 heme"
    grid = section.msi_grid.image(np.asarray(section.msi[:, "ion1"].X).ravel())
    assert np.array_equal(panel.picture.layer.data, grid, equal_nan=True)
    # A name that is none is marked, and the picture stays.
    panel.names.clear()
    qtbot.keyClicks(panel.names, "nonsense")
    qtbot.keyClick(panel.names, Qt.Key.Key_Return)
    assert panel.names.property("wrong") == "true"
    assert panel.view.name == "m/z 616.1000 heme"


def test_it_begins_with_the_ion_looked_at(
    qtbot: Any, context: RegisterContext, make_panel: Callable[[Side], ViewsPanel], section: Section
) -> None:
    panel = make_panel("moving")
    context.set_section(section)
    context.state.ion = "ion3"
    show(qtbot, panel, "ion")
    assert panel.view.name == "m/z 798.5410 PC(34:1)"


def test_a_picture_without_contrast_is_said(
    qtbot: Any, context: RegisterContext, make_panel: Callable[[Side], ViewsPanel], make_section: Callable[..., Section]
) -> None:
    panel = make_panel("moving")
    section = make_section()
    section.sdata.tables[section.roles.msi].X[:, 2] = 5.0
    context.set_section(section)
    show(qtbot, panel, "ion", "ion2")
    assert "the same everywhere" in panel.note.text()
    show(qtbot, panel, "tic")
    assert not panel.note.isVisible()


def test_a_view_that_fails_leaves_the_last_one(
    qtbot: Any, context: RegisterContext, make_panel: Callable[[Side], ViewsPanel], section: Section
) -> None:
    panel = make_panel("moving")
    context.set_section(section)
    settle(qtbot, panel)
    with qtbot.waitSignal(panel.failed) as said:
        panel.show_view("ion", "no such ion")
    assert "has no ion 'no such ion'" in said.args[0]
    assert said.args[1] == ""
    assert panel.what == "tic"
    assert panel.view.name == "total ion current"


def test_the_canvas_is_left_as_it_was_found(
    qtbot: Any, context: RegisterContext, make_panel: Callable[[Side], ViewsPanel], brain: Section
) -> None:
    layers.show_section(context.left, brain)
    own = list(context.left.layers)
    visible = [layer.visible for layer in own]
    panel = make_panel("fixed")
    context.set_section(brain)
    show(qtbot, panel, "components")
    panel.turn(1)
    mine = panel.picture.layer
    context.shown = False
    assert not mine.visible
    assert [layer.visible for layer in own] == visible
    assert turn_of(context.left) == Turn()
    context.shown = True
    assert mine.visible
    assert panel.picture.layer is mine
    assert turn_of(context.left) == Turn().turned(1)


def test_two_sections_are_drawn_in_the_same_layers(
    qtbot: Any, context: RegisterContext, make_panel: Callable[[Side], ViewsPanel], make_section: Callable[..., Section]
) -> None:
    panel = make_panel("moving")
    context.set_section(make_section("one"))
    settle(qtbot, panel)
    layer, before = panel.picture.layer, panel.picture.layer.data.copy()
    context.set_section(make_section("two", seed=1))
    assert panel.view is None
    settle(qtbot, panel)
    assert panel.picture.layer is layer
    assert layer.visible
    assert not np.array_equal(layer.data, before, equal_nan=True)
    assert len(context.right.layers) == 1


def test_a_layer_deleted_by_hand_is_made_again(
    qtbot: Any, context: RegisterContext, make_panel: Callable[[Side], ViewsPanel], section: Section
) -> None:
    panel = make_panel("moving")
    context.set_section(section)
    settle(qtbot, panel)
    context.right.layers.clear()
    show(qtbot, panel, "ion", "ion0")
    assert len(context.right.layers) == 1
    context.right.layers.clear()
    context.shown = False
    context.shown = True
    qtbot.waitUntil(lambda: len(context.right.layers) == 1)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("quarters", range(4))
def test_a_turn_is_told_and_undone(viewer: ViewerModel, quarters: int, mirrored: bool) -> None:
    viewer.add_image(np.zeros((30, 50)))
    turn = Turn().turned(quarters)
    turn = turn.mirrored() if mirrored else turn
    set_turn(viewer, turn)
    assert turn_of(viewer) == turn
    assert ("mirrored" in turn.words) == mirrored
    assert (f"{90 * quarters}°" in turn.words) == bool(quarters)
    back = turn.mirrored() if mirrored else turn
    set_turn(viewer, back.turned(-quarters))
    assert turn_of(viewer) == Turn()


def test_clicks_mean_the_same_place_after_turning(window: Any, qtbot: Any) -> None:
    """The pixel under which a place of the tissue is seen moves, the place that a click there means does not."""
    viewer, canvas = window
    picture = np.zeros((300, 400, 3), dtype=np.uint8)
    picture[40:60, 300:320] = (255, 0, 0)
    viewer.add_image(picture, rgb=True)
    editor = LandmarkEditor()
    landmarks = LandmarkCanvas(viewer, "fixed", editor)
    landmarks.show(None, viewer.layers.append)
    landmarks.adding = True
    seen, picked = [], []
    for turn in (Turn(), Turn().turned(1), Turn().turned(2).mirrored()):
        set_turn(viewer, turn)
        viewer.fit_to_view()
        qtbot.wait(100)
        shot = viewer.screenshot(canvas_only=True, flash=False)
        rows, columns = np.nonzero((shot[..., 0] > 200) & (shot[..., 1] < 50))
        row, column = rows.mean(), columns.mean()
        scale = canvas.width() / shot.shape[1]
        seen.append((row, column))
        qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=QPoint(round(column * scale), round(row * scale)))
        picked.append(editor.pairs[0].fixed)
        editor.delete(editor.pairs[0].id)
    assert np.abs(np.array(picked) - [309.5, 49.5]).max() < 2.0
    assert np.abs(np.diff(seen, axis=0)).max(axis=1).min() > 30


@pytest.fixture
def window(qtbot: Any) -> Any:
    import napari

    viewer = napari.Viewer(show=True)
    viewer.window.resize(900, 700)
    qtbot.wait(50)
    yield viewer, viewer.window._qt_viewer.canvas.native
    viewer.close()
