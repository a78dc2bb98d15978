"""What a model learns from: the design of the training spots, and folds to choose settings on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.features.design import Design
from napari_st2msi.features.histology import Learn
from napari_st2msi.features.turned import Turned
from napari_st2msi.models.inner import InnerFold, choosing_folds
from napari_st2msi.paired import PairedDataset
from napari_st2msi.progress import check, never
from napari_st2msi.recipe import Genes, Networks

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class Inputs:
    """Features of the training spots.

    Attributes
    ----------
    features
        (n, r) float64.
    folds
        Inner folds, on which settings are chosen.
    bands
        The columns of each band; see `napari_st2msi.features.design.Design`.
    genes, context
        The training spots × genes, and the whole sections they lie in, for models that look at more than
        the features; None where these are all that is known.
    """

    features: NDArray[np.float64]
    folds: Sequence[InnerFold]
    bands: dict[str, slice]
    genes: AnnData | None = None
    context: AnnData | None = None


def inputs_of(
    design: Design,
    train: PairedDataset,
    targets: NDArray[np.floating],
    context: AnnData | None = None,
    cancelled: Callable[[], bool] = never,
    networks: Networks | None = None,
) -> Inputs:
    """Fit a design on training spots and return what it makes of them.

    Directions that were learned with the ions (`Design.supervised`) are learned anew for each inner
    fold, or the spots held out there would look better than any new spot. They are then turned onto those
    of all spots (`Turned`), so that what a network or a tree learned of them in a fold can be asked of these.

    Parameters
    ----------
    targets
        (n, k) on the learning scale.
    networks
        How networks are trained, where the design has one.
    """
    check(cancelled)
    folds = choosing_folds(train)
    design.fit(train.genes, targets=targets, context=context, learn=_learn(design.choices, folds, networks, cancelled))
    features = design.transform(train.genes, context).astype(np.float64)
    if design.supervised:
        for number, fold in enumerate(folds):
            check(cancelled)
            part = train.select(fold.fit)
            own = Design(design.choices).fit(
                part.genes,
                targets=targets[fold.fit],
                context=train.genes if context is None else context,
                learn=_learn(design.choices, choosing_folds(part), networks, cancelled),
            )
            found = own.transform(train.genes, context).astype(np.float64)
            seen = Turned(own, found[fold.fit], design, features[fold.fit])
            folds[number] = fold._replace(features=seen.of(found), design=seen)
    return Inputs(features, folds, design.bands, train.genes, context)


def _learn(
    choices: Genes, folds: Sequence[InnerFold], networks: Networks | None, cancelled: Callable[[], bool]
) -> Learn | None:
    """Return what learns the encoder of the histology; None where the recipe asks for none."""
    if choices.histology != "learned":
        return None
    from napari_st2msi.models.deep.encoding import learn_encoder

    return partial(
        learn_encoder,
        outputs=choices.histology_outputs,
        folds=folds,
        networks=Networks() if networks is None else networks,
        cancelled=cancelled,
    )
