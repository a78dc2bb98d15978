"""What a score means, in words."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.evaluation.block_errors import BlockErrors, interval

#: Predictors that know no gene, the best of which a gain is over.
WITHOUT_GENES = ("mean", "coordinates", "position")
#: R² up to this counts as none: shrunken models reach small positive values on pure noise.
SKILL = 0.02
#: Moran's I from which an image counts as having structure.
STRUCTURE = 0.1


def gain_over_position(table: pd.DataFrame, model: str) -> NDArray[np.float64]:
    """Return (ions,) the model's R² above the best of training mean, coordinates and position.

    The mean's 0 is the floor: a baseline that is worse than nothing must not flatter the model. With
    whole groups held out, `coordinates` has no neighbours to look at and falls back to the mean, so
    `position` is what counts; with blocks it is mostly `coordinates`.
    """
    without = [table[name]["r2"].to_numpy(dtype=float) for name in WITHOUT_GENES]
    return table[model]["r2"].to_numpy(dtype=float) - np.maximum.reduce(without)


def gain_interval(errors: BlockErrors, model: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (ions,) lower and upper ends of 95 % intervals of the gain, from squares of tissue drawn anew."""
    weight = errors.draws()
    best = np.maximum.reduce([errors.r2(name, weight) for name in WITHOUT_GENES])
    return interval(errors.r2(model, weight) - best)


def verdicts(
    r2: NDArray[np.float64],
    gain: NDArray[np.float64],
    moran: NDArray[np.float64],
    learnable: NDArray[np.bool_],
    n_present: NDArray[np.int64],
    chosen: NDArray[np.bool_],
) -> list[str]:
    """Return a plain sentence for each ion."""
    said = []
    for ion in range(len(r2)):
        if n_present[ion] == 0:
            said.append("not learnable: never present")
        elif not chosen[ion]:
            said.append("left out: not among the most variable ions")
        elif not learnable[ion]:
            said.append(f"not learnable: present in {n_present[ion]:,} spots")
        elif not np.isfinite(r2[ion]):
            said.append("not learnable: the same everywhere")
        elif r2[ion] > SKILL and gain[ion] > SKILL:
            said.append("predicted from genes")
        elif r2[ion] > SKILL:
            said.append("no better than position")
        elif moran[ion] > STRUCTURE:
            said.append("has a pattern that genes do not predict")
        else:
            said.append("noise: R² ≈ 0, no pattern")
    return said
