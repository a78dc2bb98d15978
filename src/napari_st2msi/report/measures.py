"""All measures of a model over its ions, beside what the training mean and prevalence reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_st2msi.report.words import fixed, scored

if TYPE_CHECKING:
    from napari_st2msi.evaluation.result import Evaluation

#: Column of the scores: what it is called, which measure of the training mean stands beside it, and what it says.
MEASURES = {
    "skill_coordinates": ("skill over neighbours", "", "share of the nearest neighbours' squared error taken away"),
    "skill_position": ("skill over position", "", "share of the smooth field's squared error taken away"),
    "genes_over_position": ("genes added to position", "", "R² of position and genes less that of position alone"),
    "pearson": ("Pearson", "pearson", "within folds"),
    "spearman": ("Spearman", "spearman", "within folds"),
    "rmse_sd": ("RMSE / SD", "rmse_sd", "error in deviations of the measured ion; 1 is no better than its mean"),
    "ssim": ("SSIM", "", "likeness of the images; smoothness alone earns some"),
    "residual_moran_i": ("Moran's I of residual", "", "structure in space that is left; 0 is none"),
    "presence_auc": ("presence: ROC AUC", "roc_auc", "0.5 is chance"),
    "presence_pr_auc": ("presence: PR AUC", "pr_auc", "chance is the prevalence"),
    "presence_precision": ("presence: precision", "precision", ""),
    "presence_recall": ("presence: recall", "recall", ""),
    "presence_f1": ("presence: F1", "f1", ""),
    "presence_mcc": ("presence: MCC", "mcc", "0 is chance"),
    "presence_skill": ("presence: Brier skill", "", "share of the training prevalence's squared error taken away"),
    "presence_ece": ("presence: calibration error", "ece", "gap between probability and frequency"),
}


def measures(evaluation: Evaluation) -> pd.DataFrame:
    """Return quartiles over the scored ions of every measure that has values.

    Returns
    -------
    DataFrame with a row for each measure by the words of the report, and columns `lower`, `median`, `upper`;
    `mean`, the median of the training mean (for presence, of the training prevalence), NaN where it has none;
    `ions` with a value; and `words`.
    """
    flat = scored(evaluation.flat())
    rows = {}
    for column, (name, beside, words) in MEASURES.items():
        values = flat[column].dropna().to_numpy(dtype=float) if column in flat else np.zeros(0)
        if not len(values):
            continue
        mean = np.nan
        if beside:
            own = evaluation.table["mean"][beside].loc[flat.index].dropna()
            mean = float(own.median()) if len(own) else np.nan
        rows[name] = (*np.percentile(values, [25, 50, 75]), mean, len(values), words)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["lower", "median", "upper", "mean", "ions", "words"])


def over_sections(evaluation: Evaluation) -> str:
    """Say how R² is in the sections, each counting alike; nothing with a single one."""
    summary = evaluation.summary()
    medians = [each["median"] for each in summary.get("sections", {}).values() if each["median"] is not None]
    if len(medians) < 2:
        return ""
    return (
        f"Median R² over ions is {fixed(float(np.mean(medians)), 3)} on average over {len(medians)} sections, "
        f"from {fixed(min(medians), 3)} to {fixed(max(medians), 3)}."
    )
