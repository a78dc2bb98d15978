"""Components of genes and ions."""

from __future__ import annotations

import numpy as np
import pytest
from rebuilt import rebuilt, with_values

from napari_st2msi import simulate
from napari_st2msi.errors import DataProblem
from napari_st2msi.registration.components import gene_components, ion_components
from napari_st2msi.section import Section


@pytest.fixture(scope="module")
def section() -> Section:
    return simulate(n_spots=150, n_genes=80, ions_per_kind=3, image_px=128, seed=3).sections[0]


def test_genes_follow_the_programs_that_drive_them() -> None:
    simulation = simulate(n_spots=300, n_genes=300, n_programs=3, ions_per_kind=2, image_px=128, seed=1)
    found = gene_components(simulation.sections[0], 3).astype(float)
    truth = simulation.truth.sections["simulated"].activities.to_numpy()
    design = np.column_stack([np.ones(len(found)), found])
    explained = 1 - (truth - design @ np.linalg.lstsq(design, truth, rcond=None)[0]).var(axis=0) / truth.var(axis=0)
    assert found.shape == (300, 3)
    assert explained.min() > 0.8


def test_strongest_first_one_row_each(section: Section) -> None:
    for found, count in ((gene_components(section, 5), 150), (ion_components(section, 5), section.msi.n_obs)):
        assert found.shape == (count, 5)
        assert found.dtype == np.float32
        spread = found.std(axis=0)
        assert (np.diff(spread) <= 1e-4).all()


def test_learning_from_tissue_leaves_the_glass_out(section: Section) -> None:
    tissue = section.total_ions > np.median(section.total_ions) / 2
    everywhere, inside = ion_components(section, 1), ion_components(section, 1, tissue=tissue)
    # The first component of all pixels is tissue against glass; learned on tissue it is about tissue.
    assert abs(np.corrcoef(everywhere[:, 0], tissue)[0, 1]) > 0.9
    assert inside[tissue].std() > everywhere[tissue].std()


def test_the_scale_of_an_ion_does_not_matter(section: Section) -> None:
    values = np.asarray(section.msi.X)
    factors = np.random.default_rng(0).lognormal(0, 3, values.shape[1])
    other = rebuilt(section, msi=with_values(section.msi, values * factors))
    plain, scaled = ion_components(section, 3), ion_components(other, 3)
    np.testing.assert_allclose(np.abs(plain), np.abs(scaled), atol=2e-2)


def test_without_contrast_it_says_so(section: Section) -> None:
    st, msi = (with_values(table, np.full(table.shape, 3.0)) for table in (section.st, section.msi))
    flat = rebuilt(section, st=st, msi=msi)
    with pytest.raises(DataProblem, match="same in every pixel"):
        ion_components(flat)
    with pytest.raises(DataProblem, match="same in every spot"):
        gene_components(flat)


def test_intensities_that_are_not_numbers_are_refused(section: Section) -> None:
    values = np.ones(section.msi.shape)
    values[3, 2] = np.nan
    with pytest.raises(DataProblem):
        ion_components(rebuilt(section, msi=with_values(section.msi, values)))
