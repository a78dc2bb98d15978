"""How figures of reports look: their colours, their paper and their axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Of text, of what stands back, and of what matters.
INK, FAINT, ACCENT = "#1d2733", "#7b8794", "#0b6e99"


def blank(width: float, height: float) -> Figure:
    """Return an empty figure, its size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=110, facecolor="white", layout="constrained")


def plain(axis: Axes, labelsize: float = 8.5) -> None:
    """Leave of an axis its left and its lower line, faint."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(FAINT)
    axis.tick_params(labelsize=labelsize, color=FAINT, labelcolor=INK)
