"""The tokens that transformers attend to, as functions of genes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.explain.inputs import SpotGenes, Spots
from napari_st2msi.explain.ways import Slopes

if TYPE_CHECKING:
    from anndata import AnnData


class Tokens:
    """What a transformer sees of each gene or pathway, and what it would see at the training mean.

    Parameters
    ----------
    learner
        A fitted transformer.
    own, genes, spots
        The spots asked for, those of whole sections, and which of these are asked for.

    Attributes
    ----------
    base
        (n, tokens, channels) with all genes at their training mean.
    """

    def __init__(self, learner: Any, own: AnnData, genes: AnnData, spots: Spots) -> None:
        self._learner, self._inputs = learner, SpotGenes(learner.tokens_, genes, spots)
        self._features = learner.tokens_.transform(own, genes)
        self.base = learner.scaled_tokens(self._inputs.at_mean(self._features))

    def add_to(
        self,
        brought: dict[str, NDArray[np.float32]],
        rows: NDArray[np.int64],
        gradient: NDArray[np.floating],
        names: pd.Index,
    ) -> None:
        """Add what genes bring by tokens to what they bring by features.

        Parameters
        ----------
        brought
            For each band (rows, genes); bands that only tokens have are added.
        gradient
            (rows, tokens, channels) with respect to what the transformer sees.
        names
            The genes; what others bring by tokens stays a gap.
        """
        # As in the design of tokens: channel after channel, and not scaled.
        steep = np.moveaxis(gradient / self._learner.token_scale_, 2, 1).reshape(len(rows), -1)
        place = names.get_indexer(self._inputs.names)
        deviations = self._inputs.deviations(rows)
        for name, columns in self._inputs.bands.items():
            more = deviations[name] * self._inputs.to_genes(name, Slopes(steep), columns)
            target = name if name in brought else next(iter(brought))
            brought[target][:, place[place >= 0]] += more[:, place >= 0]

    def without(self, rows: NDArray[np.int64], genes: pd.Index) -> NDArray[np.float32]:
        """Return (rows, tokens, channels) with some genes at their training mean."""
        found = self._inputs.names.get_indexer(genes)
        found = found[found >= 0]
        changes = {name: -values[:, found] for name, values in self._inputs.deviations(rows).items()}
        moved = self._inputs.moved(self._features[rows], changes, found)
        scaled: NDArray[np.float32] = self._learner.scaled_tokens(moved)
        return scaled


def token_genes(learner: Any) -> list[list[str]]:
    """Return for each token of a transformer the genes that it is made of: itself, or those of the pathway."""
    design = learner.tokens_
    if not design.pathways_:
        return [[name] for name in learner.token_names_]
    names = np.array(design.genes_.names_)
    return [names[column != 0].tolist() for column in design.reduction_.directions_.T]
