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
    {"cli"},
    {"viewer"},
]
NEIGHBOURS = {
    "models": {"features"},
    "training": {"evaluation"},
    "report": {"evaluation"},
}
# Two commands open a window; they import it when they run.
UPWARD = {("cli", "viewer")}

HEAVY = ("torch", "napari", "qtpy", "PyQt5", "PyQt6", "PySide6", "spatialdata", "squidpy", "anndata", "pandas", "numpy")
WINDOWS = {"napari", "qtpy", "PyQt5", "PyQt6", "PySide2", "PySide6", "magicgui", "superqt", "vispy", "pyqtgraph"}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        parts = list(path.relative_to(SOURCE).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        yield ".".join([PACKAGE, *parts]), ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


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


@pytest.mark.parametrize("name", [name for name in TREES if room(name)])
def test_imports_go_down(name: str) -> None:
    here = room(name)
    for target in imports(name):
        there = room(target)
        if target.split(".")[0] != PACKAGE or there in ("", here) or (here, there) in UPWARD:
            continue
        allowed = floor(there) < floor(here) or there in NEIGHBOURS.get(here, ()) or floor(here) == floor(there) == 0
        assert allowed, f"{name} imports {target}: {here} may not lean on {there}"


def test_no_circles() -> None:
    graph = {name: {target for target in imports(name) if target in TREES and target != name} for name in TREES}
    # The package itself looks names up by string; what imports it imports only a version.
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("modules import each other in a circle: " + " → ".join(error.args[1]))


@pytest.mark.parametrize("name", list(TREES))
def test_only_the_viewer_knows_of_windows(name: str) -> None:
    if room(name) == "viewer":
        return
    used = {target.split(".")[0] for target in imports(name)} & WINDOWS
    assert not used, f"{name} imports {', '.join(used)}; that belongs into viewer/"


@pytest.mark.parametrize("name", list(TREES))
def test_no_code_is_read_from_data(name: str) -> None:
    assert not {target.split(".")[0] for target in imports(name)} & {
        "pickle",
        "dill",
        "cloudpickle",
        "shelve",
        "joblib",
    }
    for node in ast.walk(TREES[name]):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        assert called not in {"eval", "exec", "torch.load", "yaml.load", "yaml.unsafe_load", "pd.read_pickle"}, (
            f"{name} line {node.lineno} calls {called}"
        )
        allows = [word for word in node.keywords if word.arg == "allow_pickle"]
        assert all(isinstance(word.value, ast.Constant) and not word.value.value for word in allows), (
            f"{name} line {node.lineno} allows pickle"
        )


@pytest.mark.parametrize("name", list(TREES))
def test_a_file_has_one_subject(name: str) -> None:
    path = SOURCE.joinpath(*name.split(".")[1:])
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= 450, f"{path.name} has {lines} lines, which usually hides a second subject"


def fresh(code: str) -> list[str]:
    """Run code in a new interpreter and return what it printed, as words."""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.split()


def test_the_package_imports_light() -> None:
    code = f"import sys, {PACKAGE}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    assert fresh(code) == []


def test_the_package_imports_fast() -> None:
    code = f"import time; start = time.perf_counter(); import {PACKAGE}; print(time.perf_counter() - start)"
    assert min(float(fresh(code)[0]) for _ in range(5)) < 0.3


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
