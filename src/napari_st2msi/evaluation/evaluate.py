"""Skill per ion on spots that the model did not see, beside what works without genes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem
from napari_st2msi.evaluation.block_errors import BlockErrors
from napari_st2msi.evaluation.conformal import intervals_from, quarters
from napari_st2msi.evaluation.metrics import Tally
from napari_st2msi.evaluation.result import Evaluation, flat_table, scale_facts
from napari_st2msi.evaluation.search import Search, search
from napari_st2msi.evaluation.similarity import structural_similarity
from napari_st2msi.evaluation.splits import Splits, make_splits
from napari_st2msi.evaluation.verdict import gain_interval, gain_over_position, verdicts
from napari_st2msi.features.ions import IonScale
from napari_st2msi.features.spatial import morans_i, neighbour_graph
from napari_st2msi.ions import ion_frame
from napari_st2msi.models.base import prediction
from napari_st2msi.models.registry import BASELINES, model_class
from napari_st2msi.paired import PairedDataset, check_values
from napari_st2msi.progress import Progress, check, never
from napari_st2msi.recipe import Recipe

#: The model that says what genes add to position, if that was asked for.
WITH_GENES = "position_genes"


def cross_validate(
    paired: PairedDataset,
    recipe: Recipe | None = None,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
    scored: Callable[[float], None] | None = None,
) -> Evaluation:
    """Fit on all folds but one, predict that one, and score per ion; baselines likewise.

    Spots without measured ions are left out. Everything that is fitted, scales included, sees the
    training spots of the fold only. Genes of all spots may be looked at as neighbours of others, as
    they will be where the model is used; ions never. Where the recipe asks for a search for settings, each
    fold searches by itself, inside its training spots.

    Parameters
    ----------
    scored
        Called after each fold with the model's median R² over learnable ions so far.

    Raises
    ------
    DataProblem
        No spot has measured ions, or values are missing, infinite or negative.
    RecipeProblem
        The choices do not fit the data; see `napari_st2msi.evaluation.splits.make_splits`.
    ModelProblem
        A fold has too few spots to learn from.
    """
    recipe = Recipe() if recipe is None else recipe
    context = paired.genes  # of whole sections: neighbours are seen by their genes, with ions or without
    added = [WITH_GENES] if recipe.evaluation.genes_over_position else []
    names = list(dict.fromkeys([recipe.model.name, *BASELINES, *added]))
    classes = {name: model_class(name) for name in names}
    paired, dropped = covered_spots(paired)
    splits = make_splits(paired, recipe, context=context)
    folds = splits.folds
    whole = IonScale(recipe.ions).fit(paired.ions)
    values = whole.forward(paired.ions)
    learnable = whole.learnable_.copy()
    warning = _same_in_a_fold(values[:, learnable], splits, paired.ions.var_names[learnable])
    if warning:
        progress(0.0, warning)
    tallies = {name: Tally(paired.ions.n_vars, recipe.model.threshold) for name in names}
    kept = {name: np.full(paired.ions.shape, np.nan, dtype=np.float32) for name in ("mean", "presence", "measured")}
    errors = BlockErrors.empty(paired.xy, paired.sections, names, paired.ions.n_vars)
    learned = {name: np.full(paired.ions.shape, np.nan, dtype=np.float32) for name in ("measured", "predicted")}
    fold_of = np.full(len(paired), "", dtype=object)
    searches: dict[str, Search] = {}
    for number, fold in enumerate(folds):
        train, held = paired.select(fold.train), paired.select(fold.test)
        scale = IonScale(recipe.ions).fit(train.ions)
        learnable &= scale.learnable_
        truth, reference = scale.forward(held.ions), scale.forward(train.ions).mean(axis=0)
        kept["measured"][fold.test], fold_of[fold.test] = scale.inverse(truth), fold.name
        learned["measured"][fold.test] = truth
        errors.add(fold.test, truth, reference)
        for name, model in classes.items():
            check(cancelled)
            part = _part(progress, number, len(folds), names.index(name), len(names), fold.name)
            chosen = recipe
            if recipe.search.trials and name == recipe.model.name:
                searches[fold.name] = search(
                    train, recipe, context=context, progress=part.part(0.0, 0.95), cancelled=cancelled
                )
                check(cancelled)
                chosen, part = searches[fold.name].recipe, part.part(0.95, 1.0)
            fitted = model(chosen).fit(train, context=context, progress=part, cancelled=cancelled)
            guess = fitted.predict(held.genes, context=context)
            presence = guess.layers.get("presence")
            guessed = scale.compress(guess.X)
            tallies[name].add(truth, guessed, reference, scale.present(held.ions), presence)
            errors.add(fold.test, truth, reference, guessed, name)
            if name == recipe.model.name:
                learned["predicted"][fold.test] = guessed
                kept["mean"][fold.test] = guess.X
                kept["presence"][fold.test] = np.nan if presence is None else presence
        if scored is not None:
            scored(_median(tallies[recipe.model.name].result()["r2"][learnable]))
    progress(1.0, "scored")

    table = pd.concat({name: tally.result() for name, tally in tallies.items()}, axis=1)
    table.index = paired.ions.var_names
    graph = neighbour_graph(paired.xy, paired.sections)
    residual = morans_i(learned["measured"] - learned["predicted"], graph, paired.sections)
    similar = structural_similarity(learned["measured"], learned["predicted"], paired.xy, paired.sections)
    table[recipe.model.name, "residual_moran_i"], table[recipe.model.name, "ssim"] = residual, similar
    moran = morans_i(values, graph, paired.sections)
    for column, known in _descriptors(paired, whole, values, moran, table, errors, learnable, recipe).items():
        table["ion", column] = known
    protocol = _protocol(paired, recipe, splits, dropped, warning)
    intervals = None
    if recipe.intervals.make_intervals != "never":
        intervals, lower, upper = intervals_from(
            kept["measured"],
            kept["mean"],
            fold_of.astype(str),
            learnable,
            recipe.ions,
            level=recipe.intervals.level,
            held_out=held_out_words(recipe),
            parts=parts_of(paired, fold_of.astype(str)),
        )
        kept |= {} if intervals is None else {"lower": lower, "upper": upper}
    table["ion", "interval_coverage"] = np.nan if intervals is None else intervals.covered
    flat = flat_table(table, recipe.model.name)
    extra = paired.ions.var.drop(columns=flat.columns, errors="ignore")
    out_of_fold = prediction(
        kept.pop("mean"),
        paired.genes,
        pd.concat([extra, flat], axis=1),
        layers=kept,
        model=recipe.model.name,
        kind="out_of_fold",
        **protocol,
    )
    out_of_fold.obs["fold"] = pd.Categorical(fold_of.astype(str))
    return Evaluation(table, out_of_fold, protocol, folds, recipe.model.name, errors, intervals, searches)


def held_out_words(recipe: Recipe) -> str:
    """Say what a recipe holds out."""
    ways = {
        "blocks": "blocks of tissue",
        "knndm": "pieces of tissue",
        "tissue_halves": "halves of sections",
        "random": "single spots at random",
        "half": "random halves of the spots",
    }
    return ways.get(recipe.evaluation.protocol, f"each '{recipe.evaluation.group}'")


def parts_of(paired: PairedDataset, fold: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the parts in which coverage is told: folds, sections where folds are others, quarters of sections."""
    sections = paired.sections
    several = len(np.unique(sections)) > 1 and not (sections == fold).all()
    return {"fold": fold, **({"section": sections} if several else {}), "quarter": quarters(paired.xy, sections)}


