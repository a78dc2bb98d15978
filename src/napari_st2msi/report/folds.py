"""The splits drawn on the tissue: which spots were held out together, and which did not train for that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.evaluation.splits import Fold, held_out_in
from napari_st2msi.report.style import FAINT, INK, blank
from napari_st2msi.report.tissue import draw_spots, scale_bar, side_by_side, spot_pitch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: What a spot does in a fold, and its colour: those of a buffer are grey.
ROLES = {"trains": "#9ecae1", "left out": "#b8bfc6", "held out": "#d95f0e"}
#: Colours of folds, safe for colour-blind eyes (Okabe and Ito 2008), over and over.
FOLD_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#6a51a3")
# Single folds that are drawn beside all together.
_SHOWN = 3


def roles(fold: Fold, n_spots: int) -> NDArray[np.int64]:
    """Return (n,) what each spot does in a fold, as positions in `ROLES`."""
    role = np.full(n_spots, list(ROLES).index("left out"), dtype=np.int64)
    role[fold.train] = list(ROLES).index("trains")
    role[fold.test] = list(ROLES).index("held out")
    return role


def folds_figure(
    xy: NDArray[np.floating], sections: NDArray[Any], folds: Sequence[Fold], *, width: float = 10.6
) -> Figure:
    """Draw in which fold each spot was held out, and for the first folds what the other spots did.

    Parameters
    ----------
    xy, sections
        (n, 2) positions in µm and (n,) section of each spot; sections that overlap are laid side by side.
    folds
        Of these spots. At most three are drawn by themselves.
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.lines import Line2D

    there = side_by_side(np.asarray(xy, dtype=float), sections)
    size = 0.96 * spot_pitch(there)
    shown = list(folds[:_SHOWN])
    span = np.maximum(np.ptp(there, axis=0), 1.0)
    height = float(np.clip(span[1] / span[0] * (width / (_SHOWN + 1)), 0.8, 5.0)) + 0.75
    figure = blank(width, height)
    axes = figure.subplots(1, _SHOWN + 1)
    colours = ListedColormap([FOLD_COLOURS[number % len(FOLD_COLOURS)] for number in range(len(folds))])
    draw_spots(axes[0], there, held_out_in(folds), size, colours=colours, limits=(-0.5, len(folds) - 0.5))
    axes[0].set_title(f"held out in fold 1 to {len(folds)}", fontsize=9, color=INK, loc="left")
    for axis, fold in zip(axes[1:], shown, strict=False):
        draw_spots(
            axis,
            there,
            roles(fold, len(there)),
            size,
            colours=ListedColormap(list(ROLES.values())),
            limits=(-0.5, len(ROLES) - 0.5),
        )
        axis.set_title(fold.name, fontsize=9, color=INK, loc="left")
    for axis in axes[1 + len(shown) :]:
        axis.set_axis_off()
    marks = [
        Line2D([], [], marker="o", linestyle="", markersize=5, color=colour, label=name)
        for name, colour in ROLES.items()
    ]
    figure.legend(handles=marks, loc="outside lower right", ncols=len(marks), frameon=False, fontsize=7.5,
                  labelcolor=FAINT)  # fmt: skip
    scale_bar(axes[0], there)
    return figure
