"""Model folders: ``model.json`` and ``tensors.safetensors``, nothing that runs."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_st2msi.errors import DataProblem, FileProblem, ModelProblem, RecipeProblem, St2msiError
from napari_st2msi.features.ions import frame_from_json, frame_to_json
from napari_st2msi.models.base import Predictor
from napari_st2msi.models.registry import model_class
from napari_st2msi.recipe import Recipe
from napari_st2msi.training.fingerprint import spot_marks

if TYPE_CHECKING:
    from anndata import AnnData

DESCRIPTION, TENSORS = "model.json", "tensors.safetensors"
FORMAT, VERSION = "napari-st2msi model", 2
_SPOTS = "training_spots"
_MOST_JSON = 512 * 2**20  # bytes; a description of 100,000 genes and ions needs a tenth of this


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

    def predict(self, genes: AnnData) -> AnnData:
        """Predict ions of spots × genes, in measured units (after the recipe's normalisation).

        Returns
        -------
        A prediction: see `napari_st2msi.models.base.prediction`. `obs["in_training"]` tells which
        spots the model was fitted on; if any, the kind is ``in_sample``, else ``new_section``. `var`
        carries the scores, `uns["provenance"]` the share of genes matched.

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
        if self.scores is not None:
            known = predicted.var.drop(columns=self.scores.columns, errors="ignore")
            predicted.var = pd.concat([known, self.scores.loc[predicted.var_names]], axis=1)
        predicted.uns["provenance"] |= {
            "kind": "in_sample" if seen.any() else "new_section",
            "share_in_training": float(seen.mean()),
            "trained_on": self.fingerprint,
            "version": self.versions.get("napari-st2msi", ""),
        }
        return predicted

    def save(self, folder: str | Path) -> Path:
        """Write the model folder; see `save`."""
        return save(self, Path(folder))


class _Description(BaseModel):
    """The content of model.json; anything else is refused."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["napari-st2msi model"]
    version: Literal[2]
    model: str = Field(max_length=200)
    recipe: dict[str, Any]
    genes: list[str]
    ions: dict[str, Any]
    facts: dict[str, Any]
    arrays: dict[str, tuple[str, list[int]]]
    scores: dict[str, Any] | None
    summary: dict[str, Any] | None
    versions: dict[str, str]
    fingerprint: str
    n_spots: int = Field(ge=1)


def save(model: TrainedModel, folder: Path) -> Path:
    """Write a model folder through a temporary sibling; an older model there is replaced whole.

    Returns
    -------
    The folder.

    Raises
    ------
    FileProblem
        The folder holds something else than a model, or cannot be written.
    """
    from safetensors.numpy import save_file

    folder = folder.expanduser().absolute()
    if folder.exists() and not _is_model(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise FileProblem(f"'{folder}' already holds something that is not a model. Choose another folder.")
    facts, arrays = model.predictor.state()
    tensors = {name: np.ascontiguousarray(values) for name, values in {**arrays, _SPOTS: model.spots}.items()}
    description = _Description(
        format="napari-st2msi model",
        version=2,
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
    )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", suffix=".part", dir=folder.parent))
        try:
            text = json.dumps(description.model_dump(mode="json"), allow_nan=False, ensure_ascii=False)
            (draft / DESCRIPTION).write_text(text, encoding="utf-8")
            save_file(tensors, draft / TENSORS)
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
    description = _read_description(folder)
    tensors = _read_tensors(folder, description.arrays)
    spots = tensors.pop(_SPOTS, None)
    if spots is None or spots.dtype != np.uint64 or spots.ndim != 1:
        raise ModelProblem(f"The model in '{folder}' does not say which spots it was fitted on.")
    try:
        recipe = Recipe.model_validate(description.recipe)
        predictor = model_class(description.model)(recipe).restore(description.facts, tensors)
        ions = frame_from_json(description.ions)
        scores = None if description.scores is None else frame_from_json(description.scores)
    except RecipeProblem as error:
        raise ModelProblem(f"The model in '{folder}' cannot be used here. {error}") from error
    except St2msiError:
        raise
    except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise ModelProblem(f"The parts of the model in '{folder}' do not fit together: {error!r}") from error
    if scores is not None and not scores.index.equals(ions.index):
        raise ModelProblem(f"The scores of the model in '{folder}' are of other ions than the model's.")
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
    )


def _read_description(folder: Path) -> _Description:
    path = _plain_file(folder, DESCRIPTION)
    if path.stat().st_size > _MOST_JSON:
        raise FileProblem(f"'{path}' is far larger than the description of a model. It is not read.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise FileProblem(f"'{path}' cannot be read: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise FileProblem(f"'{path}' does not describe a model of this program.")
    if content.get("version") != VERSION:
        raise ModelProblem(
            f"The model in '{folder}' has format version {content.get('version')!r}; this program reads {VERSION}. "
            "Train it again, or use the program version that made it."
        )
    try:
        return _Description.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise FileProblem(f"'{path}' is damaged at '{where}': {first['msg']}.") from error


def _read_tensors(folder: Path, expected: Mapping[str, tuple[str, list[int]]]) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = _plain_file(folder, TENSORS)
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise FileProblem(f"'{path}' cannot be read: {error}") from error
    if tensors.keys() != expected.keys():
        raise ModelProblem(f"'{path}' holds other arrays than '{DESCRIPTION}' says. The folder is damaged.")
    for name, (dtype, shape) in expected.items():
        found = tensors[name]
        if str(found.dtype) != dtype or list(found.shape) != shape:
            raise ModelProblem(
                f"Array '{name}' in '{path}' is {found.dtype} of shape {list(found.shape)}, but '{DESCRIPTION}' says "
                f"{dtype} of shape {shape}. The folder is damaged."
            )
    return tensors


def _plain_file(folder: Path, name: str) -> Path:
    path = folder / name
    if path.is_symlink():
        raise FileProblem(f"'{path}' is a link. A model folder holds its files itself.")
    if not path.is_file():
        raise FileProblem(f"'{folder}' is not a model folder: '{name}' is missing.")
    return path


def _is_model(folder: Path) -> bool:
    return (
        folder.is_dir() and {path.name for path in folder.iterdir()} <= {DESCRIPTION, TENSORS} and any(folder.iterdir())
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
