"""The transformer: ions ask, tokens of genes or pathways answer.

Queries are ions, each a learned vector plus sinusoids of its m/z, as the transformer that sequences peptides
encodes peaks (Casanovo, Yilmaz et al. 2022, PMLR 162:25514). They read tokens by softmax cross-attention
(Vaswani et al. 2017, arXiv:1706.03762) or, without a map of who read what, from a summary of all tokens
(SummaryMixing, Parcollet et al. 2023, arXiv:2307.07421), one of the replacements of attention whose time is
linear (Katharopoulos et al. 2020, arXiv:2006.16236).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional

#: Wavelengths of the sinusoids of m/z: from a hundredth to a few thousand.
WAVELENGTHS = (0.01, 4000.0)
#: How many of them there are.
N_WAVES = 16
#: How often in training an ion is asked for by its m/z alone.
_FORGET = 0.1


def sinusoids(mz: torch.Tensor) -> torch.Tensor:
    """Return (ions, 2 · `N_WAVES`) sine and cosine of m/z at wavelengths in geometric progression; 0 for NaN."""
    first, last = WAVELENGTHS
    waves = first * (last / first) ** (torch.arange(N_WAVES, dtype=torch.float64) / (N_WAVES - 1))
    angle = 2 * math.pi * mz.double()[:, None] / waves
    return torch.nan_to_num(torch.cat([angle.sin(), angle.cos()], dim=1), nan=0.0).float()


class Attention(nn.Module):
    """Queries read tokens by softmax cross-attention in a few heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)

    def forward(self, asked: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Return (b, ions, width) what queries (b, ions, width) read from tokens (b, tokens, width).

        No (ions, tokens) matrix is kept: torch computes the product in tiles.
        """
        query, key, value = self._split(asked, tokens)
        read = functional.scaled_dot_product_attention(query, key, value)
        mixed: torch.Tensor = self.out(read.transpose(1, 2).flatten(2))
        return mixed

    def weights(self, asked: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Return (b, ions, tokens) how much each query reads from each token, the mean over heads; rows sum to 1."""
        query, key, _ = self._split(asked, tokens)
        return (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).softmax(dim=-1).mean(dim=1)

    def _split(self, asked: torch.Tensor, tokens: torch.Tensor) -> list[torch.Tensor]:
        parts = [self.query(asked), *self.key_value(tokens).chunk(2, dim=-1)]
        return [part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts]


class Summary(nn.Module):
    """Queries read what all tokens say on average: time grows with tokens plus ions, and there is no map."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.said = nn.Sequential(nn.Linear(width, width), nn.GELU())
        self.asked, self.mixed = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, asked: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Return (b, ions, width) what queries (b, ions, width) make of the mean over tokens (b, tokens, width)."""
        summary = self.mixed(self.said(tokens).mean(dim=1, keepdim=True))
        made: torch.Tensor = self.out(functional.gelu(self.asked(asked) + summary))
        return made


class Layer(nn.Module):
    """Queries read tokens, then think by themselves; both are added to what they were (pre-norm)."""

    def __init__(self, read: Attention | Summary, width: int, dropout: float) -> None:
        super().__init__()
        self.read, self.dropout = read, dropout
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.widen, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, queries: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Return queries (b, ions, width) after reading tokens (b, tokens, width)."""
        queries = queries + self._dropped(self.read(self.before(queries), tokens))
        thought: torch.Tensor = self.narrow(self._dropped(functional.gelu(self.widen(self.between(queries)))))
        return queries + thought

    def _dropped(self, values: torch.Tensor) -> torch.Tensor:
        """Leave out units in training: the same ones for all ions of a spot, as drawing takes long."""
        if not self.training or not self.dropout:
            return values
        kept = values.new_empty(len(values), 1, values.shape[2]).bernoulli_(1 - self.dropout)
        return values * (kept / (1 - self.dropout))


class Transformer(nn.Module):
    """Ions that read tokens of genes.

    A token is a learned vector of its gene plus another one times what the spot says of the gene: its
    expression in the spot and around it, and whether it is in the signature of the spot's cluster. Where the
    spot is, in the space of all genes, is added to every query, so that which genes an ion reads may depend
    on it; and each ion of training has a linear map of it beside (as the multilayer perceptron has).

    Parameters
    ----------
    n_features
        Features of a spot's place.
    n_tokens, n_channels
        Tokens, and how many numbers the spot says of each.
    mz
        (ions,) m/z of the ions learned, NaN where unknown.
    mixed
        Which of the ions have a presence, too.
    width, heads, depth, dropout
        Of the vectors; how many read side by side; how many layers; the share of units left out in training.
    map_less
        Whether queries read a summary of the tokens instead of attending to them.
    """

    def __init__(
        self,
        n_features: int,
        n_tokens: int,
        n_channels: int,
        mz: torch.Tensor,
        mixed: torch.Tensor,
        *,
        width: int,
        heads: int,
        depth: int,
        dropout: float,
        map_less: bool = False,
    ) -> None:
        super().__init__()
        n_ions = len(mz)
        self.gene = nn.Parameter(0.5 * torch.randn(n_tokens, width))
        self.said = nn.Parameter(0.5 * torch.randn(n_tokens, width))
        self.channel = nn.Parameter(torch.cat([torch.ones(1, width), 0.3 * torch.randn(n_channels - 1, width)]))
        self.ion = nn.Parameter(0.5 * torch.randn(n_ions, width))
        self.mass = nn.Linear(2 * N_WAVES, width, bias=False)
        nn.init.normal_(self.mass.weight, std=0.02)
        self.place = nn.Sequential(
            nn.Dropout(dropout / 2),
            nn.Linear(n_features, 8 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(8 * width, width),
        )
        read = Summary if map_less else Attention
        self.layers = nn.ModuleList([Layer(read(width, heads), width, dropout) for _ in range(depth)])
        self.heads = nn.ModuleList([nn.Linear(width, width + 1) for _ in range(2)])
        self.straight = nn.Linear(n_features, n_ions + len(mixed))
        for start in (*self.heads, self.straight):  # at first the mean is predicted
            nn.init.normal_(start.weight, std=0.02 if start in self.heads else 0.0)
            nn.init.zeros_(start.bias)
        self.waves: torch.Tensor
        self.mixed: torch.Tensor
        self.register_buffer("waves", sinusoids(mz), persistent=False)
        self.register_buffer("mixed", mixed, persistent=False)

    def forward(self, features: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (b, ions) intensities in standard deviations and (b, mixed) log odds of presence.

        Parameters
        ----------
        features, tokens
            (b, n_features) and (b, n_tokens, n_channels).
        """
        queries = self._queries()
        read = self.read(queries, features, tokens)
        straight = self.straight(features)
        intensity = _answer(self.heads[0], queries, read) + straight[:, : len(queries)]
        odds = _answer(self.heads[1], queries[self.mixed], read[:, self.mixed]) + straight[:, len(queries) :]
        return intensity, odds

    def unseen(self, mz: torch.Tensor, features: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Return (b, ions) intensities, in standard deviations, of ions known by their m/z alone."""
        queries = self.mass(sinusoids(mz))
        return _answer(self.heads[0], queries, self.read(queries, features, tokens))

    def attention(self, ions: torch.Tensor, features: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Return (b, ions, tokens) how much chosen ions read from each token, the mean over heads and layers."""
        weights: list[torch.Tensor] = []
        self.read(self._queries()[ions], features, tokens, weights)
        return torch.stack(weights).mean(dim=0)

    def read(
        self,
        queries: torch.Tensor,
        features: torch.Tensor,
        tokens: torch.Tensor,
        weights: list[torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Return (b, ions, width) what queries (ions, width) are after all layers; fill `weights` by layer."""
        said = self.gene + self.said * (tokens @ self.channel)
        asked: torch.Tensor = queries + self.place(features)[:, None]
        for layer in self.layers:
            assert isinstance(layer, Layer)
            if weights is not None:
                assert isinstance(layer.read, Attention)
                weights.append(layer.read.weights(layer.before(asked), said))
            asked = layer(asked, said)
        return asked

    def _queries(self) -> torch.Tensor:
        own: torch.Tensor = self.ion
        if self.training:
            own = own * (torch.rand(len(own), 1, device=own.device) >= _FORGET)
        queries: torch.Tensor = own + self.mass(self.waves)
        return queries


def _answer(head: Any, queries: torch.Tensor, read: torch.Tensor) -> torch.Tensor:
    """Return (b, ions): each ion looks at what it read in its own way, which follows from its query."""
    how = head(queries)
    return (read * how[:, :-1]).sum(dim=-1) + how[:, -1]
