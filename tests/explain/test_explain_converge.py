"""How many nodes integrals take."""

from __future__ import annotations

import numpy as np
import pytest

from napari_st2msi.explain.converge import converged


@pytest.mark.parametrize(("steepness", "nodes"), [(1, 16), (10, 32), (20, 64)])
def test_steep_maps_take_more_nodes_than_smooth_ones(steepness: float, nodes: int) -> None:
    whole = np.tanh(steepness * 0.5) - np.tanh(-steepness * 0.5)
    asked = []

    def integral(n: int) -> float:
        asked.append(n)
        at, weights = np.polynomial.legendre.leggauss(n)
        return float((weights / 2 * steepness / np.cosh(steepness * (at / 2)) ** 2).sum())

    found = converged(integral, lambda value: abs(whole - value) / whole)
    assert found == pytest.approx(whole, rel=1e-3)
    assert asked[-1] == nodes


def test_what_nodes_cannot_bring_is_not_tried_for_longer() -> None:
    asked = []

    def integral(n: int) -> float:
        asked.append(n)
        return 0.8 + 0.001 * n

    assert converged(integral, lambda value: 1 - value) == pytest.approx(0.832)
    assert asked == [16, 32]
