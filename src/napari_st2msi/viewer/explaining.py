"""The long work behind the pages that explain: on a background thread, without widgets or state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi import pipeline
from napari_st2msi.explain.attention import Attention, attention_of
from napari_st2msi.explain.attribution import Attribution, RegionAttribution
from napari_st2msi.explain.checks import Checks, check_attribution
from napari_st2msi.explain.explain import attribution_of
from napari_st2msi.explain.explainer import Explainer
from napari_st2msi.explain.ions import find_ion
from napari_st2msi.explain.kinds import explainer_for
from napari_st2msi.explain.perturb import Change, Perturbation
from napari_st2msi.pairing.histology import describe_spots
from napari_st2msi.progress import Progress
from napari_st2msi.section import Section
from napari_st2msi.training.folder import TrainedModel

# Spots × genes that are kept of one ion: 240 MB a band.
_MOST = 60_000_000


@dataclass(frozen=True)
class Explained:
    """One ion, explained in the spots of a section.

    Attributes
    ----------
    explainer
        Kept, because the next ion needs it as well.
    attribution
        Of all spots, or of an even choice of them where they are very many.
    rows
        (explained,) which spots of the section these are.
    values
        `Attribution.values`.
    strength
        (genes,) their mean size over all spots explained.
    """

    model: TrainedModel
    explainer: Explainer
    attribution: Attribution
    rows: NDArray[np.int64]
    values: NDArray[np.float32]
    strength: NDArray[np.float64]

    def ranked(self, spots: NDArray[np.bool_] | None) -> pd.Series:
        """Return what genes bring to spots of the section, strongest first.

        In a region it is the mean contribution there. Over all spots that is about zero for each gene, so it is
        then the mean size, with the sign of `Attribution.direction`.
        """
        bar = (
            self.strength * self.attribution.direction if spots is None else self.values[spots[self.rows]].mean(axis=0)
        )
        ranked = pd.Series(bar, self.attribution.genes, dtype=float)
        return ranked.iloc[np.argsort(-ranked.abs().to_numpy(), kind="stable")]

    def of(self, gene: str, n_spots: int) -> NDArray[np.float32]:
        """Return (n_spots,) contributions of a gene; NaN in spots that were not explained."""
        values = np.full(n_spots, np.nan, dtype=np.float32)
        values[self.rows] = self.values[:, int(self.attribution.genes.get_indexer(pd.Index([gene]))[0])]
        return values


@dataclass(frozen=True)
class Attended:
    """What one ion attends to in the spots of a section; `rows` as in `Explained`."""

    model: TrainedModel
    attention: Attention
    rows: NDArray[np.int64]

    def ranked(self, spots: NDArray[np.bool_] | None) -> pd.Series:
        """Return mean attention to genes or pathways over spots of the section, most first."""
        weights = self.attention.weights[:, 0]
        mean = weights.mean(axis=0) if spots is None else weights[spots[self.rows]].mean(axis=0)
        return pd.Series(mean, self.attention.tokens, dtype=float).sort_values(ascending=False, kind="stable")

    def of(self, gene: str, n_spots: int) -> NDArray[np.float32]:
        """Return (n_spots,) attention to a gene or pathway; NaN in spots that were not asked for."""
        values = np.full(n_spots, np.nan, dtype=np.float32)
        values[self.rows] = self.attention.weights[:, 0, int(self.attention.tokens.get_indexer(pd.Index([gene]))[0])]
        return values


def attend(model: TrainedModel, explained: Explained, *, progress: Progress, cancelled: Callable[[], bool]) -> Attended:
    """Return what the ion that was explained attends to."""
    genes, ion = explained.explainer.inputs.genes, explained.attribution.ion
    found = attention_of(model.predictor, genes, [ion], spots=explained.rows, progress=progress, cancelled=cancelled)
    return Attended(model, found, explained.rows)


def explain(
    model: TrainedModel,
    section: Section,
    ion: str,
    known: Explained | None,
    *,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> Explained:
    """Explain an ion in the spots of a section."""
    progress(0.01, "reading genes")
    describe_spots(section, model.recipe.genes, cancelled=cancelled)
    genes = section.st
    if known is not None and known.model is model and known.explainer.inputs.genes is genes:
        explainer, rows = known.explainer, known.rows
    else:
        step = -(-genes.n_obs * len(model.genes) // _MOST)
        rows = np.arange(0, genes.n_obs, max(step, 1))
        explainer = explainer_for(model.predictor, genes, rows)
    column = find_ion(model.ions, ion)
    found = attribution_of(explainer, column, progress=progress.part(0.05, 1), cancelled=cancelled)
    values = found.values
    return Explained(model, explainer, found, rows, values, np.abs(values).mean(axis=0, dtype=np.float64))


def check(explained: Explained, *, progress: Progress, cancelled: Callable[[], bool]) -> Checks:
    """Check what was explained."""
    return check_attribution(explained.explainer, explained.attribution, progress=progress, cancelled=cancelled)


def compare(
    model: TrainedModel,
    section: Section,
    ions: Sequence[str],
    spots: NDArray[np.bool_] | None,
    *,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> RegionAttribution:
    """Explain several ions over some spots together."""
    return pipeline.explain_region(model, section, ions, spots=spots, progress=progress, cancelled=cancelled)


def perturb(
    model: TrainedModel,
    section: Section,
    change: Change,
    spots: NDArray[np.bool_] | None,
    *,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> Perturbation:
    """Predict what changes with genes."""
    return pipeline.perturb(model, section, change, spots=spots, progress=progress, cancelled=cancelled)
