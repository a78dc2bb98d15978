from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from napari_st2msi.benchmarking.combinations import combinations
from napari_st2msi.benchmarking.config import Config, slug
from napari_st2msi.errors import FileProblem, RecipeProblem
from napari_st2msi.models import registry
from tiny_benchmark import TINY, tiny

SHIPPED = Path(__file__).resolve().parents[2] / "workflow" / "config"


def test_every_combination_is_there_and_baselines_once() -> None:
    config = tiny(features=["recipe", "hvg"], protocols=["random", "blocks"], seeds=[0, 3])
    found = combinations(config)
    assert len(found) == 2 * 2 * (2 + 1)
    assert len({each.id for each in found}) == len(found)
    assert {each.features for each in found if each.model == "coordinates"} == {"none"}
    last = found[-1]
    assert last.id == "brain.coordinates.none.blocks.3"
    assert last.recipe.evaluation.seed == last.recipe.networks.seed == 3


def test_changes_reach_the_recipe() -> None:
    config = tiny(
        models=[{"name": "few, small", "recipe": {"model": {"name": "mlp", "width": 8}, "networks": {"epochs": 2}}}],
        features=[{"name": "few", "genes": {"n_top": 7}}],
        protocols=["leave_group_out:donor"],
    )
    (found,) = combinations(config)
    recipe = found.recipe
    assert (recipe.model.name, recipe.model.width, recipe.networks.epochs) == ("mlp", 8, 2)
    assert (recipe.genes.n_top, recipe.genes.neighbourhood) == (7, "none")
    assert (recipe.evaluation.group, found.protocol, found.gpu) == ("donor", "leave_donor", True)
    assert found.id == "brain.few-small.few.leave_donor.0"


def test_presets_bring_their_500_ions() -> None:
    (found, _) = combinations(tiny(features=["svd_graph"]))
    assert (found.recipe.genes.neighbourhood, found.recipe.ions.n_top) == ("graph_svd", 500)


def test_keys_follow_content_and_not_names(tmp_path: Path) -> None:
    listed = tmp_path / "genes.txt"
    listed.write_text("g1\n")
    features = [{"name": "listed", "genes": {"selection": "listed", "file": "genes.txt"}}]
    config = Config.of({**TINY, "features": features, "models": ["ridge"], "folder": tmp_path})
    (one,) = combinations(config)
    renamed = Config.of(
        {**TINY, "features": [{**features[0], "name": "other"}], "models": ["ridge"], "folder": tmp_path}
    )
    assert one.key("data") == combinations(renamed)[0].key("data")
    assert one.key("data") != one.key("other data")
    before = one.key("data")
    listed.write_text("g2\n")
    assert one.key("data") != before, "what a file holds counts"
    assert combinations(tiny(seeds=[1]))[0].key("data") != combinations(tiny())[0].key("data")


def test_keys_follow_the_version_of_another_packages_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def installed(version: str) -> None:
        entry = SimpleNamespace(name="theirs", dist=SimpleNamespace(name="their-models", version=version))
        monkeypatch.setattr(registry, "entry_points", lambda group: [entry])

    installed("1.0")
    theirs, coordinates = combinations(tiny(models=["theirs", "coordinates"]))
    keys = theirs.key("data"), coordinates.key("data")
    assert keys == (theirs.key("data"), coordinates.key("data"))
    installed("1.1")
    assert theirs.key("data") != keys[0]
    assert coordinates.key("data") == keys[1]


def test_names_of_any_alphabet_give_files() -> None:
    names = ["мозг 1", "печень 1", "脑", "肝", "ridge", "çok iyi"]
    models = [{"name": name, "recipe": {"model": {"name": "ridge"}}} for name in names]
    found = combinations(tiny(models=models), ["mozg", "мозг"])
    assert [each.model for each in found[: len(names)]] == names
    files = {each.id for each in found}
    assert len(files) == len(found)
    assert all(file.isascii() and "/" not in file and not file.startswith((".", "-")) for file in files)
    assert slug("é") == slug("e\u0301"), "as one disk or another writes the same letter"


def test_long_names_give_files_of_their_own() -> None:
    names = [each.id for each in combinations(tiny(), [f"{'section ' * 40}{end}" for end in "ab"])]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) < 200


