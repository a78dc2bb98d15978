"""What was done, in sentences that fit a methods section."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_st2msi.models.registry import model_class
from napari_st2msi.report.words import penalties

if TYPE_CHECKING:
    from napari_st2msi.evaluation.conformal import Intervals
    from napari_st2msi.evaluation.result import Evaluation
    from napari_st2msi.recipe import Genes, Recipe


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
        " A held-out section has no neighbours in training, so nearest neighbours fall back to the mean."
        if evaluation.protocol["whole_sections"]
        else ""
    )
    return (
        "Fitted and scored on the same folds: the mean over training spots; a spot's total counts; the nearest "
        "training spots of the same section; a smooth field of the position in the section. None of them knows a "
        f"gene.{alone} "
        f"Gain: {evaluation.protocol['gain']}."
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


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
