"""The main job in a window, on a simulated section: what a user would press is pressed, nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from napari_st2msi.io.sample import SAMPLES
from napari_st2msi.report.table import write_table
from napari_st2msi.report.words import in_short
from napari_st2msi.viewer.docks.register import RegisterDock
from napari_st2msi.viewer.parts.dock import Dock
from napari_st2msi.viewer.parts.open_dock import open_dock
from napari_st2msi.viewer.window import Window

#: What the demo is made on: the first sample of the menu.
SAMPLE = next(iter(SAMPLES))
_PATIENCE_S = 900.0


class DemoFailed(RuntimeError):
    """A dock said that something went wrong, or never came to an end."""


def show(out: Path, *, spots: int | None = None, stay: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Open a sample, register, pair, train, look; leave what came of it in a folder.

    Parameters
    ----------
    out
        Gets `report.html`, `scores.csv`, `section.zarr`, `model` and a screenshot of each dock; what an
        earlier demo left there is replaced.
    spots
        How many spots are simulated, 100 or more; those of the sample if None.
    stay
        Leave the window open until the user closes it.
    say
        Called with what happens, in words.

    Returns
    -------
    Plain values: `seconds`, `in_short`, `scores`, and `written`, a path for each result.

    Raises
    ------
    FileProblem
        The folder cannot be written.
    DemoFailed
        A dock reported an error.
    """
    begun = time.monotonic()
    out = out.resolve()
    prepare(out)
    window = Window()
    try:
        facts = _main_job(window, out, {} if spots is None else {"n_spots": spots}, say)
    except BaseException:
        window.close()
        raise
    facts["seconds"] = round(time.monotonic() - begun, 1)
    say(facts["in_short"])
    if stay:
        say("The window is yours: choose ions in the table. Close it to end the demo.")
        window.stay()
    else:
        window.close()
    return facts


def prepare(out: Path) -> None:
    """Make the folder of results.

    Raises
    ------
    FileProblem
        It cannot be made.
    """
    from napari_st2msi.errors import FileProblem

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileProblem(f"The folder '{out}' cannot be made: {error.strerror or error}.") from error


def _main_job(window: Window, out: Path, changes: dict[str, Any], say: Callable[[str], None]) -> dict[str, Any]:
    data, train, state = window.data, window.train, window.data.state
    say(f"Opening the sample '{SAMPLE}' …")
    data.open_sample(SAMPLE, **changes)
    finish(window, data)
    say("Register: MSI onto ST by landmarks …")
    register = open_register(window)
    press(window, register, "Register")
    say(f"  {register.messages.text}")
    pictures = {"picture of Register": window.picture(out / "register.png", settle=1.5)}

    open_dock(window.viewer, "Data")
    say("Pair: the pixels under each spot …")
    press(window, data, "Pair")
    say(f"  {data.messages.text}")
    pictures["picture of Data"] = window.picture(out / "data.png")

    open_dock(window.viewer, "Train")
    say("Train: five times on four fifths of the tissue, then on all of it …")
    press(window, train, "Train")
    pictures["picture of Train"] = window.picture(out / "train.png")

    evaluation = state.evaluation
    assert evaluation is not None
    explore = open_dock(window.viewer, "Explore")
    flat = evaluation.flat()
    state.ion = best_ion(flat)
    explore.pictures.set_grid(True)
    pictures["picture of Explore"] = window.picture(out / "explore.png", settle=1.5)

    say("Writing the report, the scores, the section and the model …")
    train.reporting.write(out / "report.html")
    finish(window, train)
    train.model_part.save(out / "model", overwrite=True)
    finish(window, train)
    data.save_as(out / "section.zarr", overwrite=True)
    finish(window, data)
    scores = write_table(out / "scores.csv", evaluation)
    return {
        "in_short": in_short(flat),
        "scores": evaluation.summary(),
        "written": {
            "report": str(out / "report.html"),
            "scores": str(scores),
            "section": str(out / "section.zarr"),
            "model": str(out / "model"),
            **{name: str(path) for name, path in pictures.items()},
        },
    }


def open_register(window: Window) -> RegisterDock:
    """Open the Register dock by the button of the Data dock, and wait until the landmarks are fitted.

    Raises
    ------
    DemoFailed
        The section gave it nothing to register by.
    """
    press(window, window.data, "Register")
    register = open_dock(window.viewer, "Register")
    assert isinstance(register, RegisterDock)
    if not window.wait(register.run_bar.button.isEnabled, _PATIENCE_S):
        raise DemoFailed(f"There is nothing to register by. {register.landmarks.result.text()}")
    return register


def best_ion(flat: pd.DataFrame) -> str:
    """Return the ion to look at first: of those predicted from genes, the one with the highest R²."""
    chosen = flat[flat["verdict"] == "predicted from genes"]
    return str((chosen if len(chosen) else flat)["r2"].idxmax())


def press(window: Window, dock: Dock, verb: str) -> None:
    """Press the button of a dock, which must offer this, and wait for what it started."""
    button = dock.run_bar.button
    if not button.isEnabled() or not button.text().startswith(verb):
        raise DemoFailed(f"'{verb}' was expected, but the button says '{button.text()}'. {dock.messages.text}")
    button.click()
    finish(window, dock)


def finish(window: Window, dock: Dock) -> None:
    """Wait for the long work of a dock.

    Raises
    ------
    DemoFailed
        It ended with an error, or not at all.
    """
    if not window.wait(lambda: not dock.jobs.running, _PATIENCE_S):
        raise DemoFailed(f"{type(dock).__name__} is still busy after {_PATIENCE_S:.0f} seconds.")
    if dock.messages.text and dock.messages.level == "error":
        raise DemoFailed(dock.messages.text)
