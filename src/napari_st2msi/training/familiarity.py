"""Whether the spots of a query resemble those of training, by their genes alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import ModelProblem
from napari_st2msi.features.genes import GeneFeatures
from napari_st2msi.features.rotation import Rotation, blocks
from napari_st2msi.models.inner import inner_folds
from napari_st2msi.progress import check, never
from napari_st2msi.recipe import Genes

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_st2msi.paired import PairedDataset

#: Share of held-out training spots that count as unfamiliar, so that this much means nothing.
EXPECTED = 0.01
_GENES, _DIRECTIONS = 500, 10


class Familiarity:
    """Tell how far the genes of a spot lie from those of the training spots.

    Standardised genes are split into what lies along the leading principal directions of the training spots
    and what is left. A spot is unfamiliar where it lies far out along the directions (Hotelling's T²), or
    where much is left (Q; Jackson and Mudholkar 1979, doi:10.1080/00401706.1979.10489779). Both are measured
    against training spots that were held out when the directions were learned, in whole sections where there
    are three or more, else in blocks: a spot that helped to learn them always looks familiar.

    Attributes
    ----------
    genes_, rotation_
        The fitted scales and directions.
    deviation_
        (directions,) of the training spots.
    reach_
        (2,) T² and Q that 99 % of held-out training spots stay below, each by itself.
    limit_
        The larger share of its reach that 99 % of them stay below; infinite where none could be held out.
    """

    deviation_: NDArray[np.float64]

    def fit(self, train: PairedDataset, genes: Genes, *, cancelled: Callable[[], bool] = never) -> Self:
        """Learn from the genes of training spots; `genes` are the recipe's choices about them.

        At most the 500 most variable genes are looked at, or those of the recipe's list.
        """
        listed = genes.selection == "listed"
        choices = genes.model_copy(
            update={
                "preset": "custom",
                "selection": "listed" if listed else "variable",
                "n_top": _GENES,
                "standardise": True,
            }
        )
        apart = []
        for fold in inner_folds(train):
            check(cancelled)
            own = Familiarity()._learn(train.genes[fold.fit], choices)
            apart.append(own._apart(train.genes[fold.held]))
        self._learn(train.genes, choices)
        held = np.concatenate(apart) if apart else self._apart(train.genes)
        self.reach_: NDArray[np.float64] = np.maximum(np.quantile(held, 1 - EXPECTED, axis=0), 1e-12)
        farthest = (held / self.reach_).max(axis=1)
        self.limit_ = float(np.quantile(farthest, 1 - EXPECTED)) if apart else float("inf")
        return self

    def novelty(self, genes: AnnData) -> NDArray[np.float64]:
        """Return (spots,) how far a spot lies from training: above 1, farther than 99 % of held-out spots do.

        Raises
        ------
        ModelProblem
            Fewer than half of the genes looked at are there.
        """
        return (self._apart(genes) / self.reach_).max(axis=1) / self.limit_

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return everything fitted as JSON values and named arrays."""
        facts, arrays = self.genes_.state()
        arrays = {f"genes.{name}": values for name, values in arrays.items()}
        limit = np.array([self.limit_])
        return {"genes": facts}, arrays | {
            "centre": self.rotation_.centre_,
            "directions": self.rotation_.directions_,
            "deviation": self.deviation_,
            "reach": self.reach_,
            "limit": limit,
        }

    def restore(self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        own = {name.removeprefix("genes."): values for name, values in arrays.items() if name.startswith("genes.")}
        self.genes_ = GeneFeatures().restore(facts["genes"], own)
        turn = {"centre": arrays["centre"], "directions": arrays["directions"]}
        self.rotation_ = Rotation(None).restore({"n_directions": None}, turn)
        self.deviation_, self.reach_ = arrays["deviation"], arrays["reach"]
        self.limit_ = float(arrays["limit"][0])
        width = self.rotation_.directions_.shape[1]
        if len(self.rotation_.centre_) != len(self.genes_.names_) or self.deviation_.shape != (width,):
            raise ModelProblem("What the model knows of familiar spots does not fit its genes.")
        if self.reach_.shape != (2,) or not (self.reach_ > 0).all() or not self.limit_ > 0:
            raise ModelProblem("What the model knows of familiar spots is out of range.")
        return self

    def _learn(self, genes: AnnData, choices: Genes) -> Self:
        self.genes_ = GeneFeatures(choices).fit(genes)
        scaled = self.genes_.scaled(genes)
        self.rotation_ = Rotation(_DIRECTIONS).fit(scaled)
        self.deviation_ = np.maximum(self.rotation_.transform(scaled).std(axis=0), 1e-12)
        return self

    def _apart(self, genes: AnnData) -> NDArray[np.float64]:
        """Return (spots, 2): T² and Q."""
        directions, centre = self.rotation_.directions_, self.rotation_.centre_
        apart = []
        for block in blocks(self.genes_.scaled(genes)):
            centred = block - centre
            along = centred @ directions
            left = (centred**2).sum(axis=1) - (along**2).sum(axis=1)
            apart.append(np.column_stack([((along / self.deviation_) ** 2).sum(axis=1), np.maximum(left, 0.0)]))
        return np.concatenate(apart)
