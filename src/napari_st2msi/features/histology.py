"""The stained section around spots as features: what the picture says, standardised on training spots."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, ModelProblem
from napari_st2msi.features.arrays import part, prefixed
from napari_st2msi.features.genes import LEAST_SECTION
from napari_st2msi.features.patches import GLASS
from napari_st2msi.features.rotation import Rotation
from napari_st2msi.features.spatial import section_of, within
from napari_st2msi.recipe import Genes

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_st2msi.features.encoder import Encoder

#: Where tables keep what the stained section looks like around their spots, and the band of it.
HISTOLOGY = "histology"


#: Along the side of the patches that are kept for an encoder of one's own.
SIDE = 32
#: How many leading directions of the genes an encoder learns to tell.
TARGETS = 16

#: From patches (spots, SIDE * SIDE * 3) uint8, what to tell from them (spots, k), and which spots have a patch, to
#: an encoder. `napari_st2msi.models.deep.encoding` makes it, as networks are trained there.
Learn = Callable[[NDArray[np.uint8], NDArray[np.float32], NDArray[np.bool_]], "Encoder"]


class HistologyFeatures:
    """What models see of the stained section around spots, standardised on training spots.

    What is known of each spot lies in ``obsm["histology"]``: with ``texture`` and ``timm`` numbers, NaN beside the
    picture (see `napari_st2msi.features.texture.texture` and `napari_st2msi.models.deep.pretrained`); with
    ``learned`` a patch of the picture, all 0 beside it (`napari_st2msi.features.patches.kept_patches`), which a
    small network turns into numbers. That network learned, on the training spots, to tell the leading directions of
    their genes; it looks at no ion, but directions of ``pls`` know them. Of what a network of timm gives, the leading
    directions are kept.

    Mean and deviation are those of the training spots or, where the recipe standardises within sections, of each
    section that has enough spots: stains differ from one day to the next.

    Parameters
    ----------
    choices
        The part of the recipe about genes.

    Attributes
    ----------
    mean_, deviation_
        (features,) of the training spots.
    encoder_
        What turns patches into features; None but for ``learned``.
    turn_
        What turns features onto their leading directions; None but for ``timm``.
    """

    def __init__(self, choices: Genes | None = None) -> None:
        self.choices = Genes(histology="texture") if choices is None else choices

    def fit(
        self,
        genes: AnnData,
        targets: NDArray[np.floating] | None = None,
        learn: Learn | None = None,
        context: AnnData | None = None,
    ) -> Self:
        """Learn mean and deviation from training spots, and for ``learned`` the encoder before.

        Parameters
        ----------
        targets
            (spots, features) of the genes, whose leading directions an encoder learns to tell.
        learn
            What trains it.
        context
            The whole sections, by which it is judged whether a section has histology; nothing is fitted to them.

        Raises
        ------
        DataProblem
            A section has no histology, or no training spot lies on it.
        ModelProblem
            The recipe asks for an encoder, and there is nothing to learn it from or with.
        """
        self.encoder_: Encoder | None = None
        self.turn_: Rotation | None = None
        known, asked = within(genes, context)
        seen = described(known, self.choices)[asked]
        if not seen.any():
            raise DataProblem(
                "None of the training spots lies on the stained section. Train on other spots, or choose no histology."
            )
        if self.choices.histology == "learned":
            if targets is None or learn is None:
                raise ModelProblem("An encoder of histology is learned by a model. Choose 'texture' without one.")
            self.encoder_ = learn(_patches(genes), _leading(targets), seen)
        values = self._values(genes, seen)
        self.mean_, self.deviation_ = _moments(values)
        if self.choices.histology == "timm":
            scaled = self._standardised(values, section_of(genes))
            self.turn_ = Rotation(self.choices.histology_outputs).fit(scaled[seen])
            # Many numbers that say the same must not drown the genes: together they count as the few that are kept.
            shrink = np.sqrt(self.turn_.directions_.shape[1] / len(self.mean_))
            self.turn_.directions_ = self.turn_.directions_ * shrink
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
            The description is another one than in training.
        """
        known, asked = within(genes, context)
        # By the whole sections: of a section with a picture, all spots that are asked for may lie beside it.
        seen = described(known, self.choices)
        if not self.choices.per_section:
            known, seen, asked = known[asked], seen[asked], np.arange(len(asked))
        values = self._values(known, seen)
        if values.shape[1] != len(self.mean_):
            raise ModelProblem(
                f"The histology of the spots has {values.shape[1]} features and the model knows {len(self.mean_)}. "
                "Describe it in the same way as in training."
            )
        scaled = self._standardised(values, section_of(known))
        if self.turn_ is not None:
            scaled = self.turn_.transform(scaled)
        return scaled[asked].astype(np.float32)

    def blank(self, spots: int) -> NDArray[Any]:
        """Return what could be known of so many spots: something that `transform` takes."""
        if self.encoder_ is not None:
            return np.full((spots, SIDE * SIDE * 3), GLASS, dtype=np.uint8)
        return np.zeros((spots, len(self.mean_)), dtype=np.float32)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return everything fitted as JSON values and named arrays."""
        facts: dict[str, Any] = {"choices": self.choices.model_dump(mode="json"), "turn": None}
        arrays: dict[str, NDArray[Any]] = {"mean": self.mean_, "deviation": self.deviation_}
        if self.encoder_ is not None:
            arrays |= prefixed("encoder", self.encoder_.arrays())
        if self.turn_ is not None:
            facts["turn"], own = self.turn_.state()
            arrays |= prefixed("turn", own)
        return facts, arrays

    def restore(self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        self.choices = Genes.model_validate(facts["choices"])
        self.mean_, self.deviation_ = arrays["mean"], arrays["deviation"]
        if self.mean_.ndim != 1 or self.mean_.shape != self.deviation_.shape:
            raise ModelProblem("The model's means and deviations of the histology differ in number.")
        self.encoder_, self.turn_ = None, None
        if self.choices.histology == "learned":
            from napari_st2msi.features.encoder import Encoder

            self.encoder_ = Encoder.of(part("encoder", arrays))
        if facts["turn"] is not None:
            self.turn_ = Rotation(None).restore(facts["turn"], part("turn", arrays))
        return self

    def _values(self, genes: AnnData, seen: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return (spots, features), NaN beside the picture."""
        if self.encoder_ is None:
            return np.where(seen[:, None], np.asarray(genes.obsm[HISTOLOGY], dtype=np.float64), np.nan)
        from napari_st2msi.features.encoder import encoded

        values = np.full((len(seen), self.encoder_.outputs.out_features), np.nan)
        values[seen] = encoded(self.encoder_, _patches(genes)[seen], SIDE)
        return values

    def _standardised(self, values: NDArray[np.float64], section: NDArray[Any]) -> NDArray[np.float64]:
        """Return values (spots, features) with mean 0 and deviation 1, over training spots or within sections."""
        scaled = (values - self.mean_) / self.deviation_
        for label in np.unique(section) if self.choices.per_section else ():
            own = section == label
            if np.isfinite(values[own, 0]).sum() >= LEAST_SECTION:
                mean, deviation = _moments(values[own])
                scaled[own] = (values[own] - mean) / deviation
        return scaled


