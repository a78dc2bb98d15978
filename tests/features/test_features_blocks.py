import numpy as np
from scipy.spatial.distance import cdist

from napari_st2msi.features.blocks import assign_blocks, outside_buffer, spot_pitch

XY = np.stack(np.meshgrid(np.arange(20.0), np.arange(30.0)), axis=-1).reshape(-1, 2) * 100
ONE = np.zeros(len(XY), dtype=int)


def test_a_block_is_never_divided():
    fold, n_blocks = assign_blocks(XY, ONE, 500.0, 4, seed=3)
    cell = np.floor(XY / 500).astype(int) @ [1, 100]
    assert n_blocks == 24
    assert all(len(np.unique(fold[cell == value])) == 1 for value in np.unique(cell))
    assert np.ptp(np.bincount(fold)) <= 25


def test_buffer_agrees_with_all_distances():
    held = np.random.default_rng(0).random(len(XY)) < 0.05
    section = (XY[:, 0] > 900).astype(int)
    far = np.ones(len(XY), dtype=bool)
    for label in (0, 1):
        own = section == label
        far[own] = cdist(XY[own], XY[own & held]).min(axis=1) > 150
    assert (outside_buffer(XY, section, held, 150.0) == far).all()


def test_pitch_of_spots():
    assert spot_pitch(XY, ONE) == 100
    assert spot_pitch(XY[:1], ONE[:1]) == 0
