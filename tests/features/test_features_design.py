"""What models see: bands of features, fitted on training spots, the same for whoever asks."""

import numpy as np
import pytest

from napari_st2msi.errors import DataProblem, FileProblem, ModelProblem
from napari_st2msi.features.design import Design
from napari_st2msi.features.genes import GeneFeatures
from napari_st2msi.models.inputs import inputs_of
from napari_st2msi.recipe import PRESETS, Genes, Recipe
from planted import planted

DATA = planted(n_side=12, sections=2)
Y = np.log1p(DATA.ions.X.astype(float))
WAYS = [
    {"neighbourhood": "none"},
    {"neighbourhood": "rings"},
    {"neighbourhood": "diffusion"},
    {"neighbourhood": "graph_svd", "n_graph": 5},
    {"reduction": "none"},
    {"reduction": "none", "standardise": False, "neighbourhood": "graph_svd"},
    {"reduction": "pls", "n_components": 4},
    {"per_section": True},
    {"selection": "spatial", "n_top": 10},
    {"n_components": 3},
]


def fitted(data=DATA, **choices):
    targets = np.log1p(data.ions.X.astype(float))
    return Design(Genes(**choices)).fit(data.genes, targets=targets)


@pytest.mark.parametrize("choices", WAYS)
def test_state_comes_back_and_order_does_not_matter(choices):
    design = fitted(**choices)
    again = Design().restore(*design.state())
    features = design.transform(DATA.genes)
    assert features.dtype == np.float32
    assert features.shape == (len(DATA), sum(design.widths_.values()))
    assert np.isfinite(features).all()
    np.testing.assert_array_equal(again.transform(DATA.genes), features)
    order = np.random.default_rng(0).permutation(len(DATA))
    np.testing.assert_allclose(design.transform(DATA.genes[order].copy()), features[order], atol=1e-4)


@pytest.mark.parametrize("choices", WAYS)
def test_some_spots_of_a_section_are_seen_among_all_of_it(choices):
    design = fitted(**choices)
    some = np.array([3, 150, 77])
    alone = design.transform(DATA.genes[some].copy(), DATA.genes)
    np.testing.assert_allclose(alone, design.transform(DATA.genes)[some], atol=1e-4)


def test_bands_are_the_genes_and_their_means_over_rings():
    design = fitted(reduction="none", n_neighbours=4)
    assert list(design.bands) == ["own", "ring1", "ring2"]
    features, bands = design.transform(DATA.genes), design.bands
    own = GeneFeatures(design.choices).fit(DATA.genes).transform(DATA.genes)
    np.testing.assert_allclose(features[:, bands["own"]], own, atol=1e-5)
    # A spot in the middle of the first section: four neighbours at one step of 100 µm.
    around = np.flatnonzero((np.abs(DATA.xy - [500, 500]).sum(axis=1) == 100) & (DATA.sections == "s0"))
    middle = np.flatnonzero((DATA.xy == [500, 500]).all(axis=1) & (DATA.sections == "s0"))[0]
    assert len(around) == 4
    np.testing.assert_allclose(features[middle, bands["ring1"]], own[around].mean(axis=0), atol=1e-5)


def test_a_spot_without_neighbours_gets_their_training_mean():
    design = fitted()
    lone = DATA.genes[[0]].copy()
    features = design.transform(lone)
    np.testing.assert_allclose(features[0, design.widths_["own"] :], design.fill_)
    expected = design.transform(DATA.genes)[:, design.bands["ring1"]].mean(axis=0)
    np.testing.assert_allclose(features[0, design.bands["ring1"]], expected, atol=1e-4)


def test_a_basis_is_applied_to_a_new_section_not_fitted_again():
    first, second = (DATA.select(DATA.sections == label) for label in ("s0", "s1"))
    design = fitted(first, neighbourhood="graph_svd", n_graph=6)
    features = design.transform(second.genes)
    half = second.xy[:, 0] < 600
    part = design.transform(second.genes[half].copy(), second.genes)
    np.testing.assert_allclose(part, features[half], atol=1e-4)
    assert list(design.bands) == ["own", "graph"]
    assert design.widths_["graph"] == 6


