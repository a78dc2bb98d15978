"""Landmarks and where they come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from napari_st2msi.errors import DataProblem, FileProblem, GeometryProblem
from napari_st2msi.io.build import build_section
from napari_st2msi.io.landmarks import landmark_elements
from napari_st2msi.registration.landmark_files import find_landmarks
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.section import Section

MOVING = np.array([[0, 0], [900, 50], [100, 800], [700, 700.0]])
FIXED = MOVING @ np.array([[1.1, 0], [0, -0.9]]) + [40, 900]


def section_of(*, image: bool = False) -> Section:
    x, y = np.meshgrid(np.arange(10), np.arange(9))
    xy = np.column_stack([x.ravel(), y.ravel()]) * 100.0
    spots = AnnData(np.ones((2, 1), np.float32), obs=pd.DataFrame(index=["a", "b"]))
    msi = AnnData(np.ones((90, 1), np.float32), var=pd.DataFrame({"mz": [500.0]}, index=["mz500"]))
    section = build_section(
        name="one",
        st=spots,
        st_xy=np.array([[0, 0], [800.0, 800]]),
        spot_diameter_um=55,
        msi=msi,
        msi_xy=xy,
        pixel_size_um=100,
    )
    if image:
        from spatialdata.transformations import Scale

        from napari_st2msi.io.build import histology_element

        picture = np.zeros((40, 40, 3), dtype=np.uint8)
        section.sdata["x_hires_image"] = histology_element(picture, {"st2msi": Scale([25.0, 25.0], ("x", "y"))})
    return section


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_landmarks_given_are_taken_as_they_are() -> None:
    landmarks = Landmarks(("a", "b", "c", "d"), MOVING, FIXED)
    assert find_landmarks(section_of(), landmarks) is landmarks
    assert landmarks.enabled.all()
    assert landmarks.without("b", "d").enabled.tolist() == [True, False, True, False]
    with pytest.raises(DataProblem, match="no landmark z"):
        landmarks.without("z")


def test_landmarks_of_the_section() -> None:
    section = section_of()
    with pytest.raises(DataProblem, match="carries no landmarks"):
        find_landmarks(section)
    for name, element in landmark_elements(["p", "q", "r", "s"], MOVING, FIXED).items():
        section.sdata[name] = element
    found = find_landmarks(section)
    assert found.ids == ("p", "q", "r", "s")
    np.testing.assert_allclose(found.moving, MOVING)
    np.testing.assert_allclose(found.fixed, FIXED)


def test_landmarks_from_a_csv(tmp_path: Path) -> None:
    frame = pd.DataFrame(np.hstack([MOVING, FIXED]), columns=["msi_x_um", "msi_y_um", "st_x_um", "st_y_um"])
    frame.to_csv(tmp_path / "plain.csv", index=False)
    frame.assign(id=["p", "q", "r", "s"]).to_csv(tmp_path / "named.csv", index=False)
    assert find_landmarks(section_of(), tmp_path / "plain.csv").ids == ("1", "2", "3", "4")
    named = find_landmarks(section_of(), str(tmp_path / "named.csv"))
    assert named.ids == ("p", "q", "r", "s")
    np.testing.assert_allclose(named.moving, MOVING)
    np.testing.assert_allclose(named.fixed, FIXED)


def test_landmarks_in_magpie_units(tmp_path: Path) -> None:
    path = tmp_path / "landmarks_noHE.csv"
    columns = ["X_left", "Y_left", "X_right", "Y_right"]
    pd.DataFrame(np.hstack([MOVING / 100, FIXED / 25]), columns=columns).to_csv(path, index=False)
    found = find_landmarks(section_of(image=True), path)
    np.testing.assert_allclose(found.moving, MOVING)
    np.testing.assert_allclose(found.fixed, FIXED)
    with pytest.raises(GeometryProblem, match="hires image"):
        find_landmarks(section_of(), path)
    pd.DataFrame(np.hstack([MOVING, FIXED]), columns=columns).to_csv(path, index=False)
    with pytest.raises(GeometryProblem, match="outside the MSI"):
        find_landmarks(section_of(image=True), path)


def test_files_that_are_no_landmarks(tmp_path: Path) -> None:
    section = section_of()
    with pytest.raises(FileProblem, match="cannot be read"):
        find_landmarks(section, tmp_path / "nowhere.csv")
    with pytest.raises(FileProblem, match="cannot be read"):
        find_landmarks(section, write(tmp_path / "empty.csv", ""))
    with pytest.raises(DataProblem, match="lacks the columns st_x_um, st_y_um"):
        find_landmarks(section, write(tmp_path / "half.csv", "msi_x_um,msi_y_um\n1,2\n"))
    header = "id,msi_x_um,msi_y_um,st_x_um,st_y_um\n"
    with pytest.raises(DataProblem, match="column msi_y_um: 'left' is not a number"):
        find_landmarks(section, write(tmp_path / "text.csv", header + "a,1,left,3,4\n"))
    with pytest.raises(DataProblem, match="Landmark b has no position on the ST side"):
        find_landmarks(section, write(tmp_path / "gap.csv", header + "a,1,2,3,4\nb,5,6,,8\n"))
    with pytest.raises(DataProblem, match="are the same pair of points"):
        find_landmarks(section, write(tmp_path / "twice.csv", header + "a,1,2,3,4\nb,1,2,3,4\n"))


def test_sides_must_agree() -> None:
    with pytest.raises(DataProblem, match="4 landmarks on the MSI side and 3 on the ST side"):
        Landmarks(("a", "b", "c", "d"), MOVING, FIXED[:3])
    with pytest.raises(DataProblem, match="MSI side"):
        Landmarks(("a", "b", "c", "d"), np.where(MOVING == 50, np.nan, MOVING), FIXED)
