"""The tables of the Register dock: tiers, order, renaming, and the transforms that were tried."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_st2msi.registration.fit import fit
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.registration.registration import Registration
from napari_st2msi.viewer.docks.register_candidates import CandidateTable
from napari_st2msi.viewer.docks.register_table import LandmarkTable, rows_of, tier_of
from napari_st2msi.viewer.landmark_editor import LandmarkEditor

PIXEL_UM = 50.0


@pytest.fixture
def registration() -> Registration:
    rng = np.random.default_rng(0)
    moving = rng.uniform(0, 5000, (12, 2))
    fixed = moving @ np.array([[0.0, 1.0], [1.0, 0.0]]) + rng.normal(0, 20, (12, 2))
    return fit(Landmarks(tuple(map(str, range(1, 13))), moving, fixed))


@pytest.fixture
def editor(registration: Registration) -> LandmarkEditor:
    editor = LandmarkEditor()
    editor.begin(registration.landmarks)
    editor.add("fixed", (1.0, 2.0))
    return editor


@pytest.fixture
def table(qtbot: Any, editor: LandmarkEditor, registration: Registration) -> LandmarkTable:
    table = LandmarkTable(editor)
    qtbot.addWidget(table)
    table.set_rows(rows_of(editor.pairs, registration, PIXEL_UM))
    return table


def column(table: LandmarkTable, place: int) -> list[str]:
    model = table.landmarks
    return [str(model.data(model.index(row, place))) for row in range(model.rowCount())]


@pytest.mark.parametrize(
    ("error", "pixel", "tier"),
    [(24.9, 50, "A"), (25.0, 50, "B"), (49.9, 50, "B"), (50.0, 50, "C"), (float("nan"), 50, None), (5.0, None, None)],
)
def test_tiers_are_half_a_pixel_and_one(error: float, pixel: float | None, tier: str | None) -> None:
    assert tier_of(error, pixel) == tier


def test_the_worst_come_first_and_the_unknown_last(table: LandmarkTable, registration: Registration) -> None:
    assert column(table, 0) == [str(number) for number in range(1, 14)]
    click = table.horizontalHeader().sectionClicked.emit
    click(3)
    worst = np.argsort(-registration.left_out_um)
    assert column(table, 0) == [registration.landmarks.ids[place] for place in worst] + ["13"]
    assert column(table, 3)[-1] == "no MSI"
    click(3)
    assert column(table, 0) == [registration.landmarks.ids[place] for place in worst[::-1]] + ["13"]
    click(3)
    assert column(table, 0) == [str(number) for number in range(1, 14)], "as they were placed"
    click(0)
    assert column(table, 0)[:3] == ["1", "2", "3"], "2 before 10"


def test_the_selected_landmark_stays_selected_when_the_order_changes(table: LandmarkTable) -> None:
    table.show_landmark("7")
    table.horizontalHeader().sectionClicked.emit(2)
    assert table.landmarks.id(table.currentIndex().row()) == "7"
    table.show_landmark(None)
    assert not table.currentIndex().isValid()


def test_edits_in_the_table_go_to_the_editor(table: LandmarkTable, editor: LandmarkEditor) -> None:
    model = table.landmarks
    assert model.setData(model.index(0, 1), Qt.CheckState.Unchecked.value, Qt.ItemDataRole.CheckStateRole)
    assert not editor.pair("1").enabled
    assert model.setData(model.index(1, 0), "ventricle")
    assert editor.pairs[1].id == "ventricle"
    refused: list[str] = []
    model.refused.connect(refused.append)
    assert not model.setData(model.index(2, 0), "1")
    assert refused == ["Another landmark is called 1. Choose another name."]


def test_candidates_show_which_was_chosen_and_why_not_the_others(qtbot: Any, registration: Registration) -> None:
    table = CandidateTable()
    qtbot.addWidget(table)
    table.set_candidates(registration.candidates)
    model = table.candidates
    names = [model.data(model.index(row, 0)) for row in range(model.rowCount())]
    chosen = [one.chosen for one in registration.candidates]
    assert [name.startswith("✓") for name in names] == chosen
    assert sum(chosen) == 1
    for row, one in enumerate(registration.candidates):
        hint = model.data(model.index(row, 0), Qt.ItemDataRole.ToolTipRole)
        assert hint == ("This one is used." if one.chosen else one.why_not)


def test_a_narrow_table_keeps_what_decides(qtbot: Any, table: LandmarkTable) -> None:
    table.show()
    beside = table.width() - table.viewport().width()
    residual, influence = table.columnWidth(2), table.columnWidth(4)
    least = beside + 45 + sum(table.columnWidth(place) for place in (1, 3, 5))
    for width, hidden in ((900, []), (least + residual + influence // 2, [4]), (least + residual // 2, [2, 4])):
        table.resize(width, table.height())
        assert [place for place in range(6) if table.isColumnHidden(place)] == hidden
    hint = table.landmarks.data(table.landmarks.index(0, 0), Qt.ItemDataRole.ToolTipRole)
    assert "Residual" in hint
    assert "influence" in hint
