"""Long work on a background thread."""

from __future__ import annotations

import threading
import time
from functools import partial
from unittest.mock import Mock

import pytest
from qtpy.QtCore import QTimer

from napari_st2msi.errors import DataProblem
from napari_st2msi.progress import check
from napari_st2msi.viewer.jobs import BUG, Job, Jobs, in_words, time_left
from napari_st2msi.viewer.state import ViewerState


@pytest.fixture
def jobs(qtbot):
    return Jobs(ViewerState())


def wait_for(gate: threading.Event, cancelled) -> None:
    while not gate.wait(0.005):
        check(cancelled)


def test_the_result_comes_on_the_gui_thread_and_the_work_does_not(jobs, qtbot):
    worked, heard = [], []

    def work(progress, cancelled):
        worked.append(threading.get_ident())
        return 42

    jobs.done.connect(lambda result: heard.append((result, threading.get_ident())))
    with qtbot.waitSignal(jobs.ended):
        jobs.start(Job("Count", work))
    assert heard == [(42, threading.get_ident())]
    assert worked[0] != threading.get_ident()
    assert not jobs.running


def test_other_docks_see_that_something_runs(jobs, qtbot):
    gate = threading.Event()
    with qtbot.waitSignal(jobs.ended):
        jobs.start(Job("Train", lambda progress, cancelled: wait_for(gate, cancelled)))
        assert jobs._state.running == ("Train",)
        gate.set()
    assert jobs._state.running == ()


def test_a_million_steps_are_not_a_million_signals(jobs, qtbot):
    def work(progress, cancelled):
        for step in range(200_000):
            progress(step / 200_000, "counting")

    heard = Mock()
    jobs.progressed.connect(heard)
    with qtbot.waitSignal(jobs.ended, timeout=20_000):
        jobs.start(Job("Count", work))
    assert 1 <= heard.call_count < 500
    fraction, message, _ = heard.call_args.args
    assert message == "counting"
    assert fraction > 0.9


def test_cancelling_stops_the_work_and_says_so(jobs, qtbot):
    cancelled, done = Mock(), Mock()
    jobs.cancelled.connect(cancelled)
    jobs.done.connect(done)
    with qtbot.waitSignal(jobs.ended):
        jobs.start(Job("Train", lambda progress, cancelled: wait_for(threading.Event(), cancelled)))
        QTimer.singleShot(20, jobs.cancel)
    cancelled.assert_called_once()
    done.assert_not_called()


def test_a_superseded_job_is_never_heard_of_again(jobs, qtbot):
    gate, results = threading.Event(), []
    stubborn = threading.Event()

    def ignores_cancelling(progress, cancelled):
        gate.wait(5)
        stubborn.set()
        return "old"

    jobs.done.connect(results.append)
    jobs.start(Job("Old", ignores_cancelling))
    with qtbot.waitSignal(jobs.ended):
        jobs.start(Job("New", lambda progress, cancelled: "new"))
    gate.set()
    assert stubborn.wait(5)
    qtbot.wait(50)
    assert results == ["new"]


def test_what_was_told_after_a_job_was_superseded_is_dropped_too(jobs, qtbot):
    heard = Mock()
    jobs.told.connect(heard)

    def work(progress, cancelled, scored):
        scored(0.1)
        scored(0.2)
        return None

    with qtbot.waitSignal(jobs.ended):
        jobs.start(Job("Train", work, tells="scored"))
    assert [call.args[0] for call in heard.call_args_list] == [0.1, 0.2]
    jobs.start(Job("Train", work, tells="scored"))
    jobs.shut()
    qtbot.wait(100)
    assert heard.call_count == 2


def test_errors_of_the_user_are_their_own_words_and_bugs_keep_their_traceback(jobs, qtbot):
    failed = Mock()
    jobs.failed.connect(failed)

    def fail(error, progress, cancelled):
        raise error

    with qtbot.waitSignal(jobs.ended):
        jobs.start(Job("Open", partial(fail, DataProblem("The table of spots is empty."))))
    failed.assert_called_once_with("The table of spots is empty.", "")
    with qtbot.waitSignal(jobs.ended):
        jobs.start(Job("Open", partial(fail, ZeroDivisionError("secret"))))
    words, details = failed.call_args.args
    assert words == BUG
    assert "ZeroDivisionError: secret" in details


def test_running_out_of_memory_is_no_bug_of_the_plugin():
    words, details = in_words(MemoryError())
    assert "memory" in words
    assert not details


def test_the_window_lives_while_python_counts(jobs, qtbot):
    beats = []
    beat = QTimer()
    beat.setInterval(5)
    beat.timeout.connect(lambda: beats.append(time.perf_counter()))

    def work(progress, cancelled):
        end = time.perf_counter() + 0.4
        while time.perf_counter() < end:
            sum(range(100))

    beat.start()
    with qtbot.waitSignal(jobs.ended):
        jobs.start(Job("Count", work))
    assert len(beats) > 5


def test_time_left_waits_until_it_can_be_told():
    assert time_left(0.5, 0.5) is None
    assert time_left(10, 0.001) is None
    assert time_left(10, 0.25) == pytest.approx(30)
