"""What models see of the genes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from napari_st2msi.recipe.choices import Choices

#: Inputs by the names that the literature on predicting metabolites uses: what each says about genes.
PRESETS: dict[str, dict[str, Any]] = {
    "hvg": {"selection": "variable", "n_top": 2000, "reduction": "none", "neighbourhood": "none"},
    "hvg_svd": {
        "selection": "variable", "n_top": 2000, "reduction": "svd", "n_components": 256, "neighbourhood": "none",
    },
    "hvg_svd_graph": {
        "selection": "variable", "n_top": 2000, "reduction": "svd", "n_components": 256,
        "neighbourhood": "graph_svd", "n_neighbours": 6, "n_graph": 64,
    },
    "svd": {"selection": "all", "reduction": "svd", "n_components": 256, "neighbourhood": "none"},
    "svd_graph": {
        "selection": "all", "reduction": "svd", "n_components": 256,
        "neighbourhood": "graph_svd", "n_neighbours": 6, "n_graph": 64,
    },
}  # fmt: skip
#: How many ions they learn.
PRESET_IONS = 500


class Genes(Choices):
    """What models see of the genes. Everything is fitted on training spots only."""

    preset: Literal["custom", "hvg", "hvg_svd", "hvg_svd_graph", "svd", "svd_graph"] = Field(
        "custom",
        title="Preset",
        description="Inputs known by name, with 2,000 variable genes (hvg), 256 directions (svd), 64 graph components "
        "(graph) and the 500 most variable ions; it overrules the choices it stands for. custom: as chosen here.",
    )
    log1p: bool = Field(True, title="Library size and log1p", description="Scale to the median total, then log(1+x).")
    selection: Literal["variable", "spatial", "signature", "pathways", "listed", "all"] = Field(
        "variable",
        title="Genes used",
        description="variable: more variable than others of their mean; spatial: highest Moran's I; "
        "signature: those that stand out in spatial clusters; pathways: those of gene sets; listed: those of the file; "
        "all: all that are seen in enough spots.",
    )
    n_top: int | None = Field(
        2000,
        ge=1,
        title="How many genes",
        description="For 'variable', 'spatial' and 'signature': keep this many, chosen on training spots. Empty: all.",
    )
    file: Path | None = Field(
        None,
        title="Gene list",
        description="For 'listed': a text file with one gene a line, or a GMT file of gene sets. For pathways: a GMT "
        "file instead of the gene sets of metabolism that come along.",
    )
    min_spots: int = Field(3, ge=0, title="Least spots", description="Genes seen in fewer training spots are left out.")
    standardise: bool = Field(True, title="Standardise", description="Mean 0 and deviation 1 over training spots.")
    per_section: bool = Field(
        False,
        title="Standardise per section",
        description="Takes away what differs between whole sections, such as staining or depth.",
    )
    reduction: Literal["none", "svd", "pls", "pathways"] = Field(
        "svd",
        title="Reduction",
        description="svd: leading principal directions of the genes; pls: directions that go along with the ions; "
        "pathways: the mean of each pathway's genes; none: the genes themselves.",
    )
    n_components: int = Field(
        256, ge=1, title="Directions", description="For 'svd' and 'pls': how many directions to keep at most."
    )
    neighbourhood: Literal["none", "rings", "diffusion", "graph_svd"] = Field(
        "rings",
        title="Neighbourhood",
        description="rings: mean expression at one and at two steps around the spot; diffusion: expression after "
        "spreading to neighbours; graph_svd: leading directions of the neighbourhood's mean; none: the spot alone.",
    )
    n_neighbours: int = Field(
        6,
        ge=1,
        le=200,
        title="Neighbours",
        description="How many spots are one step away, in the middle of the tissue.",
    )
    n_rings: int = Field(2, ge=1, le=5, title="Rings", description="For 'rings': up to how many steps away.")
    n_steps: int = Field(2, ge=1, le=20, title="Steps", description="For 'diffusion': how often expression spreads.")
    n_graph: int = Field(64, ge=1, title="Graph SVD size", description="For 'graph_svd': how many directions.")
    pathway_band: bool = Field(
        False,
        title="Pathways beside",
        description="Models also see the mean of each pathway's genes, as a band of its own.",
    )
    histology: Literal["none", "texture", "learned", "timm"] = Field(
        "none",
        title="Histology",
        description="Models also see the stained section around the spot, as a band of its own. texture: stains, their "
        "variation and local patterns, in two discs; learned: what a small network learned there to tell the genes by; "
        "timm: what a network of the package timm says, with weights from a file of yours.",
    )
    histology_radius: float = Field(
        30.0,
        gt=0,
        le=2000,
        title="Histology within (µm)",
        description="Radius of the nearer disc around a spot; the other is twice as wide, and as wide as the square "
        "that networks look at.",
    )
    histology_outputs: int = Field(
        16,
        ge=1,
        le=1024,
        title="Histology numbers",
        description="For 'learned' and 'timm': how many numbers say what is around a spot. Of those of timm, the "
        "leading directions.",
    )
    histology_network: str = Field(
        "resnet50",
        min_length=1,
        title="Network of timm",
        description="Its name there, and after it what else it is built with, such as: vit_large_patch16_224 "
        "init_values=1e-5",
    )
    histology_weights: Path | None = Field(
        None,
        title="Weights",
        description="For 'timm': the .safetensors file with the weights of that network. Empty: none.",
    )
    histology_fingerprint: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        title="Mark of the weights",
        description="SHA-256 of that file: others are refused. Empty: any; a trained model knows its own.",
    )
    signature_mask: Literal["auto", "yes", "no"] = Field(
        "auto",
        title="Signature mask",
        description="Models also see which genes are in the signature of the spot's cluster. auto: transformers do.",
    )
    clusters: str | None = Field(
        None,
        title="Clusters",
        description="For signatures: the column of obs with the clusters. Empty: they are found.",
    )
    clustering: Literal["kmeans", "leiden"] = Field(
        "kmeans",
        title="Find clusters by",
        description="kmeans: of smoothed principal directions; leiden: on a graph of them, if igraph is there.",
    )
    n_clusters: int = Field(8, ge=1, le=200, title="Most clusters", description="For 'kmeans': at most so many.")
    signature_genes: int = Field(
        50, ge=1, title="Signature size", description="Those that stand out most in a cluster, at most so many."
    )
    signature_file: Path | None = Field(
        None, title="Own signatures", description="A CSV file with the columns cluster and gene. Empty: they are found."
    )

    @model_validator(mode="before")
    @classmethod
    def _as_the_preset_says(cls, given: Any) -> Any:
        return {**given, **PRESETS.get(str(given.get("preset")), {})} if isinstance(given, Mapping) else given
