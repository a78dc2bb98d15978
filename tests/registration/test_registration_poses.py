"""Every pose is tried; the right one wins."""

from __future__ import annotations

import numpy as np
import pytest

from napari_st2msi import simulate
from napari_st2msi.progress import Cancelled, Progress
from napari_st2msi.registration.poses import distinct, find_poses
from napari_st2msi.registration.sides import fixed_side, moving_side
from napari_st2msi.section import MSI_SYSTEM


@pytest.mark.parametrize(
    ("degrees", "mirrored", "scale", "crop", "seed"), [(130, True, 1.2, 0.0, 1), (-75, False, 0.85, 0.3, 2)]
)
def test_the_true_pose_is_among_the_best(degrees: float, mirrored: bool, scale: float, crop: float, seed: int) -> None:
    simulation = simulate(
        n_spots=500, n_genes=200, ions_per_kind=5, image_px=256, seed=seed, crop=crop, pixel_size_um=80,
        rotation_deg=degrees, reflection=mirrored, scale=scale, warp_um=80,
    )  # fmt: skip
    section = simulation.sections[0]
    fixed, moving = fixed_side(section), moving_side(section)
    poses = find_poses(fixed, moving)
    assert len(poses) == 5 * 2 * 36
    assert [pose.score for pose in poses] == sorted((pose.score for pose in poses), reverse=True)
    pixels = section.pixels(MSI_SYSTEM).centres[moving.on_tissue]
    true = simulation.truth.sections[section.name].pose.to_st(pixels)
    chosen = distinct(poses, pixels, 0.08 * fixed.size_um, 8)

    def error(matrix: np.ndarray) -> float:
        return float(np.median(np.hypot(*(pixels @ matrix[:2, :2].T + matrix[:2, 2] - true).T)))

    assert error(chosen[0].matrix) < 0.12 * fixed.size_um
    assert chosen[0].reflected == mirrored
    assert bool(np.linalg.det(chosen[0].matrix[:2, :2]) < 0) == mirrored


def test_distinct_poses_are_apart() -> None:
    section = simulate(n_spots=200, n_genes=60, ions_per_kind=3, image_px=128, seed=4).sections[0]
    fixed, moving = fixed_side(section), moving_side(section)
    poses = find_poses(fixed, moving, turns=8, scales=(1.0,))
    xy = moving.centres(moving.tissue)
    kept = distinct(poses, xy, 300.0, 4)
    assert kept[0] is poses[0]
    places = [xy @ pose.matrix[:2, :2].T + pose.matrix[:2, 2] for pose in kept]
    assert all(np.hypot(*(a - b).T).mean() > 300 for i, a in enumerate(places) for b in places[:i])


def test_it_reports_and_stops() -> None:
    section = simulate(n_spots=200, n_genes=60, ions_per_kind=3, image_px=128, seed=4).sections[0]
    fixed, moving = fixed_side(section), moving_side(section)
    seen: list[float] = []
    find_poses(fixed, moving, turns=4, scales=(1.0,), progress=Progress(lambda part, _: seen.append(part)))
    assert seen == [0.5, 1.0]
    with pytest.raises(Cancelled):
        find_poses(fixed, moving, cancelled=lambda: True)
