"""Commands about why: the genes behind predicted ions, and what changed genes would change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from napari_st2msi.cli.console import Run, written
from napari_st2msi.cli.sections import OverwriteOption, open_path
from napari_st2msi.errors import DataProblem, FileProblem
from napari_st2msi.io.opening import Opening

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_st2msi.explain.perturb import How

_SHOWN = 10

ModelArgument = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A model folder, as 'train' wrote it.", show_default=False)
]
QueryArgument = Annotated[
    Path,
    typer.Argument(metavar="SECTION", help="A section; ST is enough. Anything that 'info' reads.", show_default=False),
]
SpotsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--spots",
        metavar="COLUMN=VALUE",
        help="Only spots with this in their obs, or a text file with one spot a line. May be given again.",
    ),
]


def explain(
    model: ModelArgument,
    path: QueryArgument,
    ion: Annotated[
        list[str],
        typer.Option("--ion", metavar="ION", help="Name or m/z of an ion. May be given again.", show_default=False),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE.csv", help="Where to write the table.", show_default=False)
    ],
    gene: Annotated[
        list[str] | None,
        typer.Option("--gene", metavar="GENE", help="Write what this gene brings in each spot. May be given again."),
    ] = None,
    spots: SpotsOption = None,
    part: Annotated[
        Literal["prediction", "intensity", "presence"],
        typer.Option("--part", help="What to explain of a model in two stages."),
    ] = "prediction",
    checks: Annotated[
        bool, typer.Option("--checks/--no-checks", help="Compare with random genes and, for networks, random weights.")
    ] = True,
    overwrite: OverwriteOption = False,
    *,
    opening: Opening,
    run: Run,
) -> None:
    """Find the genes behind the prediction of an ion: evidence on the model, not on causes.

    One ion gives a table of genes, strongest first; with --gene a table of spots × genes; several ions a table
    of genes × ions.

    For example:

      napari-st2msi explain model section.zarr --ion 798.54 --out genes.csv

      napari-st2msi explain model section.zarr --ion 798.54 --spots region=cortex --out cortex.csv

      napari-st2msi explain model section.zarr --ion 798.54 --gene Gfap --out gfap.csv
    """
    _check_writable(out, overwrite)
    if gene and len(ion) > 1:
        raise DataProblem("With --gene the table is spots × genes, and that is of one ion. Give one --ion.")
    from napari_st2msi import pipeline

    trained = pipeline.load_model(model)
    section = open_path(path, None, opening, run)
    chosen = spots_of(section.st, spots)
    if len(ion) > 1:
        with run.progress("Explaining") as progress:
            region = pipeline.explain_region(
                trained, section, ion, spots=chosen, progress=progress, cancelled=run.cancelled
            )
        region.mean.reindex(region.top(len(region.mean))).to_csv(out, index_label="gene")
        facts: dict[str, Any] = {"ions": list(region.mean.columns), "spots": region.n_spots, "unit": region.unit}
        facts |= {"methods": region.methods, "gaps": region.gaps, "path": str(out)}
        lines = {"explained": f"{len(ion)} ions in {region.n_spots:,} spots, mean contributions in {region.unit}"}
        run.result(facts, lines=lines | {"written to": written(out)})
        return
    from napari_st2msi.explain.attribution import METHODS
    from napari_st2msi.explain.checks import check_attribution
    from napari_st2msi.explain.explain import attribution_of
    from napari_st2msi.explain.ions import find_ion
    from napari_st2msi.explain.kinds import explainer_for

    column = find_ion(trained.ions, ion[0])
    with run.progress("Explaining") as progress:
        explainer = explainer_for(trained.predictor, section.st, chosen)
        found = attribution_of(explainer, column, part=part, progress=progress.part(0, 0.5), cancelled=run.cancelled)
        judged = (
            check_attribution(explainer, found, progress=progress.part(0.5, 1), cancelled=run.cancelled)
            if checks
            else None
        )
    ranked = found.ranked()
    _table(found, ranked, gene).to_csv(out, index_label="spot" if gene else "gene")
    facts = {
        "ion": found.ion,
        "part": found.part,
        "method": found.method,
        "unit": found.unit,
        "spots": len(found.spots),
        "gap": found.relative_gap,
        "genes": ranked.head(_SHOWN)["strength"].to_dict(),
        "path": str(out),
    }
    lines = {
        "explained": f"{found.ion} in {len(found.spots):,} spots by {METHODS[found.method]}, in {found.unit}",
        "strongest": ", ".join(f"{name} {value:.3g}" for name, value in facts["genes"].items()),
        "left over": f"{found.relative_gap:.1%} of what is predicted beside the mean is no gene's",
    }
    if judged is not None:
        advantage = judged.deletion.advantage
        facts["checks"] = {
            "advantage_over_random_genes": advantage,
            "random_weights": judged.random_weights,
            "agreement": judged.agreement,
        }
        lines["checked"] = f"taking the 20 strongest genes away changes it {advantage:.1f} × as much as 20 random ones"
        if judged.random_weights is not None:
            lines["checked"] += f"; rank correlation with random weights {judged.random_weights:.2f}"
        if judged.agreement is not None:
            lines["checked"] += f", between networks {judged.agreement:.2f}"
    run.result(facts, lines=lines | {"written to": written(out)})


def perturb(
    model: ModelArgument,
    path: QueryArgument,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FILE.csv", help="Where to write the changed ions.", show_default=False),
    ],
    gene: Annotated[
        list[str] | None, typer.Option("--gene", metavar="GENE", help="A gene to change. May be given again.")
    ] = None,
    gene_sets: Annotated[
        Path | None, typer.Option("--gene-sets", metavar="FILE.gmt", help="Where --pathway is found. Default: bundled.")
    ] = None,
    pathway: Annotated[
        str | None, typer.Option("--pathway", metavar="NAME", help="Change all genes of this pathway.")
    ] = None,
    knock_out: Annotated[bool, typer.Option("--knock-out", help="Leave no counts of the genes.")] = False,
    scale: Annotated[float | None, typer.Option("--scale", metavar="FACTOR", help="Multiply their counts.")] = None,
    set_to: Annotated[float | None, typer.Option("--set-to", metavar="COUNTS", help="Set their counts.")] = None,
    spots: SpotsOption = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="FILE.csv", help="Also write the change of each ion in each spot."),
    ] = None,
    overwrite: OverwriteOption = False,
    *,
    opening: Opening,
    run: Run,
) -> None:
    """Predict what changes in the ions when genes are changed in some spots, in the model's eyes.

    For example:

      napari-st2msi perturb model section.zarr --gene Gfap --knock-out --out change.csv

      napari-st2msi perturb model section.zarr --gene Fasn --gene Scd1 --scale 2 --spots region=cortex
      --out change.csv --images images.csv
    """
    _check_writable(out, overwrite)
    if images is not None:
        _check_writable(images, overwrite)
    from napari_st2msi import pipeline
    from napari_st2msi.explain.perturb import Change

    given: list[tuple[How, float | None]] = [
        ("knock_out", 0.0 if knock_out else None),
        ("scale", scale),
        ("set", set_to),
    ]
    ways = [(how, amount) for how, amount in given if amount is not None]
    if len(ways) != 1:
        raise DataProblem("Say what to do with the genes: one of --knock-out, --scale and --set-to.")
    trained = pipeline.load_model(model)
    section = open_path(path, None, opening, run)
    names = (*(gene or ()), *_members(pathway, gene_sets, section.st))
    (how, amount), chosen = ways[0], spots_of(section.st, spots)
    with run.progress("Perturbing") as progress:
        found = pipeline.perturb(
            trained, section, Change(names, how, amount), spots=chosen, progress=progress, cancelled=run.cancelled
        )
    ranked = found.ranked()
    ranked.to_csv(out, index_label="ion")
    lines: dict[str, Any] = {
        "changed": f"{found.changes[0].words()} in {int(found.changed.sum()):,} of {len(found.spots):,} spots",
        "most changed": ", ".join(f"{name} {value:+.1%}" for name, value in ranked["relative"].head(5).items()),
    }
    if found.unused:
        lines["note"] = f"{len(found.unused):,} of the genes are not used by the model: {', '.join(found.unused[:5])}"
    if images is not None:
        import pandas as pd

        pd.DataFrame(found.change, index=found.spots, columns=found.ions.index).to_csv(images, index_label="spot")
        lines["images"] = written(images)
    facts = {
        "change": found.changes[0].words(),
        "spots": int(found.changed.sum()),
        "unused": list(found.unused),
        "ions": ranked.head(_SHOWN)["relative"].to_dict(),
        "path": str(out),
    }
    run.result(facts, lines=lines | {"written to": written(out)})


def spots_of(genes: AnnData, wanted: list[str] | None) -> NDArray[np.bool_] | None:
    """Return which spots fulfil all of ``column=value``, or are named in a file; None without wishes.

    Raises
    ------
    DataProblem
        There is no such column, or no spot is left.
    FileProblem
        A file cannot be read.
    """
    import numpy as np

    if not wanted:
        return None
    chosen = np.ones(genes.n_obs, dtype=bool)
    for each in wanted:
        column, equals, value = each.partition("=")
        if not equals:
            try:
                names = Path(each).read_text(encoding="utf-8-sig").split("\n")
            except (OSError, UnicodeDecodeError) as error:
                raise FileProblem(
                    f"'{each}' is neither COLUMN=VALUE nor a file with names of spots that can be read."
                ) from error
            chosen &= genes.obs_names.isin([name.strip() for name in names])
        elif column not in genes.obs:
            known = ", ".join(f"'{name}'" for name in list(genes.obs)[:8])
            raise DataProblem(f"The spots have no column '{column}' in obs. There are: {known}.")
        else:
            chosen &= (genes.obs[column].astype(str) == value).to_numpy()
    if not chosen.any():
        raise DataProblem(f"No spot fulfils {' and '.join(wanted)}.")
    return chosen


def _table(found: Any, ranked: pd.DataFrame, gene: list[str] | None) -> pd.DataFrame:
    if not gene:
        return ranked
    import pandas as pd

    missing = [name for name in gene if name not in found.genes]
    if missing:
        raise DataProblem(f"The model does not use the gene '{missing[0]}', so it brings nothing anywhere.")
    return pd.DataFrame({name: found.of([name]) for name in gene}, index=found.spots)


def _members(pathway: str | None, file: Path | None, genes: AnnData) -> list[str]:
    """Return the genes of a pathway that the data has."""
    from napari_st2msi.features.pathways import gene_sets

    if pathway is None:
        if file is not None:
            raise DataProblem("--gene-sets names the file; say which of its sets with --pathway.")
        return []
    sets = gene_sets(file)
    if pathway not in sets:
        raise DataProblem(f"There is no pathway '{pathway}'. There are: {', '.join(list(sets)[:8])} and so on.")
    wanted = {name.lower() for name in sets[pathway]}
    own = [str(name) for name in genes.var_names if str(name).lower() in wanted]
    if not own:
        raise DataProblem(f"None of the genes of '{pathway}' is in the data.")
    return own


def _check_writable(out: Path, overwrite: bool) -> None:
    """Refuse before the work what would fail after it."""
    if out.suffix != ".csv":
        raise FileProblem(f"'{out}' is to be a table. End it in .csv.")
    if out.exists() and not overwrite:
        raise FileProblem(f"'{out}' is already there. Choose another name, or add --overwrite.")
    if not out.resolve().parent.is_dir():
        raise FileProblem(f"There is no folder '{out.parent}' to write '{out.name}' into.")
