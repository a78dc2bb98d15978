"""What README and docs show of code: it is there, under these names, and commands take these options."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import napari_st2msi as st2msi
from napari_st2msi.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """Code blocks of a language, with the page and line that they are on."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            yield f"{page.name}:{text[: found.start()].count(chr(10)) + 2}", found[1]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a section and its landmarks, under the names that the pages use."""
    folder = tmp_path_factory.mktemp("docs")
    choices: dict[str, Any] = {"n_spots": 200, "n_genes": 60, "ions_per_kind": 4, "image_px": 128, "seed": 2}
    simulation = st2msi.simulate(name="brain", pixel_size_um=25, **choices)
    (section,), (truth,) = simulation.sections, simulation.truth.sections.values()
    truth.landmarks.filter(regex="^(moving|fixed)").to_csv(folder / "landmarks.csv")
    st2msi.register(section)
    st2msi.save(section, folder / "section.zarr")
    return folder


def run(page: str, instead: dict[str, str]) -> dict[str, Any]:
    """Run the first block of Python of a page, with files of the sample in place of those that it names."""
    code = next(code for where, code in blocks("python") if where.startswith(f"{page}:"))
    for old, new in instead.items():
        assert old in code
        code = code.replace(old, new)
    names: dict[str, Any] = {}
    exec(code, names)
    return names


def commands() -> Iterator[tuple[str, list[str]]]:
    for where, block in blocks(""):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("napari-st2msi "):
                words = shlex.split(line, comments=True)[1:]
                yield f"{where} {words[0]}", words


@pytest.mark.parametrize("code", [pytest.param(code, id=where) for where, code in blocks("python")])
def test_python_names_what_is_there(code: str) -> None:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = importlib.import_module(node.module)
            assert [each.name for each in node.names if not hasattr(module, each.name)] == []
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "st2msi":
            assert hasattr(st2msi, node.attr)


@pytest.mark.parametrize("words", [pytest.param(words, id=where) for where, words in commands()])
def test_commands_take_these_options(words: list[str]) -> None:
    known: Any = typer.main.get_command(app)
    assert words[0] in known.commands
    known.commands[words[0]].make_context(words[0], words[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_scripts_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = [page.parent / each for each in re.findall(r"\]\((?!http)([^)#]+)", text)]
    targets += [ROOT / each for each in re.findall(r"\b((?:benchmarks|scripts|workflow)/[\w/]+\.\w+)", text)]
    assert [str(each) for each in targets if not each.exists()] == []


def test_the_house_is_described_as_it_stands() -> None:
    named = set(re.findall(r"`(?:\w+/)*(\w+\.py)`", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")))
    assert named <= {path.name for room in ("src", "tests") for path in (ROOT / room).rglob("*.py")}


def test_what_the_readme_shows_runs(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sample)
    names = run("README.md", {'"outs/", msi="brain.imzML"': '"section.zarr"', "other-outs/": "section.zarr"})
    assert names["registration"].left_out["median"] > 0
    assert names["prediction"].shape == (200, 28)
    assert (sample / "model" / "model.json").is_file()


def test_what_the_page_on_learnability_shows_runs(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sample)
    names = run("learnability.md", {})
    assert len(names["found"].table) == 28
    assert (sample / "learnability" / "learnability.json").is_file()
