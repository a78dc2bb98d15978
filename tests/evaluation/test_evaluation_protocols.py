"""Ways of holding out by their names."""

from __future__ import annotations

import pytest

from napari_st2msi.errors import RecipeProblem
from napari_st2msi.evaluation.protocols import STRICTEST, held_out_by, protocol_words, short_name, strictest
from napari_st2msi.recipe import Recipe


def test_every_protocol_of_a_recipe_has_a_rank() -> None:
    known = Recipe().evaluation.model_json_schema()["properties"]["protocol"]["enum"]
    assert sorted(STRICTEST) == sorted(known)
    assert strictest({"one": "random", "two": "knndm", "three": "blocks", "four": "knndm"}) == "two"


def test_whole_sections_are_stricter_than_regions_of_one() -> None:
    tried = {"leave_region": "leave_group_out", "leave_donor": "leave_group_out", "blocks": "blocks"}
    assert strictest(tried) == "leave_region"
    assert strictest(tried, ["leave_donor"]) == "leave_donor"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("leave_group_out:tissue_region", "each tissue region"),
        ("leave_donor", "each donor"),
        ("leave_group_out", "each group"),
        ("tissue_halves", "tissue halves"),
        ("knndm", "kNNDM"),
    ],
)
def test_protocols_have_words(name: str, words: str) -> None:
    assert protocol_words(name) == words


@pytest.mark.parametrize(
    ("name", "protocol", "group", "short"),
    [
        ("blocks", "blocks", "section", "blocks"),
        ("leave_group_out", "leave_group_out", "section", "leave_group_out"),
        ("leave_group_out:donor", "leave_group_out", "donor", "leave_donor"),
    ],
)
def test_names_say_what_is_held_out(name: str, protocol: str, group: str, short: str) -> None:
    recipe = Recipe.model_validate({"evaluation": {"n_folds": 3}})
    chosen = held_out_by(recipe, name).evaluation
    assert (chosen.protocol, chosen.group, chosen.n_folds) == (protocol, group, 3)
    assert short_name(name) == short
    assert recipe.evaluation.protocol == "blocks"


@pytest.mark.parametrize("name", ["block", "random:donor", "leave_donor", ""])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(RecipeProblem, match=f"no protocol '{name}'"):
        held_out_by(Recipe(), name)
    assert short_name(name) == name
