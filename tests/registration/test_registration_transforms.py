"""Transforms fitted to points."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from napari_st2msi.errors import FileProblem, GeometryProblem, RecipeProblem
from napari_st2msi.registration.transforms import (
    POINT_TRANSFORMS,
    TRANSFORMS,
    Affine,
    Linear,
    Rigid,
    Similarity,
    straightness,
    transform_class,
    transform_from_dict,
)

POINTS = np.random.default_rng(0).uniform(-5000, 5000, (8, 2))


def pose(angle: float, scale: float, mirror: bool, shift: tuple[float, float] = (900.0, -40.0)) -> np.ndarray:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    matrix = np.array([[c, -s, shift[0]], [s, c, shift[1]], [0, 0, 1]])
    return matrix @ np.diag([1, -1, 1]) if mirror else matrix


@given(some.floats(-4, 4), some.floats(0.2, 5), some.booleans())
def test_any_pose_is_recovered_reflection_included(angle: float, scale: float, mirror: bool) -> None:
    truth = pose(angle, scale, mirror)
    fixed = POINTS @ truth[:2, :2].T + truth[:2, 2]
    for kind in (Affine, Similarity):
        found = kind.fit(POINTS, fixed)
        np.testing.assert_allclose(found.matrix, truth, atol=1e-6)
        assert found.reflects == mirror
        assert found.scale == pytest.approx(scale)
        np.testing.assert_allclose(found.forward(POINTS), fixed, atol=1e-6)
        np.testing.assert_allclose(found.inverse(fixed), POINTS, atol=1e-6)


def test_the_order_of_landmarks_does_not_matter() -> None:
    fixed = POINTS + np.random.default_rng(1).normal(0, 60, POINTS.shape)
    for kind in (Affine, Similarity):
        np.testing.assert_allclose(
            kind.fit(POINTS[::-1], fixed[::-1]).matrix, kind.fit(POINTS, fixed).matrix, atol=1e-8
        )


def test_affine_takes_shear_and_similarity_does_not() -> None:
    truth = np.array([[1, 0.3, 5], [0, 0.8, -7], [0, 0, 1]])
    fixed = POINTS @ truth[:2, :2].T + truth[:2, 2]
    np.testing.assert_allclose(Affine.fit(POINTS, fixed).matrix, truth, atol=1e-8)
    linear = Similarity.fit(POINTS, fixed).matrix[:2, :2]
    np.testing.assert_allclose(linear @ linear.T, np.linalg.det(linear) * np.eye(2), atol=1e-10)


@pytest.mark.parametrize("kind", [Affine, Similarity])
def test_no_transform_of_its_kind_is_better(kind: type[Linear]) -> None:
    """Least squares: any small change makes the sum of squares larger."""
    rng = np.random.default_rng(2)
    fixed = POINTS[:, ::-1] * 1.1 + rng.normal(0, 100, POINTS.shape)
    best = kind.fit(POINTS, fixed)
    error = ((best.forward(POINTS) - fixed) ** 2).sum()
    for _ in range(50):
        nudge = pose(rng.normal(0, 1e-3), 1 + rng.normal(0, 1e-3), False, tuple(rng.normal(0, 1, 2)))
        assert ((kind(nudge @ best.matrix).forward(POINTS) - fixed) ** 2).sum() > error


@pytest.mark.parametrize("kind", [Affine, Similarity])
def test_too_few_and_all_on_a_line(kind: type[Linear]) -> None:
    with pytest.raises(GeometryProblem, match="2 pairs of landmarks are too few"):
        kind.fit(POINTS[:2], POINTS[:2])
    line = np.column_stack([np.arange(5.0), 2 * np.arange(5.0)]) * 700
    with pytest.raises(GeometryProblem, match="MSI side all lie on one line"):
        kind.fit(line, POINTS[:5])
    with pytest.raises(GeometryProblem, match="ST side all lie on one line"):
        kind.fit(POINTS[:5], line)


def test_straightness() -> None:
    assert straightness(np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]])) == pytest.approx(1)
    assert straightness(np.array([[0, 0], [5, 5], [9, 9.0]])) == pytest.approx(0, abs=1e-12)
    assert straightness(np.zeros((3, 2))) == 0


@pytest.mark.parametrize("kind", [Rigid, Similarity])
@pytest.mark.parametrize("mirror", [False, True])
def test_a_reflection_that_is_known_is_kept(kind: type[Linear], mirror: bool) -> None:
    truth = pose(0.7, 1.0, mirror)
    fixed = POINTS @ truth[:2, :2].T + truth[:2, 2]
    assert kind.fit(POINTS, fixed).reflects == mirror
    np.testing.assert_allclose(kind.fit(POINTS, fixed, reflection=mirror).matrix, truth, atol=1e-6)
    # Two points are enough when it is known, and nothing is left to guess.
    np.testing.assert_allclose(kind.fit(POINTS[:2], fixed[:2], reflection=mirror).matrix, truth, atol=1e-6)
    other = kind.fit(POINTS, fixed, reflection=not mirror)
    assert other.reflects != mirror
    # It is the best of those: none nearby is better.
    error = ((other.forward(POINTS) - fixed) ** 2).sum()
    for angle in (-1e-3, 1e-3):
        assert ((kind(pose(angle, 1.0, False, (0, 0)) @ other.matrix).forward(POINTS) - fixed) ** 2).sum() > error


def test_an_affine_that_may_not_mirror_is_refused_in_words() -> None:
    with pytest.raises(GeometryProblem, match="only mirrored"):
        Affine.fit(POINTS, POINTS[:, ::-1], reflection=False)
    with pytest.raises(GeometryProblem, match="only as they are"):
        Affine.fit(POINTS, POINTS, reflection=True)


def test_a_rigid_transform_keeps_lengths() -> None:
    found = Rigid.fit(POINTS, POINTS[:, ::-1] * 1.2 + 50)
    np.testing.assert_allclose(found.matrix[:2, :2] @ found.matrix[:2, :2].T, np.eye(2), atol=1e-12)
    assert found.scale == pytest.approx(1)


def test_every_transform_has_a_name_and_a_place() -> None:
    assert list(TRANSFORMS) == ["rigid", "similarity", "affine", "projective", "thin_plate", "free_form"]
    assert list(POINT_TRANSFORMS) == list(TRANSFORMS)[:-1]


def test_as_plain_values_and_back() -> None:
    for kind in (Affine, Similarity):
        fitted = kind.fit(POINTS, POINTS[:, ::-1])
        again = transform_from_dict(json.loads(json.dumps(fitted.to_dict())))
        assert type(again) is kind
        assert (again.matrix == fitted.matrix).all()
    for damaged in ({}, {"kind": "affine"}, {"kind": "affine", "matrix": [[1, 2]]}, {"kind": "affine", "matrix": "no"}):
        with pytest.raises(FileProblem, match="damaged"):
            transform_from_dict(damaged)
    with pytest.raises(FileProblem, match="damaged"):
        transform_from_dict({"kind": "affine", "matrix": np.full((3, 3), np.nan).tolist()})
    with pytest.raises(RecipeProblem, match="affine, projective"):
        transform_class("rubber")
