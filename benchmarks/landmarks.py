"""Landmark registration against the truth, and against spatialdata's, on the same landmarks.

Poses of a simulated section of Visium size: any rotation, mirrored or not, scaled by 0.8 to 1.25, warped smoothly by up
to 300 µm. Landmarks are spread over the tissue as people spread them, and clicked on both sides:

    python benchmarks/landmarks.py
    python benchmarks/landmarks.py --draws 20     # a quick look

The target registration error (TRE) of a draw is the median over the MSI pixels of the distance between where a
transform puts them and where they are; the table has the median over draws. Each click misses its place by the
given distance (root mean square), in the MSI and again in the ST. In the row of 71 µm it does so along each axis by 50.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull

import napari_st2msi as st2msi
from _report import table, timed, verdict
from napari_st2msi.io.simulation.pose import Pose, draw_pose
from napari_st2msi.registration.choose import Tried, try_all
from napari_st2msi.registration.fit import fit
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.registration.outliers import outliers

WARP_UM, SCALES = 300.0, (0.8, 1.25)


@dataclass(frozen=True)
class Draw:
    """One pose, with landmarks clicked on both sides."""

    pose: Pose
    moving: np.ndarray
    fixed: np.ndarray
    msi: np.ndarray
    truth: np.ndarray

    def tre(self, forward: Callable[[np.ndarray], np.ndarray]) -> float:
        """Return the median target registration error, µm."""
        return float(np.median(np.linalg.norm(forward(self.msi) - self.truth, axis=1)))


def tissue() -> np.ndarray:
    section = st2msi.simulate(n_spots=4000, n_genes=20, ions_per_kind=1, image_px=128).sections[0]
    return section.spots.centres


def spread(rng: np.random.Generator, xy: np.ndarray, n: int) -> np.ndarray:
    """Points of the tissue, each nearly as far as possible from those before."""
    chosen, nearest = [int(rng.integers(len(xy)))], np.full(len(xy), np.inf)
    for _ in range(n - 1):
        nearest = np.minimum(nearest, np.hypot(*(xy - xy[chosen[-1]]).T))
        chosen.append(int(rng.choice(np.flatnonzero(nearest > 0.85 * nearest.max()))))
    return xy[chosen]


def draws(xy: np.ndarray, count: int, n: int, click_um: float, warp: tuple[float, float], seed: int) -> Iterator[Draw]:
    """Draw poses and clicks; `click_um` is the root mean square distance of a click from its place."""
    rng = np.random.default_rng(seed)
    edge = xy[ConvexHull(xy).vertices]
    for _ in range(count):
        pose = draw_pose(
            rng,
            edge,
            reflection=None,
            rotation_deg=None,
            scale=rng.uniform(*SCALES),
            warp_um=rng.uniform(*warp),
            margin=200.0,
        )
        fixed = spread(rng, xy, n)
        clicked = [
            points + rng.normal(0, click_um / np.sqrt(2), points.shape) for points in (pose.to_msi(fixed), fixed)
        ]
        yield Draw(pose, *clicked, pose.to_msi(xy), xy)


def spatialdata_similarity(moving: np.ndarray, fixed: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    from spatialdata.models import PointsModel
    from spatialdata.transformations import get_transformation_between_landmarks

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = get_transformation_between_landmarks(PointsModel.parse(fixed), PointsModel.parse(moving))
    matrix = found.to_affine_matrix(("x", "y"), ("x", "y"))
    return lambda xy: xy @ matrix[:2, :2].T + matrix[:2, 2]


def compare(
    xy: np.ndarray, count: int, n: int, click_um: float, warp: tuple[float, float], seed: int
) -> dict[str, float]:
    """Return the median TRE of every fixed choice, of the automatic one and of spatialdata."""
    found: dict[str, list[float]] = {}
    for draw in draws(xy, count, n, click_um, warp, seed):
        suspected = bool(outliers(draw.moving, draw.fixed).any())
        tried: list[Tried] = try_all(draw.moving, draw.fixed, suspected=suspected)
        errors = {one.label: draw.tre(one.transform.forward) if one.transform else np.nan for one in tried}
        errors["automatic"] = errors[next(one.label for one in tried if one.chosen)]
        errors["spatialdata"] = draw.tre(spatialdata_similarity(draw.moving, draw.fixed))
        for name, error in errors.items():
            found.setdefault(name, []).append(error)
    return {name: float(np.nanmedian(values)) for name, values in found.items()}


def alarms(xy: np.ndarray, count: int, n: int, click_um: float, off_um: float, seed: int) -> tuple[float, float]:
    """Return the share of good sets with a false alarm, and of sets with one bad click in which just it is named."""
    rng = np.random.default_rng(seed)
    false, right = [], []
    for draw in draws(xy, count, n, click_um, (0, WARP_UM), seed):
        false.append(outliers(draw.moving, draw.fixed).any())
        fixed, bad, angle = draw.fixed.copy(), int(rng.integers(n)), rng.uniform(0, 2 * np.pi)
        fixed[bad] += off_um * np.array([np.cos(angle), np.sin(angle)])
        named = outliers(draw.moving, fixed)
        right.append(named[bad] and named.sum() == 1)
    return float(np.mean(false)), float(np.mean(right))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    xy = tissue()
    settings = [
        (8, 50.0, (0.0, WARP_UM)),
        (8, 50.0, (WARP_UM, WARP_UM)),
        (8, 20.0, (0.0, WARP_UM)),
        (8, 50.0 * np.sqrt(2), (0.0, WARP_UM)),
        (5, 50.0, (0.0, WARP_UM)),
        (12, 50.0, (0.0, WARP_UM)),
        (20, 50.0, (0.0, WARP_UM)),
    ]
    rows, results = [], []
    for n, click, warp in settings:
        result = compare(xy, options.draws, n, click, warp, options.seed)
        results.append(result)
        bends = f"{warp[1]:g}" if warp[0] == warp[1] else f"{warp[0]:g}–{warp[1]:g}"
        rows.append([f"{n}, {click:.0f} µm, warp {bends} µm", *[f"{value:.1f}" for value in result.values()]])
    table(f"Median TRE (µm) over {options.draws} draws", ["landmarks, click, warp", *results[0]], rows)
    asked = results[0]
    fixed = min(value for name, value in asked.items() if name not in ("automatic", "spatialdata"))
    verdict("automatic, of the best fixed choice", 100 * asked["automatic"] / fixed, 105, at_least=False, unit=" %")
    share = 100 * asked["automatic"] / asked["spatialdata"]
    verdict("automatic, of spatialdata's similarity", share, 100, at_least=False, unit=" %")

    rows = []
    for n in (6, 8, 10, 15, 20):
        for off in (300.0, 500.0):
            false, right = alarms(xy, 2 * options.draws, n, 50.0, off, options.seed)
            rows.append([f"{n}, one off by {off:.0f} µm", f"{false:.1%}", f"{right:.0%}"])
    table("Bad clicks among clicks of 50 µm", ["landmarks", "false alarms", "named, alone"], rows)

    rows = []
    for n in (8, 20, 40):
        draw = next(draws(xy, 1, n, 50.0, (0, WARP_UM), options.seed))
        landmarks = Landmarks(tuple(map(str, range(n))), draw.moving, draw.fixed)
        some = draw.msi[:: max(1, len(draw.msi) // 1500)]
        took = np.median([timed(lambda a=landmarks, b=some: fit(a, extent=b))[0] for _ in range(9)])
        rows.append([f"{n}", f"{1000 * took:.0f}"])
        if n == 20:
            of_twenty = 1000 * float(took)
    table("Fit, with all candidates, left-out errors, influence and warnings", ["landmarks", "ms"], rows)
    verdict("fit of 20 landmarks", of_twenty, 100, at_least=False, unit=" ms")


if __name__ == "__main__":
    main()
