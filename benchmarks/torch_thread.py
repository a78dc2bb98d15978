"""The same training of a network in the main thread, in worker threads with a window beside, and in a process.

Others have seen torch slow down in napari's worker threads. Here one perceptron is trained for a fixed number of
epochs: with nothing beside it; in napari's own `thread_worker`; as a job of this package (a core left free,
interpreter switched often), with the window idle and with its canvas dragged about thirty times a second; and
in another process, whose start and import of torch are told apart. Beside the seconds stand the gaps between beats of
a 5 ms timer of the GUI thread: for so long the window could not answer. Take the fastest that keeps them short.
Before all of it torch is imported by a job, as in the first training of a session (``--plain-import``: by a mere
``import``).

    xvfb-run -s "-screen 0 1600x1000x24 +extension GLX" python benchmarks/torch_thread.py
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from _report import table, verdict

SPOTS, EPOCHS, TARGET_MS = 1500, 12, 50.0
Run = Callable[[Callable[[], None]], None]


def prepared() -> tuple[Any, Any]:
    """Return a recipe and paired spots."""
    import napari_st2msi as st2msi

    paired = st2msi.simulate(n_spots=SPOTS, n_genes=500, image_px=128, seed=1).paired()
    choices = {"epochs": EPOCHS, "patience": EPOCHS, "device": "cpu"}
    return st2msi.Recipe.model_validate({"model": {"name": "mlp", "ensemble": 1}, "networks": choices}), paired


def training(recipe: Any, paired: Any) -> tuple[float, float]:
    """Train, and return the seconds of the epochs alone, and those in which this thread was computing."""
    from napari_st2msi.models.deep.following import following
    from napari_st2msi.models.registry import build

    busy: list[float] = []
    with following(told=lambda _: busy.append(time.thread_time())):
        model = build(recipe).fit(paired)
    seconds = [epoch.seconds for curve in model.curves_ for epoch in curve]
    # The first epoch has no beginning here; all are alike.
    return sum(seconds), (busy[-1] - busy[0]) * len(seconds) / max(len(seconds) - 1, 1)


def in_words(seconds: tuple[float, float]) -> list[str]:
    """Return the cells of the seconds of the epochs."""
    return [f"{value:.2f}" for value in seconds]


def gaps_in_words(gaps: np.ndarray) -> list[str]:
    """Return the cells of the gaps between beats."""
    longest = [f"{value:.0f}" for value in (np.percentile(gaps, 99), gaps.max())]
    return [*longest, f"{(gaps > TARGET_MS).sum()} of {gaps.size}"]


def importing(window: Any, *, plain: bool) -> list[str]:
    """Return the row of the first training of a session, in which torch is imported by a job."""
    from qtpy.QtCore import QTimer

    from napari_st2msi.viewer.jobs import Job, Jobs
    from napari_st2msi.viewer.load_torch import load_torch
    from napari_st2msi.viewer.state import ViewerState

    def job(progress: Any, cancelled: Any) -> None:
        if plain:
            import_module("lightning_fabric")
        else:
            load_torch()

    def start(quit: Callable[[], None]) -> None:
        jobs = Jobs(ViewerState(), window)
        jobs.ended.connect(quit)
        jobs.start(Job("Import", job))

    assert "torch" not in sys.modules
    beating(lambda quit: QTimer.singleShot(1500, quit))  # the window is painted for the first time
    seconds, gaps = beating(start)
    return [f"job, torch imported{' plainly' if plain else ''}", "", "", f"{seconds:.2f}", *gaps_in_words(gaps)]


def beating(start: Run) -> tuple[float, np.ndarray]:
    """Return the seconds that what `start` starts takes, and the milliseconds between beats meanwhile."""
    from qtpy.QtCore import QEventLoop, Qt, QTimer

    beats, loop, beat = [], QEventLoop(), QTimer()
    beat.setTimerType(Qt.TimerType.PreciseTimer)
    beat.setInterval(5)
    beat.timeout.connect(lambda: beats.append(time.perf_counter()))
    beat.start()
    since = time.perf_counter()
    start(loop.quit)
    loop.exec()
    beat.stop()
    return time.perf_counter() - since, 1e3 * np.diff(beats)


def main() -> None:
    import napari
    from napari.qt.threading import thread_worker
    from qtpy.QtCore import QTimer

    from napari_st2msi.viewer.jobs import Job, Jobs
    from napari_st2msi.viewer.state import ViewerState

    recipe, paired = prepared()
    viewer = napari.Viewer()
    viewer.add_image(np.random.default_rng(0).random((1024, 1024)))
    rows = [importing(viewer.window._qt_window, plain="--plain-import" in sys.argv)]
    epochs: dict[str, tuple[float, float]] = {}
    training(recipe.model_copy(update={"networks": recipe.networks.model_copy(update={"epochs": 1})}), paired)
    since = time.perf_counter()
    epochs["main thread"] = training(recipe, paired)
    rows.append(
        ["main thread", *in_words(epochs["main thread"]), f"{time.perf_counter() - since:.2f}", "all of it", "", ""]
    )

    camera = viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera

    def drag() -> None:
        angle = 3 * time.perf_counter()
        camera.center = (0, 512 + 200 * np.cos(angle), 512 + 200 * np.sin(angle))

    def as_worker(name: str) -> Run:
        def start(quit: Callable[[], None]) -> None:
            worker = thread_worker(training)(recipe, paired)
            worker.returned.connect(lambda seconds: epochs.update({name: seconds}))
            worker.finished.connect(quit)
            worker.start()

        return start

    def as_job(name: str) -> Run:
        def start(quit: Callable[[], None]) -> None:
            jobs = Jobs(ViewerState(), viewer.window._qt_window)
            jobs.done.connect(lambda seconds: epochs.update({name: seconds}))
            jobs.ended.connect(quit)
            jobs.start(Job("Train", lambda progress, cancelled: training(recipe, paired)))

        return start

    def as_process(name: str) -> Run:
        def start(quit: Callable[[], None]) -> None:
            process = subprocess.Popen([sys.executable, __file__, "--child"], stdout=subprocess.PIPE, text=True)
            watch = QTimer(viewer.window._qt_window)

            def look() -> None:
                if process.poll() is not None:
                    watch.stop()
                    assert process.stdout is not None
                    wall, cpu = process.stdout.read().split()[-2:]
                    epochs[name] = float(wall), float(cpu)
                    quit()

            watch.timeout.connect(look)
            watch.start(20)

        return start

    worst = 0.0
    used = QTimer()
    used.timeout.connect(drag)
    # napari's worker first: the first job makes the interpreter switch more often for good.
    for place, run in (("napari's worker", as_worker), ("job", as_job), ("process", as_process)):
        for window in ("idle", "used"):
            name = f"{place}, window {window}"
            used.start(33) if window == "used" else used.stop()
            seconds, gaps = beating(run(name))
            used.stop()
            rows.append([name, *in_words(epochs[name]), f"{seconds:.2f}", *gaps_in_words(gaps)])
            print(" | ".join(rows[-1]), flush=True)
            if place == "job":
                worst = max(worst, float(np.percentile(gaps, 99)))
    table(
        f"{EPOCHS} epochs of a perceptron on {SPOTS:,} spots",
        ["where", "epochs s", "computing s", "in all s", "gap 99 % ms", "gap max ms", f"over {TARGET_MS:g} ms"],
        rows,
    )
    slowest = max(cpu for name, (_, cpu) in epochs.items() if name.startswith("job"))
    verdict("computing, slowest job / main thread", slowest / epochs["main thread"][1], 1.5, at_least=False, unit="×")
    verdict("99 % of the gaps while a job runs", worst, TARGET_MS, at_least=False, unit=" ms")


if __name__ == "__main__":
    if "--child" in sys.argv:
        print(*training(*prepared()))
    else:
        main()
