"""The rules of the house: who may import whom, how light the package starts, what is never used."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = "napari_st2msi"
SOURCE = Path(__file__).resolve().parents[1] / "src" / PACKAGE

# Each room may import the rooms below it and those of its own floor that are named beside it.
FLOORS = [
    {"errors", "progress", "grid", "ions", "shapes", "roles", "recipe", "section", "paired"},
    {"models", "features", "io"},
    {"registration", "pairing", "training", "evaluation", "explain", "report"},
    {"pipeline"},
    {"benchmarking"},
    {"cli"},
    {"viewer"},
]
NEIGHBOURS = {
    "models": {"features"},
    "training": {"evaluation"},
    "report": {"evaluation", "registration"},
}
# Two commands open a window; they import it when they run.
UPWARD = {("cli", "viewer")}

HEAVY = ("torch", "napari", "qtpy", "PyQt5", "PyQt6", "PySide6", "spatialdata", "squidpy", "anndata", "pandas", "numpy")
WINDOWS = {"napari", "qtpy", "PyQt5", "PyQt6", "PySide2", "PySide6", "magicgui", "superqt", "vispy", "pyqtgraph"}


UNSAFE_MODULES = {"pickle", "dill", "cloudpickle", "shelve", "joblib"}
UNSAFE_CALLS = {"eval", "exec", "torch.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "pd.read_pickle"}
MOST_LINES = 450


def sources() -> Iterator[tuple[Path, str]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path, path.read_text(encoding="utf-8")


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path, text in sources():
        parts = list(path.relative_to(SOURCE).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        yield ".".join([PACKAGE, *parts]), ast.parse(text, filename=str(path))


TREES = dict(modules())


def imports(name: str) -> set[str]:
    """Modules that a module imports anywhere: at the top, inside functions, or for types only."""
    found: set[str] = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively; write the full name"
            assert node.module is not None
            # `from package import module` names a module, `from module import thing` does not.
            found |= {full if (full := f"{node.module}.{alias.name}") in TREES else node.module for alias in node.names}
    return found


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def floor(name: str) -> int:
    return next(level for level, rooms in enumerate(FLOORS) if name in rooms)


def test_every_module_has_a_floor() -> None:
    assert {room(name) for name in TREES} - {""} <= set().union(*FLOORS)


def test_imports_go_down() -> None:
    wrong = []
    for name in TREES:
        here = room(name)
        for target in imports(name):
            there = room(target)
            if target.split(".")[0] != PACKAGE or "" in (here, there) or there == here or (here, there) in UPWARD:
                continue
            beside = there in NEIGHBOURS.get(here, ()) or floor(here) == floor(there) == 0
            if floor(there) >= floor(here) and not beside:
                wrong.append(f"{name} imports {target}: {here} may not lean on {there}")
    assert not wrong


def test_no_circles() -> None:
    graph = {name: {target for target in imports(name) if target in TREES and target != name} for name in TREES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("modules import each other in a circle: " + " → ".join(error.args[1]))


def test_only_the_viewer_knows_of_windows() -> None:
    used = {name: {target.split(".")[0] for target in imports(name)} & WINDOWS for name in TREES}
    assert not {name: found for name, found in used.items() if found and room(name) != "viewer"}


def test_no_code_is_read_from_data() -> None:
    wrong = []
    for name, tree in TREES.items():
        wrong += [f"{name} imports {target}" for target in imports(name) if target.split(".")[0] in UNSAFE_MODULES]
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            if ast.unparse(node.func) in UNSAFE_CALLS:
                wrong.append(f"{name} line {node.lineno} calls {ast.unparse(node.func)}")
            for word in node.keywords:
                if word.arg == "allow_pickle" and ast.unparse(word.value) != "False":
                    wrong.append(f"{name} line {node.lineno} allows pickle")
    assert not wrong


def test_a_file_has_one_subject() -> None:
    long = {path.name: text.count("\n") for path, text in sources() if text.count("\n") > MOST_LINES}
    assert not long, "so many lines usually hide a second subject"


def fresh(code: str) -> list[str]:
    """Run code in a new interpreter and return what it printed, as words."""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.split()


def test_the_package_imports_nothing_but_what_python_brings() -> None:
    code = f"import sys; before = set(sys.modules); import {PACKAGE}; print(*set(sys.modules) - before)"
    loaded = {name for name in fresh(code) if name.split(".")[0] not in sys.stdlib_module_names}
    assert loaded == {PACKAGE}


def test_help_imports_light() -> None:
    code = f"""
import sys
from {PACKAGE}.cli import main
sys.argv = ["napari-st2msi", "--help"]
try:
    main()
except SystemExit as end:
    assert end.code in (0, None), end.code
sys.stdout.flush()
print("LOADED", *[name for name in {HEAVY!r} if name in sys.modules])
"""
    words = fresh(code)
    assert words[words.index("LOADED") + 1 :] == []


def test_names_are_looked_up_when_used() -> None:
    import napari_st2msi

    for name in napari_st2msi.__all__:
        assert getattr(napari_st2msi, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = napari_st2msi.nonsense
