"""The splits on the canvas: which spots were held out together, and which did not train for that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer
from napari.utils.colormaps import Colormap

from napari_st2msi.evaluation.splits import Fold, held_out_in
from napari_st2msi.report.folds import FOLD_COLOURS, ROLES, roles
from napari_st2msi.section import Section
from napari_st2msi.viewer import layers
from napari_st2msi.viewer.ion_values import rows_of

if TYPE_CHECKING:
    from anndata import AnnData


def show_folds(
    viewer: Any, section: Section, spots: AnnData, folds: Sequence[Fold], only: int | None = None
) -> Layer | None:
    """Colour the spots of a section by the fold they were held out in, or by what they did in one fold.

    Spots that are in no fold are left out. The layer is made once and then recoloured.

    Parameters
    ----------
    spots
        What the folds are positions in: the prediction of an evaluation, or its paired spots.
    only
        Position of a single fold: its spots, those that trained, and, grey, those left out for their nearness.
    """
    if only is None:
        of_spot = held_out_in(folds)
        colours = [FOLD_COLOURS[number % len(FOLD_COLOURS)] for number in range(len(folds))]
        name = "folds"
    else:
        of_spot = roles(folds[only], spots.n_obs)
        colours, name = list(ROLES.values()), f"folds · {folds[only].name}"
    row = rows_of(section, spots)
    values = np.where(row >= 0, of_spot[row], np.nan).astype(np.float32)
    flat = Colormap(colours, interpolation="zero", controls=np.linspace(0, 1, len(colours) + 1))
    limits = (-0.5, len(colours) - 0.5)
    return layers.show_values(viewer, section, "folds", layers.spot_site(section), values, limits, name, flat)
