"""The command that says which metabolites can be learned from genes, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_st2msi.cli.console import Run, written
from napari_st2msi.cli.learning import open_all
from napari_st2msi.cli.outputs import check_folder
from napari_st2msi.cli.sections import MsiOption, OverwriteOption, PairedArgument
from napari_st2msi.io.opening import Opening
from napari_st2msi.recipe import Recipe

if TYPE_CHECKING:
    from napari_st2msi.evaluation.learnability import Learnability


def learnability(
    paths: PairedArgument,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FOLDER", help="Where to write tables and the figure.", show_default=False),
    ],
    msi: MsiOption = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            "--protocol",
            metavar="NAME",
            help="How to hold out: random, half, blocks, knndm, tissue_halves, leave_group_out:COLUMN. Given several "
            "times, all are compared. Default: random and blocks.",
        ),
    ] = None,
    judged_by: Annotated[
        str | None, typer.Option("--judged-by", metavar="NAME", help="The one for tiers. Default: the strictest.")
    ] = None,
    adjacent: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--adjacent",
            metavar="NAME NAME",
            help="Two sections that lie next to each other in the tissue block: what repeats is a ceiling.",
        ),
    ] = None,
    least_gain: Annotated[
        float | None, typer.Option("--least-gain", help="R² that genes must add to position, for tiers 1 and 2.")
    ] = None,
    least_share: Annotated[
        float | None, typer.Option("--least-share", help="R² as a share of the ceiling, for tier 1.")
    ] = None,
    overwrite: OverwriteOption = False,
    *,
    opening: Opening,
    recipe: Recipe,
    run: Run,
) -> None:
    """Say of every ion whether genes encode it, position explains it, or it is noise; and what tells that.

    Writes learnability.parquet and .csv (one ion a row: properties, ceiling, skill under each protocol, tier and the
    reason in words), correlations.csv, forecasts.csv, learnability.json and learnability.png.

    For example:

      napari-st2msi learnability section.zarr --out learnability --model ridge

      napari-st2msi learnability a.zarr b.zarr c.zarr --protocol random --protocol leave_group_out:section --out folder
    """
    from napari_st2msi.evaluation.learnability import learnability as assess
    from napari_st2msi.evaluation.tiers import Tiers
    from napari_st2msi.pipeline import paired_dataset
    from napari_st2msi.report.figures import png
    from napari_st2msi.report.learnability import famous_figure, learnability_lines
    from napari_st2msi.report.table import write_whole

    given = {"least_gain": least_gain, "least_share": least_share}
    criteria = Tiers.of({name: value for name, value in given.items() if value is not None})
    check_folder(out, overwrite=overwrite)
    sections = open_all(paths, msi, opening, run)
    paired = paired_dataset(sections, recipe, cancelled=run.cancelled)
    with run.progress("Assessing") as progress:
        found = assess(
            paired,
            recipe,
            protocols=protocol or ("random", "blocks"),
            section=sections if all(section.has_msi for section in sections) else None,
            adjacent_sections=adjacent,
            criteria=criteria,
            judged_by=judged_by,
            progress=progress,
            cancelled=run.cancelled,
        )
    found.save(out)
    write_whole(out / "learnability.png", lambda file: file.write_bytes(png(famous_figure(found))))
    facts: dict[str, Any] = {
        "folder": str(out),
        "protocols": found.protocols,
        "judged_by": found.judged_by,
        "tiers": found.counts,
        "findings": found.table["finding"].value_counts().to_dict(),
        "forecasts": found.forecasts.to_dict("records"),
        "moran": {name: _moran(found, name) for name in found.protocols},
        "notes": list(found.notes),
    }
    run.result(facts, lines=learnability_lines(found) | {"written to": written(out)})


def _moran(found: Learnability, protocol: str) -> dict[str, float]:
    """Return Spearman's correlation of Moran's I with each outcome of a protocol."""
    return {
        "skill": found.spearman(protocol, "r2"),
        "skill_of_coordinates": found.spearman(protocol, "r2", predictor="coordinates"),
        "gain": found.spearman(protocol, "gain"),
    }
