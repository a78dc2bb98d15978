"""Kernel ridge: smooth nonlinear functions of the features, bounded in memory by landmarks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import ModelProblem
from napari_st2msi.features.arrays import part, prefixed
from napari_st2msi.features.threads import threads_for
from napari_st2msi.models.inputs import Inputs
from napari_st2msi.models.maps import Linear
from napari_st2msi.models.task import Task

_ROWS = 4096
_SAMPLE = 2000


@dataclass(frozen=True)
class Kernel:
    """Ridge on similarities to landmarks: ``linear(k(x, landmarks) @ whitening)``.

    Attributes
    ----------
    landmarks
        (m, r) training spots, standardised like any spot: see `standard_rows`.
    whitening
        (m, d) so that products of similarities are the kernel again (Nyström).
    gamma
        1 / the squared width of the Gaussian kernel.
    linear
        From the d coordinates to ions.
    """

    landmarks: NDArray[np.float64]
    whitening: NDArray[np.float64]
    gamma: float
    linear: Linear

    def __call__(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (spots, k)."""
        return np.concatenate(
            [
                self.linear(coordinates(features[start : start + _ROWS], self.landmarks, self.whitening, self.gamma))
                for start in range(0, max(len(features), 1), _ROWS)
            ]
        )

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return JSON values and named arrays."""
        arrays = {"landmarks": self.landmarks, "whitening": self.whitening}
        return {"kind": "kernel", "gamma": self.gamma}, arrays | prefixed("linear", self.linear.state()[1])

    @classmethod
    def restore(cls, facts: dict[str, Any], arrays: dict[str, NDArray[Any]], features: int, targets: int) -> Kernel:
        """Take back what `state` returned.

        Raises
        ------
        ModelProblem
            It is not from so many features to so many targets.
        """
        landmarks, whitening = arrays["landmarks"], arrays["whitening"]
        if landmarks.ndim != 2 or landmarks.shape[1] != features or len(whitening) != len(landmarks):
            raise ModelProblem("The model's landmarks do not fit its features.")
        linear = Linear.restore({}, part("linear", arrays), whitening.shape[1], targets)
        return cls(landmarks, whitening, float(facts["gamma"]), linear)


def fit_kernel(task: Task) -> Kernel:
    """Return ridge in the space of a Gaussian kernel, with a penalty of its own for each target.

    The kernel compares rows that are standardised each by itself, so that how strongly a spot deviates
    counts less than in which direction. Its width is the median distance. With more training spots than
    `Model.n_landmarks` the kernel is approximated by those landmarks (Williams and Seeger 2001, "Using the
    Nyström method to speed up kernel machines"); with fewer it is exact.
    """
    within, kernel = in_kernel_space(task)
    return replace(kernel, linear=within.ridge())


def in_kernel_space(task: Task) -> tuple[Task, Kernel]:
    """Return the task with coordinates in the space of the kernel as features, and the kernel without its ridge."""
    x = task.inputs.features
    chosen = _evenly(x, task.choices.n_landmarks)
    landmarks = standard_rows(x[chosen])
    gamma = 1.0 / max(_median_square(landmarks), 1e-12)
    with threads_for(10.0 * len(landmarks) ** 3):
        values, vectors = np.linalg.eigh(_similarity(landmarks, landmarks, gamma))
    real = values > values[-1] * 1e-8
    whitening = vectors[:, real] / np.sqrt(values[real])
    own = coordinates(x, landmarks, whitening, gamma)
    # In units in which the penalties of the recipe are neither all weak nor all strong.
    scale = float(np.sqrt(x.shape[1]))
    folds = [
        fold
        if fold.features is None
        else fold._replace(features=scale * coordinates(fold.features, landmarks, whitening, gamma))
        for fold in task.inputs.folds
    ]
    inputs = Inputs(scale * own, folds, {"kernel": slice(0, own.shape[1])})
    k = task.targets.shape[1]
    nothing = Linear(np.zeros((own.shape[1], k)), task.mean, np.full(k, np.inf))
    return replace(task, inputs=inputs), Kernel(landmarks, scale * whitening, gamma, nothing)


def standard_rows(features: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return each row with mean square 1; rows of nothing stay 0.

    No mean is taken away: the sign of a principal direction means nothing, and would change it.
    """
    rows = np.asarray(features, dtype=np.float64)
    length = np.sqrt((rows**2).mean(axis=1, keepdims=True)) if rows.shape[1] else np.ones((len(rows), 1))
    return rows / np.where(length > 1e-12, length, np.inf)


def coordinates(
    features: NDArray[np.floating],
    landmarks: NDArray[np.float64],
    whitening: NDArray[np.float64],
    gamma: float,
) -> NDArray[np.float64]:
    """Return (spots, d): where spots lie in the space of the kernel that the landmarks span."""
    return _similarity(standard_rows(features), landmarks, gamma) @ whitening


def _similarity(a: NDArray[np.float64], b: NDArray[np.float64], gamma: float) -> NDArray[np.float64]:
    square = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.exp(-gamma * np.maximum(square, 0.0))


def _median_square(rows: NDArray[np.float64]) -> float:
    some = rows[:_SAMPLE]
    square = (some**2).sum(axis=1)[:, None] + (some**2).sum(axis=1) - 2 * some @ some.T
    return float(np.median(square[np.triu_indices(len(some), 1)])) if len(some) > 1 else 1.0


def _evenly(x: NDArray[np.floating], n: int) -> NDArray[np.int64]:
    """Return up to n spots, the same whatever their order: evenly along the first feature."""
    order = np.lexsort(x.T[:3][::-1]) if x.shape[1] else np.arange(len(x))
    return order[np.linspace(0, len(x) - 1, min(n, len(x))).round().astype(np.int64)]
