"""The residual multilayer perceptron, and the loss of intensities and presence together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Normalise, widen, drop, narrow, and add to what came in (pre-norm residual block)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, width)
        )

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return (n, width) from (n, width)."""
        return hidden + self.body(hidden)


class Perceptron(nn.Module):
    """A linear map of the features plus what residual blocks add to it.

    Residual blocks on tables as in Gorishniy et al. 2021, arXiv:2106.11959; the linear map beside them
    leaves to the blocks what is not linear.

    Parameters
    ----------
    n_features, n_intensities, n_presences
        Columns in, and the two groups of columns out.
    width, depth, dropout
        Of the hidden layers; how many blocks; the share of hidden units and features left out in training.
    """

    def __init__(
        self, n_features: int, n_intensities: int, n_presences: int, *, width: int, depth: int, dropout: float
    ) -> None:
        super().__init__()
        self.n_intensities = n_intensities
        n_out = n_intensities + n_presences
        self.straight = nn.Linear(n_features, n_out)
        self.blocks = nn.Sequential(
            nn.Dropout(dropout / 2),
            nn.Linear(n_features, width),
            nn.GELU(),
            nn.Dropout(dropout),
            *(Block(width, dropout) for _ in range(depth)),
            nn.LayerNorm(width),
        )
        self.outlet = nn.Linear(width, n_out, bias=False)
        # At first the mean is predicted.
        nn.init.zeros_(self.straight.weight)
        nn.init.zeros_(self.straight.bias)
        nn.init.normal_(self.outlet.weight, std=0.01)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (n, intensities) in standard deviations and (n, presences) log odds."""
        out = self.straight(features) + self.outlet(self.blocks(features))
        return out[:, : self.n_intensities], out[:, self.n_intensities :]


def intensity_and_presence(network: Any, data: Mapping[str, torch.Tensor], rows: torch.Tensor) -> torch.Tensor:
    """Return the loss of a minibatch: squared error where an ion is present, plus log loss of presence.

    Parameters
    ----------
    data
        ``features`` (n, p); ``intensity`` (n, k) in standard deviations, ``counts`` (n, k) 1 where the
        ion is present and 0 elsewhere; ``present`` (n, m) 0 or 1, for the ions that are in some spots only.
    """
    intensity, odds = network(data["features"][rows])
    counts = data["counts"][rows]
    missed = ((intensity.float() - data["intensity"][rows]) ** 2 * counts).sum(dim=1)
    # Per ion in every spot, so that a minibatch counts as the whole does.
    loss = missed.mean() / data["n_counts"]
    if odds.shape[1]:
        loss = loss + functional.binary_cross_entropy_with_logits(odds.float(), data["present"][rows])
    return loss
