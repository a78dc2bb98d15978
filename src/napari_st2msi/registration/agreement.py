"""How well ions follow genes around each spot, as the MSI lies and as it would lie if it were moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.progress import Progress, check, never
from napari_st2msi.registration.raster import bin_means, binned, neighbour_distance

#: The window is a Gaussian with this many lengths as deviation, cut at twice that.
_WINDOW = 2.0
#: Moves are tried in steps of half a length, so many to each side.
_STEPS = 6
#: Between the moves that were tried, so many are looked up.
_FINER = 3
#: Canonical components that are compared.
_COMPONENTS = 5
#: Places whose likelihood is laid out at once.
_ROWS = 2000


@dataclass(frozen=True, eq=False)
class Agreement:
    """Local correlations of ions with genes.

    Attributes
    ----------
    here
        (spots,) as the MSI lies; NaN where there is none.
    moved
        (moves, moves, places) float32: with the ions that lie `offsets_um` away along y (first axis) and x
        (second axis), as if the MSI were to be moved back by that. 0 where there is no MSI: nothing known.
    offsets_um
        (moves,) µm of the ST.
    samples
        (places,) how many independent spots a correlation rests on.
    place
        (spots,) which place a spot belongs to: of spots finer than half a length several share one.
    """

    here: NDArray[np.float64]
    moved: NDArray[np.float32]
    offsets_um: NDArray[np.float64]
    samples: NDArray[np.float64]
    place: NDArray[np.int64]


def local_agreement(
    xy: NDArray[np.float64],
    moving: NDArray[np.float64],
    pixels: NDArray[np.float64],
    genes: NDArray[np.floating],
    ions: NDArray[np.floating],
    length_um: float,
    to_moving: NDArray[np.float64],
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Agreement:
    """Correlate ions with genes around each spot, for moves of the MSI in all directions.

    Parameters
    ----------
    xy, moving
        (spots, 2) the spots in µm of the ST, and where each lies in the MSI (NaN: nowhere).
    pixels
        (pixels, 2) µm of the MSI.
    genes, ions
        (spots, n) and (pixels, m) components.
    length_um
        The coarser of pixel and distance of spots, µm of the ST.
    to_moving
        (2, 2) linear part of the affine from ST to MSI: what a move in the ST is in the MSI.
    """
    from scipy.spatial import cKDTree

    place, centres, starts, genes = _places(xy, moving, np.asarray(genes, dtype=np.float64), length_um)
    tree = cKDTree(pixels)
    side = length_um * float(np.sqrt(abs(np.linalg.det(to_moving))))
    u, v, strength = _canonical(genes, np.asarray(ions, dtype=np.float64), *_nearest(tree, starts, side))
    window = _window(centres, _WINDOW * length_um)
    whole = np.asarray(window.sum(axis=1)).ravel()
    offsets = np.arange(-_STEPS, _STEPS + 1, dtype=np.float64) * (length_um / 2)
    moved = np.zeros((len(offsets), len(offsets), len(centres)), dtype=np.float32)
    here = np.full(len(centres), np.nan)
    for row, dy in enumerate(offsets):
        check(cancelled)
        progress(row / len(offsets), "Comparing genes and ions")
        for column, dx in enumerate(offsets):
            near, there = _nearest(tree, starts + to_moving @ np.array([dx, dy]), side)
            r = _correlation(window, whole, u, v[near], there, strength)
            moved[row, column] = np.nan_to_num(r)
            if dx == dy == 0:
                here = np.where(there, r, np.nan)
    samples = whole**2 / np.asarray(window.power(2).sum(axis=1)).ravel()
    return Agreement(here[place], moved, offsets, samples, place)


def expected_error(agreement: Agreement | None, prior_um: NDArray[np.float64], reach_um: float) -> NDArray[np.float64]:
    """Return the expected distance of the MSI from where it belongs, at each spot.

    Every move of the MSI gets a probability: what landmarks say of errors of that size, times the
    likelihood of the correlation r that it would give, (1 - r²)^(-n/2) of n spots (r below 0 counts as 0).
    The first is a bivariate Student distribution of two degrees of freedom, which takes large errors for
    rare and not for impossible.

    Parameters
    ----------
    agreement
        None where genes and ions cannot be compared.
    prior_um
        (spots,) median of the error by landmarks; NaN where they say nothing, and each is as likely.
    reach_um
        The largest move considered.
    """
    from scipy.interpolate import make_interp_spline

    if agreement is None:
        offsets, place = np.linspace(-reach_um, reach_um, 2 * _STEPS + 1), np.arange(len(prior_um))
    else:
        offsets, place = agreement.offsets_um, agreement.place
    fine = np.linspace(offsets[0], offsets[-1], _FINER * (len(offsets) - 1) + 1)
    distance = np.hypot(fine[:, None], fine[None, :])
    within = (distance <= offsets[-1] * (1 + 1e-9)).ravel()
    distance = distance.ravel()[within]
    # Even where it is certain, it is so to the width of a step.
    distance[distance == 0] = 0.38 * (fine[1] - fine[0])
    blend = make_interp_spline(offsets, np.eye(len(offsets)), k=3)(fine)
    error = np.empty(len(prior_um))
    for start in range(0, len(prior_um), _ROWS):
        part = slice(start, start + _ROWS)
        spread = np.maximum(prior_um[part, None], 1e-3)  # perfect landmarks are not endlessly certain
        with np.errstate(invalid="ignore", divide="ignore"):
            log = np.where(np.isfinite(spread), -2 * np.log1p((distance / spread) ** 2), 0.0)
        if agreement is not None:
            r = np.einsum("ai,bj,ijn->nab", blend, blend, agreement.moved[:, :, place[part]], optimize=True)
            r = np.clip(r.reshape(len(r), -1)[:, within], 0, 0.999)
            log = log - 0.5 * agreement.samples[place[part], None] * np.log1p(-(r**2))
        weight = np.exp(log - log.max(axis=1, keepdims=True))
        error[part] = weight @ distance / weight.sum(axis=1)
    return error


def _places(
    xy: NDArray[np.float64], moving: NDArray[np.float64], genes: NDArray[np.float64], length: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Take spots that are much finer than the length together; return their place, and means over places."""
    if neighbour_distance(xy) >= length / 2:
        return np.arange(len(xy)), xy, moving, genes
    place = binned(xy, length / 2)
    return place, bin_means(xy, place), bin_means(moving, place), bin_means(genes, place)


