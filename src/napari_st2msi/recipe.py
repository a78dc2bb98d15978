"""`Recipe`: every choice of a run, validated, YAML in and out.

It is the one source for the forms in the docks, the options of the command line, the configuration of
the workflow and what a saved model remembers. Field titles and descriptions are what users read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_st2msi.errors import FileProblem, RecipeProblem


class _Choices(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Pairing(_Choices):
    """How MSI pixels become ion values of ST spots."""

    method: Literal["overlap", "radius", "nearest", "inverse_distance", "sum"] = Field(
        "overlap",
        title="Method",
        description="overlap: mean of the pixels weighted by the exact area they share with the spot; "
        "radius: mean of the pixels whose centre is within the radius; nearest: mean of the k nearest; "
        "inverse_distance: the k nearest weighted by 1/distance; sum: total signal by share of pixel area.",
    )
    radius_um: float = Field(
        50.0, gt=0, title="Radius (µm)", description="For 'radius': how far a pixel's centre may lie."
    )
    k: int = Field(
        4, ge=1, le=100, title="Neighbours", description="For 'nearest' and 'inverse_distance': how many pixels."
    )
    max_distance_um: float | None = Field(
        None,
        gt=0,
        title="Farthest pixel (µm)",
        description="For 'nearest' and 'inverse_distance': pixels beyond this do not count. "
        "Empty: one and a half pixels.",
    )
    spot_diameter_um: float | None = Field(
        None,
        gt=0,
        title="Spot diameter (µm)",
        description="Empty: as the data says (55 µm for Visium).",
    )
    min_coverage: float = Field(
        0.5,
        ge=0,
        le=1,
        title="Least coverage",
        description="Spots with a smaller share of their area under MSI pixels count as not measured.",
    )
    uncovered: Literal["drop", "nan"] = Field(
        "drop",
        title="Spots without MSI",
        description="drop: leave them out; nan: keep them, with missing values. Never zero.",
    )


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
_PRESET_IONS = 500


class Genes(_Choices):
    """What models see of the genes. Everything is fitted on training spots only."""

    preset: Literal["custom", "hvg", "hvg_svd", "hvg_svd_graph", "svd", "svd_graph"] = Field(
        "custom",
        title="Preset",
        description="Inputs known by name, with 2,000 variable genes (hvg), 256 directions (svd), 64 graph components "
        "(graph) and the 500 most variable ions; it overrules the choices it stands for. custom: as chosen here.",
    )
    log1p: bool = Field(True, title="Library size and log1p", description="Scale to the median total, then log(1+x).")
    selection: Literal["variable", "spatial", "listed", "all"] = Field(
        "variable",
        title="Genes used",
        description="variable: more variable than others of their mean; spatial: highest Moran's I; "
        "listed: those of the file; all: all that are seen in enough spots.",
    )
    n_top: int | None = Field(
        2000,
        ge=1,
        title="How many genes",
        description="For 'variable' and 'spatial': keep this many, chosen on the training spots. Empty: all.",
    )
    file: Path | None = Field(
        None,
        title="Gene list",
        description="For 'listed': a text file with one gene a line, or a GMT file of gene sets.",
    )
    min_spots: int = Field(3, ge=0, title="Least spots", description="Genes seen in fewer training spots are left out.")
    standardise: bool = Field(True, title="Standardise", description="Mean 0 and deviation 1 over training spots.")
    per_section: bool = Field(
        False,
        title="Standardise per section",
        description="Takes away what differs between whole sections, such as staining or depth.",
    )
    reduction: Literal["none", "svd", "pls"] = Field(
        "svd",
        title="Reduction",
        description="svd: leading principal directions of the genes; pls: directions that go along with the ions; "
        "none: the genes themselves.",
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
    n_graph: int = Field(64, ge=1, title="Graph components", description="For 'graph_svd': how many directions.")

    @model_validator(mode="before")
    @classmethod
    def _as_the_preset_says(cls, given: Any) -> Any:
        return {**given, **PRESETS.get(str(given.get("preset")), {})} if isinstance(given, Mapping) else given


class Ions(_Choices):
    """How ion intensities are scaled before a model learns them."""

    normalisation: Literal["none", "tic"] = Field(
        "none", title="Normalisation", description="tic: divide by the spot's total ion current."
    )
    log1p: bool = Field(True, title="log1p", description="Learn log(1+x): errors then count in ratios.")
    min_spots: int = Field(
        10,
        ge=1,
        title="Least spots per ion",
        description="Ions present in fewer training spots are not learned, and the report says so.",
    )
    n_top: int | None = Field(
        None,
        ge=1,
        title="Variable ions",
        description="Learn only this many, the most variable of the training spots; the others get their mean. "
        "Empty: all.",
    )


class Model(_Choices):
    """Which model, and how its two stages are put together."""

    name: str = Field("two_stage", title="Model", description="Name in the model registry.")
    presence: Literal["logistic", "svm", "chain"] = Field(
        "logistic",
        title="Presence by",
        description="For 'two_stage'. logistic: logistic regression for each ion; svm: linear support vector machine "
        "for each ion; chain: logistic regressions, each of which also sees what the ones before it predict.",
    )
    intensity: Literal["ridge", "linear", "lasso", "elastic_net", "pls", "kernel_ridge", "banded_ridge"] = Field(
        "ridge", title="Intensity by", description="For 'two_stage': the regression where the ion is present."
    )
    combine: Literal["product", "mask"] = Field(
        "product",
        title="Combine stages",
        description="product: probability of presence × intensity; "
        "mask: the intensity where presence is likelier than the threshold, else nothing.",
    )
    threshold: float = Field(
        0.5, gt=0, lt=1, title="Presence threshold", description="For 'mask', and for precision, recall and F1."
    )
    choose_threshold: bool = Field(
        False,
        title="Choose thresholds",
        description="For 'mask': each ion gets the threshold with the best F1 on inner folds instead.",
    )
    alphas: tuple[float, float] = Field(
        (1e0, 1e7),
        title="Ridge penalties",
        description="Smallest and largest penalty tried; each ion gets its own, chosen inside the training spots.",
    )
    n_alphas: int = Field(20, ge=1, le=100, title="Penalties tried", description="On a logarithmic scale.")
    l1_ratio: float = Field(
        0.5, gt=0, le=1, title="Share of lasso", description="For 'elastic_net': 1 is the lasso, near 0 is ridge."
    )
    most_components: int = Field(
        40, ge=1, title="Most components", description="For the model 'pls': each ion gets its own number up to this."
    )
    n_landmarks: int = Field(
        1000, ge=10, le=20_000, title="Landmarks", description="For 'kernel_ridge': training spots to compare with."
    )


class Evaluation(_Choices):
    """How skill is measured: always on spots that the model did not see."""

    protocol: Literal["blocks", "leave_group_out"] = Field(
        "blocks",
        title="Held out",
        description="blocks: squares of tissue with a buffer around them; "
        "leave_group_out: whole sections, donors or regions.",
    )
    group: str = Field(
        "section", title="Group", description="For 'leave_group_out': the column of obs that names the group."
    )
    n_folds: int = Field(5, ge=2, le=50, title="Folds", description="For 'blocks': into how many folds they go.")
    block_um: float | None = Field(
        None, gt=0, title="Block side (µm)", description="Empty: an eighth of the tissue's longer side."
    )
    buffer_um: float | None = Field(
        None,
        ge=0,
        title="Buffer (µm)",
        description="Training spots nearer than this to a held-out spot are left out. Empty: 1.5 spot pitches.",
    )
    seed: int = Field(0, ge=0, title="Seed", description="Of the assignment of blocks to folds.")


class Recipe(_Choices):
    """Every choice of a run.

    Examples
    --------
    >>> recipe = Recipe.model_validate({"genes": {"n_top": 500}})
    >>> recipe.genes.n_top, recipe.ions.log1p
    (500, True)
    """

    pairing: Pairing = Field(default_factory=Pairing, title="Pairing")
    genes: Genes = Field(default_factory=Genes, title="Genes")
    ions: Ions = Field(default_factory=Ions, title="Ions")
    model: Model = Field(default_factory=Model, title="Model")
    evaluation: Evaluation = Field(default_factory=Evaluation, title="Evaluation")

    @model_validator(mode="before")
    @classmethod
    def _ions_of_the_preset(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        genes, ions = given.get("genes", {}), given.get("ions", {})
        preset = (
            genes.preset if isinstance(genes, Genes) else genes.get("preset") if isinstance(genes, Mapping) else None
        )
        if str(preset) not in PRESETS:
            return given
        ions = ions.model_dump() if isinstance(ions, Ions) else ions
        return {**given, "ions": {**ions, "n_top": _PRESET_IONS}} if isinstance(ions, Mapping) else given

    def to_yaml(self) -> str:
        """Return the recipe as YAML."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    @classmethod
    def from_yaml(cls, text: str) -> Recipe:
        """Read a recipe from YAML; what is left out keeps its default.

        Raises
        ------
        RecipeProblem
            The text is not YAML, names something unknown or a value is out of range.
        """
        try:
            return cls.model_validate(yaml.safe_load(text) or {})
        except yaml.YAMLError as error:
            raise RecipeProblem(f"The recipe is not valid YAML: {error}") from error
        except ValidationError as error:
            raise RecipeProblem(explain(error)) from error

    @classmethod
    def read(cls, path: str | Path) -> Recipe:
        """Read a recipe from a YAML file.

        Raises
        ------
        FileProblem
            The file cannot be read.
        RecipeProblem
            Its content is not a recipe.
        """
        try:
            return cls.from_yaml(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise FileProblem(f"The recipe '{path}' cannot be read: {error}") from error


def _plain(choices: Any) -> Any:
    return choices.model_dump() if isinstance(choices, BaseModel) else choices


def explain(error: ValidationError) -> str:
    """Return a pydantic error as sentences a user can act on."""
    lines = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"]) or "recipe"
        if problem["type"] == "extra_forbidden":
            lines.append(f"'{where}' is not a choice of the recipe.")
        else:
            lines.append(f"'{where}' is {problem['input']!r}: {problem['msg'][:1].lower()}{problem['msg'][1:]}.")
    return " ".join(lines)
