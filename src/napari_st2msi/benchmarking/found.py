"""What a benchmark found: its tables, and the results they were made from, on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from napari_st2msi.benchmarking.config import Config
from napari_st2msi.benchmarking.data import Shelf
from napari_st2msi.benchmarking.leaderboard import failures, tables, timings
from napari_st2msi.benchmarking.plan import Plan, Planned
from napari_st2msi.benchmarking.run import read_outcome, result_folder
from napari_st2msi.benchmarking.store import is_written, read_evaluation, read_prediction
from napari_st2msi.errors import FileProblem, RecipeProblem
from napari_st2msi.progress import Progress, never

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_st2msi.evaluation.learnability import Learnability
    from napari_st2msi.evaluation.result import Evaluation
    from napari_st2msi.paired import PairedDataset

#: Files of a benchmark's folder, beside `results` and `runs`.
LEADERBOARD, METABOLITES, FAILURES, TIMINGS, REPORT = (
    "leaderboard", "metabolites.parquet", "failures.csv", "timings.csv", "report.html",
)  # fmt: skip


@dataclass(frozen=True)
class Benchmark:
    """What a benchmark found.

    Attributes
    ----------
    plan
        What was asked for.
    folder
        Where everything lies.
    leaderboard
        One row for each combination that was done, the best first within the same `data`, `protocol` and `seed`.
        Names: `data`, `model`, `features`, `protocol`, `seed`. Over the ions that all rows of the same data, protocol
        and seed learned (`n_common`; `n_ions` by this one): quartiles of R² (`r2_q1`, `r2` the median, `r2_q3`),
        `r2_macro` (the mean over sections of medians), `share_skill` and `share_gain` (shares of ions with R² and with
        a gain above 0.02), medians of `pearson`, `spearman`, `rmse_sd`, `ssim`, `residual_moran_i`, `presence_auc`,
        `presence_mcc`, of the baselines `r2_coordinates` and `r2_position`, `skill_coordinates`, `skill_position` and
        `gain`; Spearman's correlation of Moran's I with skill (`moran_r2`) and with gain (`moran_gain`). Against the
        first row, `best`: `behind` (median over ions of how much lower R² is, which is not the difference of the
        medians) from `behind_lower` to `behind_upper` (95 %, paired block bootstrap); on how many ions R² is lower and
        higher (`n_lower`, `n_higher`: by the interval of the ion's own difference); and `as_good`, whether the interval
        of `behind` reaches 0 and no more ions are lower than higher, but for one in twenty of those that differ. All
        six are empty where a row was not set against the first, because other spots trained it or no ion was learned
        by all.
    metabolites
        One row for each ion of each combination: the names, `ion`, and `Evaluation.flat()`.
    failures
        Combinations that failed or were not run yet: the names, and `message`.
    timings
        Of combinations that were done: the names, `seconds`, `threads`.
    """

    plan: Plan
    folder: Path
    leaderboard: pd.DataFrame
    metabolites: pd.DataFrame
    failures: pd.DataFrame
    timings: pd.DataFrame

    @property
    def config(self) -> Config:
        """The choices."""
        return self.plan.config

    @property
    def report(self) -> Path:
        """The report, one HTML file."""
        return self.folder / REPORT

    def find(self, **names: Any) -> Planned:
        """Return the combination with these names (`data`, `model`, `features`, `protocol`, `seed`).

        Raises
        ------
        RecipeProblem
            None has them, or several.
        """
        found = [each for each in self.plan.planned if names.items() <= each.combination.names.items()]
        if len(found) != 1:
            raise RecipeProblem(f"{len(found)} combinations are {names}. Name the one you want.")
        return found[0]

    def evaluation(self, **names: Any) -> Evaluation:
        """Return the evaluation of a combination, to compare it or to look at its errors.

        Raises
        ------
        RecipeProblem
            There is no such combination.
        FileProblem
            It failed, or its result is damaged.
        """
        return read_evaluation(self._result(names))

    def prediction(self, **names: Any) -> AnnData:
        """Return the out-of-fold prediction of a combination; raises as `evaluation`."""
        return read_prediction(self._result(names))

    def learnability(
        self,
        *,
        data: str,
        model: str,
        features: str,
        seed: int | None = None,
        paired: PairedDataset | None = None,
        progress: Progress = Progress(),
        cancelled: Callable[[], bool] = never,
    ) -> Learnability:
        """Return what can be learned of each metabolite by one model, under all protocols that were done.

        Nothing is predicted anew.

        Parameters
        ----------
        seed
            The first of the config where None.
        paired
            The data, where they were given and not named in the config; else they are opened again.

        Raises
        ------
        RecipeProblem
            Nothing was done of that model.
        St2msiError
            The data cannot be opened, or as `napari_st2msi.evaluation.learnability.learnability`.
        """
        from napari_st2msi.evaluation.learnability import learnability

        seed = self.config.seeds[0] if seed is None else seed
        names = {"data": data, "model": model, "features": features, "seed": seed}
        done = [
            each
            for each in self.plan.planned
            if names.items() <= each.combination.names.items() and is_written(result_folder(self.folder, each.key))
        ]
        if not done:
            raise RecipeProblem(f"Nothing was done of {model} on {features} with '{data}' and seed {seed}.")
        shelf = Shelf(self.config, None if paired is None else {data: paired})
        spots, _ = shelf.get(done[0].combination, progress=progress.part(0.0, 0.3), cancelled=cancelled)
        return learnability(
            spots,
            done[0].combination.recipe,
            protocols=(),
            section=shelf.sections(data) or None,
            evaluations={
                each.combination.protocol: read_evaluation(result_folder(self.folder, each.key)) for each in done
            },
            progress=progress.part(0.3, 1.0),
            cancelled=cancelled,
        )

    def _result(self, names: Mapping[str, Any]) -> Path:
        planned = self.find(**names)
        folder = result_folder(self.folder, planned.key)
        if not is_written(folder):
            raise FileProblem(f"There is no result of {planned.combination.in_words()}: it failed, or was not run.")
        return folder


def read_benchmark(
    out: str | Path, *, progress: Progress = Progress(), cancelled: Callable[[], bool] = never
) -> Benchmark:
    """Read a benchmark from its folder, as far as it is done.

    Raises
    ------
    FileProblem
        The folder holds no benchmark, or a result is damaged.
    """
    out = Path(out).resolve()
    return found_by(Plan.read(out), out, progress=progress, cancelled=cancelled)


def found_by(plan: Plan, out: Path, *, progress: Progress, cancelled: Callable[[], bool]) -> Benchmark:
    """Return what a plan has found in its folder so far; raises as `read_benchmark` where a result is damaged."""
    outcomes = {each.combination.id: read_outcome(out, each) for each in plan.planned}
    done = [each for each in plan.planned if is_written(result_folder(out, each.key))]
    board, metabolites = tables(done, out, progress=progress, cancelled=cancelled)
    return Benchmark(plan, out, board, metabolites, failures(plan.planned, outcomes, done), timings(done, out))
