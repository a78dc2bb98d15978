"""The Compare dock: run combinations in the background, see who wins, look at one of them."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Any

import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtTest import QTest

from docked import PATIENCE_MS, QUICK, brain, come_to_rest, on_screen, press
from leaderboards import BOARD
from napari_st2msi.paired import PairedDataset
from napari_st2msi.recipe import Evaluation
from napari_st2msi.section import Section
from napari_st2msi.viewer.docks import compare_work
from napari_st2msi.viewer.docks.compare import CompareDock
from napari_st2msi.viewer.docks.compare_work import misfit_in_words
from napari_st2msi.viewer.state import state_of


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where results are kept: not in the folder of whoever runs the tests. Tests share it, so nothing is done twice."""
    return tmp_path_factory.mktemp("comparisons")


@pytest.fixture(autouse=True)
def _own_results(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_work, "user_folder", lambda: kept)


@pytest.fixture(scope="module")
def data() -> tuple[Section, PairedDataset]:
    """A simulated section, registered and paired."""
    return brain(200, ions_per_kind=1)


@pytest.fixture
def dock(qtbot: Any, viewer: ViewerModel) -> CompareDock:
    state_of(viewer).recipe = QUICK
    return on_screen(qtbot, CompareDock(viewer), size=(340, 760))


@pytest.fixture
def paired(dock: CompareDock, data: tuple[Section, PairedDataset]) -> Iterator[Section]:
    section, paired = data
    dock.state.add_section(section)
    dock.state.set_paired(paired, section)
    tick(dock, models=("ridge", "position"), features=("recipe",), protocols=("random", "blocks"))
    yield section
    dock.jobs.shut()


def tick(dock: CompareDock, **chosen: tuple[str, ...]) -> None:
    for choice, names in chosen.items():
        for name, box in getattr(dock, choice).boxes.items():
            box.setChecked(name in names)


def test_an_empty_dock_says_what_to_do(dock, make_section):
    assert "Open a section" in dock.empty.label.text()
    assert dock.run_bar.isHidden()
    dock.state.add_section(make_section("unpaired"))
    assert "not paired" in dock.empty.label.text()


def test_every_combination_is_run_and_one_can_be_looked_at(dock, paired, qtbot):
    assert "4 combinations" in dock.state_line.accessibleName()
    press(qtbot, dock)
    board = dock.compared.benchmark.leaderboard
    assert dock.messages.level == "good"
    assert set(zip(board["model"], board["protocol"], strict=True)) == {
        (model, protocol) for model in ("ridge", "position") for protocol in ("random", "blocks")
    }
    table = dock.results.table
    rows = board[board["protocol"] == dock.results.protocol.value()].sort_values("rank")
    assert [table.board.names(row)["model"] for row in range(table.board.rowCount())] == rows["model"].tolist()
    # A click on the second row brings its prediction to Explore.
    second = rows.iloc[1]
    where = table.visualRect(table.board.index(1, 0)).center()
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, where)
    qtbot.waitUntil(lambda: dock.state.evaluation is not None, timeout=PATIENCE_MS)
    evaluation = dock.state.evaluation
    assert evaluation.model == second["model"]
    assert dock.state.prediction is evaluation.prediction
    assert evaluation.prediction.uns["provenance"]["kind"] == "out_of_fold"
    assert "out of fold" in dock.messages.text
    # And so does a cell of the heatmap, in another way of holding out.
    heatmap = dock.results.heatmap
    other = next(name for name in ("random", "blocks") if name != dock.results.protocol.value())
    row = heatmap.rows.index("ridge")
    column = next(place for place, (key, _) in enumerate(heatmap.columns) if key.endswith(other))
    QTest.mouseClick(heatmap, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, cell(heatmap, row, column))
    qtbot.waitUntil(lambda: dock.state.evaluation is not evaluation, timeout=PATIENCE_MS)
    assert dock.state.evaluation.protocol["protocol"] == other
    assert dock.state.evaluation.model == "ridge"
    assert heatmap.marked == (row, column)


