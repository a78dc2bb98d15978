"""Registration by what was measured: coarse to fine, affine and then free-form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.progress import Progress, check, never
from napari_st2msi.registration.control_grid import ControlGrid
from napari_st2msi.registration.mutual_information import Channels, Joint, information
from napari_st2msi.registration.placement import Placement
from napari_st2msi.registration.sides import FixedSide, MovingSide

Array = NDArray[np.float64]

SHRINKAGE = 0.02
#: Curvature of the displacement that is as likely as not, times the length of the tissue.
_CURVATURE = 0.5
#: Change of the affine's shape and size, from where it began, that is as likely as not.
_STRAIN = 0.03
#: Places for each component that is looked at: fewer would agree by chance.
_PLACES_EACH = 15


@dataclass(frozen=True)
class Level:
    """One step from coarse to fine.

    Attributes
    ----------
    components
        How many of either side.
    blur
        Deviation of the Gaussian over the MSI, as a share of a 28th of the tissue's length.
    cells
        Cells of the control grid along the longer side; 0 for an affine.
    """

    components: int
    blur: float
    cells: int = 0


COARSE = (Level(5, 1.0),)
AFFINE = (Level(5, 1.0), Level(8, 0.5), Level(16, 0.15))
FREE_FORM = (Level(5, 1.0), Level(8, 0.5), Level(8, 0.5, 4), Level(12, 0.3, 6), Level(16, 0.15, 8))


@dataclass(frozen=True, eq=False)
class Refined:
    """A placement and how well it agrees.

    Attributes
    ----------
    placement
        Where it ended.
    information
        Nats a place at the last level.
    total
        Nats over all places in common: what candidates are compared by.
    curve
        Nats a place, iteration by iteration.
    """

    placement: Placement
    information: float
    total: float
    curve: tuple[float, ...]


def refine(
    fixed: FixedSide,
    moving: MovingSide,
    start: Placement,
    levels: tuple[Level, ...] = FREE_FORM,
    *,
    iterations: int = 60,
    use: NDArray[np.bool_] | None = None,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
    step: Callable[[float], None] | None = None,
) -> Refined:
    """Move MSI under ST until the features of both sides tell most about each other.

    At each level the information (see `mutual_information.Joint`) over all places that lie on
    measured tissue, minus the bending of the displacement, is raised by L-BFGS (Byrd et al. 1995,
    doi:10.1137/0916069) with derivatives through the images.

    Parameters
    ----------
    start
        Where to begin.
    use
        (n,) places that count; all when None.
    step
        Called with the information after each iteration.

    Returns
    -------
    What was reached; when the user stops, what was reached until then.
    """
    kept = np.ones(len(fixed.xy), dtype=bool) if use is None else use
    xy, features = fixed.xy[kept], fixed.features[kept]
    low, high = fixed.xy.min(axis=0), fixed.xy.max(axis=0)
    reached, curve = Refined(start, 0.0, 0.0, ()), []
    for number, level in enumerate(levels):
        if cancelled():
            break
        blur = max(level.blur * fixed.size_um / 28, 0.25 * fixed.aperture_um)
        components = int(min(level.components, max(2, len(xy) // _PLACES_EACH)))
        channels = moving.channels(components, blur, on_glass=fixed.on_glass)
        grid = ControlGrid.over(low, high, fixed.size_um / level.cells) if level.cells else None
        begin = reached.placement.on(grid, fixed.xy)
        fit = _Fit(xy, features[:, :components], channels, begin, start.linear, fixed.size_um)

        def after(value: float) -> None:
            curve.append(value)
            if step is not None:
                step(value)

        placement, value, total = fit.run(iterations, after, cancelled)
        reached = Refined(placement, value, total, tuple(curve))
        progress((number + 1) / len(levels), "refining, coarse to fine")
    return reached


def held_out_gain(
    fixed: FixedSide,
    moving: MovingSide,
    affine: Placement,
    *,
    folds: int = 4,
    tried: int = 2,
    cancelled: Callable[[], bool] = never,
) -> tuple[float, float]:
    """Return how much better free-form is than affine on blocks of tissue that neither was fitted to.

    Parameters
    ----------
    affine
        Where to begin.
    folds, tried
        The tissue is cut into blocks that are dealt out to `folds`; `tried` of these are held out in
        turn.

    Returns
    -------
    Nats a place of the affine on held-out places, and what free-form adds to it.
    """
    from napari_st2msi.features.blocks import assign_blocks

    section = np.zeros(len(fixed.xy), dtype=np.int64)
    fold, _ = assign_blocks(fixed.xy, section, fixed.size_um / 8, folds, 0)
    found: list[Array] = []
    for held in range(tried):
        check(cancelled)
        use = fold != held
        straight = refine(fixed, moving, affine, AFFINE[-1:], use=use, cancelled=cancelled).placement
        bent = refine(fixed, moving, straight, FREE_FORM[2:], use=use, iterations=30, cancelled=cancelled).placement
        pair = [_pointwise(fixed, moving, placement, use) for placement in (straight, bent)]
        found.append(np.column_stack(pair))
    check(cancelled)
    values = np.concatenate(found)
    both = values[np.isfinite(values).all(axis=1)]
    if not len(both):
        return float("nan"), float("nan")
    return float(both[:, 0].mean()), float((both[:, 1] - both[:, 0]).mean())


def _pointwise(fixed: FixedSide, moving: MovingSide, placement: Placement, use: NDArray[np.bool_]) -> Array:
    """Return the information at each place that was not used, from what the others have in common."""
    last = FREE_FORM[-1]
    components = int(min(last.components, max(2, use.sum() // _PLACES_EACH)))
    channels = moving.channels(components, 0.25 * fixed.aperture_um, on_glass=fixed.on_glass)
    seen = channels.at(placement.at(fixed.xy))
    y, weight = seen.values, seen.weight
    x = fixed.features[:, :components]
    joint = Joint.of(x[use], y[use], weight[use], 5 * SHRINKAGE)
    return np.where(weight[~use] > 0.5, joint.pointwise(x[~use], y[~use]), np.nan)


class _Fit:
    """The fit at one level: parameters in µm of the MSI, and what is to be made small."""

    def __init__(
        self, xy: Array, features: Array, channels: Channels, start: Placement, anchor: Array, size: float
    ) -> None:
        self.features, self.channels, self.start = features, channels, start
        self.middle = xy.mean(axis=0)
        self.radius = max(float(np.sqrt(((xy - self.middle) ** 2).sum(axis=1).mean())), 1e-9)
        self.base = start.at(xy)
        self.lever = np.column_stack([np.ones(len(xy)), (xy - self.middle) / self.radius])
        # Without a hold on it, MSI that says nothing would be blown up until a few pixels fill the ST.
        stretch = float(np.sqrt(abs(np.linalg.det(anchor))))
        self.strained = (start.linear - anchor).T * self.radius
        self.hold = 1 / (_STRAIN * stretch * self.radius) ** 2
        self.basis: Any = None
        if start.grid is not None:
            assert start.coefficients is not None
            self.basis = start.grid.basis(xy)
            usual = _CURVATURE / size * start.grid.spacing**2 * stretch
            # Second differences bend; a hint of a pull to zero settles what affine and grid both can do.
            self.stiffness = (start.grid.bending() + 1e-4 * _eye(start.grid.count)) / usual**2
            self.first = start.coefficients

    def run(
        self, iterations: int, after: Callable[[float], None], cancelled: Callable[[], bool]
    ) -> tuple[Placement, float, float]:
        """Return where it ended, nats a place there, and nats over all places."""
        from scipy.optimize import minimize

        bent = 0 if self.basis is None else self.basis.shape[1]
        value = 0.0

        def cost(parameters: Array) -> tuple[float, Array]:
            nonlocal value
            steps = parameters.reshape(-1, 2)
            there = self.base + self.lever @ steps[:3]
            if bent:
                there = there + self.basis @ steps[3:]
            seen = self.channels.at(there)
            value, by_y, by_weight = information(self.features, seen.values, seen.weight, SHRINKAGE)
            pull = seen.slope(by_y, value + by_weight)
            total = float(seen.weight.sum()) * value
            straight = self.lever.T @ pull
            strain = self.strained + steps[1:3]
            total -= 0.5 * self.hold * float((strain**2).sum())
            straight[1:3] -= self.hold * strain
            gradient = [straight]
            if bent:
                coefficients = self.first + steps[3:]
                stiff = self.stiffness @ coefficients
                total -= 0.5 * float((coefficients * stiff).sum())
                gradient.append(self.basis.T @ pull - stiff)
            return -total, -np.concatenate(gradient).ravel()

        def callback(_: Array) -> None:
            after(value)
            if cancelled():
                raise StopIteration

        options = {"maxiter": iterations, "ftol": 1e-5, "maxcor": 20}
        found = minimize(
            cost, np.zeros(2 * (3 + bent)), jac=True, method="L-BFGS-B", callback=callback, options=options
        )
        cost(found.x)
        return self._placement(found.x.reshape(-1, 2)), value, float(-found.fun)

    def _placement(self, steps: Array) -> Placement:
        turn = steps[1:3].T / self.radius
        moved = replace(
            self.start, linear=self.start.linear + turn, shift=self.start.shift + steps[0] - turn @ self.middle
        )
        return moved if self.basis is None else replace(moved, coefficients=self.first + steps[3:])


def _eye(count: int) -> Any:
    from scipy import sparse

    return sparse.eye_array(count)
