"""Genes as features: library size and log1p, variable genes, standardisation; fitted on training spots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, ModelProblem
from napari_st2msi.paired import check_values, dense
from napari_st2msi.recipe import Genes

if TYPE_CHECKING:
    from anndata import AnnData

#: A model is refused where the query has fewer than this share of the genes it needs.
LEAST_SHARE = 0.5
_BINS = 20
_COLUMNS = 1000  # genes looked at at once, so that no dense copy of all of them is made


class GeneFeatures:
    """Turn spots × genes into spots × features.

    Counts are scaled to the median library size of the training spots and log1p is taken; the most
    variable genes are kept; each is standardised. For panels that are not counts (protein
    intensities), where a total has no meaning, set ``log1p`` to False: values are then taken as
    they are.

    Parameters
    ----------
    choices
        The part of the recipe about genes.

    Attributes
    ----------
    names_
        The genes that became features, in the order of the training table.
    """

    def __init__(self, choices: Genes | None = None) -> None:
        self.choices = Genes() if choices is None else choices

    def fit(self, genes: AnnData) -> Self:
        """Learn scale, genes, mean and deviation from training spots (spots × genes).

        Raises
        ------
        DataProblem
            Values are NaN or negative.
        ModelProblem
            No gene is seen in enough spots.
        """
        check_values(genes.X, "genes")
        values = genes.X.tocsc() if hasattr(genes.X, "tocsc") else np.asarray(genes.X)
        totals = _sum(values, axis=1)
        per_gene = _sum(values, axis=0)
        self.panel_: list[str] = genes.var_names[per_gene > 0].astype(str).tolist()
        self.panel_share_: NDArray[np.float64] = per_gene[per_gene > 0] / max(per_gene.sum(), 1e-300)
        self.target_ = float(np.median(totals[totals > 0])) if (totals > 0).any() else 1.0
        mean, variance, seen = self._moments(values, totals)
        usable = np.flatnonzero((seen >= self.choices.min_spots) & (seen > 0))
        if not len(usable):
            raise ModelProblem(
                f"No gene is seen in at least {max(self.choices.min_spots, 1)} of the {genes.n_obs:,} training "
                "spots. Use more spots, or lower the least number of spots per gene."
            )
        n_top = self.choices.n_top
        if n_top is not None and n_top < len(usable):
            usable = np.sort(usable[_most_variable(mean[usable], variance[usable], n_top)])
        self.names_: list[str] = genes.var_names[usable].astype(str).tolist()
        self.mean_: NDArray[np.float64] = mean[usable]
        # Rounding leaves a hair of variance in a constant gene: dividing by it would blow it up.
        constant = variance[usable] <= 1e-12 * np.maximum(mean[usable] ** 2, 1e-12)
        self.deviation_: NDArray[np.float64] = np.where(constant, 1.0, np.sqrt(variance[usable]))
        return self

    def transform(self, genes: AnnData) -> NDArray[np.float32]:
        """Return (spots, features) float32; genes are matched by name, in any order.

        Genes that the query lacks are taken at their training mean.

        Raises
        ------
        ModelProblem
            Fewer than half of the features' genes are in the query.
        DataProblem
            Values are NaN or negative, or gene names are not unique.
        """
        if not genes.var_names.is_unique:
            raise DataProblem("Some genes have the same name. Give each its own name.")
        check_values(genes.X, "genes")
        share = self.share_matched(genes)
        if share < LEAST_SHARE:
            raise ModelProblem(
                f"Only {share:.0%} of the {len(self.names_):,} genes that the model needs are in the data. "
                f"The model knows names like {_examples(self.names_)}; the data has names like "
                f"{_examples(genes.var_names)}. Use the same kind of gene names as in training."
            )
        given = genes.var_names.get_indexer(pd.Index(self.names_))
        found = given >= 0
        values = _dense32(genes.X[:, given[found]])
        if self.choices.log1p:
            values *= self._scale(genes)[:, None].astype(np.float32)
            np.log1p(values, out=values)
        features = np.empty((genes.n_obs, len(self.names_)), dtype=np.float32)
        features[:, found] = values
        features[:, ~found] = self.mean_[~found]
        if self.choices.standardise:
            features -= self.mean_.astype(np.float32)
            features /= self.deviation_.astype(np.float32)
        return features

    def share_matched(self, genes: AnnData) -> float:
        """Return the share of the features' genes that a table of spots × genes has, 0 to 1."""
        return float(pd.Index(self.names_).isin(genes.var_names).mean())

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return everything fitted as JSON values and named arrays."""
        facts = {
            "choices": self.choices.model_dump(mode="json"),
            "names": self.names_,
            "panel": self.panel_,
            "target": self.target_,
        }
        return facts, {"mean": self.mean_, "deviation": self.deviation_, "panel_share": self.panel_share_}

    def restore(self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        self.choices = Genes.model_validate(facts["choices"])
        self.names_, self.panel_, self.target_ = list(facts["names"]), list(facts["panel"]), float(facts["target"])
        self.mean_, self.deviation_ = arrays["mean"], arrays["deviation"]
        self.panel_share_ = arrays["panel_share"]
        if not len(self.names_) == len(self.mean_) == len(self.deviation_):
            raise ModelProblem("The model's gene names and their scales differ in number.")
        if len(self.panel_) != len(self.panel_share_):
            raise ModelProblem("The model's gene panel and its shares differ in number.")
        return self

    def _scale(self, genes: AnnData) -> NDArray[np.float64]:
        """Return what each spot's counts are multiplied by.

        The library is that of the genes known from training, so that a query with a larger or a
        smaller panel comes out on the same scale.
        """
        matched = genes.var_names.isin(self.panel_)
        expected = self.target_ * float(self.panel_share_[pd.Index(self.panel_).isin(genes.var_names)].sum())
        totals = np.asarray(genes.X @ matched.astype(np.float64)).ravel()
        return np.where(totals > 0, expected / np.maximum(totals, 1e-300), 0.0)

    def _moments(
        self, values: Any, totals: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Return mean and variance of each gene's normalised values, and in how many spots it is seen."""
        scale = np.where(totals > 0, self.target_ / np.maximum(totals, 1e-300), 0.0)
        mean, variance = np.empty(values.shape[1]), np.empty(values.shape[1])
        seen = np.empty(values.shape[1], dtype=np.int64)
        for start in range(0, values.shape[1], _COLUMNS):
            part = slice(start, min(start + _COLUMNS, values.shape[1]))
            block = dense(values[:, part]).astype(np.float64)
            if self.choices.log1p:
                block = np.log1p(block * scale[:, None])
            seen[part] = (block > 0).sum(axis=0)
            mean[part], variance[part] = block.mean(axis=0), block.var(axis=0)
        return mean, variance, seen


