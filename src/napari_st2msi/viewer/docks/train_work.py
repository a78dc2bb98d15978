"""The long work of the Train dock: on a background thread, without widgets or state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_st2msi import pipeline
from napari_st2msi.models.deep.following import Told, following
from napari_st2msi.paired import PairedDataset
from napari_st2msi.pairing.histology import with_histology
from napari_st2msi.progress import Progress, check
from napari_st2msi.recipe import Recipe
from napari_st2msi.recipe.networks import NETWORKS, trains_networks
from napari_st2msi.report.words import fixed, model_words, quartiles
from napari_st2msi.section import Section
from napari_st2msi.viewer.docks import train_runs
from napari_st2msi.viewer.load_torch import load_torch

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_st2msi.evaluation.result import Evaluation
    from napari_st2msi.evaluation.search import Search
    from napari_st2msi.training.folder import TrainedModel


@dataclass(frozen=True)
class Trained:
    """What a training gave.

    Attributes
    ----------
    sections
        The sections trained on; they carry the out-of-fold prediction.
    words
        What the scores are, worked out here since the window would stand still meanwhile.
    cut
        Whether the user ended the last fit early, and it is that of the best epoch so far.
    """

    sections: tuple[Section, ...]
    paired: PairedDataset
    evaluation: Evaluation
    model: TrainedModel
    words: str
    cut: bool = False


def train(
    sections: Sequence[Section],
    parts: Sequence[PairedDataset],
    recipe: Recipe,
    checkpoints: Path | None = None,
    *,
    progress: Progress,
    cancelled: Callable[[], bool],
    told: Callable[[float | Told], None],
) -> Trained:
    """Measure skill on held-out spots, then fit on all of them.

    Parameters
    ----------
    checkpoints
        Folder for what networks have learned so far; it is removed when all is done.
    told
        Called with the median R² after each fold, and with every epoch of every network.
    """
    progress(0.0, "gathering spots")
    paired = gather(sections, parts, recipe, cancelled)
    if trains_networks(recipe.model):
        progress(0.0, "starting torch")
        load_torch()
    # The last fit, on all spots, costs about as much as one fold.
    share = 0.9 if recipe.evaluation.protocol != "leave_group_out" else 0.8
    with following(checkpoints, told):
        evaluation = pipeline.evaluate(
            paired, recipe, progress=progress.part(0, share), cancelled=cancelled, scored=told
        )
        progress(share, "fitting on all spots")
        model, cut = _fit(paired, recipe, evaluation, progress.part(share, 1), cancelled, told)
    for section in sections:
        pipeline.keep_prediction(section, evaluation.prediction)
    if checkpoints is not None:
        train_runs.forget(checkpoints)
    return Trained(tuple(sections), paired, evaluation, model, scores_in_words(evaluation), cut)


def search(
    sections: Sequence[Section],
    parts: Sequence[PairedDataset],
    recipe: Recipe,
    *,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> Search:
    """Search for the settings of the model; stopped by the user, what was found so far is given."""
    progress(0.0, "gathering spots")
    paired = gather(sections, parts, recipe, cancelled)
    if trains_networks(recipe.model):
        progress(0.0, "starting torch")
        load_torch()
    return pipeline.search(paired, recipe, progress=progress, cancelled=cancelled)


def gather(
    sections: Sequence[Section], parts: Sequence[PairedDataset], recipe: Recipe, cancelled: Callable[[], bool]
) -> PairedDataset:
    """Return the spots of all sections, with the histology around them where the recipe asks for it."""
    return PairedDataset.concat(
        [
            with_histology(part, section, recipe.genes, cancelled=cancelled)
            for part, section in zip(parts, sections, strict=True)
        ]
    )


def _fit(
    paired: PairedDataset,
    recipe: Recipe,
    evaluation: Evaluation,
    progress: Progress,
    cancelled: Callable[[], bool],
    told: Callable[[float | Told], None],
) -> tuple[TrainedModel, bool]:
    """Fit on all spots; a network that the user stops after an epoch is kept as it was after its best one."""
    begun = False

    def heard(item: Told) -> None:
        nonlocal begun
        begun = True
        told(item)

    if recipe.model.name not in NETWORKS:
        model = pipeline.train(paired, recipe, evaluation=evaluation, progress=progress, cancelled=cancelled)
        check(cancelled)
        return model, False
    with following(told=heard, enough=lambda: begun and cancelled()):
        model = pipeline.train(
            paired, recipe, evaluation=evaluation, progress=progress, cancelled=lambda: cancelled() and not begun
        )
    return model, cancelled()


def predict(model: TrainedModel, section: Section, *, progress: Progress, cancelled: Callable[[], bool]) -> AnnData:
    """Predict the ions of a section."""
    progress(0.1, "matching genes")
    prediction = pipeline.predict(model, section)
    check(cancelled)
    pipeline.keep_prediction(section, prediction)
    return prediction


def load_model(folder: Path, *, progress: Progress, cancelled: Callable[[], bool]) -> TrainedModel:
    """Load a model folder."""
    return pipeline.load_model(folder)


def save_model(model: TrainedModel, folder: Path, *, progress: Progress, cancelled: Callable[[], bool]) -> Path:
    """Write a model folder."""
    return model.save(folder)


def write_report(
    path: Path, trained: Trained, recipe: Recipe, *, progress: Progress, cancelled: Callable[[], bool]
) -> Path:
    """Write the report of a training."""
    from napari_st2msi.report import html

    section = trained.sections[0] if len(trained.sections) == 1 else None
    return html.write_report(path, trained.evaluation, recipe=recipe, section=section, paired=trained.paired)


def scores_in_words(evaluation: Evaluation) -> str:
    """Return the median R² of the model and of the best that knows no gene."""
    median = quartiles(evaluation.flat(), model_words(evaluation))["median"]
    if not len(median):
        return "No ion could be learned, so there is no score."
    best = str(median.iloc[1:].idxmax())
    return (
        f"Median R² {fixed(median.iloc[0], 3)} on held-out spots; the best without genes ({best}) reaches "
        f"{fixed(float(median.iloc[1:].max()), 3)}."
    )
