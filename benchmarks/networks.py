"""Training of our networks beside plain loops: the same networks, data, minibatches and steps, in one run.

The GCN stands beside two loops that users of torch-geometric write: the piece of the graph that a minibatch hears from,
cut out by `torch_geometric.utils.k_hop_subgraph`; and the whole graph in every step. (`NeighborLoader` needs pyg-lib or
torch-sparse, which have no wheels for all systems that this package runs on.) Every other network stands beside a plain
torch loop. All make the same number of steps on one thread, judge held-out spots after each epoch, and are checked to
predict the same from the same weights. Run with

    python benchmarks/networks.py [--models gcn transformer] [--spots 3000] [--epochs 4] [--repeats 3]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import k_hop_subgraph

import napari_st2msi as st2msi
from _report import table, verdict
from napari_st2msi import Recipe
from napari_st2msi.models.deep.loop import Loss, Schedule, seeded, train
from napari_st2msi.models.deep.loss import intensity_and_presence, unlikelihood
from napari_st2msi.models.inner import InnerFold
from napari_st2msi.models.registry import model_class

Data = Mapping[str, torch.Tensor]


def plain(network: Any, data: Data, loss: Loss, fold: InnerFold, schedule: Schedule) -> None:
    """Train as examples do: AdamW, clipped gradients, and the loss of the spots held out after each epoch."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay
        )
        fit, held = torch.from_numpy(fold.fit), torch.from_numpy(fold.held)
        steps = max(1, round(len(fit) / schedule.batch))
        for _ in range(schedule.epochs):
            network.train()
            for rows in torch.tensor_split(fit[torch.randperm(len(fit))], steps):
                optimiser.zero_grad()
                loss(network, data, rows).backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), schedule.clip)
                optimiser.step()
            network.eval()
            with torch.no_grad():
                sum(float(loss(network, data, rows)) * len(rows) for rows in held.split(4 * schedule.batch))
    finally:
        torch.set_num_threads(before)


class PlainGCN(torch.nn.Module):
    """The layers of a `GraphNetwork` as a user of torch-geometric would call them."""

    def __init__(self, layers: Any) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: torch.Tensor, edges: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return intensities and log odds of all nodes."""
        own = self.layers
        hidden = own.inlet(x)
        for norm, message in zip(own.norms, own.rounds, strict=True):
            hidden = hidden + message(own.between(norm(hidden)), edges, weights)
        out = own.straight(x) + own.outlet(own.between(own.end(hidden)))
        return out[:, : own.n_intensities], out[:, own.n_intensities :]


def graph_losses(data: Data, depth: int) -> dict[str, Loss]:
    """Return what the two plain loops minimise: on the piece of the graph, and on the whole graph."""
    starts, around = data["starts"], data["around"]
    n = len(starts) - 1
    edges = torch.stack([around, torch.repeat_interleave(torch.arange(n), starts.diff())])
    edges, weights = gcn_norm(edges, num_nodes=n, add_self_loops=True)

    def judged(
        network: Any, intensity: torch.Tensor, odds: torch.Tensor, data: Data, rows: torch.Tensor
    ) -> torch.Tensor:
        if network.training:
            return unlikelihood(intensity, odds, network.layers.log_noise, data, rows)
        return intensity_and_presence(intensity, odds, data, rows)

    def piece(network: Any, data: Data, rows: torch.Tensor) -> torch.Tensor:
        nodes, near, place, kept = k_hop_subgraph(data["asked"][rows], depth, edges, relabel_nodes=True, num_nodes=n)
        said = network(data["features"][nodes], near, weights[kept])
        return judged(network, said[0][place], said[1][place], data, rows)

    def whole(network: Any, data: Data, rows: torch.Tensor) -> torch.Tensor:
        said, asked = network(data["features"], edges, weights), data["asked"][rows]
        return judged(network, said[0][asked], said[1][asked], data, rows)

    return {"torch-geometric, k_hop_subgraph": piece, "torch-geometric, whole graph": whole}


def timed_learner(name: str, epochs: int, repeats: int, found: dict[str, list[tuple[float, float]]]) -> type:
    """Return a model that, instead of training, times how long training takes: (wall, CPU) seconds each."""

    def training(self: Any, n_features: int, every: Sequence[Data], folds: Sequence[InnerFold], *_: Any) -> None:
        data, fold, batch = every[0], folds[0], self.recipe.networks.batch
        schedule = Schedule(epochs=epochs, patience=epochs, batch=batch, device="cpu", threads=1)
        self.spots = len(fold.fit)

        def network() -> Any:
            with seeded(0):
                return self._network(n_features)

        wrapped: dict[str, tuple[Callable[[], Any], Loss]] = {"plain torch": (network, self._loss)}
        if name == "gcn":
            losses = graph_losses(data, self.recipe.model.depth)
            wrapped = {key: (lambda: PlainGCN(network()), loss) for key, loss in losses.items()}
        rows, same = torch.from_numpy(fold.held), network().eval()
        with torch.no_grad():
            expected = self._loss(same, data, rows)
            for make, loss in wrapped.values():
                torch.testing.assert_close(loss(make().eval(), data, rows), expected, rtol=1e-4, atol=1e-5)
        for _ in range(repeats):
            runs = {"ours": lambda: train(network(), data, self._loss, fold.fit, fold.held, schedule)}
            for key, (make, loss) in wrapped.items():
                runs[key] = lambda make=make, loss=loss: plain(make(), data, loss, fold, schedule)
            for key, work in runs.items():
                wall, cpu = time.perf_counter(), time.process_time()
                work()
                found.setdefault(key, []).append((time.perf_counter() - wall, time.process_time() - cpu))

    return type("Timed", (model_class(name),), {"_train": training})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=["gcn", "transformer"])
    for option, default in (("spots", 3000), ("genes", 2000), ("ions", 10), ("epochs", 4), ("repeats", 3)):
        parser.add_argument(f"--{option}", type=int, default=default)
    chosen = parser.parse_args()
    paired = st2msi.simulate(n_spots=chosen.spots, n_genes=chosen.genes, ions_per_kind=chosen.ions, seed=1).paired()
    for name in chosen.models:
        found: dict[str, list[tuple[float, float]]] = {}
        model = timed_learner(name, chosen.epochs, chosen.repeats, found)(
            Recipe.model_validate({"model": {"name": name}})
        )
        model.fit(paired)
        seen = model.spots * chosen.epochs
        wall, cpu = ({key: seen / np.min(runs, axis=0)[i] for key, runs in found.items()} for i in (0, 1))
        rows = [
            [key, f"{wall[key]:,.0f}", f"{cpu[key]:,.0f}", "" if key == "ours" else f"{cpu['ours'] / cpu[key]:.2f}×"]
            for key in found
        ]
        title = f"{name}: {model.spots:,} training spots, {len(paired.ions.var):,} ions, best of {chosen.repeats}"
        table(title, ["", "spots / s", "spots / CPU s", "ours / it"], rows)
        verdict(
            f"{name} beside the faster plain loop", cpu["ours"] / max(v for k, v in cpu.items() if k != "ours"), 0.9
        )


if __name__ == "__main__":
    main()
