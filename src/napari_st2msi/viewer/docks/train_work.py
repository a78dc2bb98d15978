"""The long work of the Train dock: on a background thread, without widgets or state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_st2msi import pipeline
from napari_st2msi.paired import PairedDataset
from napari_st2msi.progress import Progress, check
from napari_st2msi.recipe import Recipe
from napari_st2msi.section import Section

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_st2msi.evaluation.evaluate import Evaluation
    from napari_st2msi.training.folder import TrainedModel


@dataclass(frozen=True)
class Trained:
    """What a training gave.

    Attributes
    ----------
    sections
        The sections trained on; they carry the out-of-fold prediction.
    """

    sections: tuple[Section, ...]
    paired: PairedDataset
    evaluation: Evaluation
    model: TrainedModel


def train(
    sections: Sequence[Section],
    parts: Sequence[PairedDataset],
    recipe: Recipe,
    *,
    progress: Progress,
    cancelled: Callable[[], bool],
    scored: Callable[[float], None],
) -> Trained:
    """Measure skill on held-out spots, then fit on all of them."""
    paired = PairedDataset.concat(list(parts))
    # The last fit, on all spots, costs about as much as one fold.
    share = 0.9 if recipe.evaluation.protocol != "leave_group_out" else 0.8
    evaluation = pipeline.evaluate(paired, recipe, progress=progress.part(0, share), cancelled=cancelled, scored=scored)
    progress(share, "fitting on all spots")
    model = pipeline.train(paired, recipe, evaluation=evaluation, progress=progress.part(share, 1), cancelled=cancelled)
    check(cancelled)
    for section in sections:
        pipeline.keep_prediction(section, evaluation.prediction)
    return Trained(tuple(sections), paired, evaluation, model)


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
