"""The conditional variational autoencoder: ions as a distribution given genes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.models.deep.learner import NetworkLearner
from napari_st2msi.models.learner import pieces

if TYPE_CHECKING:
    import torch
    from anndata import AnnData

    from napari_st2msi.models.deep.cvae import ConditionalAutoencoder


class ConditionalVariational(NetworkLearner):
    """Conditional variational autoencoder (Sohn, Lee and Yan 2015, NeurIPS 28).

    What it predicts is the expectation over many draws of its latent variables given the genes, the same
    draws at every call. Layer `std` holds the standard deviation of its distribution.
    """

    name: ClassVar[str] = "cvae"
    assumes: ClassVar[str] = (
        "Genes leave open what ions are, and what they leave open, many ions share: a few hidden causes."
    )

    def predict(self, genes: AnnData, *, context: AnnData | None = None) -> AnnData:
        """Predict; see `Learner.predict`.

        Layer `std`, (spots, ions) in the units of the intensities, is half of what lies between one
        standard deviation below and above the mean, on the learning scale, where the ion is present; of
        an ion that is not learned it is the deviation over training spots.
        """
        table = super().predict(genes, context=context)
        data = self.data(genes, context, self.features(genes, context))
        middle = self.ions_.compress(table.X)
        std = np.empty(table.shape, dtype=np.float32)
        for rows in pieces(genes.n_obs):
            spread = self._deviation(data, rows)
            std[rows] = 0.5 * (self.ions_.inverse(middle[rows] + spread) - self.ions_.inverse(middle[rows] - spread))
        table.layers["std"] = std
        return table

    def _deviation(self, data: Mapping[str, torch.Tensor], rows: slice) -> NDArray[np.float64]:
        import torch

        spread = np.tile(np.where(self.share_ > 0, self.spread_, 0.0), (rows.stop - rows.start, 1))
        if self.networks_:
            with torch.no_grad():
                said = [
                    cast("ConditionalAutoencoder", network).deviation(self._seen(network, data, rows)).numpy()
                    for network in self.networks_
                ]
            spread[:, self.columns_] *= np.sqrt(np.mean(np.square(said), axis=0, dtype=np.float64))
        return spread

    def _loss(self, network: Any, data: Mapping[str, torch.Tensor], rows: torch.Tensor) -> torch.Tensor:
        from napari_st2msi.models.deep.cvae import conditional_bound

        if not network.training:  # judged as it predicts
            return super()._loss(network, data, rows)
        said = network(self._seen(network, data, rows), data["intensity"][rows], data["present"][rows])
        return conditional_bound(said, data, rows)

    def _network(self, n_features: int) -> ConditionalAutoencoder:
        from napari_st2msi.models.deep.cvae import ConditionalAutoencoder

        choices = self.recipe.model
        return ConditionalAutoencoder(
            n_features,
            len(self.columns_),
            len(self.mixed_),
            width=choices.width,
            depth=choices.depth,
            dropout=choices.dropout,
            n_latent=choices.n_latent,
            n_draws=choices.n_draws,
        )
