"""The whole run, step by step: open → register → pair → evaluate → train → predict → save.

The docks, the command line and notebooks all call these functions; nothing else strings the rooms
together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_st2msi.paired import PairedDataset
from napari_st2msi.progress import Progress, check, never
from napari_st2msi.recipe import Pairing, Recipe
from napari_st2msi.section import Section

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_st2msi.evaluation.result import Evaluation
    from napari_st2msi.evaluation.search import Search
    from napari_st2msi.explain.attribution import Attribution, Part, RegionAttribution
    from napari_st2msi.explain.inputs import Spots
    from napari_st2msi.explain.perturb import Change, Perturbation
    from napari_st2msi.io.open import Opening
    from napari_st2msi.io.sample import Simulation
    from napari_st2msi.registration.registration import Registration
    from napari_st2msi.training.folder import TrainedModel


def open_section(
    path: str | Path,
    msi: str | Path | None = None,
    *,
    opening: Opening | None = None,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Section:
    """Open anything this package reads; see `napari_st2msi.io.open.open_any`.

    Parameters
    ----------
    path
        A SpatialData zarr, Space Ranger `outs`, imzML, CSV, MAGPIE project, h5ad or h5mu.
    msi
        The MSI, when it lies in a file of its own.
    opening
        What a reader cannot know: sizes in µm, m/z wanted, roles, histology.
    """
    from napari_st2msi.io.open import open_any

    return open_any(Path(path), None if msi is None else Path(msi), opening, progress=progress, cancelled=cancelled)


def simulate(**choices: Any) -> Simulation:
    """Return simulated sections with known truth; see `napari_st2msi.io.sample.simulate`."""
    from napari_st2msi.io.sample import simulate

    return simulate(**choices)


def register(
    section: Section,
    landmarks: Any = None,
    *,
    transform: str = "auto",
    reflection: bool | None = None,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Registration:
    """Lay MSI over ST by landmarks and keep the result in the section.

    Parameters
    ----------
    landmarks
        `Landmarks`, a file of them, or None for those that came with the section.
    transform
        ``rigid``, ``similarity``, ``affine``, ``projective`` or ``thin_plate``; ``auto`` for the one that
        predicts landmarks best when they are left out.
    reflection
        Whether the MSI is mirrored; None to find out.
    """
    from napari_st2msi.registration.fit import fit
    from napari_st2msi.registration.landmark_files import find_landmarks
    from napari_st2msi.registration.surroundings import surroundings

    found = find_landmarks(section, landmarks)
    registration = fit(found, transform, reflection=reflection, **vars(surroundings(section)))
    apply_registration(section, registration, progress=progress, cancelled=cancelled)
    return registration


def propose_registration(
    section: Section,
    landmarks: Any = None,
    *,
    start: Registration | None = None,
    refine: Literal["affine", "free_form"] = "free_form",
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
    step: Callable[[float], None] | None = None,
) -> Registration:
    """Find from the images how MSI lies over ST. Nothing is applied: look at it first.

    Parameters
    ----------
    landmarks
        `Landmarks` or a file of them, to start from and to be measured by; None for none.
    start
        What to start from instead.
    refine
        How far to go: to an affine, or on to a free-form transform.
    step
        Called with how well the images agree, as it improves.

    Returns
    -------
    Registration
        Its `trust` says whether to believe it. `apply_registration` keeps it in the section.
    """
    from napari_st2msi.registration.automatic import propose
    from napari_st2msi.registration.landmark_files import find_landmarks

    found = None if landmarks is None else find_landmarks(section, landmarks)
    return propose(section, found, start=start, refine=refine, progress=progress, cancelled=cancelled, step=step)


def apply_registration(
    section: Section,
    registration: Registration,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> None:
    """Lay MSI over ST as a registration says, and keep it in the section; the one before is remembered.

    Where there is ST, the confidence in it is kept for each spot.

    Raises
    ------
    Cancelled
        The user stopped it. The section is unchanged.
    """
    from napari_st2msi.errors import GeometryProblem
    from napari_st2msi.registration.confidence import confidence, keep_confidence
    from napari_st2msi.registration.persistence import apply

    judged = None
    if section.has_st:
        with suppress(GeometryProblem):  # folded all over: the registration says so in its own words
            judged = confidence(section, registration, progress=progress.part(0.0, 0.9), cancelled=cancelled)
    check(cancelled)
    apply(section, registration)
    if judged is not None:
        keep_confidence(section, judged)


def pair(
    section: Section,
    choices: Pairing | None = None,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> PairedDataset:
    """Give every spot its ions and keep the result in the section as table `msi_on_st`."""
    from napari_st2msi.pairing.pair import keep, pair_section

    result = pair_section(section, choices or Pairing(), progress=progress, cancelled=cancelled)
    keep(section, result)
    return result.dataset


def paired_dataset(
    sections: Section | Sequence[Section],
    recipe: Recipe | None = None,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> PairedDataset:
    """Return the paired spots of one or several sections that were paired before.

    Parameters
    ----------
    recipe
        Where it asks for histology (``genes.histology``), the stained sections around the spots are described.
    """
    from napari_st2msi.pairing.histology import with_histology
    from napari_st2msi.pairing.pair import stored

    sections = [sections] if isinstance(sections, Section) else list(sections)
    genes = (Recipe() if recipe is None else recipe).genes
    parts = []
    for number, section in enumerate(sections):
        part = progress.part(number / len(sections), (number + 1) / len(sections))
        parts.append(with_histology(stored(section), section, genes, progress=part, cancelled=cancelled))
    return PairedDataset.concat(parts)


def evaluate(
    paired: PairedDataset,
    recipe: Recipe | None = None,
    *,
    checkpoints: str | Path | None = None,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
    scored: Callable[[float], None] | None = None,
) -> Evaluation:
    """Measure skill per ion on held-out spots, beside the baselines without genes.

    Parameters
    ----------
    checkpoints
        As for `train`.
    scored
        Called after each fold with the median R² over ions so far.
    """
    from napari_st2msi.evaluation.evaluate import cross_validate
    from napari_st2msi.models.deep.following import following

    with following(None if checkpoints is None else Path(checkpoints)):
        return cross_validate(paired, recipe or Recipe(), progress=progress, cancelled=cancelled, scored=scored)


def search(
    paired: PairedDataset,
    recipe: Recipe | None = None,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
    step: Callable[[Search], None] | None = None,
) -> Search:
    """Search for the settings of a model on inner folds of the covered spots; its `recipe` has the best.

    Parameters
    ----------
    recipe
        The model and where to start; `recipe.search` says how many trials (30 if none) and how long.
    cancelled
        Stops the search and keeps the best so far.
    step
        Called after each trial with what was found so far.
    """
    from napari_st2msi.evaluation.evaluate import covered_spots
    from napari_st2msi.evaluation.search import search

    covered, _ = covered_spots(paired)
    return search(covered, recipe or Recipe(), context=paired.genes, progress=progress, cancelled=cancelled, step=step)


def train(
    paired: PairedDataset,
    recipe: Recipe | None = None,
    *,
    evaluation: Evaluation | None = None,
    checkpoints: str | Path | None = None,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> TrainedModel:
    """Fit the model of the recipe on all covered spots; scores of `evaluation` travel with it.

    Parameters
    ----------
    checkpoints
        A folder in which networks keep what they have learned after every epoch. Called again after a crash
        or a cut, with the same data and recipe, training goes on where it was; on the CPU to the same result.
        The folder is yours to delete.
    """
    from napari_st2msi.models.deep.following import following
    from napari_st2msi.training.fit import fit_model

    with following(None if checkpoints is None else Path(checkpoints)):
        return fit_model(paired, recipe or Recipe(), evaluation=evaluation, progress=progress, cancelled=cancelled)


def load_model(folder: str | Path) -> TrainedModel:
    """Load a model folder. No code from it runs."""
    from napari_st2msi.training.folder import load

    return load(Path(folder))


def predict(model: TrainedModel, query: Section | AnnData) -> AnnData:
    """Predict ions of a section (ST is enough) or of spots × genes, in measured units."""
    return model.predict(_genes_of(query, model))


def explain_ion(
    model: TrainedModel,
    query: Section | AnnData,
    ion: str,
    *,
    spots: Spots = None,
    part: Part = "prediction",
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Attribution:
    """Return what each gene contributes to the prediction of an ion; see `napari_st2msi.explain.explain`."""
    from napari_st2msi.explain.explain import explain_ion

    return explain_ion(
        model.predictor, _genes_of(query, model), ion, spots=spots, part=part, progress=progress, cancelled=cancelled
    )


def explain_region(
    model: TrainedModel,
    query: Section | AnnData,
    ions: Sequence[str] | None = None,
    *,
    spots: Spots = None,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> RegionAttribution:
    """Return what each gene contributes to several ions over some spots; see `napari_st2msi.explain.explain`."""
    from napari_st2msi.explain.explain import explain_region

    return explain_region(
        model.predictor, _genes_of(query, model), ions, spots=spots, progress=progress, cancelled=cancelled
    )


def perturb(
    model: TrainedModel,
    query: Section | AnnData,
    changes: Change | Sequence[Change],
    *,
    spots: Spots = None,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Perturbation:
    """Predict ions before and after genes are changed in some spots; see `napari_st2msi.explain.perturb`."""
    from napari_st2msi.explain.perturb import perturb

    return perturb(
        model.predictor, _genes_of(query, model), changes, spots=spots, progress=progress, cancelled=cancelled
    )


def keep_prediction(section: Section, prediction: AnnData) -> None:
    """Put a prediction into the section as table `msi_predicted`, on the spots of that section."""
    from napari_st2msi.training.keep import keep_prediction

    keep_prediction(section, prediction)


def save(section: Section, path: str | Path | None = None, *, overwrite: bool = False) -> Path:
    """Write a section as SpatialData zarr; a crash leaves the old state.

    Parameters
    ----------
    path
        Where to; None updates the tables and transformations of the zarr it was opened from.
    """
    from napari_st2msi.io.store import save

    return save(section, None if path is None else Path(path), overwrite=overwrite)


def _genes_of(query: Section | AnnData, model: TrainedModel) -> AnnData:
    """Return spots × genes, with the histology around spots where the model sees it."""
    from napari_st2msi.pairing.histology import describe_spots

    if not isinstance(query, Section):
        return query
    describe_spots(query, model.recipe.genes)
    return query.st
