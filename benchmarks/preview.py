"""How soon a moved landmark is seen: from the edit, over the fit, to new pixels of the MSI over the ST.

A simulated section of Visium size. One landmark is moved again and again, as a drag does it; each time
the clock runs until the preview layer of the Register dock holds new pixels. A timer of the GUI thread
beats every 2 ms meanwhile: the gaps are how long the window could not answer. Changes of the preview
itself (line, tiles) are timed in the same way, and so is choosing another picture for either side: the
first time, when it is computed and napari makes its layer, and then again.

All of it runs twice: without a canvas, where the targets hold, and in a whole napari window. What drawing
costs there depends on the machine: the last row is a mere redraw of the same canvas, in which nothing of
this package takes part. Without a graphics card that alone takes longer than everything else.

    xvfb-run -a -s "-screen 0 1600x1000x24 +extension GLX" python benchmarks/preview.py
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from _report import table, verdict

N_SPOTS, IMAGE_PX = 3000, 2000
EDITS = 60
TARGET_MS, BLOCKED_MS = 100.0, 50.0
TRANSFORMS = ("affine", "auto", "thin_plate")


class Bench:
    """The parts of the Register dock that a landmark goes through until it is seen."""

    def __init__(self, viewer: Any, section: Any) -> None:
        from napari.components import ViewerModel

        from napari_st2msi.registration.landmark_files import find_landmarks
        from napari_st2msi.viewer.docks.register_context import RegisterContext
        from napari_st2msi.viewer.docks.register_preview import PreviewPanel
        from napari_st2msi.viewer.docks.register_views import ViewsPanel
        from napari_st2msi.viewer.docks.register_work import Choices, Fitting
        from napari_st2msi.viewer.state import ViewerState

        self.section, self.choices = section, Choices
        self.context = RegisterContext(ViewerState(), viewer, ViewerModel())
        self.editor = self.context.editor
        self.editor.load(find_landmarks(section))
        st, msi = ViewsPanel(self.context, "fixed"), ViewsPanel(self.context, "moving")
        self.preview, self.fitting = PreviewPanel(self.context, st, msi), Fitting(self.context.state)
        self.panels = st, msi
        gene, ion = str(section.st.var_names[0]), str(section.ions.index[0])
        self.pictures = [(st, what, None) for what in ("counts", "components", "clusters", "histology")]
        self.pictures += [(msi, what, None) for what in ("components", "segmentation", "tic")]
        self.pictures += [(st, "gene", gene), (msi, "ion", ion), (st, "histology", None), (msi, "tic", None)]
        self.kind = "affine"
        self.fitting.fitted.connect(self._on_fitted)
        self.editor.changed.connect(self._fit)
        self.context.shown = True
        self.context.set_section(section)
        self.until(lambda: st.view is not None and msi.view is not None)
        self.preview.show_mode("blend")
        self.use("affine")
        self.one = self.editor.landmarks.ids[0]
        self.home = self.editor.landmarks.fixed[0]
        self.rng = np.random.default_rng(0)

    def use(self, kind: str) -> None:
        """Fit with another transform."""
        self.kind = kind
        self.preview.show_mode("blend")
        self._fit()
        self.rest()

    def move_landmark(self, _number: int) -> None:
        """Move the first landmark to a place near its own."""
        x, y = self.home + self.rng.normal(0, 30, 2)
        self.editor.move(self.one, "fixed", (x, y))

    def move_line(self, number: int) -> None:
        """Move the swipe line."""
        self.preview.swipe.setValue(100 + 13 * (number % 60))

    def resize_tiles(self, number: int) -> None:
        """Change the side of the tiles."""
        self.preview.tile.set_value(300 + 10 * number)

    def choose_picture(self, number: int) -> None:
        """Show another picture on one side."""
        panel, what, name = self.pictures[number % len(self.pictures)]
        panel.show_view(what, name)

    def rest(self) -> None:
        """Wait until nothing is under way."""
        busy = [self.fitting, self.preview.jobs, *(panel.jobs for panel in self.panels)]
        self.until(lambda: not any(each.running for each in busy))

    def until(self, done: Callable[[], bool]) -> None:
        """Let the window work until something is done."""
        from qtpy.QtWidgets import QApplication

        end = time.perf_counter() + 30
        while not done():
            QApplication.processEvents()
            time.sleep(0.001)
            if time.perf_counter() > end:
                sys.exit("The preview never came.")

    def timed(self, change: Callable[[int], None], edits: int = EDITS) -> tuple[np.ndarray, np.ndarray]:
        """Return the milliseconds until new pixels, change by change, and those between beats meanwhile."""
        from qtpy.QtCore import QEventLoop, QTimer

        seen: list[float] = []
        beats: list[float] = []
        beat, loop, late = QTimer(), QEventLoop(), QTimer()
        beat.setInterval(2)
        beat.timeout.connect(lambda: beats.append(time.perf_counter()))
        late.setSingleShot(True)
        late.timeout.connect(loop.quit)

        def on_drawn() -> None:
            seen.append(time.perf_counter())
            loop.quit()

        self.preview.drawn.connect(on_drawn)
        beat.start()
        waits = []
        for number in range(edits):
            start, before = time.perf_counter(), len(seen)
            change(number)
            late.start(30_000)
            loop.exec()
            if len(seen) == before:
                sys.exit("The preview never came.")
            waits.append(seen[before] - start)
            self.rest()
        beat.stop()
        self.preview.drawn.disconnect(on_drawn)
        return 1e3 * np.array(waits), 1e3 * np.diff(beats)

    def _fit(self) -> None:
        self.fitting.want(self.section, self.editor.landmarks, self.choices(self.kind))

    def _on_fitted(self, registration: Any) -> None:
        self.context.registration = registration


def run(title: str, bench: Bench) -> tuple[float, float]:
    """Print a table; return the slowest 95 % of a change and 99 % of the gaps."""
    rows, worst, blocked = [], 0.0, 0.0
    works: list[tuple[str, Callable[[int], None], Callable[[], None]]] = [
        (f"landmark moved, {kind.replace('_', ' ')}", bench.move_landmark, lambda kind=kind: bench.use(kind))
        for kind in TRANSFORMS
    ]
    works.append(("line moved", bench.move_line, lambda: bench.preview.show_mode("swipe")))
    works.append(("tiles resized", bench.resize_tiles, lambda: bench.preview.show_mode("checkerboard")))
    for words, change, prepare in works:
        prepare()
        bench.rest()
        waits, gaps = bench.timed(change)
        worst, blocked = max(worst, float(np.percentile(waits, 95))), max(blocked, float(np.percentile(gaps, 99)))
        rows.append(_row(words, waits, gaps))
    bench.preview.show_mode("blend")
    for words in ("first time", "again"):
        bench.rest()
        rows.append(_row(f"another picture, {words}", *bench.timed(bench.choose_picture, len(bench.pictures))))
    if hasattr(bench.context.left, "window"):
        redraws = redraw(bench)
        rows.append(["(a mere redraw)", *[""] * 3, f"{np.percentile(redraws, 99):.0f}", f"{redraws.max():.0f}"])
    assert bench.preview.layer is not None
    size = " × ".join(map(str, bench.preview.layer.data.shape[:2]))
    table(
        f"{title}: {N_SPOTS:,} spots, {len(bench.editor.landmarks)} landmarks, {size} pixels; ms, {EDITS} changes each",
        ["change", "median", "95 %", "max", "GUI thread 99 %", "max"],
        rows,
    )
    return worst, blocked


def _row(words: str, waits: np.ndarray, gaps: np.ndarray) -> list[str]:
    numbers = (np.median(waits), np.percentile(waits, 95), waits.max(), np.percentile(gaps, 99), gaps.max())
    return [words, *(f"{number:.0f}" for number in numbers)]


def redraw(bench: Bench) -> np.ndarray:
    """Return the milliseconds of drawing the canvas once more."""
    from qtpy.QtWidgets import QApplication

    canvas, took = bench.context.left.window._qt_viewer.canvas.native, []
    for _ in range(EDITS):
        start = time.perf_counter()
        canvas.update()
        QApplication.processEvents()
        took.append(time.perf_counter() - start)
    return 1e3 * np.array(took)


def main() -> None:
    import napari
    from napari.components import ViewerModel
    from qtpy.QtWidgets import QApplication

    from napari_st2msi import pipeline

    application = QApplication([])
    section = pipeline.simulate(name="bench", n_spots=N_SPOTS, n_genes=300, image_px=IMAGE_PX).sections[0]
    worst, blocked = run("Without a canvas", Bench(ViewerModel(), section))
    verdict("95 % of changes are in the layer after", worst, TARGET_MS, at_least=False, unit=" ms")
    verdict("99 % of the gaps of the GUI thread", blocked, BLOCKED_MS, at_least=False, unit=" ms")
    viewer = napari.Viewer()
    viewer.window.resize(1400, 900)
    run("In a window", Bench(viewer, section))
    viewer.close()
    application.quit()


if __name__ == "__main__":
    main()
