import numpy as np
import pytest
from matplotlib.colors import to_rgba

from napari_st2msi.evaluation.splits import make_splits
from napari_st2msi.recipe import Recipe
from napari_st2msi.report.folds import FOLD_COLOURS, ROLES, folds_figure, roles
from planted import planted


def made(data, **choices):
    return make_splits(data, Recipe.model_validate({"evaluation": choices}))


def test_every_spot_has_the_colour_of_its_fold_and_buffers_are_grey():
    data = planted(n_side=16)
    folds = made(data, n_folds=4, buffer_um=150).folds
    figure = folds_figure(data.xy, data.sections, folds)
    whole, first = (axis.collections[0] for axis in figure.axes[:2])
    for discs in (whole, first):
        discs.update_scalarmappable()
    for number, fold in enumerate(folds):
        colours = whole.get_facecolors()[fold.test]
        np.testing.assert_allclose(colours, np.tile(to_rgba(FOLD_COLOURS[number]), (len(fold.test), 1)))
    buffer = np.setdiff1d(np.arange(len(data)), np.concatenate([folds[0].train, folds[0].test]))
    assert len(buffer)
    for role, spots in (("trains", folds[0].train), ("held out", folds[0].test), ("left out", buffer)):
        np.testing.assert_allclose(first.get_facecolors()[spots], np.tile(to_rgba(ROLES[role]), (len(spots), 1)))
    assert (roles(folds[0], len(data))[buffer] == list(ROLES).index("left out")).all()


@pytest.mark.parametrize("choices", [{"protocol": "half"}, {"protocol": "leave_group_out"}, {"n_folds": 12}])
def test_any_number_of_folds_and_sections_is_drawn(choices):
    data = planted(n_side=10, sections=3)
    folds = made(data, **choices).folds
    figure = folds_figure(data.xy, data.sections, folds)
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles[1:] == [*[fold.name for fold in folds[:3]], ""][: max(3, len(folds[:3]))]
    # Sections that lie over each other are laid side by side.
    offsets = figure.axes[0].collections[0].get_offsets()
    assert len(np.unique(np.asarray(offsets), axis=0)) == len(data)
