"""`Config`: what a benchmark compares, validated, from YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, ClassVar
from unicodedata import normalize

import yaml
from pydantic import BeforeValidator, Field, field_validator, model_validator

from napari_st2msi.errors import FileProblem, RecipeProblem
from napari_st2msi.evaluation.protocols import choices_of, short_name
from napari_st2msi.io.opening import Opening
from napari_st2msi.io.simulation.choices import SampleChoices
from napari_st2msi.recipe import PRESETS, Recipe
from napari_st2msi.recipe.choices import Choices
from napari_st2msi.report.benchmark import NO_FEATURES

#: Changes of a recipe: section → field → value.
Patch = dict[str, dict[str, Any]]
#: The features that leave genes as the recipe of the config says.
OWN_FEATURES = "recipe"


def slug(name: str) -> str:
    """Return a name as it can stand in a file name: of other alphabets, a mark that no other name has."""
    name = normalize("NFC", name)  # disks of Macs take letters and their accents apart
    short = re.sub(r"[^A-Za-z0-9_+]+", "-", name).strip("-")
    if short and name.isascii():
        return short
    mark = blake2b(name.encode(), digest_size=4).hexdigest()
    return f"{short}-{mark}".lstrip("-")


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class Data(Choices):
    """Spots that models are compared on: one or several sections that are evaluated together."""

    name: str = Field("", title="Name", description="In all tables. Empty: that of the first file.")
    paths: tuple[Path, ...] = Field((), title="Files", description="Paired sections, or one table of genes.")
    msi: Path | None = Field(None, title="Ions", description="The table of ions, where it is a file of its own.")
    opening: Opening = Field(default_factory=Opening, title="Opening")
    simulate: SampleChoices | None = Field(
        None, title="Simulate", description="Instead of files: sections with known truth, measured at the very spots."
    )

    @model_validator(mode="before")
    @classmethod
    def _one_path(cls, given: Any) -> Any:
        if isinstance(given, str):
            given = {"paths": [given]}
        if isinstance(given, Mapping) and isinstance(given.get("paths"), str):
            given = {**given, "paths": [given["paths"]]}
        if isinstance(given, Mapping) and not given.get("name"):
            simulated, paths = given.get("simulate"), given.get("paths")
            # What is of another kind is refused by name when the fields are checked.
            simulated = simulated if isinstance(simulated, Mapping) else {}
            first = paths[0] if isinstance(paths, list | tuple) and paths else None
            name = Path(str(first)).stem if first else simulated.get("name", "simulated")
            given = {**given, "name": name}
        return given

    @model_validator(mode="after")
    def _from_one_place(self) -> Data:
        if bool(self.paths) == (self.simulate is not None):
            raise ValueError("give either files ('paths') or what to simulate ('simulate')")
        if self.msi is not None and len(self.paths) > 1:
            raise ValueError("'msi' names the ions of one table, but there are several files")
        return self


class Needs(Choices):
    """What a combination asks of a computer; empty fields are guessed from the model."""

    memory_mb: int | None = Field(None, ge=100, title="Memory (MB)")
    minutes: int | None = Field(None, ge=1, title="Minutes")
    gpu: bool | None = Field(None, title="GPU queue", description="Empty: networks go there, where there is one.")


class ModelEntry(Choices):
    """A model by its name in the registry, or a name of its own and changes of the recipe that say which it is."""

    name: str = Field(min_length=1, title="Name")
    recipe: Patch = Field(default_factory=dict, title="Changes of the recipe")
    needs: Needs = Field(default_factory=Needs, title="Needs")

    _untouched: ClassVar[set[str]] = {"genes", "evaluation", "pairing"}

    @field_validator("recipe")
    @classmethod
    def _only_of_the_model(cls, value: Patch) -> Patch:
        if wrong := cls._untouched & set(value):
            raise ValueError(
                f"a model cannot change '{sorted(wrong)[0]}': genes are said by features, what is held out by protocols"
            )
        return value

    @property
    def patch(self) -> Patch:
        """The changes, with the model's name where they leave it out."""
        return merged({"model": {"name": self.name}}, self.recipe)


