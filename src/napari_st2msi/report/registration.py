"""A registration as a picture: the ST, the MSI over it, and both as tiles, with landmarks and their errors."""

from __future__ import annotations

from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem
from napari_st2msi.io.one_file import replacing
from napari_st2msi.registration.overlay import Overlay
from napari_st2msi.registration.registration import Registration
from napari_st2msi.registration.views import View, msi_view, st_view, st_views
from napari_st2msi.report.figures import png
from napari_st2msi.report.style import FAINT, INK
from napari_st2msi.report.tissue import round_length, scale_bar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from napari_st2msi.section import Section

_OPACITY = 0.6
_PIXELS = 900  # of a panel, along its longer side
_WIDTH = 11.0  # inches, of three panels
# A point, and where the transform puts its counterpart: they must be seen on stains and on any colour map.
_POINT, _MISSED = "white", "#ff2d95"


def write_overlay(
    path: str | Path,
    section: Section,
    registration: Registration,
    *,
    fixed: View | None = None,
    moving: View | None = None,
) -> Path:
    """Write a picture of a registration as PNG; one that is there is replaced in one step.

    Parameters
    ----------
    path
        Where to.
    section
        The section; the registration need not be applied to it.
    registration
        How its MSI lies over its ST.
    fixed, moving
        What to show of either side: the stain, or else total counts, and the total ion current when None.

    Returns
    -------
    Where it was written.

    Raises
    ------
    DataProblem
        The section has no MSI, or neither histology nor ST.
    FileProblem
        It cannot be written.
    """
    path = Path(path).expanduser()
    content = png(overlay_figure(section, registration, fixed=fixed, moving=moving))
    with replacing(path) as beside:
        beside.write_bytes(content)
    return path


def overlay_figure(
    section: Section, registration: Registration, *, fixed: View | None = None, moving: View | None = None
) -> Figure:
    """Draw the ST with landmarks and their errors, the MSI over it, and both in a checkerboard.

    Parameters
    ----------
    section
        The section; the registration need not be applied to it.
    registration
        How its MSI lies over its ST.
    fixed, moving
        What to show of either side: the stain, or else total counts, and the total ion current when None.

    Raises
    ------
    DataProblem
        The section has no MSI, or neither histology nor ST.
    """
    from matplotlib.figure import Figure

    fixed = _tissue(section) if fixed is None else fixed
    moving = msi_view(section, "tic") if moving is None else moving
    overlay = Overlay(fixed, moving, registration.transform, longest=_PIXELS, colormap="magma")
    base, warped = overlay.base(), overlay.warped()
    rows, columns = overlay.shape
    size = np.array([columns, rows]) * overlay.pitch_um
    tile = round_length(float(size.max()) / 6)
    height = _WIDTH / 3 * rows / columns
    figure = Figure(figsize=(_WIDTH, height + 1.0), dpi=110, facecolor="white")
    figure.set_layout_engine("constrained", h_pad=0.08)
    figure.suptitle(
        f"{section.name}: MSI over {'ST' if section.has_st else 'histology'} by {registration.transform.label}",
        fontsize=10.5,
        fontweight="bold",
        color=INK,
        x=0.01,
        ha="left",
    )
    figure.supxlabel(error_words(registration), fontsize=8.5, color=INK, x=0.01, ha="left")
    panels = (
        (fixed.name, base),
        (f"over it: {moving.name}", _over(base, overlay.masked(warped, opacity=_OPACITY))),
        (f"tiles of {_length(tile)}", _over(base, overlay.masked(warped, "checkerboard", tile_um=tile))),
    )
    corner = overlay.to_um[:2, 2] - overlay.pitch_um / 2
    extent = (corner[0], corner[0] + size[0], corner[1] + size[1], corner[1])
    axes = figure.subplots(1, 3)
    for axis, (title, image) in zip(axes, panels, strict=True):
        axis.imshow(image, extent=extent, interpolation="antialiased")
        axis.set_title(shorten(title, 52, placeholder=" …"), fontsize=9, color=INK, loc="left")
        axis.set_axis_off()
    _draw_landmarks(axes[0], registration)
    axes[0].set(xlim=extent[:2], ylim=extent[2:])
    scale_bar(axes[0], np.array([corner, corner + size]))
    return figure


def error_words(registration: Registration) -> str:
    """Say how far off a registration is where nobody clicked, or whether one without landmarks is trusted."""
    used = int(registration.landmarks.enabled.sum())
    error = registration.left_out
    parts = []
    if used and np.isfinite(error["median"]):
        parts.append(
            f"{used} landmarks; each, predicted from the others, is missed by {error['median']:,.0f} µm (median), "
            f"{error['max']:,.0f} µm at most."
        )
    elif used:
        parts.append(f"{used} landmarks: too few to tell the error where nobody clicked.")
    trust = registration.trust
    if trust is not None:
        parts.append("Found from images." if trust.trusted else "Found from images, and not to be trusted:")
        parts += trust.reasons[:1]
    return " ".join(parts)


def _tissue(section: Section) -> View:
    known = st_views(section)
    if not known:
        raise DataProblem(f"Section '{section.name}' has neither histology nor ST, so there is nothing under the MSI.")
    return st_view(section, "histology" if "histology" in known else "counts")


def _over(base: NDArray[np.uint8], rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    share = rgba[..., 3:].astype(np.float32) / 255
    return np.asarray(base * (1 - share) + rgba[..., :3] * share).round().astype(np.uint8)


def _draw_landmarks(axis: Axes, registration: Registration) -> None:
    """Draw each point of the ST with a line to where the transform puts its counterpart."""
    from matplotlib.collections import LineCollection

    landmarks = registration.landmarks
    if not len(landmarks):
        return
    there = registration.transform.forward(landmarks.moving)
    shown = np.isfinite(there).all(axis=1)
    lines = np.stack([landmarks.fixed, there], axis=1)[shown]
    axis.add_collection(LineCollection(list(lines), colors=_MISSED, linewidths=1.4, zorder=3))
    for used, marker in ((True, "o"), (False, "x")):
        some = landmarks.enabled == used
        style: dict[str, Any] = {"facecolors": _POINT, "edgecolors": INK} if used else {"color": FAINT}
        axis.scatter(
            landmarks.fixed[some, 0], landmarks.fixed[some, 1], s=20, marker=marker, linewidths=0.9, zorder=4, **style
        )


def _length(um: float) -> str:
    return f"{um / 1000:g} mm" if um >= 1000 else f"{um:g} µm"
