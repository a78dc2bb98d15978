"""What networks are trained to lessen: errors of intensities where an ion is present, and of its presence."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import functional


def intensity_and_presence(
    intensity: torch.Tensor, odds: torch.Tensor, data: Mapping[str, torch.Tensor], rows: torch.Tensor
) -> torch.Tensor:
    """Return the loss of a minibatch: squared error where an ion is present, plus log loss of presence.

    Parameters
    ----------
    intensity, odds
        What a network says of the spots `rows`: (b, k) in standard deviations, (b, m) log odds.
    data
        ``intensity`` (n, k) in standard deviations, ``counts`` (n, k) 1 where the ion is present and 0
        elsewhere; ``present`` (n, m) 0 or 1, for the ions that are in some spots only; ``n_counts``, how
        many ions count in a spot on average.
    """
    missed = ((intensity.float() - data["intensity"][rows]) ** 2 * data["counts"][rows]).sum(dim=1)
    # Per ion in every spot, so that a minibatch counts as the whole does.
    loss = missed.mean() / data["n_counts"]
    if odds.shape[1]:
        loss = loss + functional.binary_cross_entropy_with_logits(odds.float(), data["present"][rows])
    return loss


def unlikelihood(
    intensity: torch.Tensor,
    odds: torch.Tensor,
    log_noise: torch.Tensor,
    data: Mapping[str, torch.Tensor],
    rows: torch.Tensor,
    presence_counts: float = 1.0,
) -> torch.Tensor:
    """Return the negative log likelihood of a minibatch, per ion: Gauss with a noise of its own, and Bernoulli.

    Unlike squared errors it lets ions that can be told exactly count more than ions that are mostly noise
    (Kendall, Gal and Cipolla 2018, arXiv:1705.07115).

    Parameters
    ----------
    intensity, odds, data
        See `intensity_and_presence`.
    log_noise
        (k,) log deviation of each ion's noise, learned.
    presence_counts
        What the log likelihood of presence is multiplied by.
    """
    noise = log_noise.float()
    squares = (intensity.float() - data["intensity"][rows]) ** 2 * torch.exp(-2 * noise)
    missed = (data["counts"][rows] * (0.5 * squares + noise)).sum(dim=1)
    present = data["present"][rows]
    surprise = functional.binary_cross_entropy_with_logits(odds.float(), present, reduction="none").sum(dim=1)
    missed = missed + presence_counts * surprise
    return missed.mean() / data["n_counts"]
