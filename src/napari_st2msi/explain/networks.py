"""Networks: integrated gradients by captum, of all networks of an ensemble together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.explain.attribution import Part, relative_gap
from napari_st2msi.explain.converge import converged
from napari_st2msi.explain.explainer import FeatureExplainer
from napari_st2msi.explain.inputs import Spots
from napari_st2msi.explain.tokens import Tokens
from napari_st2msi.explain.ways import Slopes
from napari_st2msi.progress import check

if TYPE_CHECKING:
    import torch
    from anndata import AnnData

    from napari_st2msi.models.deep.learner import NetworkLearner

# Spots × steps that a network is asked for at once.
_AT_ONCE, _FEWER_AT_ONCE = 4096, 512


class NetworkExplainer(FeatureExplainer):
    """Networks that see each spot by the features of the design, and by tokens where they have any."""

    learner: NetworkLearner

    def __init__(self, learner: NetworkLearner, genes: AnnData, spots: Spots = None) -> None:
        super().__init__(learner, genes, spots)
        own = genes[self.inputs.asked]
        self._data = learner.data(own, genes, self.features)
        self._tokens = Tokens(learner, own, genes, spots) if "tokens" in self._data else None

    def method(self, ion: int, part: Part) -> str:
        """Return how contributions are found."""
        return "integrated_gradients"

    def brought(
        self,
        rows: NDArray[np.int64],
        ion: int,
        part: Part,
        deviations: Mapping[str, NDArray[np.float32]],
        cancelled: Callable[[], bool],
    ) -> dict[str, NDArray[np.float32]]:
        """Return for each band (rows, genes) what genes bring, by features and by tokens."""
        self.must_be_whole(part)
        slopes, of_tokens = self._gradients(rows, ion, cancelled)
        bands = self.by_features(slopes, deviations)
        if self._tokens is not None and of_tokens is not None:
            self._tokens.add_to(bands, rows, of_tokens, self.inputs.names)
        return bands

    def predicted(self, rows: NDArray[np.int64], part: Part) -> NDArray[np.floating]:
        """Return what the networks say."""
        self.must_be_whole(part)
        return said_of(self.learner, self._data, rows)

    def baseline(self, rows: NDArray[np.int64], ion: int, part: Part) -> NDArray[np.floating]:
        """Return what the networks say of the training mean."""
        self.must_be_whole(part)
        tokens = None if self._tokens is None else self._tokens.base[rows]
        return self._said(rows, self.base[rows], tokens)[:, ion]

    def without(self, rows: NDArray[np.int64], part: Part) -> Callable[[NDArray[np.int64]], NDArray[np.floating]]:
        """Return what tells what the networks say with some genes at their training mean, there and around."""
        self.must_be_whole(part)
        deviations = self.inputs.deviations(rows)

        def said(genes: NDArray[np.int64]) -> NDArray[np.floating]:
            changes = {name: -values[:, genes] for name, values in deviations.items()}
            tokens = None if self._tokens is None else self._tokens.without(rows, self.inputs.names[genes])
            return self._said(rows, self.inputs.moved(self.features[rows], changes, genes), tokens)

        return said

    def _gradients(
        self, rows: NDArray[np.int64], ion: int, cancelled: Callable[[], bool]
    ) -> tuple[Slopes, NDArray[np.floating] | None]:
        import torch

        check(cancelled)
        start, end = (torch.from_numpy(self.learner.scaled(place[rows])) for place in (self.base, self.features))
        if not self.learner.networks_ or ion not in self.learner.columns_:
            return Slopes(np.zeros(end.shape)), None
        ends, starts = [end], [start]
        if self._tokens is not None:
            ends.append(self._data["tokens"][rows])
            starts.append(torch.from_numpy(self._tokens.base[rows]))

        def value(*given: torch.Tensor) -> torch.Tensor:
            *seen, which = given
            data = self._of(which.numpy(), *seen)
            return values_of(self.learner, data, torch.arange(len(which)))[:, ion]

        at_once = max(_AT_ONCE if self._tokens is None else _FEWER_AT_ONCE, len(end))
        own, *others = mean_gradients(value, starts, ends, at_once, np.arange(len(rows)), torch.from_numpy(rows))
        return Slopes(own * per_feature(self.learner)), others[0] if others else None

    def _said(
        self, rows: NDArray[np.int64], features: NDArray[np.floating], tokens: NDArray[np.float32] | None
    ) -> NDArray[np.floating]:
        """Return what the networks say of features, and tokens, in the place of some rows'."""
        import torch

        given = [self.learner.scaled(features), *([] if tokens is None else [tokens])]
        return said_of(self.learner, self._of(rows, *map(torch.from_numpy, given)), np.arange(len(rows)))

    def _of(
        self, rows: NDArray[np.int64], features: torch.Tensor, tokens: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Return what the networks see of some rows, with other features and tokens."""
        data = {name: seen[rows] for name, seen in self._data.items() if name not in ("features", "tokens")}
        data["features"] = features
        if tokens is not None:
            data["tokens"] = tokens
        return data


def with_networks(learner: NetworkLearner, networks: Sequence[torch.nn.Module]) -> NetworkLearner:
    """Return the model as if it had other networks, which may be some of its own."""
    changed = copy(learner)
    changed.networks_ = list(networks)
    return changed


def per_feature(learner: NetworkLearner) -> NDArray[np.float32]:
    """Return (1, features) how steep what networks see is in the features of the design."""
    zero = np.zeros((1, len(learner.centre_)), dtype=np.float32)
    return learner.scaled(zero + 1) - learner.scaled(zero)


def mean_gradients(
    value: Callable[..., torch.Tensor],
    starts: Sequence[torch.Tensor],
    ends: Sequence[torch.Tensor],
    at_once: int,
    owner: NDArray[np.int64],
    *given: torch.Tensor,
) -> list[NDArray[np.float64]]:
    """Return for each input the mean gradient of the sum of values on the straight way from start to end.

    Parameters
    ----------
    value
        Takes inputs, and what else is given, and returns a value for each owner of rows.
    at_once
        How many rows are asked for at once; not fewer than there are.
    owner
        (rows,) of which value each row has a say in.
    """
    import torch
    from captum.attr import IntegratedGradients

    engine = IntegratedGradients(value, multiply_by_inputs=False)
    with torch.no_grad():
        change = (value(*ends, *given) - value(*starts, *given)).numpy().astype(np.float64)
    differences = [(end - start).flatten(1).numpy() for start, end in zip(starts, ends, strict=True)]

    def integral(steps: int) -> list[NDArray[np.float64]]:
        found = engine.attribute(
            tuple(ends),
            tuple(starts),
            additional_forward_args=given or None,
            n_steps=steps,
            internal_batch_size=at_once,
        )
        return [gradient.detach().numpy().astype(np.float64) for gradient in found]

    def left(found: list[NDArray[np.float64]]) -> float:
        brought = np.zeros(len(change))
        for gradient, difference in zip(found, differences, strict=True):
            flat = gradient.reshape(len(difference), -1)
            np.add.at(brought, owner, np.einsum("nf,nf->n", flat, difference))
        return relative_gap(change - brought, change)

    return converged(integral, left)


def said_of(learner: NetworkLearner, data: Mapping[str, Any], rows: NDArray[np.int64]) -> NDArray[np.floating]:
    """Return (rows, ions) on the learning scale, without gradients; see `values_of`."""
    import torch

    with torch.no_grad():
        return values_of(learner, data, torch.from_numpy(rows)).numpy().astype(np.float64)


def values_of(learner: NetworkLearner, data: Mapping[str, Any], rows: torch.Tensor) -> torch.Tensor:
    """Return (rows, ions) on the learning scale, as `NetworkLearner` puts networks together, with gradients."""
    import torch

    mean = _tensor(learner.mean_).expand(len(rows), -1)
    if not learner.networks_:
        return mean
    said = [learner.forward(network, data, rows) for network in learner.networks_]
    guess = torch.stack([intensity for intensity, _ in said]).mean(dim=0)
    chance = torch.stack([torch.sigmoid(odds) for _, odds in said]).mean(dim=0)
    values, presence = mean.clone(), _tensor(learner.share_).expand(len(rows), -1).clone()
    columns, mixed = torch.from_numpy(learner.columns_), torch.from_numpy(learner.mixed_)
    values[:, columns] += guess * _tensor(learner.trust_ * learner.spread_[learner.columns_])
    base = _tensor(learner.share_[learner.mixed_])
    presence[:, mixed] = base + _tensor(learner.trust_presence_) * (chance - base)
    partly = torch.from_numpy(learner.partly_)
    return torch.where(partly, values * presence, values)


def _tensor(values: NDArray[np.floating]) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.asarray(values, dtype=np.float32))
