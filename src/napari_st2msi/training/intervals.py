"""Intervals for a model that is fitted on all spots, from errors on spots that were held out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_st2msi.errors import ModelProblem
from napari_st2msi.evaluation.conformal import LEAST_SPOTS, Intervals, intervals_from
from napari_st2msi.evaluation.evaluate import parts_of
from napari_st2msi.features.ions import IonScale
from napari_st2msi.models.inner import inner_folds
from napari_st2msi.models.registry import build
from napari_st2msi.progress import Progress, check, never

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_st2msi.evaluation.result import Evaluation
    from napari_st2msi.paired import PairedDataset
    from napari_st2msi.recipe import Recipe

#: From so many sections on, intervals are made by holding out sections: blocks say nothing of a new one.
SECTIONS = 3
_TOO_FEW = f"There are no intervals: they need {LEAST_SPOTS} held-out spots at least, in more than one fold."


def calibrate(
    paired: PairedDataset,
    recipe: Recipe,
    evaluation: Evaluation | None,
    *,
    context: AnnData | None = None,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> tuple[Intervals | None, str]:
    """Return intervals for new spots, or the reason why there are none.

    Errors on the held-out spots of the evaluation are taken where it held out what a new prediction will
    meet: whole sections, or, with fewer than three of them, parts of them. Otherwise the model is fitted
    again, on all sections but some or, with fewer than three, outside blocks.

    Parameters
    ----------
    paired
        The covered spots that the model is fitted on.
    context
        Genes of whole sections; see `Predictor.fit`.
    """
    wanted = recipe.intervals.make_intervals
    if wanted == "never":
        return None, "There are no intervals: none were asked for."
    if evaluation is None and wanted == "evaluated":
        return None, "There are no intervals: they come from held-out spots, and skill was not measured."
    if evaluation is not None and not must_fit(evaluation, paired, recipe):
        return evaluation.intervals, "" if evaluation.intervals is not None else _TOO_FEW
    folds = inner_folds(paired) if len(paired) >= LEAST_SPOTS else []
    if len(folds) < 2:
        return None, _TOO_FEW
    predicted = np.full(paired.ions.shape, np.nan, dtype=np.float32)
    truth, fold_of = predicted.copy(), np.full(len(paired), "", dtype=object)
    learnable = np.ones(paired.ions.n_vars, dtype=bool)
    for number, fold in enumerate(folds):
        check(cancelled)
        name = f"intervals, {number + 1} of {len(folds)}"
        train, held = paired.select(fold.fit), paired.select(fold.held)
        scale = IonScale(recipe.ions).fit(train.ions)
        learnable &= scale.learnable_
        part = progress.part(number / len(folds), (number + 1) / len(folds)).named(name)
        try:
            fitted = build(recipe).fit(train, context=context, progress=part, cancelled=cancelled)
        except ModelProblem as error:
            return None, f"There are no intervals, as the model cannot be fitted on part of the spots. {error}"
        predicted[fold.held] = fitted.predict(held.genes, context=context).X
        truth[fold.held], fold_of[fold.held] = scale.inverse(scale.forward(held.ions)), f"fold {number + 1}"
    seen = np.array(fold_of != "")
    several = len(np.unique(paired.sections)) >= SECTIONS
    parts: dict[str, Any] = {name: label[seen] for name, label in parts_of(paired, fold_of.astype(str)).items()}
    intervals, _, _ = intervals_from(
        truth[seen],
        predicted[seen],
        fold_of[seen].astype(str),
        learnable,
        recipe.ions,
        level=recipe.intervals.level,
        held_out="whole sections" if several else "blocks of tissue",
        parts=parts,
    )
    return intervals, "" if intervals is not None else _TOO_FEW


def must_fit(evaluation: Evaluation | None, paired: PairedDataset, recipe: Recipe) -> bool:
    """Return whether intervals need fits of their own.

    They do not where the evaluation held out, of these spots and by this model, what predictions will meet.
    """
    wanted = recipe.intervals.make_intervals
    if wanted == "never" or evaluation is None:
        return wanted == "always"
    same = (
        evaluation.model == recipe.model.name
        and evaluation.prediction.obs_names.equals(paired.obs.index)
        and (evaluation.intervals is None or evaluation.intervals.level == recipe.intervals.level)
    )
    few = len(np.unique(paired.sections)) < SECTIONS
    parts = few and evaluation.protocol["protocol"] in ("blocks", "leave_group_out")
    return not (same and (parts or evaluation.protocol["whole_sections"]))
