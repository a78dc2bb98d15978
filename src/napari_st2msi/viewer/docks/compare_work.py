"""The long work of the Compare dock: on a background thread, without widgets or state."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QStandardPaths

from napari_st2msi.benchmarking.config import slug
from napari_st2msi.errors import FileProblem
from napari_st2msi.paired import PairedDataset
from napari_st2msi.progress import Cancelled, Progress
from napari_st2msi.recipe.networks import trains_networks
from napari_st2msi.section import Section
from napari_st2msi.viewer.docks.compare_choices import names_in_words
from napari_st2msi.viewer.docks.train_work import gather
from napari_st2msi.viewer.ion_values import rows_of
from napari_st2msi.viewer.load_torch import load_torch

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_st2msi.benchmarking.benchmark import Benchmark
    from napari_st2msi.benchmarking.config import Config
    from napari_st2msi.evaluation.result import Evaluation
    from napari_st2msi.recipe import Recipe

# Spots of the same section lie at the same place; barcodes alone are the same on every slide.
_ELSEWHERE_UM = 1.0


@dataclass(frozen=True, eq=False)
class Ended:
    """A combination that ended.

    Attributes
    ----------
    words
        What it was.
    message
        Why it failed, empty where it did not.
    """

    words: str
    message: str


@dataclass(frozen=True, eq=False)
class Compared:
    """What a benchmark found, and whether it was stopped before its end.

    Attributes
    ----------
    data
        What was compared on; None where that was read from files.
    """

    benchmark: Benchmark
    stopped: bool = False
    data: Open | None = None


@dataclass(frozen=True, eq=False)
class Looked:
    """One combination to look at.

    Attributes
    ----------
    names
        Of the combination.
    sections
        Names of the sections whose spots were predicted.
    here
        The open ones of them.
    misfit
        In words, why one of these is not the section that was predicted; empty where all are.
    data
        What was compared on; None where that was read from files.
    """

    names: dict[str, Any]
    evaluation: Evaluation
    recipe: Recipe
    sections: frozenset[str]
    here: tuple[Section, ...]
    misfit: str = ""
    data: Open | None = None


def user_folder() -> Path:
    """Return the folder of this user for results of comparisons."""
    place = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.GenericCacheLocation)
    return Path(place) / "napari-st2msi" / "comparisons"


def results_folder(names: Sequence[str]) -> Path:
    """Return where results on data of these names are kept, so that nothing is done twice."""
    mark = hashlib.sha256(json.dumps(list(names)).encode()).hexdigest()[:16]
    return user_folder() / f"{slug('+'.join(Path(name).stem for name in names))[:40]}-{mark}"


def name_of(sections: Sequence[Section]) -> str:
    """Return what sections are called together."""
    return " + ".join(section.name for section in sections)


@dataclass(frozen=True, eq=False)
class Open:
    """Sections that are open, to be compared on together.

    Attributes
    ----------
    sections, parts
        Sections, and their paired spots.
    """

    sections: tuple[Section, ...]
    parts: tuple[PairedDataset, ...]

    @property
    def name(self) -> str:
        """What they are called together."""
        return name_of(self.sections)


def compare(
    config: Config,
    out: Path,
    data: Open | None,
    *,
    progress: Progress,
    cancelled: Callable[[], bool],
    told: Callable[[Ended], None],
) -> Compared:
    """Run a benchmark; stopped by the user, what was done so far is given.

    Parameters
    ----------
    data
        What to compare on, None for the data of the config.
    """
    from napari_st2msi.benchmarking.benchmark import benchmark, read_benchmark
    from napari_st2msi.benchmarking.combinations import combinations

    begun, paired = False, None
    asked = combinations(config, None if data is None else [data.name])
    if any(trains_networks(each.recipe.model) for each in asked):
        progress(0.0, "starting torch")
        load_torch()
    if data is not None:
        progress(0.0, "gathering spots")
        paired = {data.name: gather(data.sections, data.parts, config.recipe, cancelled)}

    def ended(combination: Any, outcome: Any) -> None:
        nonlocal begun
        begun = True
        told(Ended(f"{names_in_words(combination.names)} · {combination.data}", outcome.message))

    try:
        made = benchmark(config, out, paired=paired, progress=progress, cancelled=cancelled, told=ended)
        return Compared(made, data=data)
    except Cancelled:
        if not begun:
            raise
        return Compared(read_benchmark(out), stopped=True, data=data)


def read(out: Path, *, progress: Progress, cancelled: Callable[[], bool]) -> Compared:
    """Read a benchmark that was run before, as far as it is done."""
    from napari_st2msi.benchmarking.benchmark import read_benchmark

    found = read_benchmark(out, progress=progress, cancelled=cancelled)
    if found.leaderboard.empty and found.failures.empty:
        raise FileProblem(f"No combination of the benchmark in '{out}' is done yet. Run it first.")
    return Compared(found)


def look(
    compared: Compared,
    names: dict[str, Any],
    sections: Sequence[Section],
    *,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> Looked:
    """Read the out-of-fold prediction of a combination, with its scores, to be shown with those of the open sections.

    Parameters
    ----------
    sections
        The open ones.
    """
    evaluation = compared.benchmark.evaluation(**names)
    recipe = compared.benchmark.find(**names).combination.recipe
    predicted = frozenset(evaluation.prediction.obs["section"].astype(str))
    here = tuple(section for section in sections if section.name in predicted)
    misfit = next((words for section in here if (words := misfit_in_words(section, evaluation.prediction))), "")
    return Looked(names, evaluation, recipe, predicted, here, misfit, compared.data)


def misfit_in_words(section: Section, prediction: AnnData) -> str:
    """Return why a prediction is of another section with the same name; empty where it is of this one."""
    own = prediction.obs["section"].astype(str).to_numpy() == section.name
    row = rows_of(section, prediction) if section.has_st else np.empty(0, dtype=np.int64)
    there = np.flatnonzero(row >= 0)
    n_spots, n_ions = int(own.sum()), prediction.n_vars
    strange = n_spots - len(there)
    unknown = int((~prediction.var_names.isin(section.ions.index)).sum())
    moved_um = 0.0
    if len(there):
        moved_um = float(np.abs(section.spots.centres[there] - prediction.obsm["spatial"][row[there], :2]).max())
    if strange:
        what = f"{strange:,} of its {n_spots:,} spots are not in the one that is open"
    elif unknown:
        what = f"{unknown:,} of its {n_ions:,} ions are not in the one that is open"
    elif moved_um > _ELSEWHERE_UM:
        what = "its spots lie elsewhere than those of the one that is open"
    else:
        return ""
    return f"These results were made on another section called '{section.name}': {what}. Open that one to look."


def same_model(one: Recipe, other: Recipe) -> bool:
    """Return whether two recipes are of the same model on the same features."""
    return all(getattr(one, part) == getattr(other, part) for part in ("model", "genes", "ions", "networks"))
