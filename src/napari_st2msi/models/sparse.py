"""Lasso, elastic net and plain least squares: linear regressions without a closed path of penalties."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.models.choose import least_flexible
from napari_st2msi.models.maps import Linear
from napari_st2msi.models.ridge import solve
from napari_st2msi.models.task import Task
from napari_st2msi.progress import check

_WEAKEST = 1e-2  # of the penalty at which nothing is left
_AT_ONCE = 4  # penalties between looks at the held-out error


def fit_linear(task: Task) -> Linear:
    """Return least squares without any penalty (the shortest of its solutions where there are many)."""
    x = task.inputs.features
    tiny = 1e-9 * max(float(x.var(axis=0).sum()) * len(x) / max(min(x.shape), 1), 1e-12)
    slope, level = solve(x, task.completed(), np.full(task.targets.shape[1], tiny))
    return task.of_mean(slope, np.zeros(task.targets.shape[1]), level)


def fit_lasso(task: Task) -> Linear:
    """Return the lasso: few features with any weight (Tibshirani 1996, doi:10.1111/j.2517-6161.1996.tb02080.x)."""
    return _fit(task, 1.0)


def fit_elastic_net(task: Task) -> Linear:
    """Return the elastic net, between lasso and ridge (Zou and Hastie 2005, doi:10.1111/j.1467-9868.2005.00503.x)."""
    return _fit(task, task.choices.l1_ratio)


def _fit(task: Task, l1_ratio: float) -> Linear:
    """Choose for each target how far down its path to go, on inner folds, and go there on all spots.

    Coordinate descent in covariance form (Friedman et al. 2010, doi:10.18637/jss.v033.i01): the Gram matrix
    is made once a fold, so a step does not depend on the number of spots. A path goes down from the penalty
    at which a target's slope vanishes, towards a hundredth of it, and stops where held-out errors rise: weak
    penalties cost most and are chosen least.
    """
    x, y, choices = task.inputs.features, task.completed(), task.choices
    k, steps = y.shape[1], np.geomspace(1.0, _WEAKEST, choices.n_alphas)
    columns = np.flatnonzero(task.learned)
    folds = task.inputs.folds
    # From the most flexible to the mean, which is the first of a path.
    errors = np.zeros((len(folds), len(steps), k))
    for number, fold in enumerate(folds):
        x_fit, x_held = fold.split(x)
        problem = _Problem(x_fit, y[fold.fit], l1_ratio)
        held = y[fold.held]
        for done, target in enumerate(map(int, columns)):
            task.progress((number + done / len(columns)) / (len(folds) + 1), "penalties")
            check(task.cancelled)
            counts = task.present[fold.held, target][:, None]
            path = np.zeros((x.shape[1], 1))
            found = np.empty(0)
            for start in range(0, len(steps), _AT_ONCE):
                path, level = problem.path(target, steps[start : start + _AT_ONCE], path[:, -1])
                missed = x_held @ path + level - held[:, [target]]
                found = np.append(found, (counts * missed**2).sum(axis=0))
                if found[-1] > 1.02 * found.min():
                    break
            # Beyond where the path stopped nothing is better than there.
            rest = np.full(len(steps) - len(found), found[-1])
            errors[number, :, target] = np.append(found, rest)[::-1]
    chosen = len(steps) - 1 - least_flexible(errors)
    problem, slope, level = _Problem(x, y, l1_ratio), np.zeros((x.shape[1], k)), np.zeros(k)
    for target in map(int, columns[chosen[columns] > 0]):
        check(task.cancelled)
        path, levels = problem.path(target, steps[: chosen[target] + 1], np.zeros(x.shape[1]))
        slope[:, target], level[target] = path[:, -1], levels[-1]
    alpha = np.where(chosen > 0, steps[chosen], np.inf)
    return task.of_mean(slope, alpha, level)


class _Problem:
    """Targets on the same centred features."""

    def __init__(self, x: NDArray[np.floating], y: NDArray[np.float64], l1_ratio: float) -> None:
        self.centre, self.mean, self.l1_ratio = x.mean(axis=0), y.mean(axis=0), l1_ratio
        self.x, self.y = np.asfortranarray(x - self.centre), np.asfortranarray(y - self.mean)
        self.gram = np.ascontiguousarray(self.x.T @ self.x)
        self.cross = np.asfortranarray(self.x.T @ self.y)

    def path(
        self, target: int, steps: NDArray[np.float64], start: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return slopes (r, steps) and intercepts (steps,) at shares of the greatest useful penalty, from a slope."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import enet_path

        cross = self.cross[:, target]
        most = float(np.abs(cross).max(initial=0.0)) / (len(self.x) * self.l1_ratio)
        if most <= 1e-300:
            return np.zeros((len(cross), len(steps))), np.full(len(steps), self.mean[target])
        with warnings.catch_warnings():
            # The weakest penalties may not converge to the last digit; held-out errors judge what comes out.
            warnings.simplefilter("ignore", ConvergenceWarning)
            slopes = enet_path(
                self.x, self.y[:, target], l1_ratio=self.l1_ratio, alphas=most * steps, precompute=self.gram, Xy=cross,
                coef_init=start, max_iter=100, tol=1e-3, check_input=False,
            )[1]  # fmt: skip
        return slopes, self.mean[target] - self.centre @ slopes
