"""What the Compare dock shows of a benchmark, in itself and in Explore."""

from __future__ import annotations

from typing import Any

import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog

from docked import PATIENCE_MS, QUICK, brain, on_screen, press
from napari_st2msi.benchmarking.config import Config
from napari_st2msi.paired import PairedDataset
from napari_st2msi.section import Section
from napari_st2msi.viewer.docks import compare_work
from napari_st2msi.viewer.docks.compare import CompareDock
from napari_st2msi.viewer.docks.explore import ExploreDock
from napari_st2msi.viewer.state import state_of


@pytest.fixture(scope="module")
def data() -> tuple[Section, PairedDataset]:
    """A simulated section, registered and paired."""
    return brain(200, ions_per_kind=1)


@pytest.fixture
def dock(
    qtbot: Any,
    viewer: ViewerModel,
    data: tuple[Section, PairedDataset],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> CompareDock:
    """A dock with a paired section, that compares ridge with coordinates on random spots."""
    monkeypatch.setattr(compare_work, "user_folder", lambda: tmp_path_factory.getbasetemp() / "compared")
    state = state_of(viewer)
    state.recipe = QUICK
    dock = on_screen(qtbot, CompareDock(viewer), size=(340, 760))
    section, paired = data
    state.add_section(section)
    state.set_paired(paired, section)
    for choice, names in ((dock.models, ("ridge", "coordinates")), (dock.protocols, ("random",))):
        for name, box in choice.boxes.items():
            box.setChecked(name in names)
    return dock


def click_row(dock: CompareDock, row: int) -> None:
    """Click a row of the leaderboard."""
    table = dock.results.table
    where = table.visualRect(table.board.index(row, 0)).center()
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, where)


def test_explore_turns_to_the_section_that_was_predicted(dock, data, viewer, make_section, qtbot):
    press(qtbot, dock)
    other = make_section("another")
    dock.state.add_section(other)
    dock.state.section = other
    explore = on_screen(qtbot, ExploreDock(viewer), size=(340, 760))
    click_row(dock, 0)
    qtbot.waitUntil(lambda: "Explore shows" in dock.messages.text, timeout=PATIENCE_MS)
    assert dock.state.section is data[0]
    qtbot.waitUntil(
        lambda: explore.gathered is not None and explore.gathered.kind == "out_of_fold", timeout=PATIENCE_MS
    )
    # It says who predicted, also when that is another.
    for row in (0, 1):
        model = dock.results.table.board.names(row)["model"]
        click_row(dock, row)
        words = f"predicted by {model}, out of fold"
        qtbot.waitUntil(lambda words=words: words in explore.state_line.accessibleName(), timeout=PATIENCE_MS)


def test_results_stand_above_files(dock):
    order = [dock.body.indexOf(group) for group in (dock.protocols_group, dock.results_group, dock.config_group)]
    assert order == sorted(order)
    assert -1 not in order


def test_what_is_ticked_is_saved_as_a_config_that_runs(dock, data, tmp_path, monkeypatch, qtbot):
    section = data[0]
    out = tmp_path / "mine"
    for what in ("never saved", "changed since"):
        dock.save_config(out)
        assert dock.messages.level == "error", what
        assert "'brain' is not saved as it was paired" in dock.messages.text
        assert not out.with_suffix(".yaml").exists()
        monkeypatch.setattr(section, "path", tmp_path / "brain.zarr")
        dock.state.mark_unsaved(section)
    dock.state.mark_saved(section)
    dock.save_config(out)
    config = Config.read(out.with_suffix(".yaml"))
    assert [(each.name, each.paths) for each in config.data] == [("brain", (tmp_path / "brain.zarr",))]
    assert [each.name for each in config.models] == ["ridge", "coordinates"]
    assert [each.name for each in config.protocols] == ["random"]
    assert config.recipe == dock.state.recipe
    assert str(out.with_suffix(".yaml")) in dock.messages.text
    dock.take_config(out.with_suffix(".yaml"))
    assert dock.files.keep.isHidden()


def test_nothing_ticked_is_not_saved(dock, tmp_path):
    for box in dock.models.boxes.values():
        box.setChecked(False)
    dock.save_config(tmp_path / "mine.yaml")
    assert "Tick a model" in dock.messages.text
    assert not list(tmp_path.iterdir())


def test_it_says_where_results_are_kept_and_looks_for_others_there(dock, monkeypatch, qtbot):
    asked: list[str] = []

    def ask(_parent: Any, _title: str, start: str) -> str:
        asked.append(start)
        return ""

    monkeypatch.setattr(QFileDialog, "getExistingDirectory", ask)
    press(qtbot, dock)
    assert dock.files.folder.text() == str(dock.compared.benchmark.folder)
    assert dock.compared.benchmark.folder.name.startswith("brain-")
    dock.config_group.expand()
    qtbot.mouseClick(dock.files.open, Qt.MouseButton.LeftButton)
    assert asked == [str(compare_work.user_folder())]


def test_a_dock_that_was_closed_finds_ticks_and_results_again(dock, viewer, qtbot):
    dock.features.boxes["svd"].setChecked(True)
    press(qtbot, dock)
    board = dock.compared.benchmark.leaderboard
    dock.close()
    again = on_screen(qtbot, CompareDock(viewer), size=(340, 760))
    for one, other in ((again.models, dock.models), (again.features, dock.features), (again.protocols, dock.protocols)):
        assert one.chosen() == other.chosen()
    assert again.results.table.board.rowCount() == len(board)
    assert not again.results_group.isHidden()
    click_row(again, 0)
    qtbot.waitUntil(lambda: "Explore shows" in again.messages.text, timeout=PATIENCE_MS)


def test_a_config_that_was_loaded_is_found_again(dock, viewer, tmp_path, qtbot):
    config = tmp_path / "mine.yaml"
    config.write_text("models: [ridge]\nprotocols: [half]\n")
    dock.take_config(config)
    dock.close()
    again = on_screen(qtbot, CompareDock(viewer), size=(340, 760))
    assert "'mine.yaml'" in again.files.config_words.text()
    assert again.models_group.isHidden()
