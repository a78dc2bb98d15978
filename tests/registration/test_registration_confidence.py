"""Confidence in a registration: does it say where the registration is wrong?"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from bent import simulated, true_spline
from napari_st2msi.errors import DataProblem, GeometryProblem
from napari_st2msi.pairing.pair import keep, pair_section, stored
from napari_st2msi.pipeline import apply_registration
from napari_st2msi.progress import Cancelled, Progress
from napari_st2msi.recipe import Pairing
from napari_st2msi.registration.agreement import expected_error
from napari_st2msi.registration.confidence import Confidence, confidence, keep_confidence
from napari_st2msi.registration.fit import fit
from napari_st2msi.registration.landmark_files import find_landmarks
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.registration.persistence import apply
from napari_st2msi.registration.registration import Registration
from napari_st2msi.registration.transforms import Affine, FreeForm
from napari_st2msi.section import CONFIDENCE, EXPECTED_ERROR, Section


def error_of(registration: Registration, section: Section, truth: object) -> np.ndarray:
    """Return the true distance in µm, at each spot, between where the MSI was laid and where it belongs."""
    spots = section.spots.centres
    return np.linalg.norm(registration.transform.forward(truth.pose.to_msi(spots)) - spots, axis=1)


def by_images(transform: Affine | FreeForm) -> Registration:
    nothing, none = np.zeros(0), np.zeros((0, 2))
    return Registration(Landmarks((), none, none), transform, nothing, nothing, source="automatic")


def half_wrong(section: Section) -> Registration:
    """Fit a spline to landmarks that on the right half of the tissue lie 290 µm off."""
    landmarks = find_landmarks(section)
    fixed = landmarks.fixed.copy()
    fixed[fixed[:, 0] > np.median(fixed[:, 0])] += [250, 150]
    return fit(Landmarks(landmarks.ids, landmarks.moving, fixed), "thin_plate", smoothing=0.0)


@pytest.fixture(scope="module")
def good() -> tuple[Section, object, Registration, Confidence]:
    section, truth = simulated()
    registration = fit(find_landmarks(section), "affine")
    return section, truth, registration, confidence(section, registration)


def test_it_follows_the_true_error(good) -> None:
    section, truth, registration, judged = good
    error = error_of(registration, section, truth)
    assert spearmanr(judged.value, -error).statistic > 0.6
    assert spearmanr(judged.error_um, error).statistic > 0.6
    # In µm, too, and not only in its order.
    assert np.median(judged.error_um) == pytest.approx(np.median(error), rel=0.5)
    assert judged.value.dtype == np.float32
    assert ((judged.value >= 0) & (judged.value <= 1)).all()
    assert judged.half_um == pytest.approx(50)
    assert judged.fingerprint == registration.fingerprint
    assert judged.warnings == ()


def test_the_wrong_half_is_found() -> None:
    section, truth = simulated()
    registration = half_wrong(section)
    error = error_of(registration, section, truth)
    judged = confidence(section, registration)
    assert spearmanr(judged.value, -error).statistic > 0.85
    assert np.median(judged.value[error > 200]) < 0.1
    assert np.median(judged.value[error < 30]) > 0.4


def test_what_lies_nowhere_near_is_not_trusted() -> None:
    """Half a turn: ions of other places lie everywhere, within the outline of the tissue."""
    section, truth = simulated()
    right = truth.true_msi_to_st
    centre = section.spots.centres.mean(axis=0)
    turn = np.diag([-1.0, -1.0, 1.0])
    turn[:2, 2] = 2 * centre
    assert np.median(confidence(section, by_images(Affine(right))).value) > 0.5
    wrong = confidence(section, by_images(Affine(turn @ right)))
    assert np.median(wrong.value) < 0.2
    assert np.median(wrong.error_um) > 100


def test_without_landmarks_genes_and_ions_decide(good) -> None:
    section, _, _, _ = good
    registration = by_images(true_spline().transform)
    judged = confidence(section, registration)
    assert np.isnan(judged.landmarks).all()
    assert np.isfinite(judged.value).all()
    assert np.median(judged.value) > np.median(good[3].value)


def test_with_values_that_say_nothing_landmarks_decide(good) -> None:
    section, _, registration, judged = good
    flat = Section(simulated()[0].sdata, section.roles)
    flat.sdata.tables["msi"].X = np.ones_like(flat.sdata.tables["msi"].X)
    only = confidence(flat, registration)
    assert "landmarks alone" in only.warnings[0]
    assert np.isnan(only.agreement).all()
    np.testing.assert_allclose(only.landmarks, judged.landmarks)
    near = np.linalg.norm(section.spots.centres[:, None] - registration.landmarks.fixed[None], axis=2).min(axis=1)
    assert spearmanr(only.value, -near).statistic > 0.95
    # Noise is no agreement either.
    rng = np.random.default_rng(0)
    noise = confidence(
        section,
        registration,
        genes=rng.normal(size=(section.st.n_obs, 5)),
        ions=rng.normal(size=(section.msi.n_obs, 5)),
    )
    assert np.median(noise.error_um) == pytest.approx(np.median(only.error_um), rel=0.3)


def test_a_stretch_and_a_fold_are_not_trusted() -> None:
    section, truth = simulated()
    centre = section.spots.centres.mean(axis=0)
    coefficients = np.zeros((30, 30, 2))
    coefficients[14:16, 14:16, 0] = 1500.0
    folded = by_images(FreeForm(truth.true_msi_to_st, centre - 14.5 * 300, np.full(2, 300.0), coefficients))
    judged = confidence(section, folded)
    near = np.abs(section.spots.centres - centre).max(axis=1)
    assert (judged.value[judged.jacobian == 0] == 0).all()
    assert (judged.jacobian == 0).any()
    assert judged.jacobian[near > 1500].min(initial=1) > 0.9


def test_single_cells_are_taken_together() -> None:
    """Cells of 10 µm under pixels of 50 µm: as many windows as the tissue has, not as there are cells."""
    from napari_st2msi.registration.agreement import local_agreement

    rng = np.random.default_rng(0)
    xy = rng.uniform(0, 1000, (5000, 2))
    pixels = np.stack(np.meshgrid(np.arange(20), np.arange(20)), axis=-1).reshape(-1, 2) * 50.0 + 25

    def wave(at: np.ndarray) -> np.ndarray:
        return np.column_stack([np.sin(at[:, 0] / 60), np.cos(at[:, 1] / 60)])

    found = local_agreement(xy, xy, pixels, wave(xy), wave(pixels), 50.0, np.eye(2))
    assert found.moved.shape[2] <= 41**2
    assert found.place.shape == found.here.shape == (5000,)
    assert np.median(found.here) > 0.9


def test_it_is_kept_by_the_spots_and_goes_along_into_pairing(good) -> None:
    section, _, registration, judged = good
    apply(section, registration)
    keep_confidence(section, judged)
    np.testing.assert_array_equal(section.st.obs[CONFIDENCE], judged.value)
    np.testing.assert_array_equal(section.sdata.tables["st"].obs[CONFIDENCE], judged.value)
    section.forget_caches()
    result = pair_section(section, Pairing())
    np.testing.assert_array_equal(result.dataset.obs[CONFIDENCE], judged.value[result.kept])
    keep(section, result)
    paired = stored(section)
    for side in (paired.genes, paired.ions):
        np.testing.assert_array_equal(side.obs[CONFIDENCE], judged.value[result.kept])
        np.testing.assert_array_equal(side.obs[EXPECTED_ERROR], judged.error_um[result.kept])


def test_it_belongs_to_its_own_spots(good) -> None:
    section, _, _, judged = good
    few = Section(simulated()[0].sdata, section.roles)
    few.sdata.tables["st"] = few.sdata.tables["st"][:100].copy()
    with pytest.raises(DataProblem, match="600 spots, but the section has 100"):
        keep_confidence(few, judged)


def test_what_cannot_be_judged_is_told(good) -> None:
    section, _, registration, _ = good
    far = by_images(Affine(np.array([[1.0, 0, 1e6], [0, 1, 1e6], [0, 0, 1]])))
    assert np.median(confidence(section, far).value) < 0.2

    class Nowhere(FreeForm):
        def inverse(self, xy: np.ndarray) -> np.ndarray:
            return np.full_like(xy, np.nan)

    nowhere = Nowhere(np.eye(3), np.zeros(2), np.full(2, 500.0), np.zeros((4, 4, 2)))
    with pytest.raises(GeometryProblem, match="no spot"):
        confidence(section, by_images(nowhere))
    with pytest.raises(Cancelled):
        confidence(section, registration, cancelled=lambda: True)


def test_perfect_landmarks_are_no_reason_to_know_nothing(good) -> None:
    """Where left-out errors are exactly 0 there is still a number."""
    error = expected_error(None, np.array([0.0, 1e-300, 20.0, np.nan]), 300.0)
    assert np.isfinite(error).all()
    assert error[0] == error[1] < error[2] < error[3]


def test_whoever_stops_applying_finds_the_section_as_it_was() -> None:
    section, _ = simulated()
    registration = fit(find_landmarks(section), "affine")
    said: list[float] = []
    progress = Progress(lambda fraction, _: said.append(fraction))
    with pytest.raises(Cancelled):
        apply_registration(section, registration, progress=progress, cancelled=lambda: len(said) > 5)
    assert not section.registered
    assert "registration" not in section.attrs
    assert CONFIDENCE not in section.st.obs
    apply_registration(section, registration, progress=progress)
    assert section.registered
    np.testing.assert_array_equal(section.st.obs[CONFIDENCE], confidence(section, registration).value)
