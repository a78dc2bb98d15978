"""The Register dock in a real window: mouse and keys on both canvases, from the first click to a saved section."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Image
from napari.settings import get_settings
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QColor, QImage
from qtpy.QtWidgets import QWidget

from napari_st2msi import pipeline
from napari_st2msi.registration.landmark_files import find_landmarks
from napari_st2msi.section import Section
from napari_st2msi.viewer import layers, overlays
from napari_st2msi.viewer.docks.register import RegisterDock
from napari_st2msi.viewer.docks.register_table import TIERS
from napari_st2msi.viewer.landmark_pairs import Side
from napari_st2msi.viewer.parts.open_dock import open_dock
from napari_st2msi.viewer.state import state_of

LEFT = Qt.MouseButton.LeftButton
CTRL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
SMALL: dict[str, Any] = {"n_spots": 150, "n_genes": 40, "ions_per_kind": 1, "image_px": 128, "seed": 1}


@pytest.fixture(scope="module")
def zarr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small simulated section with landmarks."""
    section = pipeline.simulate(name="brain", **SMALL).sections[0]
    return pipeline.save(section, tmp_path_factory.mktemp("register") / "brain.zarr")


@pytest.fixture
def bare(zarr: Path, tmp_path: Path) -> Section:
    """The same section without landmarks, in a zarr of its own."""
    section = pipeline.open_section(zarr)
    for name in ("landmarks_st", "landmarks_msi"):
        del section.sdata[name]
    return pipeline.open_section(pipeline.save(section, tmp_path / "bare.zarr"))


@pytest.fixture
def window(make_napari_viewer: Any) -> Any:
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1300, 760)
    return viewer


class Hand:
    """A user: moves the mouse over either canvas and presses keys."""

    def __init__(self, qtbot: Any, dock: RegisterDock) -> None:
        self.qtbot, self.dock = qtbot, dock

    def canvas(self, side: Side) -> QWidget:
        left, right = self.dock.canvases.widgets
        return left if side == "fixed" else right

    def at(self, side: Side, xy: tuple[float, float]) -> QPoint:
        """Return where on a canvas a position in µm is seen."""
        viewer = self.dock.viewer if side == "fixed" else self.dock.canvases.right
        canvas = self.canvas(side)
        dims, camera = viewer.dims, viewer.scene.camera
        world = dict(zip(range(dims.ndim - 2, dims.ndim), reversed(xy), strict=True))
        row, column = (world[axis] for axis in dims.displayed)
        centre = camera.center[-2:]
        signs = [1 if words in ("down", "right") else -1 for words in camera.orientation2d]
        down = signs[0] * (row - centre[0]) * camera.zoom
        right = signs[1] * (column - centre[1]) * camera.zoom
        return QPoint(round(canvas.width() / 2 + right), round(canvas.height() / 2 + down))

    def click(self, side: Side, xy: tuple[float, float]) -> None:
        self.qtbot.mouseClick(self.canvas(side), LEFT, pos=self.at(side, xy))
        self.settle()

    def drag(self, side: Side, start: tuple[float, float], end: tuple[float, float]) -> None:
        canvas, first, last = self.canvas(side), self.at(side, start), self.at(side, end)
        self.qtbot.mousePress(canvas, LEFT, pos=first)
        for share in np.linspace(0, 1, 8)[1:]:
            between = first + (last - first) * float(share)
            # QTest moves without a button; a hand does not.
            _move(canvas, between)
            self.qtbot.wait(10)
        self.qtbot.mouseRelease(canvas, LEFT, pos=last)
        self.settle()

    def key(self, side: Side, key: Any, modifier: Any = Qt.KeyboardModifier.NoModifier) -> None:
        self.qtbot.keyClick(self.canvas(side), key, modifier)
        self.settle()

    def settle(self) -> None:
        self.qtbot.waitUntil(lambda: not self.dock.fitting.running, timeout=20_000)

    def pixel_um(self, side: Side) -> float:
        """Return how many µm one pixel of the screen is."""
        viewer = self.dock.viewer if side == "fixed" else self.dock.canvases.right
        return 1 / float(viewer.scene.camera.zoom)


