"""A registration inside a section, and for other readers of the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from bent import simulated, true_spline
from napari_st2msi.errors import DataProblem, FileProblem, GeometryProblem
from napari_st2msi.io.build import build_section
from napari_st2msi.pairing.pair import stale
from napari_st2msi.pipeline import pair, register
from napari_st2msi.recipe import Pairing
from napari_st2msi.registration.fit import fit
from napari_st2msi.registration.landmark_files import find_landmarks
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.registration.persistence import MOST_KEPT, apply, history, registration_of, transform_of
from napari_st2msi.registration.registration import Registration
from napari_st2msi.registration.transforms import Affine, FreeForm, ThinPlateSpline
from napari_st2msi.section import CONFIDENCE, MSI_SYSTEM, SYSTEM, Section

TRUTH = np.array([[0.0, -1.05, 900.0], [-0.95, 0.0, 900.0], [0, 0, 1]])  # a quarter turn and a mirror
MOVING = np.array([[50, 50], [850, 80], [100, 800], [700, 700], [400, 300], [650, 200.0]])
LANDMARKS = Landmarks(tuple("abcdef"), MOVING, MOVING @ TRUTH[:2, :2].T + TRUTH[:2, 2])


def nodes(n: int, pitch: float) -> np.ndarray:
    x, y = np.meshgrid(np.arange(n), np.arange(n))
    return np.column_stack([x.ravel(), y.ravel()]) * pitch


def section_of() -> Section:
    xy = nodes(9, 100.0) + 50
    st = AnnData(np.ones((81, 2), np.float32), obs=pd.DataFrame(index=[f"s{i}" for i in range(81)]))
    msi_xy = nodes(18, 50.0) + 25
    # An ion that says where its pixel lies on the ST side.
    x = msi_xy @ TRUTH[0, :2] + TRUTH[0, 2]
    msi = AnnData(x[:, None].astype(np.float32), var=pd.DataFrame({"mz": [500.0]}, index=["x"]))
    msi.X -= msi.X.min()
    return build_section(name="one", st=st, st_xy=xy, spot_diameter_um=55, msi=msi, msi_xy=msi_xy, pixel_size_um=50.0)


def test_msi_lies_over_st_afterwards() -> None:
    section = section_of()
    assert registration_of(section) is None
    own = section.pixels(MSI_SYSTEM).centres
    apply(section, fit(LANDMARKS))
    assert section.registered
    np.testing.assert_allclose(section.msi_to_st, TRUTH, atol=1e-8)
    np.testing.assert_allclose(section.pixels().centres, own @ TRUTH[:2, :2].T + TRUTH[:2, 2])
    np.testing.assert_allclose(section.pixels(MSI_SYSTEM).centres, own)  # the original stays
    kept = registration_of(section)
    assert kept is not None
    assert kept.to_dict() == fit(LANDMARKS).to_dict()


def test_registering_again_replaces_and_keeps_what_was_disabled() -> None:
    section = section_of()
    apply(section, fit(LANDMARKS.without("c"), "similarity"))
    assert find_landmarks(section).enabled.tolist() == [True, True, False, True, True, True]
    apply(section, fit(find_landmarks(section), "affine"))
    np.testing.assert_allclose(section.msi_to_st, TRUTH, atol=1e-8)
    # The landmarks are where they were, not moved twice.
    np.testing.assert_allclose(find_landmarks(section).moving, MOVING)


def test_what_was_disabled_outlives_a_registration_without_landmarks() -> None:
    section = section_of()
    apply(section, fit(LANDMARKS.without("c")))
    none = Landmarks((), np.zeros((0, 2)), np.zeros((0, 2)))
    apply(section, Registration(none, Affine(TRUTH), np.zeros(0), np.zeros(0), source="automatic"))
    assert find_landmarks(section).enabled.tolist() == [True, True, False, True, True, True]


@pytest.mark.parametrize("damaged", [{"landmarks": 3}, {"landmarks": {"ids": ["c"]}}, {"landmarks": {}}])
def test_landmarks_are_found_where_the_registration_is_damaged(damaged: dict[str, object]) -> None:
    section = section_of()
    apply(section, fit(LANDMARKS))
    section.remember(registration=damaged)
    assert find_landmarks(section).enabled.all()


def test_other_elements_of_the_msi_go_along_and_keep_their_own_systems() -> None:
    from spatialdata import get_extent
    from spatialdata.models import Image2DModel
    from spatialdata.transformations import Identity, Scale, get_transformation

    section = section_of()
    tic = Image2DModel.parse(
        np.ones((1, 18, 18)),
        dims=("c", "y", "x"),
        transformations={MSI_SYSTEM: Scale([50.0, 50.0], ("x", "y")), "global": Identity()},
    )
    section.sdata["tic"] = tic
    apply(section, fit(LANDMARKS))
    assert set(get_transformation(section.sdata["tic"], get_all=True)) == {MSI_SYSTEM, SYSTEM, "global"}
    image, pixels = (get_extent(section.sdata[name], coordinate_system=SYSTEM) for name in ("tic", "msi_pixels"))
    np.testing.assert_allclose([image["x"], image["y"]], [pixels["x"], pixels["y"]])


def test_plain_spatialdata_opens_it_aligned(tmp_path: Path) -> None:
    from spatialdata import get_centroids, read_zarr

    section = section_of()
    apply(section, fit(LANDMARKS.without("f")))
    section.sdata.write(tmp_path / "one.zarr")
    sdata = read_zarr(tmp_path / "one.zarr")
    moved = get_centroids(sdata["msi_pixels"], coordinate_system=SYSTEM).compute().to_numpy()
    np.testing.assert_allclose(moved, section.pixels().centres)
    for name, system in (("landmarks_msi", SYSTEM), ("landmarks_st", SYSTEM), ("landmarks_msi", MSI_SYSTEM)):
        expected = MOVING if system == MSI_SYSTEM else LANDMARKS.fixed
        found = get_centroids(sdata[name], coordinate_system=system).compute()[["x", "y"]].to_numpy()
        np.testing.assert_allclose(found, expected, atol=1e-6)
    again = Section(sdata, section.roles, name="one")
    kept = registration_of(again)
    assert kept is not None
    assert kept.landmarks.enabled.tolist() == [True] * 5 + [False]


def test_aligned_by_another_tool_since() -> None:
    from spatialdata.transformations import Identity, set_transformation

    section = section_of()
    apply(section, fit(LANDMARKS))
    set_transformation(section.sdata["msi_pixels"], Identity(), SYSTEM)
    assert registration_of(section) is None


def test_register_then_pair_gives_each_spot_its_place() -> None:
    section = section_of()
    registration = register(section, LANDMARKS)
    assert registration.rms_um == pytest.approx(0, abs=1e-6)
    paired = pair(section, Pairing(min_coverage=1))
    assert len(paired) > 40
    expected = paired.xy[:, 0] - paired.xy[:, 0].mean()
    # Pixels of 50 µm say where a spot is to a few µm; one off by a pixel would be ten times that.
    np.testing.assert_allclose(paired.ions.X[:, 0] - paired.ions.X.mean(), expected, atol=6)
    assert stale(section) is None
    register(section, Landmarks(LANDMARKS.ids, MOVING, LANDMARKS.fixed + [0, 25]))
    assert "up to 25.0 µm" in (stale(section) or "")


def test_a_section_without_msi_cannot_be_registered() -> None:
    st = AnnData(np.ones((3, 2), np.float32), obs=pd.DataFrame(index=list("abc")))
    section = build_section(st=st, st_xy=nodes(2, 100.0)[:3], spot_diameter_um=55)
    with pytest.raises(DataProblem, match="no table of ions"):
        apply(section, fit(LANDMARKS))


# -- what bends -------------------------------------------------------------------------------------


def free_form() -> Registration:
    """A free-form transform without any landmark, as images give it."""
    coefficients = np.random.default_rng(0).normal(0, 20, (8, 8, 2))
    transform = FreeForm(TRUTH, np.array([-200.0, -200]), np.array([200.0, 200]), coefficients)
    nothing = np.zeros(0)
    return Registration(Landmarks((), np.zeros((0, 2)), np.zeros((0, 2))), transform, nothing, nothing)


def test_a_spline_is_kept_exactly_and_as_the_nearest_affine() -> None:
    section, truth = simulated()
    spline = true_spline()
    own = section.pixels(MSI_SYSTEM)
    apply(section, spline)
    assert section.warped_element == "msi_pixels_warped"
    exact = section.pixels()
    np.testing.assert_allclose(exact.centres, spline.transform.forward(own.centres), atol=1e-6)
    np.testing.assert_allclose(
        exact.corners.reshape(-1, 2), spline.transform.forward(own.corners.reshape(-1, 2)), atol=1e-6
    )
    np.testing.assert_allclose(section.msi_xy_in_st, truth.pose.to_st(own.centres), atol=2.5)
    np.testing.assert_allclose(section.msi_to_st, spline.transform.nearest_affine(own.centres), atol=1e-8)
    # The affine alone would be far off, so that this says something.
    straight = own.centres @ section.msi_to_st[:2, :2].T + section.msi_to_st[:2, 2]
    assert np.linalg.norm(straight - exact.centres, axis=1).max() > 50
    np.testing.assert_allclose(section.pixels(MSI_SYSTEM).centres, own.centres)
    kept = registration_of(section)
    assert kept is not None
    assert isinstance(kept.transform, ThinPlateSpline)
    assert kept.fingerprint == spline.fingerprint
    np.testing.assert_allclose(transform_of(section).forward(own.centres), exact.centres, atol=1e-9)


def test_bent_pixels_keep_their_instances_in_any_order() -> None:
    section, _ = simulated()
    table = section.sdata.tables["msi"]
    section.sdata.tables["msi"] = table[np.random.default_rng(0).permutation(table.n_obs)].copy()
    section.forget_caches()
    apply(section, true_spline())
    bent = section.sdata["msi_pixels_warped"]
    assert set(bent.index) == set(section.sdata["msi_pixels"].index)
    expected = true_spline().transform.forward(np.asarray(section.msi.obsm["spatial"]))
    np.testing.assert_allclose(section.msi_xy_in_st, expected, atol=1e-6)


def test_free_form_without_landmarks_leaves_those_of_the_section() -> None:
    section = section_of()
    apply(section, fit(LANDMARKS))
    found = free_form()
    apply(section, found)
    own = section.pixels(MSI_SYSTEM).centres
    np.testing.assert_allclose(section.msi_xy_in_st, found.transform.forward(own), atol=1e-9)
    np.testing.assert_allclose(find_landmarks(section).moving, MOVING)
    kept = registration_of(section)
    assert kept is not None
    assert kept.transform.to_dict() == found.transform.to_dict()


def test_an_affine_afterwards_takes_bent_pixels_away() -> None:
    section = section_of()
    apply(section, free_form())
    assert section.warped_element is not None
    apply(section, fit(LANDMARKS, "affine"))
    assert section.warped_element is None
    assert "msi_pixels_warped" not in section.sdata
    own = section.pixels(MSI_SYSTEM).centres
    np.testing.assert_allclose(section.pixels().centres, own @ TRUTH[:2, :2].T + TRUTH[:2, 2])


def test_a_spline_that_another_tool_realigned_no_longer_holds() -> None:
    from spatialdata.transformations import Identity, set_transformation

    section = section_of()
    apply(section, free_form())
    set_transformation(section.sdata["msi_pixels"], Identity(), SYSTEM)
    assert section.warped_element is None
    assert registration_of(section) is None
    np.testing.assert_allclose(section.pixels().centres, section.pixels(MSI_SYSTEM).centres)
    np.testing.assert_allclose(transform_of(section).matrix, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("geometry", ["discs", "labels"])
def test_pixels_without_outlines_fill_their_grid(geometry: str) -> None:
    from spatialdata.models import Labels2DModel, ShapesModel
    from spatialdata.transformations import Identity, Scale

    section = section_of()
    xy = section.pixels(MSI_SYSTEM).centres
    del section.sdata["msi_pixels"]
    if geometry == "discs":
        element = ShapesModel.parse(xy, geometry=0, radius=25.0, transformations={MSI_SYSTEM: Identity()})
    else:
        # Labels begin at 1: 0 is the background.
        image = np.arange(1, len(xy) + 1).reshape(18, 18)
        scale = Scale([50.0, 50.0], ("x", "y"))
        element = Labels2DModel.parse(image, dims=("y", "x"), transformations={MSI_SYSTEM: scale})
        table = section.sdata.tables["msi"]
        table.obs["instance"] = np.arange(1, len(xy) + 1)
    section.sdata["msi_pixels"] = element
    section.forget_caches()
    found = free_form()
    apply(section, found)
    assert section.warped_element == "msi_pixels_warped"
    bent = section.pixels()
    np.testing.assert_allclose(bent.centres, found.transform.forward(xy), atol=1e-6)
    jacobian = np.abs(np.linalg.det(found.transform.jacobian(xy)))
    np.testing.assert_allclose(bent.area, jacobian * 2500, rtol=0.02)
    assert len(pair(section, Pairing())) > 40


def test_a_transform_that_leaves_the_plane_changes_nothing() -> None:
    section = section_of()
    apply(section, fit(LANDMARKS))
    before = section.msi_to_st

    class Broken(ThinPlateSpline):
        def forward(self, xy: np.ndarray) -> np.ndarray:
            return np.where(xy[:, :1] > 400, np.inf, super().forward(xy))

    spline = fit(LANDMARKS, "thin_plate")
    broken = Registration(
        LANDMARKS, Broken(spline.transform.moving, spline.transform.fixed), spline.residuals_um, spline.left_out_um
    )
    with pytest.raises(GeometryProblem, match="to infinity"):
        apply(section, broken)
    np.testing.assert_array_equal(section.msi_to_st, before)
    assert registration_of(section) is not None
    assert not history(section)


def test_earlier_registrations_are_kept_with_the_newest_last(tmp_path: Path) -> None:
    from datetime import datetime

    section = section_of()
    assert history(section) == ()
    first, second = fit(LANDMARKS, "affine"), fit(LANDMARKS, "thin_plate")
    apply(section, first)
    apply(section, second)
    apply(section, second)  # again the same: nothing to remember
    apply(section, fit(LANDMARKS, "similarity"))
    past = history(section)
    assert [earlier.registration.transform.kind for earlier in past] == ["affine", "thin_plate"]
    assert all(datetime.fromisoformat(earlier.applied).utcoffset().total_seconds() == 0 for earlier in past)
    # Going back is applying again, and what was left is remembered.
    apply(section, past[-1].registration)
    assert registration_of(section).fingerprint == second.fingerprint
    assert history(section)[-1].registration.transform.kind == "similarity"
    for shift in range(MOST_KEPT + 5):
        apply(section, fit(Landmarks(LANDMARKS.ids, MOVING, LANDMARKS.fixed + shift), "affine"))
    assert len(history(section)) == MOST_KEPT
    section.sdata.write(tmp_path / "one.zarr")


def test_a_damaged_history_is_told() -> None:
    section = section_of()
    section.remember(registration_history=["nonsense"])
    with pytest.raises(FileProblem, match="history"):
        history(section)


def test_an_alignment_by_others_is_remembered_too() -> None:
    from spatialdata.transformations import Identity, set_transformation

    section = section_of()
    set_transformation(section.sdata["msi_pixels"], Identity(), SYSTEM)
    apply(section, fit(LANDMARKS, "affine"))
    (came,) = history(section)
    np.testing.assert_allclose(came.registration.transform.matrix, np.eye(3))
    assert "another tool" in came.registration.warnings[0]
    apply(section, came.registration)
    np.testing.assert_allclose(section.msi_to_st, np.eye(3))


def test_a_damaged_registration_can_be_made_anew() -> None:
    section = section_of()
    apply(section, fit(LANDMARKS, "affine"))
    section.remember(registration={"version": 2, "transform": "nonsense"})
    with pytest.raises(FileProblem, match="Register the section again"):
        registration_of(section)
    apply(section, fit(LANDMARKS, "affine"))
    assert registration_of(section) is not None
    # Where the MSI lay is known, and can be gone back to.
    assert [one.registration.transform.kind for one in history(section)] == ["affine"]


def test_a_registration_of_version_1_still_opens() -> None:
    section = section_of()
    apply(section, fit(LANDMARKS, "affine"))
    new = section.attrs["registration"]
    names = ("transform", "landmarks", "residuals_um", "left_out_um", "rms_um", "reflects", "fingerprint", "warnings")
    section.remember(registration={"version": 1, **{name: new[name] for name in names}}, warped=None)
    del section.sdata.attrs["st2msi"]["registration_history"]
    kept = registration_of(section)
    assert kept is not None
    np.testing.assert_allclose(kept.transform.matrix, TRUTH, atol=1e-8)
    assert history(section) == ()
    apply(section, fit(LANDMARKS, "thin_plate"))
    assert [(one.applied, one.registration.transform.kind) for one in history(section)] == [("", "affine")]


def test_pairing_under_a_spline_is_stale_after_another_spline() -> None:
    section = section_of()
    found = free_form()
    apply(section, found)
    pair(section, Pairing())
    assert stale(section) is None
    # The same nearest affine, but bent otherwise: only the registration itself tells them apart.
    section.remember(registration={**section.attrs["registration"], "fingerprint": "another"})
    assert "registration changed" in (stale(section) or "")
    apply(section, found)
    assert stale(section) is None
    apply(section, fit(LANDMARKS))
    assert "registration changed" in (stale(section) or "")


def test_a_new_registration_takes_the_confidence_of_the_one_before_away() -> None:
    section = section_of()
    apply(section, fit(LANDMARKS))
    section.sdata.tables["st"].obs[CONFIDENCE] = 0.5
    section.forget_caches()
    assert CONFIDENCE in section.st.obs
    apply(section, fit(LANDMARKS, "similarity"))
    assert CONFIDENCE not in section.st.obs
