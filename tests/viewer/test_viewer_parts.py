"""The shared pieces of the docks."""

from __future__ import annotations

import gc
import threading
import weakref
from unittest.mock import Mock

import pytest
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QFocusEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QSpinBox, QVBoxLayout, QWidget

from napari_st2msi.errors import DataProblem
from napari_st2msi.viewer.docks.compare import CompareDock
from napari_st2msi.viewer.docks.data import DataDock
from napari_st2msi.viewer.docks.learnability import LearnabilityDock
from napari_st2msi.viewer.docks.register import RegisterDock
from napari_st2msi.viewer.docks.train import TrainDock
from napari_st2msi.viewer.jobs import Job, Jobs
from napari_st2msi.viewer.parts.buttons import ButtonRow, flat
from napari_st2msi.viewer.parts.colour_bar import ColourBar, short
from napari_st2msi.viewer.parts.dock import Dock, form
from napari_st2msi.viewer.parts.empty import EmptyState
from napari_st2msi.viewer.parts.messages import MessageArea
from napari_st2msi.viewer.parts.run_bar import duration
from napari_st2msi.viewer.parts.search_edit import SearchEdit
from napari_st2msi.viewer.parts.style import look_of
from napari_st2msi.viewer.parts.words import Words


def shown(qtbot, widget):
    qtbot.addWidget(widget)
    widget.show()
    qtbot.waitExposed(widget)
    return widget


def click(widget):
    QTest.mouseClick(widget, Qt.MouseButton.LeftButton)


@pytest.fixture
def dock(viewer, qtbot):
    return shown(qtbot, Dock(viewer, "Train"))


# -- dock -------------------------------------------------------------------------------------------


def test_the_button_becomes_progress_and_comes_back_with_the_result(dock, qtbot):
    gate, results = threading.Event(), []

    def work(progress, cancelled):
        progress(0.5, "fold 3 of 5")
        gate.wait(5)
        return "scores"

    dock.run(Job("Train", work), results.append)
    qtbot.waitUntil(lambda: dock.run_bar.bar.value() == 500)
    assert not dock.run_bar.button.isVisible()
    assert dock.run_bar.cancel.isVisible()
    assert dock.run_bar.doing.text() == "fold 3 of 5"
    gate.set()
    qtbot.waitUntil(lambda: bool(results))
    assert results == ["scores"]
    assert dock.run_bar.button.isVisible()
    assert not dock.run_bar.running


def test_cancel_answers_at_once_and_says_that_nothing_changed(dock, qtbot):
    def work(progress, cancelled):
        from napari_st2msi.progress import check

        for _ in range(1000):
            threading.Event().wait(0.01)
            check(cancelled)

    dock.run(Job("Train", work), Mock())
    click(dock.run_bar.cancel)
    assert not dock.run_bar.cancel.isEnabled()
    qtbot.waitUntil(lambda: not dock.run_bar.running)
    assert dock.messages.text == "Stopped. Nothing was changed."


def test_one_job_may_start_the_next(dock, qtbot):
    seen = []
    second = Job("Second", lambda progress, cancelled: 2)
    dock.run(Job("First", lambda progress, cancelled: 1), lambda one: (seen.append(one), dock.run(second, seen.append)))
    qtbot.waitUntil(lambda: seen == [1, 2])
    qtbot.waitUntil(lambda: not dock.run_bar.running)


def test_errors_are_shown_in_words_with_the_traceback_folded_away(dock, qtbot):
    def mistake(progress, cancelled):
        raise KeyError("gene")

    def problem(progress, cancelled):
        raise DataProblem("Two spots have the same name.")

    dock.run(Job("Train", problem), Mock())
    qtbot.waitUntil(lambda: dock.messages.text == "Two spots have the same name.")
    assert not dock.messages.toggle.isVisible()
    dock.run(Job("Train", mistake), Mock())
    qtbot.waitUntil(lambda: dock.messages.toggle.isVisible())
    assert "KeyError" not in dock.messages.text
    assert not dock.messages.details.isVisible()
    click(dock.messages.toggle)
    assert "KeyError" in dock.messages.details.toPlainText()
    assert dock.messages.details.isVisible()
    click(dock.messages.copy)
    assert "KeyError" in QApplication.clipboard().text()
    click(dock.messages.close_button)
    assert not dock.messages.isVisible()


def test_the_state_line_keeps_what_it_says_through_a_change_of_theme(dock):
    dock.say("a < b & c", "stale")
    dock.viewer.theme = "light"
    assert "a &lt; b &amp; c" in dock.state_line.text()
    assert look_of(dock.viewer).warning in dock.state_line.text()


