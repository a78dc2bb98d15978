"""Transformers: ions that attend to genes or pathways, with a map of what they attend to or, faster, without."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, ModelProblem
from napari_st2msi.features.arrays import part, prefixed
from napari_st2msi.features.design import SIGNATURE, Design
from napari_st2msi.models.base import prediction
from napari_st2msi.models.deep.learner import NetworkLearner
from napari_st2msi.models.inputs import Inputs
from napari_st2msi.models.learner import pieces
from napari_st2msi.paired import PairedDataset
from napari_st2msi.progress import Progress, check, never
from napari_st2msi.recipe import Genes

if TYPE_CHECKING:
    import torch
    from anndata import AnnData

    from napari_st2msi.models.deep.transformer import Transformer as Network

_TINY = 1e-9
# Numbers in an array that is made and dropped again: 64 MiB.
_AT_ONCE = 2**24
#: An attention map that was asked for may have so many numbers: 2 GiB.
MOST_WEIGHTS = 2**29


class Transformer(NetworkLearner):
    """Ions that attend to genes or pathways; see `napari_st2msi.models.deep.transformer.Transformer`.

    Each ion asks the tokens of a spot. There are as many tokens as the recipe says (`model.n_tokens`): the
    most variable genes, those that stand out in spatial clusters, or as `genes.selection` says; or the
    pathways (`model.attend`). The features of the design, in which all genes have their say, are added to
    each question and go straight to the ions as well. So attention shows what the network read, and not all
    that it knew: it is evidence about the model, not about the tissue.

    Attributes
    ----------
    tokens_
        The design of the tokens.
    clusters_
        Names of the spatial clusters, in the order of `cluster_attention_`; one, ``all``, without signatures.
    cluster_attention_
        (clusters, ions of `columns_`, tokens) mean attention in the training spots of each cluster.
    """

    name: ClassVar[str] = "transformer"
    assumes: ClassVar[str] = (
        "Each ion follows few of the genes, and which ones may differ from place to place; many spots tell which."
    )
    #: Whether there is no attention map.
    map_less: ClassVar[bool] = False
    # As good after a third of the epochs.
    pace: ClassVar[float] = 3.0

    @property
    def token_names_(self) -> list[str]:
        """Names of the tokens: genes, or pathways."""
        return list(self.tokens_.pathways_ or self.tokens_.genes_.names_)

    def attention(
        self,
        genes: AnnData,
        ions: Sequence[str],
        *,
        context: AnnData | None = None,
        progress: Progress = Progress(),
        cancelled: Callable[[], bool] = never,
    ) -> NDArray[np.float32]:
        """Return how much ions attend to each token in each spot.

        Parameters
        ----------
        genes, context
            As for `predict`.
        ions
            Names of ions that the model learned.

        Returns
        -------
        (spots, ions, tokens) float32, the mean over heads, layers and networks; sums over tokens are 1.

        Raises
        ------
        ModelProblem
            The model has no attention map, an ion was not learned, or the map would not fit the memory.
        Cancelled
            The user stopped it.
        """
        self._must_have_a_map()
        among = self._positions(ions)
        size = genes.n_obs * len(among) * len(self.token_names_)
        if size > MOST_WEIGHTS:
            raise ModelProblem(
                f"The attention of {len(among):,} ions in {genes.n_obs:,} spots would take {4 * size / 2**30:.0f} GiB. "
                "Ask for fewer ions or spots."
            )
        data = self.data(genes, context, self.features(genes, context))
        weights = np.empty((genes.n_obs, len(among), len(self.token_names_)), dtype=np.float32)
        for rows, piece in self._weights(data, among, cancelled):
            weights[rows] = piece
            progress(rows.stop / genes.n_obs, "attention")
        return weights

    def predict_unseen(
        self, genes: AnnData, mz: Sequence[float] | NDArray[np.floating], *, context: AnnData | None = None
    ) -> AnnData:
        """Predict ions that were not in training, by their m/z.

        Parameters
        ----------
        genes, context
            As for `predict`.
        mz
            Their m/z.

        Returns
        -------
        A prediction whose values are standard deviations from the ion's mean, on the learning scale: of an
        ion never measured neither mean nor deviation is known. `uns["provenance"]["unit"]` says so. Nothing
        tells how far to believe it: see the report on ions left out.

        Raises
        ------
        DataProblem
            An m/z is no positive number.
        ModelProblem
            The ions of training have no m/z, or there was nothing to learn.
        """
        import torch

        wanted = np.atleast_1d(np.asarray(mz, dtype=np.float64))
        if not len(wanted) or not (np.isfinite(wanted) & (wanted > 0)).all():
            raise DataProblem("An ion to predict is given by its m/z, a number above 0.")
        if not self.networks_ or np.isnan(self._mz[self.columns_]).all():
            raise ModelProblem(
                "The model knows no m/z of its ions, so it cannot predict others by theirs. Give the ions of training "
                "a column 'mz'."
            )
        data = self.data(genes, context, self.features(genes, context))
        values = np.empty((genes.n_obs, len(wanted)), dtype=np.float32)
        with torch.no_grad():
            for rows in pieces(genes.n_obs, _AT_ONCE // (len(wanted) * self._width)):
                said = [
                    network.unseen(
                        torch.from_numpy(wanted), self._seen(network, data, rows), data["tokens"][rows]
                    ).numpy()
                    for network in self._made
                ]
                values[rows] = np.mean(said, axis=0)
        ions = pd.DataFrame({"mz": wanted}, index=[f"m/z {value:.4f}" for value in wanted])
        return prediction(values, genes, ions, model=self.name, unit="standard deviations from the mean")

    # -- learning --------------------------------------------------------------------------------

    @property
    def _token_choices(self) -> Genes:
        """Return what the tokens are, as choices about genes."""
        choices, model = self.recipe.genes, self.recipe.model
        pathways = model.attend == "pathways"
        around = choices.neighbourhood
        changed = {
            "preset": "custom",
            "selection": "pathways" if pathways else "variable" if choices.selection == "all" else choices.selection,
            "n_top": min(model.n_tokens, choices.n_top or model.n_tokens),
            "reduction": "pathways" if pathways else "none",
            "neighbourhood": "diffusion" if around == "graph_svd" else around,
            "n_steps": 1 if around == "graph_svd" else choices.n_steps,
            "pathway_band": False,
            "histology": "none",
            "signature_mask": "no" if choices.signature_mask == "no" or pathways else "yes",
        }
        return choices.model_copy(update=changed)

    def _inputs(self, train: PairedDataset, inputs: Inputs) -> Inputs:
        self.tokens_ = Design(self._token_choices).fit(train.genes, context=inputs.context)
        if len(self.token_names_) > self.recipe.model.n_tokens:
            kind = "pathways" if self.tokens_.pathways_ else "genes"
            raise ModelProblem(
                f"There are {len(self.token_names_):,} {kind} to attend to, and the recipe allows "
                f"{self.recipe.model.n_tokens:,} tokens. Allow more, or choose 'variable' genes or fewer gene sets."
            )
        said = self._said_of_tokens(self.tokens_.transform(train.genes, inputs.context))
        bits = self._channels.index(SIGNATURE) if SIGNATURE in self._channels else None
        self.token_mean_: NDArray[np.float32] = said.mean(axis=0)
        self.token_scale_: NDArray[np.float32] = np.sqrt(said.var(axis=0).mean(axis=0))
        if bits is not None:  # stay what they are, 0 or 1
            self.token_mean_[:, bits], self.token_scale_[bits] = 0.0, 1.0
        self.token_scale_[self.token_scale_ < _TINY] = 1.0
        return inputs

    def _learn(
        self,
        inputs: Inputs,
        values: NDArray[np.float64],
        present: NDArray[np.bool_],
        progress: Progress,
        cancelled: Callable[[], bool],
    ) -> None:
        super()._learn(inputs, values, present, progress, cancelled)
        assert inputs.genes is not None
        signatures = self.tokens_.signatures_
        self.clusters_ = ["all"] if signatures is None else list(signatures.clusters_)
        which = np.zeros(len(values), int) if signatures is None else signatures.assign(inputs.genes, inputs.context)
        shape = (len(self.clusters_), len(self.columns_), len(self.token_names_))
        self.cluster_attention_: NDArray[np.float32] = np.zeros(shape, dtype=np.float32)
        if self.map_less or not self.networks_:
            self.cluster_attention_ = self.cluster_attention_[:, :0]
            return
        data = self.data(inputs.genes, inputs.context, inputs.features.astype(np.float32))
        for rows, piece in self._weights(data, np.arange(len(self.columns_)), never):
            np.add.at(self.cluster_attention_, which[rows], piece)
        size = np.bincount(which, minlength=len(self.clusters_))
        self.cluster_attention_ /= np.maximum(size, 1)[:, None, None].astype(np.float32)

    def _network(self, n_features: int) -> Network:
        import torch

        from napari_st2msi.models.deep.transformer import Transformer as Network

        choices = self.recipe.model
        return Network(
            n_features,
            len(self.token_names_),
            len(self._channels),
            torch.from_numpy(self._mz[self.columns_]),
            torch.from_numpy(np.searchsorted(self.columns_, self.mixed_)),
            width=self._width,
            heads=choices.heads,
            depth=choices.layers,
            dropout=choices.dropout,
            map_less=self.map_less,
        )

    def _extras(
        self, genes: AnnData, context: AnnData | None, features: NDArray[np.float32]
    ) -> dict[str, torch.Tensor]:
        import torch

        return {"tokens": torch.from_numpy(self.scaled_tokens(self.tokens_.transform(genes, context)))}

    def forward(
        self, network: Any, data: Mapping[str, torch.Tensor], rows: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what a network says of some rows, a few at a time where they are asked for at once."""
        import torch

        # A minibatch is small; what is asked at once need not be.
        few = len(rows) if torch.is_grad_enabled() else max(1, _AT_ONCE // (4 * len(self.columns_) * self._width))
        each = torch.split(rows, few)
        said = [network(self._seen(network, data, some), data["tokens"][some]) for some in each]
        return torch.cat([values for values, _ in said]), torch.cat([odds for _, odds in said])

    # -- keeping ---------------------------------------------------------------------------------

    def _own_facts(self) -> dict[str, Any]:
        tokens, _ = self.tokens_.state()
        return {**super()._own_facts(), "tokens": tokens, "clusters": self.clusters_}

    def _own_arrays(self) -> dict[str, NDArray[Any]]:
        _, tokens = self.tokens_.state()
        own = {"mean": self.token_mean_, "scale": self.token_scale_, "attention": self.cluster_attention_}
        return {**super()._own_arrays(), **prefixed("tokens", tokens), **prefixed("token", own)}

    def _own_restore(self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        self.tokens_ = Design().restore(facts["tokens"], part("tokens", arrays))
        self.clusters_ = [str(name) for name in facts["clusters"]]
        own = part("token", arrays)
        self.token_mean_, self.token_scale_, self.cluster_attention_ = own["mean"], own["scale"], own["attention"]
        if self.token_mean_.shape != (len(self.token_names_), len(self._channels)) or self.token_scale_.shape != (
            len(self._channels),
        ):
            raise ModelProblem("The model's tokens do not fit their scales.")
        super()._own_restore(facts, arrays)
        n_ions = 0 if self.map_less or not self.networks_ else len(self.columns_)
        if self.cluster_attention_.shape != (len(self.clusters_), n_ions, len(self.token_names_)):
            raise ModelProblem("The model's attention of clusters does not fit its ions and tokens.")

    # -- shapes ----------------------------------------------------------------------------------

    @property
    def _channels(self) -> list[str]:
        """What a spot says of each token."""
        return list(self.tokens_.widths_)

    @property
    def _width(self) -> int:
        return self.recipe.model.heads * self.recipe.model.head_width

    @property
    def _mz(self) -> NDArray[np.float64]:
        """(ions,) m/z, NaN where unknown."""
        var = self.ions_.var_
        if "mz" not in var:
            return np.full(len(var), np.nan)
        mz = pd.to_numeric(var["mz"], errors="coerce").to_numpy(dtype=np.float64)
        return np.where(np.isfinite(mz) & (mz > 0), mz, np.nan)

    @property
    def _made(self) -> list[Any]:
        return list(self.networks_)

    def scaled_tokens(self, bands: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (n, tokens, channels) as the network sees it, from features (n, channels · tokens) of `tokens_`."""
        scaled: NDArray[np.float32] = self._said_of_tokens(bands) - self.token_mean_
        scaled /= self.token_scale_
        return scaled

    def _said_of_tokens(self, bands: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (n, tokens, channels) from (n, channels · tokens): in every band tokens have the same order."""
        return np.ascontiguousarray(bands.reshape(len(bands), len(self._channels), -1).transpose(0, 2, 1))

    def _positions(self, ions: Sequence[str]) -> NDArray[np.int64]:
        """Return where ions are in `columns_`."""
        names = self.ions_.var_.index
        learned = names[self.columns_] if self.networks_ else names[:0]
        found = learned.get_indexer(pd.Index(list(ions), dtype=object))
        if (found < 0).any():
            ion = list(ions)[int(np.argmin(found))]
            known = "was seen in too few spots to be learned" if ion in names else "is not one of the model"
            raise ModelProblem(f"There is no attention of '{ion}': the ion {known}. Choose another ion.")
        return np.asarray(found, dtype=np.int64)

    def _weights(
        self, data: Mapping[str, torch.Tensor], ions: NDArray[np.int64], cancelled: Callable[[], bool]
    ) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Yield rows and (rows, ions, tokens) attention, the mean over networks."""
        import torch

        asked = torch.from_numpy(ions)
        per_spot = len(ions) * len(self.token_names_) * self.recipe.model.heads
        for rows in pieces(len(data["features"]), _AT_ONCE // max(per_spot, 1)):
            check(cancelled)
            with torch.no_grad():
                maps = [
                    network.attention(asked, self._seen(network, data, rows), data["tokens"][rows]).numpy()
                    for network in self._made
                ]
            yield rows, np.mean(maps, axis=0, dtype=np.float32)

    def _must_have_a_map(self) -> None:
        if self.map_less:
            raise ModelProblem(
                f"The model '{self.name}' has no attention map: its ions read a summary of all genes. "
                "Choose the model 'transformer', or look at attributions."
            )


class LinearTransformer(Transformer):
    """Ions that read a summary of all tokens: faster, and without an attention map.

    Time grows with tokens plus ions instead of their product; see `napari_st2msi.models.deep.transformer.Summary`.
    """

    name: ClassVar[str] = "linear_transformer"
    assumes: ClassVar[str] = (
        "Each ion follows the genes in its own way, given what all of them say together; there is no attention map."
    )
    map_less: ClassVar[bool] = True
