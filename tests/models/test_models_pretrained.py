"""Networks of timm with weights from a local file. timm itself is replaced by a module that builds a small network."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from anndata import AnnData
from safetensors.torch import save_file

from napari_st2msi import pipeline
from napari_st2msi.errors import FileProblem, ModelProblem
from napari_st2msi.features.histology import HISTOLOGY
from napari_st2msi.io.build import build_section
from napari_st2msi.models.deep import pretrained as module
from napari_st2msi.models.deep.pretrained import FOLDER, describe, fingerprint, pretrained
from napari_st2msi.recipe import Genes, Model, Recipe
from napari_st2msi.section import Section
from planted import planted

PLACES = np.array([[100.0, 100.0], [300.0, 200.0], [-400.0, 0.0]])
UM = np.diag([4.0, 4.0, 1.0])


class Small(torch.nn.Module):
    """A network as timm builds them: without a classifier where there are to be no classes."""

    def __init__(self, num_classes: int = 10, init_values: float = 1.0) -> None:
        super().__init__()
        self.pretrained_cfg = {"classifier": "head"}
        self.stem = torch.nn.Conv2d(3, 40, 8, stride=8)
        self.scale = init_values
        self.head: torch.nn.Module = torch.nn.Linear(40, num_classes) if num_classes else torch.nn.Identity()

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.head(self.scale * torch.relu(self.stem(pictures)).mean(dim=(2, 3)))


class Flat(Small):
    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.stem(pictures)


@pytest.fixture(autouse=True)
def timm(monkeypatch: pytest.MonkeyPatch) -> Any:
    kinds = {"small": Small, "flat": Flat}
    facts = {"input_size": (3, 16, 16), "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
    fake = SimpleNamespace(
        is_model=lambda name: name in kinds,
        create_model=lambda name, pretrained, **options: kinds[name](**options) if not pretrained else None,
        data=SimpleNamespace(resolve_model_data_config=lambda network: facts),
    )
    monkeypatch.setitem(sys.modules, "timm", fake)
    monkeypatch.setattr(module, "found", lambda device: "cpu")
    return fake


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_file(Small().state_dict(), tmp_path / "small.safetensors")
    return tmp_path / "small.safetensors"


def asked(path: Path | None, network: str = "small", **more: Any) -> Genes:
    return Genes(histology="timm", histology_network=network, histology_weights=path, histology_outputs=6, **more)


def grains(seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(90, 230, (57, 57, 3)).astype(np.uint8)
    return np.repeat(np.repeat(coarse, 8, axis=0), 8, axis=1)


def test_it_says_what_the_network_says_of_the_patch(weights: Path) -> None:
    image = np.full((100, 100, 3), 240, dtype=np.uint8)
    found = describe([image], UM, PLACES, asked(weights))
    assert found.shape == (3, 40)
    assert np.isnan(found[2]).all()  # beside the picture
    torch.manual_seed(0)
    network = Small()
    glass = torch.full((1, 3, 16, 16), (250 / 255 - 0.5) / 0.25)
    with torch.no_grad():
        expected = torch.relu(network.stem(glass)).mean(dim=(2, 3)).numpy()
    np.testing.assert_allclose(found[0], expected[0], atol=1e-5)
    twice = describe([image], UM, PLACES, asked(weights, "small init_values=2"))
    np.testing.assert_allclose(twice[0], 2 * found[0], rtol=1e-5)


def test_nothing_on_the_picture_is_nothing_known(weights: Path) -> None:
    assert np.isnan(describe([grains()], UM, PLACES[2:], asked(weights))).all()


def test_without_timm_it_is_said_what_to_install(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelProblem, match=r"pip install \"napari-st2msi\[histology\]\""):
        pretrained(asked(weights))

    def broken(name: str) -> Any:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(module, "import_module", broken)
    with pytest.raises(ModelProblem, match="different builds"):
        pretrained(asked(weights))


@pytest.mark.parametrize("name", ["weights.pth", "weights.pt", "pytorch_model.bin", "weights.pkl"])
def test_files_that_can_run_code_are_not_opened(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "load", lambda *args, **options: pytest.fail("it was opened"))
    (tmp_path / name).write_bytes(b"\x80\x04")
    with pytest.raises(FileProblem, match=r"not read: .*safetensors files alone.*convert it once"):
        pretrained(asked(tmp_path / name))


def test_the_words_that_convert_do(tmp_path: Path, weights: Path) -> None:
    import shlex
    import subprocess

    torch.save(Small().state_dict(), tmp_path / "old.pth")
    with pytest.raises(FileProblem) as error:
        pretrained(asked(tmp_path / "old.pth"))
    words = shlex.split(str(error.value).partition("convert it once: ")[2])
    subprocess.run([sys.executable, *words[1:]], cwd=tmp_path, check=True)
    assert pretrained(asked(tmp_path / "old.safetensors")).side == 16


def test_files_that_are_not_weights_of_this_network(tmp_path: Path, weights: Path) -> None:
    with pytest.raises(FileProblem, match=r"Choose their \.safetensors file"):
        pretrained(asked(None))
    with pytest.raises(FileProblem, match="There are no weights at"):
        pretrained(asked(tmp_path / "none.safetensors"))
    junk = tmp_path / "junk.safetensors"
    junk.write_bytes(b"junk" * 30)
    with pytest.raises(FileProblem, match="not a whole safetensors file"):
        pretrained(asked(junk))
    good = Small().state_dict()
    for name, changed, words in (
        ("missing", {"stem.weight": good["stem.weight"]}, r"1 are missing, such as 'stem\.bias'"),
        ("more", good | {"blocks.0.weight": torch.ones(2)}, r"1 have no place, such as 'blocks\.0\.weight'"),
        ("size", good | {"stem.bias": torch.ones(7)}, "another size"),
        ("nan", good | {"stem.bias": torch.full((40,), torch.nan)}, r"missing values, such as in 'stem\.bias'"),
    ):
        save_file(changed, tmp_path / f"{name}.safetensors")
        with pytest.raises(ModelProblem, match=words):
            pretrained(asked(tmp_path / f"{name}.safetensors"))


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ("smal", "timm knows no network 'smal'"),
        ("hf-hub:someone/something", "timm knows no network"),  # nothing is looked up in a hub
        ("small init_values", "is not understood"),
        ("small checkpoint_path=/tmp/x.pth", "is not understood"),  # no other way to a file
        ("small nonsense=1", "timm cannot build"),
        ("small pretrained=true", "timm cannot build"),
    ],
)
def test_names_that_do_not_fit(weights: Path, network: str, words: str) -> None:
    with pytest.raises(ModelProblem, match=words):
        pretrained(asked(weights, network))


def test_a_network_that_gives_maps_is_refused(weights: Path) -> None:
    with pytest.raises(ModelProblem, match="no single list of numbers"):
        describe([grains()], UM, PLACES, asked(weights, "flat"))


def test_other_weights_than_the_recipe_s_are_refused(weights: Path) -> None:
    mark = fingerprint(asked(weights))
    assert pretrained(asked(weights, histology_fingerprint=mark)).side == 16
    save_file({name: value + 1 for name, value in Small().state_dict().items()}, weights)
    os.utime(weights, (1, 1))  # a fast disk may give both the same time, by which a file is known to have changed
    assert fingerprint(asked(weights)) != mark
    with pytest.raises(ModelProblem, match="other weights than the recipe asks for"):
        pretrained(asked(weights, histology_fingerprint=mark))
    # Nor are they taken where a section was described by them before, or where a model is to be marked.
    section = section_of("one", 0)
    paired = pipeline.paired_dataset(section, Recipe(genes=asked(weights)))
    recipe = Recipe(genes=asked(weights, histology_fingerprint=mark), model=Model(name="ridge"))
    for use in (lambda: pipeline.paired_dataset(section, recipe), lambda: pipeline.train(paired, recipe)):
        with pytest.raises(ModelProblem, match="other weights than the recipe asks for"):
            use()


def section_of(name: str, seed: int) -> Section:
    """Return a section with ions on its spots and a picture, 16 × 16 spots every 100 µm."""
    paired = planted(seed=seed)
    return build_section(
        name=name,
        st=AnnData(paired.genes.X, var=paired.genes.var, obs=paired.genes.obs[[]]),
        st_xy=paired.xy,
        spot_diameter_um=55.0,
        paired=AnnData(paired.ions.X, var=paired.ions.var, obs=paired.ions.obs[[]]),
        image=grains(seed),
        image_to_um=UM @ np.array([[1, 0, -25], [0, 1, -25], [0, 0, 1.0]]),
    )


def test_a_model_knows_its_weights_and_asks_for_them(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(genes=asked(weights, n_components=5), model=Model(name="ridge"))
    section = section_of("one", 0)
    paired = pipeline.paired_dataset(section, recipe)
    assert paired.genes.obsm[HISTOLOGY].shape == (256, 40)
    model = pipeline.train(paired, recipe)
    assert model.predictor.design_.widths_[HISTOLOGY] == 6
    mark = fingerprint(recipe.genes)
    assert model.recipe.genes.histology_fingerprint == mark
    card = (model.save(tmp_path / "model") / "card.md").read_text(encoding="utf-8")
    assert f"'small.safetensors' (SHA-256 `{mark}`" in card
    again = pipeline.load_model(tmp_path / "model")
    query = section_of("new", 1)
    predicted = pipeline.predict(again, query)
    np.testing.assert_array_equal(predicted.X, pipeline.predict(model, query).X)
    known = weights.read_bytes()
    save_file({name: value + 1 for name, value in Small().state_dict().items()}, weights)
    with pytest.raises(ModelProblem, match="other weights"):
        pipeline.predict(again, query)
    weights.unlink()
    right = tmp_path / "elsewhere" / weights.name
    right.parent.mkdir()
    right.write_bytes(known)
    with pytest.raises(FileProblem, match=rf"There are no weights at .*{FOLDER}"):
        pipeline.predict(again, query)
    monkeypatch.setenv(FOLDER, str(right.parent))
    np.testing.assert_array_equal(pipeline.predict(again, section_of("new", 1)).X, predicted.X)
    save_file({name: value + 2 for name, value in Small().state_dict().items()}, right)
    with pytest.raises(ModelProblem, match="other weights"):
        pipeline.predict(again, section_of("new", 1))
    right.unlink()
    with pytest.raises(FileProblem, match=r"There are no weights at .* nor at .*elsewhere"):
        pipeline.predict(again, section_of("new", 1))
