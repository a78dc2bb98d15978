"""The leaderboard of the Compare dock and its heatmap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from leaderboards import BOARD
from napari_st2msi.viewer.docks.compare_board import row_in_words
from napari_st2msi.viewer.docks.compare_choices import models_ticks
from napari_st2msi.viewer.docks.compare_results import ResultsView, board_in_words


def test_a_row_says_how_far_behind_it_is(qtbot):
    assert row_in_words(BOARD.iloc[0]) == "ridge · HVG: median R² 0.40 over 20 ions. The best."
    assert row_in_words(BOARD.iloc[3]).startswith("least squares · SVD: median R² −9.00")
    assert row_in_words(BOARD.replace("ridge", "two_stage").iloc[0]).startswith("two-stage · HVG")
    assert row_in_words(BOARD.iloc[1]).endswith(
        "Behind the best by 0.020 [−0.010, 0.050], median over ions: lower on 2, higher on 3, not told apart on 15. "
        "As good."
    )
    assert row_in_words(BOARD.iloc[2]).endswith(
        "0.300 [0.250, 0.350], median over ions: lower on 20, higher on 0, not told apart on 0."
    )


def test_a_row_is_looked_at_once_by_a_double_click_and_by_return(qtbot):
    view, heard = ResultsView(), []
    qtbot.addWidget(view)
    view.show_board(BOARD)
    view.show()
    qtbot.waitExposed(view)
    view.chosen.connect(heard.append)
    table = view.table
    where = table.visualRect(table.board.index(1, 0)).center()
    for click in (QTest.mouseClick, QTest.mouseDClick):
        click(table.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, where)
    assert [names["features"] for names in heard] == ["svd"]
    QTest.keyClick(table, Qt.Key.Key_Up)
    QTest.keyClick(table, Qt.Key.Key_Return)
    assert [names["features"] for names in heard] == ["svd", "hvg"]


@pytest.mark.parametrize(("rows", "words"), [
    ([0], "The best."), ([0, 1], "The other is as good."), ([0, 2], "No other is as good."),
    ([0, 1, 2], "1 of 2 others is as good."),
])  # fmt: skip
def test_what_is_as_good_as_the_best_is_counted(rows, words):
    assert board_in_words(BOARD.iloc[rows]).endswith(words)


def test_a_row_that_was_not_set_against_the_best_says_why_and_is_not_counted_as_worse(qtbot):
    board = BOARD.astype({"n_lower": "Int64", "n_higher": "Int64", "as_good": "boolean"})
    against = ["behind", "behind_lower", "behind_upper", "n_lower", "n_higher", "as_good"]
    board.loc[2, against] = pd.NA
    assert row_in_words(board.iloc[2]).endswith(
        "Not set against the best: its buffer is another, so other spots trained it."
    )
    assert row_in_words(board.assign(n_common=0).iloc[2]).endswith("no ion was learned by all.")
    words = board_in_words(board.iloc[[0, 1, 2]])
    assert words.endswith("The other is as good. Not judged against it: 1 (point at a row to see why).")
    assert board_in_words(board.iloc[[0, 2]]).count("as good") == 0
    view = ResultsView()
    qtbot.addWidget(view)
    view.show_board(board)
    view.show()
    assert not view.table.grab().toImage().isNull()


def test_the_heatmap_has_baselines_under_all_features_and_gaps_where_nothing_was_done(qtbot):
    view = ResultsView()
    qtbot.addWidget(view)
    view.show_board(BOARD)
    heatmap = view.heatmap
    values = pd.DataFrame(heatmap.values, index=heatmap.rows, columns=[key for key, _ in heatmap.columns])
    assert values.loc["ridge"].tolist() == [0.4, 0.38]
    assert values.loc["position"].tolist() == [0.1, 0.1]
    assert np.isnan(values.loc["least squares", "hvg|blocks"])
    heard: list[Any] = []
    view.chosen.connect(heard.append)
    heatmap.chosen.emit("least squares", "hvg|blocks")
    assert not heard
    heatmap.chosen.emit("position", "svd|blocks")
    assert heard == [{"data": "brain", "model": "position", "features": "none", "protocol": "blocks", "seed": 0}]


def test_one_model_that_fails_badly_does_not_flatten_the_others(qtbot):
    view = ResultsView()
    qtbot.addWidget(view)
    view.show_board(BOARD)
    low, high = view.heatmap._limits
    assert low >= -0.25
    assert high == 0.4
    assert view.table.board.span[1] <= 1
    view.resize(320, 500)
    view.show()
    image = view.table.grab().toImage()  # intervals are painted, far ones at the end
    assert not image.isNull()


def test_models_without_genes_are_marked_and_features_are_named_where_they_differ(qtbot):
    view = ResultsView()
    qtbot.addWidget(view)

    def first_column() -> list[str]:
        board = view.table.board
        return [board.data(board.index(row, 0)) for row in range(board.rowCount())]

    view.show_board(BOARD)
    assert first_column() == ["ridge · HVG", "ridge · SVD", "position · no gene", "least squares · SVD"]
    view.show_board(BOARD.iloc[1:])
    assert first_column() == ["ridge", "position · no gene", "least squares"]
    boxes = models_ticks(()).boxes
    assert boxes["position"].text() == "position (no gene)"
    assert boxes["ridge"].text() == "ridge"


def test_no_number_and_no_title_is_cut(qtbot):
    view = ResultsView()
    qtbot.addWidget(view)
    view.show_board(BOARD.assign(share_gain=1.0, r2_q1=-123.456))
    view.show()
    table = view.table
    for column in range(1, table.board.columnCount()):
        needed = max(table.sizeHintForColumn(column), table.horizontalHeader().sectionSizeHint(column))
        assert table.columnWidth(column) >= needed
