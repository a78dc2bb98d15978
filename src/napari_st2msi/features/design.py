"""`Design`: what models see of spots, built in one place from genes and from genes around."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import ModelProblem
from napari_st2msi.features.arrays import part, prefixed
from napari_st2msi.features.genes import GeneFeatures, Scaled
from napari_st2msi.features.histology import HISTOLOGY, HistologyFeatures, Learn
from napari_st2msi.features.neighbours import ring_means, spreading, step_length
from napari_st2msi.features.pathways import averaging, gene_sets, members
from napari_st2msi.features.pls import simpls
from napari_st2msi.features.rotation import Rotation, blocks
from napari_st2msi.features.signatures import Signatures
from napari_st2msi.features.spatial import where, within
from napari_st2msi.recipe import Genes

if TYPE_CHECKING:
    from anndata import AnnData


def _rotation() -> Rotation:
    return Rotation(None)


#: The band of a spot's own genes.
OWN = "own"
#: Bands beside those of genes and their neighbourhood.
PATHWAYS, SIGNATURE = "pathways", "signature"
_PIECES: dict[str, Callable[[], Any]] = {
    "genes": GeneFeatures,
    "reduction": _rotation,
    "graph": _rotation,
    "pathway_genes": GeneFeatures,
    "pathway_means": _rotation,
    "signatures": Signatures,
    "histology": HistologyFeatures,
}


class Design:
    """Turn spots × genes into spots × features in named bands.

    The first band, `OWN`, is the spot's own genes, reduced as the recipe says. Others hold the same
    features of the neighbourhood: ``ring1``, ``ring2`` (means over rings), ``diffused`` (after spreading
    over the graph of neighbours) or ``graph`` (leading directions of the mean over the neighbours).
    Neighbours count within a section only, and only by their genes. All that is fitted is fitted on
    training spots; a basis is applied to other spots, never fitted again there.

    Where the recipe asks for them, more bands follow: ``pathways``, the mean of each pathway's
    standardised genes, and ``signature``, which genes belong to the signature of the spot's cluster (1 or 0;
    where genes are reduced to directions, which cluster it is, as that says the same). Last comes ``histology``,
    what the stained section looks like around the spot.

    Parameters
    ----------
    choices
        The part of the recipe about genes.

    Attributes
    ----------
    genes_, reduction_, graph_
        The fitted scales and directions; None where there is no reduction, no graph band.
    pathway_genes_, pathway_means_, signatures_, histology_
        What the further bands, or the choice of genes, need; None where nothing does.
    pathways_
        Names of the pathways, in the order of their columns; empty where there are none.
    step_
        How far one step to a neighbour is, in µm.
    widths_
        How many features each band has.
    """

    def __init__(self, choices: Genes | None = None) -> None:
        self.choices = Genes() if choices is None else choices

    @property
    def supervised(self) -> bool:
        """Whether features depend on targets: they must then be fitted anew on each inner fold."""
        return self.choices.reduction == "pls"

    @property
    def bands(self) -> dict[str, slice]:
        """The columns of each band."""
        ends = np.cumsum([0, *self.widths_.values()])
        return {name: slice(int(ends[i]), int(ends[i + 1])) for i, name in enumerate(self.widths_)}

    def fit(
        self,
        genes: AnnData,
        *,
        targets: NDArray[np.floating] | None = None,
        context: AnnData | None = None,
        learn: Learn | None = None,
    ) -> Self:
        """Learn from training spots (spots × genes).

        Parameters
        ----------
        targets
            (spots, k) what ``pls`` directions go along with; the other reductions do not look at it.
        context
            Spots × genes of the whole sections, the training spots among them: neighbours, of which
            only positions and genes are looked at, and nothing is fitted to.
        learn
            What trains an encoder of the histology, where the recipe asks for one.

        Raises
        ------
        DataProblem, ModelProblem
            See `GeneFeatures.fit`; or a training spot is not in the context.
        """
        choices = self.choices
        self.pathways_: list[str] = []
        self.signatures_: Signatures | None = None
        if choices.selection == "signature" or choices.signature_mask == "yes":
            self.signatures_ = Signatures(choices).fit(genes, context)
        self.genes_ = GeneFeatures(choices).fit(genes, self._named(genes))
        self._fit_pathways(genes)
        scaled = self.genes_.scaled(genes)
        self.reduction_: Rotation | None = None
        if choices.reduction == "svd":
            self.reduction_ = Rotation(choices.n_components).fit(scaled)
        elif choices.reduction == "pls":
            if targets is None:
                raise ModelProblem("The reduction 'pls' needs ions to go along with, and there are none here.")
            self.reduction_ = _pls(scaled, targets, choices.n_components)
        elif choices.reduction == "pathways":
            self.reduction_, self.pathways_ = _means(choices, self.genes_.names_)
        self.graph_: Rotation | None = None
        self.step_ = (
            step_length(*where(genes if context is None else context), choices.n_neighbours) if self._around else 0.0
        )
        known, asked = within(genes, context)
        base = self._base(known if context is not None else genes)
        self.histology_: HistologyFeatures | None = None
        if choices.histology != "none":
            self.histology_ = HistologyFeatures(choices).fit(genes, base[asked], learn, context)
        self.widths_: dict[str, int] = {OWN: base.shape[1]}
        self.fill_: NDArray[np.float32] = np.zeros(0, dtype=np.float32)
        bands = self._bands(base, known, asked)
        if choices.neighbourhood == "graph_svd":
            self.graph_ = Rotation(choices.n_graph).fit(bands["graph"])
            bands["graph"] = self.graph_.transform(bands["graph"]).astype(np.float32)
        bands |= self._beside(genes, context)
        self.widths_ |= {name: values.shape[1] for name, values in bands.items()}
        # A spot without neighbours is given the mean of the training spots.
        self.fill_ = np.concatenate([_mean_known(values) for values in bands.values()] or [self.fill_])
        return self

    def transform(self, genes: AnnData, context: AnnData | None = None) -> NDArray[np.float32]:
        """Return (spots, features) float32.

        Parameters
        ----------
        genes
            The spots asked for, genes matched by name; `obsm["spatial"]` in µm and `obs["section"]`.
        context
            The whole sections, the spots asked for among them by name; None where these are all that
            is known.

        Raises
        ------
        ModelProblem, DataProblem
            See `GeneFeatures.scaled`; or a spot is not in the context.
        """
        known, asked = within(genes, context)
        base = self._base(known)
        features = np.empty((genes.n_obs, sum(self.widths_.values())), dtype=np.float32)
        place = self.bands
        features[:, place[OWN]] = base[asked]
        for name, values in self._bands(base, known, asked).items():
            features[:, place[name]] = values if self.graph_ is None else self.graph_.transform(values)
        for name, values in self._beside(genes, context).items():
            features[:, place[name]] = values
        around = features[:, self.widths_[OWN] :]
        np.copyto(around, self.fill_, where=np.isnan(around))
        return features

    def share_matched(self, genes: AnnData) -> float:
        """Return the share of the features' genes that a table of spots × genes has, 0 to 1."""
        return self.genes_.share_matched(genes)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return everything fitted as JSON values and named arrays."""
        facts: dict[str, Any] = {"choices": self.choices.model_dump(mode="json"), "step": self.step_}
        facts |= {"widths": self.widths_, "pathways": self.pathways_}
        arrays: dict[str, NDArray[Any]] = {"fill": self.fill_}
        for name in _PIECES:
            piece = getattr(self, f"{name}_")
            facts[name], own = (None, {}) if piece is None else piece.state()
            arrays |= prefixed(name, own)
        return facts, arrays

    def restore(self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        self.choices, self.step_ = Genes.model_validate(facts["choices"]), float(facts["step"])
        self.widths_ = {str(name): int(width) for name, width in facts["widths"].items()}
        self.fill_, self.pathways_ = arrays["fill"], [str(name) for name in facts["pathways"]]
        for name, empty in _PIECES.items():
            own = part(name, arrays)
            setattr(self, f"{name}_", None if facts[name] is None else empty().restore(facts[name], own))
        p = len(self.genes_.names_)
        if self.reduction_ is not None and len(self.reduction_.centre_) != p:
            raise ModelProblem("The model's directions do not fit its genes.")
        width = p if self.reduction_ is None else self.reduction_.directions_.shape[1]
        if self.widths_.get(OWN) != width or len(self.fill_) != sum(self.widths_.values()) - width:
            raise ModelProblem("The model's features do not fit its genes.")
        return self

    @property
    def _around(self) -> bool:
        return self.choices.neighbourhood != "none"

    def _named(self, genes: AnnData) -> list[str] | None:
        """Return the genes that signatures or pathways name; None where genes are chosen otherwise."""
        choices = self.choices
        if choices.selection == "pathways":
            found = members(gene_sets(choices.file), genes.var_names.astype(str).tolist())
            return [gene for own in found.values() for gene in own]
        if choices.selection != "signature" or self.signatures_ is None:
            return None
        named = self.signatures_.most(choices.n_top)
        if not named:
            raise ModelProblem(
                "No gene stands out in any cluster of the training spots, so there are no signature genes. Choose "
                "'variable' genes, more spots, or other clusters."
            )
        return named

    def _fit_pathways(self, genes: AnnData) -> None:
        self.pathway_genes_: GeneFeatures | None = None
        self.pathway_means_: Rotation | None = None
        if self.choices.pathway_band and self.choices.reduction != "pathways":
            found = members(gene_sets(self.choices.file), genes.var_names.astype(str).tolist())
            self.pathway_genes_ = GeneFeatures(self.choices.model_copy(update={"selection": "pathways"}))
            self.pathway_genes_.fit(genes, [gene for own in found.values() for gene in own])
            self.pathway_means_, self.pathways_ = _means(self.choices, self.pathway_genes_.names_)

    def _beside(self, genes: AnnData, context: AnnData | None) -> dict[str, NDArray[np.float32]]:
        """Return the bands beside genes and their neighbourhood, for the spots asked for."""
        bands = {}
        if self.pathway_genes_ is not None and self.pathway_means_ is not None:
            known, asked = within(genes, context)
            means = self.pathway_means_.transform(self.pathway_genes_.scaled(known))
            bands[PATHWAYS] = means[asked].astype(np.float32)
        if self.signatures_ is not None and self.choices.signature_mask == "yes":
            if self.reduction_ is None:
                bands[SIGNATURE] = self.signatures_.mask(genes, self.genes_.names_, context)
            else:
                which = self.signatures_.assign(genes, context)
                bands[SIGNATURE] = np.eye(len(self.signatures_.clusters_), dtype=np.float32)[which]
        if self.histology_ is not None:
            bands[HISTOLOGY] = self.histology_.transform(genes, context)
        return bands

    def _base(self, genes: AnnData) -> NDArray[np.float32]:
        """Return the band of own genes for all spots of a table."""
        scaled = self.genes_.scaled(genes)
        if self.reduction_ is None:
            return np.concatenate(list(blocks(scaled)))
        return self.reduction_.transform(scaled).astype(np.float32)

    def _bands(
        self, base: NDArray[np.float32], known: AnnData, asked: NDArray[np.int64]
    ) -> dict[str, NDArray[np.float32]]:
        """Return the bands of the neighbourhood for the spots asked for; NaN where there are no neighbours."""
        if not self._around:
            return {}
        xy, section = where(known)
        if self.choices.neighbourhood == "rings":
            means = ring_means(xy, section, asked, self.step_, self.choices.n_rings)
            bands = {f"ring{number}": mean.astype(np.float32) @ base for number, mean in enumerate(means, 1)}
            for mean, values in zip(means, bands.values(), strict=True):
                values[np.diff(mean.indptr) == 0] = np.nan
            return bands
        spread = spreading(xy, section, self.step_).astype(np.float32)
        if self.choices.neighbourhood == "graph_svd":
            return {"graph": spread[asked] @ base}
        for _ in range(self.choices.n_steps - 1):
            base = spread @ base
        return {"diffused": spread[asked] @ base}


def _means(choices: Genes, genes: list[str]) -> tuple[Rotation, list[str]]:
    """Return what takes standardised genes to means of pathways, and the names of these."""
    found = members(gene_sets(choices.file), genes)
    rotation = Rotation(None)
    rotation.centre_, rotation.directions_ = np.zeros(len(genes)), averaging(found, genes)
    return rotation, list(found)


def _pls(features: Scaled, targets: NDArray[np.floating], n_components: int) -> Rotation:
    """Return directions of unit length that go along with standardised targets."""
    whole = np.concatenate(list(blocks(features)))
    rotation = Rotation(n_components)
    rotation.centre_ = whole.mean(axis=0, dtype=np.float64)
    centred = targets - targets.mean(axis=0)
    deviation = centred.std(axis=0)
    weights, _ = simpls(
        whole - rotation.centre_, centred / np.where(deviation > 1e-12, deviation, np.inf), n_components
    )
    rotation.directions_ = weights / np.maximum(np.linalg.norm(weights, axis=0), 1e-300)
    return rotation


def _mean_known(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the mean of each column over what is not NaN; 0 where all is."""
    known = ~np.isnan(values[:, :1])
    return (np.where(known, values, 0.0).sum(axis=0) / max(int(known.sum()), 1)).astype(np.float32)
