"""Transforms that bend: projective, thin-plate spline, free-form."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_st2msi.errors import FileProblem, GeometryProblem, RecipeProblem
from napari_st2msi.registration.transforms import (
    Affine,
    FreeForm,
    Projective,
    ThinPlateSpline,
    Transform,
    transform_from_dict,
)
from napari_st2msi.registration.transforms.thin_plate import Bending

RNG = np.random.default_rng(0)
MOVING = RNG.uniform(0, 6000, (10, 2))
MIRRORED = np.array([[-0.9, 0.1, 5800], [-0.1, 1.05, 300], [0, 0, 1]])
FIXED = MOVING @ MIRRORED[:2, :2].T + MIRRORED[:2, 2] + RNG.normal(0, 60, MOVING.shape)
WHERE = RNG.uniform(0, 6000, (400, 2))


def free_form(size: float = 150.0) -> FreeForm:
    coefficients = np.random.default_rng(1).normal(0, size, (11, 12, 2))
    return FreeForm(MIRRORED, np.array([-2000.0, -1500.0]), np.array([1000.0, 900.0]), coefficients)


def all_kinds() -> list[Transform]:
    return [
        Projective.fit(MOVING, FIXED),
        ThinPlateSpline.fit(MOVING, FIXED),
        ThinPlateSpline.fit(MOVING, FIXED, smoothing=None),
        free_form(),
    ]


@pytest.mark.parametrize("transform", all_kinds(), ids=lambda one: one.kind)
def test_there_and_back(transform: Transform) -> None:
    assert transform.matrix is None
    assert transform.reflects
    np.testing.assert_allclose(transform.inverse(transform.forward(WHERE)), WHERE, atol=0.01)
    np.testing.assert_allclose(transform.forward(transform.inverse(WHERE)), WHERE, atol=0.01)


@pytest.mark.parametrize("transform", all_kinds(), ids=lambda one: one.kind)
def test_the_jacobian_is_the_slope(transform: Transform) -> None:
    step = 0.05
    columns = [(transform.forward(WHERE + d) - transform.forward(WHERE - d)) / (2 * step) for d in step * np.eye(2)]
    np.testing.assert_allclose(transform.jacobian(WHERE), np.stack(columns, axis=-1), atol=1e-6)


@pytest.mark.parametrize("transform", all_kinds(), ids=lambda one: one.kind)
def test_the_nearest_affine_is_nearest(transform: Transform) -> None:
    nearest = transform.nearest_affine(WHERE)
    np.testing.assert_allclose(nearest, Affine.fit(WHERE, transform.forward(WHERE)).matrix, atol=1e-8)


@pytest.mark.parametrize("transform", all_kinds(), ids=lambda one: one.kind)
def test_as_plain_values_and_back(transform: Transform) -> None:
    facts = json.loads(json.dumps(transform.to_dict()))
    again = transform_from_dict(facts)
    assert type(again) is type(transform)
    np.testing.assert_allclose(again.forward(WHERE), transform.forward(WHERE), atol=1e-6)
    for name in set(facts) - {"kind"}:
        for damage in (None, "no", [[1.0]], [[[float("nan")]]]):
            with pytest.raises(FileProblem, match="damaged"):
                transform_from_dict(facts | {name: damage})


# -- projective -----------------------------------------------------------------------------------


def test_a_homography_is_recovered() -> None:
    truth = np.array([[1.0, 0.2, 300], [-0.1, 0.9, -50], [2e-5, -1e-5, 1]])
    up = np.column_stack([MOVING, np.ones(10)]) @ truth.T
    for n in (4, 10):
        found = Projective.fit(MOVING[:n], (up[:, :2] / up[:, 2:])[:n])
        np.testing.assert_allclose(found.forward(MOVING), up[:, :2] / up[:, 2:], atol=1e-5)


def test_the_distances_on_the_fixed_side_are_smallest() -> None:
    best = Projective.fit(MOVING, FIXED)
    error = ((best.forward(MOVING) - FIXED) ** 2).sum()
    assert error < ((Affine.fit(MOVING, FIXED).forward(MOVING) - FIXED) ** 2).sum()
    rng = np.random.default_rng(4)
    for _ in range(50):
        nudged = best.homography * (1 + rng.normal(0, 1e-4, (3, 3)))
        assert ((Projective(nudged).forward(MOVING) - FIXED) ** 2).sum() > error


def test_beyond_the_horizon_is_nowhere() -> None:
    tilted = Projective(np.array([[1.0, 0, 0], [0, 1, 0], [1e-3, 0, 1]]))
    assert np.isfinite(tilted.forward(np.array([[-900.0, 0]]))).all()
    assert np.isnan(tilted.forward(np.array([[-1100.0, 0]]))).all()


def test_landmarks_about_the_horizon_are_refused() -> None:
    corners = np.array([[0, 0], [1000, 0], [1000, 1000], [0, 1000.0]])
    with pytest.raises(GeometryProblem, match="horizon"):
        Projective.fit(corners, corners[[0, 2, 1, 3]])
    with pytest.raises(GeometryProblem, match="needs at least 4"):
        Projective.fit(corners[:3], corners[:3])
    on_a_line = np.array([[0, 0], [1000, 0], [2000, 0], [0, 1000.0]])
    with pytest.raises(GeometryProblem, match="too many lie on one line"):
        Projective.fit(on_a_line, on_a_line)
    with pytest.raises(GeometryProblem, match="only mirrored"):
        Projective.fit(MOVING, FIXED, reflection=False)


# -- thin-plate spline ----------------------------------------------------------------------------


def test_an_exact_spline_is_that_of_scipy() -> None:
    from scipy.interpolate import RBFInterpolator

    spline = ThinPlateSpline.fit(MOVING, FIXED)
    np.testing.assert_allclose(spline.forward(MOVING), FIXED, atol=1e-6)
    oracle = RBFInterpolator(MOVING, FIXED, kernel="thin_plate_spline")
    np.testing.assert_allclose(spline.forward(WHERE), oracle(WHERE), atol=1e-5)


def test_a_smoothed_spline_is_that_of_scipy() -> None:
    from scipy.interpolate import RBFInterpolator

    oracle = RBFInterpolator(MOVING / 1000, FIXED, kernel="thin_plate_spline", smoothing=3.0)
    spline = ThinPlateSpline.fit(MOVING, FIXED, smoothing=3.0)
    np.testing.assert_allclose(spline.forward(WHERE), oracle(WHERE / 1000), atol=1e-5)


def test_much_smoothing_is_an_affine_and_three_points_are_one() -> None:
    affine = Affine.fit(MOVING, FIXED)
    stiff = ThinPlateSpline.fit(MOVING, FIXED, smoothing=1e9)
    np.testing.assert_allclose(stiff.forward(WHERE), affine.forward(WHERE), atol=1e-3)
    three = Affine.fit(MOVING[:3], FIXED[:3]).forward(WHERE)
    for smoothing in (0.0, 5.0, None):
        found = ThinPlateSpline.fit(MOVING[:3], FIXED[:3], smoothing=smoothing)
        np.testing.assert_allclose(found.forward(WHERE), three, atol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 20.0])
def test_left_out_errors_without_fitting_again(smoothing: float) -> None:
    errors = Bending(MOVING).left_out(FIXED, np.array([smoothing]))[0][0]
    for i in range(len(MOVING)):
        others = np.arange(len(MOVING)) != i
        without = ThinPlateSpline.fit(MOVING[others], FIXED[others], smoothing=smoothing)
        np.testing.assert_allclose(errors[i], FIXED[i] - without.forward(MOVING[[i]])[0], rtol=1e-5)


def test_smoothing_follows_the_clicks() -> None:
    """Poor clicks on stiff tissue are smoothed away, good clicks on bent tissue are believed."""
    points = RNG.uniform(0, 6000, (20, 2))
    bent = points + 200 * np.sin(points[:, ::-1] / 1200)
    scattered = points + RNG.normal(0, 60, points.shape)
    smoothing = [ThinPlateSpline.fit(points, fixed, smoothing=None).smoothing for fixed in (bent, scattered)]
    assert smoothing[0] < 0.1 < 10 < smoothing[1]


def test_where_a_spline_folds_there_is_no_way_back() -> None:
    corners = np.array([[0, 0], [1000, 0], [1000, 1000], [0, 1000], [480, 500], [520, 500.0]])
    crossed = corners.copy()
    crossed[4:] = [[600, 500], [400, 500]]
    spline = ThinPlateSpline.fit(corners, crossed)
    across = np.column_stack([np.linspace(0, 1000, 201), np.full(201, 500.0)])
    assert (np.linalg.det(spline.jacobian(across)) < 0).any()
    back = spline.inverse(across)
    known = np.isfinite(back).all(axis=1)
    np.testing.assert_allclose(spline.forward(back[known]), across[known], atol=0.01)
    assert (np.linalg.det(spline.jacobian(back[known])) > 0).all()


# -- free-form ------------------------------------------------------------------------------------


def test_a_free_form_blends_its_control_points() -> None:
    """Coefficients that lie on a plane give that plane, which splines of any degree reproduce."""
    y, x = np.mgrid[:9, :10]
    plane = np.stack([0.03 * x * 700 + 20, -0.02 * y * 800], axis=-1)
    bent = FreeForm(np.eye(3), np.array([0.0, 0.0]), np.array([700.0, 800.0]), plane)
    inside = RNG.uniform([700, 800], [8 * 700, 7 * 800], (50, 2))
    expected = inside + np.column_stack([0.03 * inside[:, 0] + 20, -0.02 * inside[:, 1]])
    np.testing.assert_allclose(bent.forward(inside), expected, atol=1e-8)
    # Outside, the edge goes on.
    np.testing.assert_allclose(bent.displacement(np.array([[-9e4, 1600]])), [[0.03 * 700 + 20, -32]], atol=1e-6)


def test_a_free_form_is_not_fitted_to_landmarks() -> None:
    with pytest.raises(RecipeProblem, match="from images"):
        FreeForm.fit(MOVING, FIXED)
