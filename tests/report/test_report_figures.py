"""Pictures show what they should: shared limits, missing left out, a round scale bar, no section on another."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from napari_st2msi.report.figures import baseline_figure, moran_figure, png, score_figure
from napari_st2msi.report.tissue import ion_figure, round_length, side_by_side, spot_pitch

GRID = np.array([[x, y] for y in range(5) for x in range(6)], dtype=float) * 100


def test_measured_and_predicted_share_limits_and_the_residual_is_symmetric() -> None:
    measured = np.linspace(0, 10, 30)
    figure = ion_figure(GRID, measured, np.full(30, 4.0), title="an ion")
    first, second, residual = [axis.collections[0] for axis in figure.axes[:3]]
    assert first.get_clim() == second.get_clim() == (0.0, pytest.approx(np.percentile(measured, 99.5)))
    low, high = residual.get_clim()
    assert low == -high
    np.testing.assert_allclose(residual.get_array(), measured - 4)


def test_missing_is_left_out_and_never_zero() -> None:
    measured = np.linspace(1, 10, 30)
    measured[:7] = np.nan
    figure = ion_figure(GRID, measured, np.full(30, 4.0), title="an ion")
    assert [len(axis.collections[0].get_array()) for axis in figure.axes[:3]] == [23, 30, 23]


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_an_ion_that_is_nowhere(value: float) -> None:
    figure = ion_figure(GRID, np.full(30, value), np.zeros(30), title="nothing")
    assert png(figure, dpi=40)[:4] == b"\x89PNG"


def test_one_spot() -> None:
    figure = ion_figure(np.array([[10.0, 20.0]]), np.array([1.0]), np.array([2.0]), title="one")
    assert png(figure, dpi=40)[:4] == b"\x89PNG"


def test_spots_touch_on_a_lattice() -> None:
    square = np.array([[x, y] for y in range(20) for x in range(20)]) * 100.0
    hexagonal = square * [1, np.sqrt(3) / 2] + np.where(square[:, [1]] // 100 % 2, [[50.0, 0]], [[0.0, 0]])
    assert spot_pitch(square) == pytest.approx(100)
    assert spot_pitch(hexagonal) == pytest.approx(100)
    assert spot_pitch(np.zeros((1, 2))) == 1.0


@pytest.mark.parametrize(("limit", "length"), [(0.3, 0.2), (1, 1), (499, 200), (500, 500), (12_345, 10_000)])
def test_scale_bars_are_round(limit: float, length: float) -> None:
    assert round_length(limit) == pytest.approx(length)


def test_sections_are_laid_apart_only_where_they_meet() -> None:
    labels = np.repeat(["a", "b"], len(GRID))
    apart = np.concatenate([GRID, GRID + [2000, 0]])
    np.testing.assert_array_equal(side_by_side(apart, labels), apart)
    moved = side_by_side(np.concatenate([GRID, GRID + 37]), labels)
    first, second = moved[: len(GRID)], moved[len(GRID) :]
    assert first[:, 0].max() < second[:, 0].min()
    np.testing.assert_allclose(second - second[0], GRID - GRID[0])


def test_scores_far_below_zero_are_drawn_at_the_edge_and_said() -> None:
    scores = pd.DataFrame(
        {
            "r2": [0.8, -30.0, 0.1],
            "r2_mean": [0.0, 0.0, np.nan],
            "r2_position": [0.2, -0.1, 0.0],
            "moran_i": [0.5, 0.1, np.nan],
            "verdict": ["predicted from genes", "noise: R² ≈ 0, no pattern", "something new"],
        }
    )
    figure = score_figure(scores, {"r2": "model", "r2_mean": "mean"})
    (axis,) = figure.axes
    assert "edge" in axis.get_xlabel()
    assert axis.get_xlim()[0] > -1
    for draw in (baseline_figure, moran_figure):
        labels = [text.get_text() for text in draw(scores).axes[0].get_legend().get_texts()]
        assert labels == ["predicted from genes (1)", "noise (1)", "something new (1)"]
