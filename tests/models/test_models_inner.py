"""Folds inside the training spots: what is held out, and that nothing is in two places."""

import numpy as np
import pytest

from napari_st2msi.models.inner import choosing_folds, inner_folds
from planted import planted


@pytest.mark.parametrize("sections", [1, 2, 3, 6])
def test_no_spot_is_fitted_and_held_out_at_once(sections):
    data = planted(n_side=8, sections=sections)
    for fold in choosing_folds(data):
        assert not set(fold.fit) & set(fold.held)
        assert len(fold.fit)
        assert len(fold.held)


def test_settings_are_chosen_across_sections_where_there_are_three():
    data = planted(n_side=8, sections=3)
    folds = choosing_folds(data)
    assert len(folds) == 3
    for fold in folds:
        assert not set(data.sections[fold.fit]) & set(data.sections[fold.held])


def test_of_two_sections_each_is_held_out_and_blocks_too():
    data = planted(n_side=8, sections=2)
    folds = choosing_folds(data)
    assert [set(data.sections[fold.held]) for fold in folds[:2]] == [{"s0"}, {"s1"}]
    assert all(len(fold.held) < len(data) / 2 for fold in folds[2:])
    # Every spot is held out once by inner folds, which others count on.
    held = np.concatenate([fold.held for fold in inner_folds(data)])
    assert len(held) == len(set(held)) == len(data)


def test_of_one_section_blocks_are_held_out():
    data = planted(n_side=8)
    assert [len(fold.held) for fold in choosing_folds(data)] == [len(fold.held) for fold in inner_folds(data)]
