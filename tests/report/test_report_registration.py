"""The picture of a registration: what is drawn, what is said about errors, and how it is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_st2msi import simulate
from napari_st2msi.errors import DataProblem, FileProblem
from napari_st2msi.io.build import build_section
from napari_st2msi.registration.fit import fit
from napari_st2msi.registration.landmark_files import find_landmarks
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.registration.registration import Registration, Trust
from napari_st2msi.registration.transforms import Affine
from napari_st2msi.registration.views import msi_view, st_view
from napari_st2msi.report.registration import error_words, overlay_figure, write_overlay
from napari_st2msi.section import Section

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def section() -> Section:
    return simulate(n_spots=300, n_genes=60, ions_per_kind=2, seed=5).sections[0]


@pytest.fixture(scope="module")
def registration(section: Section) -> Registration:
    landmarks = find_landmarks(section)
    return fit(landmarks.without(landmarks.ids[0]), "affine")


def without_landmarks(section: Section, *, trusted: bool) -> Registration:
    none = Landmarks((), np.zeros((0, 2)), np.zeros((0, 2)))
    trust = Trust(trusted, ("Both halves agree." if trusted else "Two ways to lay it are alike.",))
    matrix = fit(find_landmarks(section), "affine").transform.matrix
    assert matrix is not None
    return Registration(none, Affine(matrix), np.zeros(0), np.zeros(0), source="automatic", trust=trust)


def test_three_panels_of_the_same_place(section: Section, registration: Registration) -> None:
    figure = overlay_figure(section, registration)
    stain, over, tiles = figure.axes
    assert stain.get_title(loc="left") == "histology"
    assert over.get_title(loc="left") == "over it: total ion current"
    assert tiles.get_title(loc="left").startswith("tiles of ")
    assert len({(axis.get_xlim(), axis.get_ylim()) for axis in figure.axes}) == 1
    low, high = section.spots.centres.min(axis=0), section.spots.centres.max(axis=0)
    assert stain.get_xlim()[0] < low[0] < high[0] < stain.get_xlim()[1]
    assert stain.get_ylim()[1] < low[1] < high[1] < stain.get_ylim()[0]  # y points down
    base, blend, board = (np.asarray(axis.images[0].get_array(), dtype=int) for axis in figure.axes)
    changed = (blend != base).any(axis=2)
    assert 0.3 < changed.mean() < 1
    assert (board != base).any(axis=2).sum() == pytest.approx(changed.sum() / 2, rel=0.25)


def test_landmarks_and_how_far_they_are_missed(section: Section, registration: Registration) -> None:
    axis = overlay_figure(section, registration).axes[0]
    lines, used, unused = axis.collections
    landmarks = registration.landmarks
    assert len(lines.get_segments()) == len(landmarks)
    lengths = [np.linalg.norm(line[1] - line[0]) for line in lines.get_segments()]
    np.testing.assert_allclose(lengths, registration.residuals_um)
    np.testing.assert_allclose(used.get_offsets(), landmarks.fixed[landmarks.enabled])
    np.testing.assert_allclose(unused.get_offsets(), landmarks.fixed[:1])


def test_words_about_errors(section: Section, registration: Registration) -> None:
    error = registration.left_out
    count = int(registration.landmarks.enabled.sum())
    assert error_words(registration) == (
        f"{count} landmarks; each, predicted from the others, is missed by {error['median']:.0f} µm (median), "
        f"{error['max']:.0f} µm at most."
    )
    ids = registration.landmarks.ids
    three = fit(registration.landmarks.without(*ids[4:]), "affine")
    assert error_words(three) == "3 landmarks: too few to tell the error where nobody clicked."
    assert error_words(without_landmarks(section, trusted=True)) == "Found from images. Both halves agree."
    words = error_words(without_landmarks(section, trusted=False))
    assert words == "Found from images, and not to be trusted: Two ways to lay it are alike."


def test_written_in_one_step(section: Section, registration: Registration, tmp_path: Path) -> None:
    path = tmp_path / "overlay.png"
    path.write_text("what was there")
    assert write_overlay(path, section, registration) == path
    with Image.open(path) as image:
        assert image.width > 1000
    assert [each.name for each in tmp_path.iterdir()] == ["overlay.png"]
    with pytest.raises(FileProblem, match=r"nowhere/overlay\.png' could not be written"):
        write_overlay(tmp_path / "nowhere" / "overlay.png", section, registration)


def test_other_pictures_and_sections_without_stain(section: Section, registration: Registration) -> None:
    found = without_landmarks(section, trusted=True)
    spots = build_section(
        name="spots",
        st=section.st,
        st_xy=section.spots.centres,
        spot_diameter_um=55,
        msi=section.msi,
        msi_xy=np.asarray(section.msi.obsm["spatial"]),
        pixel_size_um=50,
    )
    figure = overlay_figure(spots, found)
    assert figure.axes[0].get_title(loc="left") == "total counts"
    shown = overlay_figure(section, found, fixed=st_view(section, "clusters"), moving=msi_view(section, "segmentation"))
    assert shown.axes[1].get_title(loc="left").startswith("over it: segments")
    alone = build_section(
        name="alone", msi=section.msi, msi_xy=np.asarray(section.msi.obsm["spatial"]), pixel_size_um=50
    )
    with pytest.raises(DataProblem, match="neither histology nor ST"):
        overlay_figure(alone, replace(found))
