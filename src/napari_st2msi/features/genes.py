"""Genes as features: library size and log1p, variable genes, standardisation; fitted on training spots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, ModelProblem
from napari_st2msi.features.selection import most_variable, read_genes
from napari_st2msi.features.spatial import morans_i, neighbour_graph, section_of, where
from napari_st2msi.paired import check_values, dense
from napari_st2msi.recipe import Genes

if TYPE_CHECKING:
    from anndata import AnnData

#: A model is refused where the query has fewer than this share of the genes it needs.
LEAST_SHARE = 0.5
#: A section with fewer spots is standardised by the training spots, whatever the recipe says.
LEAST_SECTION = 20
# Numbers of a block of genes: 32 MiB, whatever the spots.
_AT_ONCE = 2**22
_ROWS = 4096


class GeneFeatures:
    """Turn spots × genes into spots × features.

    Counts are scaled to the median library size of the training spots and log1p is taken; genes are
    chosen; each is standardised, over all training spots or within each section. For panels that are
    not counts (protein intensities), where a total has no meaning, set ``log1p`` to False: values are
    then taken as they are.

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

    def fit(self, genes: AnnData, named: Sequence[str] | None = None) -> Self:
        """Learn scale, genes, mean and deviation from training spots (spots × genes).

        Parameters
        ----------
        named
            The genes to choose from, where the recipe asks for those of signatures or pathways.

        Raises
        ------
        DataProblem
            Values are NaN or negative.
        ModelProblem
            No gene is seen in enough spots, or none of the listed ones is there.
        FileProblem
            The list of genes cannot be read.
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
        chosen = self._choose(genes, values, totals, usable, mean, variance, named)
        self.names_: list[str] = genes.var_names[chosen].astype(str).tolist()
        self.mean_: NDArray[np.float64] = mean[chosen]
        self.deviation_: NDArray[np.float64] = _deviation(mean[chosen], variance[chosen])
        return self

    def transform(self, genes: AnnData) -> NDArray[np.float32]:
        """Return (spots, features) float32; see `scaled`."""
        return self.scaled(genes)(np.arange(genes.n_obs))

    def scaled(self, genes: AnnData) -> Scaled:
        """Return what gives the features of any of the spots; genes are matched by name, in any order.

        Genes that the query lacks are taken at their training mean. Mean and deviation of a section
        are those of the spots given here.

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
        return Scaled(self, genes, self._scale(genes) if self.choices.log1p else None)

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
        self.names_, self.panel_ = list(map(str, facts["names"])), list(map(str, facts["panel"]))
        self.target_ = float(facts["target"])
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

    def _choose(
        self,
        genes: AnnData,
        values: Any,
        totals: NDArray[np.float64],
        usable: NDArray[np.int64],
        mean: NDArray[np.float64],
        variance: NDArray[np.float64],
        named: Sequence[str] | None,
    ) -> NDArray[np.int64]:
        """Return the genes that become features, as sorted positions."""
        how, n_top = self.choices.selection, self.choices.n_top
        if how == "listed":
            if self.choices.file is None:
                raise ModelProblem("The genes are to come from a list, and no file is chosen. Choose the gene list.")
            listed = usable[genes.var_names[usable].isin(read_genes(self.choices.file))]
            if not len(listed):
                raise ModelProblem(
                    f"None of the genes in '{self.choices.file.name}' is seen in the training spots. The data has "
                    f"names like {_examples(genes.var_names)}."
                )
            return listed
        if named is not None:
            return self._among(genes, usable, named)
        if how == "all" or n_top is None or n_top >= len(usable):
            return usable
        if how == "variable":
            return np.sort(usable[most_variable(mean[usable], variance[usable], n_top)])
        xy, section = where(genes)
        graph, score = neighbour_graph(xy, section), np.empty(values.shape[1])
        for part, block in self._blocks(values, totals):
            score[part] = np.nan_to_num(morans_i(block, graph, section), nan=-np.inf)
        return np.sort(usable[np.argsort(-score[usable], kind="stable")[:n_top]])

    def _among(self, genes: AnnData, usable: NDArray[np.int64], named: Sequence[str]) -> NDArray[np.int64]:
        chosen = usable[genes.var_names[usable].isin(pd.Index(named))]
        if not len(chosen):
            raise ModelProblem(
                f"None of the genes of the {self.choices.selection} is seen in at least {self.choices.min_spots} "
                "training spots. Use more spots, or lower the least number of spots per gene."
            )
        return chosen

    def _moments(
        self, values: Any, totals: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Return mean and variance of each gene's normalised values, and in how many spots it is seen."""
        mean, variance = np.empty(values.shape[1]), np.empty(values.shape[1])
        seen = np.empty(values.shape[1], dtype=np.int64)
        for part, block in self._blocks(values, totals):
            seen[part] = (block > 0).sum(axis=0)
            mean[part], variance[part] = block.mean(axis=0), block.var(axis=0)
        return mean, variance, seen

    def _blocks(self, values: Any, totals: NDArray[np.float64]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Yield the normalised values of some genes at a time, as (which, (spots, genes))."""
        scale = np.where(totals > 0, self.target_ / np.maximum(totals, 1e-300), 0.0)
        columns = max(_AT_ONCE // max(len(totals), 1), 1)
        for start in range(0, values.shape[1], columns):
            part = slice(start, min(start + columns, values.shape[1]))
            block = dense(values[:, part]).astype(np.float64)
            yield part, np.log1p(block * scale[:, None]) if self.choices.log1p else block


class Scaled:
    """The features of a query, computed for some spots at a time.

    Parameters
    ----------
    features
        What was fitted.
    genes
        The query.
    scale
        (spots,) what counts are multiplied by before log1p; None leaves values as they are.
    """

    def __init__(self, features: GeneFeatures, genes: AnnData, scale: NDArray[np.float64] | None) -> None:
        given = genes.var_names.get_indexer(pd.Index(features.names_))
        self._found, self._features, self._scale = given >= 0, features, scale
        self._values = genes.X[:, given[self._found]]
        self._section = np.zeros(genes.n_obs, dtype=np.int64)
        self._mean, self._deviation = features.mean_[None], features.deviation_[None]
        if features.choices.standardise and features.choices.per_section:
            self._of_sections(section_of(genes))

    @property
    def shape(self) -> tuple[int, int]:
        """(spots, features)."""
        return len(self._section), len(self._found)

    def __call__(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return (rows, features) float32."""
        choices, fitted = self._features.choices, self._features
        features = np.zeros((len(rows), len(fitted.names_)), dtype=np.float32)
        features[:, self._found] = self._normalised(rows)
        if not choices.standardise:
            features[:, ~self._found] = fitted.mean_[~self._found]
            return features
        for number in np.unique(self._section[rows]):
            own = self._section[rows] == number
            features[own] -= self._mean[number].astype(np.float32)
            features[own] /= self._deviation[number].astype(np.float32)
        features[:, ~self._found] = 0.0
        return features

    def with_counts(self, genes: AnnData, rows: NDArray[np.int64]) -> Scaled:
        """Return the features of other counts of some of these spots, at the scale and deviations they have here.

        Parameters
        ----------
        genes
            The other counts, with the same genes.
        rows
            Which of the spots they belong to.
        """
        other = copy(self)
        given = genes.var_names.get_indexer(pd.Index(self._features.names_))
        other._values = genes.X[:, given[self._found]]
        other._scale = None if self._scale is None else self._scale[rows]
        other._section = self._section[rows]
        return other

    def _normalised(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the values of the genes that the query has."""
        values = _dense32(self._values[rows])
        if self._scale is not None:
            values *= self._scale[rows, None].astype(np.float32)
            np.log1p(values, out=values)
        return values

    def _of_sections(self, section: NDArray[Any]) -> None:
        """Take mean and deviation of each section that is large enough; the others keep those of training."""
        means, deviations = [self._mean[0]], [self._deviation[0]]
        for label in np.unique(section):
            own = np.flatnonzero(section == label)
            if len(own) < LEAST_SECTION:
                continue
            total, square = np.zeros(int(self._found.sum())), np.zeros(int(self._found.sum()))
            for start in range(0, len(own), _ROWS):
                block = self._normalised(own[start : start + _ROWS]).astype(np.float64)
                total, square = total + block.sum(axis=0), square + (block**2).sum(axis=0)
            mean, deviation = self._features.mean_.copy(), self._features.deviation_.copy()
            mean[self._found] = total / len(own)
            spread = np.maximum(square / len(own) - mean[self._found] ** 2, 0.0)
            deviation[self._found] = _deviation(mean[self._found], spread)
            self._section[own] = len(means)
            means.append(mean)
            deviations.append(deviation)
        self._mean, self._deviation = np.array(means), np.array(deviations)


def _deviation(mean: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the square root of a variance, and 1 for what is constant."""
    # Rounding leaves a hair of variance in a constant gene: dividing by it would blow it up.
    constant = variance <= 1e-12 * np.maximum(mean**2, 1e-12)
    return np.where(constant, 1.0, np.sqrt(variance))


def _sum(values: Any, axis: int) -> NDArray[np.float64]:
    return np.asarray(values.sum(axis=axis, dtype=np.float64), dtype=np.float64).ravel()


def _dense32(values: Any) -> NDArray[np.float32]:
    """Return a float32 copy that may be changed."""
    return np.array(dense(values), dtype=np.float32)


def _examples(names: Any) -> str:
    return ", ".join(f"'{name}'" for name in list(names)[:3]) or "none"