def described(genes: AnnData, choices: Genes) -> NDArray[np.bool_]:
    """Return (spots,) whether it is known what the stained section looks like around a spot.

    Raises
    ------
    DataProblem
        A section has no histology, or none of its spots lies on it; it is named.
    ModelProblem
        The spots were described in another way than the recipe asks for.
    """
    section = section_of(genes)
    seen: NDArray[np.bool_] = np.zeros(len(section), dtype=bool)
    if HISTOLOGY in genes.obsm:
        values = np.asarray(genes.obsm[HISTOLOGY])
        patches = values.dtype == np.uint8
        if patches != (choices.histology == "learned") or (patches and values.shape[1] != SIDE * SIDE * 3):
            raise ModelProblem(
                f"The recipe asks for the histology '{choices.histology}', and the spots were described in another "
                "way. Put the paired spots together anew, with this recipe."
            )
        seen = np.asarray(values.any(axis=1) if patches else np.isfinite(values).all(axis=1))
    without = [label for label in np.unique(section) if not seen[section == label].any()]
    if without:
        names = ", ".join(f"'{label}'" for label in without[:3]) + (" and others" if len(without) > 3 else "")
        raise DataProblem(
            f"The recipe asks for the histology around spots, and there is none for {names}. Open these sections with "
            "a picture of the stained section, or choose no histology."
        )
    return seen


def _patches(genes: AnnData) -> NDArray[np.uint8]:
    found: NDArray[np.uint8] = np.asarray(genes.obsm[HISTOLOGY])
    return found


def _leading(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return (spots, k) the leading directions of features of the genes, each with deviation 1."""
    leading = Rotation(TARGETS).fit(features).transform(features)
    return np.asarray(leading / np.maximum(leading.std(axis=0), 1e-9), dtype=np.float32)


def _moments(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and deviation of the spots on the picture; 1 for what is constant."""
    seen = values[np.isfinite(values).all(axis=1)]
    mean, deviation = seen.mean(axis=0), seen.std(axis=0)
    return mean, np.where(deviation <= 1e-6 * np.maximum(np.abs(mean), 1e-6), 1.0, deviation)
