"""The stained section around spots as features: what the picture says, standardised on training spots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, ModelProblem
from napari_st2msi.features.genes import LEAST_SECTION
from napari_st2msi.features.spatial import section_of, within
from napari_st2msi.recipe import Genes

if TYPE_CHECKING:
    from anndata import AnnData

#: Where tables keep what the stained section looks like around their spots, and the band of it.
HISTOLOGY = "histology"


class HistologyFeatures:
    """Standardise what the stained section looks like around spots.

    The description of each spot lies in ``obsm["histology"]``; see `napari_st2msi.features.texture.texture`.
    Mean and deviation are those of the training spots or, where the recipe standardises within sections, of each
    section that has enough spots: stains differ from one day to the next.

    Parameters
    ----------
    choices
        The part of the recipe about genes, of which only ``per_section`` is looked at.

    Attributes
    ----------
    mean_, deviation_
        (features,) of the training spots.
    """

    def __init__(self, choices: Genes | None = None) -> None:
        self.choices = Genes() if choices is None else choices

    def fit(self, genes: AnnData) -> Self:
        """Learn mean and deviation from training spots.

        Raises
        ------
        DataProblem
            A section has no histology.
        """
        self.mean_, self.deviation_ = _moments(described(genes))
        return self

    def transform(self, genes: AnnData, context: AnnData | None = None) -> NDArray[np.float32]:
        """Return (spots, features) float32; NaN for spots beside the picture.

        Parameters
        ----------
        context
            The whole sections, by which sections are standardised; see `napari_st2msi.features.spatial.within`.

        Raises
        ------
        DataProblem
            A section has no histology.
        ModelProblem
            The description has another number of features than in training.
        """
        known, asked = within(genes, context)
        values = described(known)
        if values.shape[1] != len(self.mean_):
            raise ModelProblem(
                f"The histology of the spots has {values.shape[1]} features and the model knows {len(self.mean_)}. "
                "Describe it in the same way as in training."
            )
        scaled = (values - self.mean_) / self.deviation_
        if self.choices.per_section:
            section = section_of(known)
            for label in np.unique(section):
                own = section == label
                if np.isfinite(values[own, 0]).sum() >= LEAST_SECTION:
                    mean, deviation = _moments(values[own])
                    scaled[own] = (values[own] - mean) / deviation
        return scaled[asked].astype(np.float32)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return everything fitted as JSON values and named arrays."""
        facts = {"choices": self.choices.model_dump(mode="json")}
        return facts, {"mean": self.mean_, "deviation": self.deviation_}

    def restore(self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        self.choices = Genes.model_validate(facts["choices"])
        self.mean_, self.deviation_ = arrays["mean"], arrays["deviation"]
        if self.mean_.ndim != 1 or self.mean_.shape != self.deviation_.shape:
            raise ModelProblem("The model's means and deviations of the histology differ in number.")
        return self


def described(genes: AnnData) -> NDArray[np.float64]:
    """Return (spots, features) what the stained section looks like around spots, NaN beside the picture.

    Raises
    ------
    DataProblem
        A section has no histology, or none of its spots lies on it; it is named.
    """
    section = section_of(genes)
    values = np.asarray(genes.obsm[HISTOLOGY], dtype=np.float64) if HISTOLOGY in genes.obsm else None
    seen: NDArray[np.bool_] = np.zeros(len(section), dtype=bool)
    if values is not None:
        seen = np.asarray(np.isfinite(values).all(axis=1))
    without = [label for label in np.unique(section) if not seen[section == label].any()]
    if values is None or without:
        names = ", ".join(f"'{label}'" for label in without[:3]) + (" and others" if len(without) > 3 else "")
        raise DataProblem(
            f"The recipe asks for the histology around spots, and there is none for {names}. Open these sections with "
            "a picture of the stained section, or choose no histology."
        )
    return np.where(seen[:, None], values, np.nan)


def _moments(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and deviation of the spots on the picture; 1 for what is constant."""
    seen = values[np.isfinite(values).all(axis=1)]
    mean, deviation = seen.mean(axis=0), seen.std(axis=0)
    return mean, np.where(deviation <= 1e-6 * np.maximum(np.abs(mean), 1e-6), 1.0, deviation)
