"""Networks on the graph of neighbours, and the piece of the graph that a minibatch sees."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

Kind = Literal["gcn", "graphsage", "gat"]


class Hood(NamedTuple):
    """Spots asked for and those that they hear from, step by step.

    Attributes
    ----------
    nodes
        Spots of the graph: first those asked for, then those one step away, then those two steps away.
    edges
        (2, e) from and to, as positions among `nodes`; first those to the spots asked for.
    weights
        (e,) of a spot in the mean of another: 1/√((dᵢ + 1)(dⱼ + 1)), d the number of neighbours.
    n_nodes, n_edges
        How many nodes are at most 0, 1, … steps away, and how many edges lead to those at most 0, 1, …
        steps away.
    """

    nodes: torch.Tensor
    edges: torch.Tensor
    weights: torch.Tensor
    n_nodes: Sequence[int]
    n_edges: Sequence[int]


def hood(starts: torch.Tensor, around: torch.Tensor, asked: torch.Tensor, steps: int, most: int | None = None) -> Hood:
    """Return what spots hear from in so many steps.

    Without `most`, what a network says of the spots is what it would say if it saw the whole graph.

    Parameters
    ----------
    starts, around
        The graph as CSR: the neighbours of spot i are ``around[starts[i] : starts[i + 1]]``, the spot
        itself not among them.
    asked
        (b,) distinct spots.
    most
        Draw so many neighbours of a spot, with torch's generator, where it has more (Hamilton et al. 2017,
        arXiv:1706.02216, section 3.1). Weights of those drawn make up for the others.
    """
    degree = starts.diff()
    position = torch.full((len(degree),), -1, dtype=torch.int64, device=starts.device)
    nodes, reached = asked, torch.arange(len(asked), device=starts.device)
    position[asked] = reached
    none = starts.new_empty(0)  # of no steps nothing is heard
    sources, targets, weights, n_nodes, n_edges = [none], [none], [none.float()], [len(nodes)], []
    for _ in range(steps):
        # Those reached in the last step: the spots themselves, and their neighbours.
        centres = nodes[reached]
        count = degree[centres]
        own = torch.repeat_interleave(reached, count)
        first = torch.repeat_interleave(starts[centres] - (count.cumsum(0) - count), count)
        near = around[first + torch.arange(len(own), device=starts.device)]
        weight = ((degree[near] + 1) * (degree[nodes[own]] + 1)).to(torch.float32).rsqrt()
        if most is not None:
            kept = _drawn(own, count, most)
            own, near, weight = own[kept], near[kept], weight[kept]
            weight = weight * (degree[nodes[own]].clamp(min=1) / degree[nodes[own]].clamp(1, most))
        new = torch.unique(near[position[near] < 0])
        position[new] = torch.arange(len(nodes), len(nodes) + len(new), device=starts.device)
        sources += [position[near], reached]
        targets += [own, reached]
        weights += [weight, 1.0 / (count + 1).to(torch.float32)]
        reached = torch.arange(len(nodes), len(nodes) + len(new), device=starts.device)
        nodes = torch.cat([nodes, new])
        n_nodes.append(len(nodes))
        n_edges.append(sum(len(some) for some in sources))
    return Hood(nodes, torch.stack([torch.cat(sources), torch.cat(targets)]), torch.cat(weights), n_nodes, n_edges)


def _drawn(own: torch.Tensor, count: torch.Tensor, most: int) -> torch.Tensor:
    """Return which edges are kept when at most so many of each spot are: drawn without putting back."""
    draw = torch.rand(len(own), device=own.device)
    order = torch.argsort(draw)
    order = order[torch.argsort(own[order], stable=True)]
    begin = torch.repeat_interleave(count.cumsum(0) - count, count)
    rank = torch.arange(len(own), device=own.device) - begin
    return order[rank < most].sort().values


class GraphNetwork(nn.Module):
    """A linear map of a spot's own genes plus what rounds of messages between neighbours add to it.

    Each round is added to what came in, so that a spot's own state is not blurred away, and normalised
    before, as in the perceptron.

    Parameters
    ----------
    kind
        ``gcn``: graph convolutions, which average over a spot and its neighbours (Kipf and Welling 2017,
        arXiv:1609.02907); ``graphsage``: the mean of the neighbours has weights of its own (Hamilton et
        al. 2017, arXiv:1706.02216); ``gat``: attention says how much each neighbour counts (Veličković
        et al. 2018, arXiv:1710.10903).
    n_features, n_intensities, n_presences
        Columns in, and the two groups of columns out.
    width, depth, dropout
        Of the hidden states; how many rounds; the share of hidden units and features left out in training.
    heads
        Of attention.
    """

    def __init__(
        self,
        kind: Kind,
        n_features: int,
        n_intensities: int,
        n_presences: int,
        *,
        width: int,
        depth: int,
        dropout: float,
        heads: int = 4,
    ) -> None:
        super().__init__()
        self.kind, self.n_intensities = kind, n_intensities
        n_out = n_intensities + n_presences
        self.straight = nn.Linear(n_features, n_out)
        self.inlet = nn.Sequential(nn.Dropout(dropout / 2), nn.Linear(n_features, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.rounds = nn.ModuleList(_round(kind, width, heads) for _ in range(depth))
        self.between = nn.Sequential(nn.GELU(), nn.Dropout(dropout))
        self.end = nn.LayerNorm(width)
        self.outlet = nn.Linear(width, n_out, bias=False)
        #: (n_intensities,) log deviation of what is not told of each ion, for the loss.
        self.log_noise = nn.Parameter(torch.zeros(n_intensities))
        # At first the mean is predicted.
        nn.init.zeros_(self.straight.weight)
        nn.init.zeros_(self.straight.bias)
        nn.init.normal_(self.outlet.weight, std=0.01)

    def forward(self, features: torch.Tensor, around: Hood) -> tuple[torch.Tensor, torch.Tensor]:
        """Return intensities in standard deviations and log odds of presence of the spots asked for.

        Parameters
        ----------
        features
            (nodes, features) of the nodes of the hood.
        around
            A hood of `depth` steps.
        """
        hidden = self.inlet(features)
        for number, (norm, message) in enumerate(zip(self.norms, self.rounds, strict=True), 1):
            steps = len(self.rounds) - number
            n_edges, n = around.n_edges[steps], around.n_nodes[steps]
            hidden = hidden[: around.n_nodes[steps + 1]]
            said = self._say(message, self.between(norm(hidden)), around, n_edges)
            hidden = hidden[:n] + said[:n]
        n = around.n_nodes[0]
        out = self.straight(features[:n]) + self.outlet(self.between(self.end(hidden[:n])))
        return out[:, : self.n_intensities], out[:, self.n_intensities :]

    def _say(self, message: Any, hidden: torch.Tensor, around: Hood, n_edges: int) -> Any:
        edges = around.edges[:, :n_edges]
        if self.kind == "gcn":
            return message(hidden, edges, around.weights[:n_edges])
        if self.kind == "graphsage":
            return message(hidden, edges[:, edges[0] != edges[1]])
        return message(hidden, edges)


def _round(kind: Kind, width: int, heads: int) -> nn.Module:
    from torch_geometric.nn import GATConv, GCNConv, SAGEConv

    # The hood brings weights, and each spot as a neighbour of itself.
    if kind == "gcn":
        return GCNConv(width, width, add_self_loops=False, normalize=False)
    if kind == "graphsage":
        return SAGEConv(width, width)
    heads = gcd(width, heads)
    return GATConv(width, width // heads, heads=heads, add_self_loops=False)
