"""Skill per ion on spots that the model did not see, beside what works without genes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem
from napari_st2msi.evaluation.block_errors import BlockErrors
from napari_st2msi.evaluation.conformal import Intervals, intervals_from, quarters
from napari_st2msi.evaluation.metrics import MEASURES, Tally
from napari_st2msi.evaluation.search import Search, search
from napari_st2msi.evaluation.similarity import structural_similarity
from napari_st2msi.evaluation.splits import Fold, Splits, make_splits
from napari_st2msi.evaluation.verdict import SKILL, gain_interval, gain_over_position, verdicts
from napari_st2msi.features.ions import IonScale
from napari_st2msi.features.spatial import morans_i, neighbour_graph
from napari_st2msi.ions import ion_frame
from napari_st2msi.models.base import prediction
from napari_st2msi.models.registry import BASELINES, model_class
from napari_st2msi.paired import PairedDataset, check_values
from napari_st2msi.progress import Progress, check, never
from napari_st2msi.recipe import Recipe

if TYPE_CHECKING:
    from anndata import AnnData

# Names in the flat table; measures of presence say so.
_FLAT = {
    **{name: name for name in MEASURES},
    "precision": "presence_precision",
    "recall": "presence_recall",
    "f1": "presence_f1",
    "mcc": "presence_mcc",
    "roc_auc": "presence_auc",
    "pr_auc": "presence_pr_auc",
    "brier": "presence_brier",
    "ece": "presence_ece",
}
#: The model that says what genes add to position, if that was asked for.
WITH_GENES = "position_genes"


@dataclass(frozen=True)
class Evaluation:
    """What a cross-validation found.

    Attributes
    ----------
    table
        Ions × (predictor, measure). Predictors are the model and the baselines; measures are those
        of `napari_st2msi.evaluation.metrics.MEASURES`. The model has `ssim` and `residual_moran_i` as well.
        Under ``ion``: what is known of each ion (`mz`, `name`, `formula`, `adduct`, `label`), `prevalence`,
        `n_present`, `mean_intensity`, `moran_i`, `learnable`, `gain` with its 95 % interval `gain_lower` and
        `gain_upper`, `genes_over_position` if that was asked for, `verdict` and `interval_coverage`.
    prediction
        Held-out spots × ions as the model predicted them, each value out of fold; `obs["fold"]` says
        in which. Layers `presence`; `measured`: the intensities in the same units (after the recipe's
        normalisation); `lower` and `upper`: the ends of an interval that was made from the other folds.
        `var` is `flat()`.
    protocol
        How spots were held out, in plain values; `note` and `gain` say it in words.
    folds
        The splits, as positions among the covered spots (those of `prediction`).
    model
        Name of the model.
    errors
        Of every predictor on held-out spots, by squares of tissue: what differences between predictors and
        models are judged by; see `napari_st2msi.evaluation.compare.compare`.
    intervals
        Intervals around predictions, and how often those of held-out spots held what was measured; None
        where there are too few spots, or none were asked for.
    searches
        For each fold the search for settings inside its training spots; empty without a search.
    """

    table: pd.DataFrame
    prediction: AnnData
    protocol: dict[str, Any]
    folds: list[Fold]
    model: str
    errors: BlockErrors
    intervals: Intervals | None = None
    searches: dict[str, Search] = field(default_factory=dict)

    def flat(self) -> pd.DataFrame:
        """Return ions × plain columns, for CSV, `AnnData.var` and the table of ions.

        Columns: `mz`, `name`, `formula`, `adduct`, `label`; `r2`, `pearson`, `spearman`, `rmse`, `rmse_sd`, `ssim`,
        `residual_moran_i`, `gain`, `gain_lower`, `gain_upper`; `r2_mean`, `r2_counts`, `r2_coordinates`,
        `r2_position`; `skill_coordinates`, `skill_position` (share of that baseline's squared error that the model
        takes away); `genes_over_position` if that was asked for; `presence_auc`, `presence_pr_auc`, `presence_f1`,
        `presence_precision`, `presence_recall`, `presence_mcc`, `presence_brier`, `presence_ece`, `presence_skill`
        (share of the Brier score of the training prevalence that the model takes away); `prevalence`,
        `n_present`, `mean_intensity`, `moran_i`, `learnable`, `verdict`, `interval_coverage`.
        """
        return _flat(self.table, self.model)

    @property
    def learned(self) -> pd.Index:
        """Names of the ions that could be learned and scored."""
        known = self.table["ion"]["learnable"].astype(bool) & self.table[self.model]["r2"].notna()
        return self.table.index[known]

    def summary(self) -> dict[str, Any]:
        """Return plain values: per predictor the quartiles of each measure over ions, and shares of ions.

        ``share_skill`` is the share of learnable ions with R² above 0.02, ``share_gain`` that with a
        gain over position above 0.02. Nothing is pooled over ions. With several sections, ``sections`` has the
        quartiles of the model's R² in each, and ``macro`` their means over sections.
        """
        ion = self.table["ion"]
        learnable = ion["learnable"].to_numpy(dtype=bool)
        predictors = {}
        for name in self.table.columns.get_level_values(0).unique().drop("ion"):
            scores = self.table[name][learnable].astype(float)
            entry: dict[str, Any] = {measure: _quartiles(scores[measure]) for measure in scores}
            entry["share_skill"] = float((scores["r2"] > SKILL).mean()) if len(scores) else None
            predictors[str(name)] = entry
        gain = ion["gain"][learnable].astype(float)
        sections = {
            label: _quartiles(pd.Series(r2[learnable])) for label, r2 in self.errors.r2_by_section(self.model).items()
        }
        macro = {
            key: _mean([each[key] for each in sections.values() if each[key] is not None])
            for key in ("q1", "median", "q3")
        }
        return {
            "model": self.model,
            "protocol": self.protocol,
            "n_spots": int(self.prediction.n_obs),
            "n_ions": len(self.table),
            "n_learnable": int(learnable.sum()),
            "predictors": predictors,
            "gain": _quartiles(gain),
            "share_gain": float((gain > SKILL).mean()) if len(gain) else None,
            **({"sections": sections, "macro": macro} if len(sections) > 1 else {}),
            "intervals": None if self.intervals is None else _coverage(self.intervals),
            "searches": {name: found.in_words() for name, found in self.searches.items()},
            "verdicts": {str(key): int(count) for key, count in ion["verdict"].value_counts().items()},
        }


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
    flat = _flat(table, recipe.model.name)
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
    whole = progress.part((fold + start) / n_folds, (fold + stop) / n_folds)
    return Progress(lambda fraction, message: whole(fraction, f"{name} ({fold + 1} of {n_folds}): {message}"))


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


def _flat(table: pd.DataFrame, model: str) -> pd.DataFrame:
    ion = table["ion"]
    first = ["mz", "name", "formula", "adduct", "label"]
    columns = {name: ion[name] for name in first}
    own = table[model]
    columns |= {flat: own[measure] for measure, flat in _FLAT.items()}
    columns |= {name: own[name] for name in ("ssim", "residual_moran_i")}
    columns |= {f"r2_{name}": table[name]["r2"] for name in BASELINES}
    columns |= {f"skill_{name}": _skill(1 - own["r2"], 1 - table[name]["r2"]) for name in ("coordinates", "position")}
    columns["presence_skill"] = _skill(own["brier"], table["mean"]["brier"])
    columns |= {name: ion[name] for name in ion.columns if name not in first}
    return pd.DataFrame(columns).infer_objects()


def _skill(error: pd.Series, other: pd.Series) -> pd.Series:
    """Return the share of another's error that is taken away; NaN where the other makes none."""
    return 1 - error / other.where(other > 0)


