"""One simulated section as nature has it, before any instrument: places, activities, ions, pose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.io.simulation.choices import SampleChoices
from napari_st2msi.io.simulation.expression import Activity, draw_levels
from napari_st2msi.io.simulation.fields import Fields, stream
from napari_st2msi.io.simulation.ions import N_HIDDEN, View
from napari_st2msi.io.simulation.pose import Pose, draw_pose
from napari_st2msi.io.simulation.spots import SCALES, Layout, Scale, disc, lattice_layout, ring, square, visium_layout


@dataclass(frozen=True)
class Specimen:
    """One section of tissue: everything is a field over it that spots and pixels look at.

    Attributes
    ----------
    layout
        Tissue and spots. `scale`: sizes of the technology.
    activity
        Gene programs, then hidden programs. `n_programs`: how many of them genes read.
    smooth
        A field of its own for each smooth ion, None when there are none.
    pose
        From the MSI's frame to the ST's.
    """

    layout: Layout
    scale: Scale
    activity: Activity
    n_programs: int
    smooth: Fields | None
    pose: Pose

    @classmethod
    def draw(cls, choices: SampleChoices, section: int) -> Specimen:
        """Draw section number `section` of a sample."""
        seed = choices.seed
        scale = SCALES[choices.technology]
        rng = stream(seed, "tissue", section)
        if choices.geometry is not None:
            layout = visium_layout(choices.tissue, rng, choices.geometry)
        else:
            margin = 4 * scale.pitch
            layout = lattice_layout(choices.tissue, choices.technology, rng, choices.n_spots, margin)
        tissue = layout.tissue
        # Programs mark the same regions in every section: their levels come from the sample's stream.
        levels = draw_levels(stream(seed, "levels"), tissue.shares(), choices.n_programs + N_HIDDEN)
        activity = Activity.draw(stream(seed, "activity", section), tissue, levels, scale.fine)
        n_smooth = choices.kinds.count("smooth")
        smooth = Fields.random(
            stream(seed, "smooth", section),
            tissue.low,
            tissue.high,
            max(0.07 * tissue.width, 2 * scale.pitch),
            n_smooth,
        )
        pose = draw_pose(
            stream(seed, "pose", section),
            tissue.edge(),
            reflection=choices.reflection,
            rotation_deg=choices.rotation_deg,
            scale=choices.scale,
            warp_um=choices.warp_um,
            margin=3 * choices.pixel_size_um,
        )
        return cls(layout, scale, activity, choices.n_programs, smooth if n_smooth else None, pose)

    def look(self, points: NDArray[np.float64]) -> View:
        """Return what apertures see, each given by (n, k, 2) points in the ST frame."""
        seen = self.activity.seen(points)
        around = self.activity.seen(ring(points, self.scale.ring))
        own = np.zeros((len(points), 0)) if self.smooth is None else self.smooth(points)
        return View(seen[:, : self.n_programs], around[:, : self.n_programs], seen[:, self.n_programs :], own)

    def spot_points(self, spots: slice | NDArray[np.int64] = slice(None)) -> NDArray[np.float64]:
        """Return the apertures of spots: four points of the disc, or the centre of a cell."""
        xy = self.layout.xy[spots]
        return disc(xy, self.scale.diameter) if self.scale is SCALES["visium"] else xy[:, None]

    def pixel_points(self, msi_xy: NDArray[np.float64], side: float) -> NDArray[np.float64]:
        """Return the apertures of MSI pixels, given in their own frame, in the ST frame."""
        return self.pose.to_st(square(msi_xy, side))

    def raster(self, side: float, crop: float) -> NDArray[np.float64]:
        """Return (m, 2) centres of the pixels that MSI measured: the tissue and some glass around it.

        Parameters
        ----------
        side
            Of a pixel in µm of the MSI's frame.
        crop
            Share of the tissue's width, from the right in the MSI's frame, that was left out.
        """
        edge = self.pose.to_msi(self.layout.tissue.edge())
        low, high = edge.min(axis=0), edge.max(axis=0)
        high = np.array([high[0] - crop * (high[0] - low[0]), high[1]])
        first = np.floor(np.maximum(low - 3 * side, 0) / side)
        axes = [(np.arange(a, np.ceil(b / side) + (3 if crop == 0 or i else 0)) + 0.5) * side
                for i, (a, b) in enumerate(zip(first, high, strict=True))]  # fmt: skip
        xy = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
        return np.asarray(xy[self.layout.tissue.depth_at(self.pose.to_st(xy)) > -2.5 * side])
