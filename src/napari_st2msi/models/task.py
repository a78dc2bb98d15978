"""What a regression is asked: which ions of which spots, and what is done about spots without an ion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.models.inner import InnerFold
from napari_st2msi.models.inputs import Inputs
from napari_st2msi.models.maps import Linear
from napari_st2msi.models.ridge import fit_ridge
from napari_st2msi.progress import Progress, check, never
from napari_st2msi.recipe import Model, Networks

_TRAINING = Networks()


@dataclass(frozen=True)
class Task:
    """Targets to learn from the features of training spots.

    Attributes
    ----------
    inputs
        Features, inner folds and bands.
    targets
        (n, k) on the learning scale.
    present
        (n, k) which spots count for which target.
    learned
        (k,) which targets to learn; the others get their mean.
    choices
        The part of the recipe about models.
    networks
        That about how networks are trained.
    progress, cancelled
        How long work reports, and whether to stop.
    """

    inputs: Inputs
    targets: NDArray[np.float64]
    present: NDArray[np.bool_]
    learned: NDArray[np.bool_]
    choices: Model
    networks: Networks = _TRAINING
    progress: Progress = Progress()
    cancelled: Callable[[], bool] = never

    @property
    def alphas(self) -> NDArray[np.float64]:
        """The ridge penalties to try, ascending."""
        return np.geomspace(*self.choices.alphas, self.choices.n_alphas)

    @property
    def ensemble(self) -> Sequence[InnerFold]:
        """The inner folds on each of which a network or booster learns: as many as the recipe says, two at least.

        One alone cannot tell what to trust: everything would be the mean.
        """
        return self.inputs.folds[: max(self.choices.ensemble, 2)]

    @property
    def mean(self) -> NDArray[np.float64]:
        """(k,) mean of each target over the spots that count; 0 where none does."""
        return np.where(self.present, self.targets, 0.0).sum(axis=0) / np.maximum(self.present.sum(axis=0), 1)

    def ridge(self) -> Linear:
        """Return the ridge regression of the task."""
        return fit_ridge(
            self.inputs.features,
            self.targets,
            self.alphas,
            self.inputs.folds,
            present=self.present,
            learned=self.learned,
            spot_by_spot=self.choices.penalties == "spots",
            progress=self.progress,
            cancelled=self.cancelled,
        )

    def completed(self) -> NDArray[np.float64]:
        """Return (n, k) targets in which spots that do not count hold what ridge expects there.

        Regressions that solve for all targets at once need a value in every spot. What ridge says is
        neutral: it neither bends a fit nor pulls it to zero. Errors are still counted where a target is
        present only.
        """
        partly = ~self.present.all(axis=0) & self.learned
        if not partly.any():
            return self.targets
        filled = self.targets.copy()
        ridge = fit_ridge(
            self.inputs.features,
            self.targets[:, partly],
            self.alphas,
            self.inputs.folds,
            present=self.present[:, partly],
            cancelled=self.cancelled,
        )
        filled[:, partly] = np.where(self.present[:, partly], filled[:, partly], ridge(self.inputs.features))
        return filled

    def errors(self, number: int, missed: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (k,) summed squares of what was missed (held, k) in an inner fold, where targets are present."""
        check(self.cancelled)
        return (self.present[self.inputs.folds[number].held] * missed**2).sum(axis=0)

    def of_mean(self, slope: NDArray[np.float64], alpha: NDArray[np.float64], level: NDArray[np.float64]) -> Linear:
        """Return a linear map, with the mean for targets that are not learned or whose setting is infinite."""
        constant = ~self.learned | np.isinf(alpha)
        slope, alpha = np.where(constant, 0.0, slope), np.where(constant, np.inf, alpha)
        return Linear(slope, np.where(constant, self.mean, level), alpha)
