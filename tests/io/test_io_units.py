"""What is said about the size of MSI pixels that the file leaves open."""

from __future__ import annotations

import numpy as np

from napari_st2msi.io.opening import Opening
from napari_st2msi.io.units import msi_scale


def test_a_single_pixel_is_not_said_to_have_neighbours_or_a_grid() -> None:
    (note,) = msi_scale(np.zeros((1, 2)), Opening()).notes
    assert "unknown: 1 µm is taken" in note


def test_pixels_off_a_grid_take_the_distance_between_neighbours() -> None:
    xy = np.array([[0.0, 0.0], [3.1, 0.4], [5.3, 3.7], [9.9, 1.3]])
    _, note = msi_scale(xy, Opening()).notes
    assert "distance between neighbours" in note
