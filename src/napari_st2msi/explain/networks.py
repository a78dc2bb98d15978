"""Networks: integrated gradients by captum, of all networks of an ensemble or of some."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import ModelProblem
from napari_st2msi.explain.attribution import Part
from napari_st2msi.explain.explainer import Explainer
from napari_st2msi.explain.inputs import Spots
from napari_st2msi.explain.tokens import Tokens
from napari_st2msi.explain.ways import Slopes
from napari_st2msi.progress import check, never

if TYPE_CHECKING:
    import torch
    from anndata import AnnData

    from napari_st2msi.models.deep.learner import NetworkLearner

_STEPS = 32
# Spots × steps that a network is asked for at once.
_AT_ONCE, _FEWER_AT_ONCE = 4096, 512


class NetworkExplainer(Explainer):
    """Networks that see each spot by the features of the design.

    Parameters
    ----------
    learner, genes, spots
        See `Explainer`.
    networks
        Which to explain; None for all that the model averages.
    """

    learner: NetworkLearner

    def __init__(
        self,
        learner: NetworkLearner,
        genes: AnnData,
        spots: Spots = None,
        networks: Sequence[torch.nn.Module] | None = None,
    ) -> None:
        super().__init__(learner, genes, spots)
        self._networks = list(learner.networks_ if networks is None else networks)
        own = genes[self.inputs.asked]
        self._data = learner.data(own, genes, self.features)
        if any(len(seen) != len(self.features) for seen in self._data.values()):
            raise ModelProblem(
                f"The model '{learner.name}' sees spots through others, which cannot be explained by genes yet."
            )
        self._tokens = Tokens(learner, own, genes, spots) if "tokens" in self._data else None

    def method(self, ion: int, part: Part) -> str:
        """Return how contributions are found."""
        return "integrated_gradients"

    def slopes(self, rows: NDArray[np.int64], ion: int, part: Part, cancelled: Callable[[], bool] = never) -> Slopes:
        """Return the mean of the gradient along the straight way from the training mean, by the features alone."""
        return self._gradients(rows, ion, cancelled)[0]

    def contributions(
        self,
        rows: NDArray[np.int64],
        ion: int,
        part: Part,
        deviations: dict[str, NDArray[np.float32]],
        cancelled: Callable[[], bool] = never,
    ) -> dict[str, NDArray[np.float32]]:
        """Return for each band (rows, genes) what genes bring, by features and by tokens."""
        slopes, of_tokens = self._gradients(rows, ion, cancelled)
        brought = {
            name: deviations[name] * self.inputs.to_genes(name, slopes, columns)
            for name, columns in self.inputs.bands.items()
        }
        if self._tokens is not None and of_tokens is not None:
            self._tokens.add_to(brought, rows, of_tokens, self.inputs.names)
        return brought

    def baseline(self, rows: NDArray[np.int64], ion: int, part: Part) -> NDArray[np.floating]:
        """Return what the networks say of the training mean."""
        if part != "prediction":
            return super().baseline(rows, ion, part)
        return self._ask(self.base[rows], rows, None if self._tokens is None else self._tokens.base[rows])[:, ion]

    def without(
        self,
        rows: NDArray[np.int64],
        deviations: dict[str, NDArray[np.float32]],
        genes: NDArray[np.int64],
        part: Part,
    ) -> NDArray[np.floating]:
        """Return (rows, ions) what the networks say with some genes at their training mean, there and around."""
        if self._tokens is None:
            return super().without(rows, deviations, genes, part)
        changes = {name: -values[:, genes] for name, values in deviations.items()}
        tokens = self._tokens.without(rows, self.inputs.names[genes])
        return self._ask(self.inputs.moved(self.features[rows], changes, genes), rows, tokens)

    def _gradients(
        self, rows: NDArray[np.int64], ion: int, cancelled: Callable[[], bool]
    ) -> tuple[Slopes, NDArray[np.floating] | None]:
        import torch
        from captum.attr import IntegratedGradients

        check(cancelled)
        start, end = (self.learner.scaled(place[rows]) for place in (self.base, self.features))
        if not self._networks or ion not in self.learner.columns_:
            return Slopes(np.zeros(end.shape)), None
        ends, starts = [torch.from_numpy(end)], [torch.from_numpy(start)]
        if self._tokens is not None:
            ends.append(self._data["tokens"][rows])
            starts.append(torch.from_numpy(self._tokens.base[rows]))
        engine = IntegratedGradients(self._value_of(ion), multiply_by_inputs=False)
        gradients = engine.attribute(
            tuple(ends),
            tuple(starts),
            additional_forward_args=(torch.from_numpy(rows),),
            n_steps=_STEPS,
            internal_batch_size=max(_AT_ONCE if self._tokens is None else _FEWER_AT_ONCE, len(end)),
        )
        own, *others = (gradient.detach().numpy().astype(np.float64) for gradient in gradients)
        # Networks see features that were centred and scaled.
        zero = np.zeros((1, end.shape[1]), dtype=np.float32)
        per_feature = self.learner.scaled(zero + 1) - self.learner.scaled(zero)
        return Slopes(own * per_feature), others[0] if others else None

    def said(
        self, features: NDArray[np.floating], rows: NDArray[np.int64], part: Part = "prediction"
    ) -> NDArray[np.floating]:
        """Return what the networks say of features in the place of some rows'."""
        if part != "prediction":
            return super().said(features, rows, part)
        return self._ask(features, rows, None)

    def _ask(
        self, features: NDArray[np.floating], rows: NDArray[np.int64], tokens: NDArray[np.float32] | None
    ) -> NDArray[np.floating]:
        import torch

        more = () if tokens is None else (torch.from_numpy(tokens),)
        with torch.no_grad():
            values = self._values(torch.from_numpy(rows), torch.from_numpy(self.learner.scaled(features)), *more)
        return values.numpy().astype(np.float64)

    def _value_of(self, ion: int) -> Callable[..., torch.Tensor]:
        def value(*given: torch.Tensor) -> torch.Tensor:
            *seen, rows = given
            return self._values(rows, *seen)[:, ion]

        return value

    def _values(self, rows: torch.Tensor, features: torch.Tensor, tokens: torch.Tensor | None = None) -> torch.Tensor:
        """Return (n, ions) on the learning scale, as `NetworkLearner` puts networks together, with gradients."""
        import torch

        learner = self.learner
        mean = _tensor(learner.mean_).expand(len(features), -1)
        if not self._networks:
            return mean
        data: dict[str, Any] = {name: seen[rows] for name, seen in self._data.items()}
        if tokens is not None:
            data["tokens"] = tokens
        data["features"], every = features, torch.arange(len(features))
        said = [learner.forward(network, data, every) for network in self._networks]
        guess = torch.stack([intensity for intensity, _ in said]).mean(dim=0)
        chance = torch.stack([torch.sigmoid(odds) for _, odds in said]).mean(dim=0)
        values, presence = mean.clone(), _tensor(learner.share_).expand(len(features), -1).clone()
        columns, mixed = torch.from_numpy(learner.columns_), torch.from_numpy(learner.mixed_)
        values[:, columns] += guess * _tensor(learner.trust_ * learner.spread_[learner.columns_])
        base = _tensor(learner.share_[learner.mixed_])
        presence[:, mixed] = base + _tensor(learner.trust_presence_) * (chance - base)
        partly = torch.from_numpy(learner.partly_)
        return torch.where(partly, values * presence, values)


def _tensor(values: NDArray[np.floating]) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.asarray(values, dtype=np.float32))
