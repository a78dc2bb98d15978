"""The command that says which genes and ions have a pattern in the tissue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from napari_st2msi.cli.console import Run, written
from napari_st2msi.cli.learning import open_all
from napari_st2msi.cli.outputs import check_file
from napari_st2msi.cli.sections import MsiOption, OverwriteOption, PairedArgument
from napari_st2msi.io.opening import Opening
from napari_st2msi.recipe import Recipe

_LISTED = 5


def autocorrelation(
    paths: PairedArgument,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FILE", help="Where to write the table: .csv or .parquet."),
    ],
    msi: MsiOption = None,
    of: Annotated[
        Literal["genes", "ions", "both"], typer.Option("--of", help="Which images the statistics are of.")
    ] = "both",
    neighbours: Annotated[
        int, typer.Option("--neighbours", min=1, help="Nearest spots of the same section that count as neighbours.")
    ] = 6,
    permutations: Annotated[
        int,
        typer.Option("--permutations", min=0, help="Also put values on other spots so often, and count. 0: do not."),
    ] = 0,
    alternative: Annotated[
        Literal["smooth", "either"],
        typer.Option("--alternative", help="smooth: p-values of one side; either: smooth or rougher than noise."),
    ] = "smooth",
    local: Annotated[
        list[str] | None,
        typer.Option(
            "--local", metavar="ION", help="Also local Moran's I of this ion, by its name. May be given again."
        ),
    ] = None,
    local_out: Annotated[
        Path | None,
        typer.Option("--local-out", metavar="FILE.h5ad", help="Where to write local Moran's I: spots × ions."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the permutations.")] = 0,
    overwrite: OverwriteOption = False,
    *,
    opening: Opening,
    recipe: Recipe,
    run: Run,
) -> None:
    """Say of every gene and ion whether it has a pattern: Moran's I and Geary's C.

    Spots are compared with their neighbours of the same section, around the mean of the section. p-values are
    analytic, and false discovery rates are among genes and among ions.

    For example:

      napari-st2msi autocorrelation section.zarr --out statistics.csv

      napari-st2msi autocorrelation a.zarr b.zarr --of ions --permutations 999 --out ions.parquet

      napari-st2msi autocorrelation section.zarr --out ions.csv --local 798.5410 --local-out local.h5ad
    """
    from napari_st2msi import pipeline
    from napari_st2msi.errors import FileProblem
    from napari_st2msi.evaluation.statistics import local_statistics, spatial_statistics
    from napari_st2msi.report.table import write_frame, write_whole

    check_file(out, (".csv", ".parquet"), overwrite=overwrite)
    check_file(local_out, (".h5ad",), overwrite=overwrite)
    if bool(local) != (local_out is not None):
        raise FileProblem("Local Moran's I needs ions (--local) and a file (--local-out). Give both, or neither.")
    paired = pipeline.paired_dataset(open_all(paths, msi, opening, run), recipe, cancelled=run.cancelled)
    choices: dict[str, Any] = {"n_neighbours": neighbours, "n_permutations": permutations, "seed": seed}
    maps = None
    if local and local_out is not None:
        with run.progress("Local Moran's I") as progress:
            maps = local_statistics(paired, local, recipe, **choices, progress=progress, cancelled=run.cancelled)
    with run.progress("Comparing neighbours") as progress:
        table = spatial_statistics(
            paired,
            recipe,
            of=of,
            alternative=alternative,
            **choices,
            progress=progress,
            cancelled=run.cancelled,
        )
    write_frame(out, table)
    facts: dict[str, Any] = {"table": str(out), "spots": len(paired)}
    lines: dict[str, Any] = {}
    for kind, rows in table.groupby("of"):
        smooth = int((rows["moran_q"] <= 0.05).sum())
        best = rows.nlargest(_LISTED, "moran_i")
        facts[f"{kind}s"] = {
            "number": len(rows),
            "with_a_pattern": smooth,
            "median_moran_i": float(rows["moran_i"].median()),
            "smoothest": best["name"].tolist(),
        }
        lines[f"{kind}s"] = (
            f"{smooth:,} of {len(rows):,} have a pattern (Moran's I, false discovery rate up to 5%)\n"
            f"smoothest: {', '.join(f'{row.label} ({row.moran_i:.2f})' for row in best.itertuples())}"
        )
    lines["written to"] = written(out)
    if maps is not None and local_out is not None:
        write_whole(local_out, lambda file: maps.write_h5ad(file))
        facts["local"] = str(local_out)
        lines["local"] = written(local_out)
    run.result(facts, lines=lines)
