"""What a command says and how it stops: results to stdout, progress and problems to stderr."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from napari_st2msi.errors import St2msiError
from napari_st2msi.progress import Cancelled, Progress

#: Exit codes beside 0 (done) and 1 (a bug, with its traceback).
USERS_PROBLEM, STOPPED = 2, 130


class Run:
    """One run of a command.

    Parameters
    ----------
    as_json
        Print the result as one JSON object, and nothing else, to stdout.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        # Kept from here on: what libraries print later must not get between the results.
        self._stdout = sys.stdout
        self._out = Console(file=self._stdout, soft_wrap=True, highlight=False)
        self._err = Console(stderr=True, soft_wrap=True, highlight=False)
        self._stop = threading.Event()

    def cancelled(self) -> bool:
        """Tell whether the user pressed Ctrl-C; long work asks often."""
        return self._stop.is_set()

    @contextmanager
    def progress(self, what: str) -> Iterator[Progress]:
        """Show a bar on stderr while work goes on; it vanishes when the work is done."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("·"),
            TimeRemainingColumn(),
            TextColumn("left"),
        )
        # A bar drawn into a log file would only be noise.
        with Bars(*columns, console=self._err, transient=True, disable=not self._err.is_terminal) as bars:
            task = bars.add_task(escape(what), total=1.0)

            def report(fraction: float, message: str) -> None:
                bars.update(task, completed=fraction, description=escape(f"{what}: {message}" if message else what))

            if not self._err.is_terminal:
                self.say(f"{what} …")
            yield Progress(report)

    def say(self, text: str) -> None:
        """Tell what is happening, on stderr."""
        self._err.print(escape(text))

    def result(self, facts: Mapping[str, Any], *, lines: Mapping[str, Any] | None = None) -> None:
        """Print what came out: `facts` as JSON, or `lines` (else `facts`) one below the other."""
        if self.as_json:
            typer.echo(json.dumps(plain(facts), indent=2, ensure_ascii=False), file=self._stdout)
            return
        shown = {name: words(value) for name, value in (facts if lines is None else lines).items()}
        width = max((len(name) for name in shown), default=0)
        for name, text in shown.items():
            for number, line in enumerate(text.splitlines() or [""]):
                label = name if number == 0 else ""
                self._out.print(f"[bold]{escape(label):<{width}}[/bold]  {escape(line)}")

    def problem(self, error: Exception) -> None:
        """Say what went wrong, in the words of the error; no traceback."""
        if self.as_json:
            facts = {"error": {"kind": type(error).__name__, "message": str(error)}}
            typer.echo(json.dumps(facts, indent=2, ensure_ascii=False), file=self._stdout)
        self._err.print(f"[bold red]Error[/bold red]  {escape(str(error))}")

    def interrupted(self, signum: int, frame: FrameType | None) -> None:
        """Take the first Ctrl-C as a wish to stop at the next safe point, the second as an order."""
        if self._stop.is_set():
            raise KeyboardInterrupt
        self._stop.set()
        self.say("Stopping at the next safe point. Press Ctrl-C again to stop at once.")


@contextmanager
def running(*, as_json: bool) -> Iterator[Run]:
    """Run a command: turn errors into messages and exit codes, Ctrl-C into a clean stop."""
    run = Run(as_json=as_json)
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, run.interrupted) if in_main else None
    try:
        with redirect_stdout(sys.stderr), _quiet():
            yield run
    except St2msiError as error:
        run.problem(error)
        raise typer.Exit(USERS_PROBLEM) from error
    except (Cancelled, KeyboardInterrupt) as error:
        run.problem(error if isinstance(error, Cancelled) else Cancelled("Stopped. Nothing half-written was left."))
        raise typer.Exit(STOPPED) from error
    finally:
        if in_main:
            signal.signal(signal.SIGINT, before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' notes to developers from users, unless Python was asked for warnings."""
    chatty = logging.getLogger("spatialdata._logging")
    chatty.addFilter(_not_chatty)
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.simplefilter("ignore")
            yield
    finally:
        chatty.removeFilter(_not_chatty)


def _not_chatty(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING


def plain(value: Any) -> Any:
    """Return a value as JSON has it: numpy numbers as numbers, paths as text, NaN as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, (str, int, bool, type(None))):
        return value
    return str(value)


def words(value: Any) -> str:
    """Return a value as a person reads it."""
    value = plain(value)
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    if isinstance(value, list):
        return "\n".join(words(item) for item in value)
    if isinstance(value, dict):
        return "\n".join(f"{key}: {words(item)}" for key, item in value.items() if item is not None)
    return str(value)


def written(path: str | Path) -> str:
    """Return a path as it is shown after writing: relative where that is shorter."""
    path = Path(path)
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
