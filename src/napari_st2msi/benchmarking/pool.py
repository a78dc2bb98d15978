"""Combinations in processes of this computer: as many at once as asked for, none able to end the others."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from napari_st2msi.benchmarking.threads import threads_of_libraries
from napari_st2msi.progress import Cancelled

if TYPE_CHECKING:
    from napari_st2msi.benchmarking.config import Config
    from napari_st2msi.benchmarking.plan import Planned
    from napari_st2msi.benchmarking.run import Outcome

_ENDED = "Its process was ended by the system, probably for want of memory. Run fewer at once, or on a larger computer."
_LOOK = 0.2  # seconds between looks at whether the user stopped it

# What a process of the pool holds: set once by `_start`.
_here: dict[str, Any] = {}


def run_in_processes(
    planned: list[Planned],
    config: Config,
    out: Path,
    jobs: int,
    told: Callable[[Planned, Outcome], None],
    cancelled: Callable[[], bool],
) -> None:
    """Run combinations, several at once.

    Parameters
    ----------
    jobs
        How many at once.
    told
        Called as each ends, in any order.

    Raises
    ------
    Cancelled
        The user stopped it; what was running has stopped as well.
    St2msiError
        As `napari_st2msi.benchmarking.run.run_one`.
    """
    waiting = list(planned)
    suspects: list[Planned] = []  # those that ran when a process died: each alone, to find which it was
    while waiting or suspects:
        alone = suspects[:1]
        batch = alone or waiting
        left = _run_batch(list(batch), config, out, 1 if alone else jobs, told, cancelled)
        if alone:
            suspects = suspects[1:]
            if left:
                told(alone[0], _ended(alone[0], out))
        else:
            started, waiting = left[:jobs], left[jobs:]
            suspects += started


def _run_batch(
    batch: list[Planned],
    config: Config,
    out: Path,
    jobs: int,
    told: Callable[[Planned, Outcome], None],
    cancelled: Callable[[], bool],
) -> list[Planned]:
    """Run a batch until it is done or a process dies; return those that have not ended, the running ones first."""
    context = get_context("spawn")
    stop = context.Event()
    running: dict[Future[Outcome], Planned] = {}
    with threads_of_libraries(config.threads):
        pool = ProcessPoolExecutor(jobs, context, _start, (config, str(out), stop))
        try:
            while batch or running:
                while batch and len(running) < jobs:
                    running[pool.submit(_run, batch[0])] = batch[0]
                    batch = batch[1:]
                ended, _ = wait(running, timeout=_LOOK, return_when=FIRST_COMPLETED)
                if cancelled():
                    raise Cancelled("Stopped. What was done is kept: start again to go on.")
                for future in ended:
                    outcome = future.result()
                    told(running.pop(future), outcome)
        except BrokenProcessPool:
            return [*running.values(), *batch]
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
    return []


def _ended(planned: Planned, out: Path) -> Outcome:
    from napari_st2msi.benchmarking.run import FAILED, Outcome, write_outcome

    outcome = Outcome(planned.combination.id, planned.key, FAILED, _ENDED)
    write_outcome(out, outcome)
    return outcome


def _start(config: Config, out: str, stop: Any) -> None:
    """Make a process ready: it ends with its parent, and Ctrl-C is for the parent to understand."""
    import signal
    import warnings

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    Thread(target=_end_with_parent, daemon=True).start()
    from napari_st2msi.benchmarking.data import Shelf

    _here.update(shelf=Shelf(config), out=Path(out), threads=config.threads, stop=stop)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run(planned: Planned) -> Outcome:
    from napari_st2msi.benchmarking.run import run_one

    return run_one(planned, _here["out"], _here["shelf"], _here["threads"], cancelled=_here["stop"].is_set)
