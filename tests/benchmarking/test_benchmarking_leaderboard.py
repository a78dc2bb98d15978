"""How rows of the leaderboard stand to the best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from napari_st2msi.benchmarking import leaderboard
from napari_st2msi.benchmarking.benchmark import Benchmark
from napari_st2msi.benchmarking.words import in_short
from napari_st2msi.evaluation.compare import ALL_IONS, compare
from napari_st2msi.evaluation.result import Evaluation
from napari_st2msi.report.benchmark import benchmark_page
from napari_st2msi.report.table import write_frame


@pytest.fixture
def ranked(done: Benchmark, monkeypatch: pytest.MonkeyPatch) -> Callable[..., pd.DataFrame]:
    """Rows of a leaderboard where the second result is that of ridge, changed."""

    def change(changed: Callable[[Evaluation], Evaluation]) -> pd.DataFrame:
        ridge = done.evaluation(model="ridge")
        read = iter([ridge, changed(ridge)])
        monkeypatch.setattr(leaderboard, "read_evaluation", lambda *_args, **_rest: next(read))
        return leaderboard.tables(done.plan.planned, done.folder)[0]

    return change


def worse(evaluation: Evaluation, ions: Any, times: float) -> Evaluation:
    """Return an evaluation whose errors are other ones on some ions."""
    sse = dict(evaluation.errors.sse)
    sse[evaluation.model] = sse[evaluation.model].copy()
    sse[evaluation.model][:, evaluation.table.index.get_indexer(ions)] *= times
    return replace(evaluation, errors=replace(evaluation.errors, sse=sse))


def test_ions_are_counted_by_the_interval_of_their_own_difference(done: Benchmark) -> None:
    first, second = done.leaderboard.to_dict("records")
    entries = {name: done.evaluation(model=name) for name in (first["model"], second["model"])}
    ions = compare(entries).query("ion != @ALL_IONS", local_dict={"ALL_IONS": ALL_IONS})
    assert second["n_lower"] == (ions["lower"].round(3) > 0).sum()
    assert second["n_higher"] == (ions["upper"].round(3) < 0).sum()
    assert second["n_lower"] > 0
    assert first["n_lower"] == first["n_higher"] == 0


@pytest.mark.parametrize(("times", "as_good"), [(1.0, True), (1 + 1e-6, True), (1.5, False)])
def test_the_same_but_for_one_ion_that_is_lower_is_not_as_good(ranked, times: float, as_good: bool) -> None:
    row = ranked(lambda ridge: worse(ridge, ridge.learned[:1], times)).iloc[1]
    assert row["behind"] == row["behind_lower"] == row["behind_upper"] == 0
    assert row["n_lower"] == (not as_good)
    assert row["n_higher"] == 0
    assert row["as_good"] == as_good


def test_lower_on_one_and_higher_on_another_is_as_good(ranked) -> None:
    row = ranked(lambda ridge: worse(worse(ridge, ridge.learned[:1], 1.5), ridge.learned[1:2], 0.8)).iloc[1]
    assert (row["n_lower"], row["n_higher"]) == (1, 1)
    assert row["as_good"]


def test_what_other_spots_trained_is_not_set_against_the_best(ranked, done: Benchmark, tmp_path: Path) -> None:
    def farther(ridge: Evaluation) -> Evaluation:
        return replace(ridge, folds=[replace(fold, train=fold.train[:-1]) for fold in ridge.folds])

    board = ranked(farther)
    assert board.loc[1, ["behind", "behind_lower", "behind_upper", "n_lower", "n_higher", "as_good"]].isna().all()
    assert np.isfinite(board.loc[1, "r2"])
    for suffix in ("csv", "parquet"):
        write_frame(tmp_path / f"board.{suffix}", board)
    for read in (pd.read_csv(tmp_path / "board.csv"), pd.read_parquet(tmp_path / "board.parquet")):
        assert pd.isna(read.loc[1, "as_good"])
        assert bool(read.loc[0, "as_good"])
    (sentence,) = in_short(replace(done, leaderboard=board.assign(features="recipe")))
    assert sentence.endswith("Not set against the first, as other spots trained them: 1.")
    assert "as good" not in sentence
    page = benchmark_page(board, done.failures, title="", lead=(), facts={}, metabolites={}, methods=(), config="")
    assert "ions lower" in page