def test_a_dock_that_is_closed_is_forgotten(viewer, qtbot):
    dock = Dock(viewer, "Train")
    heard = Mock()

    class Follower(Dock):
        def on_ion(self, ion):
            heard(ion)

    follower = Follower(viewer)
    follower.follow(follower.state.ion_changed, follower.on_ion)
    state, gone = follower.state, weakref.ref(follower)
    state.ion = "a"
    heard.assert_called_once_with("a")
    follower.deleteLater()
    del follower, dock
    QApplication.sendPostedEvents(None, 0)
    QApplication.processEvents()
    gc.collect()
    state.ion = "b"
    viewer.theme = "light"
    assert heard.call_count == 1
    assert gone() is None


def test_all_that_runs_in_a_dock_stops_when_it_is_closed(viewer, qtbot):
    window = QWidget()
    qtbot.addWidget(window)
    dock, part, gate, done = Dock(viewer), QWidget(), threading.Event(), Mock()
    dock.body.addWidget(part)
    every = [dock.jobs, Jobs(dock.state, dock), Jobs(dock.state, part)]
    kept = Jobs(dock.state, part, lasting=True)
    QVBoxLayout(window).addWidget(dock)
    for jobs in (*every, kept):
        jobs.start(Job("Wait", lambda progress, cancelled: gate.wait(20)))
    for jobs in every[1:]:
        jobs.done.connect(done)
    dock.setParent(None)
    try:
        assert not any(jobs.running for jobs in every)
        assert kept.running
        assert len(dock.state.running) == 1
    finally:
        gate.set()
    qtbot.waitUntil(lambda: not kept.running, timeout=20_000)
    done.assert_not_called()
    dock.deleteLater()


@pytest.mark.parametrize("kind", [CompareDock, DataDock, LearnabilityDock, RegisterDock, TrainDock])
def test_the_state_line_tells_of_the_docks_own_work(kind, viewer, section, qtbot):
    dock, gate = kind(viewer), threading.Event()
    qtbot.addWidget(dock)
    dock.state.add_section(section)
    dock.run(Job("Waiting", lambda progress, cancelled: gate.wait(20)), Mock())
    dock.state.begin(-1, "Work of another dock")
    dock.jobs.started.emit("")  # which shows how it stands
    try:
        assert "Waiting" in dock.state_line.accessibleName()
        assert "another dock" not in dock.state_line.accessibleName()
    finally:
        gate.set()
        dock.jobs.shut()


def test_nothing_lies_over_anything_while_more_is_shown(dock, qtbot):
    """What is shown is painted before Qt has told all layouts around it, if the window happens to be painted then."""
    content, table, words, more = QWidget(), QWidget(), Words("What was found."), QWidget()
    for part, height in ((table, 250), (more, 400)):
        part.setFixedHeight(height)
    layout = QVBoxLayout(content)
    layout.addWidget(table)
    layout.addWidget(words)
    dock.add_group("Landmarks", content)
    dock.body.addWidget(more)
    more.hide()
    dock.resize(340, 420)
    qtbot.wait(50)
    more.show()
    assert words.geometry().top() > table.geometry().bottom()


