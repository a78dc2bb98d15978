"""The automatic choice of a transform, and which landmarks are suspected."""

from __future__ import annotations

import numpy as np
import pytest

from napari_st2msi.registration.choose import try_all
from napari_st2msi.registration.outliers import outliers
from napari_st2msi.registration.transforms import Affine

RNG = np.random.default_rng(0)
MOVING = RNG.uniform(0, 6000, (14, 2))
TURNED = MOVING @ np.array([[0.0, -0.9], [-0.9, 0.0]]) + 5000


def chosen(fixed: np.ndarray, moving: np.ndarray = MOVING) -> str:
    return next(one.label for one in try_all(moving, fixed) if one.chosen)


def test_the_stiffest_that_fits_is_chosen() -> None:
    assert chosen(MOVING[:, ::-1] + 300) == "rigid"
    assert chosen(TURNED) == "similarity"
    assert chosen(TURNED * [1, 1.2]) == "affine"


def test_tissue_that_bends_gets_the_smoothed_spline() -> None:
    bent = TURNED + 150 * np.sin(MOVING[:, ::-1] / 1500) + RNG.normal(0, 5, MOVING.shape)
    assert chosen(bent) == "thin-plate spline, smoothed"


def test_poor_clicks_hardly_bend_the_tissue() -> None:
    """A spline may be chosen, but a stiff one: what it bends is far less than the clicks are off."""
    bent = []
    for seed in range(20):
        fixed = TURNED + np.random.default_rng(seed).normal(0, 150, MOVING.shape)
        best = next(one.transform for one in try_all(MOVING, fixed) if one.chosen)
        assert best is not None
        straight = Affine(best.nearest_affine(MOVING))
        bent.append(np.sqrt(((best.forward(MOVING) - straight.forward(MOVING)) ** 2).sum(axis=1).mean()))
    assert np.median(bent) < 20


def test_the_table_says_why_not() -> None:
    tried = try_all(MOVING[:3], TURNED[:3])
    why = {one.label: one.why_not for one in tried}
    assert "needs at least 4" in why["projective"]
    assert "too few landmarks" in why["affine"]
    assert why["similarity"] == ""
    wanted = try_all(MOVING, TURNED, "thin_plate", smoothing=2.0)
    assert [one.label for one in wanted if one.chosen] == ["thin-plate spline, smoothing 2 mm²"]


def test_a_reflection_that_was_ruled_out_is_not_tried() -> None:
    tried = try_all(MOVING, TURNED, reflection=False)
    assert all(one.transform is None or not one.transform.reflects for one in tried)
    assert "only mirrored" in next(one.why_not for one in tried if one.kind == "affine")


def test_the_score_is_the_mean_error_of_landmarks_left_out() -> None:
    fixed = TURNED + RNG.normal(0, 60, MOVING.shape)
    for one in try_all(MOVING, fixed):
        assert one.score_um == pytest.approx(one.left_out_um.mean())
        assert one.candidate.left_out["max"] == pytest.approx(one.left_out_um.max())


# -- suspected landmarks --------------------------------------------------------------------------


def test_good_clicks_are_seldom_suspected() -> None:
    alarms = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        moving = rng.uniform(0, 6000, (9, 2))
        alarms += outliers(moving, moving + rng.normal(0, 50, moving.shape)).any()
    # One in twenty is what the test promises: of 200 that is 10, give or take 3.
    assert 2 <= alarms <= 20


def test_a_bad_click_is_named_and_no_other() -> None:
    right = 0
    for seed in range(50):
        rng = np.random.default_rng(seed)
        moving = rng.uniform(0, 6000, (12, 2))
        fixed = moving + rng.normal(0, 30, moving.shape)
        fixed[7] += [400, -300]
        right += np.flatnonzero(outliers(moving, fixed)).tolist() == [7]
    assert right >= 45


def test_two_bad_clicks_cannot_hide_each_other() -> None:
    both = 0
    for seed in range(20):
        fixed = TURNED + np.random.default_rng(seed).normal(0, 20, MOVING.shape)
        fixed[[3, 8]] += [[700, 0], [0, -900]]
        both += bool(outliers(MOVING, fixed)[[3, 8]].all())
    assert both >= 19


def test_what_cannot_be_judged_is_not_suspected() -> None:
    fixed = TURNED.copy()
    fixed[0] += 2000
    assert not outliers(MOVING[:5], fixed[:5]).any()
    line = np.column_stack([np.arange(8.0), np.arange(8.0)]) * 500
    assert not outliers(line, line).any()
    line[7] = [500, 4000]
    assert not outliers(line, line).any()  # nobody knows what lies across the line
    # Numbers that are right to their last digit are not bad clicks.
    assert not outliers(MOVING, TURNED).any()
