"""Fit the model of a recipe on all covered spots."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from napari_st2msi.evaluation.evaluate import covered_spots
from napari_st2msi.evaluation.search import search
from napari_st2msi.models.registry import build
from napari_st2msi.paired import PairedDataset
from napari_st2msi.progress import Progress, check, never
from napari_st2msi.recipe import Recipe
from napari_st2msi.training.familiarity import Familiarity
from napari_st2msi.training.fingerprint import fingerprint, spot_marks
from napari_st2msi.training.folder import TrainedModel
from napari_st2msi.training.intervals import calibrate, must_fit
from napari_st2msi.training.versions import versions

if TYPE_CHECKING:
    from napari_st2msi.evaluation.result import Evaluation


def fit_model(
    paired: PairedDataset,
    recipe: Recipe | None = None,
    *,
    evaluation: Evaluation | None = None,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> TrainedModel:
    """Fit on all spots that have measured ions, after a search for settings where the recipe asks for one.

    Parameters
    ----------
    evaluation
        Scores on held-out spots, which then travel with the model, and what intervals are made from; see
        `napari_st2msi.training.intervals.calibrate`.

    Raises
    ------
    ModelProblem
        There are too few spots.
    DataProblem
        Values are missing, infinite or negative.
    """
    recipe = _marked(Recipe() if recipe is None else recipe)
    predictor = build(recipe)
    context = paired.genes
    paired, _ = covered_spots(paired)
    if recipe.search.trials:
        found = search(paired, recipe, context=context, progress=progress.part(0.0, 0.8), cancelled=cancelled)
        check(cancelled)
        recipe, progress = found.recipe, progress.part(0.8, 1.0)
        predictor = build(recipe)
    # Intervals may need as many fits again as there are folds.
    share = 0.2 if must_fit(evaluation, paired, recipe) else 0.95
    predictor.fit(paired, context=context, progress=progress.part(0.0, share), cancelled=cancelled)
    check(cancelled)
    intervals, none = calibrate(
        paired, recipe, evaluation, context=context, progress=progress.part(share, 0.97), cancelled=cancelled
    )
    progress(0.97, "what is familiar")
    familiarity = Familiarity().fit(paired, recipe.genes, cancelled=cancelled)
    genes = paired.genes.var_names.astype(str).tolist()
    model = TrainedModel(
        predictor=predictor,
        recipe=recipe,
        genes=genes,
        ions=paired.ions.var.copy(),
        scores=None if evaluation is None else evaluation.flat(),
        summary=None if evaluation is None else evaluation.summary(),
        versions=versions(),
        fingerprint=fingerprint(paired),
        n_spots=len(paired),
        spots=np.unique(spot_marks(paired.genes, genes)),
        sections={str(label): int(n) for label, n in zip(*np.unique(paired.sections, return_counts=True), strict=True)},
        created=date.today().isoformat(),
        familiarity=familiarity,
        intervals=intervals,
        no_intervals=none,
    )
    progress(1.0, "fitted")
    return model


def _marked(recipe: Recipe) -> Recipe:
    """Return a recipe that knows the mark of its weights of timm, so that a model can refuse others later."""
    if recipe.genes.histology != "timm":
        return recipe
    from napari_st2msi.models.deep.pretrained import fingerprint

    genes = recipe.genes.model_copy(update={"histology_fingerprint": fingerprint(recipe.genes)})
    return recipe.model_copy(update={"genes": genes})
