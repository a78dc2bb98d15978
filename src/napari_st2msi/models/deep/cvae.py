"""The conditional variational autoencoder, and the bound it is trained with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from napari_st2msi.models.deep.loss import unlikelihood
from napari_st2msi.models.deep.perceptron import Block

#: Steps over which the divergence comes to count in full (Bowman et al. 2016, arXiv:1511.06349).
WARM_UP = 200
# Log variances stay where exponentials are harmless.
_LOG_VARIANCE = (-8.0, 4.0)


class Drawn(NamedTuple):
    """What a pass in training says of a minibatch.

    Attributes
    ----------
    intensity, odds
        Intensities (b, k) and log odds (b, m) from a draw of q(z|x, y).
    divergence
        (b,) of q from p, in nats.
    log_noise
        (k,) log deviation of what the latent variables leave of an intensity.
    warmth
        How far the divergence counts at this step, 0 to 1.
    """

    intensity: torch.Tensor
    odds: torch.Tensor
    divergence: torch.Tensor
    log_noise: torch.Tensor
    warmth: torch.Tensor


class ConditionalAutoencoder(nn.Module):
    """Ions as a distribution: latent variables z say what genes leave open, and what ions share in it.

    A prior p(z|x) sees the features x, a recogniser q(z|x, y) the ions y as well, and a decoder p(y|x, z)
    says the ions (Sohn, Lee and Yan 2015, "Learning structured output representation using deep
    conditional generative models", NeurIPS 28). The recogniser says how it deviates from the prior.

    Parameters
    ----------
    n_features, n_intensities, n_presences
        Columns in, and the two groups of columns out.
    width, depth, dropout
        Of the hidden layers; how many residual blocks; the share of hidden units left out in training.
    n_latent
        Latent variables.
    n_draws
        How many draws of the prior a prediction averages. They are the same for every spot and every
        call, and come in pairs of opposite sign, so that a prediction is a function of the features.
    """

    draws: torch.Tensor
    taken: torch.Tensor

    def __init__(
        self,
        n_features: int,
        n_intensities: int,
        n_presences: int,
        *,
        width: int,
        depth: int,
        dropout: float,
        n_latent: int,
        n_draws: int,
    ) -> None:
        super().__init__()
        self.n_intensities = n_intensities
        n_out = n_intensities + n_presences
        self.straight = nn.Linear(n_features, n_out)
        self.trunk = nn.Sequential(
            nn.Dropout(dropout / 2),
            nn.Linear(n_features, width),
            nn.GELU(),
            nn.Dropout(dropout),
            *(Block(width, dropout) for _ in range(depth)),
            nn.LayerNorm(width),
        )
        self.prior = nn.Linear(width, 2 * n_latent)
        self.recogniser = nn.Sequential(
            nn.Linear(width + n_out, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, 2 * n_latent)
        )
        self.inlet = nn.Linear(width, width)
        self.latent = nn.Linear(n_latent, width, bias=False)
        self.outlet = nn.Linear(width, n_out, bias=False)
        self.log_noise = nn.Parameter(torch.zeros(n_intensities))
        # At first the mean is predicted, and ions tell nothing that genes do not.
        for layer in (self.straight, self.prior):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.outlet.weight, std=0.01)
        half = np.random.default_rng(0).standard_normal((max((n_draws + 1) // 2, 1), n_latent))
        draws = torch.from_numpy(np.concatenate([half, -half]).astype(np.float32))
        self.register_buffer("draws", draws, persistent=False)
        self.register_buffer("taken", torch.zeros(()))

    def forward(
        self, features: torch.Tensor, intensity: torch.Tensor | None = None, present: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor] | Drawn:
        """Return the expected intensities and log odds, or in training what `conditional_bound` needs.

        Parameters
        ----------
        features
            (n, features)
        intensity, present
            (n, k) and (n, m) measured, in training: the recogniser sees them.
        """
        hidden = self.trunk(features)
        straight, inlet = self.straight(features), self.inlet(hidden)
        mean, log_variance = self._gauss(self.prior(hidden))
        if intensity is None or present is None:
            return self._expected(straight, inlet, mean, log_variance)
        more, wider = self.recogniser(torch.cat([hidden, intensity, present], dim=1)).chunk(2, dim=1)
        wider = wider.clamp(*_LOG_VARIANCE)
        divergence = 0.5 * (wider.exp() + more**2 / log_variance.exp() - 1 - wider).sum(dim=1)
        latent = mean + more + (0.5 * (log_variance + wider)).exp() * torch.randn_like(mean)
        said, odds = self._decoded(straight, inlet, latent)
        warmth = ((self.taken + 1) / WARM_UP).clamp(max=1)
        self.taken += 1
        return Drawn(said, odds, divergence, self.log_noise, warmth)

    def deviation(self, features: torch.Tensor) -> torch.Tensor:
        """Return (n, k) standard deviations of intensities: over the draws, and of what they leave."""
        hidden = self.trunk(features)
        straight, inlet = self.straight(features), self.inlet(hidden)
        mean, log_variance = self._gauss(self.prior(hidden))
        total = torch.zeros_like(straight[:, : self.n_intensities])
        square = torch.zeros_like(total)
        for draw in self.draws:
            said, _ = self._decoded(torch.zeros_like(straight), inlet, mean + (0.5 * log_variance).exp() * draw)
            total, square = total + said, square + said**2
        between = (square / len(self.draws) - (total / len(self.draws)) ** 2).clamp(min=0)
        return (between + (2 * self.log_noise).exp()).sqrt()

    def _expected(
        self, straight: torch.Tensor, inlet: torch.Tensor, mean: torch.Tensor, log_variance: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean over the draws: of intensities, and of probabilities as log odds."""
        intensity = torch.zeros_like(straight[:, : self.n_intensities])
        chance = torch.zeros_like(straight[:, self.n_intensities :])
        for draw in self.draws:
            said, odds = self._decoded(straight, inlet, mean + (0.5 * log_variance).exp() * draw)
            intensity, chance = intensity + said, chance + torch.sigmoid(odds)
        return intensity / len(self.draws), torch.logit(chance / len(self.draws), eps=1e-6)

    def _decoded(
        self, straight: torch.Tensor, inlet: torch.Tensor, latent: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        out = straight + self.outlet(functional.gelu(inlet + self.latent(latent)))
        return out[:, : self.n_intensities], out[:, self.n_intensities :]

    def _gauss(self, both: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, log_variance = both.chunk(2, dim=1)
        return mean, log_variance.clamp(*_LOG_VARIANCE)


def conditional_bound(drawn: Drawn, data: Mapping[str, torch.Tensor], rows: torch.Tensor) -> Any:
    """Return the loss of a minibatch in training, per ion: −log p(y|x, z) + KL(q‖p), with z drawn from q.

    Parameters
    ----------
    data
        See `napari_st2msi.models.deep.loss.intensity_and_presence`.
    """
    missed = unlikelihood(drawn.intensity, drawn.odds, drawn.log_noise, data, rows)
    return missed + drawn.warmth * drawn.divergence.float().mean() / data["n_counts"]
