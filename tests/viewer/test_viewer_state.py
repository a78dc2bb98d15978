"""The state that the docks of one viewer share."""

from __future__ import annotations

import gc
from unittest.mock import Mock

import pytest
from napari.components import ViewerModel
from napari.utils._proxies import PublicOnlyProxy

from napari_st2msi.recipe import Recipe
from napari_st2msi.viewer.state import _STATES, ViewerState, state_of


def test_docks_share_one_state_even_through_the_proxies_that_napari_gives_plugins(viewer):
    assert state_of(viewer) is state_of(PublicOnlyProxy(viewer))
    assert state_of(viewer) is not state_of(ViewerModel())


def test_the_state_goes_with_its_viewer():
    before = len(_STATES)
    other = ViewerModel()
    state_of(other)
    assert len(_STATES) == before + 1
    del other
    gc.collect()
    assert len(_STATES) <= before


def test_the_section_opened_last_is_looked_at_and_announced_once(make_section):
    state, one, two = ViewerState(), make_section("one"), make_section("two")
    heard = Mock()
    state.section_changed.connect(heard)
    state.add_section(one)
    state.add_section(two)
    state.add_section(two)
    assert state.section is two
    assert [call.args[0] for call in heard.call_args_list] == [one, two]
    state.remove_section(two)
    assert state.section is one
    assert state.sections == (one,)
    state.remove_section(one)
    assert state.section is None


def test_results_stay_with_the_section_they_were_made_of(make_section, measured):
    state, one, two = ViewerState(), make_section("one"), make_section("two")
    state.add_section(one)
    state.add_section(two)
    heard = Mock()
    state.paired_changed.connect(heard)
    state.set_paired(measured, one)
    assert state.paired is None
    heard.assert_called_once_with(one)
    state.section = one
    assert state.paired is measured


def test_a_closed_section_takes_no_results(make_section, measured):
    state, one = ViewerState(), make_section("one")
    with pytest.raises(LookupError):
        state.set_paired(measured, one)


def test_registering_anew_makes_the_pairing_stale_until_paired_again(section, measured, guess):
    state = ViewerState()
    state.add_section(section)
    state.set_paired(measured)
    state.set_prediction(guess)
    state.set_registered()
    assert state.work().stale == {"paired": "registration changed since pairing"}
    state.set_paired(measured)
    assert state.work().stale == {"prediction": "paired again since"}
    state.set_prediction(guess)
    assert state.work().stale == {}


def test_replacing_a_section_forgets_what_was_made_of_the_old_view(section, make_section, measured):
    state = ViewerState()
    state.add_section(section)
    state.set_paired(measured)
    other = make_section("other roles")
    heard = Mock()
    state.section_changed.connect(heard)
    state.replace_section(section, other)
    heard.assert_called_once_with(other)
    assert state.paired is None
    assert state.sections == (other,)


def test_the_ion_and_the_recipe_are_announced_only_when_they_change():
    state, ions, recipes = ViewerState(), Mock(), Mock()
    state.ion_changed.connect(ions)
    state.recipe_changed.connect(recipes)
    state.ion = "ion1"
    state.ion = "ion1"
    state.recipe = Recipe()
    state.recipe = Recipe.model_validate({"genes": {"n_top": 5}})
    ions.assert_called_once_with("ion1")
    assert recipes.call_count == 1


def test_favourites_belong_to_the_section_and_are_saved_with_it(section, make_section):
    state, other = ViewerState(), make_section("other")
    state.add_section(section)
    state.toggle_favourite("ion2")
    state.toggle_favourite("ion0")
    state.toggle_favourite("ion2")
    assert state.favourites == {"ion0"}
    assert section.sdata.attrs["st2msi"]["favourites"] == ["ion0"]
    state.add_section(other)
    assert state.favourites == frozenset()


def test_what_was_made_is_unsaved_until_it_is_written(section):
    state, heard = ViewerState(), Mock()
    state.add_section(section)
    state.saved_changed.connect(heard)
    assert not state.work(section).unsaved
    state.set_registered(section)
    assert state.work(section).unsaved
    state.mark_saved(section)
    assert not state.work(section).unsaved
    assert [call.args for call in heard.call_args_list] == [(section,), (section,)]


def test_pairing_again_makes_learnability_stale(section, measured):
    state, heard = ViewerState(), Mock()
    state.add_section(section)
    state.learnability_changed.connect(heard)
    state.set_paired(measured, section)
    assert not heard.called
    found = object()
    state.set_learnability(found, section)
    assert state.learnability is found
    assert "learnability" not in state.work(section).stale
    state.set_paired(measured, section)
    assert state.learnability is found
    assert "paired again" in state.work(section).stale["learnability"]
    assert heard.call_count == 2


def test_brushed_ions_are_announced_once_and_belong_to_the_section(section, make_section):
    state, heard = ViewerState(), Mock()
    state.add_section(section)
    state.brushed_changed.connect(heard)
    state.brushed = frozenset({"ion0"})
    state.brushed = frozenset({"ion0"})
    assert heard.call_count == 1
    state.add_section(make_section("other"))
    assert state.brushed == frozenset()
    assert heard.call_count == 2
