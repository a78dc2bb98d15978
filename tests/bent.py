"""A simulated section that is laid over its ST by a spline which is all but the truth."""

from __future__ import annotations

from functools import cache

import numpy as np

from napari_st2msi.io.sample import SectionTruth, simulate
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.registration.registration import Registration
from napari_st2msi.registration.transforms import ThinPlateSpline
from napari_st2msi.section import Section


@cache
def _simulated(warp_um: float, seed: int):
    return simulate(
        n_spots=600, n_genes=200, ions_per_kind=4, image_px=256, warp_um=warp_um, seed=seed, rotation_deg=25
    )


def simulated(warp_um: float = 200.0, seed: int = 1) -> tuple[Section, SectionTruth]:
    """Return a fresh section and the truth about it."""
    from spatialdata import deepcopy

    simulation = _simulated(warp_um, seed)
    section = simulation.sections[0]
    truth = simulation.truth.sections[section.name]
    return Section(deepcopy(section.sdata), section.roles, name=section.name), truth


def on_a_grid(section: Section, truth: SectionTruth, along: int = 9) -> Landmarks:
    """Return exact landmarks all over the tissue, on a grid of so many along a side."""
    xy = np.asarray(section.msi.obsm["spatial"])
    x, y = (np.linspace(low, high, along) for low, high in zip(xy.min(axis=0), xy.max(axis=0), strict=True))
    moving = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    return Landmarks(tuple(map(str, range(len(moving)))), moving, truth.pose.to_st(moving))


@cache
def true_spline(warp_um: float = 200.0, seed: int = 1) -> Registration:
    """Return a thin-plate spline through many exact landmarks: the truth to about a µm."""
    landmarks = on_a_grid(*simulated(warp_um, seed))
    # Leaving each of so many landmarks out would take seconds, and what bends matters here.
    spline = ThinPlateSpline.fit(landmarks.moving, landmarks.fixed)
    nothing = np.zeros(len(landmarks))
    return Registration(landmarks, spline, nothing, np.full(len(landmarks), np.nan))