def _move(canvas: QWidget, place: QPoint) -> None:
    from qtpy.QtCore import QEvent, QPointF
    from qtpy.QtGui import QMouseEvent
    from qtpy.QtWidgets import QApplication

    event = QMouseEvent(
        QEvent.Type.MouseMove,
        QPointF(place),
        QPointF(canvas.mapToGlobal(place)),
        Qt.MouseButton.NoButton,
        LEFT,
        Qt.KeyboardModifier.NoModifier,
    )
    QApplication.sendEvent(canvas, event)


@pytest.fixture
def start(qtbot: Any, window: Any) -> Callable[[Section], Hand]:
    """Open the dock with a section looked at, and wait until it shows what the section carries."""

    def begin(section: Section) -> Hand:
        state_of(window).add_section(section)
        dock = open_dock(window, "Register")
        qtbot.waitUntil(lambda: _ready(dock), timeout=30_000)
        # Until both canvases have the size that they have beside each other, and were painted in it.
        qtbot.waitUntil(lambda: _halves(dock), timeout=10_000)
        qtbot.wait(200)
        return Hand(qtbot, dock)

    return begin


def _halves(dock: RegisterDock) -> bool:
    left, right = dock.canvases.widgets
    return left.isVisible() and right.isVisible() and abs(left.width() - right.width()) < 20


def _ready(dock: RegisterDock) -> bool:
    section = dock.context.section
    return (
        section is not None
        and dock._held[section].known
        and not dock.fitting.running
        and dock.st_view.view is not None
        and dock.msi_view.view is not None
    )


