"""What tests of several docks share: a dock on the screen, its button pressed, and a section quick to predict."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

from qtpy.QtCore import Qt

from napari_st2msi import pipeline
from napari_st2msi.paired import PairedDataset
from napari_st2msi.recipe import Evaluation, Genes, Model, Recipe
from napari_st2msi.section import Section
from napari_st2msi.viewer.parts.dock import Dock

# Waiting ends when what is waited for happens; only a machine that does much else needs so long.
PATIENCE_MS = 240_000
QUICK = Recipe(
    evaluation=Evaluation(n_folds=2), genes=Genes(n_top=30, neighbourhood="none"), model=Model(name="ridge", n_alphas=3)
)

D = TypeVar("D", bound=Dock)


def on_screen(qtbot: Any, dock: D, *, size: tuple[int, int]) -> D:
    """Show a dock that is closed after the test."""
    qtbot.addWidget(dock)
    dock.resize(*size)
    dock.show()
    qtbot.waitExposed(dock)
    return dock


def come_to_rest(qtbot: Any, dock: Dock) -> None:
    """Wait until nothing runs in a dock."""
    qtbot.waitUntil(lambda: not dock.jobs.running, timeout=PATIENCE_MS)


def press(qtbot: Any, dock: Dock) -> None:
    """Press the button of a dock, and wait for what it does."""
    qtbot.mouseClick(dock.run_bar.button, Qt.MouseButton.LeftButton)
    come_to_rest(qtbot, dock)


@cache
def brain(n_spots: int, ions_per_kind: int) -> tuple[Section, PairedDataset]:
    """Return a simulated section, registered and paired; made once."""
    section = pipeline.simulate(
        name="brain", n_spots=n_spots, n_genes=60, ions_per_kind=ions_per_kind, image_px=128, seed=3
    ).sections[0]
    pipeline.register(section)
    return section, pipeline.pair(section)
