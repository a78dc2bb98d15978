"""Run a benchmark from its config to its tables and report, and read one again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_st2msi.benchmarking.alone import alone
from napari_st2msi.benchmarking.combinations import Combination
from napari_st2msi.benchmarking.config import Config
from napari_st2msi.benchmarking.data import Shelf
from napari_st2msi.benchmarking.found import (
    FAILURES,
    LEADERBOARD,
    METABOLITES,
    TIMINGS,
    Benchmark,
    found_by,
    read_benchmark,
)
from napari_st2msi.benchmarking.plan import Plan, Planned, make_plan
from napari_st2msi.benchmarking.run import (
    DONE,
    FAILED,
    Outcome,
    outcome_file,
    read_outcome,
    result_folder,
    run_one,
    write_outcome,
)
from napari_st2msi.benchmarking.store import is_written
from napari_st2msi.benchmarking.words import write_report
from napari_st2msi.errors import RecipeProblem
from napari_st2msi.progress import Progress, check, never
from napari_st2msi.report.table import write_frame

if TYPE_CHECKING:
    from napari_st2msi.paired import PairedDataset

__all__ = ["Benchmark", "benchmark", "gather", "read_benchmark"]


def benchmark(
    config: Config | str | Path | Mapping[str, Any],
    out: str | Path,
    *,
    jobs: int = 1,
    paired: Mapping[str, PairedDataset] | None = None,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
    told: Callable[[Combination, Outcome], None] | None = None,
) -> Benchmark:
    """Evaluate every combination of a config, and write tables and a report.

    Everything is checked before any work starts. What was done before, with the same data and choices, is not done
    again: stopped or killed, a benchmark goes on where it was. A combination that fails is listed, and tried again
    next time.

    Parameters
    ----------
    config
        A `Config`, what it is made of, or its YAML file.
    out
        Folder of results: `leaderboard.csv` and `.parquet`, `metabolites.parquet`, `failures.csv`, `timings.csv`,
        `report.html`, `results` (one folder for each distinct content) and `runs`. It may be that of an earlier run.
    jobs
        How many combinations at once, each in a process of its own; 1 runs them in this one.
    paired
        Data that are open already, by name, instead of those of the config; needs `jobs` = 1.
    told
        Called after each combination, on this thread; those that share a result end together.

    Raises
    ------
    RecipeProblem, FileProblem, DataProblem
        The config does not fit the data, see `napari_st2msi.benchmarking.plan.make_plan`; or another benchmark is
        writing into the folder.
    Cancelled
        The user stopped it; what was done is kept.

    Examples
    --------
    >>> import napari_st2msi as st2msi
    >>> found = st2msi.benchmark("benchmark.yaml", "results", jobs=4)                        # doctest: +SKIP
    >>> found.leaderboard[["model", "protocol", "r2", "gain"]]                               # doctest: +SKIP
    """
    if jobs < 1:
        raise RecipeProblem("Run at least one combination at a time.")
    if paired and jobs > 1:
        raise RecipeProblem("Data that are open in this program are evaluated one after the other: choose one at once.")
    out = Path(out).resolve()
    config = _config(config)
    shelf = Shelf(config, paired)
    plan = make_plan(config, shelf, progress=progress.part(0.0, 0.1), cancelled=cancelled)
    with alone(out):
        plan.write(out)
        _run_all(plan, out, shelf, jobs, progress.part(0.1, 0.9), cancelled, told)
        return _gather(plan, out, progress.part(0.9, 1.0), cancelled)


def gather(
    out: str | Path,
    *,
    held: bool = False,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Benchmark:
    """Put the results of a benchmark together, as far as it is done: tables and the report.

    Parameters
    ----------
    held
        Whether the caller keeps others out of the folder, as a workflow does.

    Raises
    ------
    FileProblem
        The folder holds no benchmark, another is writing into it, a result is damaged, or it cannot be written.
    """
    out = Path(out).resolve()
    Plan.read(out)  # there must be one before the folder is touched
    with nullcontext() if held else alone(out):
        return _gather(Plan.read(out), out, progress, cancelled)


def _gather(plan: Plan, out: Path, progress: Progress, cancelled: Callable[[], bool]) -> Benchmark:
    found = found_by(plan, out, progress=progress.part(0.0, 0.7), cancelled=cancelled)
    for suffix in ("csv", "parquet"):
        write_frame(out / f"{LEADERBOARD}.{suffix}", found.leaderboard)
    write_frame(out / METABOLITES, found.metabolites)
    write_frame(out / FAILURES, found.failures)
    write_frame(out / TIMINGS, found.timings)
    progress(0.8, "writing the report")
    write_report(found)
    progress(1.0, "done")
    return found


def _config(given: Config | str | Path | Mapping[str, Any]) -> Config:
    if isinstance(given, Config):
        return given
    return Config.of(given) if isinstance(given, Mapping) else Config.read(given)


def _run_all(
    plan: Plan,
    out: Path,
    shelf: Shelf,
    jobs: int,
    progress: Progress,
    cancelled: Callable[[], bool],
    told: Callable[[Combination, Outcome], None] | None,
) -> None:
    """Run what has no result yet, each content once."""
    todo = _waiting(plan, out)
    n_all = len(plan.planned)
    n_done, n_failed = sum(is_written(result_folder(out, each.key)) for each in plan.planned), 0
    n_ran = 0  # of those to do: the time left is about them, and not about what is known already

    def ended(planned: Planned, outcome: Outcome) -> None:
        nonlocal n_done, n_failed, n_ran
        n_ran += 1
        for each in (twin for twin in plan.planned if twin.key == planned.key):
            own = replace(outcome, id=each.combination.id)
            if each != planned:
                write_outcome(out, own)
            n_done += 1
            n_failed += own.status == FAILED
            if told is not None:
                told(each.combination, own)
        failed = f", {n_failed:,} failed" if n_failed else ""
        progress(n_ran / len(todo), f"{n_done:,} of {n_all:,} done{failed}")

    progress(0.0, f"{n_done:,} of {n_all:,} done")
    if jobs > 1 and len(todo) > 1:
        from napari_st2msi.benchmarking.pool import run_in_processes

        run_in_processes(todo, plan.config, out, min(jobs, len(todo)), ended, cancelled)
    else:
        for each in todo:
            check(cancelled)
            own = progress.part(n_ran / len(todo), (n_ran + 1) / len(todo)).named(each.combination.in_words())
            ended(each, run_one(each, out, shelf, plan.config.threads, progress=own, cancelled=cancelled))


def _waiting(plan: Plan, out: Path) -> list[Planned]:
    """Return what is to be run, each result once, and forget how it ended before."""
    todo: dict[str, Planned] = {}
    for each in plan.planned:
        if is_written(result_folder(out, each.key)):
            run = read_outcome(out, each)
            if run is None or run.status != DONE:
                write_outcome(out, Outcome(each.combination.id, each.key, DONE))
        else:
            outcome_file(out, each.combination.id).unlink(missing_ok=True)
            todo.setdefault(each.key, each)
    return list(todo.values())
