"""Networks of one output each, trained side by side."""

from __future__ import annotations

import torch
from torch import nn


class SideBySide(nn.Module):
    """A perceptron of its own for each target: a linear map and a few hidden units that no other target shares.

    What each learns does not depend on the others; in one network all are trained in the same matrix products.

    Parameters
    ----------
    n_features, n_targets
        Columns in and out.
    width
        Hidden units of each.
    dropout
        The share of hidden units left out in training.
    """

    def __init__(self, n_features: int, n_targets: int, *, width: int, dropout: float) -> None:
        super().__init__()
        self.straight = nn.Linear(n_features, n_targets)
        self.hidden = nn.Sequential(nn.Linear(n_features, n_targets * width), nn.GELU(), nn.Dropout(dropout))
        self.outlet = nn.Parameter(0.01 * torch.randn(n_targets, width))
        nn.init.zeros_(self.straight.weight)
        nn.init.zeros_(self.straight.bias)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (n, targets), and nothing of presence, as `Perceptron` returns two."""
        own = self.hidden(features).unflatten(1, self.outlet.shape)
        said = self.straight(features) + (own * self.outlet).sum(dim=2)
        return said, said[:, :0]
