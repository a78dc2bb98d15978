"""Give spots what the stained section looks like around them, where a recipe asks for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem
from napari_st2msi.features.histology import HISTOLOGY, SIDE
from napari_st2msi.features.patches import kept_patches, patches
from napari_st2msi.features.texture import WIDER, texture
from napari_st2msi.io.histology import histology_levels
from napari_st2msi.paired import PairedDataset
from napari_st2msi.progress import Progress, never
from napari_st2msi.recipe import Genes
from napari_st2msi.section import Section


def describe_spots(
    section: Section,
    choices: Genes,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> None:
    """Describe the histology around the spots of a section, in ``section.st.obsm["histology"]``.

    Nothing is done where the recipe asks for no histology, and nothing twice. What it was made from stays in
    ``uns["histology"]``. For an encoder that is yet to be learned, patches of 3 kB a spot are kept.

    Raises
    ------
    DataProblem
        The section has no histology, or none of its spots lies on it.
    FileProblem, ModelProblem
        A network of timm cannot be had: see `napari_st2msi.models.deep.pretrained.describe`.
    """
    if choices.histology == "none":
        return
    try:
        levels, to_um = histology_levels(section)
    except DataProblem as error:
        raise DataProblem(f"{error} Or choose no histology in the recipe.") from error
    st = section.st
    made_from = {
        "how": choices.histology,
        "image": str(section.roles.image),
        "shape": list(levels[0].shape),
        "to_um": to_um.ravel().tolist(),
        "radius": choices.histology_radius,
    }
    if choices.histology == "timm":
        from napari_st2msi.models.deep.pretrained import fingerprint

        made_from |= {"network": choices.histology_network, "weights": fingerprint(choices)}
    if HISTOLOGY in st.obsm and st.uns.get(HISTOLOGY) == made_from:
        return
    xy = np.asarray(st.obsm["spatial"], dtype=np.float64)[:, :2]
    found = _seen(levels, to_um, xy, choices, progress, cancelled)
    if (np.isnan(found) if found.dtype.kind == "f" else found == 0).all():
        raise DataProblem(
            f"No spot of section '{section.name}' lies on its histology. Check where the picture lies, or choose no "
            "histology in the recipe."
        )
    st.obsm[HISTOLOGY], st.uns[HISTOLOGY] = found, made_from


def _seen(
    levels: Sequence[Any],
    to_um: NDArray[np.float64],
    xy: NDArray[np.float64],
    choices: Genes,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> NDArray[Any]:
    """Return (spots, features) what is known of each place; see `HistologyFeatures`."""
    near = choices.histology_radius
    if choices.histology == "timm":
        from napari_st2msi.models.deep.pretrained import describe

        return describe(levels, to_um, xy, choices, progress=progress, cancelled=cancelled)
    if choices.histology == "learned":
        seen = patches(levels, to_um, xy, WIDER * near, SIDE, progress=progress, cancelled=cancelled)
        return kept_patches(seen, len(xy), SIDE)
    return texture(levels, to_um, xy, near, progress=progress, cancelled=cancelled)


def with_histology(
    paired: PairedDataset,
    section: Section,
    choices: Genes,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> PairedDataset:
    """Return the paired spots of a section with the histology around them, where the recipe asks for it.

    Raises
    ------
    DataProblem
        See `describe_spots`.
    """
    if choices.histology == "none":
        return paired
    describe_spots(section, choices, progress=progress, cancelled=cancelled)
    rows = section.st.obs_names.get_indexer(paired.genes.obs_names)
    if (rows < 0).any():
        raise DataProblem(f"Some paired spots are not spots of section '{section.name}'. Pair it again.")
    genes = paired.genes.copy()
    genes.obsm[HISTOLOGY] = np.asarray(section.st.obsm[HISTOLOGY])[rows]
    return PairedDataset(genes, paired.ions)