def covered_spots(paired: PairedDataset) -> tuple[PairedDataset, int]:
    """Return the spots that have measured ions, and how many have none.

    Raises
    ------
    DataProblem
        No spot has any, or a covered spot lacks some ions.
    """
    covered = paired.covered
    if not covered.any():
        raise DataProblem("No spot has measured ions. Pair MSI with ST first, or lower the least coverage.")
    if not covered.all():
        paired = paired.select(covered)
    check_values(paired.ions.X, "ions")
    return paired, int((~covered).sum())


def _part(progress: Progress, fold: int, n_folds: int, step: int, n_steps: int, name: str) -> Progress:
    """Return the progress of one predictor in one fold: the model, which comes first, counts for most of it."""
    shares = np.array([6.0, *[1.0] * (n_steps - 1)])
    edges = np.append(0.0, np.cumsum(shares) / shares.sum())
    start, stop = edges[step], edges[step + 1]
    part = progress.part((fold + start) / n_folds, (fold + stop) / n_folds)
    return part.named(f"{name} ({fold + 1} of {n_folds})")


def _same_in_a_fold(values: NDArray[np.floating], splits: Splits, names: pd.Index) -> str:
    """Say which ions do not vary among the held-out spots of a fold; nothing where all do."""
    held = [np.ptp(values[fold.test], axis=0) == 0 for fold in splits.folds]
    same = names[np.any(held, axis=0)]
    if not len(same):
        return ""
    shown = ", ".join(map(str, same[:3])) + (" …" if len(same) > 3 else "")
    what = f"Ion {shown} is" if len(same) == 1 else f"{len(same):,} ions ({shown}) are"
    return f"{what} the same in all held-out spots of a fold, which does not count for correlations."


def _descriptors(
    paired: PairedDataset,
    scale: IonScale,
    values: NDArray[np.floating],
    moran: NDArray[np.float64],
    table: pd.DataFrame,
    errors: BlockErrors,
    learnable: NDArray[np.bool_],
    recipe: Recipe,
) -> dict[str, Any]:
    """Return what is known of each ion beside scores: the columns under ``ion``."""
    ions = ion_frame(paired.ions)
    intensities = scale.inverse(values)
    r2 = table[recipe.model.name]["r2"].to_numpy()
    gain = gain_over_position(table, recipe.model.name)
    low, high = (np.where(np.isfinite(gain), end, np.nan) for end in gain_interval(errors, recipe.model.name))
    added = {}
    if WITH_GENES in errors.sse:
        added["genes_over_position"] = (table[WITH_GENES]["r2"] - table["position"]["r2"]).to_numpy()
    return {
        **{str(name): ions[name].to_numpy() for name in ions},
        "prevalence": scale.n_present_ / scale.n_spots_,
        "n_present": scale.n_present_,
        "mean_intensity": intensities.mean(axis=0),
        "moran_i": moran,
        "learnable": learnable,
        "gain": gain,
        "gain_lower": low,
        "gain_upper": high,
        **added,
        "verdict": verdicts(r2, gain, moran, learnable, scale.n_present_, scale.chosen_),
    }


def _protocol(paired: PairedDataset, recipe: Recipe, splits: Splits, dropped: int, warning: str) -> dict[str, Any]:
    facts: dict[str, Any] = {**splits.facts, "n_without_ions": dropped}
    if dropped:
        facts["note"] += f" {dropped:,} spots without measured ions were left out."
    if warning:
        facts["note"] += f" {warning}"
    # By how many sections a fold chooses its penalties: with fewer than three, also or only by blocks of tissue.
    facts["training_sections"] = min(len(np.unique(paired.sections[fold.train])) for fold in splits.folds)
    facts |= scale_facts(recipe.ions)
    facts["gain"] = "R² above the best of training mean, coordinates and position"
    return facts


def _median(values: pd.Series) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")
