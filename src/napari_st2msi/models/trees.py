"""Gradient-boosted trees on few directions of the ions."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import ModelProblem
from napari_st2msi.models.held import trusted
from napari_st2msi.models.task import Task
from napari_st2msi.progress import Progress, check

if TYPE_CHECKING:
    from xgboost import Booster

_TINY = 1e-9
_BINS = 64
_PATIENCE = 10
# Each tree sees a part of the spots and of the features, and a leaf holds five spots at least.
_SPOTS, _FEATURES, _LEAF = 0.7, 0.3, 5


@dataclass(frozen=True, eq=False)
class Trees:
    """Boosted trees from features to directions of ions, and back to ions.

    Attributes
    ----------
    boosters
        Their predictions are averaged. Each has one output a direction, so TreeSHAP
        (``Booster.predict(pred_contribs=True)``) explains them exactly.
    directions
        (m, k) from the outputs to the deviations of ions from their means.
    mean
        (k,).
    """

    boosters: tuple[Booster, ...]
    directions: NDArray[np.float64]
    mean: NDArray[np.float64]

    def __call__(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (spots, k)."""
        if not self.boosters:
            return np.tile(self.mean, (len(features), 1))
        said = [_ask(booster, features) for booster in self.boosters]
        return self.mean + np.mean(said, axis=0, dtype=np.float64) @ self.directions

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return JSON values and named arrays; boosters are xgboost's JSON, as bytes."""
        arrays: dict[str, NDArray[Any]] = {"directions": self.directions, "mean": self.mean}
        for number, booster in enumerate(self.boosters, 1):
            arrays[f"booster{number}"] = np.frombuffer(bytes(booster.save_raw("json")), dtype=np.uint8)
        return {"kind": "trees", "boosters": len(self.boosters)}, arrays

    @classmethod
    def restore(cls, facts: dict[str, Any], arrays: dict[str, NDArray[Any]], features: int, targets: int) -> Trees:
        """Take back what `state` returned.

        Raises
        ------
        ModelProblem
            The trees are damaged, or not from so many features to so many targets.
        """
        from xgboost import Booster
        from xgboost.core import XGBoostError

        directions, mean = arrays["directions"], arrays["mean"]
        if directions.ndim != 2 or directions.shape[1] != targets or len(mean) != targets:
            raise ModelProblem("The model's directions do not fit its ions.")
        boosters = []
        for number in range(1, int(facts["boosters"]) + 1):
            text = arrays[f"booster{number}"].astype(np.uint8).tobytes()
            try:
                json.loads(text)  # nothing but text is given to xgboost
                booster = Booster({"nthread": 1})
                booster.load_model(bytearray(text))
                outputs = _ask(booster, np.zeros((1, features), dtype=np.float32)).shape[1]
            except (ValueError, XGBoostError) as error:
                raise ModelProblem("The model's trees are damaged, or do not fit its features.") from error
            if booster.num_features() != features or outputs != len(directions):
                raise ModelProblem("The model's trees do not fit its features and ions.")
            boosters.append(booster)
        return cls(tuple(boosters), directions, mean)


def fit_trees(task: Task) -> Trees:
    """Return gradient-boosted trees (XGBoost, Chen and Guestrin 2016, doi:10.1145/2939672.2939785).

    Trees learn the leading directions of the standardised ions, which many ions share, and these lead back to
    ions. Each of a few boosters learns from the spots of an inner fold and stops by the blocks or sections held
    out there; what they say of those gives each ion a factor by which predictions are drawn to its mean. Trees
    cannot go beyond values they have seen: between sections that differ in staining or depth standardise
    genes per section.
    """
    trees, guesses = boosted(task)
    trust = trusted(guesses, task.targets - task.mean, task.present, task.inputs.folds)
    return Trees(trees.boosters, trees.directions * trust, trees.mean)


def boosted(task: Task) -> tuple[Trees, list[NDArray[np.float64]]]:
    """Return trees as they are, and what those of each inner fold say of spots held out (held, k), less the mean."""
    y, choices = task.completed(), task.choices
    folds = task.ensemble if task.learned.any() and task.inputs.features.shape[1] else []
    mean = task.mean
    spread = np.where(task.learned, y.std(axis=0), 0.0)
    unit = np.where(spread > _TINY, spread, np.inf)
    deviations = (y - mean) / unit
    axes = np.linalg.eigh(deviations.T @ deviations)[1][:, ::-1][:, : choices.tree_components]
    directions = axes.T * np.where(np.isfinite(unit), unit, 0.0)
    scores = deviations @ axes
    boosters, guesses = [], []
    for number, fold in enumerate(folds):
        part = task.progress.part(number / len(folds), (number + 1) / len(folds))
        x, x_held = (np.ascontiguousarray(rows, dtype=np.float32) for rows in fold.split(task.inputs.features))
        boosters.append(_boost(task, x, scores[fold.fit], x_held, scores[fold.held], part))
        guesses.append(_ask(boosters[-1], x_held) @ directions)
    return Trees(tuple(boosters), directions, mean), guesses


def _boost(
    task: Task,
    x: NDArray[np.floating],
    y: NDArray[np.float64],
    x_held: NDArray[np.floating],
    y_held: NDArray[np.float64],
    progress: Progress,
) -> Booster:
    """Return a booster cut at the round that predicts held-out spots best."""
    import xgboost

    choices, threads = task.choices, 1
    fit = xgboost.QuantileDMatrix(x, y, nthread=threads, max_bin=_BINS)
    held = xgboost.QuantileDMatrix(x_held, y_held, ref=fit, nthread=threads, max_bin=_BINS)
    booster = xgboost.train(
        {
            "tree_method": "hist",
            "max_bin": _BINS,
            "max_depth": choices.tree_depth,
            "learning_rate": choices.tree_rate,
            "subsample": _SPOTS,
            "colsample_bytree": _FEATURES if x.shape[1] * _FEATURES > 10 else 1.0,
            "min_child_weight": _LEAF,
            "nthread": threads,
            "seed": 0,
        },
        fit,
        choices.rounds,
        evals=[(held, "held")],
        early_stopping_rounds=_PATIENCE,
        verbose_eval=False,
        callbacks=[_watch(progress, choices.rounds, task.cancelled)],
    )
    return booster[: booster.best_iteration + 1]


def _watch(progress: Progress, rounds: int, cancelled: Callable[[], bool]) -> Any:
    from xgboost.callback import TrainingCallback

    class Watch(TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            check(cancelled)
            progress((epoch + 1) / rounds, "trees")
            return False

    return Watch()


def _ask(booster: Booster, features: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return (spots, m)."""
    said: NDArray[np.floating] = booster.inplace_predict(np.ascontiguousarray(features, dtype=np.float32))
    return said.reshape(len(features), -1)
