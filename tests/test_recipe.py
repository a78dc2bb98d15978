"""`Recipe`, `Progress` and ion names."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pytest

from napari_st2msi.errors import FileProblem, RecipeProblem
from napari_st2msi.ions import has_mz, ion_frame, ion_label
from napari_st2msi.progress import Cancelled, Progress, check
from napari_st2msi.recipe import Recipe


def test_yaml_there_and_back() -> None:
    recipe = Recipe.model_validate({"genes": {"n_top": None}, "model": {"alphas": (1, 10)}})
    assert Recipe.from_yaml(recipe.to_yaml()) == recipe
    assert Recipe.from_yaml("") == Recipe()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("genes: {n_topp: 5}", "'genes.n_topp' is not a choice"),
        ("evaluation: {n_folds: 1}", "'evaluation.n_folds' is 1: input should be greater than or equal to 2"),
        ("model: {alphas: [1]}", r"^'model\.alphas\.1' is missing\.$"),
        ("genes: [", "not valid YAML"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
        ("5", "'recipe' is 5"),
    ],
)
def test_a_wrong_recipe_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(RecipeProblem, match=message):
        Recipe.from_yaml(text)


def test_a_recipe_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileProblem, match="cannot be read"):
        Recipe.read(tmp_path / "missing.yaml")
    (tmp_path / "picture.yaml").write_bytes(b"\x89PNG\xff")
    with pytest.raises(FileProblem, match="cannot be read"):
        Recipe.read(tmp_path / "picture.yaml")


def test_progress_of_parts_adds_up() -> None:
    seen: list[float] = []
    whole = Progress(lambda fraction, message: seen.append(fraction))
    for fold in range(2):
        part = whole.part(fold / 2, (fold + 1) / 2)
        part(0.5)
        part.part(0.5, 1)(1.0)
    assert seen == [0.25, 0.5, 0.75, 1.0]
    Progress()(0.3)


def test_cancel_raises() -> None:
    check(lambda: False)
    with pytest.raises(Cancelled):
        check(lambda: True)


@pytest.mark.parametrize("column", ["mz", "m/z", "MZ", "m.z"])
def test_mz_is_found_under_the_names_people_use(column: str) -> None:
    table = ad.AnnData(np.ones((1, 2)))
    table.var[column] = ["798.541", "104.1"]
    table.var["moleculeNames"] = [["PC(34:1)", "PC(33:2)"], None]
    table.var["adducts"] = ["M+K", "M+H"]
    assert has_mz(table)
    frame = ion_frame(table)
    assert frame["label"].tolist() == ["m/z 798.5410 PC(34:1)+K (+1)", "m/z 104.1000"]
    assert frame["name"].tolist() == ["PC(34:1); PC(33:2)", ""]


@pytest.mark.parametrize("values", [["a", "b"], [0.0, 5.0], [np.nan, 5.0]])
def test_a_column_that_is_no_mz_makes_no_msi(values: list[object]) -> None:
    table = ad.AnnData(np.ones((1, 2)))
    table.var["mz"] = values
    assert not has_mz(table)


@pytest.mark.parametrize(
    ("adduct", "shown"),
    [
        ("[M+K]+", "+K"),
        ("[M-H]-", "-H"),
        ("[M+K]", "+K"),
        ("M+K", "+K"),
        ("+K", "+K"),
        ("[2M+Na]+", " [2M+Na]+"),
        ("", ""),
    ],
)
def test_adducts_are_shown_alike_however_they_are_written(adduct: str, shown: str) -> None:
    assert ion_label(798.541, "PC(34:1)", adduct) == f"m/z 798.5410 PC(34:1){shown}"
