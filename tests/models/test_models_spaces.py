"""Every setting that a search may try is one that a recipe accepts."""

import pytest

from napari_st2msi.evaluation.search import with_settings
from napari_st2msi.models.registry import BASELINES, model_names
from napari_st2msi.models.spaces import Setting, space_of
from napari_st2msi.recipe import Recipe


def recipe(name, **genes):
    return Recipe.model_validate({"model": {"name": name}, "genes": genes})


@pytest.mark.parametrize("name", model_names())
def test_all_values_are_accepted(name):
    for setting in space_of(recipe(name), n_sections=3):
        ends = (int(setting.low), int(setting.high)) if setting.whole else (setting.low, setting.high)
        for value in setting.values or ends:
            assert setting.current(with_settings(recipe(name), {setting.path: value})) == value


def test_what_matters_depends_on_what_was_chosen():
    rings = Setting("genes.n_rings", low=1, high=3, when=("genes.neighbourhood", ("rings",)))
    assert rings.matters({}, recipe("ridge"))
    assert not rings.matters({"genes.neighbourhood": "none"}, recipe("ridge"))
    assert not rings.matters({}, recipe("ridge", neighbourhood="none"))


def test_spaces_follow_the_recipe():
    paths = [setting.path for setting in space_of(recipe("ridge"))]
    assert "genes.n_top" in paths
    assert "genes.per_section" not in paths
    assert "genes.per_section" in [setting.path for setting in space_of(recipe("ridge"), n_sections=2)]
    assert not space_of(recipe("ridge", preset="hvg_svd"))
    assert all(not space_of(recipe(name)) for name in BASELINES)
    assert "model.depth" in [setting.path for setting in space_of(recipe("mlp"))]
