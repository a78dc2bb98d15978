"""The benchmark through Snakemake, for real."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fake_slurm import commands, submitted

from napari_st2msi.benchmarking.alone import alone
from napari_st2msi.benchmarking.benchmark import Benchmark
from tiny_benchmark import tables_of

WORKFLOW = Path(__file__).resolve().parents[2] / "workflow"
PROGRAM = Path(sys.executable).with_name("napari-st2msi")


def snakemake(
    *arguments: object, config: Path, out: Path, program: Path = PROGRAM, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snakemake", "--snakefile", WORKFLOW / "Snakefile", "--directory", out.parent]
    command += [*arguments, "--config", f"benchmark={config}", f"out={out}", f"program={program}"]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, env=env)


@pytest.fixture
def config(done: Benchmark, tmp_path: Path) -> Path:
    file = tmp_path / "tiny.yaml"
    file.write_text(done.config.to_yaml())
    return file


def test_tables_are_those_of_one_computer(done: Benchmark, config: Path, tmp_path: Path) -> None:
    local = ("--profile", WORKFLOW / "profiles" / "local", "--cores", 2)
    with alone(tmp_path / "out"):
        held = snakemake(*local, config=config, out=tmp_path / "out")
    assert held.returncode != 0
    assert "Another benchmark is writing into" in held.stdout + held.stderr
    assert not (tmp_path / "out" / "plan.json").exists()
    ran = snakemake(*local, config=config, out=tmp_path / "out")
    assert ran.returncode == 0, ran.stderr
    assert tables_of(tmp_path / "out") == tables_of(done.folder)
    assert (tmp_path / "out" / "report.html").is_file()
    again = snakemake(*local, "--dry-run", config=config, out=tmp_path / "out")
    assert "Nothing to be done" in again.stdout + again.stderr


def test_every_file_that_counts_is_an_input(config: Path, tmp_path: Path) -> None:
    for name in ("a.zarr", "he.tif", "mz.csv", "genes.txt"):
        (tmp_path / name).touch()
    config.write_text(
        "data: [{paths: [a.zarr], opening: {histology: he.tif, mz_table: mz.csv}}]\nmodels: [ridge]\n"
        "features: [{name: listed, genes: {selection: listed, file: genes.txt}}]\nprotocols: [random]\n"
    )
    asked = snakemake("--cores", 1, "--dry-run", config=config, out=tmp_path / "out")
    assert asked.returncode == 0, asked.stderr
    (line,) = {
        line
        for line in (asked.stdout + asked.stderr).splitlines()
        if line.strip().startswith("input:") and "he.tif" in line
    }
    assert all(str(tmp_path / name) in line for name in ("tiny.yaml", "a.zarr", "mz.csv", "genes.txt"))


def test_a_change_deep_inside_a_folder_makes_the_plan_anew(config: Path, tmp_path: Path) -> None:
    deep = tmp_path / "a.zarr" / "tables" / "st" / "zarr.json"
    deep.parent.mkdir(parents=True)
    deep.write_text("before")
    config.write_text("data: [a.zarr]\nmodels: [ridge]\nprotocols: [random]\n")
    plans = tmp_path / "plans"
    plans.write_text(f"#!/bin/sh\ntouch '{tmp_path}/out/plan.json'\n")
    plans.chmod(0o755)
    local = (tmp_path / "out" / "plan.json", "--profile", WORKFLOW / "profiles" / "local", "--cores", 1)
    ran = snakemake(*local, config=config, out=tmp_path / "out", program=plans)
    assert ran.returncode == 0, ran.stderr
    again = snakemake(*local, "--dry-run", config=config, out=tmp_path / "out", program=plans)
    assert "Nothing to be done" in again.stdout + again.stderr
    deep.write_text("after")
    changed = snakemake(*local, "--dry-run", config=config, out=tmp_path / "out", program=plans)
    assert "Params have changed" in changed.stdout + changed.stderr


def test_networks_go_where_gpus_are(config: Path, tmp_path: Path) -> None:
    config.write_text(config.read_text().replace("- name: coordinates", "- name: mlp"))
    asked = snakemake("--profile", WORKFLOW / "profiles" / "gpu", "--dry-run", config=config, out=tmp_path / "out")
    assert asked.returncode == 0, asked.stderr
    rules = {text.split(":")[0]: text for text in (asked.stdout + asked.stderr).split("\nrule ")}
    assert "gres=gpu:1" in rules["run_network"]
    assert "run=brain.mlp.recipe.random.0" in rules["run_network"]
    assert "gres" not in rules["run"]
    assert "mem_mb=16000" in rules["run_network"]
    assert "mem_mb=8000" in rules["run"]


@pytest.mark.slow
def test_jobs_of_slurm_get_what_they_need(done: Benchmark, config: Path, tmp_path: Path) -> None:
    models = "models: [{name: ridge, needs: {gpu: true, minutes: 7}}, {name: coordinates, needs: {memory_mb: 500}}]"
    config.write_text(config.read_text().replace("models:\n- name: ridge\n- name: coordinates", models))
    env = commands(tmp_path / "slurm") | {"FAKE_SLURM_HUNGRY": "coordinates", "FAKE_SLURM_NEEDS": "900"}
    asked = ("--profile", WORKFLOW / "profiles" / "gpu", "--latency-wait", 5)
    soon = ("--slurm-init-seconds-before-status-checks", 2)
    ran = snakemake(*asked, *soon, config=config, out=tmp_path / "out", env=env)
    assert ran.returncode == 0, ran.stderr
    assert tables_of(tmp_path / "out") == tables_of(done.folder)
    jobs = submitted(tmp_path / "slurm")
    ridge = next(job for job in jobs if "ridge" in job["comment"])
    wanted = {"mem": "8000", "minutes": "7", "partition": "gpu", "gres": "gpu:1", "cpus_per_task": "1"}
    assert wanted.items() <= ridge.items()
    coordinates = [job for job in jobs if "coordinates" in job["comment"]]
    assert [(job["mem"], job["state"]) for job in coordinates] == [("500", "OUT_OF_MEMORY"), ("1000", "COMPLETED")]
    assert not {"partition", "gres"} & set(coordinates[0])


def test_a_bad_config_is_refused_in_words(config: Path, tmp_path: Path) -> None:
    config.write_text(config.read_text().replace("- name: ridge", "- name: rigde"))
    asked = snakemake("--cores", 1, config=config, out=tmp_path / "out")
    assert asked.returncode != 0
    assert "There is no model 'rigde'" in asked.stderr + asked.stdout
    assert not (tmp_path / "out").exists()
