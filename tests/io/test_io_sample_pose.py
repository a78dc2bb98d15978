"""The parts that the truth rests on: fields, the map from MSI to ST, the tissue."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest

from napari_st2msi.io.simulation.fields import Fields, stream
from napari_st2msi.io.simulation.ions import IonPanel, View
from napari_st2msi.io.simulation.pose import Pose, draw_pose
from napari_st2msi.io.simulation.spots import disc, square
from napari_st2msi.io.simulation.tissue import draw_tissue


def _pose(seed: int, width: float, **choices: Any) -> tuple[Pose, np.ndarray]:
    edge = np.random.default_rng(seed).uniform(0, width, (500, 2))
    given: dict[str, Any] = {"reflection": None, "rotation_deg": None, "scale": None, "warp_um": None, **choices}
    return draw_pose(stream(seed, "pose"), edge, margin=100, **given), edge


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("width", "warp"), [(6000, 300), (900, 300), (6000, 20), (6000, 0)])
def test_the_inverse_undoes_the_map_and_nothing_folds(seed: int, width: float, warp: float) -> None:
    pose, edge = _pose(seed, width, warp_um=warp)
    msi = pose.to_msi(edge)
    np.testing.assert_allclose(pose.to_st(msi), edge, atol=0.01)
    np.testing.assert_allclose(msi.min(axis=0), 100, atol=0.01)
    determinant = np.linalg.det(pose.jacobian(msi))
    assert (determinant > 0).all() or (determinant < 0).all()
    assert np.abs(determinant).min() > 0.3


def test_the_pose_is_what_was_asked_for() -> None:
    pose, edge = _pose(0, 5000, reflection=True, rotation_deg=90, scale=1.2, warp_um=0)
    msi = pose.to_msi(edge)
    np.testing.assert_allclose(pose.best_affine(msi), pose.matrix, atol=1e-6)
    np.testing.assert_allclose(pose.matrix[:2, :2], 1.2 * np.array([[0, -1], [1, 0]]) @ np.diag([-1, 1]), atol=1e-12)
    straight, _ = _pose(0, 5000, reflection=False, warp_um=0)
    assert np.linalg.det(straight.matrix) > 0


def test_the_warp_is_as_large_as_asked_for() -> None:
    pose, edge = _pose(2, 6000, warp_um=150)
    msi = pose.to_msi(edge)
    straight = msi @ pose.matrix[:2, :2].T + pose.matrix[:2, 2]
    moved = np.hypot(*(pose.to_st(msi) - straight).T)
    assert 60 < moved.max() <= 151
    affine = pose.best_affine(msi)
    left = np.hypot(*(pose.to_st(msi) - (msi @ affine[:2, :2].T + affine[:2, 2])).T)
    assert 5 < np.sqrt((left**2).mean()) < np.sqrt((moved**2).mean())


def test_fields_have_the_promised_variance_and_length() -> None:
    fields = Fields.random(np.random.default_rng(0), np.zeros(2), np.full(2, 20_000.0), 100.0, 3)
    points = np.random.default_rng(1).uniform(0, 20_000, (20_000, 2))
    here = fields(points[:, None])
    there = fields(points[:, None] + [100.0, 0.0])
    assert here.mean() == pytest.approx(0, abs=0.05)
    assert here.std() == pytest.approx(1, abs=0.05)
    assert (here * there).mean() == pytest.approx(np.exp(-0.5), abs=0.05)
    both = fields(np.stack([points, points + [100.0, 0.0]], axis=1))
    np.testing.assert_allclose(both, (here + there) / 2)


def test_apertures_average_like_the_areas_they_stand_for() -> None:
    centre = np.array([[3.0, -2.0]])
    grid = np.stack(np.meshgrid(*2 * [np.linspace(-1, 1, 801)]), axis=-1).reshape(-1, 2)

    def cubic(xy: np.ndarray) -> np.ndarray:
        x, y = xy[..., 0], xy[..., 1]
        return x**3 - 2 * x * y**2 + x * y + 3 * y**2 + 1

    inside = np.hypot(*grid.T) <= 1
    assert cubic(disc(centre, 4.0)).mean() == pytest.approx(cubic(centre + 2 * grid[inside]).mean(), rel=1e-3)
    assert cubic(square(centre, 4.0)).mean() == pytest.approx(cubic(centre + 2 * grid).mean(), rel=5e-3)


@pytest.mark.parametrize("kind", ["brain", "tonsil"])
def test_a_tissue_has_its_area_its_regions_and_a_hole(kind: Literal["brain", "tonsil"]) -> None:
    from scipy import ndimage

    tissue = draw_tissue(kind, np.random.default_rng(4), 9e6, 250.0)
    assert tissue.area == pytest.approx(9e6, rel=1e-6)
    np.testing.assert_allclose(tissue.low, 250, atol=1e-6)
    assert (tissue.shares() > 0.005).all()
    assert len(tissue.regions) >= 7
    pieces, count = ndimage.label(tissue.inside)
    assert np.bincount(pieces.ravel())[1:].max() > 0.97 * tissue.inside.sum(), count
    if kind == "brain":
        assert (ndimage.binary_fill_holes(tissue.inside) & ~tissue.inside).mean() > 0.002
    assert (tissue.depth_at(tissue.edge()) > 0).all()


def test_ions_are_real_molecules() -> None:
    rng = np.random.default_rng(0)
    view = View(rng.normal(size=(50, 3)), rng.normal(size=(50, 3)), rng.normal(size=(50, 4)), np.zeros((50, 0)))
    panel = IonPanel.draw(rng, ["linear"] * 700, 1.0, view)
    known = panel.var.set_index(["name", "adduct"])
    expected = {
        ("PC(34:1)", "M+K"): ("C42H82NO8P", 798.5410),
        ("GABA", "M+H"): ("C4H9NO2", 104.0706),
        ("SM(34:1)", "M+H"): ("C39H79N2O6P", 703.5749),
        ("TG(52:2)", "M+Na"): ("C55H102O6", 881.7569),
    }
    found = [key for key in expected if key in known.index]
    assert len(found) >= 2
    for key in found:
        assert known.loc[key, "formula"] == expected[key][0]
        assert known.loc[key, "mz"] == pytest.approx(expected[key][1], abs=0.002)
