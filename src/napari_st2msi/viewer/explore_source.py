"""What the Explore dock shows of a section, put together in the background."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.ions import ion_frame
from napari_st2msi.progress import Progress, never
from napari_st2msi.report.words import prediction_notes
from napari_st2msi.section import Section
from napari_st2msi.viewer.ion_values import IonSource, descriptors, rows_of
from napari_st2msi.viewer.layers import Site, pixel_site, spot_site
from napari_st2msi.viewer.thumbnails import Binning

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_st2msi.evaluation.learnability import Learnability
    from napari_st2msi.evaluation.result import Evaluation

#: What `uns["provenance"]["kind"]` of a prediction means: beside the colour bar, and in a sentence.
KINDS = {
    "out_of_fold": ("out of fold", "Each spot was predicted by a model that had not seen it."),
    "in_sample": ("in sample", "The model was trained on these very spots, so the picture flatters it."),
    "new_section": ("new section", "The model was trained on other sections."),
}
# What a reopened section's `msi_predicted` may carry in its var.
_SCORES = (
    "r2",
    "gain",
    "pearson",
    "spearman",
    "rmse",
    "rmse_sd",
    "ssim",
    "residual_moran_i",
    "presence_mcc",
    "ceiling_share",
    "presence_auc",
    "moran_i",
    "verdict",
    "tier",
    "interval_coverage",
)


@dataclass(frozen=True)
class Gathered:
    """Everything that Explore needs of a section.

    Attributes
    ----------
    frame
        Ions × `mz`, `name`, `label` and whatever scores or descriptors there are.
    kind, model
        Of the prediction, a key of `KINDS`, and the name of the model; empty without one.
    note
        How the prediction was made, in words.
    level
        Share of spots that lie within their intervals; None where there are none, or it is not known.
    intervals
        What the intervals rest on, in words.
    cautions
        What to know before looking at the prediction, as sentences.
    novelty
        (spots of the section,) how far a spot's genes lie from those of training; None where it was not measured.
    """

    source: IonSource
    sites: dict[str, Site]
    frame: pd.DataFrame
    binning: Binning | None
    kind: str = ""
    model: str = ""
    note: str = ""
    level: float | None = None
    intervals: str = ""
    cautions: tuple[str, ...] = ()
    novelty: NDArray[np.float64] | None = None

    @property
    def scored(self) -> bool:
        """Whether there are scores of an evaluation."""
        return "r2" in self.frame and bool(self.frame["r2"].notna().any())


def gather(
    section: Section,
    paired: AnnData | None,
    evaluation: Evaluation | None,
    prediction: AnnData | None,
    learnability: Learnability | None = None,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Gathered:
    """Put together what Explore shows.

    Parameters
    ----------
    paired
        Measured ions of spots.
    evaluation
        Its out-of-fold prediction is shown rather than `prediction`.
    prediction
        Ions as a trained model predicts them.
    learnability
        Tiers of ions, and how much of what is reproducible was predicted.
    """
    shown = prediction if evaluation is None else evaluation.prediction
    if paired is None and section.paired:
        paired = section.paired_table
    source = IonSource(section, paired, shown)
    progress(0.2, "reading ions")
    source.prepare()
    table = section.msi if section.has_msi else paired if paired is not None else shown
    frame = pd.DataFrame({"mz": [], "name": [], "label": []}) if table is None else ion_frame(table)
    scores = _scores(evaluation, shown)
    measured = source.pixels or source.spots or source.predicted
    if measured is not None and "mean_intensity" not in scores:
        frame = frame.join(descriptors(measured, frame.index, cancelled))
    frame = frame.join(scores[[name for name in scores if name not in frame]])
    if learnability is not None:
        judged = learnability.table[["tier", "relative_r2"]].rename(columns={"relative_r2": "ceiling_share"})
        frame = frame.drop(columns=judged.columns, errors="ignore").join(judged)
    progress(0.8, "reading positions")
    sites = {}
    if source.pixels is not None:
        sites["pixels"] = pixel_site(section)
    if section.has_st:
        sites["spots"] = spot_site(section)
    place = sites.get("pixels", sites.get("spots"))
    provenance: dict[str, Any] = {} if shown is None else dict(shown.uns.get("provenance", {}))
    known = None if evaluation is None else evaluation.intervals
    level = provenance.get("interval_level") if known is None else known.level
    intervals = provenance.get("intervals", "") if known is None else known.in_words()
    return Gathered(
        source,
        sites,
        frame,
        None if place is None else Binning.of(np.asarray(place.positions)),
        str(provenance.get("kind", "")),
        str(provenance.get("model", "")),
        str(provenance.get("note", "")),
        level=None if level is None else float(level),
        intervals=str(intervals),
        cautions=tuple(prediction_notes(provenance)) if provenance.get("kind") == "new_section" else (),
        novelty=_novelty(section, shown),
    )


def _novelty(section: Section, prediction: AnnData | None) -> NDArray[np.float64] | None:
    """Return how far the spots of a section lie from training, NaN for those that were not predicted."""
    if prediction is None or "novelty" not in prediction.obs or not section.has_st:
        return None
    rows = rows_of(section, prediction)
    novelty = prediction.obs["novelty"].to_numpy(dtype=float)
    return np.where(rows >= 0, novelty[rows], np.nan)


def _scores(evaluation: Evaluation | None, prediction: AnnData | None) -> pd.DataFrame:
    """Return ions × scores: of the evaluation, or as they were saved with a prediction."""
    if evaluation is not None:
        return evaluation.flat()
    if prediction is None:
        return pd.DataFrame()
    saved = [name for name in prediction.var if name in _SCORES or str(name).startswith("r2_")]
    return prediction.var[saved]


def scores_in_words(row: pd.Series) -> str:
    """Return the scores of one ion in one line, missing ones left out."""
    parts = [
        f"{title} {_score(row[key])}"
        for key, title in (("r2", "R²"), ("gain", "gain"), ("presence_auc", "AUC"), ("moran_i", "Moran's I"))
        if key in row and pd.notna(row[key])
    ]
    return " · ".join(parts)


def coverage_in_words(row: pd.Series, level: float | None) -> str:
    """Return how often the intervals of one ion held on held-out spots."""
    covered = row.get("interval_coverage")
    if level is None or covered is None or pd.isna(covered):
        return ""
    return f"{level:.0%} intervals hold {float(covered):.0%} of held-out spots"


def baselines_in_words(row: pd.Series) -> str:
    """Return the R² of what works without genes, best first."""
    known = {
        str(key).removeprefix("r2_"): float(row[key])
        for key in row.index
        if str(key).startswith("r2_") and pd.notna(row[key])
    }
    ordered = sorted(known.items(), key=lambda item: -item[1])
    words = " · ".join(f"{name} {_score(value)}" for name, value in ordered)
    return f"R² without genes: {words}" if words else ""


def _score(value: float) -> str:
    # Rounding first: −0.001 is 0.00 and not −0.00.
    return f"{round(float(value), 2) + 0.0:.2f}".replace("-", "−")
