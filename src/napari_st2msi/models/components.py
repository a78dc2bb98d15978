"""Partial least squares: few directions that go along with all ions, and how many of them each ion takes."""

from __future__ import annotations

import numpy as np

from napari_st2msi.features.pls import simpls
from napari_st2msi.models.choose import least_flexible
from napari_st2msi.models.maps import Linear
from napari_st2msi.models.task import Task


def fit_pls(task: Task) -> Linear:
    """Return partial least squares of all targets together (SIMPLS, de Jong 1993).

    The directions are shared, so ions with little signal borrow those of others: the rank of the map is the
    number of directions. How many each target takes, down to none (its mean), is chosen on inner folds.
    """
    x, y = task.inputs.features, task.completed()
    k, most, folds = y.shape[1], task.choices.most_components, task.inputs.folds
    deviation = y.std(axis=0)
    unit = np.where(task.learned & (deviation > 1e-12), deviation, np.inf)
    errors = np.zeros((len(folds), most + 1, k))
    for number, fold in enumerate(folds):
        task.progress(number / (len(folds) + 1), "components")
        x_fit, x_held = fold.split(x)
        centre, mean = x_fit.mean(axis=0), y[fold.fit].mean(axis=0)
        weights, loadings = simpls(x_fit - centre, (y[fold.fit] - mean) / unit, most)
        scores, rest = (x_held - centre) @ weights, y[fold.held] - mean
        finite = np.where(np.isfinite(unit), unit, 0.0)
        errors[number, -1] = task.errors(number, rest)
        for taken in range(most):
            if taken < weights.shape[1]:
                rest = rest - np.outer(scores[:, taken], loadings[:, taken] * finite)
                errors[number, most - 1 - taken] = task.errors(number, rest)
            else:  # no further direction: as good as the last
                errors[number, most - 1 - taken] = errors[number, most - taken]
    number_taken = most - least_flexible(errors)
    centre, mean = x.mean(axis=0), y.mean(axis=0)
    weights, loadings = simpls(x - centre, (y - mean) / unit, most)
    used = np.arange(weights.shape[1])[:, None] < number_taken
    slope = weights @ (used * loadings.T) * np.where(np.isfinite(unit), unit, 0.0)
    return task.of_mean(slope, np.where(number_taken > 0, number_taken, np.inf), mean - centre @ slope)
