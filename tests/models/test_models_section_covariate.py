"""The section as an input of networks: known ones are shifted, new ones are not."""

import numpy as np
import pytest
from safetensors.numpy import load, save

from napari_st2msi.errors import ModelProblem
from napari_st2msi.models.registry import model_class
from napari_st2msi.recipe import Recipe
from planted import planted

NETWORKS = ("mlp", "gcn", "cvae", "transformer")


def recipe(name="mlp", **model):
    small = {"name": name, "ensemble": 2, "width": 16, "depth": 1, "n_tokens": 8, "section_covariate": True}
    return Recipe.model_validate(
        {
            "genes": {"n_top": 20, "neighbourhood": "none"},
            "model": small | model,
            "networks": {"epochs": 3, "device": "cpu"},
        }
    )


def sections(n=3, n_side=10):
    """Sections alike but for the ions of the last, which are five times as bright."""
    data = planted(n_side=n_side, sections=n)
    data.ions.X[data.sections == f"s{n - 1}"] *= 5
    return data


def renamed(genes, label):
    """Return genes as those of a section of another name."""
    other = genes.copy()
    other.obs["section"] = label
    return other


def fitted(name="mlp", data=None, **model):
    return model_class(name)(recipe(name, **model)).fit(sections() if data is None else data)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_known_section_is_shifted_and_a_new_one_is_not(name):
    data = sections()
    model = fitted(name, data)
    assert model.sections_ == ["s0", "s1", "s2"]
    genes = data.genes[data.sections == "s2"].copy()
    known, other, new = (model.predict(renamed(genes, label)).X for label in ("s2", "s0", "new"))
    assert (known != new).any()
    assert (known != other).any()
    for network in model.networks_:
        network.shift.data.zero_()
    np.testing.assert_array_equal(model.predict(renamed(genes, "s2")).X, new)


@pytest.mark.parametrize("name", NETWORKS)
def test_saved_and_loaded_it_knows_its_sections(name):
    data = sections(n_side=6)
    model = fitted(name, data)
    facts, arrays = model.state()
    again = model_class(name)(recipe(name)).restore(facts, load(save(arrays)))
    assert (again.predict(data.genes).X == model.predict(data.genes).X).all()
    facts["own"]["sections"] = ["s0"]
    with pytest.raises(ModelProblem, match="does not fit"):
        model_class(name)(recipe(name)).restore(facts, load(save(arrays)))


def test_the_level_of_a_section_is_learned_though_no_gene_tells_it():
    data = sections(4)
    ions = np.flatnonzero(data.ions.var.kind == "linear")
    bright = data.sections == "s3"
    choices = recipe(width=32, dropout=0.0, ensemble=3).model_dump(mode="json")
    choices["networks"] |= {"epochs": 20, "learning_rate": 5e-3}
    truth = np.log1p(data.ions.X[:, ions])
    whole, apart = truth[bright].mean() - truth[~bright].mean(), {}
    for covariate in (False, True):
        choices["model"]["section_covariate"] = covariate
        model = model_class("mlp")(Recipe.model_validate(choices)).fit(data)
        said = np.log1p(model.predict(data.genes).X[:, ions])
        apart[covariate] = said[bright].mean() - said[~bright].mean()
    assert apart[False] < 0.3 * whole
    assert 0.5 * whole < apart[True] < 1.1 * whole


def test_the_order_of_spots_and_sections_changes_nothing():
    data = sections()
    order = np.random.default_rng(0).permutation(len(data))
    one, other = fitted(data=data).predict(data.genes), fitted(data=data.select(order)).predict(data.genes)
    np.testing.assert_allclose(one.X, other.X, rtol=1e-5)


def test_one_section_is_none_and_no_choice_is_as_before():
    alone = planted(n_side=10)
    on, off = fitted(data=alone), fitted(data=alone, section_covariate=False)
    assert on.sections_ == []
    assert not hasattr(on.networks_[0], "shift")
    assert (on.predict(alone.genes).X == off.predict(alone.genes).X).all()
    assert fitted(section_covariate=False).sections_ == []
