"""The folds that a recipe asks for, checked before anything is fitted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, RecipeProblem
from napari_st2msi.evaluation.splits.blocks import TissueHalves
from napari_st2msi.evaluation.splits.groups import LeaveGroupOut, cut_sections, group_labels
from napari_st2msi.evaluation.splits.matched import DistanceMatched, distances_to
from napari_st2msi.evaluation.splits.scattered import RandomSpots
from napari_st2msi.evaluation.splits.sizes import Reach, block_splitter, buffer_choice, reach_of, sizes_in_words
from napari_st2msi.features.spatial import where
from napari_st2msi.paired import PairedDataset
from napari_st2msi.recipe import Recipe

if TYPE_CHECKING:
    from anndata import AnnData

_FLATTERED = (
    "The spots around each of them trained, and neighbours resemble each other: these scores flatter every model that "
    "recognises a place, and do not say what a model does on tissue it has not seen."
)


@dataclass(frozen=True)
class Fold:
    """One split: which spots train and which are held out, by position.

    Attributes
    ----------
    name
        In words: ``fold 2`` or the name of the group held out.
    train, test
        Positions of spots. Spots in a buffer are in neither.
    """

    name: str
    train: NDArray[np.int64]
    test: NDArray[np.int64]


@dataclass(frozen=True)
class Splits:
    """All folds of a protocol.

    Attributes
    ----------
    folds
        Each spot is held out in exactly one of them.
    facts
        Plain values: `protocol`, `n_folds`, `note` (how it was done, in words), and what goes with the protocol:
        `block_um`, `buffer_um`, `range_um` (where ions have one), `group`, `distance_um`, `reached_um` (in the end);
        `n_sharing`, the training spots left out for a common pixel, the mean over folds; `whole_sections`, whether
        nothing of a held-out spot's section trains.
    """

    folds: list[Fold]
    facts: dict[str, Any]


def held_out_in(folds: Sequence[Fold]) -> NDArray[np.int64]:
    """Return (n,) the position of the fold in which each spot is held out; each is in exactly one."""
    number = np.empty(sum(len(fold.test) for fold in folds), dtype=np.int64)
    for position, fold in enumerate(folds):
        number[fold.test] = position
    return number


def make_splits(paired: PairedDataset, recipe: Recipe, *, context: AnnData | None = None) -> Splits:
    """Return the folds that a recipe asks for.

    Whatever the protocol, a training spot whose ions come from a pixel that a held-out spot has ions from as well
    is left out.

    Parameters
    ----------
    paired
        Spots with measured ions.
    context
        Genes of whole sections: the spots among them that are not in `paired` are those to be predicted, to whose
        distances 'knndm' matches.

    Raises
    ------
    RecipeProblem
        The choices do not fit the data: too few spots, blocks or groups, too wide a buffer, pixels that too many
        spots share, or a column that is not there.
    DataProblem
        Positions or group labels are missing.
    """
    if not np.isfinite(paired.xy).all():
        raise DataProblem("Some spots have no position (NaN or infinite). Remove them first.")
    splits, names, facts = _PROTOCOLS[recipe.evaluation.protocol](paired, recipe, context)
    folds, n_sharing = [], []
    for name, (train, test) in zip(names, splits, strict=True):
        apart = train[~paired.sharing_pixels(test)[train]]
        n_sharing.append(len(train) - len(apart))
        if not len(apart):
            raise RecipeProblem(
                f"All training spots of '{name}' share MSI pixels with held-out ones, so none is left. "
                "Hold out blocks of tissue or whole groups instead."
            )
        folds.append(Fold(name, apart, test))
    facts = {"protocol": recipe.evaluation.protocol, "n_folds": len(folds), **facts}
    facts["n_sharing"] = float(np.mean(n_sharing))
    seen = [np.isin(paired.sections[each.train], paired.sections[each.test]).any() for each in folds]
    facts["whole_sections"] = not any(seen)
    if facts["n_sharing"] > 0:
        facts["note"] += (
            f" Training spots that share an MSI pixel with a held-out one were left out: {facts['n_sharing']:,.0f} a "
            "fold."
        )
    if "distance_um" in facts and (reached := _reached(paired, folds)) is not None:
        facts["reached_um"] = reached
        facts["note"] += f" They lie {reached:,.0f} µm from those that trained (median)."
    return Splits(folds, facts)


def _reached(paired: PairedDataset, folds: Sequence[Fold]) -> float | None:
    """Return how far in µm held-out spots lie from the nearest training spot of their section: the median, if any."""
    xy, sections = paired.xy, paired.sections
    near = [distances_to(xy[each.test], sections[each.test], xy[each.train], sections[each.train]) for each in folds]
    distance = np.concatenate(near)
    known = distance[np.isfinite(distance)]
    return float(np.median(known)) if len(known) else None


_Made = tuple[list[tuple[NDArray[np.int64], NDArray[np.int64]]], list[str], dict[str, Any]]


def _blocks(paired: PairedDataset, recipe: Recipe, context: AnnData | None) -> _Made:
    reach = reach_of(paired, recipe)
    blocks = block_splitter(paired, recipe, reach)
    side, buffer = blocks.sizes(paired.xy, paired.sections)
    splits = list(blocks.split(paired.xy, groups=paired.sections))
    note = f"Squares of {side:,.0f} µm were held out in {len(splits)} folds"
    note += _buffer_in_words(recipe, reach, buffer, side)
    return splits, _numbered(splits), {"block_um": float(side), **_buffer_facts(reach, buffer), "note": note}


def _halves(paired: PairedDataset, recipe: Recipe, context: AnnData | None) -> _Made:
    reach = reach_of(paired, recipe)
    halves = TissueHalves(*buffer_choice(recipe, reach))
    splits = list(halves.split(paired.xy, groups=paired.sections))
    buffer = halves.buffer(paired.xy, paired.sections)
    note = "One half of every section was held out, then the other" + _buffer_in_words(recipe, reach, buffer)
    return splits, _numbered(splits), {**_buffer_facts(reach, buffer), "note": note}


def _random(paired: PairedDataset, recipe: Recipe, context: AnnData | None) -> _Made:
    choices = recipe.evaluation
    splits = list(RandomSpots(choices.n_folds, choices.seed).split(paired.xy))
    note = f"Single spots were held out at random in {len(splits)} folds. {_FLATTERED}"
    return splits, _numbered(splits), {"note": note}


def _half(paired: PairedDataset, recipe: Recipe, context: AnnData | None) -> _Made:
    splits = list(RandomSpots(2, recipe.evaluation.seed).split(paired.xy))
    note = f"A random half of the spots was held out, then the other half. {_FLATTERED}"
    return splits, _numbered(splits), {"note": note}


def _groups(paired: PairedDataset, recipe: Recipe, context: AnnData | None) -> _Made:
    column = recipe.evaluation.group
    labels = group_labels(paired, column)
    note = f"Each '{column}' was held out in turn, {len(np.unique(labels))} in all"
    facts: dict[str, Any] = {"group": column}
    if cut_sections(labels, paired.sections):
        reach = reach_of(paired, recipe)
        groups = LeaveGroupOut(column, *buffer_choice(recipe, reach))
        buffer = groups.buffer(paired.xy, labels, paired.sections)
        facts |= _buffer_facts(reach, buffer)
        note += _buffer_in_words(recipe, reach, buffer)
    else:
        groups, note = LeaveGroupOut(column), f"{note}."
    splits = list(groups.split(paired.xy, groups=labels, sections=paired.sections))
    return splits, [str(labels[test[0]]) for _, test in splits], {**facts, "note": note}


def _buffer_facts(reach: Reach, buffer: float) -> dict[str, float]:
    return {"buffer_um": float(buffer)} | ({} if reach.range_um is None else {"range_um": reach.range_um})


def _buffer_in_words(recipe: Recipe, reach: Reach, buffer: float, side: float | None = None) -> str:
    near = f"; spots within {buffer:,.0f} µm of a held-out spot did not train."
    return near + sizes_in_words(recipe, reach, buffer, side)


def _matched(paired: PairedDataset, recipe: Recipe, context: AnnData | None) -> _Made:
    choices = recipe.evaluation
    xy, sections = paired.xy, paired.sections
    if choices.distance_um is not None:
        wanted = np.array([choices.distance_um])
    else:
        asked = None if context is None else context[~context.obs_names.isin(paired.obs.index)]
        wanted = np.zeros(0) if asked is None else distances_to(*where(asked), xy, sections)
        wanted = wanted[np.isfinite(wanted)]
        if not len(wanted):
            raise RecipeProblem(
                "All spots of the measured sections have ions, so none is to be predicted whose distance could be "
                "matched. Give the distance to predict at, keep spots without MSI as missing when pairing, or hold "
                "out blocks of tissue."
            )
    fold = DistanceMatched(choices.n_folds, wanted, choices.seed).assign(xy, sections)
    splits = [(np.flatnonzero(fold != number), np.flatnonzero(fold == number)) for number in range(choices.n_folds)]
    distance = float(np.median(wanted))
    note = (
        "Folds were cut so that held-out spots lie as far from training spots as spots to be predicted from measured "
        f"ones: {distance:,.0f} µm (median)."
    )
    return splits, _numbered(splits), {"distance_um": distance, "note": note}


def _numbered(splits: list[Any]) -> list[str]:
    return [f"fold {number}" for number in range(1, len(splits) + 1)]


_PROTOCOLS: dict[str, Callable[[PairedDataset, Recipe, Any], _Made]] = {
    "blocks": _blocks,
    "leave_group_out": _groups,
    "knndm": _matched,
    "tissue_halves": _halves,
    "random": _random,
    "half": _half,
}
