"""Intervals around predictions, by split conformal prediction on spots held out in blocks or sections.

For each ion, the interval reaches as far to both sides of the prediction as the model was off on held-out
spots, at the rank that a finite sample needs (Vovk, Gammerman and Shafer 2005, doi:10.1007/b106715). Errors
are taken on the learning scale, log(1 + x) unless the recipe says otherwise, so that intervals grow with
intensity. Errors of all folds are put together, as in cross-validation conformal methods (Barber, Candès,
Ramdas and Tibshirani 2021, doi:10.1214/20-AOS1965); one model fitted on all spots stands for those of the
folds, so that what holds is not the bound of CV+ but the coverage that is measured.

Spots of a fold resemble each other, and a new section resembles none: that is why whole blocks or sections
are held out, and why coverage is reported for each of them. Weighing nearby spots more (Mao, Martin and Reich
2024, doi:10.1080/01621459.2022.2147531) needs ions measured near the spots asked for, which a section without
MSI does not have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import ModelProblem
from napari_st2msi.features.ions import IonScale, frame_from_json, frame_to_json

if TYPE_CHECKING:
    from napari_st2msi.recipe import Ions

#: With fewer held-out spots nothing is said: an interval from them would be chance.
LEAST_SPOTS = 50
#: What `Intervals.rows` tells.
COLUMNS = ("where", "spots", "values within", "19 of 20 ions reach", "width in deviations of the ion")
_REGIONS = ("part", "name", "spots", "coverage", "lowest", "width")
_ROWS = 4096


@dataclass(frozen=True)
class Intervals:
    """How far each ion's interval reaches to both sides of a prediction.

    Attributes
    ----------
    level
        Share of spots whose measured value is to lie within.
    half
        (ions,) half the width, on the learning scale; NaN for ions without an interval.
    covered
        (ions,) share of held-out spots whose value lay within the interval made from the other folds.
    regions
        The same for parts of the data; see `coverage_by`.
    n_spots
        How many held-out spots it rests on.
    held_out
        What was held out, in words: ``blocks of tissue``, ``whole sections``, ``each 'donor'``.
    """

    level: float
    half: NDArray[np.float64]
    covered: NDArray[np.float64]
    regions: pd.DataFrame
    n_spots: int
    held_out: str

    def around(self, predicted: NDArray[np.floating], choices: Ions) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (n, ions) lower and upper ends around predicted intensities, in their units; never below 0."""
        return ends(predicted, self.half, choices)

    def in_words(self) -> str:
        """Say how often intervals held what was measured."""
        known = self.covered[np.isfinite(self.covered)]
        if not len(known):
            return "No ion has an interval: none could be learned."
        parts = self.regions.loc[self.regions["part"] != "all"]
        text = (
            f"Intervals meant to hold {self.level:.0%} of measured values held {known.mean():.1%} of them on held-out "
            f"spots ({self.held_out}; {np.quantile(known, 0.05):.0%} or more for 19 of 20 ions)"
        )
        if len(parts):
            part, name, share = parts.sort_values("coverage")[["part", "name", "coverage"]].iloc[0]
            text += f", least in {name if part == 'fold' else f'{part} {name}'}: {share:.1%}"
        return text + "."

    def rows(self) -> list[list[str]]:
        """Return the coverage of all spots and of each part of the data as text; columns are `COLUMNS`."""
        rows = []
        for row in self.regions.to_dict("records"):
            part, name = str(row["part"]), str(row["name"])
            where = name if part in ("all", "fold") else f"{part} {name}"
            width = f"{row['width']:.2f}" if np.isfinite(row["width"]) else "–"
            rows.append([where, f"{row['spots']:,}", f"{row['coverage']:.1%}", f"{row['lowest']:.1%}", width])
        return rows

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return everything as JSON values and named arrays."""
        facts = {
            "level": self.level,
            "n_spots": self.n_spots,
            "held_out": self.held_out,
            "regions": frame_to_json(self.regions),
        }
        # Weights of a model hold no missing values; an ion without an interval has a negative width in the file.
        arrays = {"half": self.half, "covered": self.covered}
        return facts, {name: np.where(np.isnan(values), -1.0, values) for name, values in arrays.items()}

    @classmethod
    def restore(cls, facts: dict[str, Any], arrays: dict[str, NDArray[Any]], n_ions: int) -> Self:
        """Take back what `state` returned.

        Raises
        ------
        ModelProblem
            It does not fit the ions, or is out of range.
        """
        half, covered = (np.asarray(arrays[name], dtype=np.float64) for name in ("half", "covered"))
        level = float(facts["level"])
        if half.shape != (n_ions,) or covered.shape != (n_ions,) or not np.isfinite(half).all() or not 0 < level < 1:
            raise ModelProblem("The model's intervals do not fit its ions.")
        regions = frame_from_json(facts["regions"])
        if list(regions.columns) != list(_REGIONS):
            raise ModelProblem("The coverage of the model's intervals is not what it should be.")
        return cls(
            level,
            np.where(half < 0, np.nan, half),
            np.where(covered < 0, np.nan, covered),
            regions,
            int(facts["n_spots"]),
            str(facts["held_out"]),
        )


def ends(
    predicted: NDArray[np.floating], half: NDArray[np.float64], choices: Ions
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what lies half a width to both sides of predicted intensities on the learning scale.

    Parameters
    ----------
    predicted
        (n, ions) in measured units.
    half
        (ions,) on the learning scale; NaN gives NaN.

    Returns
    -------
    (n, ions) lower and upper ends in measured units, never below 0.
    """
    scale = IonScale(choices)
    lower, upper = np.empty(predicted.shape, np.float32), np.empty(predicted.shape, np.float32)
    for start in range(0, len(predicted), _ROWS):
        rows = slice(start, start + _ROWS)
        middle = scale.compress(predicted[rows])
        lower[rows], upper[rows] = scale.inverse(middle - half), scale.inverse(middle + half)
    return lower, upper


