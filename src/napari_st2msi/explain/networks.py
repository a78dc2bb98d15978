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
from napari_st2msi.explain.ways import Slopes
from napari_st2msi.progress import check, never

if TYPE_CHECKING:
    import torch
    from anndata import AnnData

    from napari_st2msi.models.deep.learner import NetworkLearner

_STEPS = 32
# Spots × steps that a network is asked for at once.
_AT_ONCE = 4096


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
        self._extras = learner._extras(genes[self.inputs.asked], genes, self.features)
        if any(len(extra) != len(self.features) for extra in self._extras.values()):
            raise ModelProblem(
                f"The model '{learner.name}' sees spots through others, which cannot be explained by genes yet."
            )

    def method(self, ion: int, part: Part) -> str:
        """Return how contributions are found."""
        return "integrated_gradients"

    def slopes(self, rows: NDArray[np.int64], ion: int, part: Part, cancelled: Callable[[], bool] = never) -> Slopes:
        """Return the mean of the gradient along the straight way from the training mean."""
        import torch
        from captum.attr import IntegratedGradients

        check(cancelled)
        start, end = (self.learner._scaled(place[rows]) for place in (self.base, self.features))
        if not self._networks or ion not in self.learner.columns_:
            return Slopes(np.zeros(end.shape))
        engine = IntegratedGradients(self._value_of(ion), multiply_by_inputs=False)
        gradient = engine.attribute(
            torch.from_numpy(end),
            torch.from_numpy(start),
            additional_forward_args=(torch.from_numpy(rows),),
            n_steps=_STEPS,
            internal_batch_size=max(_AT_ONCE, len(end)),
        )
        # Networks see features that were centred and scaled.
        zero = np.zeros((1, end.shape[1]), dtype=np.float32)
        per_feature = self.learner._scaled(zero + 1) - self.learner._scaled(zero)
        return Slopes(gradient.detach().numpy().astype(np.float64) * per_feature)

    def said(
        self, features: NDArray[np.floating], rows: NDArray[np.int64], part: Part = "prediction"
    ) -> NDArray[np.floating]:
        """Return what the networks say of features in the place of some rows'."""
        if part != "prediction":
            return super().said(features, rows, part)
        import torch

        with torch.no_grad():
            values = self._values(torch.from_numpy(self.learner._scaled(features)), torch.from_numpy(rows))
        return values.numpy().astype(np.float64)

    def _value_of(self, ion: int) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        def value(features: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
            return self._values(features, rows)[:, ion]

        return value

    def _values(self, features: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Return (n, ions) on the learning scale, as `NetworkLearner` puts networks together, with gradients."""
        import torch

        learner = self.learner
        mean = _tensor(learner.mean_).expand(len(features), -1)
        if not self._networks:
            return mean
        data: dict[str, Any] = {name: extra[rows] for name, extra in self._extras.items()}
        data["features"], every = features, torch.arange(len(features))
        said = [learner._forward(network, data, every) for network in self._networks]
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
