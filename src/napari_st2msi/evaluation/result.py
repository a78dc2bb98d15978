"""What a cross-validation found: scores per ion, and what was predicted of spots that the model did not see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_st2msi.errors import DataProblem
from napari_st2msi.evaluation.block_errors import BlockErrors
from napari_st2msi.evaluation.conformal import Intervals
from napari_st2msi.evaluation.metrics import MEASURES
from napari_st2msi.evaluation.search import Search
from napari_st2msi.evaluation.splits import Fold
from napari_st2msi.evaluation.verdict import SKILL
from napari_st2msi.models.registry import BASELINES

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_st2msi.recipe import Ions

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
        return flat_table(self.table, self.model)

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


def scale_facts(choices: Ions) -> dict[str, str]:
    """Return the facts of `Evaluation.protocol` that say on which scale ions were scored."""
    return {"scale": "log1p" if choices.log1p else "measured", "normalisation": choices.normalisation}


def check_same(name: str, evaluation: Evaluation, other: str, spots: pd.Index, scale: Mapping[str, Any]) -> None:
    """Refuse an evaluation whose scores cannot stand beside others.

    Parameters
    ----------
    name
        Of the evaluation.
    other
        What it is to stand beside, in words.
    spots, scale
        Names of the spots of the other, and its `scale_facts`.

    Raises
    ------
    DataProblem
        Spots differ, or the scale on which ions were scored.
    """
    if not evaluation.prediction.obs_names.equals(spots):
        raise DataProblem(
            f"'{name}' was measured on other spots than {other}, so errors cannot be paired. Evaluate the same spots."
        )
    for fact, choice in {"scale": "log1p", "normalisation": "normalisation"}.items():
        if evaluation.protocol[fact] != scale[fact]:
            raise DataProblem(
                f"'{name}' was scored on another scale of ions ({evaluation.protocol[fact]}) than {other} "
                f"({scale[fact]}), so scores cannot be compared. Evaluate with the same choice of 'ions.{choice}'."
            )


def flat_table(table: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return the columns of `Evaluation.flat` from the table of all predictors."""
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
