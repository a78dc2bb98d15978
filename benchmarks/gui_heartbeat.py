"""How long the window waits while a job computes: in a job of this package, and in a plain thread.

A timer of the GUI thread beats every 5 ms; the longest gap between two beats is how long the window
could not answer. The same work runs once as a `napari_st2msi.viewer.jobs.Job` (one core left free,
interpreter switched often) and once in napari's own `thread_worker`, in the same process.
Neither helps against a single call that never lets the interpreter go: `scipy.sparse.random` of this
size, for example, blocks everything for a second.

    QT_QPA_PLATFORM=offscreen python benchmarks/gui_heartbeat.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from _report import table, verdict

SECONDS = 4.0
TARGET_MS = 50.0


def blas(end: float) -> None:
    matrix = np.random.default_rng(0).normal(size=(1500, 1500))
    while time.perf_counter() < end:
        np.linalg.svd(matrix[:400])
        matrix @ matrix


def fits(end: float) -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    features, present = rng.normal(size=(3000, 500)), rng.random(3000) > 0.5
    while time.perf_counter() < end:
        LogisticRegression(max_iter=20).fit(features, present)


def sparse(end: float) -> None:
    import scipy.sparse

    rng = np.random.default_rng(0)
    counts = scipy.sparse.csr_matrix(rng.poisson(0.1, (4000, 2000)).astype(float))
    while time.perf_counter() < end:
        counts[rng.integers(0, 4000, 3000)].log1p().tocsc()
        np.sort(rng.normal(size=1_000_000))


def python(end: float) -> None:
    while time.perf_counter() < end:
        sum(i * i for i in range(1000))


def gaps(start: Callable[[Callable[[], None]], None]) -> np.ndarray:
    """Return the milliseconds between beats while what `start` starts runs."""
    from qtpy.QtCore import QEventLoop, QTimer

    beats, loop, beat = [], QEventLoop(), QTimer()
    beat.setInterval(5)
    beat.timeout.connect(lambda: beats.append(time.perf_counter()))
    beat.start()
    start(loop.quit)
    loop.exec()
    beat.stop()
    return 1e3 * np.diff(beats)


def main() -> None:
    from napari.qt.threading import thread_worker
    from qtpy.QtWidgets import QApplication

    from napari_st2msi.viewer.jobs import Job, Jobs
    from napari_st2msi.viewer.state import ViewerState

    application = QApplication([])
    rows, worst = [], 0.0
    for work in (blas, fits, sparse, python):

        def as_worker(quit: Callable[[], None], work: Callable[[float], None] = work) -> None:
            worker = thread_worker(work)(time.perf_counter() + SECONDS)
            worker.finished.connect(quit)
            worker.start()

        def as_job(quit: Callable[[], None], work: Callable[[float], None] = work) -> None:
            jobs = Jobs(ViewerState(), application)
            jobs.ended.connect(quit)
            jobs.start(Job("Work", lambda progress, cancelled: work(time.perf_counter() + SECONDS)))

        # The plain worker first: the first job makes the interpreter switch more often for good.
        plain, own = gaps(as_worker), gaps(as_job)
        worst = max(worst, float(np.percentile(own, 99)))
        rows.append(
            [work.__name__]
            + [f"{value:.0f}" for found in (own, plain) for value in (np.percentile(found, 99), found.max())]
            + [f"{found.size}" for found in (own, plain)]
        )
    table(
        f"Gaps between beats of the GUI thread (ms) over {SECONDS:g} s",
        ["work", "job 99 %", "job max", "worker 99 %", "worker max", "job beats", "worker beats"],
        rows,
    )
    verdict("99 % of the gaps while a job runs", worst, TARGET_MS, at_least=False, unit=" ms")


if __name__ == "__main__":
    main()
