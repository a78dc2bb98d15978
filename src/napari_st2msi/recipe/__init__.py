"""`Recipe`: every choice of a run, validated, YAML in and out.

It is the one source for the forms in the docks, the options of the command line, the configuration of
the workflow and what a saved model remembers. Field titles and descriptions are what users read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, model_validator

from napari_st2msi.errors import FileProblem, RecipeProblem
from napari_st2msi.recipe.choices import Choices, explain
from napari_st2msi.recipe.evaluation import Evaluation
from napari_st2msi.recipe.genes import PRESET_IONS, PRESETS, Genes
from napari_st2msi.recipe.intervals import Intervals
from napari_st2msi.recipe.ions import Ions
from napari_st2msi.recipe.model import Model
from napari_st2msi.recipe.networks import Networks
from napari_st2msi.recipe.pairing import Pairing
from napari_st2msi.recipe.search import Search

__all__ = [
    "PRESETS",
    "Evaluation",
    "Genes",
    "Intervals",
    "Ions",
    "Model",
    "Networks",
    "Pairing",
    "Recipe",
    "Search",
    "explain",
]


class Recipe(Choices):
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
    networks: Networks = Field(default_factory=Networks, title="Networks")
    evaluation: Evaluation = Field(default_factory=Evaluation, title="Evaluation")
    intervals: Intervals = Field(default_factory=Intervals, title="Intervals")
    search: Search = Field(default_factory=Search, title="Search for settings")

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
        return {**given, "ions": {**ions, "n_top": PRESET_IONS}} if isinstance(ions, Mapping) else given

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
            return cls.of(yaml.safe_load(text) or {})
        except yaml.YAMLError as error:
            raise RecipeProblem(f"The recipe is not valid YAML: {error}") from error

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
