"""All combinations of a config: each a recipe on data, with a name that files can have."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b, file_digest
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from napari_st2msi.benchmarking.config import Config, FeatureEntry, ModelEntry, merged, slug
from napari_st2msi.benchmarking.files import files_in, located, placed
from napari_st2msi.errors import FileProblem, RecipeProblem
from napari_st2msi.models.registry import BASELINES, made_by, model_names
from napari_st2msi.recipe import Recipe, explain
from napari_st2msi.recipe.networks import trains_networks
from napari_st2msi.report.benchmark import NO_FEATURES

#: Changes whenever the same recipe on the same data no longer gives the same scores.
RESULTS = 2
#: Characters of a file name, beyond which it is cut: disks take 255, with the ending.
_LONGEST = 150


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

        The number of threads is not in it: with 1 and with 2, tables were the same to the byte and predictions to a
        part in 10¹³ (docs/benchmark.md).

        Parameters
        ----------
        content
            Of the data; see `napari_st2msi.benchmarking.data.content`.
        """
        from napari_st2msi import __version__

        # What files hold counts, not where they lie.
        recipe = placed(self.recipe, _mark).model_dump(mode="json")
        known = {"recipe": recipe, "data": content, "results": RESULTS, "version": __version__}
        if other := made_by(self.recipe.model.name):
            known["model"] = other
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


def files_of(config: Config, found: Iterable[Combination]) -> list[Path]:
    """Return all files and folders that results rest on: of the data, of their opening, and of recipes.

    Parameters
    ----------
    found
        The combinations of the config.

    Raises
    ------
    FileProblem
        One of the data is missing.
    """
    named: list[BaseModel] = [located(data, config.folder) for data in config.data]
    named += [each.recipe for each in found]
    return sorted({file for choices in named for file in files_in(choices)})


def _mark(file: Path) -> Path:
    with file.open("rb") as content:
        return Path(file_digest(content, lambda: blake2b(digest_size=16)).hexdigest())


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

    def place(file: Path) -> Path:
        if not (config.folder / file).is_file():
            raise FileProblem(f"{what}: there is no file '{config.folder / file}', which the recipe names.")
        return config.folder / file

    try:
        return placed(Recipe.model_validate(given), place)
    except ValidationError as error:
        raise RecipeProblem(f"{what}: {explain(error)}") from error


def _needs(model: ModelEntry, recipe: Recipe) -> tuple[int, int, bool]:
    """Return memory (MB), minutes and whether a GPU helps, where the config does not say."""
    network = trains_networks(recipe.model)
    slow = network or recipe.search.trials > 0 or recipe.model.name in ("trees", "stack", "kernel_ridge")
    needs = model.needs
    memory = needs.memory_mb or (16_000 if network else 8_000)
    return memory, needs.minutes or (480 if slow else 120), network if needs.gpu is None else needs.gpu
