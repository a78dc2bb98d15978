"""In-silico perturbation: what a model predicts after genes were knocked out, scaled or set in some spots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem
from napari_st2msi.explain.inputs import Spots, positions
from napari_st2msi.features.design import Design
from napari_st2msi.features.genes import GeneFeatures, Scaled
from napari_st2msi.models.base import Predictor
from napari_st2msi.paired import dense
from napari_st2msi.progress import Progress, check, never

if TYPE_CHECKING:
    from anndata import AnnData

How = Literal["knock_out", "scale", "set"]


@dataclass(frozen=True)
class Change:
    """A change of some genes.

    Attributes
    ----------
    genes
        Names of the genes, one or a whole pathway.
    how
        ``knock_out``: no counts are left; ``scale``: counts times `amount`; ``set``: `amount` counts.
    """

    genes: tuple[str, ...]
    how: How = "knock_out"
    amount: float = 0.0

    def __post_init__(self) -> None:
        if not self.genes:
            raise DataProblem("No gene is chosen. Choose at least one to change.")
        if not (np.isfinite(self.amount) and self.amount >= 0):
            raise DataProblem(f"Counts cannot be {self.how.replace('_', ' ')} by {self.amount:g}. Give 0 or more.")

    def words(self) -> str:
        """Return the change in few words: ``Gfap × 2``."""
        what = self.genes[0] if len(self.genes) == 1 else f"{len(self.genes)} genes"
        return {
            "knock_out": f"{what} knocked out",
            "scale": f"{what} × {self.amount:g}",
            "set": f"{what} = {self.amount:g}",
        }[self.how]

    def applied(self, counts: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return changed counts."""
        if self.how == "scale":
            return counts * self.amount
        return np.full_like(counts, 0.0 if self.how == "knock_out" else self.amount)


@dataclass(frozen=True)
class Perturbation:
    """Ion images before and after a change of genes.

    Attributes
    ----------
    changes
        What was changed.
    ions
        `var` of the ions.
    spots
        Names of all spots of the sections.
    changed
        (spots,) in which spots genes were changed; the others only have changed neighbours.
    before, after
        (spots, ions) predicted intensities, float32, in the units of the prediction.
    unused
        Genes that were changed and that the model does not use.
    """

    changes: tuple[Change, ...]
    ions: pd.DataFrame
    spots: pd.Index
    changed: NDArray[np.bool_]
    before: NDArray[np.float32]
    after: NDArray[np.float32]
    unused: tuple[str, ...]

    @property
    def change(self) -> NDArray[np.float32]:
        """(spots, ions) after − before."""
        return self.after - self.before

    def ranked(self) -> pd.DataFrame:
        """Return the ions, most changed first.

        Returns
        -------
        Indexed by ion: `before` and `after`, means over the changed spots; `change`, their difference;
        `relative`, that over `before`; `around`, the mean change of the other spots, which their neighbours bring.
        """
        before, after = (values[self.changed].mean(axis=0, dtype=np.float64) for values in (self.before, self.after))
        others = self.change[~self.changed]
        frame = pd.DataFrame(
            {
                "before": before,
                "after": after,
                "change": after - before,
                "relative": (after - before) / np.maximum(before, 1e-12),
                "around": others.mean(axis=0, dtype=np.float64) if len(others) else np.zeros(len(self.ions)),
            },
            index=self.ions.index,
        )
        return frame.reindex(frame["relative"].abs().sort_values(ascending=False, kind="stable").index)


