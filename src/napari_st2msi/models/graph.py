"""Networks on the graph of neighbouring spots: GCN, GraphSAGE and GAT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.features.neighbours import ring_means, step_length
from napari_st2msi.features.spatial import where, within
from napari_st2msi.models.deep.learner import NetworkLearner
from napari_st2msi.models.inputs import Inputs
from napari_st2msi.paired import PairedDataset
from napari_st2msi.recipe import Genes

if TYPE_CHECKING:
    import torch
    from anndata import AnnData

    from napari_st2msi.models.deep.graph import GraphNetwork, Kind


class GraphLearner(NetworkLearner):
    """A network in which spots hear from their neighbours.

    The spots of a section are the nodes, and two of them are neighbours if they are one step apart (see
    `napari_st2msi.features.neighbours.step_length`); sections are not connected. A node has the spot's own
    genes only: bands of the neighbourhood, which the recipe may ask for, would say the same twice and are
    left out. Genes of all spots of the context are heard, those of held-out spots too, as in every model;
    ions of none.

    Minibatches see all that their spots hear from, so that nothing differs from the whole graph at once.
    In graphs of more than `sampled_past` spots at most `most` neighbours of each are drawn in every step of
    training. Predictions always hear all.

    Attributes
    ----------
    step_
        How far one step to a neighbour is, in µm.
    """

    kind: ClassVar[Kind]
    learns_noise: ClassVar[bool] = True
    sampled_past: ClassVar[int] = 50_000
    most: ClassVar[int] = 10

    @property
    def _gene_choices(self) -> Genes:
        return self.recipe.genes.model_copy(update={"preset": "custom", "neighbourhood": "none"})

    def _inputs(self, train: PairedDataset, inputs: Inputs) -> Inputs:
        known = train.genes if inputs.context is None else inputs.context
        self.step_ = step_length(*where(known), self.recipe.genes.n_neighbours)
        return inputs

    def _extras(
        self, genes: AnnData, context: AnnData | None, features: NDArray[np.float32]
    ) -> dict[str, torch.Tensor]:
        import torch

        known, asked = within(genes, context)
        if context is not None:
            features = self.design_.transform(known)
        xy, section = where(known)
        (ring,) = ring_means(xy, section, np.arange(known.n_obs), self.step_, 1)
        return {
            "features": torch.from_numpy(self.scaled(features)),
            **self._sections(known),
            "starts": torch.from_numpy(ring.indptr.astype(np.int64)),
            "around": torch.from_numpy(ring.indices.astype(np.int64)),
            "asked": torch.from_numpy(asked),
        }

    def forward(
        self, network: Any, data: Mapping[str, torch.Tensor], rows: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what a network says of some rows, given all that they hear from."""
        from napari_st2msi.models.deep.graph import hood

        starts = data["starts"]
        most = self.most if network.training and len(starts) > self.sampled_past else None
        around = hood(starts, data["around"], data["asked"][rows], self.recipe.model.depth, most)
        intensity, odds = network(self._seen(network, data, around.nodes), around)
        return intensity, odds

    def _network(self, n_features: int) -> GraphNetwork:
        from napari_st2msi.models.deep.graph import GraphNetwork

        choices = self.recipe.model
        return GraphNetwork(
            self.kind,
            n_features,
            len(self.columns_),
            len(self.mixed_),
            width=choices.width,
            depth=choices.depth,
            dropout=choices.dropout,
        )

    def _own_facts(self) -> dict[str, Any]:
        return super()._own_facts() | {"step": self.step_}

    def _own_restore(self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        super()._own_restore(facts, arrays)
        self.step_ = float(facts["step"])


class GraphConvolution(GraphLearner):
    """Graph convolutional network (Kipf and Welling 2017, arXiv:1609.02907)."""

    name: ClassVar[str] = "gcn"
    kind: ClassVar[Kind] = "gcn"
    assumes: ClassVar[str] = "Ions follow the genes of the spot and what is averaged over it and its neighbours."


class GraphSage(GraphLearner):
    """GraphSAGE with the mean of the neighbours (Hamilton et al. 2017, arXiv:1706.02216)."""

    name: ClassVar[str] = "graphsage"
    kind: ClassVar[Kind] = "graphsage"
    assumes: ClassVar[str] = "Ions follow the genes of the spot and, with weights of their own, its neighbours' mean."


class GraphAttention(GraphLearner):
    """Graph attention network (Veličković et al. 2018, arXiv:1710.10903)."""

    name: ClassVar[str] = "gat"
    kind: ClassVar[Kind] = "gat"
    assumes: ClassVar[str] = "Ions follow the genes of the spot and its neighbours, of which some count more."
