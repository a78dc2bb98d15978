"""How many nodes an integral along the way from the training mean takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

_LEAST, _MOST = 16, 128
# Of what is to be explained; a map that is steep in one place takes more nodes than a smooth one.
_TOLERANCE = 1e-3

Integral = TypeVar("Integral")


def converged(integral: Callable[[int], Integral], left: Callable[[Integral], float]) -> Integral:
    """Return an integral with nodes doubled from 16, up to 128, until less than 0.1 % is left unexplained.

    It ends before where twice the nodes leave more than half as much: what is left then has another reason.

    Parameters
    ----------
    integral
        Takes a number of nodes.
    left
        Which share the integral leaves unexplained: see `napari_st2msi.explain.attribution.relative_gap`.
    """
    nodes, found = _LEAST, integral(_LEAST)
    gap = left(found)
    while gap > _TOLERANCE and nodes < _MOST:
        nodes *= 2
        finer = integral(nodes)
        before, gap = gap, left(finer)
        if gap < before:
            found = finer
        if gap > before / 2:
            break
    return found
