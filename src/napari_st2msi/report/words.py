"""The sentences of the report: what was done, and what the scores do and do not say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_st2msi.evaluation.verdict import SKILL
from napari_st2msi.models.registry import BASELINES

if TYPE_CHECKING:
    from napari_st2msi.evaluation.result import Evaluation

#: Share of spots unlike training from which it is said, where 1 % is expected; and sections that say something of
#: another one.
UNUSUAL, SECTIONS = 0.05, 3
#: Baselines that know no gene, in the words of the report.
BASELINE_WORDS = {
    "mean": "training mean",
    "counts": "total counts",
    "coordinates": "coordinates: nearest spots",
    "position": "position in the section",
}
#: What a verdict begins with: its colour, safe for colour-blind eyes, and what it means.
VERDICTS = {
    "predicted from genes": ("#0b6e99", "genes predict it on spots the model did not see, and better than position."),
    "no better than position": ("#c77400", "predictable, but knowing where a spot lies is enough: genes add nothing."),
    "has a pattern that genes do not predict": ("#8a4fae", "structured in space, yet the model finds nothing."),
    "noise": ("#66727f", "no skill and no pattern: there may be nothing to predict."),
    "left out": ("#9aa4ae", "not among the most variable ions, which the recipe asks for."),
    "not learnable": ("#9aa4ae", "in too few spots to learn or to score."),
}


def kind_of(verdict: str) -> str:
    """Return what a verdict says in general: a key of `VERDICTS` where there is one."""
    return verdict.partition(":")[0]


def colour_of(verdict: str) -> str:
    """Return the colour of a verdict."""
    return VERDICTS.get(kind_of(verdict), VERDICTS["noise"])[0]


def predictors(flat: pd.DataFrame, model: str) -> dict[str, str]:
    """Return which column of the scores holds the R² of which predictor: the model, then the baselines."""
    columns = {"r2": model}
    columns |= {f"r2_{name}": BASELINE_WORDS[name] for name in BASELINES if f"r2_{name}" in flat}
    return {column: words for column, words in columns.items() if flat[column].notna().any()}


def scored(flat: pd.DataFrame) -> pd.DataFrame:
    """Return the ions that could be learned and scored; summaries are over these."""
    return flat[flat["learnable"].astype(bool) & flat["r2"].notna()]


def quartiles(flat: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return how R² is distributed over the scored ions for each predictor.

    Returns
    -------
    DataFrame with a row for each predictor and columns `lower`, `median`, `upper` (R² at the
    quartiles over ions), `over` (number of ions with skill, R² > 0.02) and `ions` (number scored).
    """
    rows = {}
    flat = scored(flat)
    for column, words in predictors(flat, model).items():
        values = flat[column].dropna().to_numpy(dtype=float)
        lower, median, upper = np.percentile(values, [25, 50, 75])
        rows[words] = (lower, median, upper, int((values > SKILL).sum()), len(values))
    return pd.DataFrame.from_dict(rows, orient="index", columns=["lower", "median", "upper", "over", "ions"])


def score_lines(evaluation: Evaluation) -> dict[str, str]:
    """Return the scores as lines for the command line: quartiles of each predictor, and the verdict."""
    flat = evaluation.flat()
    lines = {"held out": str(evaluation.protocol["note"])}
    for words, row in quartiles(flat, model_words(evaluation)).iterrows():
        lines[f"R² {words}"] = (
            f"{fixed(row['median'], 3)}  (quartiles {fixed(row['lower'], 3)} to {fixed(row['upper'], 3)})"
        )
    if evaluation.protocol["training_sections"] < SECTIONS:
        lines["penalties"] = penalties(evaluation)
    if evaluation.intervals is not None:
        lines["intervals"] = evaluation.intervals.in_words()
    return lines | {"in short": in_short(flat)}


def penalties(evaluation: Evaluation) -> str:
    """Say what penalties were chosen on, and what that is worth."""
    n = evaluation.protocol["training_sections"]
    if n >= SECTIONS:
        return f"Penalties were chosen by holding out sections, of the {n} or more that train in a fold."
    if n == 2:
        return (
            "With two sections to train on, penalties were chosen by holding out each once, and on blocks of tissue. "
            "Two say little about a third: take the smallest skill seen for what to expect."
        )
    return (
        "With one section to train on, penalties were chosen on blocks of tissue. "
        "What does best there may be far too bold for another section: take the smallest skill seen for what to expect."
    )


def prediction_notes(provenance: Mapping[str, Any]) -> list[str]:
    """Return what a person should know before looking at a prediction of a trained model, as sentences.

    Parameters
    ----------
    provenance
        `uns["provenance"]` of what `TrainedModel.predict` returned.
    """
    notes = []
    if provenance.get("kind") == "in_sample":
        notes.append("The model was trained on spots of this section, so these images flatter it.")
    matched = provenance.get("share_genes_matched")
    if matched is not None and matched < 1:
        notes.append(f"{1 - matched:.0%} of the model's genes are missing here and were taken at their training mean.")
    unlike = provenance.get("share_ood")
    if unlike is not None and not np.isfinite(unlike):
        notes.append("Too few genes were found to tell whether these spots resemble those of training.")
    elif unlike is not None and unlike > UNUSUAL:
        notes.append(
            f"{unlike:.0%} of the spots have genes unlike any in training (1% is expected): values there are "
            "extrapolated, and intervals do not hold. Another tissue, depth or panel does that; "
            "standardising genes per section may help where it is depth."
        )
    if provenance.get("kind") == "new_section" and 0 < provenance.get("n_sections", 0) < SECTIONS:
        notes.append(
            "The model has seen fewer than three sections, so that nothing says how well it does on another one, "
            "and its intervals are for other blocks of the sections it has seen."
        )
    if "intervals" in provenance and "interval_level" not in provenance:
        notes.append(str(provenance["intervals"]))
    return notes


def in_short(flat: pd.DataFrame) -> str:
    """Say honestly what genes add to what position alone knows."""
    flat = scored(flat)
    if not len(flat):
        return "No ion could be learned, so there is no score."
    better = int((flat["verdict"] == "predicted from genes").sum())
    gain = float(flat["gain"].median())
    many = (
        f"{better:,} of {len(flat):,} ions are predicted from genes, better than by every baseline that knows only "
        "where a spot lies."
    )
    if gain > SKILL:
        return f"{many} Over all ions, genes add {gain:.2f} R² (median) to what position explains."
    if gain > -SKILL:
        return (
            f"{many} Over all ions, genes add next to nothing to what position explains (median {fixed(gain, 2)} R²)."
        )
    return (
        f"{many} For most ions position alone does better (median {gain:+.2f} R²): "
        "an image of such an ion shows where spots lie, not what their genes say."
    )


def held_out(evaluation: Evaluation) -> str:
    """Say in a few words what was held out."""
    protocol = evaluation.protocol
    if protocol["protocol"] == "leave_group_out":
        return f"one {protocol['group']} held out at a time"
    folds = f"held out in {protocol['n_folds']} folds"
    return {
        "random": f"random spots {folds}, which flatters",
        "half": "a random half of the spots held out at a time, which flatters",
        "tissue_halves": "half of each section held out at a time",
        "knndm": f"pieces of tissue {folds} by distance",
        "blocks": f"blocks of {protocol.get('block_um', 0):,.0f} µm {folds}",
    }[protocol["protocol"]]


def model_words(evaluation: Evaluation) -> str:
    """Return the model's name as a person reads it."""
    return evaluation.model.replace("_", "-")


def fixed(value: float, digits: int) -> str:
    """Return a number with so many decimals, without the sign of a zero."""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text
