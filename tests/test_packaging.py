"""What is shipped: the manifest, the wheel, the entry points, the change log."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import distribution, packages_distributions, version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MANIFEST = ROOT / "src" / "napari_st2msi" / "napari.yaml"


def run(*command: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run("build", "--wheel", "--no-isolation", "--outdir", str(folder))
    (built,) = folder.glob("*.whl")
    return built


def test_the_root_manifest_is_the_packaged_one() -> None:
    link = ROOT / "napari.yaml"
    assert link.is_symlink()
    assert link.resolve() == MANIFEST
    assert link.read_bytes() == MANIFEST.read_bytes()


def test_the_editable_manifest_is_valid() -> None:
    assert "valid" in run("npe2", "validate", "--imports", "napari-st2msi")


def test_the_wheel_has_what_it_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as files:
        names = set(files.namelist())
        assert files.read("napari_st2msi/napari.yaml") == MANIFEST.read_bytes()
    here = [path for path in MANIFEST.parent.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {path.relative_to(MANIFEST.parent.parent).as_posix() for path in here} <= names
    assert "napari_st2msi/py.typed" in names
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests")]


def test_the_wheel_s_manifest_is_valid(wheel: Path, tmp_path: Path) -> None:
    run("pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(tmp_path), str(wheel))
    found = run(
        "npe2", "validate", "--imports", str(tmp_path / "napari_st2msi" / "napari.yaml"), PYTHONPATH=str(tmp_path)
    )
    assert "valid" in found
    # By its name, as napari finds it: the copy on the path comes before the editable one.
    code = (
        "import npe2, napari_st2msi; print(napari_st2msi.__file__); "
        "npe2.PluginManifest.from_distribution('napari-st2msi')"
    )
    where = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert Path(where.stdout.strip()).is_relative_to(tmp_path)


def test_entry_points_load() -> None:
    points = {(point.group, point.name): point for point in distribution("napari-st2msi").entry_points}
    assert callable(points["console_scripts", "napari-st2msi"].load())
    manifest = points["napari.manifest", "napari-st2msi"]
    assert (manifest.module, manifest.attr) == ("napari_st2msi", "napari.yaml")


def test_the_change_log_knows_this_version() -> None:
    import tomllib

    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    headings = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert version("napari-st2msi") == declared
    assert next(name for name in headings if name != "Unreleased") == declared


def test_base_dependencies_bring_no_window() -> None:
    needed = [line for line in distribution("napari-st2msi").requires or [] if "extra ==" not in line]
    assert not [line for line in needed if re.match(r"(PyQt|PySide|napari\[)", line)]


def test_timm_comes_by_its_own_extra_alone() -> None:
    # It brings torchvision, which breaks beside a torch of another build.
    needed = [line for line in distribution("napari-st2msi").requires or [] if re.match(r"(timm|torchvision)\b", line)]
    assert [re.sub(r"""['"]""", "", line.partition(";")[2]).strip() for line in needed] == ["extra == histology"]


def test_dependencies_are_what_the_package_imports() -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    requirements = [Requirement(line) for line in distribution("napari-st2msi").requires or []]
    base = {canonicalize_name(each.name) for each in requirements if each.marker is None}
    optional = {canonicalize_name(each.name) for each in requirements if "'all'" in str(each.marker).replace('"', "'")}
    imported = set()
    for path in MANIFEST.parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    foreign = imported - sys.stdlib_module_names - {"napari_st2msi"}
    distributions = packages_distributions()
    owners = {name: {canonicalize_name(owner) for owner in distributions[name]} for name in foreign}
    undeclared = {name for name, owned_by in owners.items() if not owned_by & (base | optional)}
    assert not undeclared
    assert base <= set().union(*owners.values())


def test_pins_meet_the_declared_requirements() -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines if "==" in line}
    for line in distribution("napari-st2msi").requires or []:
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{name} is not pinned in constraints.txt"
        assert pins[name] in requirement.specifier, f"{name}=={pins[name]} is pinned, {requirement} is declared"