def places(section: Section, n: int) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Return positions in ST and in MSI, somewhat apart from a mere shift, that belong together."""
    middle = section.spots.centres.mean(axis=0)
    size = np.ptp(section.spots.centres, axis=0) * 0.3
    msi = np.asarray(section.msi.obsm["spatial"]).mean(axis=0)
    around = np.array([[-1, -1], [1, -0.8], [0.9, 1], [-0.8, 0.9], [0.1, 0], [0.5, -0.4]])[:n]
    return [(tuple(middle + size * at), tuple(msi + size * at * [-1, 1])) for at in around]


# -- picking ---------------------------------------------------------------------------------------------


def test_a_click_on_either_side_and_one_on_the_other_make_a_pair(
    start: Callable[[Section], Hand], bare: Section
) -> None:
    hand = start(bare)
    dock = hand.dock
    assert "Press Add landmarks" in dock.landmarks.hint.text()
    assert not dock.run_bar.button.isEnabled()
    (st1, msi1), (st2, msi2), (st3, msi3), (st4, _) = places(bare, 4)

    hand.click("fixed", st1)
    assert dock.editor.pairs == (), "a click adds only while adding"
    hand.key("fixed", Qt.Key.Key_L)
    assert dock.landmarks.add.isChecked()
    assert dock.viewer.cursor.style == "crosshair"
    assert dock.canvases.right.cursor.style == "crosshair"
    hand.click("fixed", st1)
    assert "Now click landmark 1 in the MSI" in dock.landmarks.hint.text()
    hand.click("moving", msi1)
    hand.click("moving", msi2)
    assert "Now click landmark 2 in the ST" in dock.landmarks.hint.text()
    hand.click("fixed", st2)
    hand.click("fixed", st3)
    assert dock.editor.pair("3").predicted is None, "two pairs predict nothing"
    hand.click("moving", msi3)
    assert dock.context.registration is not None
    assert dock.context.registration.reflects
    first = dock.editor.pair("1")
    assert first.fixed == pytest.approx(st1, abs=hand.pixel_um("fixed"))
    assert first.moving == pytest.approx(msi1, abs=hand.pixel_um("moving"))

    hand.click("fixed", st4)
    fourth = dock.editor.pair("4")
    assert fourth.predicted == "moving"
    assert "predicted in the MSI" in dock.landmarks.hint.text()
    layer = dock.stage.moving.layer
    assert layer is not None
    assert len(layer.data) == 4
    assert layer.face_color[3, 3] == 0, "a prediction is hollow"
    assert fourth.moving is not None
    hand.click("moving", fourth.moving)
    assert dock.editor.pair("4").complete, "a click accepts it"
    hand.key("moving", Qt.Key.Key_L)
    assert not dock.landmarks.add.isChecked()
    assert dock.viewer.cursor.style == "standard"


def test_dragging_moves_a_marker_and_not_the_view(start: Callable[[Section], Hand], bare: Section) -> None:
    hand = start(bare)
    dock = hand.dock
    pairs = places(bare, 5)
    hand.key("fixed", Qt.Key.Key_L)
    for st, msi in pairs[:4]:
        hand.click("fixed", st)
        hand.click("moving", msi)
    st, _ = pairs[4]
    hand.click("fixed", st)
    guess = dock.editor.pair("5").moving
    assert guess is not None
    centre = dock.canvases.right.scene.camera.center
    target = (guess[0] + 20 * hand.pixel_um("moving"), guess[1] - 12 * hand.pixel_um("moving"))
    hand.drag("moving", guess, target)
    moved = dock.editor.pair("5")
    assert moved.complete
    assert moved.moving == pytest.approx(target, abs=1.5 * hand.pixel_um("moving"))
    assert dock.canvases.right.scene.camera.center == centre
    assert len(dock.editor.pairs) == 5

    before = dock.editor.changes
    hand.key("moving", Qt.Key.Key_Z, CTRL)
    assert dock.editor.pair("5").predicted == "moving", "a drag is undone at once"
    assert dock.editor.changes == before - 1

    empty = (target[0] + 60 * hand.pixel_um("moving"), target[1])
    hand.drag("moving", empty, (empty[0], empty[1] + 40 * hand.pixel_um("moving")))
    assert dock.canvases.right.scene.camera.center != centre, "beside the markers the view is dragged"
    assert len(dock.editor.pairs) == 5


# -- keys ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["fixed", "moving"])
def test_keys_work_on_both_canvases(start: Callable[[Section], Hand], zarr: Path, side: Side) -> None:
    hand = start(pipeline.open_section(zarr))
    dock = hand.dock
    n = len(dock.editor.pairs)
    pair = dock.editor.pairs[1]
    at = pair.at(side)
    assert at is not None
    hand.click(side, at)
    assert dock.editor.selected == pair.id
    assert dock.landmarks.table.currentIndex().row() == 1

    hand.key(side, Qt.Key.Key_E)
    assert not dock.editor.pair(pair.id).enabled
    registration = dock.context.registration
    assert registration is not None
    assert registration.landmarks.enabled.sum() == n - 1
    hand.key(side, Qt.Key.Key_Delete)
    assert len(dock.editor.pairs) == n - 1
    hand.key(side, Qt.Key.Key_Z, CTRL)
    assert len(dock.editor.pairs) == n
    assert "Undone: delete landmark" in dock.messages.text
    hand.key(side, Qt.Key.Key_Z, CTRL)
    assert dock.editor.pair(pair.id).enabled
    hand.key(side, Qt.Key.Key_Z, CTRL | SHIFT)
    assert not dock.editor.pair(pair.id).enabled
    hand.key(side, Qt.Key.Key_Escape)
    assert dock.editor.selected is None


def test_keys_work_in_the_dock_but_not_while_typing(qtbot: Any, start: Callable[[Section], Hand], zarr: Path) -> None:
    hand = start(pipeline.open_section(zarr))
    dock = hand.dock
    table = dock.landmarks.table
    table.setFocus()
    table.selectRow(2)
    assert dock.editor.selected == dock.editor.pairs[2].id
    qtbot.keyClick(table, Qt.Key.Key_E)
    assert not dock.editor.pairs[2].enabled
    n = len(dock.editor.pairs)
    qtbot.keyClick(table, Qt.Key.Key_Delete)
    assert len(dock.editor.pairs) == n - 1
    qtbot.keyClick(table, Qt.Key.Key_Z, CTRL)
    assert len(dock.editor.pairs) == n

    dock.msi_view.show_view("ion")
    dock.msi_view.names.setFocus()
    qtbot.keyClicks(dock.msi_view.names, "le")
    assert dock.msi_view.names.text().lower() == "le"
    assert not dock.landmarks.add.isChecked()


def test_keys_are_given_back(qtbot: Any, window: Any, start: Callable[[Section], Hand], zarr: Path) -> None:
    hand = start(pipeline.open_section(zarr))
    keys = set(window.keymap)
    assert keys
    open_dock(window, "Data")
    assert not hand.dock.front
    assert not window.keymap
    open_dock(window, "Register")
    assert set(window.keymap) == keys


# -- the window --------------------------------------------------------------------------------------------


def test_the_second_canvas_comes_and_goes(
    qtbot: Any, window: Any, start: Callable[[Section], Hand], zarr: Path
) -> None:
    section = pipeline.open_section(zarr)
    hand = start(section)
    left, right = hand.dock.canvases.widgets
    assert _halves(hand.dock)
    assert window.canvas.overlays.text.text == "ST"
    assert hand.dock.canvases.right.canvas.overlays.text.text == "MSI"
    assert [layer.name for layer in window.layers if layer.visible] == ["H&E", "landmarks ST"]

    open_dock(window, "Data")
    qtbot.waitUntil(lambda: not right.isVisible(), timeout=5000)
    half = right.width()
    qtbot.waitUntil(lambda: left.width() > 1.8 * half, timeout=5000)
    assert not window.canvas.overlays.text.visible
    landmarks = layers.find(window, section, "landmarks_st")
    assert landmarks is not None
    assert landmarks.visible
    open_dock(window, "Register")
    qtbot.waitUntil(lambda: _halves(hand.dock), timeout=5000)
    centre = window.window._qt_window.centralWidget()
    before = centre.layout().count()
    window.window.remove_dock_widget(hand.dock)
    qtbot.waitUntil(lambda: centre.layout().count() == before - 1, timeout=5000)
    assert not window.keymap
    assert all(each.__module__.startswith("napari.") for each in window.mouse_drag_callbacks)


def test_other_docks_do_not_cover_the_st_and_get_what_they_asked_for_afterwards(
    qtbot: Any, window: Any, start: Callable[[Section], Hand], zarr: Path
) -> None:
    section = pipeline.open_section(zarr)
    explore = open_dock(window, "Explore")
    hand = start(section)

    def measured() -> Any:
        return layers.find(window, section, "measured")

    qtbot.waitUntil(lambda: measured() is not None, timeout=10_000)
    seen = []
    measured().events.visible.connect(lambda event: seen.append(event.source.visible))
    pipeline.register(section)
    explore.state.set_registered(section)
    qtbot.waitUntil(lambda: not explore._reading.running, timeout=10_000)
    explore.state.ion = str(section.ions.index[-1])
    assert explore.ions.buttons["measured"].isChecked(), "it is what Explore shows"
    assert not any(seen)
    assert not measured().visible
    assert window.layers.selection.active is hand.dock.stage.fixed.layer
    measured().visible = True  # by its eye in the layer list
    assert not measured().visible
    open_dock(window, "Explore")
    assert measured().visible
    assert not layers.find(window, section, "landmarks_st").visible, "MSI lies over the ST now"
    layers.find(window, section, "landmarks_st").visible = True
    open_dock(window, "Register")
    open_dock(window, "Explore")
    assert layers.find(window, section, "landmarks_st").visible, "shown by hand"


def test_the_section_before_is_not_seen_when_another_one_is_chosen_while_registering(
    qtbot: Any, window: Any, start: Callable[[Section], Hand], zarr: Path, bare: Section
) -> None:
    section = pipeline.open_section(zarr)
    data = open_dock(window, "Data")
    data.state.add_section(section)
    overlays.show_section(window, section)
    start(section)
    data.state.add_section(bare)
    open_dock(window, "Data")
    assert not any(layer.visible for layer in layers.own_layers(window, section))
    data.state.section = section
    assert layers.find(window, section, "landmarks_st").visible
    assert layers.find(window, section, "histology").visible
    assert not any(layer.visible for layer in layers.own_layers(window, bare))


def test_the_msi_is_painted_again_after_another_tab_was_in_front(
    qtbot: Any, window: Any, start: Callable[[Section], Hand], zarr: Path
) -> None:
    hand = start(pipeline.open_section(zarr))
    dock = hand.dock
    open_dock(window, "Data")
    dock.editor.enable(dock.editor.pairs[0].id, False)  # what changes unseen
    qtbot.waitUntil(lambda: not dock.fitting.running)
    open_dock(window, "Register")
    canvas = dock.canvases._qt.canvas._scene_canvas
    qtbot.waitUntil(lambda: not canvas._update_pending, timeout=5000)
    drawn: list[Any] = []
    canvas.events.draw.connect(drawn.append)
    hand.key("moving", Qt.Key.Key_L)
    hand.click("moving", dock.editor.pairs[0].moving or (0.0, 0.0))
    qtbot.waitUntil(lambda: bool(drawn), timeout=5000)


def test_another_active_layer_takes_neither_clicks_nor_tools(
    qtbot: Any, window: Any, start: Callable[[Section], Hand], bare: Section
) -> None:
    hand = start(bare)
    dock = hand.dock
    landmarks = dock.stage.fixed.layer
    assert landmarks is not None
    assert window.layers.selection.active is landmarks
    dock.st_view.show_view("counts")
    qtbot.waitUntil(lambda: dock.st_view.what == "counts" and not dock.st_view.jobs.running)
    made = Image(np.zeros((4, 4)), name="measured")
    layers.add(window, bare, "measured", made)  # as Explore does, once it has read the ions
    qtbot.waitUntil(lambda: window.layers.selection.active is landmarks and not made.visible)
    assert dock.st_view.picture.layer is not None
    assert dock.st_view.picture.layer.visible, "only what would cover the ST is hidden"
    window.layers.selection.active = layers.find(window, bare, "spots")
    hand.key("fixed", Qt.Key.Key_L)
    assert window.layers.selection.active is landmarks
    (st, _), *_ = places(bare, 1)
    hand.click("fixed", st)
    hand.key("fixed", Qt.Key.Key_2)  # napari's tool to add points
    assert not landmarks.editable
    assert landmarks.mode == "pan_zoom"
    assert len(landmarks.data) == len(dock.editor.pairs) == 1
    open_dock(window, "Data")
    assert landmarks.editable, "elsewhere it is a layer as any other"


@pytest.mark.parametrize("side", ["fixed", "moving"])
def test_names_are_written_beside_markers_and_read_on_any_ground(
    qtbot: Any, start: Callable[[Section], Hand], zarr: Path, side: Side
) -> None:
    hand = start(pipeline.open_section(zarr))
    dock = hand.dock
    panel = dock.st_view if side == "fixed" else dock.msi_view
    panel.turn(1)
    panel.mirror()
    canvas = dock.stage.fixed if side == "fixed" else dock.stage.moving
    names = canvas._names
    assert names is not None
    assert canvas.layer is not None
    assert not canvas.layer.text.visible
    places = names.places()
    assert set(places) == {pair.id for pair in dock.editor.pairs}
    for pair in dock.editor.pairs:
        there = pair.at(side)
        assert there is not None
        away = places[pair.id].center() - hand.at(side, there).toPointF()
        assert 4 < np.hypot(away.x(), away.y()) < 40
    for one, other in combinations(places.values(), 2):
        assert not one.intersects(other)
    picture = QImage(names.size(), QImage.Format.Format_ARGB32)
    for ground in ("white", "black", "#0072b2", "#f0e442"):
        picture.fill(QColor(ground))
        names.render(picture)
        for rect in places.values():
            letters = picture.copy(rect.toAlignedRect().adjusted(-2, -2, 2, 2))
            seen = [
                letters.pixelColor(x, y).lightness() for x in range(letters.width()) for y in range(letters.height())
            ]
            assert max(seen) > 230, ground
            assert min(seen) < 60, ground


def test_what_was_undone_is_said_until_the_next_edit(start: Callable[[Section], Hand], zarr: Path) -> None:
    hand = start(pipeline.open_section(zarr))
    dock = hand.dock
    first, second, *_ = dock.editor.pairs
    dock.editor.delete(first.id)
    hand.key("fixed", Qt.Key.Key_Z, CTRL)
    assert dock.messages.text == "Undone: delete landmark 1."
    dock.editor.enable(second.id, False)
    assert not dock.messages.text


def test_a_dock_opened_again_finds_what_was_kept(
    qtbot: Any, window: Any, start: Callable[[Section], Hand], bare: Section
) -> None:
    hand = start(bare)
    hand.key("fixed", Qt.Key.Key_L)
    for st, msi in places(bare, 4):
        hand.click("fixed", st)
        hand.click("moving", msi)
    kept = hand.dock.editor.to_dict()
    window.window.remove_dock_widget(hand.dock)
    qtbot.wait(50)
    dock = open_dock(window, "Register")
    qtbot.waitUntil(lambda: _ready(dock), timeout=30_000)
    assert dock.editor.pairs == ()
    assert "4 landmarks of this section were not saved" in dock.messages.text
    qtbot.mouseClick(dock.messages.action, LEFT)
    assert dock.editor.to_dict()["pairs"] == [
        {**pair, "fixed": tuple(pair["fixed"]), "moving": tuple(pair["moving"])} for pair in kept["pairs"]
    ]
    dock.commands.undo()
    assert dock.editor.pairs == ()


def test_two_sections_keep_their_landmarks_apart(
    qtbot: Any, start: Callable[[Section], Hand], bare: Section, zarr: Path
) -> None:
    hand = start(bare)
    dock, state = hand.dock, hand.dock.state
    hand.key("fixed", Qt.Key.Key_L)
    (st, msi), *_ = places(bare, 1)
    hand.click("fixed", st)
    hand.click("moving", msi)
    other = pipeline.open_section(zarr)
    state.add_section(other)
    qtbot.waitUntil(lambda: _ready(dock), timeout=30_000)
    assert dock.context.section is other
    assert len(dock.editor.pairs) == len(find_landmarks(other))
    assert not dock.editor.can_undo
    state.section = bare
    qtbot.waitUntil(lambda: _ready(dock), timeout=30_000)
    assert len(dock.editor.pairs) == 1
    assert dock.editor.changes == 2
    dock.commands.undo()
    assert not dock.editor.pairs[0].complete
    state.remove_section(bare)
    state.remove_section(other)
    assert dock.context.section is None
    assert not dock.canvases.shown


def test_a_stained_section_without_st_is_registered(
    qtbot: Any, start: Callable[[Section], Hand], zarr: Path, tmp_path: Path
) -> None:
    whole = pipeline.open_section(zarr)
    for name in ("st", "st_spots", "landmarks_st", "landmarks_msi"):
        del whole.sdata[name]
    section = Section(whole.sdata, replace(whole.roles, st=None, st_element=None), name="bladder")
    assert not section.has_st
    hand = start(section)
    dock = hand.dock
    assert [dock.st_view.choice.box.itemText(place) for place in range(dock.st_view.choice.box.count())] == [
        "stained section"
    ]
    assert dock.viewer.canvas.overlays.text.text == dock.side_labels["fixed"].text() == "H&E"
    hand.key("fixed", Qt.Key.Key_L)
    for number, (st, msi) in enumerate(places(pipeline.open_section(zarr), 4), start=1):
        hand.click("fixed", st)
        if number == 1:
            assert dock.landmarks.table.landmarks.data(dock.landmarks.table.landmarks.index(0, 3)) == "no MSI"
        hand.click("moving", msi)
    dock.preview.show_mode("blend")
    qtbot.waitUntil(lambda: dock.preview.layer is not None and dock.preview.layer.visible, timeout=20_000)
    hand.key("fixed", Qt.Key.Key_Z, CTRL)
    assert dock.messages.text == "Undone: confirm landmark 4."
    hand.key("fixed", Qt.Key.Key_Z, CTRL | SHIFT)
    qtbot.mouseClick(dock.run_bar.button, LEFT)
    qtbot.waitUntil(lambda: not dock.jobs.running, timeout=30_000)
    assert section.registered
    assert "MSI lies over the H&E." in dock.messages.text
    assert "no confidence" in dock.messages.text
    again = pipeline.open_section(pipeline.save(section, tmp_path / "bladder.zarr"))
    assert again.msi_to_st == pytest.approx(section.msi_to_st)
    assert len(find_landmarks(again)) == 4


@pytest.mark.parametrize(("st", "msi", "lacks"), [(True, False, "its MSI"), (False, True, "its ST")])
def test_a_section_with_one_side_says_what_is_missing(
    qtbot: Any, window: Any, make_section: Callable[..., Section], st: bool, msi: bool, lacks: str
) -> None:
    dock = open_dock(window, "Register")
    assert dock.empty.isVisible()
    assert "Open a section with ST and MSI" in dock.empty.label.text()
    assert not dock.canvases.shown
    state_of(window).add_section(make_section(st=st, msi=msi))
    assert lacks in dock.empty.label.text()
    assert not dock.canvases.shown
    assert not dock.run_bar.button.isEnabled()
    qtbot.mouseClick(dock.empty.button, LEFT)
    assert not dock.front, "the Data dock is in front"


# -- fitting, applying, saving -----------------------------------------------------------------------------


def test_landmarks_of_a_section_are_fitted_applied_and_saved(
    qtbot: Any, start: Callable[[Section], Hand], zarr: Path, tmp_path: Path, kept_landmarks: Path
) -> None:
    section = pipeline.open_section(pipeline.save(pipeline.open_section(zarr), tmp_path / "own.zarr"))
    hand = start(section)
    dock, state = hand.dock, hand.dock.state
    assert "not applied. Press Register" in dock.state_line.text()
    qtbot.mouseClick(dock.run_bar.button, LEFT)
    qtbot.waitUntil(lambda: not dock.jobs.running, timeout=30_000)
    assert section.registered
    assert state.work(section).unsaved
    assert "MSI lies over the ST" in dock.messages.text
    assert dock.messages.action.text() == "Pair in the Data dock"
    assert not dock.run_bar.button.isEnabled(), "nothing is left to apply"
    assert "registered, not saved" in dock.state_line.text()

    first = dock.editor.pairs[0]
    assert first.fixed is not None
    hand.drag("fixed", first.fixed, (first.fixed[0] + 30 * hand.pixel_um("fixed"), first.fixed[1]))
    hand.key("fixed", Qt.Key.Key_E)
    assert "2 changes not applied. Press Register again" in dock.state_line.text()
    hand.key("fixed", Qt.Key.Key_S, CTRL)
    qtbot.waitUntil(lambda: dock.messages.text.startswith("Saved as"), timeout=60_000)
    assert f"{len(dock.editor.pairs) - 1} landmarks" in dock.messages.text
    assert not state.work(section).unsaved
    assert not list(kept_landmarks.glob("*.json")), "what is saved needs not be resumed"

    again = pipeline.open_section(tmp_path / "own.zarr")
    assert again.registered
    landmarks = find_landmarks(again)
    moved = dock.editor.pair(first.id)
    assert not landmarks.enabled[landmarks.ids.index(first.id)]
    assert landmarks.fixed[landmarks.ids.index(first.id)] == pytest.approx(moved.fixed)
    assert again.msi_to_st == pytest.approx(section.msi_to_st)


def test_registering_again_makes_the_pairing_stale(qtbot: Any, start: Callable[[Section], Hand], zarr: Path) -> None:
    section = pipeline.open_section(zarr)
    pipeline.register(section)
    hand = start(section)
    dock, state = hand.dock, hand.dock.state
    state.set_paired(pipeline.pair(section), section)
    assert not dock.pending
    dock.editor.enable(dock.editor.pairs[0].id, False)
    hand.settle()
    dock.run_bar.button.click()
    qtbot.waitUntil(lambda: not dock.jobs.running, timeout=30_000)
    assert "registration changed since pairing" in state.work(section).stale["paired"]


def test_the_table_says_how_far_off_each_is_and_centres_both_canvases(
    qtbot: Any, start: Callable[[Section], Hand], zarr: Path
) -> None:
    hand = start(pipeline.open_section(zarr))
    dock = hand.dock
    table, registration = dock.landmarks.table, dock.context.registration
    assert registration is not None
    model = table.landmarks
    shown = [model.data(model.index(row, 3)) for row in range(model.rowCount())]
    assert [float(text) for text in shown] == pytest.approx(registration.left_out_um, abs=0.51)
    assert {model.data(model.index(row, 5)).strip(" !") for row in range(model.rowCount())} <= set(TIERS)
    assert "left out is missed by" in dock.landmarks.result.text()

    table.horizontalHeader().sectionClicked.emit(3)
    worst = registration.landmarks.ids[int(np.argmax(registration.left_out_um))]
    assert model.id(0) == worst
    rect = table.visualRect(model.index(0, 2))
    qtbot.mouseClick(table.viewport(), LEFT, pos=rect.center())
    pair = dock.editor.pair(worst)
    assert dock.editor.selected == worst
    assert pair.fixed is not None
    assert pair.moving is not None
    assert dock.viewer.scene.camera.center[-2:] == pytest.approx(pair.fixed[::-1])
    assert dock.canvases.right.scene.camera.center[-2:] == pytest.approx(pair.moving[::-1])

    used = table.visualRect(model.index(0, 1))
    qtbot.mouseClick(table.viewport(), LEFT, pos=used.center())
    hand.settle()
    model.setData(model.index(model.row(worst), 0), "ventricle")
    assert dock.editor.selected == "ventricle"
    other = next(pair.id for pair in dock.editor.pairs if pair.id != "ventricle")
    model.setData(model.index(model.row("ventricle"), 0), other)
    assert f"Another landmark is called {other}" in dock.messages.text


def test_another_transform_is_fitted_and_all_are_listed(start: Callable[[Section], Hand], zarr: Path) -> None:
    hand = start(pipeline.open_section(zarr))
    dock = hand.dock
    registration = dock.context.registration
    assert registration is not None
    assert dock.transform.table.candidates.rowCount() == len(registration.candidates) > 3
    dock.transform.transform.box.setCurrentIndex(dock.transform.transform.box.findData("thin_plate"))
    hand.settle()
    assert dock.context.registration is not None
    assert dock.context.registration.transform.kind == "thin_plate"
    assert dock.transform.summary().startswith("thin-plate")
    dock.transform.transform.box.setCurrentIndex(dock.transform.transform.box.findData("similarity"))
    hand.settle()
    dock.transform.mirrored.box.setCurrentIndex(dock.transform.mirrored.box.findData(not registration.reflects))
    hand.settle()
    assert dock.context.registration.reflects != registration.reflects
    assert dock.context.registration.rms_um > registration.rms_um or dock.context.registration.warnings


def test_landmarks_that_cannot_be_fitted_say_why(start: Callable[[Section], Hand], bare: Section) -> None:
    hand = start(bare)
    dock = hand.dock
    for x in range(3):
        dock.editor.add("fixed", (500.0 + 100 * x, 500.0))
        dock.editor.add("moving", (500.0 + 100 * x, 500.0))
    hand.settle()
    assert dock.context.registration is None
    assert "on one line" in dock.landmarks.result.text()
    assert not dock.run_bar.button.isEnabled()
    dock.editor.add("fixed", (600.0, 900.0))
    dock.editor.add("moving", (600.0, 900.0))
    hand.settle()
    assert dock.context.registration is not None
    assert dock.run_bar.button.isEnabled()


def test_turning_a_canvas_moves_no_click(start: Callable[[Section], Hand], bare: Section) -> None:
    hand = start(bare)
    dock = hand.dock
    dock.st_view.turn(1)
    dock.msi_view.mirror()
    hand.key("fixed", Qt.Key.Key_L)
    (st, msi), *_ = places(bare, 1)
    hand.click("fixed", st)
    hand.click("moving", msi)
    pair = dock.editor.pairs[0]
    assert pair.fixed == pytest.approx(st, abs=1.5 * hand.pixel_um("fixed"))
    assert pair.moving == pytest.approx(msi, abs=1.5 * hand.pixel_um("moving"))
    dock.landmarks.table.selectRow(0)
    dock._on_row(pair.id)
    assert pair.fixed is not None
    middle = hand.canvas("fixed").rect().center()
    assert (hand.at("fixed", pair.fixed) - middle).manhattanLength() < 4


def test_nothing_is_wider_than_the_narrowest_dock(
    qtbot: Any, window: Any, start: Callable[[Section], Hand], zarr: Path
) -> None:
    dock = start(pipeline.open_section(zarr)).dock
    dock.automatic.card.show()
    for group in dock.groups:
        group.expand()
    for size in (9, 10, 13):
        get_settings().appearance.font_size = size
        window.window._qt_window.resizeDocks([dock.parent()], [320], Qt.Orientation.Horizontal)
        qtbot.waitUntil(lambda: dock.width() == 320)
        qtbot.waitUntil(lambda: dock.scroll.widget().width() <= dock.scroll.viewport().width())
        # Columns that find no room give way, and none is left half seen.
        for table in (dock.landmarks.table, dock.transform.table):
            qtbot.waitUntil(lambda table=table: table.horizontalHeader().length() <= table.viewport().width())
    assert dock.landmarks.table.isColumnHidden(4)
    assert not dock.landmarks.table.isColumnHidden(3)
