"""The long work behind the pages that explain: on a background thread, without widgets or state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi import pipeline
from napari_st2msi.explain.attention import attending_ions, attention_of, mean_attention
from napari_st2msi.explain.attribution import Attribution
from napari_st2msi.explain.checks import Checks, check_attention, check_attribution
from napari_st2msi.explain.explain import attribution_of
from napari_st2msi.explain.explainer import Explainer
from napari_st2msi.explain.ions import find_ion
from napari_st2msi.explain.kinds import explainer_for
from napari_st2msi.explain.perturb import Change, Perturbation
from napari_st2msi.pairing.histology import describe_spots
from napari_st2msi.progress import Progress
from napari_st2msi.section import Section
from napari_st2msi.training.folder import TrainedModel

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_st2msi.features.signatures import Signatures

# Spots × genes that are kept of one ion: 240 MB a band.
_MOST = 60_000_000


@dataclass(frozen=True)
class Told(ABC):
    """What was found out of one ion in the spots of a section, gene by gene.

    Attributes
    ----------
    genes
        Spots × genes of the section.
    rows
        (told,) which spots it is about: all, or an even choice where they are very many.
    names, values
        Genes, or pathways that a transformer attends to, and (told, names) what is shown of them.
    unit
        Of the values.
    """

    model: TrainedModel
    genes: AnnData
    ion: str
    rows: NDArray[np.int64]
    names: pd.Index
    values: NDArray[np.float32]
    unit: str

    def ranked(self, spots: NDArray[np.bool_] | None) -> pd.Series:
        """Return what is found over spots of the section, strongest first."""
        bar = self._over_all() if spots is None else self.values[spots[self.rows]].mean(axis=0)
        ranked = pd.Series(bar, self.names, dtype=float)
        return ranked.iloc[np.argsort(-ranked.abs().to_numpy(), kind="stable")]

    def of(self, names: Sequence[str], n_spots: int) -> NDArray[np.float32]:
        """Return (n_spots,) the values of some genes together; NaN in spots that were not asked for."""
        values = np.full(n_spots, np.nan, dtype=np.float32)
        values[self.rows] = self.values[:, self.names.isin(names)].sum(axis=1)
        return values

    @abstractmethod
    def _over_all(self) -> NDArray[np.float64]:
        """Return (names,) what is ranked over all spots."""


@dataclass(frozen=True)
class Explained(Told):
    """What each gene contributes; `explainer` is kept, because the next ion needs it as well."""

    explainer: Explainer
    attribution: Attribution

    def _over_all(self) -> NDArray[np.float64]:
        """Return the mean size, with the sign of the direction: over all spots contributions cancel out."""
        return np.abs(self.values).mean(axis=0, dtype=np.float64) * self.attribution.direction


@dataclass(frozen=True)
class Attended(Told):
    """What the ion attends to."""

    def _over_all(self) -> NDArray[np.float64]:
        return self.values.mean(axis=0, dtype=np.float64)


def attend(
    model: TrainedModel, section: Section, ion: str, *, progress: Progress, cancelled: Callable[[], bool]
) -> Attended:
    """Return what an ion attends to in the spots of a section."""
    genes = _genes_of(model, section, progress, cancelled)
    rows = _some_rows(genes, len(model.genes))
    found = attention_of(
        model.predictor, genes, [ion], spots=rows, progress=progress.part(0.05, 1), cancelled=cancelled
    )
    return Attended(model, genes, ion, rows, found.tokens, found.weights[:, 0], "share of attention")


def explain(
    model: TrainedModel,
    section: Section,
    ion: str,
    known: Told | None,
    *,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> Explained:
    """Explain an ion in the spots of a section."""
    genes = _genes_of(model, section, progress, cancelled)
    if isinstance(known, Explained) and known.model is model and known.genes is genes:
        explainer, rows = known.explainer, known.rows
    else:
        rows = _some_rows(genes, len(model.genes))
        explainer = explainer_for(model.predictor, genes, rows)
    column = find_ion(model.ions, ion)
    found = attribution_of(explainer, column, progress=progress.part(0.05, 1), cancelled=cancelled)
    return Explained(model, genes, ion, rows, found.genes, found.values, found.unit, explainer, found)


def check(told: Told, *, progress: Progress, cancelled: Callable[[], bool]) -> Checks:
    """Check what was found out."""
    if isinstance(told, Explained):
        return check_attribution(told.explainer, told.attribution, progress=progress, cancelled=cancelled)
    return check_attention(
        told.model.predictor, told.genes, told.ion, spots=told.rows, progress=progress, cancelled=cancelled
    )


def compare(
    model: TrainedModel,
    section: Section,
    ions: Sequence[str],
    spots: NDArray[np.bool_] | None,
    *,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> pd.DataFrame:
    """Return genes × ions over some spots: the mean size of contributions, with the sign of their direction."""
    region = pipeline.explain_region(model, section, ions, spots=spots, progress=progress, cancelled=cancelled)
    return region.strength * region.direction


def compare_attention(
    model: TrainedModel,
    section: Section,
    ions: Sequence[str],
    spots: NDArray[np.bool_] | None,
    *,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> pd.DataFrame:
    """Return genes, or pathways, × those of the ions that were learned: the mean share of attention over some spots."""
    known = attending_ions(model.predictor)
    ions = [ion for ion in ions if ion in known]
    genes = _genes_of(model, section, progress, cancelled)
    return mean_attention(
        model.predictor, genes, ions, spots=spots, progress=progress.part(0.05, 1), cancelled=cancelled
    )


def has_clusters(model: TrainedModel) -> bool:
    """Tell whether a model knows clusters of spots: those that its signatures are of."""
    return _signatures_of(model) is not None


def clusters(
    model: TrainedModel, section: Section, *, progress: Progress, cancelled: Callable[[], bool]
) -> NDArray[np.str_]:
    """Return (spots,) which cluster of the model each spot of a section is in."""
    signatures = _signatures_of(model)
    assert signatures is not None
    progress(0.01, "reading genes")
    return np.array(signatures.clusters_, dtype=str)[signatures.assign(section.st)]


def _signatures_of(model: TrainedModel) -> Signatures | None:
    # A transformer may know them of its tokens alone.
    designs = (getattr(model.predictor, name, None) for name in ("design_", "tokens_"))
    return next((found for each in designs if (found := getattr(each, "signatures_", None)) is not None), None)


def _genes_of(model: TrainedModel, section: Section, progress: Progress, cancelled: Callable[[], bool]) -> AnnData:
    """Return the genes of a section with all that the model sees of spots."""
    progress(0.01, "reading genes")
    describe_spots(section, model.recipe.genes, cancelled=cancelled)
    return section.st


def _some_rows(genes: AnnData, n_names: int) -> NDArray[np.int64]:
    """Return all spots, or an even choice of so many that the values of all names fit the memory."""
    return np.arange(0, genes.n_obs, max(-(-genes.n_obs * n_names // _MOST), 1))


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
