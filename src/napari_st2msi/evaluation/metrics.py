"""Measures of skill, one value an ion: never pooled over ions.

Intensities are compared on the scale the model learns on (log1p unless the recipe says otherwise).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

#: Measures of intensity and of presence, in the order of the report.
MEASURES = (
    *("r2", "pearson", "spearman", "rmse", "rmse_sd"),
    *("precision", "recall", "f1", "mcc", "roc_auc", "pr_auc", "brier", "ece"),
)
#: Into how many bins of equal width probabilities go to see whether they are calibrated.
BINS = 10


class Tally:
    """Skill of one predictor, collected fold by fold.

    R² is 1 − ΣSSE/ΣSST over all held-out spots, SST taken around the mean of each fold's own
    training spots, so the training mean scores exactly 0. RMSE, RMSE over the deviation of what was
    measured (`rmse_sd`), precision, recall, F1, Matthews' correlation (doi:10.1016/0005-2795(75)90109-9),
    Brier score (the mean squared error of probabilities) and expected calibration error (the gap between
    probability and how often an ion was there, the mean over ten bins of probability weighted by spots) are
    over all held-out spots too. Correlations and areas under curves are computed within each fold and
    averaged (weighted by spots, by pairs, by present spots): pooled, they would reward or punish
    differences between the folds' training means. A constant prediction correlates with nothing and
    counts as 0 there; folds without variation in the truth do not count.

    Parameters
    ----------
    n_ions
        How many ions.
    threshold
        Probability from which an ion counts as predicted present.
    """

    def __init__(self, n_ions: int, threshold: float = 0.5) -> None:
        self._threshold = threshold
        self._n = 0
        self._shift = np.zeros(n_ions)
        # Of each bin of probability: what was promised less what was there, summed over spots.
        self._gap = np.zeros((BINS, n_ions))
        self._sums = {
            name: np.zeros(n_ions)
            for name in (
                *("sse", "sst", "sum", "square", "hit", "false", "missed", "n_presence", "brier"),
                *("pearson", "pearson_weight", "spearman", "spearman_weight"),
                *("roc_auc", "roc_auc_weight", "pr_auc", "pr_auc_weight"),
            )
        }

    def add(
        self,
        truth: NDArray[np.floating],
        predicted: NDArray[np.floating],
        reference: NDArray[np.floating],
        present: NDArray[np.bool_],
        probability: NDArray[np.floating] | None = None,
    ) -> None:
        """Add a fold.

        Parameters
        ----------
        truth, predicted
            (n, ions) on the learning scale.
        reference
            (ions,) mean of the fold's training spots on that scale.
        present
            (n, ions) whether an ion was measured above 0.
        probability
            (n, ions) predicted probability of presence, if the predictor gives one.
        """
        sums, n = self._sums, len(truth)
        if not self._n:
            self._shift = np.asarray(reference, dtype=np.float64)
        self._n += n
        sums["sum"] += (truth - self._shift).sum(axis=0)
        sums["square"] += ((truth - self._shift) ** 2).sum(axis=0)
        sums["sse"] += ((truth - predicted) ** 2).sum(axis=0)
        spread = ((truth - reference) ** 2).sum(axis=0)
        # The mean of equal numbers is off by rounding, which must not pass for variation.
        sums["sst"] += np.where(spread > 1e-20 * (truth**2).sum(axis=0), spread, 0.0)
        varies = np.ptp(truth, axis=0) > 0
        self._average("pearson", pearson(truth, predicted), n * varies)
        self._average("spearman", spearman(truth, predicted), n * varies)
        if probability is None:
            return
        positive = present.sum(axis=0)
        called = probability >= self._threshold
        sums["n_presence"] += n
        sums["hit"] += (called & present).sum(axis=0)
        sums["false"] += (called & ~present).sum(axis=0)
        sums["missed"] += (~called & present).sum(axis=0)
        gap = probability - present
        sums["brier"] += (gap**2).sum(axis=0)
        n_ions = gap.shape[1]
        cell = np.clip((probability * BINS).astype(np.int64), 0, BINS - 1) * n_ions + np.arange(n_ions)
        self._gap += np.bincount(cell.ravel(), gap.ravel(), minlength=BINS * n_ions).reshape(BINS, n_ions)
        mixed = (positive > 0) & (positive < n)
        if mixed.any():
            roc, pr = np.zeros(len(mixed)), np.zeros(len(mixed))
            roc[mixed] = roc_auc(present[:, mixed], probability[:, mixed])
            pr[mixed] = average_precision(present[:, mixed], probability[:, mixed])
            self._average("roc_auc", roc, positive * (n - positive))
            self._average("pr_auc", pr, np.where(mixed, positive, 0))

    def result(self) -> pd.DataFrame:
        """Return ions × `MEASURES`, NaN where a measure is undefined."""
        s = self._sums
        absent = s["n_presence"] - s["hit"] - s["false"] - s["missed"]
        called, there = s["hit"] + s["false"], s["hit"] + s["missed"]
        with np.errstate(divide="ignore", invalid="ignore"):
            columns = {
                "r2": np.where(s["sst"] > 0, 1 - s["sse"] / s["sst"], np.nan),
                "pearson": s["pearson"] / s["pearson_weight"],
                "spearman": s["spearman"] / s["spearman_weight"],
                "rmse": np.sqrt(s["sse"] / self._n),
                "rmse_sd": np.where(s["sst"] > 0, np.sqrt(s["sse"] / (s["square"] - s["sum"] ** 2 / self._n)), np.nan),
                "precision": s["hit"] / called,
                "recall": s["hit"] / there,
                "f1": 2 * s["hit"] / (called + there),
                "mcc": (s["hit"] * absent - s["false"] * s["missed"])
                / np.sqrt(called * there * (absent + s["false"]) * (absent + s["missed"])),
                "roc_auc": s["roc_auc"] / s["roc_auc_weight"],
                "pr_auc": s["pr_auc"] / s["pr_auc_weight"],
                "brier": s["brier"] / s["n_presence"],
                "ece": np.abs(self._gap).sum(axis=0) / s["n_presence"],
            }
        return pd.DataFrame(columns, columns=list(MEASURES))

    def _average(self, name: str, values: NDArray[np.float64], weight: NDArray[np.integer]) -> None:
        self._sums[name] += np.nan_to_num(values) * weight
        self._sums[f"{name}_weight"] += weight


def pearson(truth: NDArray[np.floating], predicted: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (ions,) Pearson's r of two (n, ions) arrays; NaN where either is constant."""
    a, b = truth - truth.mean(axis=0), predicted - predicted.mean(axis=0)
    constant = (np.ptp(truth, axis=0) == 0) | (np.ptp(predicted, axis=0) == 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        r = (a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return np.where(constant, np.nan, r)


def spearman(truth: NDArray[np.floating], predicted: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (ions,) Spearman's rank correlation; NaN where either is constant."""
    from scipy.stats import rankdata

    return pearson(rankdata(truth, axis=0), rankdata(predicted, axis=0))


def roc_auc(present: NDArray[np.bool_], score: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (ions,) area under the ROC curve, ties counting half; NaN where presence is constant."""
    from scipy.stats import rankdata

    positive = present.sum(axis=0)
    negative = len(present) - positive
    above = (rankdata(score, axis=0) * present).sum(axis=0) - positive * (positive + 1) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return above / (positive * negative)


def average_precision(present: NDArray[np.bool_], score: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (ions,) area under the precision-recall curve as average precision; NaN if never present.

    Spots with equal scores enter together.
    """
    n = len(present)
    order = np.argsort(-score, axis=0, kind="stable")
    ranked = np.take_along_axis(score, order, axis=0)
    hits = np.take_along_axis(present, order, axis=0)
    precision = np.cumsum(hits, axis=0) / np.arange(1, n + 1)[:, None]
    last = np.ones(ranked.shape, dtype=bool)
    last[:-1] = ranked[:-1] != ranked[1:]
    position = np.where(last, np.arange(n)[:, None], n)
    end = np.minimum.accumulate(position[::-1], axis=0)[::-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return (np.take_along_axis(precision, end, axis=0) * hits).sum(axis=0) / hits.sum(axis=0)
