"""The commands `explain` and `perturb`: what they write, and what they say when they cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import napari_st2msi as st2msi
from command_line import refused, result, run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a section, which has regions, and a model trained on its spots."""
    folder = tmp_path_factory.mktemp("explain")
    simulation = st2msi.simulate(n_spots=150, n_genes=60, ions_per_kind={"linear": 2, "presence": 1}, image_px=128)
    paired = simulation.paired()
    recipe = st2msi.Recipe.model_validate({"model": {"name": "ridge"}, "genes": {"n_components": 20}})
    st2msi.train(paired, recipe).save(folder / "model")
    paired.genes.obs["region"] = np.repeat(["cortex", "thalamus", "rest"], 50)
    paired.genes.write_h5ad(folder / "genes.h5ad")
    return folder


@pytest.fixture(scope="module")
def ion(made: Path) -> str:
    return str(st2msi.load_model(made / "model").ions.index[0])


def test_the_genes_behind_an_ion_are_written_strongest_first(made: Path, ion: str, tmp_path: Path) -> None:
    out = tmp_path / "genes.csv"
    facts = result("explain", made / "model", made / "genes.h5ad", "--ion", ion, "--out", out)
    table = pd.read_csv(out, index_col="gene")
    assert (np.diff(table["strength"]) <= 0).all()
    assert {"strength", "mean", "strength_own", "strength_ring1"} <= set(table)
    assert next(iter(facts["genes"])) == table.index[0]
    assert facts["method"] == "linear"
    assert facts["gap"] < 1e-5
    assert facts["checks"]["advantage_over_random_genes"] > 1
    assert facts["checks"]["agreement"] is None
    words = run("explain", made / "model", made / "genes.h5ad", "--ion", ion, "--out", tmp_path / "again.csv").stdout
    assert "exact linear terms" in words
    assert "log(1 + intensity)" in words


def test_spots_are_chosen_by_obs_or_by_a_file(made: Path, ion: str, tmp_path: Path) -> None:
    names = tmp_path / "spots.txt"
    spots = pd.Index(st2msi.open_section(made / "genes.h5ad").st.obs_names)
    names.write_text("\n".join(spots[:7]) + "\n")
    for number, (choice, count) in enumerate([(["region=cortex"], 50), ([names], 7), (["region=cortex", names], 7)]):
        options = [word for each in choice for word in ("--spots", each)]
        out = tmp_path / f"{number}.csv"
        facts = result(
            "explain", made / "model", made / "genes.h5ad", "--ion", ion, "--out", out, "--no-checks", *options
        )
        assert facts["spots"] == count
        assert "checks" not in facts


def test_what_one_gene_brings_is_a_column_and_several_ions_are_columns(made: Path, ion: str, tmp_path: Path) -> None:
    model = st2msi.load_model(made / "model")
    gene, other = model.predictor.design_.genes_.names_[:2], str(model.ions.index[1])
    out = tmp_path / "spots.csv"
    options = ["--gene", gene[0], "--gene", gene[1], "--no-checks"]
    result("explain", made / "model", made / "genes.h5ad", "--ion", ion, "--out", out, *options)
    assert pd.read_csv(out, index_col="spot").shape == (150, 2)
    both = tmp_path / "ions.csv"
    facts = result("explain", made / "model", made / "genes.h5ad", "--ion", ion, "--ion", other, "--out", both)
    assert list(pd.read_csv(both, index_col="gene")) == facts["ions"] == [ion, other]


def test_a_pathway_is_a_column_beside_genes(made: Path, ion: str, tmp_path: Path) -> None:
    names = st2msi.load_model(made / "model").predictor.design_.genes_.names_
    sets, out = tmp_path / "sets.gmt", tmp_path / "spots.csv"
    sets.write_text("lipids\tx\t" + "\t".join(names[:3]) + "\nothers\tx\tNOTHING\n")
    options = ["--pathway", "lipids", "--gene-sets", sets, "--gene", names[0], "--no-checks"]
    result("explain", made / "model", made / "genes.h5ad", "--ion", ion, "--out", out, *options)
    table = pd.read_csv(out, index_col="spot")
    assert list(table) == [names[0], "lipids"]
    expected = st2msi.explain_ion(st2msi.load_model(made / "model"), st2msi.open_section(made / "genes.h5ad"), ion)
    np.testing.assert_allclose(table["lipids"], expected.of(names[:3]), atol=1e-5)


