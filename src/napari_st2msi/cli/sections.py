"""Commands about one section: what it holds, one file of it, pixels to spots."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from napari_st2msi.cli.console import Run, written
from napari_st2msi.errors import FileProblem
from napari_st2msi.io.opening import Opening
from napari_st2msi.recipe import Recipe

PathArgument = Annotated[
    Path,
    typer.Argument(
        metavar="PATH",
        help="A SpatialData zarr, Space Ranger outs, imzML, CSV, MAGPIE project, h5ad or h5mu.",
        show_default=False,
    ),
]
SectionArgument = Annotated[
    Path, typer.Argument(metavar="SECTION", help="A section as 'convert' wrote it.", show_default=False)
]
PairedArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="SECTION...",
        help="One or several paired sections, or one h5ad of genes with its ions as --msi.",
        show_default=False,
    ),
]
MsiOption = Annotated[
    Path | None, typer.Option("--msi", metavar="PATH", help="The MSI, when it lies in a file of its own.")
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="OUT.zarr", help="Write here. Default: into the section itself."),
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]


def info(path: PathArgument, msi: MsiOption = None, *, opening: Opening, run: Run) -> None:
    """Show what a file holds: spots, genes, pixels, ions, sizes in µm; of a model folder, its card.

    For example:

      napari-st2msi info outs/

      napari-st2msi info model

      napari-st2msi info section.zarr --json

      napari-st2msi info outs/ --msi brain.imzML --ppm 5
    """
    if (path / "model.json").exists():
        show_model(path, run)
        return
    section = open_path(path, msi, opening, run)
    run.result(section.summary(), lines=_summary_lines(section.summary()))


def convert(
    path: PathArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT.zarr", help="Where to write the section.", show_default=False)],
    msi: MsiOption = None,
    overwrite: OverwriteOption = False,
    *,
    opening: Opening,
    run: Run,
) -> None:
    """Put everything of one section into one SpatialData zarr, in micrometres.

    For example:

      napari-st2msi convert outs/ section.zarr --msi brain.imzML --mz-table lipids.csv --ppm 5

      napari-st2msi convert spots.h5ad section.zarr --msi ions.h5ad --same-frame

      napari-st2msi convert msi.h5ad section.zarr --histology stained.tif
    """
    from napari_st2msi.pipeline import save

    if out.exists() and not overwrite:
        raise FileProblem(f"'{out}' is already there. Choose another name, or add --overwrite.")
    section = open_path(path, msi, opening, run)
    run.say(f"Writing {out} …")
    where = save(section, out, overwrite=overwrite)
    facts = section.summary() | {"path": str(where)}
    run.result(facts, lines=_summary_lines(facts) | {"written to": written(where)})


def pair(
    path: SectionArgument,
    out: OutOption = None,
    overwrite: OverwriteOption = False,
    *,
    opening: Opening,
    recipe: Recipe,
    run: Run,
) -> None:
    """Give every ST spot the ions of the MSI pixels under it, and keep them in the section.

    For example:

      napari-st2msi pair section.zarr

      napari-st2msi pair section.zarr --method radius --radius-um 50

      napari-st2msi pair section.zarr --min-coverage 0.8 --out paired.zarr
    """
    import numpy as np

    from napari_st2msi.pipeline import pair as pair_up
    from napari_st2msi.pipeline import save

    section = open_path(path, None, opening, run)
    with run.progress("Pairing") as progress:
        paired = pair_up(section, recipe.pairing, progress=progress, cancelled=run.cancelled)
    where = save(section, out, overwrite=overwrite)
    coverage = paired.obs["coverage"].to_numpy(dtype=float)
    facts = {
        "section": section.name,
        "spots": section.st.n_obs,
        "paired_spots": int(paired.covered.sum()),
        "ions": paired.ions.n_vars,
        "median_coverage": float(np.median(coverage)),
        "median_pixels_per_spot": float(np.median(paired.obs["n_pixels"])),
        "choices": recipe.pairing.model_dump(mode="json"),
        "warnings": list(section.attrs.get("pairing", {}).get("warnings", [])),
        "path": str(where),
    }
    run.result(
        facts,
        lines={
            "paired": f"{facts['paired_spots']:,} of {facts['spots']:,} spots × {facts['ions']:,} ions",
            "coverage": f"{facts['median_coverage']:.0%} of a spot's area (median)",
            "pixels": f"{facts['median_pixels_per_spot']:g} per spot (median)",
            **({"note": facts["warnings"]} if facts["warnings"] else {}),
            "written to": written(where),
        },
    )


def show_model(folder: Path, run: Run) -> None:
    """Show the card of a model, made anew from what can be loaded: the file beside it may say anything."""
    from napari_st2msi.pipeline import load_model
    from napari_st2msi.training.card import card, limits

    model = load_model(folder)
    facts = {
        "model": model.predictor.name,
        "created": model.created,
        "spots": model.n_spots,
        "sections": model.sections,
        "genes": len(model.genes),
        "ions": len(model.ions),
        "scores": model.summary,
        "intervals": model.no_intervals if model.intervals is None else model.intervals.in_words(),
        "limits": limits(model),
        "versions": model.versions,
        "recipe": model.recipe.model_dump(mode="json"),
    }
    run.result(facts, lines={"": card(model)})


def open_path(path: Path, msi: Path | None, opening: Opening, run: Run) -> Any:
    """Open a section with a progress bar."""
    from napari_st2msi.pipeline import open_section

    with run.progress(f"Opening {path.name or path}") as progress:
        return open_section(path, msi, opening=opening, progress=progress, cancelled=run.cancelled)


def _summary_lines(facts: dict[str, Any]) -> dict[str, Any]:
    """Return `Section.summary` as a person reads it."""
    roles = facts["roles"]
    lines: dict[str, Any] = {"section": facts["name"]}
    if "spots" in facts:
        diameter = facts["spot_diameter_um"]
        size = "" if diameter is None else f", {diameter:.4g} µm"
        lines["ST"] = f"{facts['spots']:,} spots × {facts['genes']:,} genes{size}  (table '{roles['st']}')"
    if "pixels" in facts:
        size = "" if facts["pixel_size_um"] is None else f", {facts['pixel_size_um']:.4g} µm"
        low, high = facts["mz_range"]
        lines["MSI"] = f"{facts['pixels']:,} pixels × {facts['ions']:,} ions{size}  (table '{roles['msi']}')"
        lines["m/z"] = f"{low:.4f} to {high:.4f}"
        lines["grid"] = "regular" if facts["regular_grid"] else "irregular"
    elif "ions" in facts:
        lines["ions"] = facts["ions"]
    lines["histology"] = roles["image"] or "none"
    if "spots" in facts and "pixels" in facts:
        lines["registered"] = facts["registered"]
    lines["paired"] = facts["paired"]
    if facts["notes"]:
        lines["note"] = facts["notes"]
    return lines
