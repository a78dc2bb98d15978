"""Spots unlike any in training are told by their genes, and others are not."""

import json

import numpy as np
import pytest

from napari_st2msi.errors import ModelProblem
from napari_st2msi.io.sample import simulate
from napari_st2msi.progress import Cancelled
from napari_st2msi.recipe import Genes
from napari_st2msi.training.familiarity import Familiarity
from planted import planted


@pytest.fixture(scope="module")
def sections():
    whole = simulate(n_spots=400, n_genes=300, image_px=128, ions_per_kind=1, n_sections=4, seed=3).paired()
    labels = np.unique(whole.sections)
    return whole.select(whole.sections != labels[3]), whole.select(whole.sections == labels[3])


@pytest.fixture(scope="module")
def known(sections):
    return Familiarity().fit(sections[0], Genes())


def foreign(genes, rows):
    """Return a copy whose first spots hold the counts of other genes."""
    genes = genes.copy()
    values = genes.X.toarray()
    rng = np.random.default_rng(0)
    for row in rows:
        values[row] = rng.permutation(values[row])
    genes.X = values
    return genes


def test_a_section_like_those_of_training_is_familiar(sections, known):
    train, query = sections
    assert (known.novelty(train.genes) > 1).mean() < 0.03
    assert (known.novelty(query.genes) > 1).mean() < 0.1


def test_foreign_spots_are_told_and_the_others_are_not(sections, known):
    genes = foreign(sections[1].genes, range(100))
    novelty = known.novelty(genes)
    assert (novelty[:100] > 1).mean() > 0.95
    np.testing.assert_allclose(novelty[100:], known.novelty(sections[1].genes)[100:])


def test_another_batch_is_unlike_unless_sections_are_standardised():
    whole = simulate(n_spots=400, n_genes=300, image_px=128, ions_per_kind=1, n_sections=2, batch=1.0, seed=3).paired()
    first = whole.sections == whole.sections[0]
    train, query = whole.select(first), whole.select(~first)
    shares = [
        (Familiarity().fit(train, Genes(per_section=choice)).novelty(query.genes) > 1).mean()
        for choice in (False, True)
    ]
    assert shares[0] > 0.8
    assert shares[1] < 0.1


def test_order_of_spots_and_genes_does_not_matter(sections, known):
    query = sections[1].genes
    mixed = query[np.random.default_rng(0).permutation(query.n_obs)].copy()[:, ::-1].copy()
    found = dict(zip(mixed.obs_names, known.novelty(mixed), strict=True))
    np.testing.assert_allclose([found[name] for name in query.obs_names], known.novelty(query), rtol=1e-4)


def test_there_and_back(sections, known):
    facts, arrays = known.state()
    again = Familiarity().restore(json.loads(json.dumps(facts)), arrays)
    np.testing.assert_array_equal(again.novelty(sections[1].genes), known.novelty(sections[1].genes))
    for name, values, words in (
        ("deviation", arrays["deviation"][:-1], "does not fit its genes"),
        ("reach", np.array([0.0, 1.0]), "out of range"),
        ("limit", np.array([-1.0]), "out of range"),
    ):
        with pytest.raises(ModelProblem, match=words):
            Familiarity().restore(facts, {**arrays, name: values})


def test_spots_that_cannot_be_held_out_and_genes_that_are_missing(sections, known):
    few = planted(n_side=4)
    few.genes.obsm["spatial"][:] = 0
    assert (Familiarity().fit(few, Genes()).novelty(few.genes) == 0).all()
    stranger = sections[1].genes.copy()
    stranger.var_names = [f"x{number}" for number in range(stranger.n_vars)]
    with pytest.raises(ModelProblem, match="Only 0%"):
        known.novelty(stranger)
    with pytest.raises(Cancelled):
        Familiarity().fit(sections[0], Genes(), cancelled=lambda: True)
