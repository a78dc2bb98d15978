"""Refinement by what was measured, and the mathematics under it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import check_grad

from napari_st2msi import simulate
from napari_st2msi.io.sample import Simulation
from napari_st2msi.registration.control_grid import ControlGrid
from napari_st2msi.registration.intensity import AFFINE, FREE_FORM, held_out_gain, refine
from napari_st2msi.registration.mutual_information import Channels, Joint, information
from napari_st2msi.registration.placement import Placement
from napari_st2msi.registration.sides import FixedSide, MovingSide, fixed_side, moving_side
from napari_st2msi.registration.transforms import Affine, FreeForm


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate(
        n_spots=500, n_genes=200, ions_per_kind=5, image_px=256, seed=8, warp_um=150, pixel_size_um=60, scale=1.0
    )


@pytest.fixture(scope="module")
def sides(simulation: Simulation) -> tuple[FixedSide, MovingSide]:
    section = simulation.sections[0]
    return fixed_side(section), moving_side(section)


def nudged(simulation: Simulation) -> Placement:
    """The nearest affine, off by 3°, 3 % and 100 µm."""
    matrix = simulation.truth.sections["simulated"].true_msi_to_st.copy()
    angle = np.radians(3)
    turn = 1.03 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = simulation.sections[0].spots.centres.mean(axis=0)
    nudge = np.eye(3)
    nudge[:2, :2], nudge[:2, 2] = turn, middle - turn @ middle + [80, -60]
    return Placement.of_matrix(nudge @ matrix)


def median_error(simulation: Simulation, placement: Placement, xy: np.ndarray) -> float:
    true = simulation.truth.sections["simulated"].pose.to_st(placement.at(xy))
    return float(np.median(np.hypot(*(true - xy).T)))


def test_affine_then_free_form_come_nearer(simulation: Simulation, sides: tuple[FixedSide, MovingSide]) -> None:
    fixed, moving = sides
    start, seen = nudged(simulation), []
    straight = refine(fixed, moving, start, AFFINE)
    bent = refine(fixed, moving, start, FREE_FORM, step=seen.append)
    errors = [median_error(simulation, each, fixed.xy) for each in (start, straight.placement, bent.placement)]
    assert errors[0] > 90
    assert errors[1] < 50
    assert errors[2] < 0.5 * errors[1]
    assert tuple(seen) == bent.curve
    assert bent.information > straight.information


def test_the_same_every_time(simulation: Simulation, sides: tuple[FixedSide, MovingSide]) -> None:
    once, again = (refine(*sides, nudged(simulation), FREE_FORM[:3], iterations=5).placement for _ in range(2))
    np.testing.assert_array_equal(once.at(sides[0].xy), again.at(sides[0].xy))


def test_stopping_keeps_what_was_reached(simulation: Simulation, sides: tuple[FixedSide, MovingSide]) -> None:
    start, seen = nudged(simulation), []
    stopped = refine(*sides, start, FREE_FORM, step=seen.append, cancelled=lambda: len(seen) >= 3)
    assert len(stopped.curve) == 3
    assert median_error(simulation, stopped.placement, sides[0].xy) < median_error(simulation, start, sides[0].xy)


def test_held_out_tissue_asks_for_the_warp(simulation: Simulation, sides: tuple[FixedSide, MovingSide]) -> None:
    straight = refine(*sides, nudged(simulation), AFFINE).placement
    held_out, gain = held_out_gain(*sides, straight)
    assert held_out > 0
    assert gain > 0


def test_information_is_that_of_canonical_correlations() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(4000, 1))
    x = np.hstack([shared + 0.5 * rng.normal(size=(4000, 1)), rng.normal(size=(4000, 2))])
    y = np.hstack([rng.normal(size=(4000, 1)), -3 * shared])
    joint = Joint.of(x, y, np.ones(4000), 0.0)
    rho = 1 / np.sqrt(1.25)
    assert joint.information == pytest.approx(-0.5 * np.log(1 - rho**2), abs=0.03)
    assert joint.pointwise(x, y).mean() == pytest.approx(joint.information, abs=1e-6)
    # What does not belong together is likelier apart.
    assert joint.pointwise(x, y[::-1]).mean() < 0


def test_derivatives_are_right() -> None:
    rng = np.random.default_rng(1)
    x, y, weight = rng.normal(size=(40, 2)), rng.normal(size=(40, 3)), rng.uniform(0.2, 1, 40)
    y[:, 0] += x[:, 1]

    def value(parameters: np.ndarray) -> float:
        return information(x, parameters.reshape(y.shape), weight, 0.0)[0] * weight.sum()

    def slope(parameters: np.ndarray) -> np.ndarray:
        return information(x, parameters.reshape(y.shape), weight, 0.0)[1].ravel()

    assert check_grad(value, slope, y.ravel()) < 1e-4
    step = 1e-5
    by_weight = information(x, y, weight, 0.0)[2]
    for one in (0, 17):
        more, less = weight.copy(), weight.copy()
        more[one] += step
        less[one] -= step
        numeric = (information(x, y, more, 0.0)[0] - information(x, y, less, 0.0)[0]) / (2 * step)
        assert by_weight[one] / weight.sum() == pytest.approx(numeric, abs=1e-6)


def test_images_are_asked_between_pixels() -> None:
    row, column = np.mgrid[:6, :7]
    to_um = np.array([[20.0, 0, 5], [0, 10.0, -3], [0, 0, 1]])
    measured = np.ones((6, 7))
    measured[:, 5:] = 0
    channels = Channels(np.dstack([column, row]).astype(float), measured, to_um)
    places = np.array([[1.5, 2.25], [4.5, 2.0], [44.75, 1.2]]) * [20, 10] + [5, -3]
    seen = channels.at(places)
    np.testing.assert_allclose(seen.values[:2], [[1.5, 2.25], [4, 2]])
    np.testing.assert_allclose(seen.weight, [1, 0.5, 0])
    nothing, everything = np.zeros(3), np.ones((3, 2))
    np.testing.assert_allclose(seen.slope(everything, nothing)[0], [1 / 20, 1 / 10])
    np.testing.assert_allclose(seen.slope(0 * everything, nothing + 1)[1], [-1 / 20, 0], atol=1e-12)
    np.testing.assert_allclose(seen.slope(everything, nothing)[2], 0)


def test_slopes_are_right_where_pixels_are_missing() -> None:
    rng = np.random.default_rng(3)
    to_um = np.array([[8.0, 3.0, 5], [-2.0, 10.0, -3], [0, 0, 1]])
    channels = Channels(rng.normal(size=(9, 9, 3)), (rng.random((9, 9)) < 0.7).astype(float), to_um)
    places = (rng.uniform(0, 8, (30, 2)) + 1e-3) @ to_um[:2, :2].T + to_um[:2, 2]
    factors = rng.normal(size=(30, 3))

    def value(parameters: np.ndarray) -> float:
        seen = channels.at(parameters.reshape(-1, 2))
        return float((factors * seen.values).sum() + (seen.weight**2).sum())

    def slope(parameters: np.ndarray) -> np.ndarray:
        seen = channels.at(parameters.reshape(-1, 2))
        return seen.slope(factors, 2 * seen.weight).ravel()

    assert check_grad(value, slope, places.ravel(), epsilon=1e-6) < 1e-4


def test_a_placement_and_its_transform_are_inverse() -> None:
    rng = np.random.default_rng(2)
    xy = rng.uniform(0, 4000, (500, 2))
    grid = ControlGrid.over(xy.min(axis=0), xy.max(axis=0), 600.0)
    linear = 1.1 * np.array([[np.cos(2), np.sin(2)], [np.sin(2), -np.cos(2)]])
    placement = Placement(linear, np.array([300.0, -20.0]), grid, rng.normal(0, 60, (grid.count, 2)))
    transform = placement.transform(xy)
    assert isinstance(transform, FreeForm)
    assert np.abs(transform.forward(placement.at(xy)) - xy).max() < 2
    assert np.median(np.hypot(*(transform.forward(placement.at(xy)) - xy).T)) < 0.5
    back = Placement.of_transform(transform, xy, 300.0)
    assert np.median(placement.difference_um(back, xy)) < 2
    assert isinstance(placement.on(None, xy).transform(xy), Affine)


def test_bending_of_a_plane_is_nothing() -> None:
    grid = ControlGrid.over(np.zeros(2), np.array([1000.0, 700.0]), 100.0)
    rows, columns = np.mgrid[: grid.shape[0], : grid.shape[1]]
    plane = (2.0 * rows - 3.0 * columns + 1).ravel()
    assert plane @ (grid.bending() @ plane) == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(grid.basis(np.array([[50.0, 50.0], [1e5, -1e5]])).sum(axis=1), 1)