def perturb(
    predictor: Predictor,
    genes: AnnData,
    changes: Change | Sequence[Change],
    *,
    spots: Spots = None,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Perturbation:
    """Predict ions before and after genes are changed in some spots.

    What a spot's neighbours bring changes along. Library sizes, and means of sections that the model may take
    away, stay as they were before: a gene that is changed leaves the others as they are. It is what the model
    expects, not what an experiment would find: genes that go along with the changed ones stay as well.

    Parameters
    ----------
    predictor
        A fitted model.
    genes
        Spots × genes of whole sections.
    changes
        One or several, made one after the other.
    spots
        Where genes are changed: a mask, positions or names; None for all.

    Raises
    ------
    DataProblem
        A gene or a spot is not there.
    """
    changes = (changes,) if isinstance(changes, Change) else tuple(changes)
    asked = positions(genes, spots)
    known = set(genes.var_names)
    missing = [gene for change in changes for gene in change.genes if gene not in known]
    if missing:
        some = ", ".join(f"'{gene}'" for gene in missing[:3])
        raise DataProblem(
            f"{len(missing):,} of the genes to change are not in the data, such as {some}. The data has names like "
            f"'{genes.var_names[0]}'."
        )
    progress(0.05, "predicting before the change")
    before = predictor.predict(genes)
    check(cancelled)
    progress(0.45, "changing genes")
    after = _held(predictor, genes).predict(_changed(genes, changes, asked))
    check(cancelled)
    used = _used(predictor)
    changed = np.zeros(genes.n_obs, dtype=bool)
    changed[asked] = True
    progress(1.0, "predicted")
    return Perturbation(
        changes,
        before.var[[name for name in before.var if not str(name).startswith("share_")]],
        genes.obs_names,
        changed,
        dense(before.X).astype(np.float32),
        dense(after.X).astype(np.float32),
        tuple(gene for change in changes for gene in change.genes if used is not None and gene not in used),
    )


class _HeldGenes(GeneFeatures):
    """The features of changed counts at the library sizes and means of sections from before."""

    def __init__(self, fitted: GeneFeatures, genes: AnnData) -> None:
        self.__dict__.update(vars(fitted))
        self._before, self._spots = fitted.scaled(genes), genes.obs_names

    def scaled(self, genes: AnnData) -> Scaled:
        """Return what gives the features of any of the spots."""
        return self._before.with_counts(genes, self._spots.get_indexer(genes.obs_names))


def _held(predictor: Predictor, genes: AnnData) -> Predictor:
    """Return a model that scales changed counts of spots as it scales them now."""
    held = copy(predictor)
    for name, part in vars(predictor).items():
        if isinstance(part, list) and part and all(isinstance(each, Predictor) for each in part):
            setattr(held, name, [_held(each, genes) for each in part])
        elif isinstance(part, dict) and part and all(isinstance(each, Predictor) for each in part.values()):
            setattr(held, name, {key: _held(each, genes) for key, each in part.items()})
        elif isinstance(part, Predictor):
            setattr(held, name, _held(part, genes))
        elif isinstance(part, Design):
            design: Any = copy(part)
            for piece in ("genes_", "pathway_genes_"):
                fitted = getattr(part, piece)
                if fitted is not None:
                    setattr(design, piece, _HeldGenes(fitted, genes))
            setattr(held, name, design)
    return held


def _changed(genes: AnnData, changes: Sequence[Change], asked: NDArray[np.int64]) -> AnnData:
    """Return the table with changed counts; the one given stays as it is."""
    from anndata import AnnData
    from scipy.sparse import coo_array

    names = list(dict.fromkeys(gene for change in changes for gene in change.genes))
    columns = genes.var_names.get_indexer(pd.Index(names))
    before = dense(genes.X[np.ix_(asked, columns)]).astype(np.float64)
    after = before.copy()
    for change in changes:
        own = [names.index(gene) for gene in dict.fromkeys(change.genes)]
        after[:, own] = change.applied(after[:, own])
    if hasattr(genes.X, "tocsr"):
        rows, places = np.repeat(asked, len(columns)), np.tile(columns, len(asked))
        step = coo_array(((after - before).ravel(), (rows, places)), shape=genes.shape)
        values: Any = (genes.X + step.tocsr()).tocsr()
        values.eliminate_zeros()
    else:
        values = np.array(genes.X, dtype=np.float64)
        values[np.ix_(asked, columns)] = after
    return AnnData(
        X=values,
        obs=genes.obs.copy(),
        var=genes.var.copy(),
        obsm=dict(genes.obsm),
    )


def _used(predictor: Predictor) -> set[str] | None:
    """Return the genes that a model uses; None where it does not say."""
    designs = [part for part in vars(predictor).values() if isinstance(part, Design)]
    pieces = [piece for design in designs for piece in (design.genes_, design.pathway_genes_) if piece is not None]
    return {gene for piece in pieces for gene in piece.names_} if designs else None