def half_widths(errors: NDArray[np.floating], level: float) -> NDArray[np.float64]:
    """Return (ions,) the absolute error that a share `level` of new spots is not to exceed.

    Parameters
    ----------
    errors
        (n, ions) what was missed on held-out spots, on the learning scale.

    Returns
    -------
    The ⌈(n + 1)·level⌉-th smallest absolute error; NaN for all where there are fewer spots than
    `LEAST_SPOTS`, or than that rank.
    """
    n = len(errors)
    rank = int(np.ceil((n + 1) * level))
    if n < LEAST_SPOTS or rank > n:
        return np.full(errors.shape[1], np.nan)
    return np.partition(np.abs(errors), rank - 1, axis=0)[rank - 1].astype(np.float64)


def nested_half_widths(
    errors: NDArray[np.floating], fold: NDArray[Any], level: float
) -> dict[str, NDArray[np.float64]]:
    """Return for each fold the half widths that the *other* folds give.

    Parameters
    ----------
    errors
        (n, ions) on the learning scale.
    fold
        (n,) in which fold each spot was held out.
    """
    return {str(name): half_widths(errors[fold != name], level) for name in np.unique(fold)}


def coverage_by(
    inside: NDArray[np.bool_], judged: NDArray[np.bool_], width: NDArray[np.float64], parts: dict[str, NDArray[Any]]
) -> pd.DataFrame:
    """Return how often intervals held what was measured, in all and in each part of the data.

    Parameters
    ----------
    inside
        (n, ions) whether a measured value lies within its interval.
    judged
        (ions,) which ions have intervals.
    width
        (n, ions) of the intervals, in standard deviations of the ion.
    parts
        Ways to cut spots into parts: for each (n,) the part that a spot is in.

    Returns
    -------
    DataFrame with columns `part` (``all`` or the way of cutting), `name`, `spots`, `coverage` (mean over
    ions), `lowest` (what 19 of 20 ions reach) and `width` (median over ions).
    """
    rows = []
    everything = {"all": np.full(len(inside), "all")}
    for part, label in (everything | parts).items():
        for name in np.unique(label):
            own = label == name
            shares = inside[own][:, judged].mean(axis=0) if judged.any() else np.array([np.nan])
            spans = width[own][:, judged].mean(axis=0)
            spans = spans[np.isfinite(spans)]  # an ion that is the same everywhere has no deviation to measure by
            middle = float(np.median(spans)) if len(spans) else np.nan
            rows.append((part, str(name), int(own.sum()), shares.mean(), np.quantile(shares, 0.05), middle))
    return pd.DataFrame(rows, columns=list(_REGIONS))


def quarters(xy: NDArray[np.float64], section: NDArray[Any]) -> NDArray[Any]:
    """Return (n,) in which quarter of its section's bounding box a spot lies, in words."""
    words = np.empty(len(xy), dtype=object)
    for label in np.unique(section):
        own = section == label
        right, below = (xy[own] > (xy[own].min(axis=0) + xy[own].max(axis=0)) / 2).T
        words[own] = np.where(below, "lower ", "upper ") + np.where(right, "right", "left").astype(object)
    return words.astype(str)


def intervals_from(
    truth: NDArray[np.floating],
    predicted: NDArray[np.floating],
    fold: NDArray[Any],
    learnable: NDArray[np.bool_],
    choices: Ions,
    *,
    level: float,
    held_out: str,
    parts: dict[str, NDArray[Any]],
) -> tuple[Intervals | None, NDArray[np.float32], NDArray[np.float32]]:
    """Return intervals for new spots, and those of the held-out spots themselves.

    The latter are nested: a fold's come from what was missed in the other folds only, so that their
    coverage is that of new spots.

    Parameters
    ----------
    truth, predicted
        (n, ions) measured, and predicted out of fold, in the same units.
    fold
        (n,) in which fold a spot was held out.
    learnable
        (ions,) which ions get an interval.
    held_out
        What was held out, in words.
    parts
        Ways to cut spots into parts; see `coverage_by`.

    Returns
    -------
    intervals
        None where there are too few spots.
    lower, upper
        (n, ions) in measured units; NaN where there is none.
    """
    scale = IonScale(choices)
    known = scale.compress(truth)
    errors = np.where(learnable, known - scale.compress(predicted), np.nan)
    half = half_widths(errors, level)
    lower, upper = (np.full(truth.shape, np.nan, dtype=np.float32) for _ in range(2))
    width = np.full(truth.shape, np.nan)
    spread = known.std(axis=0)
    for name, own_half in nested_half_widths(errors, fold, level).items():
        own = fold == name
        lower[own], upper[own] = ends(predicted[own], own_half, choices)
        low, high = scale.compress(lower[own]), scale.compress(upper[own])
        width[own] = np.divide(high - low, spread, out=np.full(low.shape, np.nan), where=spread > 0)
    if not np.isfinite(half).any() or np.isnan(lower[:, learnable]).any():
        lower[:], upper[:] = np.nan, np.nan
        return None, lower, upper
    # Ends are kept in single precision: a value that is exactly one of them lies within.
    slack = 1e-5 * np.maximum(np.abs(truth), 1e-6)
    inside = (truth >= lower - slack) & (truth <= upper + slack)
    covered = np.where(learnable, inside.mean(axis=0), np.nan)
    regions = coverage_by(inside, learnable, width, parts)
    return Intervals(level, half, covered, regions, len(truth), held_out), lower, upper
