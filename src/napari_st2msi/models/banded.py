"""Banded ridge: each band of features its own penalty, chosen for each ion."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.features.threads import threads_for
from napari_st2msi.models.choose import least_flexible
from napari_st2msi.models.maps import Linear
from napari_st2msi.models.task import Task
from napari_st2msi.progress import check

# Weights of a band beside the others; 0 leaves it out.
_WEIGHTS = (0.0, 0.1, 1.0)
_MOST_MIXTURES = 40


def fit_banded(task: Task) -> Linear:
    """Return ridge in which bands count by weights that are chosen, with the penalty, for each target.

    A penalty per band is one penalty on features that were scaled band by band (Nunez-Elizalde et al. 2019,
    doi:10.1016/j.neuroimage.2019.04.012; Dupré la Tour et al. 2022, doi:10.1016/j.neuroimage.2022.119728).
    Every mixture of weights is tried along a whole path of penalties; a fold's Gram matrix is made once and
    rescaled. Mixtures with fewer bands come first among equals.
    """
    x, y, bands = task.inputs.features, task.completed(), task.inputs.bands
    folds, alphas, k = task.inputs.folds, task.alphas, task.targets.shape[1]
    weights = mixtures(len(bands))
    scales = [_scale(row, bands, x.shape[1]) for row in weights]
    errors = np.zeros((len(folds), len(weights), len(alphas) + 1, k))
    for number, fold in enumerate(folds):
        x_fit, x_held = fold.split(x)
        centre, mean = x_fit.mean(axis=0), y[fold.fit].mean(axis=0)
        x_fit, x_held, rest = x_fit - centre, x_held - centre, y[fold.held] - mean
        gram, cross = x_fit.T @ x_fit, x_fit.T @ (y[fold.fit] - mean)
        for which, scale in enumerate(scales):
            task.progress((number + which / len(scales)) / (len(folds) + 1), "weights of bands")
            check(task.cancelled)
            errors[number, which, -1] = task.errors(number, rest)
            values, vectors, moment = _decompose(gram, cross, scale)
            basis = (x_held[:, scale > 0] * scale[scale > 0]) @ vectors
            for step, alpha in enumerate(alphas):
                missed = basis @ (moment / (values + alpha)[:, None]) - rest
                errors[number, which, step] = task.errors(number, missed)
    # First the penalty within each mixture, then the mixture: of those as good, the one listed last.
    steps = np.array([least_flexible(errors[:, which]) for which in range(len(weights))])
    reached = np.take_along_axis(errors, steps[None, :, None, :], axis=2)[:, :, 0]
    mixture = least_flexible(reached)
    alpha = np.append(alphas, np.inf)[steps[mixture, np.arange(k)]]

    centre, mean = x.mean(axis=0), y.mean(axis=0)
    gram, cross = (x - centre).T @ (x - centre), (x - centre).T @ (y - mean)
    slope = np.zeros((x.shape[1], k))
    for number in np.unique(mixture[task.learned & np.isfinite(alpha)]):
        check(task.cancelled)
        columns = np.flatnonzero((mixture == number) & task.learned & np.isfinite(alpha))
        scale = scales[number]
        values, vectors, moment = _decompose(gram, cross[:, columns], scale)
        used = np.flatnonzero(scale > 0)
        own = vectors @ (moment / (values[:, None] + alpha[columns]))
        slope[np.ix_(used, columns)] = own * scale[used, None]
    return task.of_mean(slope, alpha, mean - centre @ slope)


def shares_explained(
    linear: Linear, features: NDArray[np.floating], bands: Mapping[str, slice]
) -> dict[str, NDArray[np.float64]]:
    """Return for each band (k,) which share of a linear prediction's variance it brings.

    It is the covariance of the band's part with the whole, over the variance of the whole: the shares of
    an ion sum to 1, and one may be below 0 where a band corrects another. NaN where nothing is predicted.
    """
    centred = features - features.mean(axis=0)
    whole = centred @ linear.slope
    spread = (whole**2).sum(axis=0)
    shares = {}
    for name, band in bands.items():
        with np.errstate(divide="ignore", invalid="ignore"):
            own = (centred[:, band] @ linear.slope[band] * whole).sum(axis=0) / spread
        shares[name] = np.where(spread > 1e-20, own, np.nan)
    return shares


def mixtures(n_bands: int) -> NDArray[np.float64]:
    """Return (mixtures, bands) weights whose largest is 1, from those with the most bands to single ones."""
    every = [mixture for mixture in product(_WEIGHTS, repeat=n_bands) if max(mixture) == 1.0]
    every.sort(key=lambda mixture: (-sum(weight > 0 for weight in mixture), -sum(mixture), mixture))
    if len(every) > _MOST_MIXTURES:  # many bands: each of them in or out
        every = [mixture for mixture in every if 0.1 not in mixture][-_MOST_MIXTURES:]
    return np.array(every)


def _scale(mixture: NDArray[np.float64], bands: Mapping[str, slice], n_features: int) -> NDArray[np.float64]:
    scale = np.zeros(n_features)
    for weight, band in zip(mixture, bands.values(), strict=True):
        scale[band] = np.sqrt(weight)
    return scale


def _decompose(
    gram: NDArray[np.float64], cross: NDArray[np.float64], scale: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return (values, vectors, moment) of the scaled features: see `napari_st2msi.models.ridge.decompose`."""
    used = np.flatnonzero(scale > 0)
    own = gram[np.ix_(used, used)] * np.outer(scale[used], scale[used])
    with threads_for(10.0 * len(used) ** 3):
        values, vectors = np.linalg.eigh(own)
    return np.maximum(values, 0.0), vectors, vectors.T @ (cross[used] * scale[used, None])