def _protocol(paired: PairedDataset, recipe: Recipe, splits: Splits, dropped: int, warning: str) -> dict[str, Any]:
    facts: dict[str, Any] = {**splits.facts, "n_without_ions": dropped}
    if dropped:
        facts["note"] += f" {dropped:,} spots without measured ions were left out."
    if warning:
        facts["note"] += f" {warning}"
    # By how many sections a fold chooses its penalties: with fewer than three, also or only by blocks of tissue.
    facts["training_sections"] = min(len(np.unique(paired.sections[fold.train])) for fold in splits.folds)
    facts["scale"] = "log1p" if recipe.ions.log1p else "measured"
    facts["gain"] = "R² above the best of training mean, coordinates and position"
    return facts


def _coverage(intervals: Intervals) -> dict[str, Any]:
    return {
        "level": intervals.level,
        "held_out": intervals.held_out,
        "note": intervals.in_words(),
        "regions": intervals.regions.astype(object).where(intervals.regions.notna(), None).to_dict("records"),
    }


def _quartiles(values: pd.Series) -> dict[str, float | None]:
    known = values[np.isfinite(values)]
    if not len(known):
        return {"q1": None, "median": None, "q3": None}
    q1, median, q3 = np.quantile(known, [0.25, 0.5, 0.75])
    return {"q1": float(q1), "median": float(median), "q3": float(q3)}


def _mean(values: list[Any]) -> float | None:
    return float(np.mean(values)) if values else None


def _median(values: pd.Series) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")