def test_standardising_each_section_takes_away_what_differs_between_them():
    data = planted(n_side=12, sections=2)
    counts = data.genes.X.toarray()
    counts[data.sections == "s1"] *= np.random.default_rng(1).lognormal(0, 0.7, 30)
    data.genes.X = counts
    for per_section, apart in ((True, False), (False, True)):
        own = fitted(data, per_section=per_section, reduction="none", neighbourhood="none").transform(data.genes)
        gap = np.abs(own[data.sections == "s0"].mean(axis=0) - own[data.sections == "s1"].mean(axis=0)).max()
        assert (gap > 0.5) == apart
    few = data.genes[:5].copy()
    assert np.ptp(fitted(data, per_section=True).transform(few, data.genes), axis=0).max() > 0
    assert np.isfinite(fitted(data, per_section=True).transform(few)).all()


def test_spatial_genes_are_those_with_a_pattern():
    data = planted(n_side=14)
    counts = data.genes.X.toarray()
    counts[:, 4] += np.round(20 * np.sin(data.xy[:, 0] / 300) ** 2)
    counts[:, 9] += np.round(20 * np.cos(data.xy[:, 1] / 300) ** 2)
    data.genes.X = counts
    assert fitted(data, selection="spatial", n_top=2).genes_.names_ == ["g4", "g9"]


def test_genes_of_a_list_or_of_gene_sets(tmp_path):
    plain, sets, empty = tmp_path / "genes.txt", tmp_path / "sets.gmt", tmp_path / "empty.txt"
    plain.write_text("# mine\ng3\ng1\nnot there\n")
    sets.write_text("GLYCOLYSIS\thttp://x\tg7\tg3\nLIPIDS\t\tg3\tg8\n")
    empty.write_text("\n")
    assert fitted(selection="listed", file=plain).genes_.names_ == ["g1", "g3"]
    assert fitted(selection="listed", file=sets).genes_.names_ == ["g3", "g7", "g8"]
    with pytest.raises(FileProblem, match="names no gene"):
        fitted(selection="listed", file=empty)
    with pytest.raises(FileProblem, match="cannot be read"):
        fitted(selection="listed", file=tmp_path / "missing.txt")
    with pytest.raises(ModelProblem, match="no file is chosen"):
        fitted(selection="listed")
    plain.write_text("ENSG1\n")
    with pytest.raises(ModelProblem, match="None of the genes"):
        fitted(selection="listed", file=plain)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_what_the_literature_calls_so(name):
    recipe = Recipe.model_validate({"genes": {"preset": name, "n_neighbours": 9}})
    assert recipe.ions.n_top == 500
    assert recipe == Recipe.from_yaml(recipe.to_yaml())
    design = Design(recipe.genes).fit(DATA.genes)
    assert ("graph" in design.bands) == ("graph" in name)
    assert (design.reduction_ is not None) == ("svd" in name)
    assert recipe.genes.n_neighbours == (6 if "graph" in name else 9)


def test_directions_that_know_ions_are_learned_anew_in_inner_folds():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(len(DATA), 40))
    inputs = inputs_of(Design(Genes(reduction="pls", n_components=5)), DATA, noise)
    fold = inputs.folds[0]
    assert fold.features.shape == inputs.features.shape
    # In fold, directions go along with noise by chance; on spots held out they do not.
    own = slice(0, 1)
    seen = np.abs(np.corrcoef(fold.features[fold.fit][:, own].T, noise[fold.fit].T)[0, 1:]).mean()
    held = np.abs(np.corrcoef(fold.features[fold.held][:, own].T, noise[fold.held].T)[0, 1:]).mean()
    assert seen > 0.05
    assert held < 2.5 / np.sqrt(len(fold.held))
    assert inputs_of(Design(), DATA, noise).folds[0].features is None


def test_a_context_must_hold_the_spots():
    with pytest.raises(DataProblem, match="not among those"):
        fitted().transform(DATA.genes[:5].copy(), DATA.genes[10:].copy())
    with pytest.raises(ModelProblem, match="needs ions"):
        Design(Genes(reduction="pls")).fit(DATA.genes)


def test_damaged_state_is_refused():
    facts, arrays = fitted().state()
    with pytest.raises(ModelProblem, match="do not fit"):
        Design().restore(facts, arrays | {"fill": arrays["fill"][1:]})
