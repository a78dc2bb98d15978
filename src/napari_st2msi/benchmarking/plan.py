"""A benchmark checked against its data before any work starts, and what was found, on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_st2msi.benchmarking.combinations import Combination, combinations
from napari_st2msi.benchmarking.config import Config
from napari_st2msi.benchmarking.data import Shelf
from napari_st2msi.benchmarking.files import located
from napari_st2msi.errors import FileProblem, St2msiError
from napari_st2msi.progress import Progress, check, never

_PLAN = "plan.json"


@dataclass(frozen=True)
class Planned:
    """A combination, and the place of its result.

    Attributes
    ----------
    combination
        What is run.
    key
        Of its result: the same for the same data and choices, whatever they are called.
    """

    combination: Combination
    key: str


@dataclass(frozen=True)
class Plan:
    """What a benchmark will do.

    Attributes
    ----------
    config
        The choices.
    planned
        All combinations, in the order of the config.
    data
        Of each data set: `spots` with ions, `without_ions`, `genes`, `ions`, `sections`, `simulated`.
    protocols
        Of each data set and protocol, what is held out, in words: ``data → protocol → words``.
    """

    config: Config
    planned: list[Planned]
    data: dict[str, dict[str, Any]]
    protocols: dict[str, dict[str, str]]

    def write(self, out: Path) -> None:
        """Keep the plan in the folder of the benchmark.

        Raises
        ------
        FileProblem
            The folder cannot be written.
        """
        from napari_st2msi.report.table import write_whole

        facts = {
            "config": self.config.model_dump(mode="json"),
            "folder": str(self.config.folder),
            "keys": {each.combination.id: each.key for each in self.planned},
            "data": self.data,
            "protocols": self.protocols,
        }
        text = json.dumps(facts, indent=1, sort_keys=True)
        try:
            out.mkdir(parents=True, exist_ok=True)
            if (out / _PLAN).is_file() and (out / _PLAN).read_text(encoding="utf-8") == text:
                return  # a workflow looks at the time of the file: what is the same stays as old as it is
        except OSError as error:
            raise FileProblem(f"'{out}' cannot be made: {error.strerror or error}.") from error
        write_whole(out / _PLAN, lambda file: file.write_text(text, encoding="utf-8"))

    @classmethod
    def read(cls, out: Path) -> Plan:
        """Read the plan of a benchmark from its folder.

        Raises
        ------
        FileProblem
            There is none, or it was made by another version.
        """
        try:
            facts = json.loads((out / _PLAN).read_text(encoding="utf-8"))
            config = Config.of({**facts["config"], "folder": facts["folder"]})
            found = combinations(config, list(facts["data"]))
            planned = [Planned(each, facts["keys"][each.id]) for each in found]
            return cls(config, planned, facts["data"], facts["protocols"])
        except FileNotFoundError as error:
            raise FileProblem(
                f"'{out}' holds no results of a benchmark. Choose the folder that one was run into."
            ) from error
        except (OSError, ValueError, KeyError, St2msiError) as error:
            raise FileProblem(f"The plan in '{out}' cannot be used: {error} Start the benchmark again.") from error


def make_plan(
    config: Config,
    shelf: Shelf | None = None,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Plan:
    """Check a config against its data: every model, file, column and fold, before anything is fitted.

    Raises
    ------
    RecipeProblem
        A model, group or choice is unknown, or spots cannot be held out as asked.
    FileProblem
        A file is missing or cannot be read.
    DataProblem
        Data are not paired, or have no positions or values that can be used.
    """
    shelf = Shelf(config) if shelf is None else shelf
    found = combinations(config, shelf.names)
    for source in config.data:  # all of them, before the first is opened
        if source.name in shelf.names:
            located(source, config.folder)
    keys: dict[str, str] = {}
    data: dict[str, dict[str, Any]] = {}
    protocols: dict[str, dict[str, str]] = {}
    held: dict[tuple[str, str], str] = {}
    # Data are opened one after the other, and each for all that asks the same histology of it.
    for number, each in enumerate(sorted(found, key=_by_data(shelf.names))):
        check(cancelled)
        progress(number / len(found), f"looking at {each.data}")
        paired, mark = shelf.get(each, cancelled=cancelled)
        keys[each.id] = each.key(mark)
        data.setdefault(each.data, _facts(paired, config, each.data))
        what = (each.data, each.recipe.evaluation.model_dump_json() + str(each.recipe.genes.model_dump()))
        if what not in held:
            held[what] = _held_out(each, paired)
        protocols.setdefault(each.data, {}).setdefault(each.protocol, held[what])
    progress(1.0, "checked")
    return Plan(config, [Planned(each, keys[each.id]) for each in found], data, protocols)


def _by_data(names: list[str]) -> Callable[[Combination], Any]:
    def order(each: Combination) -> Any:
        genes = each.recipe.genes
        return names.index(each.data), genes.histology, genes.histology_radius, str(genes.histology_weights)

    return order


def _facts(paired: Any, config: Config, name: str) -> dict[str, Any]:
    covered = int(paired.covered.sum())
    given = next((each for each in config.data if each.name == name), None)
    return {
        "spots": covered,
        "without_ions": len(paired) - covered,
        "genes": paired.genes.n_vars,
        "ions": paired.ions.n_vars,
        "sections": sorted(set(paired.sections.tolist())),
        "simulated": given is not None and given.simulate is not None,
    }


def _held_out(each: Combination, paired: Any) -> str:
    """Return what is held out in words, after making the folds once."""
    from napari_st2msi.evaluation.evaluate import covered_spots
    from napari_st2msi.evaluation.splits import make_splits

    try:
        covered, _ = covered_spots(paired)
        return str(make_splits(covered, each.recipe, context=paired.genes).facts["note"])
    except St2msiError as error:
        raise type(error)(f"Data '{each.data}', held out by '{each.protocol}': {error}") from error
