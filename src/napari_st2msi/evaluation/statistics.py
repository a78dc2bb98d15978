"""Spatial statistics of the genes and ions of paired spots, on the scales that models learn on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, RecipeProblem
from napari_st2msi.evaluation.autocorrelation import Alternative, autocorrelation
from napari_st2msi.evaluation.evaluate import covered_spots
from napari_st2msi.evaluation.local_moran import QUADRANTS, local_moran
from napari_st2msi.features.genes import GeneFeatures
from napari_st2msi.features.ions import IonScale
from napari_st2msi.features.spatial import N_NEIGHBOURS
from napari_st2msi.ions import ion_frame
from napari_st2msi.paired import PairedDataset
from napari_st2msi.progress import Progress, never
from napari_st2msi.recipe import Recipe

if TYPE_CHECKING:
    from anndata import AnnData

#: Which images statistics are of.
Of = Literal["genes", "ions", "both"]


def spatial_statistics(
    paired: PairedDataset,
    recipe: Recipe | None = None,
    *,
    of: Of = "both",
    n_neighbours: int = N_NEIGHBOURS,
    n_permutations: int = 0,
    alternative: Alternative = "smooth",
    seed: int = 0,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> pd.DataFrame:
    """Return Moran's I and Geary's C of all genes and ions, with p-values and false discovery rates.

    Parameters
    ----------
    recipe
        Its scales of genes and ions, and in how many spots a gene must be seen; its choice of genes is not asked.
    of
        ``genes`` (all spots), ``ions`` (spots with measured ions) or ``both``.
    n_neighbours, n_permutations, alternative, seed
        As for `napari_st2msi.evaluation.autocorrelation.autocorrelation`.

    Returns
    -------
    DataFrame
        One row a gene or ion: `of` (``gene``, ``ion``), `name`, `label` (how an ion is called), and the columns of
        `autocorrelation`. False discovery rates are among genes, and among ions.

    Raises
    ------
    DataProblem
        Values are missing or negative, or no spot has measured ions.
    RecipeProblem
        A choice is out of range.
    """
    recipe = Recipe() if recipe is None else recipe
    kinds = {"genes": ["genes"], "ions": ["ions"], "both": ["genes", "ions"]}.get(of)
    if kinds is None:
        raise RecipeProblem(f"There are no statistics of '{of}'. Choose genes, ions or both.")
    _check(n_neighbours, n_permutations)
    tables = []
    for number, kind in enumerate(kinds):
        values, spots, names, labels = _images(paired, recipe, kind)
        table = autocorrelation(
            values,
            spots.xy,
            spots.sections,
            n_neighbours=n_neighbours,
            n_permutations=n_permutations,
            alternative=alternative,
            seed=seed,
            progress=progress.part(number / len(kinds), (number + 1) / len(kinds)),
            cancelled=cancelled,
        )
        table.insert(0, "of", kind.removesuffix("s"))
        table.insert(1, "name", names)
        table.insert(2, "label", labels)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def local_statistics(
    paired: PairedDataset,
    names: Sequence[str],
    recipe: Recipe | None = None,
    *,
    n_neighbours: int = N_NEIGHBOURS,
    n_permutations: int = 0,
    seed: int = 0,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> AnnData:
    """Return local Moran's I of some ions, spots × ions, to be looked at as images.

    Parameters
    ----------
    names
        Of ions.
    recipe
        Its scale of ions.
    n_neighbours, n_permutations, seed
        As for `napari_st2msi.evaluation.local_moran.local_moran`.

    Returns
    -------
    AnnData
        Spots with measured ions × `names`: X is local Moran's I; layers `z`, `p`, `q` and `quadrant`, whose words are
        in `uns["quadrants"]`.

    Raises
    ------
    DataProblem
        An ion is not there, or as for `spatial_statistics`.
    RecipeProblem
        A choice is out of range.
    """
    from anndata import AnnData

    unknown = [name for name in names if name not in paired.ions.var_names]
    if unknown or not len(names):
        which = f"There is no ion '{unknown[0]}'." if unknown else "No ion is named."
        raise DataProblem(f"{which} Ions have names like '{paired.ions.var_names[0]}'.")
    _check(n_neighbours, n_permutations)
    values, spots, all_names, _ = _images(paired, Recipe() if recipe is None else recipe, "ions")
    found = local_moran(
        values[:, pd.Index(all_names).get_indexer(pd.Index(names))],
        spots.xy,
        spots.sections,
        n_neighbours=n_neighbours,
        n_permutations=n_permutations,
        seed=seed,
        progress=progress,
        cancelled=cancelled,
    )
    return AnnData(
        found.i,
        obs=spots.obs.copy(),
        var=spots.ions.var.loc[list(names)].copy(),
        obsm={"spatial": spots.xy},
        layers={"z": found.z, "p": found.p, "q": found.q, "quadrant": found.quadrant},
        uns={"quadrants": list(QUADRANTS), "n_neighbours": n_neighbours, "n_permutations": n_permutations},
    )


def _images(
    paired: PairedDataset, recipe: Recipe, kind: str
) -> tuple[NDArray[np.floating], PairedDataset, list[str], list[str]]:
    """Return values (spots, images) as models see them, the spots, and names and labels of the images."""
    if kind == "genes":
        every = recipe.genes.model_copy(update={"selection": "all"})
        features = GeneFeatures(every).fit(paired.genes)
        return features.transform(paired.genes), paired, features.names_, features.names_
    spots, _ = covered_spots(paired)
    labels = ion_frame(spots.ions)["label"].astype(str).tolist()
    values: NDArray[Any] = IonScale(recipe.ions).fit(spots.ions).forward(spots.ions)
    return values, spots, spots.ions.var_names.astype(str).tolist(), labels


def _check(n_neighbours: int, n_permutations: int) -> None:
    if n_neighbours < 1:
        raise RecipeProblem(f"{n_neighbours} neighbours are none. Ask for at least 1.")
    if n_permutations < 0:
        raise RecipeProblem(f"There cannot be {n_permutations} permutations. Ask for 0 or more.")
