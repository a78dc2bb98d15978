"""Displacement fields as ITK reads them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from bent import on_a_grid, simulated, true_spline
from napari_st2msi.errors import FileProblem, GeometryProblem
from napari_st2msi.progress import Cancelled
from napari_st2msi.registration import displacement
from napari_st2msi.registration.displacement import write_displacement_field
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.registration.registration import Registration
from napari_st2msi.registration.transforms import FreeForm, transform_class


def registration_of_kind(kind: str) -> Registration:
    section, truth = simulated()
    if kind == "free_form":
        nothing, none = np.zeros(0), np.zeros((0, 2))
        coefficients = np.random.default_rng(0).normal(0, 60, (12, 12, 2))
        transform = FreeForm(truth.true_msi_to_st, np.array([-500.0, -500]), np.array([400.0, 400]), coefficients)
        return Registration(Landmarks((), none, none), transform, nothing, nothing)
    if kind == "thin_plate":
        return true_spline()
    landmarks = on_a_grid(section, truth, 4)
    transform = transform_class(kind).fit(landmarks.moving, landmarks.fixed)
    return Registration(landmarks, transform, np.zeros(16), np.zeros(16))


@pytest.mark.parametrize("ending", [".mha", ".nrrd"])
@pytest.mark.parametrize("kind", ["affine", "projective", "thin_plate", "free_form"])
def test_itk_maps_points_as_the_transform_does(tmp_path: Path, kind: str, ending: str) -> None:
    section, _ = simulated()
    registration = registration_of_kind(kind)
    path = write_displacement_field(section, registration, tmp_path / f"field{ending}")
    field = sitk.DisplacementFieldTransform(sitk.ReadImage(str(path), sitk.sitkVectorFloat64))
    # Where spots and pixels are, which no node of the grid is.
    places = np.concatenate([section.spots.centres, registration.transform.forward(section.msi.obsm["spatial"])])
    found = np.array([field.TransformPoint(place) for place in places])
    away = np.linalg.norm(found - registration.transform.inverse(places), axis=1)
    assert away.max() < 1.0
    assert [entry.name for entry in tmp_path.iterdir()] == [f"field{ending}"]


def test_itk_resamples_the_msi_onto_the_st(tmp_path: Path) -> None:
    """An image of the MSI, resampled with the field, shows at each spot what the MSI has there."""
    section, truth = simulated()
    registration = true_spline()
    field = sitk.ReadImage(
        str(write_displacement_field(section, registration, tmp_path / "f.mha")), sitk.sitkVectorFloat64
    )
    grid = section.msi_grid
    _, columns = np.indices(grid.index.shape)
    moving = sitk.GetImageFromArray((columns * grid.pitch[0] + grid.to_um[0, 2]).astype(np.float64))
    moving.SetSpacing(grid.pitch)
    moving.SetOrigin(grid.to_um[:2, 2].tolist())
    fixed = sitk.Image(80, 80, sitk.sitkFloat64)
    low = section.spots.centres.min(axis=0)
    fixed.SetOrigin(low.tolist())
    fixed.SetSpacing([25.0, 25.0])
    transform = sitk.DisplacementFieldTransform(field)
    seen = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, transform, sitk.sitkLinear, np.nan))
    row, column = np.nonzero(np.isfinite(seen))
    assert len(row) > 1000
    expected = truth.pose.to_msi(np.column_stack([column, row]) * 25.0 + low)[:, 0]
    assert np.median(np.abs(seen[row, column] - expected)) < 1.0


def test_what_is_in_the_way_is_told(tmp_path: Path) -> None:
    section, registration = simulated()[0], true_spline()
    with pytest.raises(FileProblem, match=r"ends in \.mha or \.nrrd"):
        write_displacement_field(section, registration, tmp_path / "field.tif")
    with pytest.raises(FileProblem, match="does not exist"):
        write_displacement_field(section, registration, tmp_path / "missing" / "field.mha")
    (tmp_path / "folder.mha").mkdir()
    with pytest.raises(FileProblem, match="is a folder"):
        write_displacement_field(section, registration, tmp_path / "folder.mha")


@pytest.mark.parametrize(
    ("what", "message"), [("full", "disk is full"), ("cut", "disk is full"), ("itk", "could not be written")]
)
def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, message: str
) -> None:
    section, registration = simulated()[0], true_spline()
    old = tmp_path / "field.mha"
    old.write_text("the old one")

    def fails(image: object, name: str, **_: object) -> None:
        if what == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if what == "itk":
            raise RuntimeError("Exception thrown in SimpleITK ImageFileWriter_Execute: ...")
        Path(name).write_bytes(b"cut off")  # what ITK leaves of a full disk, without a word

    monkeypatch.setattr(sitk, "WriteImage", fails)
    with pytest.raises(FileProblem, match=message):
        write_displacement_field(section, registration, old)
    assert old.read_text() == "the old one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["field.mha"]


def test_a_place_that_may_not_be_written_is_told() -> None:
    if not Path("/proc/self").is_dir():
        pytest.skip("no /proc here to be refused by")
    with pytest.raises(FileProblem, match=r"may not write|could not be written"):
        write_displacement_field(simulated()[0], true_spline(), "/proc/self/field.mha")


def test_a_fold_is_bridged_where_it_is_small_and_refused_where_it_is_large() -> None:
    class Folds(FreeForm):
        """Leads back to nowhere from a part of the ST."""

        share = 0.02

        def inverse(self, xy: np.ndarray) -> np.ndarray:
            back = np.array(xy, dtype=float)
            back[xy[:, 0] < 1000 * self.share] = np.nan
            return back

    folds = Folds(np.eye(3), np.zeros(2), np.full(2, 500.0), np.zeros((4, 4, 2)))
    low, high = np.zeros(2), np.full(2, 1000.0)
    vectors, spacing = displacement.displacement_field(folds, low, high)
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(vectors, 0, atol=1e-6)
    assert spacing > 0
    Folds.share = 0.5
    with pytest.raises(GeometryProblem, match="folds"):
        displacement.displacement_field(folds, low, high)


def test_it_can_be_stopped(tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        write_displacement_field(simulated()[0], true_spline(), tmp_path / "field.mha", cancelled=lambda: True)
    assert not list(tmp_path.iterdir())
