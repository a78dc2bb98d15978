"""The steps of the pipeline as commands: ``napari-st2msi --help``."""

from __future__ import annotations


def main() -> None:
    """Run the command line; see `napari_st2msi.cli.app`."""
    from napari_st2msi.cli.app import app

    app(prog_name="napari-st2msi")