def test_docks_opened_from_naparis_menu_are_tabs_of_each_other(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    outers = [viewer.window.add_plugin_dock_widget("napari-st2msi", name)[0] for name in ("Data", "Train", "Compare")]
    window = viewer.window._qt_window
    qtbot.waitUntil(lambda: len(window.tabifiedDockWidgets(outers[0])) == 2)
    assert set(window.tabifiedDockWidgets(outers[0])) == set(outers[1:])
    qtbot.waitUntil(lambda: not outers[2].visibleRegion().isEmpty())  # the one opened last is in front


def test_how_long_is_left_is_not_said_of_what_stops(dock, qtbot):
    dock.run_bar.begin("Train")
    dock.run_bar.progress(0.5, "fold 3 of 5", 60.0)
    assert dock.run_bar.left.text() == "60 s left"
    click(dock.run_bar.cancel)
    dock.run_bar.progress(0.6, "fold 4 of 5", 50.0)
    assert dock.run_bar.left.text() == ""
    assert dock.run_bar.doing.text() == "Stopping after this step"


# -- groups -----------------------------------------------------------------------------------------


def test_a_folded_group_shows_its_values_and_cannot_be_reached(dock, qtbot):
    content, layout = form()
    field = QSpinBox()
    field.setValue(7)
    layout.addRow("Rings", field)
    group = dock.add_group("Features", content, open=False, summary=lambda: f"rings {field.value()}")
    assert group.full_title() == "Features: rings 7"
    assert not field.isVisible()
    QTest.qWait(20)  # a button has no place to be clicked before it was laid out
    click(group.toggleButton())
    assert field.isVisible()
    assert group.full_title() == "Features"
    field.setValue(9)
    click(group.toggleButton())
    assert "rings 9" in group.toggleButton().text()


def test_a_long_summary_is_cut_and_does_not_widen_the_dock(dock):
    content, _ = form()
    group = dock.add_group("Features", content, open=False, summary=lambda: "word " * 80)
    dock.resize(320, 400)
    QTest.qWait(20)
    assert group.toggleButton().text().endswith("…")
    assert "word " * 80 in group.toggleButton().toolTip()
    assert group.width() <= 320


# -- search -----------------------------------------------------------------------------------------


@pytest.fixture
def search(qtbot):
    edit = shown(qtbot, SearchEdit("Find a gene"))
    edit.set_choices([(f"g{i}", f"GENE{i}") for i in range(20_000)] + [("actb", "Actb")])
    return edit


def test_any_part_of_a_name_finds_it_without_regard_to_case(search, qtbot):
    heard = Mock()
    search.chosen.connect(heard)
    QTest.keyClicks(search, "actb")
    QTest.keyClick(search, Qt.Key.Key_Return)
    heard.assert_called_with("actb")
    assert search.key == "actb"
    assert search.text() == "Actb"


def test_an_ambiguous_or_unknown_name_is_marked_and_chooses_nothing(search):
    heard, missed = Mock(), Mock()
    search.chosen.connect(heard)
    search.missed.connect(missed)
    for words in ("GENE1999", "nothing like it"):
        search.setText("")
        QTest.keyClicks(search, words if words[0] == "n" else "NE1999")
        search.completer().popup().hide()
        QTest.keyClick(search, Qt.Key.Key_Return)
        assert search.property("wrong") == "true"
    heard.assert_not_called()
    assert [call.args[0].partition(".")[0] for call in missed.call_args_list] == [
        "'NE1999' is a part of 11 names", "There is no 'nothing like it' here",
    ]  # fmt: skip


def test_a_choice_that_is_gone_is_cleared(search):
    search.choose("g5")
    assert search.text() == "GENE5"
    search.set_choices([("x", "X")])
    assert search.key is None
    assert search.text() == ""


# -- small things -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (7.4, "7 s"), (42, "40 s"), (89, "90 s"), (200, "3 min"), (4800, "1 h 20 min")],
)
def test_durations_are_no_finer_than_they_are_worth(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("value", "step", "words"),
    [
        (1234.5, 617, "1,234"),
        (0.5, 0.5, "0.50"),
        (0.0, 617, "0"),
        (12.34, 2, "12.3"),
        (1.5e7, 1e7, "1.5e7"),
        (2e-5, 1e-5, "2e−5"),
        (float("nan"), 1, ""),
    ],
)
def test_numbers_have_the_digits_that_are_significant(value, step, words):
    assert short(value, step) == words


def test_a_colour_bar_marks_clipped_hotspots_and_can_be_painted(qtbot):
    bar = shown(qtbot, ColourBar())
    bar.resize(300, 60)
    bar.show_scale("Measured (intensity)", "viridis", (0, 100), provenance="out of fold", clipped=True)
    assert bar.strip.numbers == ("0", "50", "≥ 100")
    image = bar.strip.grab().toImage()
    left, right = image.pixelColor(4, 6), image.pixelColor(image.width() - 5, 6)
    assert left.blue() > left.green()  # viridis begins violet
    assert right.green() > right.blue()  # and ends yellow


def test_messages_offer_what_they_ask_for(qtbot):
    area = shown(qtbot, MessageArea())
    act = Mock()
    area.show_warning("Not registered yet.", action=("Register", act))
    assert area.level == "warning"
    click(area.action)
    act.assert_called_once()
    area.show_result("Done.")
    assert not area.action.isVisible()


def test_an_empty_state_has_a_button_only_where_something_can_be_pressed(qtbot):
    empty = shown(qtbot, EmptyState("Open a section.", "Open data"))
    pressed = Mock()
    empty.pressed.connect(pressed)
    click(empty.button)
    pressed.assert_called_once()
    empty.say("Nothing to do.")
    assert not empty.button.isVisible()


def test_buttons_wrap_where_there_is_no_room(qtbot):
    buttons = [flat(f"button {number}") for number in range(4)]
    row = ButtonRow(*buttons)
    qtbot.addWidget(row)
    row.show()
    line = row.sizeHint()
    row.resize(line)
    assert len({button.y() for button in buttons}) == 1
    row.resize(line.width() // 2, line.height())
    assert row.minimumHeight() >= 2 * line.height()
    assert all(button.geometry().right() <= row.width() for button in buttons)
    for button in buttons[1:]:
        button.hide()
    qtbot.waitUntil(lambda: row.minimumHeight() == line.height())


def test_the_list_of_choices_has_the_colours_of_its_field(qtbot):
    edit = shown(qtbot, SearchEdit())
    palette = edit.palette()
    palette.setColor(palette.ColorRole.Base, Qt.GlobalColor.darkBlue)
    edit.setPalette(palette)
    QApplication.sendEvent(edit, QFocusEvent(QEvent.Type.FocusIn))
    assert edit.completer().popup().palette().base().color() == palette.base().color()
