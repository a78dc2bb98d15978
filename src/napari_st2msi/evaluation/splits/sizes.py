"""How large blocks and buffers must be: from the ions' variograms, and from how far features and pixels reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.evaluation.splits.blocks import SpatialBlocks
from napari_st2msi.evaluation.variogram import variogram
from napari_st2msi.features.blocks import BLOCKS_ALONG, longer_side
from napari_st2msi.features.ions import IonScale
from napari_st2msi.features.neighbours import step_length
from napari_st2msi.paired import PairedDataset
from napari_st2msi.recipe import Recipe

#: Blocks after the variogram are no larger than the longer side divided by this, so that there are several.
LEAST_ALONG = 4
#: Buffers after the variogram leave at least this share of the spots that are not held out.
LEAST_TRAIN = 0.5
# Ions whose variograms are estimated, at most: their ranges are summarised by a median.
_IONS = 200


@dataclass(frozen=True)
class Reach:
    """Up to where something of a held-out spot may be known, in µm.

    Attributes
    ----------
    range_um
        Median range of the ions' variograms; None where ions have no structure.
    features_um
        How far away the recipe's features look at genes.
    pixels_um
        How far apart two spots lie at most that have a pixel in common; 0 where that is not known.
    """

    range_um: float | None
    features_um: float
    pixels_um: float

    @property
    def buffer_um(self) -> float:
        """All three together: beyond, nothing is shared."""
        return (self.range_um or 0.0) + self.features_um + self.pixels_um


def reach_of(paired: PairedDataset, recipe: Recipe) -> Reach:
    """Measure how far ions, features and pixels reach.

    The variograms are those of all spots: they say how to cut the tissue, and nothing of them gets to a model.
    """
    scale = IonScale(recipe.ions).fit(paired.ions)
    known = np.flatnonzero(scale.learnable_)
    some = known[np.linspace(0, len(known) - 1, min(_IONS, len(known))).astype(int)]
    found = variogram(scale.forward(paired.ions)[:, some], paired.xy, paired.sections) if len(some) else None
    return Reach(
        None if found is None else found.typical_range,
        features_reach(recipe, paired.xy, paired.sections),
        pixels_reach(paired),
    )


def features_reach(recipe: Recipe, xy: NDArray[np.float64], section: NDArray[Any]) -> float:
    """Return how far from a spot, in µm, genes or stain are looked at as its features."""
    genes = recipe.genes
    steps = {"none": 0, "rings": genes.n_rings, "diffusion": genes.n_steps, "graph_svd": 1}[genes.neighbourhood]
    if recipe.model.name in ("gcn", "graphsage", "gat"):
        steps = recipe.model.depth  # they hear neighbours themselves, and leave bands of them out
    around = steps * step_length(xy, section, genes.n_neighbours) if steps else 0.0
    return max(around, 0.0 if genes.histology == "none" else 2 * genes.histology_radius)


def pixels_reach(paired: PairedDataset) -> float:
    """Return how far apart two spots lie at most, in µm, whose ions come from a common pixel."""
    weights = paired.pixel_weights
    if weights is None or weights.nnz == 0:
        return 0.0
    entries = weights.tocoo()
    at, pixel = paired.xy[entries.row], entries.col
    # The diagonal of the box around all spots of a pixel: at least as far as any two of them.
    low, high = np.full((weights.shape[1], 2), np.inf), np.full((weights.shape[1], 2), -np.inf)
    np.minimum.at(low, pixel, at)
    np.maximum.at(high, pixel, at)
    used = np.unique(pixel)
    return float(np.linalg.norm(high[used] - low[used], axis=1).max())


def block_splitter(paired: PairedDataset, recipe: Recipe, reach: Reach) -> SpatialBlocks:
    """Return the blocks that a recipe asks for; sizes that it gives stay as they are."""
    choices = recipe.evaluation
    side = choices.block_um
    if side is None and choices.blocks_by == "variogram" and reach.range_um is not None:
        longer = longer_side(paired.xy, paired.sections)
        side = float(np.clip(reach.range_um, longer / BLOCKS_ALONG, longer / LEAST_ALONG))
    buffer, least = buffer_choice(recipe, reach)
    return SpatialBlocks(choices.n_folds, side, buffer, choices.seed, least_train=least)


def buffer_choice(recipe: Recipe, reach: Reach) -> tuple[float | None, float]:
    """Return the buffer that a recipe asks for, None for that of the tissue, and the least share that must train."""
    choices = recipe.evaluation
    if choices.buffer_um is None and choices.blocks_by == "variogram" and reach.range_um is not None:
        return reach.buffer_um, LEAST_TRAIN
    return choices.buffer_um, 0.0


def sizes_in_words(recipe: Recipe, reach: Reach, buffer: float, side: float | None = None) -> str:
    """Say what the buffer, and blocks if there are any, were chosen by, and how far that is enough."""
    choices = recipe.evaluation
    if reach.range_um is None:
        return "" if choices.blocks_by == "tissue" else " No ion has a range, so the sizes are those of the tissue."
    known = f"ions resemble themselves over {reach.range_um:,.0f} µm (median range of their variograms)"
    if choices.blocks_by == "tissue":
        if buffer >= reach.range_um:
            return ""
        return f" As {known}, held-out spots are not independent of training ones where ions are smooth."
    said = []
    if choices.block_um is None and side is not None and side < reach.range_um:
        said.append("blocks are a quarter of the tissue's longer side, so that there are several")
    elif choices.block_um is None and side is not None and side > reach.range_um:
        said.append("blocks are an eighth of the tissue's longer side, which is more")
    if choices.buffer_um is None:
        parts = f"{reach.range_um:,.0f} + {reach.features_um:,.0f} + {reach.pixels_um:,.0f} µm (range, features, pixels"
        whole = buffer >= reach.buffer_um * (1 - 1e-6)
        least = f"{LEAST_TRAIN:.0%} of the other spots train"
        said.append(f"the buffer is {parts})" if whole else f"a buffer of {parts}) was cut to let {least}")
    return f" {known[:1].upper()}{known[1:]}" + (": " if said else "") + "; ".join(said) + "."
