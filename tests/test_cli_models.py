"""The commands about models that are not train and predict: search for settings, read a card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import napari_st2msi as st2msi
from command_line import result, run
from napari_st2msi.recipe import Recipe

QUICK = ("--model", "ridge", "--n-alphas", "4")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tables")
    both = st2msi.simulate(n_spots=200, n_genes=40, ions_per_kind=1, image_px=128).paired()
    both.genes.write_h5ad(folder / "genes.h5ad")
    both.ions.write_h5ad(folder / "ions.h5ad")
    return folder / "genes.h5ad", folder / "ions.h5ad"


def test_search_writes_recipe_history_and_plot(tables: tuple[Path, Path], tmp_path: Path) -> None:
    genes, ions = tables
    out, history, plot = tmp_path / "recipe.yaml", tmp_path / "history.csv", tmp_path / "history.png"
    facts = result(
        "search", genes, "--msi", ions, *QUICK, "--trials", 4, "--out", out, "--history", history, "--plot", plot
    )
    assert facts["trials"] == 4
    recipe = Recipe.read(out)
    assert recipe.model.name == "ridge"
    assert recipe.search.trials == 0
    for path, value in facts["changed"].items():
        section, field = path.split(".")
        assert getattr(getattr(recipe, section), field) == value
    table = pd.read_csv(history)
    assert len(table) == 4
    assert table["best"].iloc[-1] == pytest.approx(facts["best_r2"], rel=1e-4)
    assert plot.read_bytes()[:4] == b"\x89PNG"
    done = run("search", genes, "--msi", ions, "--out", out)
    assert done.exit_code == 2
    assert "already there" in done.stderr


def test_train_with_trials_and_intervals_then_read_the_card(tables: tuple[Path, Path], tmp_path: Path) -> None:
    genes, ions = tables
    folder, report = tmp_path / "model", tmp_path / "report.html"
    choices = ("--trials", 2, "--n-folds", 2, "--interval-level", 0.8, "--buffer-um", 0)
    facts = result("train", genes, "--msi", ions, *QUICK, *choices, "--out", folder, "--report", report)
    assert "meant to hold 80%" in facts["intervals"]
    page = report.read_text(encoding="utf-8")
    assert "Search for settings" in page
    assert "values within" in page
    shown = run("info", folder).stdout
    for words in ("## Where not to use it", "## Intervals", "one section", "ridge", "n_alphas: 4"):
        assert words in shown
    told = result("info", folder)
    assert told["spots"] == 200
    assert told["intervals"] == facts["intervals"]
    predicted = result("predict", folder, genes, "--out", tmp_path / "p.h5ad")
    assert any("trained on spots of this section" in note for note in predicted["notes"])
    assert 0 <= predicted["provenance"]["share_ood"] < 0.2
    (folder / "model.json").write_text("{}")
    assert run("info", folder).exit_code == 2


def test_random_folds_are_warned_of(tables: tuple[Path, Path], tmp_path: Path) -> None:
    genes, ions = tables
    done = run("train", genes, "--msi", ions, *QUICK, "--protocol", "random", "--n-folds", 2, "--out", tmp_path / "m")
    assert done.exit_code == 0, done.stderr
    assert "flatter" in done.stdout
    assert "which flatters: real skill is lower" in run("info", tmp_path / "m").stdout
    model = st2msi.load_model(tmp_path / "m")
    # Random folds say nothing of new tissue, so intervals are from blocks all the same.
    assert model.intervals is not None
    assert model.intervals.held_out == "blocks of tissue"
    assert np.isfinite(model.intervals.half).any()


def test_standardising_within_sections_is_compared(tmp_path: Path) -> None:
    both = st2msi.simulate(n_spots=120, n_genes=30, ions_per_kind=1, image_px=128, n_sections=2, batch=1.0).paired()
    for name, table in (("genes", both.genes), ("ions", both.ions)):
        table.obs["slide"] = table.obs["section"].astype(str)
        table.write_h5ad(tmp_path / f"{name}.h5ad")
    tables = (tmp_path / "genes.h5ad", "--msi", tmp_path / "ions.h5ad", "--section-column", "slide", *QUICK)
    choices = ("--protocol", "leave_group_out", "--compare-standardisation")
    facts = result("train", *tables, *choices, "--out", tmp_path / "m", "--report", tmp_path / "r.html")
    assert "Standardising genes within each section" in facts["batch"]
    assert "Differences between sections" in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "two sections. Its penalties were chosen by holding out each once" in run("info", tmp_path / "m").stdout
