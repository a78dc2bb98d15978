"""The sentences of the report: what was done, and what the scores do and do not say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_st2msi.evaluation.verdict import SKILL
from napari_st2msi.models.registry import BASELINES, model_class

if TYPE_CHECKING:
    from napari_st2msi.evaluation.conformal import Intervals
    from napari_st2msi.evaluation.result import Evaluation
    from napari_st2msi.recipe import Genes, Recipe

#: Share of spots unlike training from which it is said, where 1 % is expected; and sections that say something of
#: another one.
UNUSUAL, SECTIONS = 0.05, 3
#: Baselines that know no gene, in the words of the report.
BASELINE_WORDS = {
    "mean": "training mean",
    "counts": "total counts",
    "coordinates": "nearest neighbours in space",
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


def methods(evaluation: Evaluation, recipe: Recipe | None) -> list[tuple[str, str]]:
    """Return what was done: (heading, paragraph) pairs that fit a methods section.

    Without the recipe, only what the evaluation itself knows.
    """
    held = ("Held-out spots", _protocol(evaluation))
    scores = ("Scores", _scores(evaluation))
    if recipe is None:
        return [held, ("Baselines without genes", _baselines(evaluation)), scores]
    return [
        ("Pairing", _pairing(recipe)),
        ("Genes", genes_in_words(recipe)),
        ("Ions", ions_in_words(recipe)),
        ("Model", f"{model_in_words(recipe)} {penalties(evaluation)}"),
        held,
        ("Baselines without genes", _baselines(evaluation)),
        scores,
        *([] if evaluation.intervals is None else [("Intervals", _intervals(evaluation.intervals))]),
    ]


def _pairing(recipe: Recipe) -> str:
    choices = recipe.pairing
    far = "one and a half pixels" if choices.max_distance_um is None else f"{choices.max_distance_um:g} µm"
    ways = {
        "overlap": "the mean of the MSI pixels under it, weighted by the exact area that pixel and spot share",
        "sum": "the sum of the MSI pixels under it, each in the share of its area that lies under the spot",
        "radius": f"the mean of the MSI pixels whose centre lies within {choices.radius_um:g} µm of the spot's centre",
        "nearest": f"the mean of its {choices.k} nearest MSI pixels, none farther than {far}",
        "inverse_distance": f"the mean of its {choices.k} nearest MSI pixels weighted by inverse distance, "
        f"none farther than {far}",
    }
    least = f"Spots with less than {choices.min_coverage:.0%} of their area under pixels count as not measured"
    return f"Where pixels were paired with spots, each spot was given {ways[choices.method]}. {least}."


def genes_in_words(recipe: Recipe) -> str:
    """Say what models see of the genes."""
    choices, parts = recipe.genes, []
    if choices.min_spots:
        parts.append(f"genes found in fewer than {choices.min_spots} spots were left out")
    if choices.log1p:
        parts.append("counts were scaled to the median library size and transformed as log(1 + x)")
    parts.append(_genes_used(choices))
    if choices.standardise:
        parts.append("each was standardised to mean 0 and deviation 1" + (" within each section" * choices.per_section))
    reductions = {
        "none": "",
        "svd": f"they were reduced to {choices.n_components:,} principal directions at most",
        "pls": f"they were reduced to {choices.n_components:,} directions, at most, of partial least squares",
        "pathways": f"they were reduced to the mean of each pathway of {_gene_sets(choices)}",
    }
    around = {
        "none": "",
        "rings": f"the means over {choices.n_rings} ring{'s' * (choices.n_rings > 1)} of neighbours were added",
        "diffusion": f"what spreads to neighbours in {choices.n_steps} steps was added",
        "graph_svd": f"{choices.n_graph} directions of the mean over neighbours were added",
    }
    beside = f"the mean of each pathway of {_gene_sets(choices)} was added" if choices.pathway_band else ""
    stained = "" if choices.histology == "none" else _histology(choices)
    parts += [text for text in (reductions[choices.reduction], around[choices.neighbourhood], beside, stained) if text]
    return _sentence("; ".join(parts) + ". All of it was fitted on training spots only, anew in every fold.")


def _genes_used(choices: Genes) -> str:
    if choices.selection == "listed":
        return f"the genes listed in '{choices.file.name if choices.file else ''}' were used"
    if choices.selection == "pathways":
        return f"the genes of {_gene_sets(choices)} were used"
    if choices.selection == "signature":
        most = "" if choices.n_top is None else f", {choices.n_top:,} at most,"
        return f"the signature genes of spatial clusters{most} were used"
    if choices.selection == "all" or choices.n_top is None:
        return "all genes were used"
    quality = "variable" if choices.selection == "variable" else "spatially structured (Moran's I)"
    return f"the {choices.n_top:,} most {quality} were kept"


def _histology(choices: Genes) -> str:
    near, far = choices.histology_radius, 2 * choices.histology_radius
    if choices.histology == "texture":
        return (
            f"what the stained section looks like within {near:g} and {far:g} µm of a spot was added: mean, deviation "
            "and entropy of haematoxylin and eosin, and uniform local binary patterns"
        )
    square = f"of the stained section, in the square that reaches {far:g} µm from a spot"
    if choices.histology == "learned":
        return (
            f"{choices.histology_outputs} numbers {square}, were added, through which a small convolutional network "
            "learned to tell the leading directions of the genes there"
        )
    weights = "" if choices.histology_weights is None else f" with the weights '{choices.histology_weights.name}'"
    mark = "" if choices.histology_fingerprint is None else f" (SHA-256 {choices.histology_fingerprint})"
    return (
        f"what the network '{choices.histology_network}' of timm{weights}{mark} says {square}, was added, reduced to "
        f"{choices.histology_outputs} principal directions"
    )


def _gene_sets(choices: Genes) -> str:
    return f"the gene sets '{choices.file.name}'" if choices.file else "the bundled gene sets of metabolism"


def ions_in_words(recipe: Recipe) -> str:
    """Say how ions were scaled."""
    choices = recipe.ions
    scale = "divided by the spot's total ion current" if choices.normalisation == "tic" else "used as they are"
    log = ", and learned as log(1 + x)" if choices.log1p else ""
    least = f"Ions present in fewer than {choices.min_spots} training spots were not learned"
    most = "" if choices.n_top is None else f", nor ions beyond the {choices.n_top:,} most variable"
    present = {
        "above_zero": "",
        "noise": f" An ion counts as present above the level that {choices.noise_quantile:.0%} of all intensities of "
        "the training spots lie below.",
        "mixture": " An ion counts as present in the upper of two log-normal groups of its own intensities in the "
        "training spots, if there are two, else above zero.",
    }[choices.presence_rule]
    return f"Intensities were {scale}{log}.{present} {least}{most}."


def model_in_words(recipe: Recipe) -> str:
    """Say what the model is."""
    choices = recipe.model
    text = f"'{choices.name}': {_lower(model_class(choices.name).assumes)}"
    if choices.name != "two_stage":
        return text
    low, high = choices.alphas
    classifiers = {
        "logistic": "a logistic regression for each ion",
        "svm": "a linear support vector machine for each ion",
        "chain": "a logistic regression for each ion, in a chain in which each also sees what those before it predict",
        "networks": "a small network for each ion",
        "network": "one network for all ions",
    }
    ridges = (
        f", with a penalty of its own for each ion, chosen inside the training spots among {choices.n_alphas} from "
    )
    ridges += f"{low:g} to {high:g}"
    penalty = ridges if choices.intensity.endswith("ridge") else ", with settings chosen inside the training spots"
    penalty = "" if choices.intensity == "linear" else penalty
    threshold = "its threshold, chosen on inner folds," if choices.choose_threshold else f"{choices.threshold:g},"
    combined = (
        "the probability of presence times the intensity"
        if choices.combine == "product"
        else f"the intensity where presence is likelier than {threshold} else nothing"
    )
    return (
        f"{text} The first stage is {classifiers[choices.presence]}, calibrated on inner folds; ions always or never "
        f"present in training pass through. The second is {_REGRESSIONS[choices.intensity]}{penalty}. The prediction "
        f"is {combined}."
    )


_REGRESSIONS = {
    "ridge": "a ridge regression",
    "linear": "a regression by least squares",
    "lasso": "a lasso regression",
    "elastic_net": "an elastic net",
    "pls": "a regression by partial least squares",
    "kernel_ridge": "a kernel ridge regression",
    "banded_ridge": "a ridge regression that weighs own genes and those around it",
    "trees": "gradient-boosted trees",
    "mlp": "multilayer perceptrons that share their hidden units between ions",
    "stack": "a stack of ridge, kernel ridge and a multilayer perceptron, weighed for each ion",
}


def _protocol(evaluation: Evaluation) -> str:
    protocol = evaluation.protocol
    if protocol["protocol"] == "leave_group_out":
        why = "No value in this report comes from a model that saw the spot, or any other spot of its group."
    elif protocol["protocol"] in ("random", "half"):
        why = "Hold out blocks of tissue or whole sections for scores to rely on."
    else:
        why = "Random folds would let a model look at the neighbours of every spot, and reward it for smoothness."
    return f"{protocol['note']} {why}"


def _baselines(evaluation: Evaluation) -> str:
    alone = (
        " A held-out group has no neighbours in training, so nearest neighbours fall back to the mean."
        if evaluation.protocol["protocol"] == "leave_group_out"
        else ""
    )
    return (
        "Fitted and scored on the same folds: the mean over training spots; a spot's total counts; the nearest "
        "training spots of the same section; a smooth field of the position in the section. None of them knows a "
        f"gene.{alone} "
        f"Gain: {_lower(str(evaluation.protocol['gain']))}."
    )


def _scores(evaluation: Evaluation) -> str:
    scale = "on the log(1 + x) scale" if evaluation.protocol["scale"] == "log1p" else "on intensities"
    return (
        f"For each ion by itself, over all held-out spots, {scale}: R² against the mean of the training spots, Pearson "
        "and Spearman correlation, root mean squared error over the deviation, structural similarity of the images "
        "(Wang et al. 2004), Moran's I of the residual; for presence, areas under the ROC and the precision-recall "
        "curve, precision, recall, F1, Matthews' correlation, Brier score and calibration error. Intervals of the gain "
        "are at 95%, from squares of tissue drawn anew 1,000 times. Summaries are medians and quartiles over ions. "
        "Correlations pooled over ions are not given: that some ions are abundant "
        "and others rare is enough to make them high."
    )


def _intervals(intervals: Intervals) -> str:
    return (
        f"Split conformal intervals (Vovk et al. 2005) at {intervals.level:.0%}, by the absolute errors on "
        f"{intervals.n_spots:,} held-out spots of all folds together (as in Barber et al. 2021), for each ion by "
        "itself on the scale that the model learns on, and cut off at 0."
    )


def fixed(value: float, digits: int) -> str:
    """Return a number with so many decimals, without the sign of a zero."""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
