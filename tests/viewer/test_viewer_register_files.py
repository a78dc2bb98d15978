"""Landmark files in and out, dropped or chosen; and landmarks kept while they are edited."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QApplication, QFileDialog, QMenu, QWidget

from napari_st2msi.errors import FileProblem
from napari_st2msi.registration.fit import fit
from napari_st2msi.registration.landmark_files import FORMATS
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.section import Section
from napari_st2msi.viewer.docks import register_autosave
from napari_st2msi.viewer.docks.register_autosave import Autosave
from napari_st2msi.viewer.docks.register_context import RegisterContext
from napari_st2msi.viewer.docks.register_files import FilesPanel
from napari_st2msi.viewer.state import ViewerState

Heard = Callable[[], tuple[str, str]]
CORNERS = np.array([[0.0, 0.0], [50.0, 0.0], [50.0, 40.0], [0.0, 40.0]])


def landmarks() -> Landmarks:
    return Landmarks(tuple("abcd"), CORNERS, CORNERS + 1.5, np.ones(4, dtype=bool))


@pytest.fixture
def context(viewer: ViewerModel, section: Section) -> RegisterContext:
    context = RegisterContext(ViewerState(), viewer, ViewerModel())
    context.state.add_section(section)
    context.set_section(section)
    context.shown = True
    return context


@pytest.fixture
def panel(qtbot: Any, context: RegisterContext) -> FilesPanel:
    panel = FilesPanel(context)
    qtbot.addWidget(panel)
    panel.show()
    return panel


@pytest.fixture
def heard(qtbot: Any, panel: FilesPanel) -> Heard:
    """Wait until the panel is done and has said something; return the level and the words."""
    said: list[tuple[str, str]] = []
    panel.message.connect(lambda level, words: said.append((level, words)))
    panel.failed.connect(lambda words, details: said.append(("error", words + details)))

    def wait() -> tuple[str, str]:
        qtbot.waitUntil(lambda: not panel.jobs.running and bool(said), timeout=30_000)
        return said.pop()

    return wait


def choose(button: Any, words: str) -> None:
    """Choose an entry of the menu of a button."""
    menu: QMenu = button.menu()
    next(action for action in menu.actions() if words in action.text()).trigger()


# -- files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", [format for format in FORMATS if format != "magpie"])
def test_every_format_comes_back(
    panel: FilesPanel,
    context: RegisterContext,
    heard: Heard,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    format: str,
) -> None:
    context.editor.load(landmarks())
    asked: list[str] = []

    def save_dialog(_parent: QWidget, title: str, start: str, _filter: str) -> tuple[str, str]:
        asked.append(start)
        return str(tmp_path / Path(start).name), ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", save_dialog)
    choose(panel.export_button, FORMATS[format])
    level, words = heard()
    assert level == "good", words
    assert words.startswith("Wrote 4 landmarks to '")
    assert Path(asked[0]).name.startswith("one-landmarks")
    context.editor.delete(*"abcd")
    written = sorted(tmp_path.iterdir())[0]
    panel.read(written)
    assert "Read 4 landmarks" in heard()[1]
    assert context.editor.landmarks.moving == pytest.approx(CORNERS, abs=1e-3)
    assert context.editor.landmarks.fixed == pytest.approx(CORNERS + 1.5, abs=1e-3)


def test_importing_can_be_undone(
    panel: FilesPanel,
    context: RegisterContext,
    heard: Heard,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context.editor.add("moving", (1.0, 2.0))
    before = context.editor.to_dict()
    path = tmp_path / "points.csv"
    path.write_text("msi_x_um,msi_y_um,st_x_um,st_y_um\n1,2,3,4\n10,20,12,24\n30,5,33,9\n")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    choose(panel.import_button, "File")
    assert "They replace 1 landmark; undo brings those back." in heard()[1]
    assert len(context.editor.pairs) == 3
    context.editor.undo()
    assert context.editor.to_dict()["pairs"] == before["pairs"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("\x00\x01\x02 no text", ""),
        ('{"half": ', "JSON"),
        ("msi_x_um,msi_y_um,st_x_um\n1,2,3\n", "column"),
    ],
)
def test_a_file_that_is_none_changes_nothing(
    panel: FilesPanel,
    context: RegisterContext,
    heard: Heard,
    tmp_path: Path,
    text: str,
    words: str,
) -> None:
    context.editor.load(landmarks())
    path = tmp_path / "bad.csv"
    path.write_text(text)
    panel.read(path)
    level, complaint = heard()
    assert level == "error"
    assert "bad.csv" in complaint
    assert words in complaint
    assert "Traceback" not in complaint
    assert len(context.editor.pairs) == 4


def test_a_file_that_is_gone_is_said(panel: FilesPanel, heard: Heard, tmp_path: Path) -> None:
    panel.read(tmp_path / "gone.csv")
    level, complaint = heard()
    assert level == "error"
    assert "gone.csv" in complaint


def test_writing_where_nobody_may_is_said(
    panel: FilesPanel, context: RegisterContext, heard: Heard, tmp_path: Path
) -> None:
    context.editor.load(landmarks())
    panel.write(tmp_path / "no such folder" / "x.json", "json")
    level, complaint = heard()
    assert level == "error"
    assert "no such folder" in complaint
    assert "Traceback" not in complaint


def test_a_format_that_the_section_cannot_have_is_said(
    panel: FilesPanel, context: RegisterContext, heard: Heard, tmp_path: Path
) -> None:
    context.editor.load(landmarks())
    panel.write(tmp_path / "x.csv", "magpie")  # counts pixels of Visium's hires image, and there is none
    level, complaint = heard()
    assert level == "error"
    assert "MAGPIE" in complaint
    assert not list(tmp_path.iterdir())


def test_the_field_is_written_once_there_is_a_registration(
    qtbot: Any, panel: FilesPanel, heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not panel.field_button.isEnabled()
    panel.context.registration = fit(landmarks(), "affine")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "field"), ""))
    qtbot.mouseClick(panel.field_button, Qt.MouseButton.LeftButton)
    level, words = heard()
    assert level == "good", words
    import SimpleITK

    field = SimpleITK.ReadImage(str(tmp_path / "field.mha"))
    assert field.GetNumberOfComponentsPerPixel() == 2
    assert field.EvaluateAtPhysicalPoint((20.0, 20.0)) == pytest.approx((-1.5, -1.5), abs=1e-6)


def test_files_are_dropped_anywhere_on_the_dock(
    qtbot: Any,
    panel: FilesPanel,
    context: RegisterContext,
    heard: Heard,
    tmp_path: Path,
) -> None:
    dock = QWidget()
    qtbot.addWidget(dock)
    panel.accept_drops(dock)
    path = tmp_path / "points.csv"
    path.write_text("msi_x_um,msi_y_um,st_x_um,st_y_um\n1,2,3,4\n10,20,12,24\n30,5,33,9\n")

    def drop(*paths: Path) -> bool:
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(each)) for each in paths])
        where, copy, left = QPointF(5, 5), Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton
        none = Qt.KeyboardModifier.NoModifier
        enter = QDragEnterEvent(where.toPoint(), copy, data, left, none)
        enter.ignore()
        QApplication.sendEvent(dock, enter)
        if enter.isAccepted():
            QApplication.sendEvent(dock, QDropEvent(where, copy, data, left, none))
        return bool(enter.isAccepted())

    assert not drop(tmp_path / "image.tif")  # napari's own window opens that
    assert not context.editor.pairs
    assert drop(path)
    heard()
    assert len(context.editor.pairs) == 3
    context.set_section(None)
    assert not drop(path)


# -- keeping ----------------------------------------------------------------------------------------


@pytest.fixture
def kept(qtbot: Any, context: RegisterContext, tmp_path: Path) -> Autosave:
    return Autosave(context, tmp_path / "kept")


@pytest.fixture
def complaints(kept: Autosave) -> list[str]:
    found: list[str] = []
    kept.failed.connect(lambda words, details: found.append(words + details))
    return found


def test_it_writes_a_second_after_the_last_change(
    qtbot: Any, kept: Autosave, context: RegisterContext, section: Section
) -> None:
    for x in range(5):
        context.editor.add("moving", (float(x), 2.0))
        qtbot.wait(20)
    assert not kept.folder.exists()
    with qtbot.waitSignal(kept.written, timeout=3000) as written:
        pass
    assert list(kept.folder.iterdir()) == written.args
    facts = kept.resume(section)
    assert facts == json.loads(json.dumps(context.editor.to_dict()))
    # Half-placed points come back in another session, too.
    other = RegisterContext(ViewerState(), ViewerModel(), ViewerModel())
    other.set_section(section)
    later = Autosave(other, kept.folder)
    offered = later.offer()
    assert offered is not None
    other.editor.restore(offered)
    assert [pair.moving for pair in other.editor.pairs] == [(float(x), 2.0) for x in range(5)]
    assert later.offer() is None  # the editor holds it already
    assert later.when(section) is not None


def test_what_is_offered_is_not_removed_by_opening(
    qtbot: Any, kept: Autosave, context: RegisterContext, section: Section
) -> None:
    context.editor.load(landmarks())
    kept.flush()
    other = RegisterContext(ViewerState(), ViewerModel(), ViewerModel())
    other.state.add_section(section)
    later = Autosave(other, kept.folder)
    other.editor.begin(None)
    other.set_section(section)
    assert later.resume(section) is not None
    qtbot.wait(30)
    assert later.resume(section) is not None


def test_it_goes_once_it_is_saved_or_undone(
    qtbot: Any, kept: Autosave, context: RegisterContext, section: Section
) -> None:
    context.editor.load(landmarks())
    kept.flush()
    assert kept.resume(section) is not None
    kept.forget(section)
    assert kept.resume(section) is None
    context.editor.add("moving", (1.0, 2.0))
    kept.flush()
    with qtbot.waitSignal(kept.written, timeout=3000):
        context.editor.add("fixed", (1.0, 2.0))
    assert kept.resume(section) is not None
    while context.editor.can_undo:
        context.editor.undo()
    qtbot.waitUntil(lambda: kept.resume(section) is None)


def test_what_was_kept_under_an_earlier_name_goes_once_it_is_saved_elsewhere(
    qtbot: Any, kept: Autosave, context: RegisterContext, make_section: Callable[..., Section], tmp_path: Path
) -> None:
    sample = make_section("sample")  # opened from nowhere
    context.state.add_section(sample)
    context.set_section(sample)
    context.editor.load(landmarks())
    qtbot.waitUntil(lambda: kept.resume(sample) is not None)
    sample.path = tmp_path / "saved.zarr"
    kept.forget(sample)
    assert not list(kept.folder.glob("*.json"))


def test_sections_are_kept_apart(
    qtbot: Any, kept: Autosave, context: RegisterContext, section: Section, make_section: Callable[..., Section]
) -> None:
    two = make_section("two")
    two.path = Path("data/two.zarr")
    context.editor.load(landmarks())
    qtbot.wait(10)
    # As the dock does it: the editor changes first.
    context.editor.begin(None)
    context.set_section(two)
    qtbot.waitUntil(lambda: kept.resume(section) is not None)
    assert len(kept.resume(section)["pairs"]) == 4
    assert kept.resume(two) is None
    context.editor.add("moving", (1.0, 2.0))
    kept.flush()
    assert len(kept.resume(two)["pairs"]) == 1
    assert kept.path(two) != kept.path(section)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"version": 1, "landmarks": 3}', "\xff\xfe"])
def test_what_is_damaged_is_said(kept: Autosave, section: Section, text: str) -> None:
    path = kept.path(section)
    path.parent.mkdir()
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(FileProblem, match="damaged"):
        kept.resume(section)


def test_one_of_a_later_version_is_left_alone(kept: Autosave, section: Section) -> None:
    path = kept.path(section)
    path.parent.mkdir()
    path.write_text('{"version": 9, "landmarks": {}}')
    with pytest.raises(FileProblem, match="version 9"):
        kept.resume(section)
    assert path.exists()


@pytest.mark.parametrize(("code", "words"), [(errno.ENOSPC, "disk is full"), (errno.EACCES, "may not write")])
def test_a_failing_disk_is_said_once_and_loses_nothing(
    qtbot: Any,
    kept: Autosave,
    context: RegisterContext,
    complaints: list[str],
    section: Section,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    words: str,
) -> None:
    context.editor.load(landmarks())
    kept.flush()
    with monkeypatch.context() as patch:
        patch.setattr(register_autosave.os, "fsync", _fails(code))
        for x in range(2):
            context.editor.add("moving", (float(x), 2.0))
            kept.flush()
    assert len(complaints) == 1
    assert words in complaints[0]
    assert "still in the window" in complaints[0]
    assert len(kept.resume(section)["pairs"]) == 4  # the last one that could be written
    assert [path.name for path in kept.folder.iterdir()] == [kept.path(section).name]
    with qtbot.waitSignal(kept.written, timeout=3000):
        context.editor.add("moving", (9.0, 2.0))
    assert len(kept.resume(section)["pairs"]) == 7


def _fails(code: int) -> Callable[[int], None]:
    def fail(_file: int) -> None:
        raise OSError(code, os.strerror(code))

    return fail
