"""What a transformer attends to: spots × genes for an ion, genes × ions over a region."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import ModelProblem
from napari_st2msi.explain.inputs import Spots, positions
from napari_st2msi.explain.ions import find_ion
from napari_st2msi.models.base import Predictor
from napari_st2msi.progress import Progress, never

if TYPE_CHECKING:
    from anndata import AnnData


# Spots whose attention is worked out at once where only the mean is asked for.
_ROWS = 4096


@dataclass(frozen=True)
class Attention:
    """How much ions attend to each token in some spots.

    It tells what the model read, not what it made of that: show it beside contributions.

    Attributes
    ----------
    spots, tokens, ions
        Their names; tokens are genes or pathways.
    weights
        (spots, ions, tokens) float32; sums over tokens are 1.
    """

    spots: pd.Index
    tokens: pd.Index
    ions: pd.Index
    weights: NDArray[np.float32]

    def of(self, ion: str) -> pd.DataFrame:
        """Return spots × tokens of one ion."""
        return pd.DataFrame(self.weights[:, self.ions.get_loc(ion)], index=self.spots, columns=self.tokens)

    def region(self) -> pd.DataFrame:
        """Return tokens × ions, the mean over the spots."""
        return pd.DataFrame(self.weights.mean(axis=0).T, index=self.tokens, columns=self.ions)


def has_attention(predictor: Predictor) -> bool:
    """Tell whether a model has attention to show."""
    return hasattr(predictor, "attention") and not getattr(predictor, "map_less", False)


def attending_ions(predictor: Predictor) -> pd.Index:
    """Return the ions that a transformer learned and that have attention therefore."""
    model: Any = predictor
    return model.ions_.var_.index[model.columns_ if model.networks_ else []]


def attention_of(
    predictor: Predictor,
    genes: AnnData,
    ions: Sequence[str],
    *,
    spots: Spots = None,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Attention:
    """Return how much ions attend to genes, or to pathways, in some spots.

    Parameters
    ----------
    predictor
        A fitted transformer with an attention map.
    genes
        Spots × genes of whole sections.
    ions
        Which: see `napari_st2msi.explain.ions.find_ion`.

    Raises
    ------
    ModelProblem
        The model has no attention, or it would not fit the memory.
    DataProblem
        There is no such ion or spot.
    """
    model: Any = predictor
    if not hasattr(predictor, "attention"):
        raise ModelProblem(
            f"The model '{predictor.name}' has no attention to show. Ask for contributions of genes instead, or train "
            "the model 'transformer'."
        )
    var = model.ions_.var_
    names = var.index[[find_ion(var, ion) for ion in ions]]
    asked = positions(genes, spots)
    weights = model.attention(
        genes[asked], names.astype(str).tolist(), context=genes, progress=progress, cancelled=cancelled
    )
    return Attention(genes.obs_names[asked], pd.Index(model.token_names_), names, weights)


def mean_attention(
    predictor: Predictor,
    genes: AnnData,
    ions: Sequence[str],
    *,
    spots: Spots = None,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> pd.DataFrame:
    """Return tokens × ions, the mean attention over some spots, however many; see `attention_of`."""
    asked = positions(genes, spots)
    pieces = np.array_split(asked, -(-len(asked) // _ROWS))
    together = pd.DataFrame()
    for number, piece in enumerate(pieces):
        found = attention_of(
            predictor,
            genes,
            ions,
            spots=piece,
            progress=progress.part(number / len(pieces), (number + 1) / len(pieces)),
            cancelled=cancelled,
        )
        share = found.region() * (len(piece) / len(asked))
        together = share if together.empty else together + share
    return together
