"""The residual multilayer perceptron."""

from __future__ import annotations

import torch
from torch import nn


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
        #: (n_intensities,) log deviation of what is not told of each ion, for the loss.
        self.log_noise = nn.Parameter(torch.zeros(n_intensities))
        # At first the mean is predicted.
        nn.init.zeros_(self.straight.weight)
        nn.init.zeros_(self.straight.bias)
        nn.init.normal_(self.outlet.weight, std=0.01)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (n, intensities) in standard deviations and (n, presences) log odds."""
        out = self.straight(features) + self.outlet(self.blocks(features))
        return out[:, : self.n_intensities], out[:, self.n_intensities :]
