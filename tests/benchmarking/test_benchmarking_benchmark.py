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

from command_line import refused, result
from napari_st2msi import pipeline
from napari_st2msi.benchmarking import pool
from napari_st2msi.benchmarking.benchmark import Benchmark, benchmark, read_benchmark
from napari_st2msi.benchmarking.data import Shelf
from napari_st2msi.benchmarking.plan import Plan, make_plan
from napari_st2msi.benchmarking.run import DONE, FAILED, Outcome, run_one
from napari_st2msi.benchmarking.words import in_short
from napari_st2msi.errors import DataProblem, FileProblem, RecipeProblem
from napari_st2msi.evaluation.compare import ALL_IONS, compare
from napari_st2msi.progress import Cancelled, Progress
from planted import planted
from tiny_benchmark import TINY, dies_with_ridge, tables_of, tiny


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the models that are evaluated from here on, in this process."""
    names: list[str] = []
    evaluate = pipeline.evaluate

    def counted(paired: Any, recipe: Any, **rest: Any) -> Any:
        names.append(recipe.model.name)
        return evaluate(paired, recipe, **rest)

    monkeypatch.setattr(pipeline, "evaluate", counted)
    return names


def copied(done: Benchmark, to: Path) -> Path:
    shutil.copytree(done.folder, to)
    return to


def test_tables_are_those_of_the_evaluations(done: Benchmark) -> None:
    board = done.leaderboard
    assert list(board["rank"]) == [1, 2]
    assert board["r2"].is_monotonic_decreasing
    evaluation = pipeline.evaluate(Shelf(done.config).get(done.plan.planned[0].combination)[0], _recipe(done, "ridge"))
    ridge = board.set_index("model").loc["ridge"]
    common = evaluation.learned.intersection(done.evaluation(model="coordinates").learned)
    flat = evaluation.flat().loc[common]
    assert ridge["r2"] == pytest.approx(flat["r2"].median(), rel=1e-5)
    assert ridge["gain"] == pytest.approx(flat["gain"].median(), rel=1e-5, abs=1e-9)
    assert ridge["moran_r2"] == pytest.approx(flat["moran_i"].corr(flat["r2"], method="spearman"), rel=1e-5)
    own = done.metabolites.query("model == 'ridge'").set_index("ion")
    np.testing.assert_allclose(own["pearson"], evaluation.flat()["pearson"], rtol=1e-5, atol=1e-9)


def _recipe(done: Benchmark, model: str) -> Any:
    return done.find(model=model).combination.recipe


def test_what_is_behind_is_told_with_its_interval(done: Benchmark) -> None:
    first, second = done.leaderboard.to_dict("records")
    entries = {name: done.evaluation(model=name) for name in (first["model"], second["model"])}
    row = compare(entries).query("ion == @ALL_IONS", local_dict={"ALL_IONS": ALL_IONS}).iloc[0]
    assert second["behind"] == pytest.approx(row["difference"], rel=1e-5)
    assert second["behind_lower"] == pytest.approx(row["lower"], rel=1e-5)
    assert second["as_good"] == (row["lower"] <= 0)
    assert first["as_good"]
    assert first["behind"] == 0


def test_results_are_read_as_they_were(done: Benchmark) -> None:
    evaluation = pipeline.evaluate(Shelf(done.config).get(done.plan.planned[0].combination)[0], _recipe(done, "ridge"))
    kept = done.evaluation(model="ridge")
    pd.testing.assert_frame_equal(kept.flat(), evaluation.flat(), check_dtype=False)
    np.testing.assert_array_equal(kept.folds[0].train, evaluation.folds[0].train)
    np.testing.assert_allclose(done.prediction(model="ridge").X, evaluation.prediction.X)
    assert kept.protocol["note"] == evaluation.protocol["note"]


def test_the_report_says_what_was_done(done: Benchmark) -> None:
    page = done.report.read_text(encoding="utf-8")
    assert 'src="http' not in page
    assert "<script src" not in page
    for words in ("A tiny benchmark", "100 spots", "held out at random in 2 folds", "linear in the genes", "ridge"):
        assert words in page
    assert page.count("<img") == 3
    assert page.count("<td") > 20
    assert "brain: ridge on recipe, judged by random" in page
    (sentence,) = in_short(done)
    first = done.leaderboard.iloc[0]["model"]
    assert "of the models that see genes, ridge on recipe came first" in sentence
    assert ("without a gene: coordinates" in sentence) == (first == "coordinates")
    again = benchmark(done.config, done.folder)
    assert again.report.read_text(encoding="utf-8") == page


def test_nothing_done_is_done_again(done: Benchmark, evaluated: list[str], tmp_path: Path) -> None:
    before = tables_of(done.folder)
    benchmark(done.config, done.folder)
    assert evaluated == []
    assert tables_of(done.folder) == before
    # Half of it gone, as after a kill: only that half is done, and a scratch folder does not stay.
    half = copied(done, tmp_path / "half")
    shutil.rmtree(half / "results" / done.find(model="coordinates").key)
    left, others = (half / "results" / f".{key}.abc" for key in (done.find(model="coordinates").key, "of-another"))
    left.mkdir()
    others.mkdir()
    heard: dict[str, float] = {}
    benchmark(done.config, half, progress=Progress(lambda fraction, words: heard.setdefault(words, fraction)))
    assert evaluated == ["coordinates"]
    # What is known takes no time, so that the time left is not reckoned from it.
    assert heard["1 of 2 done"] == pytest.approx(0.1)
    assert heard["2 of 2 done"] == pytest.approx(0.9)
    assert tables_of(half) == before
    assert not left.exists()
    assert others.exists(), "someone may be writing there"


def test_names_may_change_and_results_stay(done: Benchmark, evaluated: list[str], tmp_path: Path) -> None:
    models = ["coordinates", {"name": "mine", "recipe": {"model": {"name": "ridge"}}}, "ridge"]
    found = benchmark(tiny(models=models), copied(done, tmp_path / "renamed"))
    assert evaluated == []
    rows = found.leaderboard.set_index("model")
    assert rows.loc["mine", "r2"] == rows.loc["ridge", "r2"]


def test_the_same_twice_is_done_once(evaluated: list[str], tmp_path: Path) -> None:
    models = [{"name": "mine", "recipe": {"model": {"name": "coordinates"}}}, "coordinates"]
    ended: list[str] = []
    fractions: list[float] = []
    found = benchmark(
        tiny(models=models),
        tmp_path / "twins",
        told=lambda each, outcome: ended.append(each.model),
        progress=Progress(lambda fraction, words: fractions.append(fraction)),
    )
    assert evaluated == ["coordinates"]
    assert ended == ["mine", "coordinates"]
    assert len(found.leaderboard) == 2
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)


def test_processes_and_a_kill_halfway_give_the_same_bytes(done: Benchmark, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    config = tmp_path / "tiny.yaml"
    config.write_text(done.config.to_yaml())
    code = "import sys; from napari_st2msi.cli import main; sys.argv[0] = 'napari-st2msi'; main()"
    command = [sys.executable, "-c", code, "benchmark", str(config), "--out", str(out), "--jobs", "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    end = time.monotonic() + 120
    while not (out / "runs").is_dir() or not list((out / "runs").glob("*.json")):
        assert process.poll() is None or list((out / "runs").glob("*.json")), "it ended before anything was done"
        assert time.monotonic() < end
        time.sleep(0.05)
    process.kill()
    process.wait()
    times = {file: file.stat().st_mtime_ns for file in (out / "results").glob("[!.]*/facts.json")}
    assert times
    found = benchmark(config, out, jobs=2)
    assert tables_of(out) == tables_of(done.folder)
    assert {file: file.stat().st_mtime_ns for file in times} == times, "what was done was not done again"
    assert set(found.timings["seconds"] > 0) == {True}
    # No process outlives the program that was killed.
    end = time.monotonic() + 20
    while members := _members(process.pid):
        assert time.monotonic() < end, members
        time.sleep(0.2)


def _members(group: int) -> list[int]:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return []
    states = (
        [Path(f"/proc/{name}/stat") for name in os.listdir("/proc") if name.isdigit()] if os.path.isdir("/proc") else []
    )
    found = []
    for file in states:
        try:
            fields = file.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(file.parent.name))
    if not states:
        os.killpg(group, signal.SIGKILL)
    return found


def test_failures_are_their_own_and_tried_again(
    done: Benchmark, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    evaluate = pipeline.evaluate
    errors: dict[str, Exception] = {"mean": DataProblem("The weather is bad."), "counts": ZeroDivisionError("by zero")}

    def broken(paired: Any, recipe: Any, **rest: Any) -> Any:
        if recipe.model.name in errors:
            raise errors[recipe.model.name]
        return evaluate(paired, recipe, **rest)

    monkeypatch.setattr(pipeline, "evaluate", broken)
    out = copied(done, tmp_path / "failing")
    config = tiny(models=["mean", "counts", "coordinates"])
    found = benchmark(config, out)
    assert list(found.leaderboard["model"]) == ["coordinates"]
    assert dict(zip(found.failures["model"], found.failures["message"], strict=True)) == {
        "mean": "The weather is bad.",
        "counts": "ZeroDivisionError: by zero",
    }
    details = json.loads((out / "runs" / "brain.counts.none.random.0.json").read_text())["details"]
    assert "in broken" in details, "a bug keeps its traceback"
    page = found.report.read_text(encoding="utf-8")
    assert "What failed" in page
    assert "The weather is bad." in page
    with pytest.raises(FileProblem, match="no result of mean"):
        found.evaluation(model="mean")
    errors.clear()
    found = benchmark(config, out)
    assert len(found.leaderboard) == 3
    assert not len(found.failures)


def test_failures_of_one_content_are_counted_each(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*given: Any, **rest: Any) -> Any:
        raise DataProblem("The weather is bad.")

    monkeypatch.setattr(pipeline, "evaluate", broken)
    models = [{"name": "mine", "recipe": {"model": {"name": "mean"}}}, "mean"]
    said: list[str] = []
    ended: list[Outcome] = []
    found = benchmark(
        tiny(models=models),
        tmp_path / "twins",
        progress=Progress(lambda fraction, words: said.append(words)),
        told=lambda each, outcome: ended.append(outcome),
    )
    assert "2 of 2 done, 2 failed" in said
    assert {each.id for each in ended} == {each.combination.id for each in found.plan.planned}
    assert list(found.failures["message"]) == ["The weather is bad."] * 2


def test_what_another_process_did_meanwhile_is_done(
    done: Benchmark, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    planned = done.find(model="coordinates")

    def overtaken(*given: Any, **rest: Any) -> Any:
        shutil.copytree(done.folder / "results" / planned.key, tmp_path / "results" / planned.key)
        raise FileProblem("The checkpoint cannot be written.")

    monkeypatch.setattr(pipeline, "evaluate", overtaken)
    assert run_one(planned, tmp_path, Shelf(done.config)).status == DONE


def test_a_process_that_dies_takes_no_other_with_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plan = make_plan(tiny())
    ended: dict[str, Outcome] = {}
    monkeypatch.setattr(pool, "_run", dies_with_ridge)
    pool.run_in_processes(
        plan.planned,
        plan.config,
        tmp_path,
        2,
        lambda each, outcome: ended.update({each.combination.model: outcome}),
        bool,
    )
    assert ended["coordinates"].status == "done"
    assert ended["ridge"].status == FAILED
    assert "want of memory" in ended["ridge"].message


def test_stopping_keeps_what_was_done(evaluated: list[str], tmp_path: Path) -> None:
    stop: list[str] = []
    with pytest.raises(Cancelled):
        benchmark(
            tiny(models=["coordinates", "mean"]),
            tmp_path / "out",
            cancelled=lambda: bool(stop),
            told=lambda each, outcome: stop.append(each.model),
        )
    assert stop == ["coordinates"]
    part = read_benchmark(tmp_path / "out")
    assert list(part.leaderboard["model"]) == ["coordinates"]
    assert list(part.failures["message"]) == ["Not run yet."]


def test_data_that_are_open_already(tmp_path: Path, evaluated: list[str]) -> None:
    spots = {"planted": planted(12)}
    config = tiny(data=[], models=["coordinates"])
    found = benchmark(config, tmp_path, paired=spots)
    assert list(found.leaderboard["data"]) == ["planted"]
    benchmark(config, tmp_path, paired={"renamed": spots["planted"]})
    assert len(evaluated) == 1
    with pytest.raises(RecipeProblem, match="one after the other"):
        benchmark(config, tmp_path, paired=spots, jobs=2)


def test_data_that_changed_since_the_plan(tmp_path: Path) -> None:
    config = tiny(data=[], models=["coordinates"])
    plan = make_plan(config, Shelf(config, {"spots": planted(8)}))
    with pytest.raises(RecipeProblem, match="changed since the benchmark was planned"):
        run_one(plan.planned[0], tmp_path, Shelf(config, {"spots": planted(8, seed=1)}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"protocols": ["leave_group_out:donor"]}, "Data 'brain', held out by 'leave_donor'"),
        ({"protocols": ["leave_group_out:section"]}, "Data 'brain', held out by 'leave_section'"),
        ({"protocols": ["knndm"]}, "Data 'brain', held out by 'knndm'"),
        ({"protocols": [{"name": "wide", "evaluation": {"protocol": "blocks", "buffer_um": 9e5}}]}, "by 'wide'"),
        ({"data": ["nowhere.zarr"]}, "'nowhere', 'nowhere.zarr' is missing"),
        ({"models": ["rigde"]}, "There is no model 'rigde'"),
    ],
)
def test_nothing_starts_before_all_is_checked(
    changes: dict[str, Any], words: str, tmp_path: Path, evaluated: list[str]
) -> None:
    with pytest.raises((RecipeProblem, FileProblem)) as raised:
        benchmark({**TINY, "protocols": ["random"], **changes}, tmp_path / "out")
    assert words in str(raised.value)
    assert evaluated == []
    assert not (tmp_path / "out").exists()


def test_learnability_from_what_was_done(done: Benchmark, evaluated: list[str]) -> None:
    learned = done.learnability(data="brain", model="ridge", features="recipe")
    assert evaluated == []
    assert list(learned.protocols) == ["random"]
    own = done.metabolites.query("model == 'ridge'").set_index("ion")
    np.testing.assert_allclose(learned.table["random_r2"], own["r2"], rtol=1e-5, atol=1e-8)
    with pytest.raises(RecipeProblem, match="Nothing was done of ridge on hvg"):
        done.learnability(data="brain", model="ridge", features="hvg")


def test_damaged_folders(done: Benchmark, tmp_path: Path) -> None:
    with pytest.raises(FileProblem, match="holds no results of a benchmark"):
        read_benchmark(tmp_path)
    out = copied(done, tmp_path / "damaged")
    (out / "results" / done.find(model="ridge").key / "errors.npz").write_bytes(b"no zip")
    with pytest.raises(FileProblem, match="is damaged"):
        read_benchmark(out)
    (out / "plan.json").write_text("{}")
    with pytest.raises(FileProblem, match="cannot be used"):
        Plan.read(out)


def test_the_command(done: Benchmark, tmp_path: Path) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(done.config.to_yaml())
    out = copied(done, tmp_path / "out")
    facts = result("benchmark", config, "--out", out)
    assert (facts["done"], facts["combinations"], facts["failures"]) == (2, 2, [])
    assert facts["leaderboard"][0]["rank"] == 1
    assert result("benchmark-plan", config, "--out", out)["combinations"] == [
        "brain.ridge.recipe.random.0",
        "brain.coordinates.none.random.0",
    ]
    assert result("benchmark-run", out, "--run", "brain.ridge.recipe.random.0")["status"] == "done"
    assert result("benchmark-gather", out)["done"] == 2
    assert "has no combination 'other'" in refused("benchmark-run", out, "--run", "other")
    config.write_text("models: [rigde]\nprotocols: [random]\ndata: [a.zarr]")
    assert "There is no model 'rigde'" in refused("benchmark", config, "--out", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    for command in ("benchmark", "benchmark-plan"):  # before the config is looked at
        assert "is a file. Name a folder." in refused(command, config, "--out", config)
