"""Registration: errors, warnings, and the figures of the real landmarks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from napari_st2msi.errors import FileProblem, GeometryProblem, RecipeProblem
from napari_st2msi.io.magpie import read_landmarks
from napari_st2msi.io.visium import visium_geometry
from napari_st2msi.registration.fit import fit
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.registration.registration import Registration, Trust
from napari_st2msi.registration.transforms import ThinPlateSpline

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
    """Every figure in the README of the real data, to the micrometre."""
    affine, similarity, spline = fit(real, "affine"), fit(real, "similarity"), fit(real, "thin_plate", smoothing=0)
    assert affine.rms_um == pytest.approx(121, abs=0.5)
    assert spline.rms_um == pytest.approx(0, abs=1e-6)
    assert [round(value) for value in affine.left_out.values()] == [128, 156, 439]
    assert list(similarity.left_out.values()) == pytest.approx([110, 134, 378], abs=0.7)
    assert [round(value) for value in spline.left_out.values()] == [92, 125, 396]
    assert all(one.reflects for one in (affine, similarity, spline))
    nine = real.without("10")
    assert fit(nine, "similarity").left_out["mean"] == pytest.approx(93, abs=0.5)
    assert fit(nine, "affine").left_out["mean"] == pytest.approx(78, abs=0.5)
    assert fit(nine, "thin_plate", smoothing=0).left_out["mean"] == pytest.approx(94, abs=0.5)


@pytest.mark.parametrize("transform", ["auto", "rigid", "similarity", "affine", "thin_plate"])
def test_the_tenth_real_landmark_is_named(real: Landmarks, transform: str) -> None:
    registration = fit(real, transform)
    assert np.flatnonzero(registration.outlier).tolist() == [9]
    assert int(np.argmax(registration.influence_um)) == 9
    assert any(words.startswith("Landmark 10 is missed by") for words in registration.warnings)
    # Without it nobody else is suspected.
    assert not fit(real.without("10"), transform).outlier.any()


def test_without_the_tenth_the_affine_is_ahead(real: Landmarks) -> None:
    registration = fit(real.without("10"))
    assert registration.transform.kind == "affine"
    score = {one.label: one.score_um for one in registration.candidates}
    assert score["affine"] < score["similarity"] < score["thin-plate spline, exact"]
    assert [one.label for one in registration.candidates if one.chosen] == ["affine"]
    assert all(one.why_not for one in registration.candidates if not one.chosen)


def test_real_landmarks_are_warned_about(real: Landmarks) -> None:
    words = " ".join(fit(real, "affine", pixel_size_um=100).warnings)
    assert "mirrored" in words
    assert "missed by 128 µm (median), more than half an MSI pixel (50 µm)" in words
    assert "more than half" not in " ".join(fit(real, "affine", pixel_size_um=300).warnings)


@pytest.mark.parametrize("kind", ["rigid", "similarity", "affine", "projective", "thin_plate"])
def test_left_out_is_what_a_fit_without_it_gives(kind: str) -> None:
    whole = fit(LANDMARKS, kind)
    for i, name in enumerate(LANDMARKS.ids):
        without = fit(LANDMARKS.without(name), kind)
        assert whole.left_out_um[i] == pytest.approx(without.residuals_um[i])
        assert without.left_out_um[i] == without.residuals_um[i]
        assert without.influence_um[i] == 0
        moved = np.linalg.norm(without.transform.forward(MOVING) - whole.transform.forward(MOVING), axis=1).max()
        assert whole.influence_um[i] == pytest.approx(moved)
    assert whole.left_out["mean"] > whole.residuals_um.mean()


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
    registration = fit(wrong, "affine")
    np.testing.assert_allclose(registration.transform.matrix, fit(LANDMARKS.without("e"), "affine").transform.matrix)
    assert registration.residuals_um[4] > 6000
    assert registration.rms_um < 100
    assert registration.left_out["max"] < 300


def test_three_landmarks_fit_but_cannot_be_judged() -> None:
    three = LANDMARKS.without(*"defghi")
    assert fit(three).transform.kind == "similarity"  # asks least of so few
    registration = fit(three, "affine")
    assert registration.rms_um == pytest.approx(0, abs=1e-6)
    assert np.isnan(registration.left_out_um[:3]).all()
    assert np.isnan(registration.left_out["median"])
    assert any("Only 3 landmarks" in warning for warning in registration.warnings)
    assert json.loads(registration.to_json())["left_out_um"][:3] == [None] * 3


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
    for kind in ("spline", "free_form"):
        with pytest.raises(RecipeProblem, match="auto, rigid, similarity, affine, projective, thin_plate"):
            fit(LANDMARKS, kind)
    with pytest.raises(GeometryProblem, match="3 pairs of landmarks are too few: projective needs at least 4"):
        fit(LANDMARKS.without(*"defghi"), "projective")
    nobody = Landmarks((), np.zeros((0, 2)), np.zeros((0, 2)))
    with pytest.raises(GeometryProblem, match="0 pairs of landmarks are too few"):
        fit(nobody)


def test_whatever_is_clicked_is_fitted_or_refused_in_words() -> None:
    """Points on a coarse lattice: doubles, lines, crossings and horizons of all sorts."""
    extent = np.random.default_rng(0).uniform(0, 3000, (200, 2))
    refused = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(2, 8))
        moving, fixed = rng.integers(0, 4, (2, n, 2)) * 1000.0
        transform = str(rng.choice(["auto", "rigid", "projective", "thin_plate"]))
        try:
            found = fit(Landmarks(tuple(map(str, range(n))), moving, fixed), transform, extent=extent)
        except GeometryProblem as problem:
            refused.append(str(problem))
        else:
            assert np.isfinite(found.transform.forward(moving)).all()
            json.loads(found.to_json())
    assert 20 < len(refused) < 90
    assert all(words.endswith(".") for words in refused)


def test_smoothing_is_not_negative() -> None:
    with pytest.raises(RecipeProblem, match="0 mm² or more"):
        fit(LANDMARKS, "thin_plate", smoothing=-1)


@pytest.mark.parametrize("kind", ["similarity", "projective", "thin_plate"])
def test_as_json_and_back(kind: str) -> None:
    registration = fit(LANDMARKS.without("b"), kind, pixel_size_um=1)
    again = Registration.from_dict(json.loads(registration.to_json()))
    assert again.to_dict() == registration.to_dict()
    assert again.fingerprint == registration.fingerprint
    assert again.landmarks.enabled.tolist() == registration.landmarks.enabled.tolist()
    assert again.candidates[2].label == "affine"
    assert fit(LANDMARKS, "affine").fingerprint != registration.fingerprint
    with pytest.raises(FileProblem, match="version 7"):
        Registration.from_dict(registration.to_dict() | {"version": 7})
    for damage in ({"transform": None}, {"candidates": [{}]}, {"trust": {}}, {"landmarks": []}):
        with pytest.raises(FileProblem, match="damaged"):
            Registration.from_dict(registration.to_dict() | damage)
    with pytest.raises(FileProblem, match="damaged"):
        Registration.from_dict({"version": 1})


def test_what_version_1_wrote_is_read() -> None:
    new = fit(LANDMARKS, "affine")
    facts = new.to_dict()
    kept = ("transform", "landmarks", "residuals_um", "left_out_um", "rms_um", "reflects", "fingerprint", "warnings")
    old = Registration.from_dict({"version": 1} | {name: facts[name] for name in kept})
    assert old.fingerprint == new.fingerprint
    assert old.source == "landmarks"
    assert np.isnan(old.influence_um).all()
    assert not old.outlier.any()


def test_what_folds_is_not_chosen() -> None:
    """One landmark far off: a spline that follows it misses the others by less, and lays the tissue over itself."""
    rng = np.random.default_rng(0)
    moving = np.array([[x, y] for x in (300.0, 1700, 3100) for y in (300.0, 1700, 3100)])
    moving += rng.uniform(-200, 200, moving.shape)
    fixed = moving + rng.normal(0, 20, moving.shape)
    fixed[2] += [3500, -3500]
    one_off = Landmarks(tuple("abcdefghi"), moving, fixed)
    extent = np.random.default_rng(3).uniform(0, 3400, (500, 2))
    found = fit(one_off, extent=extent)
    assert found.transform.kind != "thin_plate"
    spline = next(one for one in found.candidates if one.kind == "thin_plate")
    assert spline.score_um < min(one.score_um for one in found.candidates if one.chosen)
    assert spline.why_not == "it lays the tissue over itself"
    asked = fit(one_off, "thin_plate", smoothing=0, extent=extent)
    assert asked.transform.kind == "thin_plate"
    assert any("folds" in words for words in asked.warnings)


def test_a_registration_is_printed_in_a_line() -> None:
    line = repr(fit(LANDMARKS, "affine"))
    assert line.startswith("Registration: affine · 9 landmarks · left out missed by ")
    none = Landmarks((), np.zeros((0, 2)), np.zeros((0, 2)))
    trust = Trust(False, ("too dark",), curve=(0.125, 0.25))
    found = Registration(none, fit(LANDMARKS).transform, np.zeros(0), np.zeros(0), source="automatic", trust=trust)
    assert repr(found).endswith(" · not trusted")
    assert "0.125" not in repr(trust)


def test_one_found_from_images_may_have_no_landmarks() -> None:
    none = Landmarks((), np.zeros((0, 2)), np.zeros((0, 2)))
    trust = Trust(False, ("too dark",), {"dice": 0.5, "unknown": float("nan")}, (0.1, 0.2))
    found = Registration(
        none, fit(LANDMARKS, "affine").transform, np.zeros(0), np.zeros(0), source="automatic", trust=trust
    )
    assert np.isnan(found.rms_um)
    again = Registration.from_dict(json.loads(found.to_json()))
    assert again.trust is not None
    assert again.trust.reasons == ("too dark",)
    assert again.trust.curve == (0.1, 0.2)
    assert np.isnan(again.trust.measures["unknown"])


def test_twice_as_many_landmarks_take_twice_as_many_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit follows every drag: each landmark may cost a few splines, and not one for every other landmark."""
    bend, bent = ThinPlateSpline.__post_init__, []

    def counted(spline: ThinPlateSpline) -> None:
        bent.append(len(spline.moving))
        bend(spline)

    monkeypatch.setattr(ThinPlateSpline, "__post_init__", counted)
    splines = []
    for n in (20, 40):
        moving = np.random.default_rng(5).uniform(0, 6000, (n, 2))
        bent.clear()
        fit(Landmarks(tuple(map(str, range(n))), moving, moving + RNG.normal(0, 50, moving.shape)))
        splines.append(len(bent))
    assert splines[0] <= 3 * 21
    assert splines[1] <= 3 * 41
