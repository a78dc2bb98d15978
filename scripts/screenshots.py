"""Make the pictures of the README and the docs: the docks at work, on the simulated sample and on real data.

Usage: python scripts/screenshots.py docs/images

The real one needs the folder `mouse_bladder_msi` in NAPARI_ST2MSI_DATA or ../shared/data; without it
that picture stays as it is.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from qtpy.QtCore import QPoint

from napari_st2msi import pipeline
from napari_st2msi.io.opening import Opening
from napari_st2msi.recipe import Genes, Model, Recipe
from napari_st2msi.viewer.demo import SAMPLE, best_ion, finish, open_register, press
from napari_st2msi.viewer.docks import compare_work
from napari_st2msi.viewer.docks.compare import CompareDock
from napari_st2msi.viewer.docks.learnability import LearnabilityDock
from napari_st2msi.viewer.docks.register import RegisterDock
from napari_st2msi.viewer.layers import find
from napari_st2msi.viewer.parts.open_dock import open_dock
from napari_st2msi.viewer.window import Window

ROOT = Path(__file__).resolve().parents[1]


def simulated(folder: Path) -> None:
    """Data after pairing, Train with its scores, Explore with measured, predicted and residual."""
    window = Window()
    window.viewer.theme = "dark"
    window.data.open_sample(SAMPLE)
    finish(window, window.data)
    press(window, open_register(window), "Register")
    open_dock(window.viewer, "Data")
    press(window, window.data, "Pair")
    window.picture(folder / "data.png")

    open_dock(window.viewer, "Train")
    press(window, window.train, "Train")
    window.picture(folder / "train.png")

    open_dock(window.viewer, "Explore")
    evaluation = window.data.state.evaluation
    assert evaluation is not None
    window.data.state.ion = best_ion(evaluation.flat())
    window.explore.pictures.set_grid(True)
    window.picture(folder / "explore.png", settle=1.5)
    explaining(window, folder)
    window.close()


def explaining(window: Window, folder: Path) -> None:
    """Explore: the genes behind an ion over a drawn region, and what two changed genes would change."""
    explore = window.explore
    explore.pictures.set_grid(False)
    genes, change = explore.pages.genes, explore.pages.change
    explore.pages.setCurrentWidget(genes)
    window.wait(lambda: genes.shown is not None and "random ones" in genes.checked.text(), 300)
    genes.spots.start_drawing()
    section = window.data.state.work().section
    layer = find(window.viewer, section, "region")
    centres = section.spots.centres
    middle, size = centres.mean(axis=0), 0.14 * (centres.max(axis=0) - centres.min(axis=0))
    turns = np.linspace(0, 2 * np.pi, 40)
    layer.add((middle + size * np.column_stack([np.cos(turns), np.sin(turns)]))[:, ::-1], shape_type="polygon")
    window.wait(lambda: "drawn region" in genes.unit.text(), 30)
    window.picture(folder / "explain_genes.png", settle=1.5)

    explore.pages.setCurrentWidget(change)
    layer.visible = False
    for gene in genes.shown.ranked(None).index[:2]:
        change.add(str(gene))
    change.run_bar.button.click()
    window.wait(lambda: change.found is not None, 300)
    window.picture(folder / "explain_change.png", settle=1.5)


def believing(folder: Path) -> None:
    """Learnability with the blocks on the tissue, and Compare with one prediction looked at; both by ridge."""
    # Smaller than the sample: a dozen combinations are evaluated one after the other.
    choices = {"n_spots": 500, "n_genes": 120, "ions_per_kind": 6, "image_px": 200, "seed": 3}
    section = pipeline.simulate(name="brain", **choices).sections[0]
    pipeline.register(section)
    window = Window()
    window.viewer.theme = "dark"
    state = window.data.state
    state.recipe = Recipe(genes=Genes(neighbourhood="none"), model=Model(name="ridge"))
    state.add_section(section)
    state.set_paired(pipeline.pair(section), section)
    learnability: LearnabilityDock = open_dock(window.viewer, "Learnability")
    press(window, learnability, "Assess")
    table = state.learnability.table
    state.ion = str(table["moran_i"].where(table["finding"] == "smooth").idxmax())
    learnability.splits.toggle()
    learnability.messages.clear()
    window.viewer.reset_view()
    window.picture(folder / "learnability.png", settle=1.5)

    learnability.splits.toggle()
    kept = TemporaryDirectory()  # results of whoever makes the pictures stay what they are
    compare_work.user_folder = lambda: Path(kept.name)
    compare: CompareDock = open_dock(window.viewer, "Compare")
    for choice, names in (
        (compare.models, ("ridge", "pls", "coordinates", "position")),
        (compare.features, ("recipe", "svd")),
    ):
        for name, box in choice.boxes.items():
            box.setChecked(name in names)
    press(window, compare, "Compare")
    best = compare.compared.benchmark.leaderboard.query("model == 'ridge' and protocol == 'blocks'").iloc[0]
    compare.look_at({name: best[name] for name in ("data", "model", "features", "protocol")} | {"seed": 0})
    window.wait(lambda: "residual" in window.explore.pictures.available, 60)
    state.ion = best_ion(state.evaluation.flat())
    window.explore.pictures.set_grid(True)
    compare.messages.clear()
    window.viewer.reset_view()
    compare.scroll.verticalScrollBar().setValue(compare.results_group.pos().y())
    window.picture(folder / "compare.png", settle=2.5)
    window.close()
    kept.cleanup()


def registering(folder: Path) -> None:
    """Register: picking, the errors of landmarks, a preview, and an automatic proposal."""
    window = Window()
    window.viewer.theme = "dark"
    window.data.open_sample(SAMPLE)
    finish(window, window.data)
    dock: RegisterDock = open_dock(window.viewer, "Register")
    kept = TemporaryDirectory()  # landmarks of whoever makes the pictures stay what they are
    dock.autosave.folder = Path(kept.name)
    panels = dock.st_view, dock.msi_view

    def rest() -> None:
        busy = [dock.fitting, dock.preview.jobs, dock.automatic, *(panel.jobs for panel in panels)]
        window.wait(lambda: not any(each.running for each in busy), 300)

    def unfold(*titles: str) -> None:
        for group in dock.groups:
            group.expand() if group.full_title().partition(":")[0] in titles else group.collapse()

    window.wait(lambda: dock.context.registration is not None and dock.msi_view.view is not None, 60)
    rest()
    # A tenth landmark: clicked on the ST, expected where the others say on the MSI.
    dock.landmarks.add.setChecked(True)
    dock.editor.add("fixed", (3150.0, 1750.0))
    rest()
    unfold("Show", "Landmarks")
    window.picture(folder / "register_picking.png")
    dock.commands.undo()
    dock.messages.clear()
    dock.landmarks.add.setChecked(False)
    dock.editor.select("2")
    unfold("Landmarks", "Transform")
    rest()
    window.wait(lambda: False, 0.3)  # until the dock knows its new height
    dock.scroll.verticalScrollBar().setValue(dock.landmarks.table.mapTo(dock.scroll.widget(), QPoint(0, -4)).y())
    window.picture(folder / "register_errors.png")

    dock.editor.select(None)
    dock.msi_view.show_view("components")
    unfold("Show", "Preview")
    dock.preview.show_mode("checkerboard")
    rest()
    window.picture(folder / "register_checkerboard.png")

    unfold("Preview", "Automatic")
    dock.preview.show_mode("swipe")
    dock.automatic.find_button.click()
    rest()
    window.picture(folder / "register_proposal.png")
    window.close()
    kept.cleanup()


def bladder(folder: Path, data: Path) -> None:
    """Explore on MSI of a mouse bladder with its stain: a lipid of the muscle layer."""
    window = Window()
    window.viewer.theme = "dark"
    window.open(
        data / "bladder_msi.h5ad",
        opening=Opening(name="mouse bladder", histology=data / "mouse_urinary_bladder_HE.tif", pixel_size_um=10),
    )
    finish(window, window.data)
    open_dock(window.viewer, "Explore")
    window.wait(lambda: window.explore.gathered is not None, 60)
    ions = window.data.state.work().section.ions
    window.data.state.ion = str((ions["mz"] - 741.53).abs().idxmin())
    window.picture(folder / "bladder.png", settle=1.5)
    window.close()


def main() -> None:
    """Make all pictures that can be made here."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "docs" / "images")
    folder.mkdir(parents=True, exist_ok=True)
    simulated(folder)
    believing(folder)
    registering(folder)
    data = Path(os.environ.get("NAPARI_ST2MSI_DATA", ROOT.parent / "shared" / "data")) / "mouse_bladder_msi"
    if data.is_dir():
        bladder(folder, data)
    else:
        print(f"No real data at {data}: bladder.png stays as it is.")


if __name__ == "__main__":
    main()
