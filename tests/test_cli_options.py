"""Options are made from the models: named once, checked by the model, explained in its words."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_st2msi.cli.options import SECTIONS, opening_from, parameters, recipe_from
from napari_st2msi.errors import FileProblem, RecipeProblem
from napari_st2msi.io.opening import Opening
from napari_st2msi.recipe import Recipe

HOMES = ["opening", *SECTIONS]


def test_every_field_has_an_option() -> None:
    for home in HOMES:
        model = Opening if home == "opening" else SECTIONS[home]
        assert [parameter.name for parameter in parameters(home)] == [f"{home}_{name}" for name in model.model_fields]


def test_every_option_is_explained() -> None:
    for home in HOMES:
        for parameter in parameters(home):
            words = parameter.annotation.__metadata__[0].help
            assert "None" not in words
            assert "Empty" not in words
            assert len(words) > 15


def test_nothing_given_is_the_default() -> None:
    assert recipe_from({}, SECTIONS) == Recipe()
    assert opening_from({}) == Opening()


def test_options_are_read_by_the_model() -> None:
    given = {"genes_n_top": "500", "genes_log1p": False, "model_alphas": ("1", "1e3"), "evaluation_protocol": "blocks"}
    recipe = recipe_from(given, SECTIONS)
    assert (recipe.genes.n_top, recipe.genes.log1p, recipe.model.alphas) == (500, False, (1.0, 1000.0))


def test_options_of_other_sections_do_not_leak() -> None:
    assert recipe_from({"genes_n_top": "500"}, ["ions"]) == Recipe()


def test_the_word_none_means_no_value() -> None:
    assert recipe_from({"genes_n_top": "none"}, ["genes"]).genes.n_top is None
    with pytest.raises(RecipeProblem, match=r"genes\.min_spots"):
        recipe_from({"genes_min_spots": "none"}, ["genes"])


def test_many_values_for_one_option() -> None:
    assert opening_from({"opening_mz": ["798.54", "820.52"]}).mz == (798.54, 820.52)
    assert opening_from({"opening_mz": []}).mz is None


def test_settings_change_the_file_and_options_change_both(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("genes: {n_top: 100, min_spots: 7}\nions: {normalisation: tic}\n")
    recipe = recipe_from({"genes_n_top": "300"}, SECTIONS, file=file, settings=["genes.n_top=200", "ions.log1p=false"])
    assert (recipe.genes.n_top, recipe.genes.min_spots) == (300, 7)
    assert (recipe.ions.normalisation, recipe.ions.log1p) == ("tic", False)
    assert recipe_from({}, SECTIONS, file=file, settings=["genes.n_top=null"]).genes.n_top is None


@pytest.mark.parametrize("setting", ["n_top=5", "genes.n_top", "genes.nonsense=1", "nonsense.n_top=1", ""])
def test_settings_that_name_nothing(setting: str) -> None:
    with pytest.raises(RecipeProblem, match=r"genes\.n_top=500"):
        recipe_from({}, SECTIONS, settings=[setting])


@pytest.mark.parametrize(
    ("given", "settings", "words"),
    [
        ({"genes_n_top": "many"}, [], "genes.n_top"),
        ({"genes_n_top": "0"}, [], "genes.n_top"),
        ({"evaluation_protocol": "lottery"}, [], "evaluation.protocol"),
        ({}, ["model.threshold=2"], "model.threshold"),
        ({}, ["model.threshold=[1"], "cannot be read"),
    ],
)
def test_values_out_of_range(given: dict[str, str], settings: list[str], words: str) -> None:
    with pytest.raises(RecipeProblem, match=words):
        recipe_from(given, SECTIONS, settings=settings)


def test_an_opening_out_of_range() -> None:
    with pytest.raises(RecipeProblem, match="ppm"):
        opening_from({"opening_ppm": "-3"})


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileProblem, match="cannot be read"):
        recipe_from({}, SECTIONS, file=tmp_path / "missing.yaml")


def test_no_command_has_two_options_of_one_name() -> None:
    from collections import Counter

    from typer.main import get_command

    from napari_st2msi.cli.app import app

    twice = {}
    for name, command in get_command(app).commands.items():
        flags = Counter(flag for option in command.params for flag in (*option.opts, *option.secondary_opts))
        twice |= {f"{name} {flag}": count for flag, count in flags.items() if count > 1}
    assert not twice
