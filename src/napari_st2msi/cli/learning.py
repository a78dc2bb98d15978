"""Commands about models: train with honest scores, predict sections that have ST only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_st2msi.cli.console import Run, written
from napari_st2msi.cli.outputs import check_file, check_folder
from napari_st2msi.cli.sections import MsiOption, OverwriteOption, PairedArgument, open_path
from napari_st2msi.errors import DataProblem, FileProblem
from napari_st2msi.io.opening import Opening
from napari_st2msi.recipe import Recipe

if TYPE_CHECKING:
    from napari_st2msi.section import Section


def train(
    paths: PairedArgument,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where to write the model.", show_default=False)
    ],
    msi: MsiOption = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE.html", help="Write a report with figures.")
    ] = None,
    scores: Annotated[
        Path | None, typer.Option("--scores", metavar="FILE.csv", help="Write the scores of ions.")
    ] = None,
    evaluate: Annotated[
        bool,
        typer.Option("--evaluate/--no-evaluate", help="Measure skill on held-out spots before the model is fitted."),
    ] = True,
    keep: Annotated[
        bool,
        typer.Option("--keep/--no-keep", help="Write the out-of-fold prediction into the sections' zarr."),
    ] = True,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare-standardisation",
            help="Also measure what standardising genes within each section does, across held-out sections.",
        ),
    ] = False,
    checkpoints: Annotated[
        Path | None,
        typer.Option(
            "--checkpoints",
            metavar="FOLDER",
            help="Where networks keep what they have learned; the same command goes on from there after a cut.",
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    *,
    opening: Opening,
    recipe: Recipe,
    run: Run,
) -> None:
    """Train a model on paired spots, and measure it on spots it did not see.

    Skill is always measured beside baselines that know no gene: what is left is what genes add.

    For example:

      napari-st2msi train section.zarr --out model --report report.html

      napari-st2msi train a.zarr b.zarr c.zarr --out model --protocol leave_group_out

      napari-st2msi train proteins.h5ad --msi ions.h5ad --section-column roi --group donor
      --protocol leave_group_out --out model --report report.html

      napari-st2msi train section.zarr --out model --recipe recipe.yaml --set genes.n_top=500
    """
    from napari_st2msi import pipeline

    check_folder(out, overwrite=overwrite)
    check_file(report)
    check_file(scores, (".csv",))
    sections = open_all(paths, msi, opening, run)
    with run.progress("Gathering spots") as progress:
        paired = pipeline.paired_dataset(sections, recipe, progress=progress, cancelled=run.cancelled)
    evaluation = None
    if evaluate:
        with run.progress("Evaluating") as progress:
            evaluation = pipeline.evaluate(
                paired, recipe, checkpoints=checkpoints, progress=progress, cancelled=run.cancelled
            )
    batch = None
    if compare:
        from napari_st2msi.evaluation.batch import compare_standardisation

        with run.progress("Comparing standardisation") as progress:
            batch = compare_standardisation(
                paired, recipe, evaluation=evaluation, progress=progress, cancelled=run.cancelled
            )
    with run.progress("Training") as progress:
        model = pipeline.train(
            paired,
            recipe,
            evaluation=evaluation,
            checkpoints=checkpoints,
            progress=progress,
            cancelled=run.cancelled,
        )
    model.save(out)
    facts: dict[str, Any] = {
        "model": str(out),
        "sections": sorted(set(paired.sections)),
        "spots": int(paired.covered.sum()),
        "genes": paired.genes.n_vars,
        "ions": paired.ions.n_vars,
        "recipe": recipe.model_dump(mode="json"),
    }
    many = len(facts["sections"])
    lines: dict[str, Any] = {
        "trained on": f"{facts['spots']:,} spots of {many:,} section{'s' * (many > 1)}, {facts['genes']:,} genes, "
        f"{facts['ions']:,} ions"
    }
    if evaluation is not None:
        from napari_st2msi.report.html import write_report
        from napari_st2msi.report.table import write_table
        from napari_st2msi.report.words import in_short, score_lines

        facts["scores"] = evaluation.summary()
        facts["in_short"] = in_short(evaluation.flat())
        lines |= score_lines(evaluation)
        if report is not None:
            with run.progress("Writing the report"):
                write_report(
                    report,
                    evaluation,
                    recipe=recipe,
                    section=sections[0] if len(sections) == 1 else None,
                    paired=paired,
                    batch=batch,
                )
            facts["report"] = str(report)
            lines["report"] = written(report)
        if scores is not None:
            write_table(scores, evaluation)
            facts["scores_file"] = str(scores)
            lines["scores"] = written(scores)
        if keep:
            facts["kept_in"] = _keep(sections, evaluation.prediction, run)
    if batch is not None:
        facts["batch"] = lines["sections"] = batch.in_words()
    facts["intervals"] = model.no_intervals if model.intervals is None else model.intervals.in_words()
    lines.setdefault("intervals", facts["intervals"])
    lines["model"] = written(out)
    run.result(facts, lines=lines)


def predict(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A model folder, as 'train' wrote it.", show_default=False)
    ],
    path: Annotated[
        Path,
        typer.Argument(
            metavar="SECTION", help="A section; ST is enough. Anything that 'info' reads.", show_default=False
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="predicted.zarr (the section with its prediction), .h5ad or .csv (spots × ions). "
            "Default: into the section itself.",
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    *,
    opening: Opening,
    run: Run,
) -> None:
    """Predict ion images for a section that has ST only.

    Genes are matched by name; the share found is reported, and too few are an error.

    For example:

      napari-st2msi predict model new-section.zarr

      napari-st2msi predict model outs/ --out predicted.csv
    """
    from napari_st2msi import pipeline
    from napari_st2msi.report.table import write_prediction
    from napari_st2msi.report.words import prediction_notes

    if out is not None and out.suffix not in (".zarr", ".h5ad", ".csv"):
        raise FileProblem(f"'{out}' is of no kind that predictions are written as. End it in .zarr, .h5ad or .csv.")
    if out is not None and out.exists() and not overwrite:
        raise FileProblem(f"'{out}' is already there. Choose another name, or add --overwrite.")
    trained = pipeline.load_model(model)
    section = open_path(path, None, opening, run)
    with run.progress("Predicting"):
        prediction = pipeline.predict(trained, section)
    if out is None or out.suffix == ".zarr":
        pipeline.keep_prediction(section, prediction)
        where = pipeline.save(section, out, overwrite=overwrite)
    else:
        where = write_prediction(out, prediction)
    provenance = dict(prediction.uns["provenance"])
    facts = {
        "section": section.name,
        "spots": prediction.n_obs,
        "ions": prediction.n_vars,
        "provenance": provenance,
        "path": str(where),
    }
    lines = {"predicted": f"{prediction.n_obs:,} spots × {prediction.n_vars:,} ions of section '{section.name}'"}
    if "share_genes_matched" in provenance:
        lines["genes"] = f"{provenance['share_genes_matched']:.0%} of the model's genes were found"
    facts["notes"] = prediction_notes(provenance)
    if "share_ood" in provenance:
        lines["unlike training"] = f"{provenance['share_ood']:.1%} of the spots, where 1% is expected"
    if "interval_level" in provenance:
        lines["intervals"] = provenance["intervals"]
    if facts["notes"]:
        lines["note"] = facts["notes"]
    run.result(facts, lines=lines | {"written to": written(where)})


def open_all(paths: Sequence[Path], msi: Path | None, opening: Opening, run: Run) -> list[Section]:
    """Open sections; one table of ions goes with one of genes only."""
    if msi is not None and len(paths) > 1:
        raise DataProblem("--msi names the ions of one table, but several sections were given. Give one of them.")
    return [open_path(path, msi, opening, run) for path in paths]


def _keep(sections: Sequence[Section], prediction: Any, run: Run) -> list[str]:
    """Put the out-of-fold prediction into every section that came from a SpatialData zarr."""
    from napari_st2msi import pipeline

    kept = []
    for section in sections:
        if section.path is None or section.path.suffix != ".zarr":
            continue
        own = prediction[prediction.obs["section"].astype(str) == section.name].copy()
        pipeline.keep_prediction(section, own)
        kept.append(str(pipeline.save(section)))
        run.say(f"The out-of-fold prediction is in {written(kept[-1])}.")
    return kept
