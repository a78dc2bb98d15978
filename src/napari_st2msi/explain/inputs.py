"""The genes of spots and of those around as deviations from the training mean, and how features follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem
from napari_st2msi.explain.ways import Slopes
from napari_st2msi.features.design import OWN, PATHWAYS, Design
from napari_st2msi.features.genes import GeneFeatures, Scaled
from napari_st2msi.features.neighbours import ring_means, spreading
from napari_st2msi.features.spatial import where

if TYPE_CHECKING:
    from anndata import AnnData

#: What names spots: a mask, positions, or names; None for all.
Spots = NDArray[Any] | Sequence[int] | Sequence[str] | None


@dataclass(frozen=True)
class _Band:
    """How one band of features follows from genes: mean over some spots, minus the centre, times directions.

    Attributes
    ----------
    scaled
        The scaled genes of all spots known.
    places
        (genes of the band,) which they are among all genes.
    centre
        (genes of the band,) the training mean of scaled genes.
    directions
        Matrices that deviations are multiplied by, one after the other; none where features are genes.
    mean
        Sparse (asked, spots) matrix that averages over the spots looked at; None for the spot itself.
    level
        (width,) features where all genes are at their mean.
    fill
        (width,) features where there is no spot to look at.
    """

    scaled: Scaled
    places: NDArray[np.int64]
    centre: NDArray[np.float32]
    directions: tuple[NDArray[np.float64], ...]
    mean: Any
    level: NDArray[np.float64]
    fill: NDArray[np.float32]

    def deviations(self, asked: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        if self.mean is None:
            return self.scaled(asked[rows]) - self.centre
        some = self.mean[rows]
        near = np.unique(some.indices)
        return (some[:, near] @ (self.scaled(near) - self.centre)).astype(np.float32)


class SpotGenes:
    """Genes of spots, band by band, as a design sees them.

    A design is linear in the scaled genes of all spots: each band averages them over some spots (the spot
    itself, a ring around it) and may rotate them. So any slope with respect to features is one with respect
    to genes, and a spot in which all genes, there and around, are at their training mean has known features.

    Parameters
    ----------
    design
        A fitted design.
    genes
        Spots × genes of whole sections: `obsm["spatial"]` in µm and `obs["section"]`.
    spots
        The spots asked for.

    Attributes
    ----------
    names
        All genes that features are made of.
    genes, asked
        What was given, and the (n,) positions of the spots asked for.
    bands
        The columns of each band of features that follows from genes.
    """

    def __init__(self, design: Design, genes: AnnData, spots: Spots = None) -> None:
        self.genes, self.asked = genes, positions(genes, spots)
        self.spot_names = genes.obs_names[self.asked]
        further = design.pathway_genes_
        self.names = pd.Index(
            list(dict.fromkeys([*design.genes_.names_, *([] if further is None else further.names_)]))
        )
        self._bands = _bands_of(design, genes, self.asked, self.names)
        self.bands = {name: design.bands[name] for name in self._bands}

    def __len__(self) -> int:
        return len(self.asked)

    def deviations(self, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        """Return for each band (rows, genes) how far scaled genes of some of the spots are from their training mean.

        Zero in a band without spots, such as the ring around a lone spot, and for genes that a band does not use.
        """
        found = {}
        for name, band in self._bands.items():
            own = band.deviations(self.asked, rows)
            found[name] = self._among_all(band, own)
        return found

    def to_genes(self, name: str, slopes: Slopes, columns: slice) -> NDArray[np.float32]:
        """Return (n, genes) slopes with respect to the deviations of a band from those to its columns of features."""
        band, own = self._bands[name], slopes.directions[:, columns]
        for directions in reversed(band.directions):
            own = own @ directions.T
        own = self._among_all(band, own.astype(np.float32))
        return own if slopes.weights is None else slopes.weights.astype(np.float32) @ own

    def at_mean(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the (n, features) that spots would have, were all genes at their training mean, there and around.

        Parameters
        ----------
        features
            (n, features) of the spots asked for; columns that do not follow from genes stay.
        """
        base = np.array(features, dtype=np.float32)
        for name, columns in self.bands.items():
            band = self._bands[name]
            base[:, columns] = band.level
            if band.mean is not None:
                base[np.flatnonzero(np.diff(band.mean.indptr) == 0), columns] = band.fill
        return base

    def moved(
        self, features: NDArray[np.floating], changes: dict[str, NDArray[np.floating]], genes: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Return features after some genes changed.

        Parameters
        ----------
        features
            (n, features) before.
        changes
            For each band (n, some genes) what is added to their deviations.
        genes
            (some genes,) their positions in `names`.
        """
        after = np.array(features, dtype=np.float32)
        for name, columns in self.bands.items():
            band = self._bands[name]
            place = pd.Index(band.places).get_indexer(pd.Index(genes))
            step = changes[name][:, place >= 0]
            place = place[place >= 0]
            if band.directions:
                step = step @ band.directions[0][place]
                for directions in band.directions[1:]:
                    step = step @ directions
                after[:, columns] += step.astype(np.float32)
            else:
                after[:, columns.start + place] += step.astype(np.float32)
        return after

    def averaged(self, change: NDArray[np.floating]) -> dict[str, NDArray[np.floating]]:
        """Return for each band (n, k) what a change of all spots (spots, k) amounts to in the spots asked for."""
        return {
            name: change[self.asked] if band.mean is None else np.asarray(band.mean @ change)
            for name, band in self._bands.items()
        }

    def _among_all(self, band: _Band, own: NDArray[Any]) -> NDArray[Any]:
        """Return the columns of a band's genes at their place among all genes."""
        if len(band.places) == len(self.names):
            return own
        whole = np.zeros((len(own), len(self.names)), dtype=own.dtype)
        whole[:, band.places] = own
        return whole


def positions(genes: AnnData, spots: Spots) -> NDArray[np.int64]:
    """Return positions of spots given as a mask, as positions or by name; all when None.

    Raises
    ------
    DataProblem
        There are none, or some are not there.
    """
    if spots is None:
        return np.arange(genes.n_obs)
    given = np.asarray(spots)
    if given.dtype == bool:
        if given.shape != (genes.n_obs,):
            raise DataProblem(f"The mask of spots has {given.size:,} entries and the table {genes.n_obs:,} spots.")
        found = np.flatnonzero(given)
    elif given.dtype.kind in "iu":
        found = given.astype(np.int64)
    else:
        found = np.asarray(genes.obs_names.get_indexer(pd.Index(given.astype(str))), dtype=np.int64)
        if (found < 0).any():
            missing = ", ".join(f"'{name}'" for name in given[found < 0][:3])
            raise DataProblem(f"{int((found < 0).sum()):,} of the spots are not in the data, such as {missing}.")
    if not len(found):
        raise DataProblem("No spot is chosen. Choose at least one.")
    if found.min() < 0 or found.max() >= genes.n_obs:
        raise DataProblem(f"Positions of spots go from 0 to {genes.n_obs - 1:,} here.")
    return found


def _bands_of(design: Design, genes: AnnData, asked: NDArray[np.int64], names: pd.Index) -> dict[str, _Band]:
    """Return the bands of a design that follow from genes; the others, such as which cluster a spot is in, do not."""
    scaled, rotation = design.genes_.scaled(genes), design.reduction_
    places = names.get_indexer(pd.Index(design.genes_.names_))
    centre = _centre(design.genes_) if rotation is None else rotation.centre_
    directions = () if rotation is None else (rotation.directions_,)
    level = centre if rotation is None else np.zeros(rotation.directions_.shape[1])
    bands = {}
    for name, mean in _means(design, genes, asked).items():
        own, further = level, directions
        if name != OWN and design.graph_ is not None:
            own = (level - design.graph_.centre_) @ design.graph_.directions_
            further = (*directions, design.graph_.directions_)
        bands[name] = _Band(scaled, places, centre.astype(np.float32), further, mean, own, _fill(design, name))
    fitted, means = design.pathway_genes_, design.pathway_means_
    if fitted is not None and means is not None:
        centre = _centre(fitted)
        bands[PATHWAYS] = _Band(
            fitted.scaled(genes),
            names.get_indexer(pd.Index(fitted.names_)),
            centre.astype(np.float32),
            (means.directions_,),
            None,
            (centre - means.centre_) @ means.directions_,
            _fill(design, PATHWAYS),
        )
    return bands


def _centre(fitted: GeneFeatures) -> NDArray[np.float64]:
    """Return the training mean of scaled genes."""
    return np.zeros(len(fitted.names_)) if fitted.choices.standardise else fitted.mean_


def _fill(design: Design, name: str) -> NDArray[np.float32]:
    """Return the features of a band where there is no spot to look at, as the design fills them."""
    band, own = design.bands[name], design.widths_[OWN]
    return design.fill_[max(band.start - own, 0) : max(band.stop - own, 0)]


def _means(design: Design, genes: AnnData, asked: NDArray[np.int64]) -> dict[str, Any]:
    """Return for each band the sparse (asked, spots) matrix that averages over its spots; None for the spot itself."""
    choices = design.choices
    if choices.neighbourhood == "none":
        return {OWN: None}
    xy, section = where(genes)
    if choices.neighbourhood == "rings":
        means = ring_means(xy, section, asked, design.step_, choices.n_rings)
        return {OWN: None, **{f"ring{number}": mean for number, mean in enumerate(means, 1)}}
    spread = spreading(xy, section, design.step_)
    together = spread[asked]
    if choices.neighbourhood == "graph_svd":
        return {OWN: None, "graph": together}
    for _ in range(choices.n_steps - 1):
        together = together @ spread
    return {OWN: None, "diffused": together}
