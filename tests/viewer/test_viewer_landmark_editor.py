"""The editor of landmarks: pairs in any order, predictions, and everything taken back."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from napari_st2msi.errors import DataProblem, FileProblem
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.registration.transforms import Similarity
from napari_st2msi.viewer.landmark_editor import LandmarkEditor
from napari_st2msi.viewer.landmark_pairs import Pair

MOVING = np.array([[0.0, 0], [1000, 0], [0, 1000], [800, 900]])
SHIFT = np.array([5000.0, -300])


def editor_with(n: int) -> LandmarkEditor:
    editor = LandmarkEditor()
    for xy in MOVING[:n]:
        editor.add("moving", tuple(xy))
        editor.add("fixed", tuple(xy + SHIFT))
    return editor


def ids(editor: LandmarkEditor) -> list[str]:
    return [pair.id for pair in editor.pairs]


@pytest.mark.parametrize("first", ["moving", "fixed"])
def test_a_click_on_either_side_begins_a_pair_and_one_on_the_other_completes_it(first: Any) -> None:
    editor = LandmarkEditor()
    second = "fixed" if first == "moving" else "moving"
    assert editor.add(first, (1.0, 2.0)) == "1"
    assert not editor.pairs[0].complete
    assert len(editor.landmarks) == 0
    assert editor.awaited(second) == "1"
    assert editor.awaited(first) is None
    assert editor.add(second, (3.0, 4.0)) == "1"
    assert editor.pairs[0].complete
    assert editor.add(first, (5.0, 6.0)) == "2"
    assert len({pair.colour for pair in editor.pairs}) == 2


def test_points_may_be_placed_on_one_side_in_a_row_and_then_on_the_other() -> None:
    editor = LandmarkEditor()
    for x in (1.0, 2.0, 3.0):
        editor.add("fixed", (x, 0.0))
    editor.select("1")
    for x in (10.0, 20.0, 30.0):
        editor.add("moving", (x, 0.0))
    landmarks = editor.landmarks
    assert landmarks.ids == ("1", "2", "3")
    assert landmarks.fixed[:, 0].tolist() == [1.0, 2.0, 3.0]
    assert landmarks.moving[:, 0].tolist() == [10.0, 20.0, 30.0]


def test_a_half_placed_point_is_kept_beside_others() -> None:
    editor = editor_with(2)
    editor.add("fixed", (7.0, 7.0))
    editor.select(None)
    assert editor.add("fixed", (8.0, 8.0)) == "4"
    editor.add("moving", (9.0, 9.0))
    assert [pair.complete for pair in editor.pairs] == [True, True, False, True]
    assert editor.landmarks.ids == ("1", "2", "4")


def test_ids_are_not_given_twice() -> None:
    editor = editor_with(3)
    editor.delete("3")
    editor.rename("1", "4")
    assert editor.add("moving", (5.0, 5.0)) == "5"


def test_the_counterpart_is_predicted_and_confirmed_by_a_drag_or_at_once() -> None:
    editor = editor_with(3)
    editor.predictor = Similarity.fit(editor.landmarks.moving, editor.landmarks.fixed)
    editor.add("moving", (500.0, 500.0))
    pair = editor.pair("4")
    assert pair.predicted == "fixed"
    assert pair.fixed == pytest.approx((5500.0, 200.0))
    assert len(editor.landmarks) == 3, "a prediction is no landmark"
    editor.move("4", "fixed", (5510.0, 190.0))
    assert editor.pair("4").complete
    editor.undo()
    assert editor.pair("4").predicted == "fixed"
    editor.confirm("4")
    assert editor.pair("4").complete
    assert editor.landmarks.fixed[3] == pytest.approx((5500.0, 200.0))

    editor.add("fixed", (5100.0, -200.0))
    assert editor.pair("5").predicted == "moving"
    assert editor.pair("5").moving == pytest.approx((100.0, 100.0))
    editor.predictor = None
    assert editor.pair("5").moving is None


def test_a_prediction_is_replaced_by_a_click_elsewhere() -> None:
    editor = editor_with(3)
    editor.predictor = Similarity.fit(editor.landmarks.moving, editor.landmarks.fixed)
    editor.add("moving", (500.0, 500.0))
    assert editor.add("fixed", (5555.0, 222.0)) == "4"
    assert editor.pair("4").fixed == (5555.0, 222.0)
    assert editor.add("fixed", (1.0, 1.0)) == "5"


def test_everything_is_undone_and_done_again() -> None:
    editor = LandmarkEditor()
    states = [editor.to_dict()]

    def note() -> None:
        states.append(editor.to_dict())

    for step in (
        lambda: editor.add("moving", (0.0, 0.0)),
        lambda: editor.add("fixed", (1.0, 1.0)),
        lambda: editor.move("1", "fixed", (2.0, 2.0)),
        lambda: editor.enable("1", False),
        lambda: editor.rename("1", "ventricle"),
        lambda: editor.load(Landmarks(("a", "b"), MOVING[:2], MOVING[:2] + SHIFT)),
        lambda: editor.delete("a", "b"),
        lambda: editor.restore(states[3]),
    ):
        step()
        note()
    for state in reversed(states[:-1]):
        assert editor.can_undo
        assert editor.undo()
        assert editor.to_dict() == state
    assert not editor.can_undo
    assert editor.undo() == ""
    for state in states[1:]:
        assert editor.redo()
        assert editor.to_dict() == state
    assert not editor.can_redo
    assert editor.redo() == ""


def test_a_drag_is_one_step() -> None:
    editor = editor_with(1)
    for x in range(20):
        editor.move("1", "moving", (float(x), 0.0), going_on=True)
    editor.settle()
    editor.move("1", "moving", (99.0, 0.0), going_on=True)
    editor.settle()
    editor.undo()
    assert editor.pair("1").moving == (19.0, 0.0)
    editor.undo()
    assert editor.pair("1").moving == (0.0, 0.0)
    editor.redo()
    assert editor.pair("1").moving == (19.0, 0.0)


def test_an_edit_after_undo_drops_what_was_undone() -> None:
    editor = editor_with(2)
    editor.undo()
    editor.add("fixed", (1.0, 1.0))
    assert not editor.can_redo


def test_dirty_counts_edits_from_what_was_saved() -> None:
    editor = editor_with(2)
    assert editor.changes == 4
    editor.mark_saved()
    assert not editor.dirty
    editor.enable("1", False)
    assert editor.changes == 1
    editor.undo()
    assert not editor.dirty
    editor.undo()
    editor.undo()
    assert editor.changes == 2
    editor.add("moving", (5.0, 5.0))
    assert editor.changes == 3, "two undone, one made"
    editor.mark_saved()
    assert not editor.dirty


def test_the_beginning_is_saved_and_nothing_leads_behind_it() -> None:
    editor = editor_with(2)
    editor.begin(Landmarks(("a",), MOVING[:1], MOVING[:1] + SHIFT))
    assert ids(editor) == ["a"]
    assert not editor.dirty
    assert not editor.can_undo
    editor.begin()
    assert ids(editor) == []
    assert not editor.dirty


def test_another_section_is_worked_on_meanwhile() -> None:
    editor = editor_with(2)
    aside = editor.exchange(None)
    assert ids(editor) == []
    editor.add("fixed", (0.0, 0.0))
    editor.exchange(aside)
    assert ids(editor) == ["1", "2"]
    assert editor.changes == 4
    editor.undo()
    assert not editor.pair("2").complete


def test_selection_is_announced_and_never_points_at_nothing() -> None:
    editor, heard = editor_with(2), Mock()
    editor.selection_changed.connect(heard)
    editor.select("1")
    editor.select("1")
    editor.rename("1", "a")
    editor.delete("a")
    assert [call.args[0] for call in heard.call_args_list] == ["1", "a", None]
    with pytest.raises(DataProblem, match="no landmark nine"):
        editor.select("nine")


@pytest.mark.parametrize(("new", "words"), [("2", "Another landmark is called 2"), ("  ", "needs a name")])
def test_names_that_cannot_be_given(new: str, words: str) -> None:
    editor = editor_with(2)
    with pytest.raises(DataProblem, match=words):
        editor.rename("1", new)
    assert ids(editor) == ["1", "2"]


def test_landmarks_are_written_and_restored_with_half_placed_ones() -> None:
    editor = editor_with(2)
    editor.enable("2", False)
    editor.add("fixed", (7.0, 7.0))
    facts = json.loads(json.dumps(editor.to_dict()))
    other = LandmarkEditor()
    other.restore(facts)
    assert other.pairs == editor.pairs
    assert other.pairs[2] == Pair("3", editor.pairs[2].colour, None, (7.0, 7.0))
    assert other.add("moving", (1.0, 1.0)) == "4", "nothing is selected, so this is a new one"
    other.undo()
    other.undo()
    assert ids(other) == []


@pytest.mark.parametrize(
    "change",
    [
        {"version": 9},
        {"pairs": [{"id": "1"}]},
        {"pairs": 3},
        {"number": "x"},
        {"pairs": [{"id": "1", "colour": "#fff", "moving": [1], "fixed": None, "enabled": True}]},
    ],
)
def test_damaged_landmarks_are_refused_and_nothing_is_lost(change: dict[str, Any]) -> None:
    editor = editor_with(1)
    with pytest.raises(FileProblem):
        editor.restore({**editor.to_dict(), **change})
    assert ids(editor) == ["1"]
