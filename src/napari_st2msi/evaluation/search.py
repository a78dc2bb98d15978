"""A search for the settings of a model, inside the training spots only.

Settings are proposed by tree-structured Parzen estimators (Bergstra et al. 2011) as optuna has them (Akiba et
al. 2019, doi:10.1145/3292500.3330701) and scored on inner folds: whole sections where there are three or more,
else blocks of tissue. A setting that does worse than most others did after as many folds is given up.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_st2msi.errors import ModelProblem, St2msiError
from napari_st2msi.evaluation.metrics import Tally
from napari_st2msi.features.ions import IonScale
from napari_st2msi.models.inner import InnerFold, inner_folds
from napari_st2msi.models.registry import build
from napari_st2msi.models.spaces import Setting, space_of
from napari_st2msi.progress import Cancelled, Progress, check, never

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_st2msi.paired import PairedDataset
    from napari_st2msi.recipe import Recipe

#: How many settings are tried where the recipe does not say.
TRIALS = 30
# So many settings are scored in full before others are compared with them.
_STARTUP = 5
_WORST = -1.0  # a single ion cannot decide by being predicted absurdly


@dataclass(frozen=True)
class Search:
    """What a search found.

    Attributes
    ----------
    recipe
        The recipe with the best settings; it asks for no further search.
    history
        One trial a row: `trial`, `state` (``scored``, ``given up``, ``failed``, ``stopped``), `r2` (mean over
        ions on the inner folds scored), `best` so far, `folds` scored, `seconds`, `note` (why it failed), and
        a column for each setting. Trial 0 is the recipe as it was given.
    changed
        The settings of the best trial that differ from those given, by their paths.
    ended
        Why it ended, in words.
    """

    recipe: Recipe
    history: pd.DataFrame
    changed: dict[str, Any]
    ended: str

    def in_words(self) -> str:
        """Say what was found."""
        best, first = self.history["best"].iloc[-1], self.history["r2"].iloc[0]
        if not np.isfinite(best):
            return f"{self.ended} No trial was scored, so settings are as they were."
        what = self.settings_in_words()
        return (
            f"{self.ended} Best of {len(self.history):,} trials: {what}, with a mean R² of {best:.3f} on inner folds "
            f"({first:.3f} as given). The best of many is flattered: measure it on spots that the search did not see."
        )

    def settings_in_words(self) -> str:
        """Return the settings that differ from those given, by their paths."""
        shown = {path: f"{value:.3g}" if isinstance(value, float) else value for path, value in self.changed.items()}
        return ", ".join(f"{path} = {value}" for path, value in shown.items()) or "the settings as given"


def search(
    paired: PairedDataset,
    recipe: Recipe,
    *,
    context: AnnData | None = None,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
    step: Callable[[Search], None] | None = None,
) -> Search:
    """Search for the settings of the model of a recipe.

    The same spots, recipe and seed give the same result, unless time runs out.

    Parameters
    ----------
    paired
        Training spots with measured ions.
    recipe
        Where to start; `recipe.search` says how long.
    context
        Genes of whole sections; see `Predictor.fit`.
    cancelled
        Stops the search and keeps the best so far.
    step
        Called after each trial with what was found so far.

    Raises
    ------
    ModelProblem
        The spots are too few to hold some out, or no setting could be fitted.
    Cancelled
        The user stopped it before a single trial was scored.
    """
    import optuna

    folds = inner_folds(paired)
    if len(folds) < 2:
        raise ModelProblem("The spots are too few, or too near to each other, to choose settings on. Use more spots.")
    run = _Run(paired, recipe, context, folds, cancelled)
    settings = [_with_current(each, recipe) for each in space_of(recipe, len(np.unique(paired.sections)))]
    wanted = (recipe.search.trials or TRIALS) if settings else 1
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=recipe.search.seed, n_startup_trials=_STARTUP, multivariate=False),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_STARTUP, n_warmup_steps=0),
    )
    study.enqueue_trial({each.path: each.current(recipe) for each in settings})
    ended = f"All {wanted:,} trials were made." if settings else f"'{recipe.model.name}' has no settings to search for."
    for number in range(wanted):
        trial = study.ask()
        chosen = _propose(trial, settings, recipe)
        part = progress.part(number / wanted, (number + 1) / wanted)
        state, score = run.score(trial, chosen, part)
        kinds = {"scored": optuna.trial.TrialState.COMPLETE, "given up": optuna.trial.TrialState.PRUNED}
        kind = kinds.get(state, optuna.trial.TrialState.FAIL)
        study.tell(trial, score if state == "scored" else None, state=kind)
        if step is not None:
            step(run.found(f"{number + 1:,} of {wanted:,} trials were made."))
        if cancelled():
            if not run.any_scored:
                check(cancelled)
            ended = f"Stopped after {number + 1:,} of {wanted:,} trials."
            break
        if run.out_of_time():
            ended = f"Time was up after {number + 1:,} of {wanted:,} trials."
            break
    if not run.any_scored and not run.out_of_time():
        raise ModelProblem(f"No settings could be fitted. {run.rows[0]['note']}")
    progress(1.0, "searched")
    return run.found(ended)


class _Run:
    """The trials of one search."""

    def __init__(
        self,
        paired: PairedDataset,
        recipe: Recipe,
        context: AnnData | None,
        folds: list[InnerFold],
        cancelled: Callable[[], bool],
    ) -> None:
        self._paired, self._recipe, self._folds, self._cancelled = paired, recipe, folds, cancelled
        self._context = paired.genes if context is None else context
        self._start = time.monotonic()
        self.rows: list[dict[str, Any]] = []
        self._best: dict[str, Any] = {}

    @property
    def any_scored(self) -> bool:
        return any(row["state"] == "scored" for row in self.rows)

    def out_of_time(self) -> bool:
        minutes = self._recipe.search.minutes
        return minutes is not None and time.monotonic() - self._start > 60 * minutes

    def found(self, ended: str) -> Search:
        """Return what was found so far."""
        best = with_settings(self._recipe, self._best)
        best = best.model_copy(update={"search": best.search.model_copy(update={"trials": 0})})
        changed = {path: value for path, value in self._best.items() if Setting(path).current(self._recipe) != value}
        return Search(best, pd.DataFrame(self.rows), changed, ended)

    def score(self, trial: Any, chosen: dict[str, Any], progress: Progress) -> tuple[str, float]:
        """Fit on inner folds one after the other, and give up where others did better."""
        start, folds, score, note, state = time.monotonic(), 0, float("nan"), "", "scored"
        recipe = with_settings(self._recipe, chosen)
        tally = Tally(self._paired.ions.n_vars)
        learnable = np.ones(self._paired.ions.n_vars, dtype=bool)
        known = f"trial {len(self.rows) + 1}" + (f", best R² {self._top:.3f}" if self.any_scored else "")
        try:
            for number, fold in enumerate(self._folds):
                part = progress.part(number / len(self._folds), (number + 1) / len(self._folds))
                learnable &= self._fit(recipe, fold, tally, part.named(known))
                folds, score = number + 1, _mean(tally.result()["r2"].to_numpy()[learnable])
                trial.report(score, number)
                if folds < len(self._folds) and trial.should_prune():
                    state = "given up"
                    break
        except Cancelled:
            state = "stopped"
        except St2msiError as error:
            state, note = "failed", str(error)
        if state == "scored" and not np.isfinite(score):
            state, note = "failed", "No ion could be scored."
        if state == "scored" and score > self._top:
            self._best = chosen
        best = max(self._top, score) if state == "scored" else self._top
        self.rows.append(
            {
                "trial": len(self.rows),
                "state": state,
                "r2": score,
                "best": best if np.isfinite(best) else float("nan"),
                "folds": folds,
                "seconds": round(time.monotonic() - start, 3),
                "note": note,
                **chosen,
            }
        )
        return state, score

    @property
    def _top(self) -> float:
        return max((row["r2"] for row in self.rows if row["state"] == "scored"), default=float("-inf"))

    def _fit(self, recipe: Recipe, fold: InnerFold, tally: Tally, progress: Progress) -> Any:
        """Add a fold to the tally, and return (ions,) which could be learned there."""

        def stop() -> bool:
            return self._cancelled() or self.out_of_time()

        check(stop)
        train, held = self._paired.select(fold.fit), self._paired.select(fold.held)
        fitted = build(recipe).fit(train, context=self._context, progress=progress, cancelled=stop)
        guess = fitted.predict(held.genes, context=self._context)
        scale = IonScale(recipe.ions).fit(train.ions)
        truth = scale.forward(held.ions)
        tally.add(truth, scale.compress(guess.X), scale.forward(train.ions).mean(axis=0), scale.present(held.ions))
        return scale.learnable_


def with_settings(recipe: Recipe, chosen: dict[str, Any]) -> Recipe:
    """Return a recipe with other settings, by their paths; checked as any recipe is."""
    wanted = recipe.model_dump()
    for path, value in chosen.items():
        section, field = path.split(".")
        wanted[section][field] = value
    return type(recipe).model_validate(wanted)


def _with_current(setting: Setting, recipe: Recipe) -> Setting:
    """Widen a setting so that what the recipe says is among what is tried."""
    from dataclasses import replace

    current = setting.current(recipe)
    if setting.values:
        return replace(setting, values=tuple(dict.fromkeys((*setting.values, current))))
    return replace(setting, low=min(setting.low, current), high=max(setting.high, current))


def _propose(trial: Any, settings: list[Setting], recipe: Recipe) -> dict[str, Any]:
    """Return the settings of a trial; those that would make no difference are left as they are."""
    chosen: dict[str, Any] = {}
    for each in settings:
        if not each.matters(chosen, recipe):
            continue
        if each.values:
            chosen[each.path] = trial.suggest_categorical(each.path, list(each.values))
        elif each.whole:
            chosen[each.path] = trial.suggest_int(each.path, int(each.low), int(each.high), log=each.log)
        else:
            chosen[each.path] = trial.suggest_float(each.path, each.low, each.high, log=each.log)
    return chosen


def _mean(r2: Any) -> float:
    known = r2[np.isfinite(r2)]
    return float(np.maximum(known, _WORST).mean()) if len(known) else float("nan")
