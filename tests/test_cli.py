"""The commands, one after the other on a simulated section, and what they say when they cannot."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer

import napari_st2msi as st2msi
from command_line import refused, result, run
from napari_st2msi.cli.app import app

_PROGRAM: Any = typer.main.get_command(app)
COMMANDS = tuple(_PROGRAM.commands)
# Small enough to be quick, and still something to learn.
QUICK = ["--n-folds", "2", "--n-alphas", "4"]


@pytest.fixture(scope="module")
def unpaired(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A section as it comes: not registered, with landmarks."""
    simulation = st2msi.simulate(n_spots=150, n_genes=60, ions_per_kind=2, image_px=128)
    return st2msi.save(simulation.sections[0], tmp_path_factory.mktemp("cli") / "section.zarr")


@pytest.fixture(scope="module")
def paired(unpaired: Path) -> Path:
    path = unpaired.with_name("paired.zarr")
    shutil.copytree(unpaired, path)
    result("register", path)
    result("pair", path)
    return path


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two tables with the same spots, of three donors."""
    folder = tmp_path_factory.mktemp("tables")
    both = st2msi.simulate(n_spots=150, n_genes=40, ions_per_kind=2, image_px=128).paired()
    for table in (both.genes, both.ions):
        table.obs["donor"] = np.repeat(["A", "B", "C"], 50)
    both.genes.write_h5ad(folder / "genes.h5ad")
    both.ions.write_h5ad(folder / "ions.h5ad")
    return folder / "genes.h5ad", folder / "ions.h5ad"


@pytest.fixture(scope="module")
def model(paired: Path) -> Path:
    result("train", paired, "--out", paired.with_name("model"), *QUICK)
    return paired.with_name("model")


def test_help_names_every_command() -> None:
    done = run("--help")
    assert done.exit_code == 0
    assert all(command in done.output for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    done = run(command, "--help")
    assert done.exit_code == 0
    assert f"napari-st2msi {command}" in done.output


def test_version() -> None:
    assert run("--version").output.strip() == f"napari-st2msi {st2msi.__version__}"


def test_info_says_what_is_there(unpaired: Path) -> None:
    facts = result("info", unpaired)
    assert (facts["spots"], facts["genes"], facts["ions"]) == (150, 60, 14)
    assert facts["registered"] is False
    shown = run("info", unpaired)
    assert "150 spots × 60 genes" in shown.stdout


def test_convert_writes_what_can_be_opened(unpaired: Path, tmp_path: Path) -> None:
    facts = result("convert", unpaired, tmp_path / "copy.zarr", "--name", "renamed")
    assert facts["path"] == str(tmp_path / "copy.zarr")
    assert result("info", tmp_path / "copy.zarr")["name"] == "renamed"
    assert "already there" in refused("convert", unpaired, tmp_path / "copy.zarr")
    assert run("convert", unpaired, tmp_path / "copy.zarr", "--overwrite").exit_code == 0


def test_register_measures_the_error_that_counts(unpaired: Path, tmp_path: Path) -> None:
    facts = result("register", unpaired, "--out", tmp_path / "registered.zarr", "--transform", "similarity")
    assert facts["transform"]["kind"] == "similarity"
    assert facts["left_out"]["median"] > 0
    assert st2msi.open_section(tmp_path / "registered.zarr").registered
    assert not st2msi.open_section(unpaired).registered


def test_register_takes_a_file_of_landmarks(unpaired: Path, tmp_path: Path) -> None:
    square = np.array([[0.0, 0], [1000, 0], [0, 1000], [900, 900]])
    frame = pd.DataFrame(square, columns=["msi_x_um", "msi_y_um"])
    frame["st_x_um"], frame["st_y_um"] = square[:, 0] + 5, square[:, 1] - 7
    frame.to_csv(tmp_path / "landmarks.csv", index_label="id")
    facts = result("register", unpaired, "--landmarks", tmp_path / "landmarks.csv", "--out", tmp_path / "out.zarr")
    assert facts["left_out"]["max"] < 1e-6


def test_pair_tells_coverage(paired: Path, tmp_path: Path) -> None:
    facts = result("pair", paired, "--method", "radius", "--radius-um", "60", "--out", tmp_path / "out.zarr")
    assert facts["choices"]["method"] == "radius"
    assert 0 < facts["paired_spots"] <= 150
    assert st2msi.open_section(tmp_path / "out.zarr").paired


def test_pair_before_registration(unpaired: Path) -> None:
    assert "not registered" in refused("pair", unpaired)


def test_train_leaves_model_report_scores_and_prediction(paired: Path, tmp_path: Path) -> None:
    out, report, scores = tmp_path / "model", tmp_path / "report.html", tmp_path / "scores.csv"
    facts = result("train", paired, "--out", out, "--report", report, "--scores", scores, *QUICK, "--n-top", "30")
    assert facts["recipe"]["genes"]["n_top"] == 30
    assert set(facts["scores"]["predictors"]) == {"two_stage", "mean", "counts", "coordinates", "position"}
    assert "<html" in report.read_text(encoding="utf-8")
    assert len(pd.read_csv(scores)) == 14
    assert st2msi.load_model(out).recipe.genes.n_top == 30
    predicted = st2msi.open_section(paired).predicted
    assert predicted is not None
    assert predicted.uns["provenance"]["kind"] == "out_of_fold"


def test_train_before_pairing(unpaired: Path, tmp_path: Path) -> None:
    assert "not paired" in refused("train", unpaired, "--out", tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_train_refuses_early_what_would_fail_late(paired: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    assert "already there" in refused("train", paired, "--out", tmp_path / "model")
    report = tmp_path / "nowhere" / "report.html"
    assert "no folder" in refused("train", paired, "--out", tmp_path / "new", "--report", report)


def test_train_on_two_tables_leaving_donors_out(tables: tuple[Path, Path], tmp_path: Path) -> None:
    genes, ions = tables
    choices = ["--protocol", "leave_group_out", "--group", "donor", "--n-alphas", "4"]
    facts = result("train", genes, "--msi", ions, "--out", tmp_path / "model", *choices)
    assert facts["scores"]["protocol"]["group"] == "donor"
    assert facts["spots"] == 150
    assert "no column" in refused("train", genes, "--msi", ions, "--out", tmp_path / "b", *choices, "--group", "mouse")


def test_predict_into_the_section_and_into_tables(model: Path, unpaired: Path, tmp_path: Path) -> None:
    import anndata

    facts = result("predict", model, unpaired, "--out", tmp_path / "predicted.zarr")
    assert (facts["spots"], facts["ions"]) == (150, 14)
    assert st2msi.open_section(tmp_path / "predicted.zarr").predicted is not None
    result("predict", model, unpaired, "--out", tmp_path / "predicted.h5ad")
    result("predict", model, unpaired, "--out", tmp_path / "predicted.csv")
    table = anndata.read_h5ad(tmp_path / "predicted.h5ad")
    frame = pd.read_csv(tmp_path / "predicted.csv", index_col="spot")
    assert list(frame.columns[:3]) == ["section", "x_um", "y_um"]
    np.testing.assert_allclose(frame.iloc[:, 3:].to_numpy(), table.X, rtol=1e-4, atol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["predicted.csv", "predicted.h5ad", "predicted.zarr"]


def test_predict_as_something_unknown(model: Path, unpaired: Path, tmp_path: Path) -> None:
    assert ".csv" in refused("predict", model, unpaired, "--out", tmp_path / "predicted.xlsx")


def test_predict_with_what_is_no_model(unpaired: Path, tmp_path: Path) -> None:
    assert "model" in refused("predict", tmp_path, unpaired)


def test_what_is_not_there(tmp_path: Path) -> None:
    assert "nothing.zarr" in refused("info", tmp_path / "nothing.zarr")
    assert "nothing.zarr" in refused("view", tmp_path / "nothing.zarr")


def test_a_problem_as_json(tmp_path: Path) -> None:
    done = run("info", tmp_path / "nothing.zarr", "--json")
    assert done.exit_code == 2
    assert json.loads(done.stdout)["error"]["kind"] == "FileProblem"


def test_choices_out_of_range_are_refused_in_words(paired: Path, tmp_path: Path) -> None:
    assert "pairing.method" in refused("pair", paired, "--method", "magic")
    assert "genes.n_top" in refused("train", paired, "--out", tmp_path / "model", "--set", "genes.n_top=-1")


def test_no_display_is_said_in_words(unpaired: Path) -> None:
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    if not sys.platform.startswith("linux"):
        pytest.skip("windows open without a display variable here")
    code = "from napari_st2msi.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "view", str(unpaired)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 2
    assert "xvfb-run" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is another thing on Windows")
def test_ctrl_c_stops_with_nothing_written(paired: Path, tmp_path: Path) -> None:
    code = "from napari_st2msi.cli import main; main()"
    choices = ["--n-folds", "50", "--n-alphas", "100", "--report", str(tmp_path / "report.html")]
    with subprocess.Popen(
        [sys.executable, "-c", code, "train", str(paired), "--out", str(tmp_path / "model"), *choices],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("Evaluating"):
                break
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        words = process.stderr.read()
        assert process.wait(timeout=60) == 130, words
    assert "Stopped" in words
    assert "Traceback" not in words
    assert list(tmp_path.iterdir()) == []
