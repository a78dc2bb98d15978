"""The command that says which genes and ions have a pattern in the tissue."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

import napari_st2msi as st2msi
from napari_st2msi.cli.app import app


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["autocorrelation", *map(str, arguments)])


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[str]]:
    folder = tmp_path_factory.mktemp("tables")
    both = st2msi.simulate(n_spots=200, n_genes=40, ions_per_kind={"smooth": 3, "noise": 3}, image_px=128).paired()
    both.genes.write_h5ad(folder / "genes.h5ad")
    both.ions.write_h5ad(folder / "ions.h5ad")
    return folder / "genes.h5ad", folder / "ions.h5ad", both.ions.var_names.tolist()


def test_a_table_and_local_images(tables: tuple[Path, Path, list[str]], tmp_path: Path) -> None:
    genes, ions, names = tables
    out, local = tmp_path / "s.parquet", tmp_path / "local.h5ad"
    more = ("--permutations", 19, "--local", names[0], "--local", names[1], "--local-out", local)
    done = run(genes, "--msi", ions, "--out", out, *more, "--json")
    assert done.exit_code == 0, done.stderr
    facts, table = json.loads(done.stdout), pd.read_parquet(out)
    assert facts["ions"]["number"] == 6
    assert facts["ions"]["with_a_pattern"] == (table["moran_q"][table["of"] == "ion"] <= 0.05).sum() == 3
    assert facts["ions"]["smoothest"][0] == table[table["of"] == "ion"].nlargest(1, "moran_i")["name"].item()
    assert "geary_q_perm" in table
    assert anndata.read_h5ad(local).var_names.tolist() == names[:2]


def test_a_csv_of_ions_in_words(tables: tuple[Path, Path, list[str]], tmp_path: Path) -> None:
    genes, ions, _ = tables
    out = tmp_path / "s.csv"
    done = run(genes, "--msi", ions, "--out", out, "--of", "ions", "--neighbours", 4)
    assert done.exit_code == 0, done.stderr
    assert "3 of 6 have a pattern" in done.stdout
    assert pd.read_csv(out)["of"].unique().tolist() == ["ion"]
    again = run(genes, "--msi", ions, "--out", out)
    assert again.exit_code == 2
    assert "already there" in again.stderr


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--out", "s.xlsx"), "End it in .csv or .parquet"),
        (("--out", "no/s.csv"), "There is no folder 'no'"),
        (("--out", "s.csv", "--local", "x", "--local-out", "l.csv"), "End it in .h5ad"),
        (("--out", "s.csv", "--local", "x"), "Give both, or neither"),
        (("--out", "s.csv", "--local", "x", "--local-out", "l.h5ad"), "There is no ion 'x'"),
        (("--out", "s.csv", "--neighbours", "0"), "equal to 1"),
    ],
)
def test_what_is_refused(
    tables: tuple[Path, Path, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    genes, ions, _ = tables
    done = run(genes, "--msi", ions, *given)
    assert done.exit_code == 2
    assert words in " ".join(done.stderr.replace("│", " ").split())
    assert not list(tmp_path.iterdir())
