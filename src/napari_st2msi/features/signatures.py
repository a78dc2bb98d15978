"""Signatures: spatial clusters, the genes that stand out in each, and a mask that tells models so."""

from __future__ import annotations

from io import StringIO
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, FileProblem, ModelProblem
from napari_st2msi.features.arrays import part, prefixed
from napari_st2msi.features.clusters import found_clusters
from napari_st2msi.features.genes import GeneFeatures, Scaled
from napari_st2msi.features.neighbours import spreading, step_length
from napari_st2msi.features.rotation import Rotation, blocks
from napari_st2msi.features.spatial import where, within
from napari_st2msi.recipe import Genes

if TYPE_CHECKING:
    from anndata import AnnData

#: A gene belongs to a signature only where Welch's t of the cluster against the rest is above this.
LEAST_T = 3.0
#: Clusters with fewer training spots get no signature.
LEAST_SPOTS = 5
_DIRECTIONS, _GENES, _STEPS = 20, 2000, 2
_SHRINK = 0.1


class Signatures:
    """Spatial clusters, each with the genes that stand out there.

    Clusters come from a column of `obs`, from the user's signatures, or are found among the training
    spots, by their leading directions of gene expression spread over neighbours. All spots, those of
    training included, are then given to the nearest mean of a cluster, by distances within clusters where
    labels were given (a linear discriminant, Fisher 1936, doi:10.1111/j.1469-1809.1936.tb02137.x): what a
    model sees of a spot is known in the same way in training and in a new section, where nothing is fitted.

    Parameters
    ----------
    choices
        The part of the recipe about genes.

    Attributes
    ----------
    clusters_
        Names of the clusters.
    signatures_
        Genes of each cluster, those that stand out most first.
    """

    def __init__(self, choices: Genes | None = None) -> None:
        self.choices = Genes() if choices is None else choices

    def fit(self, genes: AnnData, context: AnnData | None = None) -> Self:
        """Find clusters and their genes on training spots (spots × genes).

        Parameters
        ----------
        context
            Spots × genes of whole sections, in which neighbours are looked up; nothing is fitted to them.

        Raises
        ------
        DataProblem
            The column of clusters is not there or empty.
        FileProblem
            The user's signatures cannot be read.
        ModelProblem
            The user's signatures do not fit the data, or the package for Leiden is not installed.
        """
        own = {"log1p": self.choices.log1p, "min_spots": self.choices.min_spots}
        own |= {"per_section": self.choices.per_section}
        every = GeneFeatures(Genes.model_validate({"selection": "all", **own})).fit(genes)
        self.scale_ = GeneFeatures(Genes.model_validate({"n_top": _GENES, **own})).fit(genes)
        self.rotation_ = Rotation(_DIRECTIONS).fit(self.scale_.scaled(genes))
        self.step_ = step_length(*where(genes if context is None else context), self.choices.n_neighbours)
        place = self._place(genes, context)
        listed = None if self.choices.signature_file is None else read_signatures(self.choices.signature_file)
        labels, told = self._labels(genes, context, place, every, listed)
        known = labels != ""
        self.clusters_: list[str] = sorted({str(label) for label in labels[known]})
        member = np.stack([labels == name for name in self.clusters_], axis=1).astype(np.float64)
        means = member.T @ place / member.sum(axis=0)[:, None]
        self.whitening_: NDArray[np.float64] = (
            _whitening((place - member @ means)[known]) if told else np.eye(place.shape[1])
        )
        self.means_: NDArray[np.float64] = means @ self.whitening_
        if listed is None:
            t = welch_t(every.scaled(genes), member)
            ranked = _ranked(t, every.names_, self.choices.signature_genes)
            enough = member.sum(axis=0) >= LEAST_SPOTS
            listed = {name: own if good else [] for name, own, good in zip(self.clusters_, ranked, enough, strict=True)}
        self.signatures_: dict[str, list[str]] = {name: listed.get(name, []) for name in self.clusters_}
        return self

    def assign(self, genes: AnnData, context: AnnData | None = None) -> NDArray[np.int64]:
        """Return (n,) which of `clusters_` each spot is nearest to."""
        place = self._place(genes, context) @ self.whitening_
        distance = (self.means_**2).sum(axis=1) - 2 * place @ self.means_.T
        return distance.argmin(axis=1)

    def mask(self, genes: AnnData, names: list[str], context: AnnData | None = None) -> NDArray[np.float32]:
        """Return (n, names) float32: 1 where a gene belongs to the signature of the spot's cluster, else 0."""
        index = pd.Index(names)
        table = np.stack([index.isin(self.signatures_[name]) for name in self.clusters_])
        return table.astype(np.float32)[self.assign(genes, context)]

    def most(self, n_top: int | None) -> list[str]:
        """Return the genes of all signatures, each once, the first of every cluster before the second of any."""
        turns = zip_longest(*self.signatures_.values())
        genes = list(dict.fromkeys(gene for turn in turns for gene in turn if gene is not None))
        return genes[:n_top]

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return everything fitted as JSON values and named arrays."""
        facts: dict[str, Any] = {
            "choices": self.choices.model_dump(mode="json"),
            "step": self.step_,
            "signatures": self.signatures_,
        }
        arrays: dict[str, NDArray[Any]] = {"means": self.means_, "whitening": self.whitening_}
        for name, piece in (("scale", self.scale_), ("rotation", self.rotation_)):
            facts[name], own = piece.state()
            arrays |= prefixed(name, own)
        return facts, arrays

    def restore(self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        self.choices, self.step_ = Genes.model_validate(facts["choices"]), float(facts["step"])
        self.signatures_ = {str(name): [str(gene) for gene in own] for name, own in facts["signatures"].items()}
        self.clusters_ = list(self.signatures_)
        self.means_, self.whitening_ = arrays["means"], arrays["whitening"]
        self.scale_ = GeneFeatures().restore(facts["scale"], part("scale", arrays))
        self.rotation_ = Rotation(None).restore(facts["rotation"], part("rotation", arrays))
        r = self.rotation_.directions_.shape[1]
        if self.means_.shape != (len(self.clusters_), r) or self.whitening_.shape != (r, r):
            raise ModelProblem("The model's clusters do not fit its directions.")
        return self

    def _place(self, genes: AnnData, context: AnnData | None) -> NDArray[np.float64]:
        """Return (n, r) leading directions of expression, spread over neighbours."""
        known, asked = within(genes, context)
        place = self.rotation_.transform(self.scale_.scaled(known))
        return _spread(known, self.step_, place)[asked]

    def _labels(
        self,
        genes: AnnData,
        context: AnnData | None,
        place: NDArray[np.float64],
        every: GeneFeatures,
        listed: dict[str, list[str]] | None,
    ) -> tuple[NDArray[Any], bool]:
        """Return (n,) the label of each training spot, "" for none, and whether labels were told and not found."""
        if self.choices.clusters:
            labels = _column(genes, self.choices.clusters)
            unknown = sorted(set(listed or ()) - set(labels))
            if listed is not None and len(unknown) == len(listed):
                raise ModelProblem(
                    f"The signatures are of clusters like '{unknown[0]}', and the column '{self.choices.clusters}' "
                    f"has clusters like '{max(labels)}'. Use the same names in both."
                )
            return labels, True
        if listed is not None:
            return self._by_signatures(genes, context, every, listed), True
        # In the order of their names, so that another order of spots finds the same clusters.
        order = np.argsort(genes.obs_names.to_numpy().astype(str), kind="stable")
        labels = np.empty(len(order), dtype=object)
        labels[order] = found_clusters(place[order], self.choices.clustering, self.choices.n_clusters)
        return labels.astype(str), False

    def _by_signatures(
        self, genes: AnnData, context: AnnData | None, every: GeneFeatures, listed: dict[str, list[str]]
    ) -> NDArray[Any]:
        """Return for each spot the cluster whose genes stand out most, in the spot and around it."""
        weights = np.stack([pd.Index(every.names_).isin(own) for own in listed.values()], axis=1).astype(np.float64)
        size = weights.sum(axis=0)
        if not size.all():
            name = list(listed)[int(np.argmin(size))]
            raise ModelProblem(
                f"None of the signature genes of '{name}' is seen in the training spots: '{listed[name][0]}' and "
                "others. Use the gene names of the data."
            )
        known, asked = within(genes, context)
        score = np.concatenate([block @ (weights / size) for block in blocks(every.scaled(known))])
        score = _spread(known, self.step_, score)[asked]
        deviation = score.std(axis=0)
        score = (score - score.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
        return np.array(list(listed))[score.argmax(axis=1)]


def read_signatures(path: str | Path) -> dict[str, list[str]]:
    """Read signatures from a CSV file with the columns ``cluster`` and ``gene``; genes in order of importance.

    Commas, semicolons or tabs may stand between columns, and other columns beside.

    Raises
    ------
    FileProblem
        The file cannot be read, a column is missing, or there is nothing in it.
    """
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8-sig")
        first = text.partition("\n")[0]
        table = pd.read_csv(StringIO(text), dtype=str, sep=max(",;\t", key=first.count))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise FileProblem(f"The signatures '{path}' cannot be read: {error}") from error
    columns = {str(name).strip().lower(): name for name in table.columns}
    missing = [name for name in ("cluster", "gene") if name not in columns]
    if missing:
        there = ", ".join(f"'{name}'" for name in table.columns)
        raise FileProblem(
            f"The signatures '{path}' have no column '{missing[0]}', only {there}. "
            "Write a CSV file with the columns 'cluster' and 'gene', a gene a line."
        )
    table = table[[columns["cluster"], columns["gene"]]].dropna().apply(lambda column: column.str.strip())
    table = table[(table != "").all(axis=1)].drop_duplicates()
    if table.empty:
        raise FileProblem(f"The signatures '{path}' name no gene. Write a gene a line, with its cluster.")
    return {str(name): own.iloc[:, 1].tolist() for name, own in table.groupby(table.columns[0], sort=False)}


def welch_t(features: Scaled | NDArray[np.floating], member: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (clusters, genes) t of each cluster against all other spots, variances being unequal.

    Welch 1947, doi:10.1093/biomet/34.1-2.28. Where a side has fewer than two spots or nothing varies: 0.

    Parameters
    ----------
    features
        (n, genes), whole or some rows at a time.
    member
        (n, clusters) 1 where a spot belongs to a cluster, else 0.
    """
    k, p, start = member.shape[1], features.shape[1], 0
    total, square = np.zeros((k + 1, p)), np.zeros((k + 1, p))
    sides = np.column_stack([member, np.ones(len(member))])
    for block in blocks(features):
        here, values = sides[start : start + len(block)], block.astype(np.float64)
        total, square = total + here.T @ values, square + here.T @ values**2
        start += len(block)
    n_in = member.sum(axis=0)[:, None]
    n_out = len(member) - n_in
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_in, mean_out = total[:k] / n_in, (total[k] - total[:k]) / n_out
        variance_in = (square[:k] - n_in * mean_in**2) / (n_in - 1)
        variance_out = (square[k] - square[:k] - n_out * mean_out**2) / (n_out - 1)
        error = np.sqrt(np.maximum(variance_in, 0) / n_in + np.maximum(variance_out, 0) / n_out)
        t = (mean_in - mean_out) / error
    return np.where(np.isfinite(t) & (n_in > 1) & (n_out > 1), t, 0.0)


