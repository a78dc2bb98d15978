"""The scatter of named points, with the mouse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, QRectF, Qt
from qtpy.QtTest import QTest

from napari_st2msi.viewer.parts.scatter import Kind, Scatter
from napari_st2msi.viewer.parts.style import look_of

KINDS = [Kind("few", "#0072b2"), Kind("many", "#e69f00", "s")]
KEYS = ["a", "b", "c", "d", "gone"]
XY = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [1.0, 2.0], [0.5, np.nan]])


@pytest.fixture
def scatter(qtbot: Any, viewer: Any) -> Scatter:
    scatter = Scatter(lambda key: f"this is {key}")
    qtbot.addWidget(scatter)
    scatter.set_look(look_of(viewer))
    scatter.resize(320, 240)
    scatter.show()
    qtbot.waitExposed(scatter)
    scatter.show_points(KEYS, XY, np.array([0, 0, 1, 1, 1]), KINDS, ("across", "up"))
    qtbot.wait(50)
    return scatter


def place(scatter: Scatter, x: float, y: float) -> QPoint:
    """Return where a value lies on the widget that gets the mouse."""
    return scatter.plot.mapFromScene(scatter.box.mapViewToScene(QPointF(x, y)))


def drag(scatter: Scatter, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Span a box with the left button, as a hand does: in several steps."""
    view = scatter.plot.viewport()
    first, last = place(scatter, *start), place(scatter, *end)
    QTest.mousePress(view, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, first)
    for share in (0.2, 0.6, 1.0):
        QTest.qWait(30)
        QTest.mouseMove(view, first + (last - first) * share)
    QTest.qWait(30)
    QTest.mouseRelease(view, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, last)


def test_points_without_a_value_are_left_out(scatter):
    assert scatter.keys.tolist() == ["a", "b", "c", "d"]
    assert scatter.points.data["x"].tolist() == [0, 1, 0, 1]


def test_a_click_chooses_the_point_under_it(scatter, qtbot):
    with qtbot.waitSignal(scatter.chosen, timeout=2000) as heard:
        QTest.mouseClick(
            scatter.plot.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place(scatter, 1, 2)
        )
    assert heard.args == ["d"]


def test_a_drag_picks_out_what_lies_in_its_box_and_a_click_beside_lets_go(scatter, qtbot):
    with qtbot.waitSignal(scatter.brushed, timeout=2000) as heard:
        drag(scatter, (-0.02, 2.05), (1.02, 1.0))
    assert heard.args == [frozenset({"c", "d"})]
    assert not scatter.box.rbScaleBox.isVisible()
    with qtbot.waitSignal(scatter.brushed, timeout=2000) as heard:
        QTest.mouseClick(
            scatter.plot.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place(scatter, 0.5, 1)
        )
    assert heard.args == [frozenset()]


def test_what_is_not_brushed_fades_and_the_one_looked_at_is_ringed(scatter):
    scatter.show_brushed(frozenset({"c"}))
    opacity = [brush.color().alpha() for brush in scatter.points.data["brush"]]
    assert opacity[2] > 3 * max(opacity[0], opacity[1], opacity[3])
    scatter.mark("b")
    assert (scatter.ring.data["x"].tolist(), scatter.ring.data["y"].tolist()) == ([1.0], [0.0])
    scatter.mark("gone")
    assert len(scatter.ring.data) == 0


def test_a_ring_around_a_point_at_the_edge_is_whole(scatter, qtbot):
    frame = scatter.box.sceneBoundingRect()
    for key in "abcd":
        scatter.mark(key)
        qtbot.wait(20)
        (ring,) = scatter.ring.points()
        centre, reach = scatter.box.mapViewToScene(ring.pos()), ring.size() / 2 + 1
        assert frame.contains(QRectF(centre.x() - reach, centre.y() - reach, 2 * reach, 2 * reach))


def test_numbers_of_axes_have_a_minus(scatter):
    assert scatter.plot.getAxis("left").tickStrings([-0.1, 0.2], 1.0, 0.1) == ["−0.1", "0.2"]


def test_nothing_to_show_is_shown_as_nothing(scatter, qtbot):
    scatter.mark("a")
    scatter.show_points([], np.empty((0, 2)), np.empty(0, dtype=int), KINDS, ("across", "up"))
    assert len(scatter.points.data) == len(scatter.ring.data) == 0
    heard = []
    scatter.brushed.connect(heard.append)
    drag(scatter, (0, 0), (1, 1))
    assert not heard


def test_kinds_differ_by_their_symbol_too(scatter):
    assert scatter.points.data["symbol"].tolist() == ["o", "o", "s", "s"]
