"""Ions that were measured twice: as isotopologues, or in an adjacent section."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import RecipeProblem
from napari_st2msi.evaluation.metrics import pearson
from napari_st2msi.features.position import frames_of, polynomials
from napari_st2msi.features.spatial import centred

#: Mass of ¹³C above ¹²C in Da.
NEUTRON = 1.003355
# A weak penalty that keeps polynomials finite where tissue is missing.
_PENALTY = 1.0


def isotopologues(
    values: NDArray[np.floating], mz: pd.Series, sections: NDArray[Any], *, ppm: float = 10.0, charge: int = 1
) -> tuple[NDArray[np.float64], list[str]]:
    """Return (ions,) the correlation with the isotopologue one neutron apart, and the name of that ion.

    M and M+1 are the same molecules, weighed twice in the same spectra. Two measurements with independent errors
    correlate by √(reliability · reliability) (Spearman 1904, doi:10.2307/1412159): by the reliability itself where
    both are as noisy. M+1 is the fainter one, so the correlation is on the low side for M, and on the high side for
    M+1. Errors that a whole spectrum shares are not seen.

    Parameters
    ----------
    values
        (n, ions) on the learning scale.
    mz
        (ions,) m/z by name of the ion; NaN has no partner.
    sections
        (n,) section of each spot: correlations are within sections.
    ppm
        Tolerance. The nearest partner counts; of M-1 and M+1 the one that correlates more.

    Raises
    ------
    RecipeProblem
        The charge is not 1 or more.
    """
    if charge < 1:
        raise RecipeProblem("An ion has a charge of 1 or more.")
    names, mass = mz.index.astype(str), mz.to_numpy(dtype=np.float64)
    found, partner = np.full(len(mass), np.nan), [""] * len(mass)
    z = centred(values, sections)
    for light, heavy in _pairs(mass, NEUTRON / charge, ppm):
        r = float(pearson(z[:, [light]], z[:, [heavy]])[0])
        if not np.isfinite(r):
            continue
        r = max(r, 0.0)
        for one, other in ((light, heavy), (heavy, light)):
            if not found[one] >= r:
                found[one], partner[one] = r, names[other]
    return found, partner


def adjacent(
    values: NDArray[np.floating], xy: NDArray[np.float64], sections: NDArray[Any], first: str, second: str
) -> NDArray[np.float64]:
    """Return (ions,) how much of the variance of a section the smooth image of its neighbour explains.

    Each section's ions are smoothed by a field of its own (polynomials of degree 6 of the position in the section's
    bounding box), which is laid on the other section; the squared correlation with what was measured there, the
    mean of both ways. Details that a smooth field has not, and tissue that does not match, count as not repeated: it
    is a lower bound.

    Raises
    ------
    RecipeProblem
        A section is not there, or both are the same.
    """
    labels = np.unique(sections)
    unknown = [name for name in (first, second) if name not in labels]
    if unknown or first == second:
        raise RecipeProblem(
            f"Adjacent sections must be two of: {', '.join(map(str, labels))}."
            + (f" There is no '{unknown[0]}'." if unknown else "")
        )
    shares = []
    for source, target in ((first, second), (second, first)):
        seen, asked = sections == source, sections == target
        field = _field(values[seen], xy[seen], xy[asked])
        r = pearson(values[asked], field)
        shares.append(np.where(np.isnan(r), np.nan, np.maximum(r, 0.0) ** 2))
    return np.asarray((shares[0] + shares[1]) / 2)


def _pairs(mass: NDArray[np.float64], apart: float, ppm: float) -> list[tuple[int, int]]:
    """Return (light, heavy) positions of ions that lie `apart` from each other, the nearest for each light one."""
    pairs = []
    for light in np.flatnonzero(np.isfinite(mass)):
        off = np.abs(mass - mass[light] - apart)
        off[np.isnan(off)] = np.inf
        heavy = int(off.argmin())
        if off[heavy] <= ppm * 1e-6 * mass[heavy]:
            pairs.append((int(light), heavy))
    return pairs


def _field(values: NDArray[np.floating], xy: NDArray[np.float64], asked: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (asked, ions) the smooth field of some values, at the same places of another bounding box."""
    here, there = np.repeat("s", len(xy)), np.repeat("s", len(asked))
    terms = polynomials(xy, here, frames_of(xy, here))
    centre = terms.mean(axis=0)
    z = terms - centre
    coefficients = np.linalg.solve(z.T @ z + _PENALTY * np.eye(z.shape[1]), z.T @ (values - values.mean(axis=0)))
    return np.asarray((polynomials(asked, there, frames_of(asked, there)) - centre) @ coefficients)