def _ranked(t: NDArray[np.float64], names: list[str], n: int) -> list[list[str]]:
    ranked = []
    for own in t:
        first = np.argsort(-own, kind="stable")[:n]
        ranked.append([names[gene] for gene in first if own[gene] > LEAST_T])
    return ranked


def _spread(known: AnnData, step: float, values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return values averaged over a spot and its neighbours, as often as `_STEPS` says."""
    spread = spreading(*where(known), step)
    for _ in range(_STEPS):
        values = spread @ values
    return np.asarray(values, dtype=np.float64)


def _column(genes: AnnData, column: str) -> NDArray[Any]:
    """Return (n,) labels from `obs` as str, "" where there is none."""
    if column not in genes.obs:
        there = ", ".join(f"'{name}'" for name in list(genes.obs.columns)[:8]) or "none"
        raise DataProblem(f"The spots have no column '{column}' with clusters. Their columns: {there}.")
    values = genes.obs[column]
    labels = np.where(values.isna(), "", values.astype(str))
    if not (labels != "").any():
        raise DataProblem(f"The column '{column}' gives no training spot a cluster. Choose another column.")
    return labels


def _whitening(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (r, r) W that makes the covariance within clusters, drawn a tenth to a multiple of one, the identity."""
    covariance = centred.T @ centred / max(len(centred), 1)
    r = len(covariance)
    level = np.trace(covariance) / max(r, 1)
    if level <= 0:
        return np.eye(r)
    values, vectors = np.linalg.eigh((1 - _SHRINK) * covariance + _SHRINK * level * np.eye(r))
    return vectors / np.sqrt(values)