def _nearest(tree: Any, xy: NDArray[np.float64], within: float) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the nearest pixel of each point, and whether there is one; 0 stands where there is none."""
    known = np.asarray(np.isfinite(xy).all(axis=1))
    distance, near = tree.query(np.where(known[:, None], xy, 0.0), distance_upper_bound=within)
    there = known & np.isfinite(distance)
    return np.where(there, near, 0), there


def _canonical(
    genes: NDArray[np.float64], ions: NDArray[np.float64], near: NDArray[np.int64], there: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the components of genes and of ions that correlate most over the tissue, and how much they do.

    Hotelling 1936 (doi:10.1093/biomet/28.3-4.321).

    Returns
    -------
    (places, k), (pixels, k), (k,)
    """
    if there.sum() < 3:
        return genes[:, :1] * 0, ions[:, :1] * 0, np.zeros(1)
    left = genes - genes[there].mean(axis=0)
    right = ions - ions[near[there]].mean(axis=0)
    white_left, white_right = _whitening(left[there]), _whitening(right[near[there]])
    rotate, strength, rotated = np.linalg.svd((left[there] @ white_left).T @ (right[near[there]] @ white_right))
    k = min(_COMPONENTS, len(strength))
    return left @ white_left @ rotate[:, :k], right @ white_right @ rotated[:k].T, strength[:k]


def _whitening(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, deviation, axes = np.linalg.svd(values, full_matrices=False)
    kept = deviation > 1e-6 * max(float(deviation.max()), 1e-12)
    return np.asarray(axes[kept].T / deviation[kept])


def _window(xy: NDArray[np.float64], deviation: float) -> Any:
    from scipy.spatial import cKDTree

    tree = cKDTree(xy)
    window = tree.sparse_distance_matrix(tree, 2 * deviation, output_type="coo_matrix").tocsr()
    window.data = np.exp(-0.5 * (window.data / deviation) ** 2)
    return window


def _correlation(
    window: Any,
    whole: NDArray[np.float64],
    u: NDArray[np.float64],
    v: NDArray[np.float64],
    there: NDArray[np.bool_],
    strength: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the correlation in the window around each place, over components by their strength.

    Around the mean of the whole tissue, not of the window: that two regions meet in both is told by their
    levels. NaN where less than half the window has MSI.
    """
    weight = there[:, None] * strength**2
    sums = window @ np.column_stack(
        [(u * v * weight).sum(axis=1), (u * u * weight).sum(axis=1), (v * v * weight).sum(axis=1), there]
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        r = sums[:, 0] / np.sqrt(sums[:, 1] * sums[:, 2])
    return np.where(sums[:, 3] < 0.5 * whole, np.nan, r)
