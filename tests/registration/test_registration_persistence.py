"""A registration inside a section, and for other readers of the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from napari_st2msi.errors import DataProblem
from napari_st2msi.io.build import build_section
from napari_st2msi.pairing.pair import stale
from napari_st2msi.pipeline import pair, register
from napari_st2msi.recipe import Pairing
from napari_st2msi.registration.fit import fit
from napari_st2msi.registration.landmark_files import find_landmarks
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.registration.persistence import apply, registration_of
from napari_st2msi.section import MSI_SYSTEM, SYSTEM, Section

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
