"""Commands that open a window. They alone lead up to the viewer, and only when they run."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from napari_st2msi.cli.console import Run, written
from napari_st2msi.cli.sections import MsiOption, PathArgument
from napari_st2msi.errors import FileProblem
from napari_st2msi.io.opening import Opening


def view(path: PathArgument, msi: MsiOption = None, *, opening: Opening, run: Run) -> None:
    """Open a section in napari, with the docks beside it.

    For example:

      napari-st2msi view section.zarr

      napari-st2msi view outs/ --msi brain.imzML
    """
    for each in (path, msi):
        if each is not None and not each.exists():
            raise FileProblem(f"There is no '{each}'.")
    _need_display()
    from napari_st2msi.viewer.window import Window

    run.say("Opening napari …")
    window = Window()
    window.open(path, msi, opening)
    window.stay()


def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where results and screenshots go.")
    ] = Path("demo-output"),
    window: Annotated[
        bool, typer.Option("--window/--no-window", help="Leave the window open at the end, or close it.")
    ] = True,
    spots: Annotated[
        int | None,
        typer.Option("--spots", min=100, metavar="N", help="How many spots to simulate; 1,200 if left out."),
    ] = None,
    *,
    run: Run,
) -> None:
    """Do the main job in napari, on a simulated section: register, pair, train, look.

    Leaves a report, a table of scores, the section, the model and screenshots in the folder.

    For example:

      napari-st2msi demo

      xvfb-run -a napari-st2msi demo --no-window
    """
    _need_display()
    from napari_st2msi.viewer.demo import show

    facts = show(out, spots=spots, stay=window, say=run.say)
    lines = {name: written(path) for name, path in facts["written"].items()}
    run.result(facts, lines=lines | {"took": f"{facts['seconds']:.0f} s"})


def _need_display() -> None:
    """Refuse in words where Qt would abort the program."""
    chosen = os.environ.get("QT_QPA_PLATFORM")
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or chosen
    ):
        raise FileProblem(
            "There is no display to open a window on. Put 'xvfb-run -a' before the command to draw on a virtual one, "
            "or use the commands that need none: convert, register, pair, train, predict."
        )
