"""The program ``napari-st2msi``: its commands in the order of the work."""

from __future__ import annotations

from typing import Annotated

import typer

from napari_st2msi.cli import (
    benchmarking,
    downloading,
    explaining,
    learnable,
    learning,
    registering,
    searching,
    sections,
    statistics,
    windows,
)
from napari_st2msi.cli.command import command

app = typer.Typer(
    help="Predict metabolite images from gene expression over a tissue section, and see how far to believe them.\n\n"
    "The usual order: [bold]convert[/bold] the files to one section, [bold]register[/bold] MSI onto ST, "
    "[bold]pair[/bold] pixels with spots, [bold]train[/bold] a model and read its report, [bold]predict[/bold] "
    "sections that have ST only, [bold]view[/bold] them. [bold]demo[/bold] does all of it on a simulated section.",
    epilog="Each command explains itself: napari-st2msi COMMAND --help.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from napari_st2msi import __version__

        typer.echo(f"napari-st2msi {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass


for function, homes in (
    (windows.demo, ()),
    (downloading.download, ()),
    (sections.info, ("opening",)),
    (sections.convert, ("opening",)),
    (registering.register, ("roles",)),
    (sections.pair, ("roles", "pairing")),
    (statistics.autocorrelation, ("genes", "ions", "opening")),
    (searching.search, ("genes", "ions", "model", "networks", "search", "opening")),
    (learning.train, ("genes", "ions", "model", "networks", "evaluation", "intervals", "search", "opening")),
    (learning.predict, ("opening",)),
    (learnable.learnability, ("genes", "ions", "model", "networks", "opening")),
    (explaining.explain, ("opening",)),
    (explaining.perturb, ("opening",)),
    (benchmarking.benchmark, ()),
    (benchmarking.benchmark_plan, ()),
    (benchmarking.benchmark_run, ()),
    (benchmarking.benchmark_gather, ()),
    (windows.view, ("opening",)),
):
    command(app, *homes)(function)
