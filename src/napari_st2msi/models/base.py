"""The contract of all models: `Predictor`, and what it returns, a prediction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.paired import PairedDataset
from napari_st2msi.progress import Progress, never
from napari_st2msi.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

#: Whether predicted spots were unseen (out of fold), seen in training, or belong to another section.
Kind = Literal["out_of_fold", "in_sample", "new_section"]


class Predictor(ABC):
    """Learn ions from genes. Every family of models is a subclass.

    A predictor takes raw counts and raw intensities: whatever it scales, selects or reduces it fits
    itself, on the spots given to `fit`, so nothing can leak from held-out spots. Fitted attributes
    end with an underscore.

    Parameters
    ----------
    recipe
        The choices of the run; a predictor reads `recipe.genes`, `recipe.ions` and `recipe.model`.
    """

    #: Name in the registry, in recipes and on the command line.
    name: ClassVar[str]
    #: One line that says what the model assumes, shown beside its name.
    assumes: ClassVar[str]
    #: False for baselines that look at positions or totals only.
    uses_genes: ClassVar[bool] = True

    def __init__(self, recipe: Recipe | None = None) -> None:
        self.recipe = Recipe() if recipe is None else recipe

    @abstractmethod
    def fit(
        self,
        train: PairedDataset,
        *,
        context: AnnData | None = None,
        validation: PairedDataset | None = None,
        progress: Progress = Progress(),
        cancelled: Callable[[], bool] = never,
    ) -> Self:
        """Fit on training spots.

        Parameters
        ----------
        context
            Spots × genes of whole sections, the training spots among them by name. A spot's
            neighbours are looked up there, by position and genes; nothing is fitted to them, and
            their ions are not there to be seen. None: the training spots are all that is known.

        Raises
        ------
        ModelProblem
            Too few spots, or nothing to learn.
        Cancelled
            The user stopped it.
        """

    @abstractmethod
    def predict(self, genes: AnnData, *, context: AnnData | None = None) -> AnnData:
        """Predict ions of spots.

        Parameters
        ----------
        genes
            Spots × genes with `obsm["spatial"]` in µm and `obs["section"]`; genes are matched by name.
        context
            Spots × genes of whole sections, these spots among them by name: their neighbours. None
            where these spots are whole sections.

        Returns
        -------
        A prediction: see `prediction`.

        Raises
        ------
        ModelProblem
            Too few of the genes the model needs are there.
        """

    @abstractmethod
    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return everything fitted as JSON values and named arrays; `restore` takes them back."""

    @abstractmethod
    def restore(self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """Take back what `state` returned."""


def prediction(
    mean: NDArray[np.floating],
    genes: AnnData,
    ions: pd.DataFrame,
    *,
    layers: dict[str, NDArray[np.floating]] | None = None,
    model: str,
    kind: Kind = "new_section",
    **provenance: Any,
) -> AnnData:
    """Build a prediction: an AnnData of spots × ions.

    Parameters
    ----------
    mean
        (spots, ions) expected intensity, in the units of the measured intensities (after the
        recipe's normalisation).
    genes
        The query; its `obs` and positions are kept.
    ions
        `var` of the ions, in the order of the columns of `mean`.
    layers
        Further (spots, ions) arrays: `presence` (probability, 0 to 1), `lower`, `upper`, `std`.
    model, kind
        Who predicted, and how each value came about; kept in `uns["provenance"]` with the rest.
    """
    from anndata import AnnData

    table = AnnData(
        X=np.ascontiguousarray(mean, dtype=np.float32),
        obs=genes.obs.copy(),
        var=ions.copy(),
        obsm={"spatial": np.asarray(genes.obsm["spatial"], dtype=float)},
        uns={"provenance": {"model": model, "kind": kind, **provenance}},
    )
    for name, values in (layers or {}).items():
        table.layers[name] = np.ascontiguousarray(values, dtype=np.float32)
    return table