class FeatureEntry(Choices):
    """What models see of genes: a preset, ``recipe`` for what the recipe says, or changes under a name of their own."""

    name: str = Field(min_length=1, title="Name")
    genes: dict[str, Any] = Field(default_factory=dict, title="Changes of the recipe's genes")

    @model_validator(mode="after")
    def _known(self) -> FeatureEntry:
        if not self.genes and self.name not in (*PRESETS, OWN_FEATURES):
            raise ValueError(
                f"there are no features '{self.name}'. Choose from: {', '.join(PRESETS)}, {OWN_FEATURES}; or say what "
                "they are under 'genes'"
            )
        if self.name == NO_FEATURES:
            raise ValueError(f"'{NO_FEATURES}' is what models without genes see; choose another name")
        return self

    @property
    def patch(self) -> Patch:
        """The changes of the recipe."""
        if self.genes:
            return {"genes": self.genes}
        return {} if self.name == OWN_FEATURES else {"genes": {"preset": self.name}}


class ProtocolEntry(Choices):
    """How spots are held out: as the recipe names it (`leave_group_out:donor` says the group), or with its choices."""

    name: str = Field(min_length=1, title="Name")
    evaluation: dict[str, Any] = Field(default_factory=dict, title="Changes of the recipe's evaluation")

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or given.get("evaluation"):
            return given
        name = str(given.get("name", ""))
        try:
            return {**given, "name": short_name(name), "evaluation": choices_of(name)}
        except RecipeProblem as problem:
            raise ValueError(str(problem).removesuffix(".")) from problem


class Config(Choices):
    """Every choice of a benchmark; its combinations are all data × models × features × protocols × seeds.

    Examples
    --------
    >>> config = Config.from_yaml("data: [a.zarr]\\nmodels: [ridge]\\nfeatures: [hvg]\\nprotocols: [blocks]")
    >>> config.data[0].name, config.models[0].name, config.seeds
    ('a', 'ridge', (0,))
    """

    called: ClassVar[str] = "config"

    title: str = Field("Benchmark", min_length=1, title="Title", description="Heading of the report.")
    data: tuple[Data, ...] = Field((), title="Data")
    recipe: Recipe = Field(
        default_factory=Recipe, title="Recipe", description="What all combinations share; what is left out, by default."
    )
    models: tuple[Annotated[ModelEntry, BeforeValidator(_named)], ...] = Field(min_length=1, title="Models")
    features: tuple[Annotated[FeatureEntry, BeforeValidator(_named)], ...] = Field(
        (FeatureEntry(name=OWN_FEATURES),), min_length=1, title="Features"
    )
    protocols: tuple[Annotated[ProtocolEntry, BeforeValidator(_named)], ...] = Field(min_length=1, title="Held out")
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (0,), min_length=1, title="Seeds", description="Of folds, networks and searches."
    )
    threads: int = Field(1, ge=1, le=256, title="Threads", description="Of each combination.")
    folder: Path = Field(
        Path(), exclude=True, title="Folder", description="What paths in the config start from: that of its file."
    )

    @model_validator(mode="after")
    def _each_once(self) -> Config:
        for what in ("data", "models", "features", "protocols"):
            seen: set[str] = set()
            for entry in getattr(self, what):
                if (short := slug(entry.name)) in seen:
                    raise ValueError(f"two {what} are named '{entry.name}', or nearly so; give each a name of its own")
                seen.add(short)
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("a seed is there twice")
        return self

    def to_yaml(self) -> str:
        """Return the config as YAML."""
        return yaml.safe_dump(self.model_dump(mode="json", exclude_defaults=True), sort_keys=False)

    @classmethod
    def from_yaml(cls, text: str, folder: str | Path = ".") -> Config:
        """Read a config from YAML.

        Parameters
        ----------
        folder
            What paths in it start from.

        Raises
        ------
        RecipeProblem
            The text is not YAML, names something unknown or a value is out of range.
        """
        try:
            given = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise RecipeProblem(f"The config is not valid YAML: {error}") from error
        if not isinstance(given, Mapping):
            raise RecipeProblem("The config is empty. Name data, models and protocols.")
        return cls.of({**given, "folder": folder})

    @classmethod
    def read(cls, path: str | Path) -> Config:
        """Read a config from a YAML file; paths in it start from its folder.

        Raises
        ------
        FileProblem
            The file cannot be read.
        RecipeProblem
            Its content is not a config.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise FileProblem(f"The config '{path}' cannot be read: {error}") from error
        return cls.from_yaml(text, path.resolve().parent)


def merged(*patches: Mapping[str, Mapping[str, Any]]) -> Patch:
    """Return changes of a recipe one after the other."""
    together: Patch = {}
    for patch in patches:
        for section, fields in patch.items():
            together[section] = {**together.get(section, {}), **fields}
    return together
