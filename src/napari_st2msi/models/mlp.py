"""The multilayer perceptron on the features of the design."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from napari_st2msi.models.deep.learner import NetworkLearner

if TYPE_CHECKING:
    from napari_st2msi.models.deep.perceptron import Perceptron


class MultilayerPerceptron(NetworkLearner):
    """Residual multilayer perceptrons; see `napari_st2msi.models.deep.perceptron.Perceptron`."""

    name: ClassVar[str] = "mlp"
    spreads: ClassVar[bool] = True
    learns_noise: ClassVar[bool] = True
    # Counted once, presence was told worse than with squared errors.
    presence_counts: ClassVar[float] = 2.0
    assumes: ClassVar[str] = (
        "Ions follow the genes of the spot and around it, also where genes act together; many spots tell how."
    )

    def _network(self, n_features: int) -> Perceptron:
        from napari_st2msi.models.deep.perceptron import Perceptron

        choices = self.recipe.model
        return Perceptron(
            n_features,
            len(self.columns_),
            len(self.mixed_),
            width=choices.width,
            depth=choices.depth,
            dropout=choices.dropout,
        )