def cell(heatmap: Any, row: int, column: int) -> QPoint:
    """Return the middle of a cell."""
    for x in range(heatmap.width()):
        y = (row + 0.5) * heatmap._height
        if heatmap.at(QPointF(x, y)) == (row, column):
            return QPoint(x + 5, int(y))
    raise AssertionError("no such cell")


def test_what_was_done_is_not_done_again_and_more_can_be_added(dock, paired, qtbot):
    tick(dock, models=("ridge",), protocols=("blocks",))
    press(qtbot, dock)
    told: list[Any] = []
    dock.jobs.told.connect(told.append)
    press(qtbot, dock)
    assert not told
    tick(dock, models=("ridge", "coordinates"))
    press(qtbot, dock)
    assert [each.words for each in told] == ["coordinates · no gene · blocks · brain"]


def test_a_row_of_spots_that_were_paired_again_since_is_not_shown_as_if_new(dock, paired, data, qtbot):
    tick(dock, models=("ridge",), protocols=("blocks",))
    press(qtbot, dock)
    names = dock.results.table.board.names(0)
    dock.look_at(names)
    qtbot.waitUntil(lambda: dock.state.evaluation is not None, timeout=PATIENCE_MS)
    evaluation = dock.state.evaluation
    dock.state.set_paired(copy(data[1]), paired)
    dock.look_at(names)
    qtbot.waitUntil(lambda: not dock._looking.running, timeout=PATIENCE_MS)
    assert dock.state.evaluation is evaluation
    assert dock.state.work(paired).stale["evaluation"] == "paired again since"
    assert dock.messages.level == "warning"
    assert "'brain' was paired again since" in dock.messages.text


def test_a_failure_is_listed_and_the_others_go_on(dock, paired, data, qtbot, monkeypatch):
    from napari_st2msi.errors import ModelProblem
    from napari_st2msi.models.registry import model_class

    def fail(*_args: Any, **_choices: Any) -> None:
        raise ModelProblem("It cannot be fitted.")

    dock.state.recipe = QUICK.model_copy(update={"evaluation": Evaluation(n_folds=3)})
    monkeypatch.setattr(compare_work, "results_folder", lambda names: compare_work.user_folder() / "failing")
    monkeypatch.setattr(model_class("ridge"), "fit", fail)
    tick(dock, models=("coordinates", "ridge"), protocols=("blocks",))
    press(qtbot, dock)
    assert dock.compared.benchmark.leaderboard["model"].tolist() == ["coordinates"]
    assert "1 failed" in dock.messages.text
    assert not dock.failures_group.isHidden()
    assert "It cannot be fitted." in dock.failures.words.text()


def test_stopped_it_keeps_what_was_done(dock, paired, qtbot):
    dock.state.recipe = QUICK.model_copy(update={"evaluation": Evaluation(n_folds=4)})
    tick(dock, models=("coordinates", "ridge", "pls", "linear", "lasso"), protocols=("blocks", "random", "half"))
    dock.jobs.told.connect(lambda _: dock.jobs.cancel())
    press(qtbot, dock)
    assert 1 <= len(dock.compared.benchmark.leaderboard) < 15
    assert dock.messages.level == "warning"
    assert "go on where it was" in dock.messages.text


def test_nothing_ticked_is_said_before_any_work(dock, paired, qtbot):
    for choice, words in (("models", "model"), ("features", "set of features"), ("protocols", "way of holding out")):
        tick(dock, models=("ridge",), features=("recipe",), protocols=("random",))
        tick(dock, **{choice: ()})
        qtbot.mouseClick(dock.run_bar.button, Qt.MouseButton.LeftButton)
        assert not dock.jobs.running
        assert f"Tick a {words}" in dock.messages.text


def test_a_config_is_taken_instead_of_the_ticks(dock, paired, tmp_path, qtbot):
    config = tmp_path / "mine.yaml"
    config.write_text(
        f"recipe:\n{_indented(QUICK.to_yaml())}\nmodels: [coordinates]\nprotocols: [random]\nseeds: [0, 1]\n"
    )
    dock.take_config(config)
    assert "1 model, 1 set of features, 1 way of holding out, 2 seeds" in dock.files.config_words.text()
    assert dock.models_group.isHidden()
    press(qtbot, dock)
    assert sorted(dock.compared.benchmark.leaderboard["seed"]) == [0, 1]
    assert not dock.results.seed.isHidden()
    dock.forget_config()
    assert not dock.models_group.isHidden()


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