def test_attention_is_written_per_ion_or_per_spot(made: Path, ion: str, tmp_path: Path) -> None:
    paired = st2msi.simulate(n_spots=150, n_genes=60, ions_per_kind={"linear": 2, "presence": 1}, image_px=128).paired()
    recipe = {"model": {"name": "transformer", "ensemble": 1}, "networks": {"epochs": 1}, "genes": {"n_components": 8}}
    model = st2msi.train(paired, st2msi.Recipe.model_validate(recipe))
    model.save(tmp_path / "transformer")
    other = str(model.ions.index[1])
    explain = ("explain", tmp_path / "transformer", made / "genes.h5ad", "--attention", "--ion", ion)
    one = result(*explain, "--out", tmp_path / "one.csv")
    table = pd.read_csv(tmp_path / "one.csv", index_col="gene")
    assert table[ion].sum() == pytest.approx(1, abs=1e-4)
    assert next(iter(one["genes"])) == table.index[0]
    assert one["checks"]["random_weights"] is not None
    result(*explain, "--ion", other, "--out", tmp_path / "two.csv")
    assert list(pd.read_csv(tmp_path / "two.csv", index_col="gene")) == [ion, other]
    spots = tmp_path / "spots.csv"
    result(*explain, "--gene", table.index[0], "--out", spots, "--no-checks", "--spots", "region=cortex")
    assert pd.read_csv(spots, index_col="spot").shape == (50, 1)
    assert "not of a stage" in refused(*explain, "--part", "presence", "--out", tmp_path / "no.csv")
    ridge = ("explain", made / "model", *explain[2:])
    assert "has no attention to show" in refused(*ridge, "--out", tmp_path / "no.csv")


def test_a_change_of_genes_is_written_per_ion_and_per_spot(made: Path, tmp_path: Path) -> None:
    gene = st2msi.load_model(made / "model").predictor.design_.genes_.names_[0]
    out, images = tmp_path / "change.csv", tmp_path / "images.csv"
    facts = result(
        "perturb", made / "model", made / "genes.h5ad", "--gene", gene, "--scale", 3, "--spots", "region=thalamus",
        "--out", out, "--images", images,
    )  # fmt: skip
    assert facts["spots"] == 50
    assert facts["change"] == f"{gene} × 3"
    table = pd.read_csv(out, index_col="ion")
    assert {"before", "after", "change", "relative", "around"} <= set(table)
    np.testing.assert_allclose(table["change"], table["after"] - table["before"])
    assert pd.read_csv(images, index_col="spot").shape == (150, 3)


def test_what_cannot_be_explained_is_refused_in_words(made: Path, ion: str, tmp_path: Path) -> None:
    explain = ("explain", made / "model", made / "genes.h5ad", "--out", tmp_path / "t.csv")
    assert "no ion at m/z 12.5" in refused(*explain, "--ion", "12.5")
    assert "no column 'cluster'" in refused(*explain, "--ion", ion, "--spots", "cluster=3")
    assert "No spot fulfils region=liver" in refused(*explain, "--ion", ion, "--spots", "region=liver")
    assert "neither COLUMN=VALUE nor a file" in refused(*explain, "--ion", ion, "--spots", "nowhere.txt")
    assert "does not use the gene 'GFAP'" in refused(*explain, "--ion", ion, "--gene", "GFAP", "--no-checks")
    assert "has no stages" in refused(*explain, "--ion", ion, "--part", "presence")
    assert "Give one --ion" in refused(*explain, "--ion", ion, "--ion", ion, "--gene", "GFAP")
    assert "End it in .csv" in refused(*explain[:3], "--ion", ion, "--out", tmp_path / "t.txt")
    assert "no model folder" in refused("explain", tmp_path / "no", made / "genes.h5ad", "--ion", ion, *explain[3:])


def test_what_cannot_be_changed_is_refused_in_words(made: Path, tmp_path: Path) -> None:
    perturb = ("perturb", made / "model", made / "genes.h5ad", "--out", tmp_path / "t.csv")
    assert "one of --knock-out, --scale and --set-to" in refused(*perturb, "--gene", "a")
    assert "one of --knock-out" in refused(*perturb, "--gene", "a", "--knock-out", "--scale", 2)
    assert "not in the data, such as 'a'" in refused(*perturb, "--gene", "a", "--knock-out")
    assert "No gene is chosen" in refused(*perturb, "--knock-out")
    assert "0 or more" in refused(*perturb, "--gene", "a", "--scale", -2)
    assert "no pathway 'nothing'" in refused(*perturb, "--pathway", "nothing", "--knock-out")
    (tmp_path / "t.csv").write_text("")
    assert "already there" in refused(*perturb, "--gene", "a", "--knock-out")
