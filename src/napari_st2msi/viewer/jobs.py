"""Core function → background thread → result on the GUI thread.

A frozen `Job` goes in, signals come out, and the result of a job that was superseded is dropped. The
GUI thread never waits for a job: it looks at a job's progress twenty times a second instead of being
told of every step.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import Any
from weakref import WeakSet

from qtpy.QtCore import QCoreApplication, QObject, QRunnable, Qt, QThreadPool, QTimer, Signal

from napari_st2msi.errors import St2msiError
from napari_st2msi.progress import Cancelled, Progress
from napari_st2msi.viewer.state import ViewerState

BUG = "Something went wrong inside the plugin. The details below help to mend it."

_POLL_MS = 50
_PATIENCE_MS = 20_000
# A thread in pure Python lets others in only this often; Qt's event loop needs the interpreter for
# every painted frame, so the default of 5 ms adds up to a visible stutter.
_SWITCH_S = 0.001
# Below these a rate says little, and a wrong number is worse than none.
_LEAST_ELAPSED_S = 1.0
_LEAST_FRACTION = 0.02

_ids = count(1)
_pool: QThreadPool | None = None
_tasks: WeakSet[_Task] = WeakSet()
_limiting = threading.Lock()
_limited = 0
_limit: Any = None


@dataclass(frozen=True)
class Job:
    """One piece of long work.

    Attributes
    ----------
    title
        What it is, as a verb: "Train".
    call
        Called as ``call(progress=..., cancelled=...)`` on a background thread. It must not touch
        widgets, layers or the state; bind what it needs with `functools.partial`.
    tells
        Name of a further keyword of `call`, a function of one value, through which the work hands
        out values before it is done (for example ``scored``); they come as `Jobs.told`.
    """

    title: str
    call: Callable[..., Any]
    tells: str | None = None


class Jobs(QObject):
    """Runs one job at a time for a dock; starting another drops the one before.

    Parameters
    ----------
    state
        Where other docks can see that something is running.
    lasting
        Whether what was begun is still heard of when its dock is closed, because it looks after the user's work.

    Attributes
    ----------
    progressed
        Fraction done (0 to 1), what is being done, seconds left (None while unknown).
    """

    started = Signal(str)
    progressed = Signal(float, str, object)
    told = Signal(object)
    done = Signal(object)
    #: What went wrong in words, and the traceback (empty for errors in the user's words).
    failed = Signal(str, str)
    cancelled = Signal()
    #: After any of the three above.
    ended = Signal()

    def __init__(self, state: ViewerState, parent: QObject | None = None, *, lasting: bool = False) -> None:
        super().__init__(parent)
        self._state, self.lasting = state, lasting
        self._task: _Task | None = None
        self._seen: tuple[float, str] | None = None
        # The thread emits these. They belong to the GUI thread, so what is connected runs there.
        self._signals = _Signals(self)
        self._signals.told.connect(self._on_told, Qt.ConnectionType.QueuedConnection)
        self._signals.ended.connect(self._on_ended, Qt.ConnectionType.QueuedConnection)
        self._clock = QTimer(self)
        self._clock.setInterval(_POLL_MS)
        self._clock.timeout.connect(self._look)

    @property
    def running(self) -> bool:
        """Whether a job is under way."""
        return self._task is not None

    @property
    def title(self) -> str:
        """What the job under way is; empty without one."""
        return "" if self._task is None else self._task.job.title

    def start(self, job: Job) -> int:
        """Run a job and return its number; one that is still running is dropped."""
        self._drop()
        task = _Task(next(_ids), job, self._signals)
        _tasks.add(task)
        self._task, self._seen = task, None
        self._state.begin(task.number, job.title)
        self.started.emit(job.title)
        self._clock.start()
        _threads().start(task)
        return task.number

    def cancel(self) -> None:
        """Ask the running job to stop; `cancelled` follows when it has."""
        if self._task is not None:
            self._task.stop.set()

    def shut(self) -> None:
        """Stop listening, because the dock goes away; the job ends on its own."""
        self._drop()

    def _drop(self) -> None:
        if self._task is not None:
            self._task.stop.set()
            self._leave()

    def _leave(self) -> None:
        assert self._task is not None
        with suppress(RuntimeError):  # the dock is gone, and Qt's side of this with it
            self._clock.stop()
        self._state.end(self._task.number)
        self._task = None

    def _look(self) -> None:
        if self._task is None or self._task.latest == self._seen:
            return
        self._seen = self._task.latest
        fraction, message = self._seen
        self.progressed.emit(fraction, message, time_left(time.monotonic() - self._task.since, fraction))

    def _on_told(self, number: int, value: object) -> None:
        if self._task is not None and self._task.number == number:
            self.told.emit(value)

    def _on_ended(self, number: int, outcome: object, error: object) -> None:
        if self._task is None or self._task.number != number:
            return
        self._look()
        self._leave()
        if error is None:
            self.done.emit(outcome)
        elif isinstance(error, Cancelled):
            self.cancelled.emit()
        else:
            assert isinstance(error, BaseException)
            self.failed.emit(*in_words(error))
        self.ended.emit()


def in_words(error: BaseException) -> tuple[str, str]:
    """Return an error as the sentence to show and the details to unfold.

    Errors that the package raises on purpose are the sentence themselves and have no details.
    """
    if isinstance(error, St2msiError):
        return str(error), ""
    if isinstance(error, MemoryError):
        return "The computer ran out of memory. Close other data, or choose fewer genes, ions or spots.", ""
    return BUG, "".join(traceback.format_exception(error))


def time_left(elapsed: float, fraction: float) -> float | None:
    """Return the seconds left if work goes on as it went, None while that cannot be told."""
    if elapsed < _LEAST_ELAPSED_S or fraction < _LEAST_FRACTION:
        return None
    return elapsed * (1 - fraction) / fraction


class _Signals(QObject):
    told = Signal(int, object)
    ended = Signal(int, object, object)


class _Task(QRunnable):
    """A job on its thread. `latest` and `stop` are all that both threads touch."""

    def __init__(self, number: int, job: Job, signals: _Signals) -> None:
        super().__init__()
        self.number = number
        self.stop = threading.Event()
        self.latest = (0.0, "")
        self.since = time.monotonic()
        self.job = job
        self._signals = signals

    def run(self) -> None:
        outcome: object = None
        error: BaseException | None = None
        further = {self.job.tells: self._tell} if self.job.tells else {}
        try:
            with _a_core_left():
                outcome = self.job.call(progress=Progress(self._report), cancelled=self.stop.is_set, **further)
        except BaseException as raised:  # whatever it is, the dock must hear of it
            error = raised
        with suppress(RuntimeError):  # the viewer was closed meanwhile and Qt's side is gone
            self._signals.ended.emit(self.number, outcome, error)

    def _report(self, fraction: float, message: str) -> None:
        # A step without words keeps the words of the step before.
        self.latest = (min(max(fraction, 0.0), 1.0), message or self.latest[1])

    def _tell(self, value: object) -> None:
        with suppress(RuntimeError):
            self._signals.told.emit(self.number, value)


def _threads() -> QThreadPool:
    """Return the plugin's own threads, which are asked to stop when napari ends.

    Their priority is that of the window: a thread of low priority that other programs keep from running keeps the
    interpreter meanwhile, and the window, which waits for that, has to wait as long.
    """
    global _pool
    if _pool is None:
        _pool = QThreadPool()
        _pool.setMaxThreadCount(8)
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(_stop_all)
        # Python must not go away under a thread that still computes.
        atexit.register(_stop_and_wait, _pool)
        sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_S))
    return _pool


@contextmanager
def _a_core_left() -> Iterator[None]:
    """Keep BLAS and OpenMP off one core: with all of them busy the window stutters by 50 ms and more.

    The limit holds for the whole process, so the first of several jobs sets it and the last lifts it.
    """
    global _limit, _limited
    from threadpoolctl import threadpool_limits

    with _limiting:
        if _limited == 0:
            _limit = threadpool_limits(max(1, (os.cpu_count() or 2) - 1))
        _limited += 1
    try:
        yield
    finally:
        with _limiting:
            _limited -= 1
            if _limited == 0:
                _limit.restore_original_limits()


def _stop_all() -> None:
    """Ask everything to stop, so that leaving napari does not wait for a training to end."""
    for task in list(_tasks):
        task.stop.set()


def _stop_and_wait(pool: QThreadPool) -> None:
    """Wait for the threads at the very end; they look whether to stop many times a second."""
    _stop_all()
    with suppress(RuntimeError):
        pool.waitForDone(_PATIENCE_MS)
