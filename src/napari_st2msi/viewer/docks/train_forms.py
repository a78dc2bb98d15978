"""The choices of the Train dock as forms: what each says in few words when folded, and when a field matters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from napari_st2msi.models.registry import BASELINES, model_names
from napari_st2msi.recipe import Evaluation as Protocol
from napari_st2msi.recipe import Genes, Intervals, Ions, Model, Networks, Recipe, Search
from napari_st2msi.recipe.networks import NETWORKS, trains_networks
from napari_st2msi.viewer.parts.choice_words import words_for
from napari_st2msi.viewer.parts.recipe_form import RecipeForm

_HISTOLOGY = {"texture": "histology", "learned": "learned histology", "timm": "histology by timm"}


def genes_in_words(genes: Genes) -> str:
    """Return the choices about genes in few words: ``2,000 variable · 256 SVD · rings``."""
    if genes.preset != "custom":
        return words_for(genes.preset)
    few = genes.selection in ("variable", "spatial", "signature") and genes.n_top is not None
    parts = [f"{genes.n_top:,} {genes.selection}" if few else words_for(genes.selection)]
    parts += [] if genes.log1p else ["raw counts"]
    if genes.reduction != "none":
        number = "" if genes.reduction == "pathways" else f"{genes.n_components:,} "
        parts.append(number + words_for(genes.reduction))
    parts += ["pathways beside"] if genes.pathway_band else []
    parts += [] if genes.histology == "none" else [_HISTOLOGY[genes.histology]]
    return " · ".join(parts + ([] if genes.neighbourhood == "none" else [words_for(genes.neighbourhood)]))


def ions_in_words(ions: Ions) -> str:
    """Return the choices about ions in few words."""
    parts = [] if ions.normalisation == "none" else [words_for(ions.normalisation)]
    parts += ["log1p"] if ions.log1p else ["as measured"]
    parts += [] if ions.presence_rule == "above_zero" else [f"present by {words_for(ions.presence_rule)}"]
    parts += [] if ions.n_top is None else [f"{ions.n_top:,} most variable"]
    return " · ".join([*parts, f"in {ions.min_spots:,} spots at least"])


def model_in_words(model: Model) -> str:
    """Return which model, in few words."""
    name = words_for(model.name).partition(" (")[0]
    if model.name != "two_stage":
        return name
    return f"{name} · {words_for(model.presence)}, {words_for(model.intensity)} · {words_for(model.combine)}"


def networks_in_words(networks: Networks) -> str:
    """Return how networks are trained, in few words."""
    device = "" if networks.device == "auto" else f" · {words_for(networks.device)}"
    return f"{networks.epochs:,} epochs at most{device}"


def protocol_in_words(protocol: Protocol) -> str:
    """Return what is held out, in few words."""
    if protocol.protocol == "leave_group_out":
        return f"each {protocol.group} in turn"
    if protocol.protocol == "random":
        return f"random spots in {protocol.n_folds} folds, optimistic"
    if protocol.protocol == "half":
        return "random halves, optimistic"
    if protocol.protocol == "tissue_halves":
        return "halves of each section"
    if protocol.protocol == "knndm":
        return f"matched distances in {protocol.n_folds} folds"
    side = "" if protocol.block_um is None else f" of {protocol.block_um:g} µm"
    return f"blocks{side} in {protocol.n_folds} folds"


def intervals_in_words(intervals: Intervals) -> str:
    """Return which intervals come with predictions, in few words."""
    if intervals.make_intervals == "never":
        return "none"
    return f"{intervals.level:.0%}" + (", where skill is measured" * (intervals.make_intervals == "evaluated"))


def search_in_words(search: Search) -> str:
    """Return how settings are searched for when training, in few words."""
    if not search.trials:
        return "none when training"
    most = "" if search.minutes is None else f" or {search.minutes:g} min"
    return f"{search.trials:,} trials{most} in each fold"


_NUMBERED = ("variable", "spatial", "signature")


def _pathways(chosen: Mapping[str, Any]) -> bool:
    """Return whether gene sets are in use."""
    among = "pathways" in (chosen["selection"], chosen["reduction"]) and chosen["preset"] == "custom"
    return among or bool(chosen["pathway_band"])


def _signatures(chosen: Mapping[str, Any]) -> bool:
    """Return whether signatures are in use, but for what is left to a transformer."""
    among = chosen["selection"] == "signature" and chosen["preset"] == "custom"
    return among or chosen["signature_mask"] == "yes"


#: When a choice about genes matters, by what else was chosen.
GENES_SHOWN: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "selection": lambda chosen: chosen["preset"] == "custom",
    "n_top": lambda chosen: chosen["preset"] == "custom" and chosen["selection"] in _NUMBERED,
    "file": lambda chosen: _pathways(chosen) or (chosen["preset"] == "custom" and chosen["selection"] == "listed"),
    "per_section": lambda chosen: chosen["standardise"],
    "reduction": lambda chosen: chosen["preset"] == "custom",
    "n_components": lambda chosen: chosen["preset"] == "custom" and chosen["reduction"] in ("svd", "pls"),
    "neighbourhood": lambda chosen: chosen["preset"] == "custom",
    "n_neighbours": lambda chosen: chosen["preset"] == "custom" and chosen["neighbourhood"] != "none",
    "n_rings": lambda chosen: chosen["neighbourhood"] == "rings",
    "n_steps": lambda chosen: chosen["neighbourhood"] == "diffusion",
    "n_graph": lambda chosen: chosen["preset"] == "custom" and chosen["neighbourhood"] == "graph_svd",
    "histology_radius": lambda chosen: chosen["histology"] != "none",
    "histology_outputs": lambda chosen: chosen["histology"] in ("learned", "timm"),
    **dict.fromkeys(("histology_network", "histology_weights"), lambda chosen: chosen["histology"] == "timm"),
    # The file says it, and a model that was trained knows it.
    "histology_fingerprint": lambda chosen: False,
    "clusters": _signatures,
    "clustering": lambda chosen: _signatures(chosen) and not (chosen["clusters"] or chosen["signature_file"]),
    "n_clusters": lambda chosen: _signatures(chosen) and not chosen["clusters"] and chosen["clustering"] == "kmeans",
    "signature_genes": lambda chosen: _signatures(chosen) and not chosen["signature_file"],
    "signature_file": _signatures,
}


#: When a choice about ions matters.
IONS_SHOWN: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "noise_quantile": lambda chosen: chosen["presence_rule"] == "noise",
}


def _among(*models: str) -> Callable[[Mapping[str, Any]], bool]:
    """Return whether one of these regressions is in use, alone or as a second stage."""
    return lambda chosen: (chosen["intensity"] if chosen["name"] == "two_stage" else chosen["name"]) in models


_RIDGES = _among("ridge", "banded_ridge", "kernel_ridge", "position_genes", "stack")
_STAGES = ("two_stage", "stack")


def _networks(chosen: Mapping[str, Any]) -> bool:
    """Return whether a network is in use, alone or inside."""
    return trains_networks(Model.model_construct(**chosen))


#: When a choice about the model matters, by what else was chosen.
MODEL_SHOWN: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "intensity": lambda chosen: chosen["name"] == "two_stage",
    **dict.fromkeys(("presence", "combine"), lambda chosen: chosen["name"] in _STAGES),
    "choose_threshold": lambda chosen: chosen["name"] in _STAGES and chosen["combine"] == "mask",
    "alphas": lambda chosen: chosen["name"] == "two_stage" or _RIDGES(chosen),
    "n_alphas": lambda chosen: _RIDGES(chosen) or _among("lasso", "elastic_net")(chosen),
    "penalties": _among("ridge", "kernel_ridge"),
    "l1_ratio": _among("elastic_net"),
    "most_components": _among("pls"),
    "n_landmarks": _among("kernel_ridge", "stack"),
    **dict.fromkeys(("n_latent", "n_draws"), _among("cvae")),
    **dict.fromkeys(("attend", "n_tokens", "head_width", "layers"), _among("transformer", "linear_transformer")),
    "heads": _among("transformer"),
    "section_covariate": lambda chosen: chosen["name"] in NETWORKS,
    "ensemble": lambda chosen: _networks(chosen) or _among("trees", "stack")(chosen),
    "dropout": _networks,
    **dict.fromkeys(("width", "depth"), lambda chosen: _networks(chosen) and "transformer" not in chosen["name"]),
    **dict.fromkeys(("tree_components", "tree_depth", "tree_rate", "rounds"), _among("trees")),
    **dict.fromkeys(("stack_mlp", "stack_trees"), _among("stack")),
}

#: When a choice about what is held out matters.
_PROTOCOL_SHOWN: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "group": lambda chosen: chosen["protocol"] == "leave_group_out",
    "n_folds": lambda chosen: chosen["protocol"] in ("blocks", "knndm", "random"),
    "seed": lambda chosen: chosen["protocol"] in ("blocks", "knndm", "random", "half"),
    "block_um": lambda chosen: chosen["protocol"] == "blocks",
    **dict.fromkeys(
        ("blocks_by", "buffer_um"), lambda chosen: chosen["protocol"] in ("blocks", "tissue_halves", "leave_group_out")
    ),
    "distance_um": lambda chosen: chosen["protocol"] == "knndm",
}
_INTERVALS_SHOWN: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "level": lambda chosen: chosen["make_intervals"] != "never",
}

#: The groups of the dock: part of the recipe, title, and its choices in few words.
GROUPS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("evaluation", "Evaluation", protocol_in_words),
    ("model", "Model", model_in_words),
    ("networks", "Networks", networks_in_words),
    ("genes", "Genes", genes_in_words),
    ("ions", "Ions", ions_in_words),
    ("intervals", "Intervals", intervals_in_words),
    ("search", "Search", search_in_words),
)


def make_forms(recipe: Recipe, groups: list[tuple[str, str]]) -> dict[str, RecipeForm[Any]]:
    """Return a form for each part of a recipe that `GROUPS` names.

    Parameters
    ----------
    groups
        The columns that can be held out, with their words.
    """
    models = [(name, words_for(name)) for name in model_names() if name not in BASELINES]
    return {
        "evaluation": RecipeForm(recipe.evaluation, choices={"group": groups}, shown_when=_PROTOCOL_SHOWN),
        "model": RecipeForm(recipe.model, choices={"name": models}, shown_when=MODEL_SHOWN),
        "networks": RecipeForm(recipe.networks),
        "genes": RecipeForm(recipe.genes, shown_when=GENES_SHOWN),
        "ions": RecipeForm(recipe.ions, shown_when=IONS_SHOWN),
        "intervals": RecipeForm(recipe.intervals, shown_when=_INTERVALS_SHOWN),
        "search": RecipeForm(recipe.search),
    }
