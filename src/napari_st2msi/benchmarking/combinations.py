"""All combinations of a config: each a recipe on data, with a name that files can have."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import blake2b
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from napari_st2msi.benchmarking.config import Config, Data, FeatureEntry, ModelEntry, merged, slug
from napari_st2msi.errors import FileProblem, RecipeProblem
from napari_st2msi.models.registry import BASELINES, model_names
from napari_st2msi.recipe import Recipe, explain
from napari_st2msi.recipe.networks import trains_networks
from napari_st2msi.report.benchmark import NO_FEATURES

#: Changes whenever the same recipe on the same data no longer gives the same scores.
RESULTS = 1
#: Characters of a file name, beyond which it is cut: disks take 255, with the ending.
_LONGEST = 150
#: Choices of genes that name files: what these hold counts, not where they lie.
_FILES = ("file", "signature_file", "histology_weights")


@dataclass(frozen=True)
class Combination:
    """One model with one set of features on one data set, held out in one way, with one seed.

    Attributes
    ----------
    data, model, features, protocol, seed
        As the config names them.
    recipe
        Every choice of it.
    memory_mb, minutes, gpu
        What it asks of a computer, for queues.
    """

    data: str
    model: str
    features: str
    protocol: str
    seed: int
    recipe: Recipe
    memory_mb: int
    minutes: int
    gpu: bool

    @property
    def id(self) -> str:
        """Name of its files; no two of a config have the same."""
        whole = ".".join([*map(slug, (self.data, self.model, self.features, self.protocol)), str(self.seed)])
        if len(whole) <= _LONGEST:
            return whole
        return f"{whole[:_LONGEST]}-{blake2b(whole.encode(), digest_size=4).hexdigest()}"

    @property
    def names(self) -> dict[str, Any]:
        """What it is, in columns of a table."""
        return {name: getattr(self, name) for name in ("data", "model", "features", "protocol", "seed")}

    def in_words(self) -> str:
        """Name it as people do."""
        seeds = f" · seed {self.seed}" if self.seed else ""
        return f"{self.model} · {self.features} · {self.protocol} · {self.data}{seeds}"

    def key(self, content: str) -> str:
        """Return 32 hexadecimal digits that change with the data, any choice, and what computes the scores.

        Parameters
        ----------
        content
            Of the data; see `napari_st2msi.benchmarking.data.content`.
        """
        from napari_st2msi import __version__

        recipe = self.recipe.model_dump(mode="json")
        for name in _FILES:
            if (file := getattr(self.recipe.genes, name)) is not None:
                recipe["genes"][name] = blake2b(Path(file).read_bytes(), digest_size=16).hexdigest()
        known = {"recipe": recipe, "data": content, "results": RESULTS, "version": __version__}
        return blake2b(json.dumps(known, sort_keys=True).encode(), digest_size=16).hexdigest()


def combinations(config: Config, data: list[str] | None = None) -> list[Combination]:
    """Return all combinations of a config, in its order.

    A model that sees no gene is there once, whatever the features.

    Parameters
    ----------
    data
        Names of data sets, where they are not those of the config.

    Raises
    ------
    RecipeProblem
        There is no such model, choices do not go together, or there are no data.
    FileProblem
        A file that the recipe names is missing.
    """
    names = [each.name for each in config.data] if data is None else data
    if not names:
        raise RecipeProblem("The config names no data. List paired sections under 'data'.")
    found = []
    for name, model, protocol, seed in product(names, config.models, config.protocols, config.seeds):
        seeds = {"evaluation": {"seed": seed}, "networks": {"seed": seed}, "search": {"seed": seed}}
        for features in _features(config, model):
            label = NO_FEATURES if features is None else features.name
            patch = merged(
                {} if features is None else features.patch, model.patch, {"evaluation": protocol.evaluation}, seeds
            )
            recipe = _recipe(config, patch, f"{model.name}, {label}, {protocol.name}")
            memory, minutes, gpu = _needs(model, recipe)
            found.append(Combination(name, model.name, label, protocol.name, seed, recipe, memory, minutes, gpu))
    return found


def files_of(data: Data, folder: Path) -> tuple[list[Path], Path | None]:
    """Return the files of data as they lie, and that of the ions.

    Raises
    ------
    FileProblem
        One is missing.
    """
    paths = [folder / path for path in data.paths]
    msi = None if data.msi is None else folder / data.msi
    for path in [*paths, *([] if msi is None else [msi])]:
        if not path.exists():
            raise FileProblem(f"Of the data '{data.name}', '{path}' is missing. Paths start from '{folder}'.")
    return paths, msi


def _features(config: Config, model: ModelEntry) -> list[FeatureEntry | None]:
    name = model.patch["model"]["name"]
    if name not in model_names():
        raise RecipeProblem(
            f"There is no model '{name}'. Choose from: {', '.join(model_names())}; or give it a name of your own and "
            "say which it is under recipe: {model: {name: …}}."
        )
    return [None] if name in BASELINES else list(config.features)


def _recipe(config: Config, patch: dict[str, dict[str, Any]], what: str) -> Recipe:
    """Return a recipe with its changes. Scores are what is compared, so no intervals are made around predictions."""
    given = merged(config.recipe.model_dump(), patch, {"intervals": {"make_intervals": "never"}})
    for name in _FILES:
        if (file := given["genes"].get(name)) is not None:
            given["genes"][name] = path = config.folder / file
            if not path.is_file():
                raise FileProblem(f"{what}: there is no file '{path}', which genes.{name} names.")
    try:
        return Recipe.model_validate(given)
    except ValidationError as error:
        raise RecipeProblem(f"{what}: {explain(error)}") from error


def _needs(model: ModelEntry, recipe: Recipe) -> tuple[int, int, bool]:
    """Return memory (MB), minutes and whether a GPU helps, where the config does not say."""
    network = trains_networks(recipe.model)
    slow = network or recipe.search.trials > 0 or recipe.model.name in ("trees", "stack", "kernel_ridge")
    needs = model.needs
    memory = needs.memory_mb or (16_000 if network else 8_000)
    return memory, needs.minutes or (480 if slow else 120), network if needs.gpu is None else needs.gpu