@pytest.mark.parametrize("text", ["models: [nonsense]\nprotocols: [random]", "models: [", "models: [ridge]"])
def test_a_config_that_makes_no_sense_is_an_error_in_words(dock, paired, tmp_path, text, qtbot):
    config = tmp_path / "bad.yaml"
    config.write_text(text)
    dock.take_config(config)
    if not dock.messages.text:  # names are looked at with the data, before any work
        press(qtbot, dock)
    assert dock.messages.level == "error"
    assert not dock.messages.details.toPlainText()


def test_results_are_opened_and_a_folder_without_any_is_refused(dock, paired, kept, tmp_path, qtbot):
    tick(dock, models=("ridge",), protocols=("blocks",))
    press(qtbot, dock)
    folder, n = dock.compared.benchmark.folder, len(dock.compared.benchmark.leaderboard)
    dock.compared = None
    dock.open_results(folder)
    come_to_rest(qtbot, dock)
    assert len(dock.compared.benchmark.leaderboard) == n
    dock.open_results(tmp_path)
    come_to_rest(qtbot, dock)
    assert "holds no results of a benchmark" in dock.messages.text
    # A section that is not open cannot be looked at, and the dock says which one to open.
    dock.state.remove_section(paired)
    dock.look_at(dock.results.table.board.names(0))
    qtbot.waitUntil(lambda: "not open" in dock.messages.text, timeout=PATIENCE_MS)
    assert "'brain'" in dock.messages.text


def test_results_of_another_section_with_the_same_name_are_refused_and_not_marked(dock, paired, make_section, qtbot):
    tick(dock, models=("ridge",), protocols=("blocks",))
    press(qtbot, dock)
    dock.state.remove_section(paired)
    dock.open_results(dock.compared.benchmark.folder)
    come_to_rest(qtbot, dock)
    other = make_section("brain")
    dock.state.add_section(other)
    table, heatmap = dock.results.table, dock.results.heatmap
    where = table.visualRect(table.board.index(0, 0)).center()
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, where)
    qtbot.waitUntil(lambda: "made on another section" in dock.messages.text, timeout=PATIENCE_MS)
    assert "called 'brain': 200 of its 200 spots are not in the one that is open" in dock.messages.text
    assert dock.state.work(other).evaluation is None
    assert dock.state.work(other).prediction is None
    assert not table.selectionModel().hasSelection()
    assert heatmap.marked is None


def test_a_section_is_known_by_its_spots_and_ions_and_not_by_its_name(section, guess):
    assert misfit_in_words(section, guess) == ""
    assert misfit_in_words(section, guess[:5, :2]) == ""  # spots without MSI are not predicted
    ions = guess.copy()
    ions.var_names = ["ion0", "ion1", "other2", "other3"]
    assert "2 of its 4 ions are not in" in misfit_in_words(section, ions)
    spots = guess.copy()
    spots.obs_names = [*spots.obs_names[:6], "t6", "t7"]
    assert "2 of its 8 spots are not in" in misfit_in_words(section, spots)
    moved = guess.copy()
    moved.obsm["spatial"] = moved.obsm["spatial"] + 40.0  # another slide has the same barcodes
    assert "its spots lie elsewhere" in misfit_in_words(section, moved)


@pytest.mark.parametrize("size", [9, 13])
def test_nothing_is_wider_than_the_narrowest_dock(dock, paired, size, qtbot):
    from napari.settings import get_settings

    get_settings().appearance.font_size = size
    dock.resize(320, 700)
    for group in (*dock.ticked, dock.config_group):
        group.expand()
    dock.results.show_board(BOARD)
    dock.results_group.show()
    qtbot.wait(50)
    assert dock.scroll.widget().minimumSizeHint().width() <= dock.scroll.viewport().width()