def test_yaml_there_and_back() -> None:
    config = tiny(features=["hvg"], protocols=["leave_group_out:donor"], seeds=[0, 1])
    assert Config.from_yaml(config.to_yaml()) == config


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"models": ["rigde"]}, "There is no model 'rigde'. Choose from: two_stage, ridge"),
        ({"models": []}, "models"),
        ({"models": ["ridge", "ridge"]}, "Two models are named 'ridge'"),
        ({"models": [{"name": "ridge", "recipe": {"genes": {"n_top": 3}}}]}, "a model cannot change 'genes'"),
        ({"models": [{"name": "ridge", "recipe": {"model": {"widht": 3}}}]}, "'model.widht' is not a choice"),
        ({"models": [{"name": "ridge", "recipe": {"modle": {}}}]}, "'modle' is not a choice"),
        ({"features": ["hgv"]}, "there are no features 'hgv'. Choose from: hvg, hvg_svd"),
        ({"features": [{"name": "few", "genes": {"n_top": -1}}]}, "'genes.n_top' is -1"),
        ({"protocols": ["blcoks"]}, "there is no protocol 'blcoks'. Choose from: random"),
        ({"protocols": ["blocks:donor"]}, "there is no protocol 'blocks:donor'"),
        ({"seeds": [0, 0]}, "A seed is there twice"),
        ({"seeds": [-1]}, "seeds.0"),
        ({"data": []}, "names no data"),
        ({"data": [{"name": "nothing"}]}, "give either files"),
        ({"data": [{"paths": ["a", "b"], "msi": "c"}]}, "there are several files"),
        ({"data": [{"simulate": True}]}, "simulate"),
        ({"data": [{"paths": 5}]}, "paths"),
        ({"modles": ["ridge"]}, "'modles' is not a choice of the config"),
    ],
)
def test_bad_configs_are_refused_in_words(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeProblem) as raised:
        combinations(tiny(**changes))
    assert words in str(raised.value)
    assert "PosixPath" not in str(raised.value), "a whole config would bury what is wrong with it"


def test_an_entry_that_is_refused_is_not_said_to_be_missing_as_well() -> None:
    with pytest.raises(RecipeProblem, match=r"^'seeds\.0' is -1: [^']*$"):
        tiny(seeds=[-1])


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(FileProblem, match="cannot be read"):
        Config.read(tmp_path / "none.yaml")
    with pytest.raises(RecipeProblem, match="not valid YAML"):
        Config.from_yaml("models: [")
    with pytest.raises(RecipeProblem, match="empty"):
        Config.from_yaml("")
    with pytest.raises(FileProblem, match=r"there is no file '.*none\.txt'"):
        combinations(tiny(features=[{"name": "listed", "genes": {"selection": "listed", "file": "none.txt"}}]))


def test_the_published_comparison() -> None:
    config = Config.read(SHIPPED / "seven_models.yaml")
    found = [each for each in combinations(config, ["any"]) if each.features != "none"]
    assert {each.recipe.model.name for each in found} == {
        "linear", "ridge", "lasso", "elastic_net", "trees", "cvae", "gcn",
    }  # fmt: skip
    assert {each.recipe.genes.preset for each in found} == {"hvg", "hvg_svd", "hvg_svd_graph", "svd", "svd_graph"}
    assert {each.recipe.evaluation.protocol for each in found} == {"half", "random"}
    assert {each.recipe.ions.n_top for each in found} == {500}
    assert len(found) == 7 * 5 * 2 * len(config.seeds)


def test_ours_adds_what_it_lacked() -> None:
    published = combinations(Config.read(SHIPPED / "seven_models.yaml"), ["any"])
    ours = combinations(Config.read(SHIPPED / "ours.yaml"), ["any"])
    added = {"models": {"two_stage", "stack", "coordinates", "position"}, "protocols": {"blocks", "leave_group_out"}}
    assert added["models"] <= {each.recipe.model.name for each in ours}
    assert added["protocols"] <= {each.recipe.evaluation.protocol for each in ours}
    for what in ("model", "features", "protocol"):
        assert {getattr(each, what) for each in published} <= {getattr(each, what) for each in ours}