def _most_variable(mean: NDArray[np.float64], variance: NDArray[np.float64], n_top: int) -> NDArray[np.int64]:
    """Return the genes whose dispersion stands out among genes of similar mean.

    Dispersion (variance over mean) is compared with the median of its bin of equally many genes, in
    units of the bin's median absolute deviation: the idea of Satija et al. 2015, doi:10.1038/nbt.3192.
    """
    dispersion = np.log(np.maximum(variance, 1e-12) / np.maximum(mean, 1e-12))
    order = np.argsort(mean, kind="stable")
    score = np.empty(len(mean))
    for members in np.array_split(order, max(1, min(_BINS, len(mean) // 5))):
        middle = np.median(dispersion[members])
        spread = np.median(np.abs(dispersion[members] - middle))
        score[members] = (dispersion[members] - middle) / max(spread, 1e-6)
    return np.argsort(-score, kind="stable")[:n_top]


def _sum(values: Any, axis: int) -> NDArray[np.float64]:
    return np.asarray(values.sum(axis=axis, dtype=np.float64), dtype=np.float64).ravel()


def _dense32(values: Any) -> NDArray[np.float32]:
    """Return a float32 copy that may be changed."""
    return np.array(dense(values), dtype=np.float32)


def _examples(names: Any) -> str:
    return ", ".join(f"'{name}'" for name in list(names)[:3]) or "none"
