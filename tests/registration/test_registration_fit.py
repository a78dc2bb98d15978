"""Registration: errors, warnings, and the figures of the real landmarks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from napari_st2msi.errors import FileProblem, GeometryProblem, RecipeProblem
from napari_st2msi.io.magpie import read_landmarks
from napari_st2msi.io.visium import visium_geometry
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.registration.fit import fit
from napari_st2msi.registration.registration import Registration

RNG = np.random.default_rng(0)
MOVING = RNG.uniform(0, 6000, (9, 2))
FIXED = MOVING @ np.array([[0.9, 0.1], [-0.1, 1.05]]) + 300 + RNG.normal(0, 40, (9, 2))
LANDMARKS = Landmarks(tuple("abcdefghi"), MOVING, FIXED)


@pytest.fixture
def real(real_data: Path) -> Landmarks:
    """The ten landmarks of the real section in µm, as the readers give them."""
    folder = real_data / "magpie_sma_V11L12-038_D1"
    (moving, fixed), _ = read_landmarks(folder, visium_geometry(folder))
    return Landmarks(tuple(map(str, range(1, 11))), moving * 100, fixed)


def test_real_landmarks_reproduce_the_readme(real: Landmarks) -> None:
    affine, similarity = fit(real, "affine"), fit(real, "similarity")
    assert affine.rms_um == pytest.approx(121, abs=0.5)
    assert list(affine.left_out.values()) == pytest.approx([128, 156, 439], abs=1)
    assert list(similarity.left_out.values()) == pytest.approx([110, 134, 378], abs=1)
    assert affine.reflects
    assert similarity.reflects
    assert int(np.argmax(affine.left_out_um)) == 9
    nine = real.without("10")
    assert fit(nine, "similarity").left_out["mean"] == pytest.approx(93, abs=0.5)
    assert fit(nine, "affine").left_out["mean"] == pytest.approx(78, abs=0.5)


def test_real_landmarks_are_warned_about(real: Landmarks) -> None:
    words = " ".join(fit(real, pixel_size_um=100).warnings)
    assert "mirrored" in words
    assert "missed by 128 µm (median), more than half an MSI pixel (50 µm)" in words
    assert "missed by" not in " ".join(fit(real, pixel_size_um=300).warnings)


@pytest.mark.parametrize("kind", ["affine", "similarity"])
def test_left_out_is_what_a_fit_without_it_gives(kind: str) -> None:
    whole = fit(LANDMARKS, kind)
    for i, name in enumerate(LANDMARKS.ids):
        without = fit(LANDMARKS.without(name), kind)
        assert whole.left_out_um[i] == pytest.approx(without.residuals_um[i])
        assert without.left_out_um[i] == without.residuals_um[i]
        assert whole.left_out_um[i] > whole.residuals_um[i]


def test_affine_left_out_follows_from_the_hat_matrix() -> None:
    """For linear least squares the left-out error is the residual over one minus the leverage."""
    design = np.column_stack([MOVING, np.ones(9)])
    leverage = np.diag(design @ np.linalg.pinv(design))
    whole = fit(LANDMARKS, "affine")
    np.testing.assert_allclose(whole.left_out_um, whole.residuals_um / (1 - leverage))


def test_a_disabled_landmark_pulls_nothing_but_is_measured() -> None:
    fixed = FIXED.copy()
    fixed[4] += 5000
    wrong = Landmarks(LANDMARKS.ids, MOVING, fixed).without("e")
    registration = fit(wrong)
    np.testing.assert_allclose(registration.transform.matrix, fit(LANDMARKS.without("e")).transform.matrix)
    assert registration.residuals_um[4] > 6000
    assert registration.rms_um < 100
    assert registration.left_out["max"] < 300


def test_three_landmarks_fit_but_cannot_be_judged() -> None:
    three = LANDMARKS.without(*"defghi")
    registration = fit(three)
    assert registration.rms_um == pytest.approx(0, abs=1e-6)
    assert np.isnan(registration.left_out_um[:3]).all()
    assert np.isnan(registration.left_out["median"])
    assert any("Only 3 landmarks" in warning for warning in registration.warnings)
    assert json.loads(registration.to_json())["left_out_um"][:3] == [None] * 3


def test_nearly_on_a_line_is_warned_about() -> None:
    thin = MOVING * [1, 0.02]
    assert any("nearly on one line" in warning for warning in fit(Landmarks(LANDMARKS.ids, thin, FIXED)).warnings)
    assert fit(LANDMARKS, pixel_size_um=500).warnings == ()


def test_bad_landmarks_are_refused() -> None:
    with pytest.raises(GeometryProblem, match="too few"):
        fit(LANDMARKS.without(*"cdefghi"))
    double = MOVING.copy()
    double[6] = double[2]
    with pytest.raises(GeometryProblem, match="Landmarks c and g are at the same point on the MSI side"):
        fit(Landmarks(LANDMARKS.ids, double, FIXED))
    assert fit(Landmarks(LANDMARKS.ids, double, FIXED).without("g")).rms_um > 0
    with pytest.raises(GeometryProblem, match="one line"):
        fit(Landmarks(LANDMARKS.ids, MOVING * [1, 0], FIXED))
    with pytest.raises(RecipeProblem, match="affine, similarity"):
        fit(LANDMARKS, "spline")


def test_as_json_and_back() -> None:
    registration = fit(LANDMARKS.without("b"), "similarity", pixel_size_um=1)
    again = Registration.from_dict(json.loads(registration.to_json()))
    assert again.to_dict() == registration.to_dict()
    assert again.fingerprint == registration.fingerprint
    assert again.landmarks.enabled.tolist() == registration.landmarks.enabled.tolist()
    assert fit(LANDMARKS).fingerprint != registration.fingerprint
    with pytest.raises(FileProblem, match="version 7"):
        Registration.from_dict(registration.to_dict() | {"version": 7})
    with pytest.raises(FileProblem, match="damaged"):
        Registration.from_dict({"version": 1})
