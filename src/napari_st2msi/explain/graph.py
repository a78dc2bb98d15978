"""Networks on the graph of neighbours: what a spot's own genes bring to it, and those of spots that it hears from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.explain.attribution import Part
from napari_st2msi.explain.explainer import Brought, Explainer
from napari_st2msi.explain.inputs import SpotGenes, Spots
from napari_st2msi.explain.networks import mean_gradients, per_feature, said_of, values_of
from napari_st2msi.explain.ways import Slopes
from napari_st2msi.features.spatial import within
from napari_st2msi.models.learner import pieces
from napari_st2msi.progress import check, never

if TYPE_CHECKING:
    import torch
    from anndata import AnnData

    from napari_st2msi.models.graph import GraphLearner

# Copies of spots × features that a network is asked for at once, and copies × genes that follow from them.
_AT_ONCE = 2**22


@dataclass(frozen=True)
class Copies:
    """Spots, each with copies of its own of all spots that it hears from.

    Attributes
    ----------
    node
        (copies,) which spot of the graph each is a copy of.
    owner
        (copies,) for which of the spots asked for it was made.
    step
        (copies,) how many steps it is away from that spot; 0 for the spot itself.
    starts, around
        The graph of copies, as CSR. Of those farthest away only the number of neighbours is right, which is all
        that is looked at.
    asked
        (asked,) which copies are the spots asked for themselves.
    """

    node: NDArray[np.int64]
    owner: NDArray[np.int64]
    step: NDArray[np.int64]
    starts: NDArray[np.int64]
    around: NDArray[np.int64]
    asked: NDArray[np.int64]


def copies_of(starts: NDArray[np.int64], around: NDArray[np.int64], asked: NDArray[np.int64], steps: int) -> Copies:
    """Give each of some spots copies of all that it hears from, so that it shares them with no other.

    What is said of a spot then depends on its own copies only, and one gradient of the sum over spots tells apart
    what each hears from each.

    Parameters
    ----------
    starts, around
        The graph as CSR: see `napari_st2msi.models.deep.graph.hood`.
    asked
        (asked,) distinct spots.
    steps
        How far they hear.
    """
    n, degree = len(starts) - 1, np.diff(starts)
    front = keys = np.arange(len(asked)) * n + asked
    away = np.zeros(len(asked), dtype=np.int64)
    for number in range(1, steps + 1):
        spread = np.unique(_near(starts, around, degree, front % n, front // n * n))
        front = np.setdiff1d(spread, keys, assume_unique=True)
        keys, away = np.concatenate([keys, front]), np.concatenate([away, np.full(len(front), number)])
    order = np.argsort(keys)
    keys, away = keys[order], away[order]
    owner, node = keys // n, keys % n
    place = np.searchsorted(keys, _near(starts, around, degree, node, owner * n))
    begin = np.concatenate([[0], degree[node].cumsum()])
    own = np.searchsorted(keys, np.arange(len(asked)) * n + asked)
    return Copies(node, owner, away, begin, np.minimum(place, len(keys) - 1), own)


def _near(
    starts: NDArray[np.int64],
    around: NDArray[np.int64],
    degree: NDArray[np.int64],
    nodes: NDArray[np.int64],
    plus: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return the neighbours of nodes, one node after the other, each plus a number of its node."""
    count = degree[nodes]
    first = np.repeat(starts[nodes] - (count.cumsum() - count), count)
    return around[first + np.arange(count.sum())] + np.repeat(plus, count)


