"""Commands that compare models: a benchmark on this computer, or piece by piece for a workflow."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_st2msi.cli.console import Run, written
from napari_st2msi.cli.outputs import check_folder
from napari_st2msi.errors import RecipeProblem

_Config = Annotated[
    Path, typer.Argument(metavar="CONFIG.yaml", help="What is compared, on which data.", show_default=False)
]
_Out = Annotated[
    Path,
    typer.Option(
        "--out", "-o", metavar="FOLDER", help="Where results go; an earlier run there is continued.", show_default=False
    ),
]
_Held = Annotated[
    bool, typer.Option("--held", hidden=True, help="The caller keeps other benchmarks out of the folder.")
]


def benchmark(
    config: _Config,
    out: _Out,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="How many combinations at once.")] = 1,
    *,
    run: Run,
) -> None:
    """Compare models: every combination of data, models, features, ways to hold out and seeds.

    All of it is checked before any work starts. What is done is never done again: stopped or killed, the same
    command goes on where it was. Combinations that fail are listed.

    For example:

      napari-st2msi benchmark benchmark.yaml --out results --jobs 4
    """
    from napari_st2msi.benchmarking.benchmark import benchmark as compare

    check_folder(out, overwrite=True)
    with run.progress("Benchmark") as progress:
        found = compare(config, out, jobs=jobs, progress=progress, cancelled=run.cancelled)
    _show(found, run)


def benchmark_plan(config: _Config, out: _Out, held: _Held = False, *, run: Run) -> None:
    """Check a benchmark against its data, and write what is to be done; nothing is fitted.

    For example:

      napari-st2msi benchmark-plan benchmark.yaml --out results
    """
    from napari_st2msi.benchmarking.alone import alone
    from napari_st2msi.benchmarking.config import Config
    from napari_st2msi.benchmarking.plan import make_plan

    check_folder(out, overwrite=True)
    with run.progress("Checking") as progress:
        plan = make_plan(Config.read(config), progress=progress, cancelled=run.cancelled)
    with nullcontext() if held else alone(out):
        plan.write(out)
    names = [each.combination.id for each in plan.planned]
    run.result(
        {"combinations": names, "data": plan.data, "protocols": plan.protocols},
        lines={"combinations": f"{len(names):,}\n" + "\n".join(names), "written to": written(out)},
    )


def benchmark_run(
    out: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where 'benchmark-plan' wrote its plan.", show_default=False)
    ],
    combination: Annotated[
        str, typer.Option("--run", metavar="NAME", help="Which combination, as the plan names it.", show_default=False)
    ],
    *,
    run: Run,
) -> None:
    """Evaluate one combination of a benchmark that was planned.

    What goes wrong inside is written beside the results, and listed by 'benchmark-gather'.

    For example:

      napari-st2msi benchmark-run results --run brain.ridge.hvg.blocks.0
    """
    from napari_st2msi.benchmarking.data import Shelf
    from napari_st2msi.benchmarking.plan import Plan
    from napari_st2msi.benchmarking.run import run_one

    out = out.resolve()
    plan = Plan.read(out)
    planned = next((each for each in plan.planned if each.combination.id == combination), None)
    if planned is None:
        raise RecipeProblem(f"The benchmark in '{out}' has no combination '{combination}'.")
    with run.progress(planned.combination.in_words()) as progress:
        outcome = run_one(
            planned, out, Shelf(plan.config), plan.config.threads, progress=progress, cancelled=run.cancelled
        )
    facts = {"id": outcome.id, "key": outcome.key, "status": outcome.status, "message": outcome.message}
    lines: dict[str, Any] = {"combination": outcome.id, "status": outcome.status}
    run.result(facts, lines=lines | ({"message": outcome.message} if outcome.message else {}))


def benchmark_gather(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Of the benchmark.", show_default=False)],
    held: _Held = False,
    *,
    run: Run,
) -> None:
    """Put the results of a benchmark together, as far as it is done: leaderboard, tables and report.

    For example:

      napari-st2msi benchmark-gather results
    """
    from napari_st2msi.benchmarking.benchmark import gather

    with run.progress("Gathering") as progress:
        found = gather(out, held=held, progress=progress, cancelled=run.cancelled)
    _show(found, run)


def _show(found: Any, run: Run) -> None:
    from napari_st2msi.benchmarking.words import in_short, shown_failures

    facts = {
        "folder": str(found.folder),
        "combinations": len(found.plan.planned),
        "done": len(found.leaderboard),
        "in_short": in_short(found),
        "leaderboard": found.leaderboard.to_dict("records"),
        "failures": found.failures.to_dict("records"),
        "report": str(found.report),
    }
    lines: dict[str, Any] = {"done": f"{facts['done']:,} of {facts['combinations']:,} combinations"}
    lines["in short"] = facts["in_short"]
    if len(found.failures):
        lines["failed"] = shown_failures(found.failures)
    run.result(facts, lines=lines | {"report": written(found.report), "written to": written(found.folder)})
