"""The command that searches for the settings of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from napari_st2msi.cli.console import Run, written
from napari_st2msi.cli.learning import open_all
from napari_st2msi.cli.outputs import check_file
from napari_st2msi.cli.sections import MsiOption, OverwriteOption, PairedArgument
from napari_st2msi.io.opening import Opening
from napari_st2msi.recipe import Recipe


def search(
    paths: PairedArgument,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="RECIPE.yaml", help="Where to write the best recipe.", show_default=False),
    ],
    msi: MsiOption = None,
    history: Annotated[
        Path | None, typer.Option("--history", metavar="FILE.csv", help="Write all trials, one a row.")
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE.png", help="Draw how the search went.")] = None,
    overwrite: OverwriteOption = False,
    *,
    opening: Opening,
    recipe: Recipe,
    run: Run,
) -> None:
    """Search for the settings of a model on inner folds: whole sections, or blocks of tissue.

    The best of many trials is flattered. 'train' with --trials searches anew inside each fold, and so measures
    what a search is worth. Ctrl-C keeps the best so far.

    For example:

      napari-st2msi search section.zarr --model ridge --trials 30 --minutes 5 --out recipe.yaml

      napari-st2msi search a.zarr b.zarr c.zarr --model trees --out recipe.yaml --history history.csv

      napari-st2msi train section.zarr --recipe recipe.yaml --out model
    """
    from napari_st2msi import pipeline
    from napari_st2msi.report.figures import png
    from napari_st2msi.report.search import history_figure
    from napari_st2msi.report.table import write_whole

    check_file(out, overwrite=overwrite)
    for more in (history, plot):
        check_file(more)
    paired = pipeline.paired_dataset(open_all(paths, msi, opening, run), recipe, cancelled=run.cancelled)
    with run.progress("Searching") as progress:
        found = pipeline.search(paired, recipe, progress=progress, cancelled=run.cancelled)
    write_whole(out, lambda file: file.write_text(found.recipe.to_yaml(), encoding="utf-8"))
    facts: dict[str, Any] = {
        "recipe": str(out),
        "trials": len(found.history),
        "best_r2": float(found.history["best"].iloc[-1]),
        "changed": found.changed,
        "ended": found.ended,
    }
    lines: dict[str, Any] = {"found": found.in_words(), "recipe": written(out)}
    if history is not None:
        write_whole(history, lambda file: found.history.to_csv(file, index=False, float_format="%.6g"))
        lines["history"] = written(history)
    if plot is not None:
        write_whole(plot, lambda file: file.write_bytes(png(history_figure({"": found.history}))))
        lines["plot"] = written(plot)
    run.result(facts, lines=lines)
