"""Which genes drive a prediction: of one ion in each spot, of several ions over a region."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import ModelProblem
from napari_st2msi.explain.attribution import Attribution, Part, RegionAttribution, relative_gap
from napari_st2msi.explain.explainer import Brought, Explainer
from napari_st2msi.explain.inputs import Spots
from napari_st2msi.explain.ions import find_ion
from napari_st2msi.explain.kinds import explainer_for
from napari_st2msi.models.base import Predictor
from napari_st2msi.progress import Progress, check, never

if TYPE_CHECKING:
    from anndata import AnnData

_ROWS = 512


def explain_ion(
    predictor: Predictor,
    genes: AnnData,
    ion: str,
    *,
    spots: Spots = None,
    part: Part = "prediction",
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Attribution:
    """Return what each gene contributes to the prediction of one ion in each spot.

    Linear maps give exact terms β·(x − x̄). What is nonlinear in features gives integrated gradients
    (Sundararajan et al. 2017, arXiv:1703.01365) from the training mean. Either is carried back to genes
    exactly, because features are linear in scaled genes; neighbours' genes count as bands of their own.

    Parameters
    ----------
    predictor
        A fitted model.
    genes
        Spots × genes of whole sections, in which neighbours are looked up.
    ion
        Its name, or m/z: see `napari_st2msi.explain.ions.find_ion`.
    spots
        Which spots: a mask, positions or names; None for all.
    part
        What to explain of a model in two stages.

    Raises
    ------
    ModelProblem
        The model cannot be explained; or its part is the presence of an ion that is everywhere or nowhere.
    DataProblem
        There is no such ion or spot.
    """
    explainer = explainer_for(predictor, genes, spots)
    column = find_ion(explainer.learner.ions_.var_, ion)
    return attribution_of(explainer, column, part=part, progress=progress, cancelled=cancelled)


def explain_region(
    predictor: Predictor,
    genes: AnnData,
    ions: Sequence[str] | None = None,
    *,
    spots: Spots = None,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> RegionAttribution:
    """Return what each gene contributes to several ions over some spots together; see `explain_ion`.

    Parameters
    ----------
    ions
        Which; None for all.
    """
    explainer = explainer_for(predictor, genes, spots)
    var = explainer.learner.ions_.var_
    columns = range(len(var)) if ions is None else [find_ion(var, ion) for ion in ions]
    n, names = len(explainer.inputs), explainer.inputs.names
    mean, strength = np.zeros((len(names), len(columns))), np.zeros((len(names), len(columns)))
    methods, gaps = {}, {}
    brought = np.zeros((n, len(columns)))
    along = np.zeros_like(mean)
    for rows, number, found in contributions(explainer, columns, progress=progress, cancelled=cancelled):
        together = np.add.reduce(list(found.bands.values())).astype(np.float64)
        mean[:, number] += together.sum(axis=0) / n
        strength[:, number] += np.abs(together).sum(axis=0) / n
        brought[rows, number] = together.sum(axis=1)
        along[:, number] += found.along
    for number, column in enumerate(columns):
        predicted, baseline = _ends(explainer, column, "prediction")
        ion = str(var.index[column])
        methods[ion] = explainer.method(column, "prediction")
        gaps[ion] = relative_gap(predicted - baseline - brought[:, number], predicted - baseline)
    index = var.index[list(columns)]
    return RegionAttribution(
        pd.DataFrame(mean, index=names, columns=index),
        pd.DataFrame(strength, index=names, columns=index),
        pd.DataFrame(np.sign(along), index=names, columns=index),
        methods,
        gaps,
        explainer.unit("prediction"),
        n,
    )


def attribution_of(
    explainer: Explainer,
    ion: int,
    *,
    part: Part = "prediction",
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Attribution:
    """Return the attribution of the ion in one column; raises as `explain_ion` does."""
    inputs, name_of_ion = explainer.inputs, str(explainer.learner.ions_.var_.index[ion])
    predicted, baseline = _ends(explainer, ion, part)
    if np.isinf(baseline).any():
        raise ModelProblem(
            f"The model takes '{name_of_ion}' to be everywhere or nowhere, as it was in training, so no gene has a "
            "share in its presence. Explain its prediction or its intensity instead."
        )
    bands = {name: np.empty((len(inputs), len(inputs.names)), dtype=np.float32) for name in explainer.bands}
    along = np.zeros(len(inputs.names))
    for rows, _, found in contributions(explainer, [ion], part=part, progress=progress, cancelled=cancelled):
        for name, values in found.bands.items():
            bands[name][rows] = values
        along += found.along
    return Attribution(
        ion=name_of_ion,
        part=part,
        method=explainer.method(ion, part),
        unit=explainer.unit(part),
        spots=inputs.spot_names,
        genes=inputs.names,
        bands=bands,
        direction=np.sign(along),
        predicted=predicted,
        baseline=baseline,
    )


def contributions(
    explainer: Explainer,
    ions: Sequence[int],
    *,
    part: Part = "prediction",
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Iterator[tuple[NDArray[np.int64], int, Brought]]:
    """Yield rows, the place of an ion in `ions`, and what genes bring there."""
    n = len(explainer.inputs)
    for start in range(0, n, _ROWS):
        rows = np.arange(start, min(start + _ROWS, n))
        every = explainer.contributions(rows, ions, part, cancelled)
        for number in range(len(ions)):
            check(cancelled)
            progress((start + len(rows) * number / len(ions)) / n, "contributions of genes")
            yield rows, number, next(every)
    progress(1.0, "contributions of genes")


def _ends(explainer: Explainer, ion: int, part: Part) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (n,) what the model says of the spots, and what contributions are counted from."""
    pieces = np.split(np.arange(len(explainer.inputs)), range(_ROWS, len(explainer.inputs), _ROWS))
    predicted = [explainer.predicted(rows, part)[:, ion] for rows in pieces]
    baseline = [explainer.baseline(rows, ion, part) for rows in pieces]
    return np.concatenate(predicted).astype(np.float64), np.concatenate(baseline).astype(np.float64)
