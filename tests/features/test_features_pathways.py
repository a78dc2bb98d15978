import numpy as np
import pytest
from anndata import AnnData

from napari_st2msi.errors import FileProblem, ModelProblem
from napari_st2msi.features.design import OWN, PATHWAYS, Design
from napari_st2msi.features.genes import GeneFeatures
from napari_st2msi.features.pathways import averaging, bundled_sets, gene_sets, members, read_sets
from napari_st2msi.recipe import Genes
from planted import planted

DATA = planted(n_side=8)


def gmt(folder, *lines):
    path = folder / "sets.gmt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def own(tmp_path):
    return gmt(
        tmp_path, "# mine", "first\tone\tG1\tg2\tg3", "", "second\ttwo\tg3\tg4\tg5\tg6\tnone", "few\tx\tg7\tother"
    )


def test_bundled_sets_are_of_metabolism():
    sets = bundled_sets()
    assert len(sets) > 50
    assert min(len(set(genes)) for genes in sets.values()) >= 4
    assert {"HK1", "PKM"} <= set(sets["glycolysis"])
    assert gene_sets(None) == sets


def test_members_are_found_whatever_their_case(own):
    found = members(read_sets(own), DATA.genes.var_names)
    assert found == {"first": ["g1", "g2", "g3"], "second": ["g3", "g4", "g5", "g6"]}


def test_mouse_symbols_fit_the_bundled_sets():
    found = members(bundled_sets(), ["Hk1", "Pkm", "Gapdh", "Cd4"])
    assert found["glycolysis"] == ["Hk1", "Pkm", "Gapdh"]


def test_reduction_is_the_mean_of_standardised_members(own):
    choices = {"selection": "pathways", "file": own, "reduction": "pathways", "neighbourhood": "none"}
    design = Design(Genes.model_validate(choices)).fit(DATA.genes)
    assert design.pathways_ == ["first", "second"]
    assert design.genes_.names_ == ["g1", "g2", "g3", "g4", "g5", "g6"]
    scaled = GeneFeatures(Genes(selection="all")).fit(DATA.genes).transform(DATA.genes)
    expected = np.stack([scaled[:, 1:4].mean(axis=1), scaled[:, 3:7].mean(axis=1)], axis=1)
    np.testing.assert_allclose(design.transform(DATA.genes), expected, atol=1e-5)


def test_band_beside_the_genes_comes_back_from_its_state(own):
    design = Design(Genes(file=own, pathway_band=True, n_components=5)).fit(DATA.genes)
    assert list(design.bands) == [OWN, "ring1", "ring2", PATHWAYS]
    assert design.widths_[PATHWAYS] == 2
    again = Design().restore(*design.state())
    part = DATA.select(np.array([3, 11]))
    features = design.transform(part.genes, DATA.genes)
    assert (features == again.transform(part.genes, DATA.genes)).all()
    whole = design.transform(DATA.genes)
    np.testing.assert_allclose(features, whole[[3, 11]], atol=1e-5)


def test_averaging_sums_to_one():
    weights = averaging({"a": ["x", "y"], "b": ["y", "z", "x"]}, ["x", "y", "z"])
    np.testing.assert_allclose(weights.sum(axis=0), 1)
    assert weights[2, 0] == 0


def test_no_member_says_what_to_do():
    table = AnnData(np.ones((3, 2)))
    table.var_names = ["ENSG1", "ENSG2"]
    with pytest.raises(ModelProblem, match="names like 'ENSG1'"):
        Design(Genes(selection="pathways")).fit(table)
    with pytest.raises(ModelProblem, match="No pathway has 3 genes"):
        Design(Genes(pathway_band=True)).fit(DATA.genes)


def test_members_that_no_training_spot_shows_are_an_error(own):
    data = planted(n_side=8, sparse=False)
    data.genes.X[:, 1:] = 0
    with pytest.raises(ModelProblem, match="None of the genes of the pathways"):
        Design(Genes(selection="pathways", file=own)).fit(data.genes)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["name\tdescription"], "Line 1 .* names no gene"),
        (["a\tx\tg1", "a\tx\tg2"], "name 'a' twice"),
        (["# nothing"], "are empty"),
    ],
)
def test_a_bad_file_says_what_is_wrong(tmp_path, lines, message):
    with pytest.raises(FileProblem, match=message):
        read_sets(gmt(tmp_path, *lines))


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(FileProblem, match="cannot be read"):
        read_sets(tmp_path / "missing.gmt")
    (tmp_path / "picture.gmt").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(FileProblem, match="cannot be read"):
        read_sets(tmp_path / "picture.gmt")
