"""Tissue is told from glass on both sides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rebuilt import rebuilt, with_values
from scipy.spatial import cKDTree

from napari_st2msi import simulate
from napari_st2msi.errors import DataProblem
from napari_st2msi.io.sample import Simulation
from napari_st2msi.registration.masks import dice, msi_mask, msi_tissue, otsu, st_mask
from napari_st2msi.registration.transforms import Affine
from napari_st2msi.section import MSI_SYSTEM, Section


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate(n_spots=300, n_genes=40, ions_per_kind=3, image_px=400, seed=5, warp_um=0, tissue="tonsil")


def on_tissue(simulation: Simulation) -> np.ndarray:
    section = simulation.sections[0]
    true = simulation.truth.sections[section.name].pose.to_st(section.pixels(MSI_SYSTEM).centres)
    return cKDTree(section.spots.centres).query(true)[0] < 75


def test_pixels_on_tissue(simulation: Simulation) -> None:
    found, true = msi_tissue(simulation.sections[0]), on_tissue(simulation)
    assert 2 * (found & true).sum() / (found.sum() + true.sum()) > 0.95


def test_without_glass_everything_is_tissue(simulation: Simulation) -> None:
    section, true = simulation.sections[0], on_tissue(simulation)
    inner = rebuilt(section, msi=section.msi[true])
    assert msi_tissue(inner).mean() > 0.97
    assert section.msi.n_obs > true.sum()


def test_histology_and_spots_show_the_same_tissue(simulation: Simulation) -> None:
    section = simulation.sections[0]
    stained = st_mask(section)
    spotted = st_mask(Section(section.sdata, replace(section.roles, image=None)))
    assert stained.at(section.spots.centres).mean() > 0.95
    assert spotted.at(section.spots.centres).all()
    agree = stained.at(spotted.centres).mean()
    assert agree > 0.9


def test_dice_is_highest_at_the_truth(simulation: Simulation) -> None:
    section = simulation.sections[0]
    matrix = simulation.truth.sections[section.name].true_msi_to_st
    moved = matrix.copy()
    moved[:2, 2] += 400
    assert dice(section, Affine(matrix)) > 0.95
    assert dice(section, Affine(moved)) < dice(section, Affine(matrix)) - 0.1


def test_equal_pixels_are_refused(simulation: Simulation) -> None:
    section = simulation.sections[0]
    with pytest.raises(DataProblem, match="same in every pixel"):
        msi_tissue(rebuilt(section, msi=with_values(section.msi, np.ones(section.msi.shape))))


def test_otsu_splits_two_classes_and_says_how_well() -> None:
    rng = np.random.default_rng(0)
    two = np.concatenate([rng.normal(0, 1, 500), rng.normal(10, 1, 300)])
    threshold, separation = otsu(two)
    assert 2.5 < threshold < 7.5
    assert separation > 0.9
    assert otsu(rng.normal(size=500))[1] < 0.7
    assert otsu(np.ones(5)) == (1.0, 0.0)


def test_a_mask_knows_its_outside(simulation: Simulation) -> None:
    mask = msi_mask(simulation.sections[0])
    assert mask.at(mask.centres).all()
    assert not mask.at(np.array([[-1e6, 0.0], [np.nan, 0.0], [1e6, 1e6]])).any()
