"""Model folders: ``model.json``, ``tensors.safetensors`` and a card to read, nothing that runs."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, FileProblem, ModelProblem, RecipeProblem, St2msiError
from napari_st2msi.evaluation.conformal import Intervals
from napari_st2msi.features.arrays import part, prefixed
from napari_st2msi.features.histology import HISTOLOGY
from napari_st2msi.features.ions import frame_from_json, frame_to_json
from napari_st2msi.models.base import Predictor
from napari_st2msi.models.registry import model_class
from napari_st2msi.paired import dense
from napari_st2msi.recipe import Recipe
from napari_st2msi.training.card import card
from napari_st2msi.training.description import (
    DESCRIPTION,
    FORMAT,
    TENSORS,
    VERSION,
    Description,
    check_weights,
    read_description,
    read_tensors,
)
from napari_st2msi.training.familiarity import Familiarity
from napari_st2msi.training.fingerprint import spot_marks

if TYPE_CHECKING:
    from anndata import AnnData

CARD = "card.md"
_SPOTS = "training_spots"


@dataclass(frozen=True)
class TrainedModel:
    """A fitted model with everything needed to use it and to judge it.

    Attributes
    ----------
    predictor
        The fitted `Predictor`.
    recipe
        The choices of the run.
    genes
        Names of all genes of the training data; the predictor may use fewer.
    ions
        `var` of the ions.
    scores
        Scores on held-out spots as `Evaluation.flat` gives them, or None when none were measured.
    summary
        `Evaluation.summary`, or None.
    versions
        What made it.
    fingerprint
        Mark of the training data.
    n_spots
        How many spots it was fitted on.
    spots
        Sorted marks of these spots, by which a prediction is known to be in sample.
    sections
        How many of these spots are of which section.
    created
        The day it was fitted, as ``2026-01-31``.
    familiarity
        Tells spots whose genes are unlike any in training.
    intervals
        Intervals around predictions; None where there are none.
    no_intervals
        Why there are none, in words.
    """

    predictor: Predictor
    recipe: Recipe
    genes: list[str]
    ions: pd.DataFrame
    scores: pd.DataFrame | None
    summary: dict[str, Any] | None
    versions: dict[str, str]
    fingerprint: str
    n_spots: int
    spots: NDArray[np.uint64]
    sections: dict[str, int]
    created: str
    familiarity: Familiarity
    intervals: Intervals | None
    no_intervals: str

    def predict(self, genes: AnnData) -> AnnData:
        """Predict ions of spots × genes, in measured units (after the recipe's normalisation).

        Returns
        -------
        A prediction: see `napari_st2msi.models.base.prediction`. `obs["in_training"]` tells which
        spots the model was fitted on; if any, the kind is ``in_sample``, else ``new_section``.
        `obs["novelty"]` tells how far a spot's genes lie from those of training, `obs["ood"]` whether that
        is farther than 99 % of held-out training spots (above 1). Layers `lower` and `upper` are the ends
        of the intervals. `var` carries the scores, `uns["provenance"]` the share of genes matched, the
        share of spots that are `ood`, and what intervals rest on.

        Raises
        ------
        DataProblem
            There are no spots, positions are missing, or genes hold NaN or negative values.
        ModelProblem
            Too few of the model's genes are there.
        """
        if genes.n_obs == 0:
            raise DataProblem("There are no spots to predict.")
        xy = np.asarray(genes.obsm["spatial"], dtype=float) if "spatial" in genes.obsm else np.empty((0, 0))
        if xy.ndim != 2 or xy.shape[1] < 2 or not np.isfinite(xy).all():
            raise DataProblem('Some spots have no positions. Put x and y in µm into obsm["spatial"].')
        predicted = self.predictor.predict(genes)
        seen = np.isin(spot_marks(genes, self.genes), self.spots)
        predicted.obs["in_training"] = seen
        predicted.obs["novelty"] = self._novelty(genes)
        predicted.obs["ood"] = predicted.obs["novelty"].to_numpy() > 1
        if self.intervals is not None:
            lower, upper = self.intervals.around(dense(predicted.X), self.recipe.ions)
            predicted.layers["lower"], predicted.layers["upper"] = lower, upper
        if self.scores is not None:
            known = predicted.var.drop(columns=self.scores.columns, errors="ignore")
            predicted.var = pd.concat([known, self.scores.loc[predicted.var_names]], axis=1)
        predicted.uns["provenance"] |= {} if self.intervals is None else {"interval_level": self.intervals.level}
        predicted.uns["provenance"] |= {
            "kind": "in_sample" if seen.any() else "new_section",
            "share_in_training": float(seen.mean()),
            "trained_on": self.fingerprint,
            "version": self.versions.get("napari-st2msi", ""),
            "share_ood": float(predicted.obs["ood"].mean()) if predicted.obs["novelty"].notna().all() else float("nan"),
            "intervals": self.no_intervals if self.intervals is None else self.intervals.in_words(),
            "n_sections": len(self.sections),
        }
        return predicted

    def _novelty(self, genes: AnnData) -> NDArray[np.float32]:
        """Return (spots,) how far each lies from training; NaN where too few genes are there to tell."""
        try:
            return self.familiarity.novelty(genes).astype(np.float32)
        except ModelProblem:
            return np.full(genes.n_obs, np.nan, dtype=np.float32)

    def save(self, folder: str | Path) -> Path:
        """Write the model folder; see `save`."""
        return save(self, Path(folder))


def save(model: TrainedModel, folder: Path) -> Path:
    """Write a model folder through a temporary sibling; an older model there is replaced whole.

    Returns
    -------
    The folder.

    Raises
    ------
    FileProblem
        The folder holds something else than a model, or cannot be written.
    ModelProblem
        The model's weights are missing values.
    """
    from safetensors.numpy import save_file

    folder = folder.expanduser().absolute()
    if folder.exists() and not _is_model(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise FileProblem(f"'{folder}' already holds something that is not a model. Choose another folder.")
    facts, arrays = model.predictor.state()
    known, own = model.familiarity.state()
    arrays = {**arrays, _SPOTS: model.spots, **prefixed("familiarity", own)}
    intervals = None
    if model.intervals is not None:
        intervals, own = model.intervals.state()
        arrays |= prefixed("intervals", own)
    tensors = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    check_weights(tensors)
    description = Description(
        format=FORMAT,
        version=VERSION,
        model=model.predictor.name,
        recipe=model.recipe.model_dump(mode="json"),
        genes=model.genes,
        ions=frame_to_json(model.ions),
        facts=facts,
        arrays={name: (str(values.dtype), list(values.shape)) for name, values in tensors.items()},
        scores=None if model.scores is None else frame_to_json(model.scores),
        summary=model.summary,
        versions=model.versions,
        fingerprint=model.fingerprint,
        n_spots=model.n_spots,
        sections=model.sections,
        created=model.created,
        intervals=intervals,
        no_intervals=model.no_intervals,
        familiarity=known,
    )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", suffix=".part", dir=folder.parent))
        try:
            text = json.dumps(description.model_dump(mode="json"), allow_nan=False, ensure_ascii=False)
            (draft / DESCRIPTION).write_text(text, encoding="utf-8")
            save_file(tensors, draft / TENSORS)
            (draft / CARD).write_text(card(model), encoding="utf-8")
            draft.chmod(0o755)
            _put_in_place(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise FileProblem(f"The model cannot be written to '{folder}': {error}") from error
    return folder


def load(folder: Path) -> TrainedModel:
    """Read a model folder. Nothing in it runs: values and arrays only, classes from the registry.

    Raises
    ------
    FileProblem
        A file is missing, unreadable, malformed, or a link to somewhere else.
    ModelProblem
        The model is of another version, of an unknown kind, or its parts do not fit together.
    """
    folder = Path(folder).expanduser().absolute()
    if not folder.is_dir():
        raise FileProblem(f"There is no model folder at '{folder}'.")
    description = read_description(folder)
    tensors = read_tensors(folder, description.arrays)
    spots = tensors.pop(_SPOTS, None)
    if spots is None or spots.dtype != np.uint64 or spots.ndim != 1:
        raise ModelProblem(f"The model in '{folder}' does not say which spots it was fitted on.")
    try:
        recipe = Recipe.model_validate(description.recipe)
        predictor = model_class(description.model)(recipe).restore(description.facts, tensors)
        _try(predictor, description.genes)
        ions = frame_from_json(description.ions)
        scores = None if description.scores is None else frame_from_json(description.scores)
        familiarity = Familiarity().restore(description.familiarity, part("familiarity", tensors))
        intervals = None
        if description.intervals is not None:
            intervals = Intervals.restore(description.intervals, part("intervals", tensors), len(ions))
    except RecipeProblem as error:
        raise ModelProblem(f"The model in '{folder}' cannot be used here. {error}") from error
    except St2msiError:
        raise
    except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, AssertionError, RuntimeError) as error:
        raise ModelProblem(
            f"The parts of the model in '{folder}' do not fit together: {error!r}.{_other_version(description)}"
        ) from error
    if scores is not None and not scores.index.equals(ions.index):
        raise ModelProblem(f"The scores of the model in '{folder}' are of other ions than the model's.")
    learned = getattr(predictor, "ions_", None)
    if learned is not None and not learned.var_.index.equals(ions.index):
        raise ModelProblem(f"The weights of the model in '{folder}' are of other ions than it names.")
    return TrainedModel(
        predictor=predictor,
        recipe=recipe,
        genes=description.genes,
        ions=ions,
        scores=scores,
        summary=description.summary,
        versions=description.versions,
        fingerprint=description.fingerprint,
        n_spots=description.n_spots,
        spots=spots,
        sections=description.sections,
        created=description.created,
        familiarity=familiarity,
        intervals=intervals,
        no_intervals=description.no_intervals,
    )


def _try(predictor: Predictor, genes: list[str]) -> None:
    """Predict two empty spots: weights that do not fit together are found now and not in the middle of work."""
    from anndata import AnnData

    blank = AnnData(
        np.zeros((2, len(genes)), dtype=np.float32),
        obs=pd.DataFrame({"section": ["blank", "blank"]}, index=["a", "b"]),
        var=pd.DataFrame(index=genes),
        obsm={"spatial": np.array([[0.0, 0.0], [100.0, 0.0]])},
    )
    seen = getattr(getattr(predictor, "design_", None), "histology_", None)
    if seen is not None:
        blank.obsm[HISTOLOGY] = seen.blank(2)
    predictor.predict(blank)


def _other_version(description: Description) -> str:
    """Say that another version made a model, if one did."""
    from napari_st2msi import __version__

    made_by = description.versions.get("napari-st2msi", "")
    if made_by == __version__:
        return ""
    return f" It was made with napari-st2msi {made_by[:40]} and this is {__version__}: use that one, or train it again."


def _is_model(folder: Path) -> bool:
    return (
        folder.is_dir()
        and {path.name for path in folder.iterdir()} <= {DESCRIPTION, TENSORS, CARD}
        and any(folder.iterdir())
    )


def _put_in_place(draft: Path, folder: Path) -> None:
    """Rename the finished draft; an older folder steps aside first and is removed last."""
    if not folder.exists():
        draft.rename(folder)
        return
    aside = draft.with_suffix(".old")
    folder.rename(aside)
    try:
        draft.rename(folder)
    except OSError:
        aside.rename(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)