class GraphExplainer(Explainer):
    """Networks in which spots hear from their neighbours.

    The bands of a spot are its own genes, ``own``, and the genes of the spots that it hears from, by how many
    steps these are away: ``step1``, ``step2`` and so on. Gradients are integrated from a section in which all genes
    of all spots are at their training mean. A gene of a spot also has a say in the neighbours' predictions: that is
    among what their bands ``step1`` and so on bring, and not among what this spot's bands do.
    """

    learner: GraphLearner

    def __init__(self, learner: GraphLearner, genes: AnnData, spots: Spots = None) -> None:
        import torch

        super().__init__(learner, genes, spots)
        own = genes[self.inputs.asked]
        known, _ = within(own, genes)
        self._known, self._features = SpotGenes(learner.design_, known), learner.features(known, None)
        self._graph = learner.data(own, genes, self.features)
        mean = learner.scaled(self._known.at_mean(self._features))
        self._at_mean = self._graph | {"features": torch.from_numpy(mean)}
        self._steps = int(learner.recipe.model.depth)

    @property
    def bands(self) -> list[str]:
        """The spot's own genes, and those of spots one step away and more."""
        return ["own", *(f"step{number}" for number in range(1, self._steps + 1))]

    def method(self, ion: int, part: Part) -> str:
        """Return how contributions are found."""
        return "integrated_gradients"

    def predicted(self, rows: NDArray[np.int64], part: Part) -> NDArray[np.floating]:
        """Return what the networks say."""
        self.must_be_whole(part)
        return said_of(self.learner, self._graph, rows)

    def baseline(self, rows: NDArray[np.int64], ion: int, part: Part) -> NDArray[np.floating]:
        """Return what the networks say where all genes of all spots are at their training mean."""
        self.must_be_whole(part)
        return said_of(self.learner, self._at_mean, rows)[:, ion]

    def without(self, rows: NDArray[np.int64], part: Part) -> Callable[[NDArray[np.int64]], NDArray[np.floating]]:
        """Return what tells what the networks say with some genes at their mean in all spots that are heard."""
        import torch

        self.must_be_whole(part)
        nodes = np.unique(self._copies(rows).node)
        deviations = self._known.deviations(nodes)
        graph = self._graph | {"features": self._graph["features"].clone()}

        def said(genes: NDArray[np.int64]) -> NDArray[np.floating]:
            changes = {name: -values[:, genes] for name, values in deviations.items()}
            moved = self._known.moved(self._features[nodes], changes, genes)
            graph["features"][nodes] = torch.from_numpy(self.learner.scaled(moved))
            return said_of(self.learner, graph, rows)

        return said

    def contributions(
        self, rows: NDArray[np.int64], ions: Sequence[int], part: Part, cancelled: Callable[[], bool] = never
    ) -> Iterator[Brought]:
        """Yield for each of some ions what genes bring to it in some rows."""
        self.must_be_whole(part)
        heard = len(self._copies(rows).node) / len(rows)
        spots = list(pieces(len(rows), int(_AT_ONCE / (self._features.shape[1] * heard))))
        copies = [self._copies(rows[piece]) for piece in spots]
        nodes = np.unique(np.concatenate([own.node for own in copies]))
        deviations = self._known.deviations(nodes)
        n_genes = len(self.inputs.names)
        for ion in ions:
            bands = {name: np.zeros((len(rows), n_genes), dtype=np.float32) for name in self.bands}
            along = np.zeros(n_genes)
            for piece, own in zip(spots, copies, strict=True):
                steep = self._slopes(own, ion, cancelled)
                for some in pieces(len(steep), _AT_ONCE // n_genes):
                    check(cancelled)
                    slopes, place = Slopes(steep[some]), np.searchsorted(nodes, own.node[some])
                    spot, step = piece.start + own.owner[some], own.step[some]
                    for name, columns in self._known.bands.items():
                        away = deviations[name][place]
                        brought = away * self._known.to_genes(name, slopes, columns)
                        along += np.einsum("ng,ng->g", brought, away, dtype=np.float64)
                        for number, band in enumerate(bands.values()):
                            np.add.at(band, spot[step == number], brought[step == number])
            yield Brought(bands, along)

    def _slopes(self, copies: Copies, ion: int, cancelled: Callable[[], bool]) -> NDArray[np.float64]:
        """Return (copies, features) mean gradients on the way from the training mean."""
        import torch

        learner, graph = self.learner, self._graph
        if not learner.networks_ or ion not in learner.columns_:
            return np.zeros((len(copies.node), self._features.shape[1]))
        node = torch.from_numpy(copies.node)
        data = {name: graph[name][node] for name in graph.keys() & {"section"}}
        data |= {
            name: torch.from_numpy(getattr(copies, name).astype(np.int64)) for name in ("starts", "around", "asked")
        }
        every = torch.arange(len(copies.asked))

        def value(features: torch.Tensor) -> torch.Tensor:
            check(cancelled)
            return values_of(learner, data | {"features": features}, every)[:, ion]

        start, end = self._at_mean["features"][node], graph["features"][node]
        (gradient,) = mean_gradients(value, [start], [end], len(node), copies.owner)
        return gradient * per_feature(learner)

    def _copies(self, rows: NDArray[np.int64]) -> Copies:
        starts, around, asked = (np.asarray(self._graph[name]) for name in ("starts", "around", "asked"))
        return copies_of(starts, around, asked[rows], self._steps)
