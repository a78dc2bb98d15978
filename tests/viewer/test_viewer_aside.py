"""Layers that are out of the way for a while."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from napari.layers import Image

from napari_st2msi.viewer.aside import bring_back, put_aside, see, wanted

REASONS = ("another section", "registering", "side by side")


@pytest.fixture
def layer():
    return Image(np.zeros((2, 2)))


@pytest.mark.parametrize("order", list(permutations(REASONS)))
def test_a_layer_comes_back_with_the_last_reason_whatever_ends_first(layer, order):
    for why in REASONS:
        put_aside(layer, why)
    for why in order:
        assert not layer.visible
        bring_back(layer, why)
    assert layer.visible
    assert not layer.metadata


def test_a_hidden_layer_stays_hidden(layer):
    layer.visible = False
    put_aside(layer, "registering")
    bring_back(layer, "registering")
    assert not layer.visible


@pytest.mark.parametrize("visible", [True, False])
def test_what_is_wanted_meanwhile_holds_afterwards_and_is_not_seen_before(layer, visible):
    layer.visible = not visible
    put_aside(layer, "registering")
    heard = []
    layer.events.visible.connect(heard.append)
    see(layer, visible)
    assert not heard
    assert wanted(layer) is visible
    bring_back(layer, "registering")
    assert layer.visible is visible


def test_shown_by_hand_meanwhile_it_is_hidden_again_and_seen_afterwards(layer):
    layer.visible = False
    put_aside(layer, "registering")
    layer.visible = True
    put_aside(layer, "registering")
    assert not layer.visible
    bring_back(layer, "registering")
    assert layer.visible


def test_a_reason_that_was_never_given_changes_nothing(layer):
    put_aside(layer, "registering")
    bring_back(layer, "side by side")
    assert not layer.visible
    bring_back(layer, "registering")
    layer.visible = False
    bring_back(layer, "registering")
    assert not layer.visible


def test_what_changes_nothing_is_not_drawn_anew(layer):
    heard = []
    layer.events.visible.connect(heard.append)
    see(layer, True)
    assert not heard
    see(layer, False)
    assert len(heard) == 1
