"""The two-stage baseline: is an ion present, and how intense is it where it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from napari_st2msi.errors import ModelProblem
from napari_st2msi.features.design import Design
from napari_st2msi.features.ions import IonScale
from napari_st2msi.models.arrays import linear_arrays, linear_from, part, prefixed
from napari_st2msi.models.base import Predictor, prediction
from napari_st2msi.models.inputs import inputs_of
from napari_st2msi.models.presence import fit_presence
from napari_st2msi.models.ridge import fit_ridge
from napari_st2msi.paired import PairedDataset, dense
from napari_st2msi.progress import Progress, never

if TYPE_CHECKING:
    from anndata import AnnData

LEAST_SPOTS = 10
_PRESENCE_PENALTIES = 8
_ROWS = 4096


class TwoStage(Predictor):
    """Presence by logistic regression, intensity by ridge where the ion is present.

    Both stages are linear in the features of the design, and each ion has penalties of its own.
    ``recipe.model.combine`` puts the stages together on the learning scale: the product is the expected
    value, the mask keeps the intensity where presence is likely.

    Attributes
    ----------
    design_, ions_
        The fitted features and scales.
    presence_, intensity_
        The fitted maps; see `napari_st2msi.models.ridge.Linear`.
    """

    name: ClassVar[str] = "two_stage"
    assumes: ClassVar[str] = "Log odds of presence and log intensity are linear in the genes of the spot and around it."

    def fit(
        self,
        train: PairedDataset,
        *,
        context: AnnData | None = None,
        validation: PairedDataset | None = None,
        progress: Progress = Progress(),
        cancelled: Callable[[], bool] = never,
    ) -> Self:
        """Fit on training spots; `validation` is not needed and not looked at."""
        if len(train) < LEAST_SPOTS:
            raise ModelProblem(
                f"A model needs at least {LEAST_SPOTS} spots with genes and ions, and here are {len(train)}."
            )
        progress(0.0, "genes")
        choices = self.recipe.model
        self.ions_ = IonScale(self.recipe.ions).fit(train.ions)
        values = self.ions_.forward(train.ions)
        self.design_ = Design(self.recipe.genes)
        inputs = inputs_of(self.design_, train, values, context, cancelled)
        present = dense(train.ions.X) > 0
        # An ion in too few spots gets its mean in both stages. One missing from too few to learn that
        # from counts as present everywhere, and its zeros as intensities.
        learned = self.ions_.learnable_
        present |= len(train) - self.ions_.n_present_ < self.recipe.ions.min_spots
        alphas = np.geomspace(*choices.alphas, choices.n_alphas)
        self.presence_ = fit_presence(
            inputs.features,
            present,
            np.geomspace(*choices.alphas, _PRESENCE_PENALTIES),
            inputs.folds,
            learned=learned,
            progress=progress.part(0.05, 0.6),
            cancelled=cancelled,
        )
        self.intensity_ = fit_ridge(
            inputs.features,
            values,
            alphas,
            inputs.folds,
            present=present,
            learned=learned,
            progress=progress.part(0.6, 1.0),
            cancelled=cancelled,
        )
        return self

    def predict(self, genes: AnnData, *, context: AnnData | None = None) -> AnnData:
        """Predict; layer `presence` holds the probability that an ion is present."""
        features = self.design_.transform(genes, context)
        shape = (genes.n_obs, len(self.ions_.var_))
        mean, presence = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
        for start in range(0, genes.n_obs, _ROWS):
            rows = slice(start, start + _ROWS)
            probability, intensity = expit(self.presence_(features[rows])), self.intensity_(features[rows])
            presence[rows], mean[rows] = probability, self.ions_.inverse(self._combine(probability, intensity))
        return prediction(
            mean,
            genes,
            self.ions_.var_,
            layers={"presence": presence},
            model=self.name,
            share_genes_matched=self.design_.share_matched(genes),
        )

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return everything fitted as JSON values and named arrays."""
        facts: dict[str, Any] = {}
        arrays: dict[str, NDArray[Any]] = {}
        for name, piece in (("design", self.design_), ("ions", self.ions_)):
            facts[name], own = piece.state()
            arrays |= prefixed(name, own)
        arrays |= prefixed("presence", linear_arrays(self.presence_))
        arrays |= prefixed("intensity", linear_arrays(self.intensity_))
        return facts, arrays

    def restore(self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        self.design_ = Design().restore(facts["design"], part("design", arrays))
        self.ions_ = IonScale().restore(facts["ions"], part("ions", arrays))
        shape = (sum(self.design_.widths_.values()), len(self.ions_.var_))
        self.presence_ = linear_from(part("presence", arrays), *shape)
        self.intensity_ = linear_from(part("intensity", arrays), *shape)
        return self

    def _combine(self, probability: NDArray[np.float64], intensity: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.recipe.model.combine == "product":
            return probability * intensity
        return np.where(probability >= self.recipe.model.threshold, intensity, 0.0)
