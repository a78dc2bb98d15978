"""The preview follows the registration at hand, quickly, and never shows what is stale."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_st2msi.errors import GeometryProblem
from napari_st2msi.registration.fit import fit
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.registration.overlay import Overlay
from napari_st2msi.registration.registration import Registration
from napari_st2msi.section import Section
from napari_st2msi.viewer.docks.register_context import RegisterContext
from napari_st2msi.viewer.docks.register_preview import PreviewPanel
from napari_st2msi.viewer.docks.register_views import ViewsPanel
from napari_st2msi.viewer.state import ViewerState

CORNERS = np.array([[0.0, 0.0], [50.0, 0.0], [50.0, 40.0], [0.0, 40.0]])


def registration(shift: tuple[float, float] = (0.0, 0.0)) -> Registration:
    landmarks = Landmarks(tuple("abcd"), CORNERS, CORNERS + shift, np.ones(4, dtype=bool))
    return fit(landmarks, "affine")


@pytest.fixture
def context(viewer: ViewerModel) -> RegisterContext:
    context = RegisterContext(ViewerState(), viewer, ViewerModel())
    context.shown = True
    return context


@pytest.fixture
def panels(context: RegisterContext) -> tuple[ViewsPanel, ViewsPanel]:
    return ViewsPanel(context, "fixed"), ViewsPanel(context, "moving")


@pytest.fixture
def panel(
    qtbot: Any, context: RegisterContext, section: Section, panels: tuple[ViewsPanel, ViewsPanel]
) -> PreviewPanel:
    st, msi = panels
    panel = PreviewPanel(context, st, msi)
    for each in (st, msi, panel):
        qtbot.addWidget(each)
        each.show()
    context.set_section(section)
    qtbot.waitUntil(lambda: st.view is not None and msi.view is not None)
    return panel


@pytest.fixture
def rest(qtbot: Any, panel: PreviewPanel) -> Callable[[], None]:
    return lambda: qtbot.waitUntil(lambda: not panel.jobs.running, timeout=10_000)


def middle(panel: PreviewPanel) -> np.ndarray:
    """Where, in µm of the ST, the pixels that are drawn have their middle."""
    rows, columns = np.nonzero(panel.layer.data[..., 3])
    return (panel.layer.affine.affine_matrix @ [rows.mean(), columns.mean(), 1.0])[1::-1]


def test_it_says_what_is_missing(panel: PreviewPanel, context: RegisterContext, rest: Callable[[], None]) -> None:
    assert panel.summary() == "off"
    assert not panel.note.isVisible()
    panel.show_mode("blend")
    assert "Three landmarks" in panel.note.text()
    assert panel.note.isVisible()
    context.registration = registration()
    rest()
    assert not panel.note.isVisible()
    assert panel.layer in context.left.layers


def test_it_follows_the_registration_in_one_layer(
    panel: PreviewPanel, context: RegisterContext, rest: Callable[[], None]
) -> None:
    context.registration = registration()
    panel.show_mode("blend")
    rest()
    layer, before = panel.layer, middle(panel)
    number = len(context.left.layers)
    context.registration = registration((10.0, 0.0))
    rest()
    assert panel.layer is layer
    assert len(context.left.layers) == number
    assert middle(panel) - before == pytest.approx([5.0, 0.0], abs=5.5)  # what leaves the picture is not drawn
    assert (middle(panel) - before)[0] > 2.0


def test_landmarks_stay_above_it_and_active(
    panel: PreviewPanel, panels: tuple[ViewsPanel, ViewsPanel], context: RegisterContext, rest: Callable[[], None]
) -> None:
    landmarks = context.left.add_points(np.zeros((1, 2)), name="landmarks ST")
    context.registration = registration()
    panel.show_mode("blend")
    rest()
    order = list(context.left.layers)
    st = panels[0]
    assert order.index(st.picture.layer) < order.index(panel.layer) < order.index(landmarks)
    assert context.left.layers.selection.active is landmarks


def test_opacity_is_that_of_the_layer(
    qtbot: Any, panel: PreviewPanel, context: RegisterContext, rest: Callable[[], None]
) -> None:
    context.registration = registration()
    panel.show_mode("blend")
    rest()
    pixels = panel.layer.data.copy()
    panel.opacity.setFocus()
    qtbot.keyClick(panel.opacity, Qt.Key.Key_Home)
    assert panel.layer.opacity == 0.0
    qtbot.keyClick(panel.opacity, Qt.Key.Key_PageUp)
    assert panel.layer.opacity == pytest.approx(0.1)
    rest()
    assert np.array_equal(panel.layer.data, pixels)


def test_tiles_and_line_leave_parts_out(
    qtbot: Any, panel: PreviewPanel, context: RegisterContext, rest: Callable[[], None]
) -> None:
    context.registration = registration()
    panel.show_mode("blend")
    rest()
    whole = (panel.layer.data[..., 3] > 0).sum()
    panel.show_mode("checkerboard")
    panel.tile.spin.selectAll()
    qtbot.keyClicks(panel.tile.spin, "10")
    qtbot.keyClick(panel.tile.spin, Qt.Key.Key_Return)
    rest()
    assert panel.tile.value() == 10
    drawn = (panel.layer.data[..., 3] > 0).sum()
    assert 0.35 < drawn / whole < 0.65
    assert panel.layer.opacity == 1.0
    panel.show_mode("swipe")
    panel.swipe.setFocus()
    qtbot.keyClick(panel.swipe, Qt.Key.Key_Home)
    rest()
    assert not panel.layer.data[..., 3].any()
    qtbot.keyClick(panel.swipe, Qt.Key.Key_End)
    rest()
    assert (panel.layer.data[..., 3] > 0).sum() == whole
    panel.show_mode("off")
    assert not panel.layer.visible


def test_other_pictures_are_laid_over(
    qtbot: Any,
    panel: PreviewPanel,
    panels: tuple[ViewsPanel, ViewsPanel],
    context: RegisterContext,
    rest: Callable[[], None],
) -> None:
    context.registration = registration()
    panel.show_mode("blend")
    rest()
    before = panel.layer.data.copy()
    msi = panels[1]
    with qtbot.waitSignal(panel.drawn):
        msi.show_view("ion", "ion2")
    rest()
    assert not np.array_equal(panel.layer.data, before)


def test_of_many_changes_the_last_one_is_seen(
    qtbot: Any,
    panel: PreviewPanel,
    context: RegisterContext,
    rest: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    warped, looks = Overlay.warped, []

    def slow(self: Overlay) -> np.ndarray:
        looks.append(self.transform)
        time.sleep(0.2)
        return warped(self)

    monkeypatch.setattr(Overlay, "warped", slow)
    panel.show_mode("blend")
    every = [registration((float(shift), 0.0)) for shift in range(20)]
    for each in every:
        context.registration = each
        QApplication.processEvents()
    rest()
    assert looks[-1] is every[-1].transform
    assert len(looks) < 10  # those in between were passed over


def test_off_or_hidden_it_draws_nothing(
    panel: PreviewPanel, context: RegisterContext, rest: Callable[[], None]
) -> None:
    context.registration = registration()
    panel.show_mode("blend")
    rest()
    layer = panel.layer
    context.shown = False
    assert not layer.visible
    context.shown = True
    rest()
    assert panel.layer is layer
    assert layer.visible
    context.registration = None
    assert not panel.layer.visible


def test_a_proposal_is_shown_even_if_it_was_off(
    panel: PreviewPanel, context: RegisterContext, rest: Callable[[], None]
) -> None:
    context.registration = registration()
    panel.show_if_off()
    assert panel.mode.value() == "blend"
    panel.show_mode("swipe")
    panel.show_if_off()
    assert panel.mode.value() == "swipe"
    rest()


def test_another_section_is_drawn_in_the_same_layer(
    qtbot: Any,
    panel: PreviewPanel,
    panels: tuple[ViewsPanel, ViewsPanel],
    context: RegisterContext,
    rest: Callable[[], None],
    make_section: Callable[..., Section],
) -> None:
    context.registration = registration()
    panel.show_mode("blend")
    rest()
    layer = panel.layer
    context.set_section(make_section("two"))
    assert not layer.visible
    covering = context.left.add_image(np.zeros((5, 5)))
    landmarks = context.left.add_points(np.zeros((1, 2)))
    qtbot.waitUntil(lambda: all(each.view is not None for each in panels))
    panels[0].picture._layers["values"] = covering  # whatever the picture is, the preview lies above it
    context.registration = registration((5.0, 0.0))
    rest()
    assert panel.layer is layer
    assert layer.visible
    order = list(context.left.layers)
    assert order.index(covering) < order.index(layer) < order.index(landmarks)


def test_what_fails_is_said(
    qtbot: Any, panel: PreviewPanel, context: RegisterContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Overlay) -> np.ndarray:
        raise GeometryProblem("The transform folds.")

    monkeypatch.setattr(Overlay, "warped", broken)
    panel.show_mode("blend")
    with qtbot.waitSignal(panel.failed) as said:
        context.registration = registration()
    assert said.args == ["The transform folds.", ""]
