"""Which landmarks the others speak against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.registration.transforms.base import ON_A_LINE, straightness
from napari_st2msi.registration.transforms.thin_plate import Bending

#: Share of sets of good clicks in which one of them is suspected all the same.
FALSE_ALARMS = 0.05
#: Fewer than these cannot outvote one.
_FEWEST = 6
#: Nobody needs to be told of less, µm.
_NOTHING = 1.0


def outliers(moving: NDArray[np.floating], fixed: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which pairs are unlikely to be good clicks, judged by the others.

    Each pair is predicted from the others by a thin-plate spline with the smoothing that the others
    speak for, and its miss is compared with the miss they lead to expect. For clicks that scatter
    normally over tissue that bends smoothly the ratio of the two has an F distribution; the limit is set
    so that with good clicks only one in twenty sets has a false alarm. The worst pair is taken out and
    the rest judged again, until at most a quarter is out: two bad clicks cannot hide each other.

    Parameters
    ----------
    moving, fixed
        (n, 2) float64, µm.

    Returns
    -------
    (n,) bool; all False for fewer than six pairs.
    """
    from scipy.stats import f as f_distribution

    left = np.arange(len(moving))
    found = np.zeros(len(moving), dtype=bool)
    for _ in range(len(moving) // 4):
        n = len(left)
        if n < _FEWEST or straightness(moving[left]) < ON_A_LINE:
            break
        miss, ratio = _misses(moving[left], fixed[left])
        chance = f_distribution.sf(ratio, 2, 2 * (n - 4))
        # The only one away from a line is predicted by nobody.
        chance[[straightness(np.delete(moving[left], i, axis=0)) < ON_A_LINE for i in range(n)]] = 1
        worst = int(np.argmin(chance))
        if not (chance[worst] < FALSE_ALARMS / n and miss[worst] > _NOTHING):
            break
        found[left[worst]] = True
        left = np.delete(left, worst)
    return found


def _misses(
    moving: NDArray[np.floating], fixed: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how far each pair is missed by a spline through the others, µm, and its square over the expected one."""
    n = len(moving)
    bending = Bending(moving)
    smoothing = bending.likely_smoothings(fixed)
    errors, precision, energy = bending.left_out(fixed, smoothing)
    one = np.arange(n)
    squares = (errors[one, one] ** 2).sum(axis=1)
    own = squares * precision[one, one]
    rest = np.maximum(energy[one] - own, 1e-300)  # what the others alone have
    return np.sqrt(squares), (own / 2) / (rest / (2 * (n - 4)))
