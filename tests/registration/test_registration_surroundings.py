"""What of a section a fit is judged by, and the steps of the pipeline that register it."""

from __future__ import annotations

import numpy as np
import pytest

import napari_st2msi as st2msi
from napari_st2msi.io.build import build_section
from napari_st2msi.registration.surroundings import Surroundings, surroundings
from napari_st2msi.section import MSI_SYSTEM


@pytest.fixture(scope="module")
def section() -> st2msi.Section:
    return st2msi.simulate(n_spots=300, n_genes=80, ions_per_kind=3, image_px=256, warp_um=40).sections[0]


def test_sizes_and_extents_are_those_of_the_section(section: st2msi.Section) -> None:
    around = surroundings(section)
    assert around.pixel_size_um == 50
    assert around.spot_pitch_um == pytest.approx(100)
    pixels = section.pixels(MSI_SYSTEM).centres
    assert around.extent is not None
    assert len(around.extent) < 1600
    np.testing.assert_allclose(around.extent.min(axis=0), pixels.min(axis=0))
    np.testing.assert_allclose(around.extent.max(axis=0), pixels.max(axis=0))
    assert around.fixed_extent is not None
    # The histology reaches beyond the spots.
    assert (around.fixed_extent.min(axis=0) < section.spots.centres.min(axis=0)).all()


def test_a_section_that_lacks_a_side(section: st2msi.Section) -> None:
    only = build_section(msi=section.msi, msi_xy=section.msi.obsm["spatial"], pixel_size_um=50)
    around = surroundings(only)
    assert around.fixed_extent is None
    assert around.spot_pitch_um is None
    assert around.extent is not None
    assert vars(Surroundings()) == dict.fromkeys(("pixel_size_um", "spot_pitch_um", "extent", "fixed_extent"))


def test_refined_from_landmarks_and_applied_in_three_lines(section: st2msi.Section) -> None:
    first = st2msi.register(section, transform="similarity")
    proposal = st2msi.propose_registration(section, start=first, refine="affine")
    np.testing.assert_allclose(section.msi_to_st, first.transform.matrix)  # nothing was applied
    st2msi.apply_registration(section, proposal)
    assert proposal.source == "refined"
    kept = section.msi_to_st
    assert kept is not None
    np.testing.assert_allclose(kept, proposal.transform.matrix, atol=1e-6)
