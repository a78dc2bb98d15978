"""How long work reports and stops. No Qt: the window and the command line plug in here."""

from __future__ import annotations

from collections.abc import Callable


class Cancelled(Exception):
    """The user stopped the work. Nothing was written."""


def never() -> bool:
    """Answer "was this cancelled?" for work that nobody can cancel."""
    return False


def check(cancelled: Callable[[], bool]) -> None:
    """Raise `Cancelled` if the user asked to stop."""
    if cancelled():
        raise Cancelled("Stopped. Nothing was changed.")


class Progress:
    """Where work stands, from 0 to 1, in words.

    Parameters
    ----------
    report
        Called with the fraction done and what is being done. None reports nowhere.
    start, stop
        The part of the whole that this piece of work covers.

    Examples
    --------
    >>> seen = []
    >>> whole = Progress(lambda fraction, message: seen.append((fraction, message)))
    >>> fold = whole.part(0.5, 1.0)
    >>> fold(0.5, "fold 2 of 2")
    >>> seen
    [(0.75, 'fold 2 of 2')]
    """

    def __init__(
        self,
        report: Callable[[float, str], None] | None = None,
        start: float = 0.0,
        stop: float = 1.0,
    ) -> None:
        self._report = report
        self._start = start
        self._stop = stop

    def __call__(self, fraction: float, message: str = "") -> None:
        """Say that `fraction` (0 to 1) of this piece is done."""
        if self._report is not None:
            self._report(self._start + fraction * (self._stop - self._start), message)

    def part(self, start: float, stop: float) -> Progress:
        """Return the progress of a piece that covers `start` to `stop` of this one."""
        span = self._stop - self._start
        return Progress(self._report, self._start + start * span, self._start + stop * span)

    def named(self, name: str) -> Progress:
        """Return the same progress, with words before its own that say what the work is of."""
        return Progress(lambda fraction, message: self(fraction, f"{name}: {message}" if message else name))
