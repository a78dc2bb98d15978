"""A whole window: napari with the docks beside the canvas, opened from the command line."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

import napari
from qtpy.QtWidgets import QApplication

from napari_st2msi.io.opening import Opening
from napari_st2msi.viewer.parts.open_dock import open_dock

if TYPE_CHECKING:
    from napari_st2msi.viewer.docks.data import DataDock
    from napari_st2msi.viewer.docks.explore import ExploreDock
    from napari_st2msi.viewer.docks.train import TrainDock

SIZE = (1500, 940)


class Window:
    """napari with the docks Data, Train and Explore; Data is in front.

    Attributes
    ----------
    viewer
        The viewer.
    data, train, explore
        Its docks.
    """

    def __init__(self) -> None:
        self.viewer = napari.Viewer(title="napari-st2msi")
        self.viewer.window.resize(*SIZE)
        self.explore: ExploreDock = open_dock(self.viewer, "Explore")
        self.train: TrainDock = open_dock(self.viewer, "Train")
        self.data: DataDock = open_dock(self.viewer, "Data")

    def open(self, path: Path, msi: Path | None = None, opening: Opening | None = None) -> None:
        """Open a section through the Data dock, as if its paths and choices had been typed there."""
        view, opening = self.data.open_view, opening or Opening()
        view.path.set_value(path)
        view.msi.set_value(msi)
        view.histology.set_value(opening.histology)
        view.choices.set_value(opening)
        self.data.open()

    def stay(self) -> None:
        """Hand over to the user until the window is closed."""
        napari.run()

    def close(self) -> None:
        """Close the window."""
        self.viewer.close()

    def wait(self, done: Callable[[], bool], seconds: float) -> bool:
        """Let the window work until something is done, and tell whether it was in time."""
        app = cast("QApplication", QApplication.instance())
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                return False
            app.processEvents()
            time.sleep(0.02)  # the work is done in other threads, which need the interpreter more
        return True

    def picture(self, path: Path, *, settle: float = 0.7) -> Path:
        """Write the whole window as PNG, after it has come to rest."""
        self.wait(lambda: False, settle)
        self.viewer.screenshot(str(path), canvas_only=False, flash=False)
        return path
