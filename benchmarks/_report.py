"""What all benchmarks share: timing a call, and printing a table of ratios to a named peer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Return how many seconds a call took, and what it returned."""
    begin = time.perf_counter()
    result = work()
    return time.perf_counter() - begin, result


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows in aligned columns, the first to the left and the others to the right."""
    lines = [list(header), *[list(row) for row in rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    print(f"\n{title}")
    for number, line in enumerate(lines):
        cells = [
            line[0].ljust(widths[0]),
            *[cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)],
        ]
        print("  " + "  ".join(cells).rstrip())
        if number == 0:
            print("  " + "  ".join("-" * width for width in widths))


def verdict(what: str, value: float, target: float, *, at_least: bool = True, unit: str = "×") -> bool:
    """Print whether a target is met, and return it."""
    met = value >= target if at_least else value <= target
    sign = "≥" if at_least else "≤"
    print(f"  {'met   ' if met else 'MISSED'}  {what}: {value:.1f}{unit} (target {sign} {target:g}{unit})")
    return met
