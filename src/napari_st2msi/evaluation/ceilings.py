"""How well any model could do: the share of an ion's variance that a second measurement would find again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, RecipeProblem
from napari_st2msi.evaluation.repeats import adjacent, isotopologues
from napari_st2msi.evaluation.split_half import split_half
from napari_st2msi.features.ions import IonScale
from napari_st2msi.features.spatial import centred, neighbour_graph, neighbour_sums
from napari_st2msi.ions import ion_frame
from napari_st2msi.progress import Progress, never
from napari_st2msi.recipe import Ions

if TYPE_CHECKING:
    from napari_st2msi.paired import PairedDataset
    from napari_st2msi.section import Section

#: Ways to estimate a ceiling, the most direct first: the first that an ion has is its ceiling.
SOURCES = ("split_half", "isotopologue", "adjacent", "nugget")
#: The same in words.
SOURCE_WORDS = {
    "split_half": "halves of the spots' pixels",
    "isotopologue": "its isotopologue",
    "adjacent": "the adjacent section",
    "nugget": "the variogram's nugget",
}
#: Those that count detail as noise, so that the true ceiling is that or more.
LOWER_BOUNDS = ("adjacent", "nugget")
#: Below this share of reproducible variance there is nothing that skill could be a share of.
LEAST = 0.05
# The nearest spots, and with those around them.
_NEAR, _WIDE = 6, 18


@dataclass(frozen=True)
class Ceilings:
    """What share of each ion's variance is reproducible: the best R² that any model could reach.

    Attributes
    ----------
    table
        Ions × `split_half`, `isotopologue`, `adjacent`, `nugget` (shares of the variance within sections on the
        learning scale, 0 to 1, NaN where that way cannot be gone), `partner` (the isotopologue, or empty), `ceiling`
        (the first of them that is known) and `source` (which that is, or empty).
    notes
        Which ways could not be gone, and why, in words.
    """

    table: pd.DataFrame
    notes: tuple[str, ...] = ()

    @property
    def ceiling(self) -> pd.Series:
        """Of each ion."""
        return self.table["ceiling"]


def ceilings(
    paired: PairedDataset,
    choices: Ions | None = None,
    *,
    section: Section | Sequence[Section] | None = None,
    adjacent_sections: tuple[str, str] | None = None,
    ppm: float = 10.0,
    n_splits: int = 10,
    seed: int = 0,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Ceilings:
    """Estimate ceilings of all ions in every way that the data allow.

    Parameters
    ----------
    paired
        Covered spots; others are left out.
    choices
        The scale on which skill is measured.
    section
        The section or sections that the spots were paired from, in their order, for halves of pixels.
    adjacent_sections
        Names of two sections that are neighbours in the block, each covering the same tissue.
    ppm
        How near M + 1.003355 an isotopologue is.
    n_splits, seed
        How often the pixels of spots are halved, at random.

    Raises
    ------
    DataProblem
        No spot has ions, or the sections are not those that the spots were paired from.
    RecipeProblem
        A tolerance or a number of splits makes no sense, or a section named is not there.
    """
    if not ppm > 0 or n_splits < 1:
        raise RecipeProblem("Give a tolerance above 0 ppm and at least one split.")
    covered = paired.covered
    if not covered.any():
        raise DataProblem("No spot has measured ions. Pair MSI with ST first.")
    paired = paired if covered.all() else paired.select(covered)
    scale = IonScale(choices or Ions()).fit(paired.ions)
    values = scale.forward(paired.ions)
    ions = ion_frame(paired.ions)
    table = pd.DataFrame(index=paired.ions.var_names)
    notes = []
    table["split_half"] = np.nan
    weights = paired.pixel_weights
    if weights is not None and (np.diff(weights.indptr) == 0).any():
        weights = None  # some sections came paired
    if section is None or weights is None:
        notes.append(
            "The pixels of spots are not known, so their halves cannot tell what is reproducible: ceilings are rougher."
            if weights is None
            else "Ceilings are rougher without the section that the spots were paired from: give it."
        )
    else:
        pixels, xy = _pixels(section, paired, weights.shape[1])
        halves = split_half(
            weights, pixels, xy, scale, paired.sections, n_splits=n_splits, seed=seed,
            progress=progress, cancelled=cancelled,
        )  # fmt: skip
        table["split_half"] = halves.reliability
        if halves.note:
            notes.append(halves.note)
    table["isotopologue"], table["partner"] = isotopologues(values, ions["mz"], paired.sections, ppm=ppm)
    if table["split_half"].isna().all() and not (table["partner"] != "").any():
        notes.append(f"Nor has any ion its isotopologue here (1.003355 apart, {ppm:g} ppm), which would tell, too.")
    table["adjacent"] = np.nan
    if adjacent_sections is not None:
        table["adjacent"] = adjacent(values, paired.xy, paired.sections, *adjacent_sections)
    table["nugget"] = _by_nugget(values, paired.xy, paired.sections)
    # All are shares of the variance within sections; what sections differ by is reproducible, too, and counts in R².
    within = _share_within(values, paired.sections)
    for source in SOURCES:
        table[source] = 1 - (1 - table[source]) * within
    known = table[list(SOURCES)].notna()
    first = known.to_numpy().argmax(axis=1)
    any_known = known.any(axis=1).to_numpy()
    table["ceiling"] = np.where(any_known, table[list(SOURCES)].to_numpy()[np.arange(len(table)), first], np.nan)
    table["source"] = np.where(any_known, np.array(SOURCES, dtype=object)[first], "")
    return Ceilings(table, tuple(notes))


def relative(r2: Any, ceiling: Any) -> NDArray[np.float64]:
    """Return R² as a share of the ceiling: of what is reproducible, how much is predicted. NaN below 0.05."""
    r2, ceiling = np.asarray(r2, dtype=np.float64), np.asarray(ceiling, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(ceiling >= LEAST, r2 / ceiling, np.nan)


def _share_within(values: NDArray[np.floating], sections: NDArray[Any]) -> NDArray[np.float64]:
    """Return (ions,) which share of the variance lies within sections; 1 where there is none."""
    whole = values.var(axis=0, dtype=np.float64)
    own = (centred(values, sections) ** 2).mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > 0, own / whole, 1.0)


def _by_nugget(values: NDArray[np.floating], xy: NDArray[np.float64], sections: NDArray[Any]) -> NDArray[np.float64]:
    """Return (ions,) 1 - nugget: the share of variance that spots at no distance from each other would have in common.

    The variogram (Matheron 1963, doi:10.2113/gsecongeo.58.8.1246) of the six nearest spots and of the twelve around
    these, drawn on to distance 0 as a parabola, as images that are smooth between spots begin. What is finer than
    the spacing of spots counts as noise.
    """
    near, wide = neighbour_graph(xy, sections, _NEAR), neighbour_graph(xy, sections, _WIDE)
    around = ((wide > 0).astype(np.float64) - (near > 0).astype(np.float64)).maximum(0.0)
    if near.nnz == 0 or around.sum() == 0:
        return np.full(values.shape[1], np.nan)
    lags = []
    for graph in (near, around):
        pairs, total = graph.tocoo(), graph.sum()
        squared = ((xy[pairs.row] - xy[pairs.col]) ** 2).sum(axis=1)
        cross, own, power = neighbour_sums(values, graph, sections)
        lags.append((pairs.data @ squared / total, (own - cross) / total))
    (first, low), (second, high) = lags
    nugget = low - (high - low) * first / (second - first) if second > first else low
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(power > 0, np.clip(1 - np.clip(nugget, 0, low) / (power / len(values)), 0.0, 1.0), np.nan)


def _pixels(
    section: Section | Sequence[Section], paired: PairedDataset, n_pixels: int
) -> tuple[Any, NDArray[np.float64]]:
    """Return pixels × ions and (pixels, 2) positions in µm, in the order of the columns of the weights."""
    from scipy.sparse import csr_array, vstack

    sections = list(section) if isinstance(section, Sequence) else [section]
    names = paired.ions.var_names
    tables = [each.msi for each in sections]
    if any(not names.isin(table.var_names).all() for table in tables) or n_pixels != sum(t.n_obs for t in tables):
        raise DataProblem(
            "These are not the sections that the spots were paired from: their pixels or ions are others. "
            "Give the same sections in the same order."
        )
    parts = [table[:, names].X for table in tables]
    sparse = [csr_array(part) for part in parts] if any(hasattr(part, "tocsr") for part in parts) else None
    values = vstack(sparse, format="csr") if sparse else np.concatenate([np.asarray(part) for part in parts])
    return values, np.concatenate([np.asarray(t.obsm["spatial"], dtype=np.float64)[:, :2] for t in tables])
