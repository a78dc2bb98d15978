"""The two-stage model: is an ion present, and how intense is it where it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from napari_st2msi.errors import ModelProblem
from napari_st2msi.models.calibrate import best_thresholds
from napari_st2msi.models.chain import fit_chain
from napari_st2msi.models.inputs import Inputs
from napari_st2msi.models.learner import Learner
from napari_st2msi.models.linear_loss import LOGISTIC, SQUARED_HINGE
from napari_st2msi.models.maps import Map
from napari_st2msi.models.presence import fit_presence
from napari_st2msi.models.regressors import fit_regression
from napari_st2msi.models.task import Task
from napari_st2msi.progress import Progress

_PRESENCE_PENALTIES = 8


class TwoStage(Learner):
    """Presence by a classifier, intensity by a regression where the ion is present.

    ``recipe.model.presence`` and ``recipe.model.intensity`` name the two; any goes with any. Each ion has
    settings of its own. ``recipe.model.combine`` puts the stages together on the learning scale: the product
    is the expected value, the mask keeps the intensity where presence is likely.

    Attributes
    ----------
    threshold_
        (ions,) the probability from which the mask keeps the intensity.
    """

    name: ClassVar[str] = "two_stage"
    assumes: ClassVar[str] = (
        "Log odds of presence, and log intensity where present, follow the genes of the spot and around it."
    )
    stages: ClassVar[tuple[str, ...]] = ("presence", "intensity")
    #: The regression of the second stage; None: as the recipe says.
    regression: ClassVar[str | None] = None

    def _learn(
        self,
        inputs: Inputs,
        values: NDArray[np.float64],
        present: NDArray[np.bool_],
        progress: Progress,
        cancelled: Callable[[], bool],
    ) -> None:
        choices = self.recipe.model
        # An ion in too few spots gets its mean in both stages. One missing from too few to learn that
        # from counts as present everywhere, and its zeros as intensities.
        learned = self.ions_.learnable_
        present = present | (len(present) - self.ions_.n_present_ < self.recipe.ions.min_spots)
        task = Task(inputs, values, present, learned, choices, self.recipe.networks, progress.part(0.0, 0.5), cancelled)
        self.maps_["presence"], odds = _classifiers(task)
        self.threshold_ = np.full(present.shape[1], choices.threshold)
        if choices.choose_threshold and inputs.folds:
            mixed = np.flatnonzero(np.isfinite(odds).all(axis=0))
            self.threshold_[mixed] = best_thresholds(odds[:, mixed], present[:, mixed])
        task = replace(task, progress=progress.part(0.5, 1.0))
        self.maps_["intensity"] = fit_regression(self.regression or choices.intensity, task)

    def estimate(self, features: NDArray[np.float32]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Return both stages put together on the learning scale, and probabilities of presence."""
        probability, intensity = expit(self.maps_["presence"](features)), self.maps_["intensity"](features)
        if self.recipe.model.combine == "product":
            return probability * intensity, probability
        return np.where(probability >= self.threshold_, intensity, 0.0), probability

    def _own_arrays(self) -> dict[str, NDArray[Any]]:
        return {"threshold": self.threshold_}

    def _own_restore(self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        self.threshold_ = arrays["threshold"]
        if len(self.threshold_) != self._n_targets:
            raise ModelProblem("The model's thresholds do not fit its ions.")


class Stack(TwoStage):
    """Two stages, of which the second is what several regressions say, weighed for each ion."""

    name: ClassVar[str] = "stack"
    regression: ClassVar[str | None] = "stack"
    assumes: ClassVar[str] = (
        "Each ion, where present, is told best by its own mixture of lines, curves and interactions; takes its time."
    )


def _classifiers(task: Task) -> tuple[Map, NDArray[np.float64]]:
    """Return a map to log odds of presence, and log odds of spots held out on inner folds (n, ions)."""
    presence = task.choices.presence
    if presence in ("network", "networks"):
        from napari_st2msi.models.nets import fit_presence_networks

        return fit_presence_networks(task, "shared" if presence == "network" else "single")
    found = fit_presence(
        task.inputs.features,
        task.present,
        np.geomspace(*task.choices.alphas, _PRESENCE_PENALTIES),
        task.inputs.folds,
        loss=SQUARED_HINGE if presence == "svm" else LOGISTIC,
        learned=task.learned,
        progress=task.progress.part(0.0, 0.8),
        cancelled=task.cancelled,
    )
    if presence != "chain":
        return found.odds, found.out_of_fold
    part = task.progress.part(0.8, 1.0)
    return fit_chain(found, task.present, task.inputs.folds, progress=part, cancelled=task.cancelled)
