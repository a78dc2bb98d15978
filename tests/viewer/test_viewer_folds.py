"""Folds on the canvas: one layer a section, coloured by fold or by what a spot did in one."""

import numpy as np
from matplotlib.colors import to_rgba

from napari_st2msi.evaluation.splits import Fold
from napari_st2msi.report.folds import FOLD_COLOURS, ROLES
from napari_st2msi.viewer.folds import show_folds

FOLDS = [
    Fold("fold 1", np.array([3, 4, 5, 6]), np.array([0, 1])),
    Fold("fold 2", np.array([0, 1, 6]), np.array([2, 3])),
    Fold("fold 3", np.array([0, 1, 2, 3]), np.array([4, 5, 6])),
]


def test_spots_have_the_colour_of_their_fold(viewer, section, measured):
    # The last spot is in no fold, and folds count without the first of the section's order.
    spots = measured.select(np.array([6, 5, 4, 3, 2, 1, 0])).ions
    layer = show_folds(viewer, section, spots, FOLDS)
    fold = [2, 2, 2, 1, 1, 0, 0]
    np.testing.assert_allclose(layer.face_color[:7], [to_rgba(FOLD_COLOURS[each]) for each in fold], atol=1e-6)
    assert layer.face_color[7, 3] == 0
    assert layer.name == "folds"


def test_a_single_fold_shows_who_trained_and_the_buffer_in_grey(viewer, section, measured):
    spots = measured.select(np.arange(7)).ions
    layer = show_folds(viewer, section, spots, FOLDS)
    assert show_folds(viewer, section, spots, FOLDS, only=1) is layer
    role = ["trains", "trains", "held out", "held out", "left out", "left out", "trains"]
    np.testing.assert_allclose(layer.face_color[:7], [to_rgba(ROLES[each]) for each in role], atol=1e-6)
    assert layer.name == "folds · fold 2"
    assert len(viewer.layers) == 1


def test_another_section_has_no_folds_here(viewer, make_section, measured):
    other = make_section("two")
    measured.ions.obs["section"] = "one"
    layer = show_folds(viewer, other, measured.ions, [Fold("fold 1", np.arange(4), np.arange(8))])
    assert (layer.face_color[:, 3] > 0).all()  # the same names, and no label says otherwise
    measured.ions.obs["section"] = ["two"] * 4 + ["one"] * 4
    layer = show_folds(viewer, other, measured.ions, [Fold("fold 1", np.arange(4), np.arange(8))])
    assert (layer.face_color[:, 3] > 0).tolist() == [True] * 4 + [False] * 4
