"""Pictures of tissue: measured beside predicted beside what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.report.style import FAINT, INK, blank

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

# On square and hexagonal lattices the fourth neighbour is as near as the first; between scattered
# cells it is about as far as they must reach to cover the tissue.
_NEIGHBOUR = 4


def spot_pitch(xy: NDArray[np.floating]) -> float:
    """Return how wide spots must be to touch: the median distance to the fourth neighbour, in the unit of `xy`."""
    from scipy.spatial import KDTree

    if len(xy) < 2:
        return 1.0
    distance, _ = KDTree(xy).query(xy, k=min(_NEIGHBOUR, len(xy) - 1) + 1)
    return float(np.median(distance[:, -1]))


def side_by_side(xy: NDArray[np.floating], sections: NDArray[Any]) -> NDArray[np.float64]:
    """Return positions in which no two sections overlap: as they are, or else in a grid of sections.

    Parameters
    ----------
    xy
        (n, 2) in µm.
    sections
        (n,) label of the section of each spot.
    """
    there: NDArray[np.float64] = np.asarray(xy, dtype=np.float64)
    labels = np.unique(sections)
    own = [there[sections == label] for label in labels]
    boxes = np.array([[each.min(axis=0), each.max(axis=0)] for each in own])
    low, high = boxes[:, 0], boxes[:, 1]
    meet = (low[:, None] <= high[None]).all(axis=2) & (low[None] <= high[:, None]).all(axis=2)
    if meet.sum() == len(labels):
        return there
    columns = int(np.ceil(np.sqrt(len(labels))))
    cell = 1.08 * (high - low).max(axis=0)
    moved = np.empty_like(there)
    for number, label in enumerate(labels):
        moved[sections == label] = own[number] - low[number] + cell * [number % columns, number // columns]
    return moved


def ion_figure(
    xy: NDArray[np.floating],
    measured: NDArray[np.floating],
    predicted: NDArray[np.floating],
    *,
    title: str,
    kind: str = "out of fold",
    unit: str = "intensity",
    width: float = 10.6,
) -> Figure:
    """Draw one ion: measured, predicted and measured − predicted.

    Measured and predicted share limits, 0 to the 99.5th percentile of measured; the residual has
    limits symmetric around zero. Spots with missing values are left out, never drawn as zero.

    Parameters
    ----------
    xy
        (n, 2) positions in µm; y points down, as in images.
    measured, predicted
        (n,) values in the same unit.
    kind
        How the predicted values came about, written beside them.
    unit
        What the values are.
    """
    xy = np.asarray(xy, dtype=float)
    residual = np.asarray(measured, dtype=float) - predicted
    seen = measured[np.isfinite(measured)]
    top = float(np.percentile(seen, 99.5)) if len(seen) else 0.0
    top = top if top > 0 else (float(seen.max()) if len(seen) and seen.max() > 0 else 1.0)
    left_out = np.abs(residual[np.isfinite(residual)])
    swing = float(np.percentile(left_out, 99.5)) if len(left_out) and left_out.max() > 0 else top
    size = 0.96 * spot_pitch(xy)  # spots that nearly touch read as an image
    height = _height(xy, width / 3 - 0.75) + 0.75
    figure = blank(width, height)
    figure.suptitle(title, fontsize=10.5, fontweight="bold", color=INK, x=0.01, ha="left")
    axes = figure.subplots(1, 3)
    panels = (
        ("measured", measured, "viridis", (0.0, top)),
        (f"predicted, {kind}", predicted, "viridis", (0.0, top)),
        ("residual: measured − predicted", residual, "RdBu_r", (-swing, swing)),
    )
    for axis, (name, values, colours, limits) in zip(axes, panels, strict=True):
        spots = draw_spots(axis, xy, values, size, colours=colours, limits=limits)
        axis.set_title(name, fontsize=9, color=INK, loc="left")
        bar = figure.colorbar(spots, ax=axis, shrink=0.82, pad=0.02, aspect=24)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7.5, length=2, color=FAINT, labelcolor=INK)
        bar.set_label(unit, fontsize=7.5, color=FAINT)
    scale_bar(axes[0], xy)
    return figure


def draw_spots(
    axis: Axes,
    xy: NDArray[np.floating],
    values: NDArray[np.number],
    diameter: float,
    *,
    colours: str | Colormap,
    limits: tuple[float, float],
) -> Any:
    """Draw spots as discs of a diameter in µm, coloured by value; missing values are left out."""
    from matplotlib.collections import EllipseCollection

    there = np.isfinite(np.asarray(values, dtype=float))
    sizes = np.full(int(there.sum()), diameter)
    discs = EllipseCollection(
        sizes,
        sizes,
        np.zeros(len(sizes)),
        units="xy",
        offsets=xy[there],
        transOffset=axis.transData,
        cmap=colours,
        linewidths=0,
    )
    discs.set_array(np.asarray(values, dtype=float)[there])
    discs.set_clim(*limits)
    axis.add_collection(discs)
    low, high = xy.min(axis=0) - diameter, xy.max(axis=0) + diameter
    axis.set_xlim(low[0], high[0])
    axis.set_ylim(high[1], low[1])
    axis.set_aspect("equal")
    axis.set_axis_off()
    return discs


def scale_bar(axis: Axes, xy: NDArray[np.floating]) -> None:
    """Put a bar of a round length in µm under the tissue."""
    span = np.ptp(xy, axis=0)
    length = round_length(0.3 * float(span[0] or span[1] or 1.0))
    x, y = xy[:, 0].min(), xy[:, 1].max() + 0.05 * (span[1] or 1.0)
    axis.plot([x, x + length], [y, y], color=INK, linewidth=2, solid_capstyle="butt", clip_on=False)
    text = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
    axis.annotate(
        text, (x, y), (0, -3), textcoords="offset points", fontsize=7.5, color=INK, va="top", annotation_clip=False
    )


def round_length(limit: float) -> float:
    """Return the largest of 1, 2, 5 × a power of ten that does not exceed `limit`."""
    power = 10.0 ** np.floor(np.log10(limit))
    return float(max(step * power for step in (1, 2, 5) if step * power <= limit * (1 + 1e-9)))


def _height(xy: NDArray[np.floating], width: float) -> float:
    span = np.ptp(xy, axis=0)
    ratio = span[1] / span[0] if span[0] > 0 else 1.0
    return float(np.clip(width * ratio, 0.8, 7.0))
