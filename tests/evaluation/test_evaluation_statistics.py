import numpy as np
import pytest

import napari_st2msi as st2msi
from napari_st2msi.errors import DataProblem, RecipeProblem
from napari_st2msi.paired import PairedDataset
from napari_st2msi.recipe import Recipe


@pytest.fixture(scope="module")
def simulation():
    return st2msi.simulate(
        n_spots=200, n_genes=60, ions_per_kind={"smooth": 5, "noise": 5}, n_sections=2, image_px=128, batch=1.0
    )


def test_genes_and_ions_with_a_pattern_are_told_from_noise(simulation):
    paired = simulation.paired()
    table = st2msi.spatial_statistics(paired, n_permutations=99)
    assert table["of"].value_counts()["ion"] == 10
    ions = table[table["of"] == "ion"].set_index("name")
    kind = simulation.truth.ions.loc[ions.index, "kind"]
    assert (ions["moran_q"][kind == "smooth"] < 1e-6).all()
    assert (ions["geary_q"][kind == "smooth"] < 1e-6).all()
    assert (ions["moran_q"][kind == "noise"] > 0.05).all()
    assert ions["label"].iloc[0].startswith("m/z ")
    # The same as evaluations say of ions.
    recipe = Recipe.model_validate({"model": {"name": "mean"}, "intervals": {"make_intervals": "never"}})
    flat = st2msi.evaluate(paired, recipe).flat()
    np.testing.assert_allclose(ions["moran_i"], flat.loc[ions.index, "moran_i"])
    only = st2msi.spatial_statistics(paired, of="genes")
    np.testing.assert_allclose(only["moran_q"], table.loc[table["of"] == "gene", "moran_q"])


def test_spots_without_ions_count_for_genes_only(simulation):
    paired = simulation.paired()
    ions = paired.ions.copy()
    ions.X[:40] = np.nan
    some = PairedDataset(paired.genes, ions)
    table, whole = st2msi.spatial_statistics(some), st2msi.spatial_statistics(paired)
    genes = table["of"] == "gene"
    np.testing.assert_allclose(table.loc[genes, "moran_i"], whole.loc[genes, "moran_i"])
    covered = st2msi.spatial_statistics(some.select(np.arange(40, len(some))), of="ions")
    np.testing.assert_allclose(table.loc[~genes, "moran_i"], covered["moran_i"])
    names = covered["name"][:2].tolist()
    local = st2msi.local_statistics(some, names)
    assert local.shape == (len(some) - 40, 2)
    assert set(local.layers) == {"z", "p", "q", "quadrant"}
    np.testing.assert_allclose(local.X.mean(axis=0), covered["moran_i"][:2])


def test_bad_choices_are_refused_in_words(simulation):
    paired = simulation.paired()
    with pytest.raises(RecipeProblem, match="no statistics of 'proteins'"):
        st2msi.spatial_statistics(paired, of="proteins")
    with pytest.raises(RecipeProblem, match="0 neighbours are none"):
        st2msi.spatial_statistics(paired, n_neighbours=0)
    with pytest.raises(RecipeProblem, match="-1 permutations"):
        st2msi.spatial_statistics(paired, n_permutations=-1)
    with pytest.raises(DataProblem, match="no ion 'unknown'"):
        st2msi.local_statistics(paired, ["unknown"])
    with pytest.raises(DataProblem, match="No ion is named"):
        st2msi.local_statistics(paired, [])
    ions = paired.ions.copy()
    ions.X[:] = np.nan
    with pytest.raises(DataProblem, match="No spot has measured ions"):
        st2msi.spatial_statistics(PairedDataset(paired.genes, ions))
