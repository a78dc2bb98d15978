"""What a report rests on: the stained section, where MSI covers it, and how well the two fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.report.style import FAINT, INK, blank
from napari_st2msi.report.tissue import draw_spots, scale_bar, spot_pitch
from napari_st2msi.section import MSI_SYSTEM, SYSTEM

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from napari_st2msi.paired import PairedDataset
    from napari_st2msi.section import Section

# Fine enough for a picture of this width, and quick to read from a large file.
_PIXELS = 900


def overview_figure(section: Section, paired: PairedDataset) -> Figure:
    """Draw the stained section, if there is one, and how much of each spot lies under MSI pixels.

    Parameters
    ----------
    section
        The section; its histology is drawn where it lies, in µm.
    paired
        Its paired spots, with `coverage` in `obs`.
    """
    from matplotlib.transforms import Affine2D

    xy = paired.xy
    stained = section.roles.image is not None
    low, high = xy.min(axis=0), xy.max(axis=0)
    ratio = (high[1] - low[1]) / max(high[0] - low[0], 1e-9)
    height = float(np.clip(3.3 * ratio, 1.2, 5.0)) + 0.5
    figure = blank(8.6 if stained else 4.6, height)
    axes = figure.subplots(1, 1 + stained, squeeze=False)[0]
    discs = draw_spots(
        axes[-1],
        xy,
        paired.obs["coverage"].to_numpy(dtype=float),
        0.96 * spot_pitch(xy),
        colours="Greys",
        limits=(0, 1),
    )
    axes[-1].set_title("share of each spot under MSI pixels", fontsize=9, color=INK, loc="left")
    bar = figure.colorbar(discs, ax=axes[-1], shrink=0.82, pad=0.02, aspect=24)
    bar.ax.tick_params(labelsize=7.5, length=2, color=FAINT, labelcolor=INK)
    if stained:
        image, matrix = histology(section)
        rows, columns = image.shape[:2]
        place = Affine2D(matrix) + axes[0].transData
        axes[0].imshow(image, extent=(0, columns, rows, 0), transform=place, interpolation="antialiased")
        axes[0].set_xlim(axes[-1].get_xlim())
        axes[0].set_ylim(axes[-1].get_ylim())
        axes[0].set_aspect("equal")
        axes[0].set_axis_off()
        axes[0].set_title("stained section", fontsize=9, color=INK, loc="left")
    scale_bar(axes[0], xy)
    return figure


def histology(section: Section) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return the histology at a resolution for a report, and where it lies.

    Returns
    -------
    image
        (rows, columns, 3), as it is stored.
    matrix
        (3, 3) affine from its (column, row), with pixel corners at integers, to µm of the ST.
    """
    from spatialdata.transformations import get_transformation
    from xarray import DataTree

    assert section.roles.image is not None
    element = section.sdata[section.roles.image]
    levels = [next(iter(level.values())) for level in element.values()] if isinstance(element, DataTree) else [element]
    fine = [level for level in levels if max(level.sizes["x"], level.sizes["y"]) >= _PIXELS]
    level = min(fine or levels[:1], key=lambda each: each.sizes["x"])
    matrix = get_transformation(level, to_coordinate_system=SYSTEM).to_affine_matrix(("x", "y"), ("x", "y"))
    image = np.asarray(level.transpose("y", "x", "c").isel(c=slice(0, 3)).values)
    return image, np.asarray(matrix, dtype=np.float64)


def overview_words(section: Section) -> str:
    """Say how MSI came to lie over ST, and how far off it is where nobody clicked."""
    parts = []
    if section.has_msi:
        size = section.pixels(MSI_SYSTEM).diameter
        pixels = f"{section.msi.n_obs:,} MSI pixels" + ("" if size is None else f" of {size:.4g} µm")
        parts.append(f"{pixels} and {section.st.n_obs:,} spots.")
    registration = section.attrs.get("registration")
    if registration:
        parts += _registered_words(registration)
    parts += section.attrs.get("pairing", {}).get("warnings", [])
    return " ".join(parts)


def _registered_words(registration: dict[str, Any]) -> list[str]:
    """Say what MSI was laid over ST by, and the error where nobody clicked."""
    errors = np.array([np.nan if value is None else value for value in registration["left_out_um"]], dtype=float)
    errors = errors[np.asarray(registration["landmarks"]["enabled"], dtype=bool) & np.isfinite(errors)]
    kind = registration["transform"]["kind"].replace("_", " ")
    found = registration.get("source", "landmarks") != "landmarks"
    by = "automatically" if found else f"by {len(errors)} landmarks"
    words = []
    if len(errors):
        also = f"; each of {len(errors)} landmarks, left out" if found else "; each, predicted from the others"
        words.append(
            f"MSI was laid over ST {by} ({kind}){also}, is missed by {np.median(errors):,.0f} µm (median), "
            f"{errors.max():,.0f} µm at most."
        )
    elif found:
        words.append(f"MSI was laid over ST {by} ({kind}), without landmarks to measure the error by.")
    trust = registration.get("trust")
    if trust is not None and not trust["trusted"]:
        words.append(f"It was kept although it is not trusted: {' '.join(trust['reasons'])}")
    return words
