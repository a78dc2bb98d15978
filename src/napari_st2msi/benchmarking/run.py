"""Run one combination, wherever it runs: look whether it was done, do it, and say how it ended."""

from __future__ import annotations

import json
import shutil
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from napari_st2msi.benchmarking.data import Shelf
from napari_st2msi.benchmarking.plan import Planned
from napari_st2msi.benchmarking.store import is_written, write_evaluation
from napari_st2msi.benchmarking.threads import capped
from napari_st2msi.errors import FileProblem, RecipeProblem, St2msiError
from napari_st2msi.progress import Cancelled, Progress, never
from napari_st2msi.recipe.networks import trains_networks

_RESULTS, _RUNS, _PARTIAL = "results", "runs", "partial"
#: How a combination can end.
DONE, FAILED = "done", "failed"


@dataclass(frozen=True)
class Outcome:
    """How a combination ended.

    Attributes
    ----------
    id, key
        Of the combination and of its result.
    status
        ``done`` or ``failed``.
    message
        Why it failed, in words; empty where it did not.
    details
        The traceback of an error that nobody foresaw.
    seconds
        How long it took; 0 where it was done before.
    """

    id: str
    key: str
    status: str
    message: str = ""
    details: str = ""
    seconds: float = 0.0


def result_folder(out: Path, key: str) -> Path:
    """Return where the result of a key lies."""
    return out / _RESULTS / key


def outcome_file(out: Path, name: str) -> Path:
    """Return where it is written how a combination ended."""
    return out / _RUNS / f"{name}.json"


def read_outcome(out: Path, planned: Planned) -> Outcome | None:
    """Return how a combination ended, None where it has not been run as it is planned now.

    Raises
    ------
    FileProblem
        The file is damaged.
    """
    file = outcome_file(out, planned.combination.id)
    try:
        found = Outcome(**json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise FileProblem(f"'{file}' is damaged: {error}. Remove it, and run the benchmark again.") from error
    return found if found.key == planned.key else None


def write_outcome(out: Path, outcome: Outcome) -> None:
    """Write how a combination ended.

    Raises
    ------
    FileProblem
        The folder cannot be written.
    """
    from napari_st2msi.report.table import write_whole

    file = outcome_file(out, outcome.id)
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(asdict(outcome), indent=1)
    write_whole(file, lambda where: where.write_text(text, encoding="utf-8"))


def run_one(
    planned: Planned,
    out: Path,
    shelf: Shelf,
    threads: int = 1,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Outcome:
    """Evaluate a combination, unless its result is there, and write how it ended.

    Whatever goes wrong inside is its own: it is written down, and others go on.

    Raises
    ------
    FileProblem
        The folder of the benchmark cannot be written.
    RecipeProblem
        The data are others than when the benchmark was planned.
    Cancelled
        The user stopped it. Networks that were being trained go on where they were when it is run again.
    """
    name, key = planned.combination.id, planned.key
    folder = result_folder(out, key)
    before = read_outcome(out, planned)
    if is_written(folder):
        if before is None or before.status != DONE:
            write_outcome(out, before := Outcome(name, key, DONE))
        return replace(before, seconds=0.0)
    start = time.perf_counter()
    try:
        _evaluate(planned, out, shelf, threads, progress, cancelled)
        outcome = Outcome(name, key, DONE)
    except (Cancelled, _Changed):
        raise
    except St2msiError as error:
        outcome = Outcome(name, key, FAILED, str(error))
    except Exception as error:
        words = f"{type(error).__name__}: {error}".rstrip(": ")
        outcome = Outcome(name, key, FAILED, words, traceback.format_exc())
    if is_written(folder):  # if not here, then meanwhile by another process, which took its checkpoints away
        outcome = Outcome(name, key, DONE)
    outcome = replace(outcome, seconds=round(time.perf_counter() - start, 3))
    write_outcome(out, outcome)
    return outcome


class _Changed(RecipeProblem):
    """The data are others than they were."""


def _evaluate(
    planned: Planned,
    out: Path,
    shelf: Shelf,
    threads: int,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> None:
    from napari_st2msi.pipeline import evaluate

    each = planned.combination
    start = time.perf_counter()
    paired, mark = shelf.get(each, progress=progress.part(0.0, 0.05), cancelled=cancelled)
    if each.key(mark) != planned.key:
        raise _Changed(
            f"Data '{each.data}', or a file that the recipe names, changed since the benchmark was planned. "
            "Start it again: what has not changed is not done again."
        )
    partial = out / _PARTIAL / planned.key
    with capped(threads, each.recipe):
        evaluation = evaluate(
            paired,
            each.recipe,
            checkpoints=partial if trains_networks(each.recipe.model) else None,
            progress=progress.part(0.05, 1.0),
            cancelled=cancelled,
        )
    seconds = round(time.perf_counter() - start, 3)
    write_evaluation(result_folder(out, planned.key), evaluation, seconds=seconds, threads=threads)
    shutil.rmtree(partial, ignore_errors=True)
