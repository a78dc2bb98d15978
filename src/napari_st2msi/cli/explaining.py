"""Commands about why: the genes behind predicted ions, and what changed genes would change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from napari_st2msi.cli.console import Run, written
from napari_st2msi.cli.outputs import check_file
from napari_st2msi.cli.sections import OverwriteOption, open_path
from napari_st2msi.errors import DataProblem, FileProblem
from napari_st2msi.io.opening import Opening

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    from napari_st2msi.explain.checks import Checks
    from napari_st2msi.explain.perturb import How
    from napari_st2msi.training.folder import TrainedModel

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

GeneSetsOption = Annotated[
    Path | None, typer.Option("--gene-sets", metavar="FILE.gmt", help="Where --pathway is found. Default: bundled.")
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
    pathway: Annotated[
        str | None, typer.Option("--pathway", metavar="NAME", help="Write what its genes together bring in each spot.")
    ] = None,
    gene_sets: GeneSetsOption = None,
    spots: SpotsOption = None,
    attention: Annotated[
        bool, typer.Option("--attention", help="Of a transformer what it attends to, instead of what genes bring.")
    ] = False,
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

    One ion gives a table of genes, strongest first; with --gene or --pathway a table of spots × these; several
    ions a table of genes × ions.

    For example:

      napari-st2msi explain model section.zarr --ion 798.54 --out genes.csv

      napari-st2msi explain model section.zarr --ion 798.54 --spots region=cortex --out cortex.csv

      napari-st2msi explain model section.zarr --ion 798.54 --gene Gfap --out gfap.csv

      napari-st2msi explain transformer section.zarr --ion 798.54 --ion 782.57 --attention --out attention.csv
    """
    check_file(out, (".csv",), overwrite=overwrite)
    if (gene or pathway) and len(ion) > 1:
        raise DataProblem("With --gene or --pathway the table has a row a spot, and is of one ion. Give one --ion.")
    if attention and part != "prediction":
        raise DataProblem("Attention is not of a stage. Leave out --part.")
    from napari_st2msi import pipeline

    trained = pipeline.load_model(model)
    section = open_path(path, None, opening, run)
    chosen = spots_of(section.st, spots)
    groups = {name: [name] for name in gene or ()}
    if pathway is not None or gene_sets is not None:
        groups |= {str(pathway): _members(pathway, gene_sets, section.st)}
    if attention:
        _attend(trained, section.st, ion, groups, chosen, checks, out, run)
        return
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
    if groups:
        _per_spot(groups, found.genes, found.of, found.spots).to_csv(out, index_label="spot")
    else:
        ranked.to_csv(out, index_label="gene")
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
        facts["checks"], lines["checked"] = _checks_said(judged, "strongest")
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
    gene_sets: GeneSetsOption = None,
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
    for table in (out, images):
        check_file(table, (".csv",), overwrite=overwrite)
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


def _attend(
    trained: TrainedModel,
    genes: AnnData,
    ions: list[str],
    groups: dict[str, list[str]],
    spots: NDArray[np.bool_] | None,
    checks: bool,
    out: Path,
    run: Run,
) -> None:
    """Write what ions attend to: tokens × ions, or of one ion spots × genes."""
    from napari_st2msi.explain.attention import attention_of, mean_attention
    from napari_st2msi.explain.checks import check_attention

    asked: dict[str, Any] = {"spots": spots, "cancelled": run.cancelled}
    with run.progress("Reading attention") as progress:
        if groups:
            found = attention_of(trained.predictor, genes, ions, progress=progress.part(0, 0.5), **asked)
            shares = found.of(str(found.ions[0]))
            table = _per_spot(
                groups, found.tokens, lambda own: shares[found.tokens.intersection(own)].sum(axis=1), shares.index
            )
            table.to_csv(out, index_label="spot")
            mean = found.region()
        else:
            mean = mean_attention(trained.predictor, genes, ions, progress=progress.part(0, 0.5), **asked)
            mean = mean.loc[mean.max(axis=1).sort_values(ascending=False, kind="stable").index]
            mean.to_csv(out, index_label="gene")
        judged = None
        if checks and len(ions) == 1:
            judged = check_attention(trained.predictor, genes, ions[0], progress=progress.part(0.5, 1), **asked)
    n_spots = genes.n_obs if spots is None else int(spots.sum())
    most = mean[mean.columns[0]].sort_values(ascending=False, kind="stable").head(_SHOWN)
    facts: dict[str, Any] = {"ions": list(mean.columns), "spots": n_spots, "unit": "share of attention"}
    facts |= {"genes": most.to_dict(), "path": str(out)}
    lines = {
        "attended": f"{', '.join(facts['ions'])} in {n_spots:,} spots, mean shares of attention",
        "most": ", ".join(f"{name} {value:.3g}" for name, value in most.items()),
    }
    if judged is not None:
        facts["checks"], lines["checked"] = _checks_said(judged, "most attended")
    run.result(facts, lines=lines | {"written to": written(out)})


def _checks_said(judged: Checks, which: str) -> tuple[dict[str, float | None], str]:
    """Return the checks as facts and in words."""
    times, n = judged.deletion.advantage, judged.deletion.compared
    words = f"taking the {n} {which} genes away changes it {times:.1f} × as much as {n} random ones"
    if judged.random_weights is not None:
        words += f"; rank correlation with random weights {judged.random_weights:.2f}"
    if judged.agreement is not None:
        words += f", between networks {judged.agreement:.2f}"
    facts = {"advantage_over_random_genes": times, "random_weights": judged.random_weights}
    return facts | {"agreement": judged.agreement}, words


def _per_spot(
    groups: dict[str, list[str]],
    known: pd.Index,
    of: Callable[[list[str]], NDArray[np.floating] | pd.Series],
    spots: pd.Index,
) -> pd.DataFrame:
    """Return spots × genes and pathways."""
    import pandas as pd

    for name, own in groups.items():
        if not known.isin(own).any():
            kind = "gene" if own == [name] else "genes of the pathway"
            raise DataProblem(f"The model does not use the {kind} '{name}', so it brings nothing anywhere.")
    return pd.DataFrame({name: of(own) for name, own in groups.items()}, index=spots)


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
