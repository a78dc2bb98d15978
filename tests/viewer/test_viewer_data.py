"""The Data dock: from files to paired spots, one step after another, and what goes wrong on the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtTest import QTest

from docked import on_screen
from napari_st2msi import pipeline
from napari_st2msi.io.sample import SAMPLES
from napari_st2msi.io.simulation.choices import SampleChoices
from napari_st2msi.recipe import Pairing
from napari_st2msi.registration.fit import fit
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.section import Section
from napari_st2msi.viewer import layers, overlays
from napari_st2msi.viewer.docks.data import DataDock
from napari_st2msi.viewer.docks.data_found import found_in_words
from napari_st2msi.viewer.docks.data_open import sort_paths
from napari_st2msi.viewer.docks.next_step import next_step
from napari_st2msi.viewer.parts.choice_words import words_for
from napari_st2msi.viewer.parts.group import Group
from napari_st2msi.viewer.state import Work, state_of

SMALL: dict[str, Any] = {"n_spots": 150, "n_genes": 40, "ions_per_kind": 1, "image_px": 128, "seed": 1}


@pytest.fixture(scope="module")
def zarr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small simulated section on disk, neither registered nor paired, with landmarks."""
    section = pipeline.simulate(name="brain", **SMALL).sections[0]
    return pipeline.save(section, tmp_path_factory.mktemp("data") / "brain.zarr")


@pytest.fixture
def dock(qtbot: Any, viewer: ViewerModel) -> DataDock:
    return on_screen(qtbot, DataDock(viewer), size=(380, 700))


def press(qtbot: Any, dock: DataDock) -> None:
    qtbot.mouseClick(dock.run_bar.button, Qt.MouseButton.LeftButton)


def verb(dock: DataDock) -> str:
    return str(dock.run_bar.button.text())


def register(dock: DataDock) -> None:
    """Register the section looked at, as the Register dock does."""
    section = dock.state.section
    assert section is not None
    pipeline.register(section)
    dock.state.set_registered(section)


def test_empty_says_what_to_do(dock: DataDock) -> None:
    assert "open a sample" in dock.state_line.text()
    assert verb(dock) == "Open"
    assert not dock.run_bar.button.isEnabled()
    assert not dock.found_group.isVisible()


def test_the_button_leads_from_a_path_to_paired_spots(
    qtbot: Any, dock: DataDock, done: Callable[[], None], zarr: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    qtbot.keyClicks(dock.open_view.path.edit, str(zarr))
    qtbot.keyClick(dock.open_view.path.edit, Qt.Key.Key_Return)
    assert dock.run_bar.button.isEnabled()
    press(qtbot, dock)
    done()
    section = dock.state.section
    assert section is not None
    assert section.name == "brain"
    names = [layer.name for layer in dock.viewer.layers]
    assert names == ["H&E", "total ion current", "ST spots", "landmarks ST", "landmarks MSI"]

    assert verb(dock) == "Register"
    assert "Landmarks came with this section" in dock.register_view.result.text()
    opened: list[str] = []
    monkeypatch.setattr("napari_st2msi.viewer.docks.data.open_dock", lambda _viewer, name: opened.append(name))
    press(qtbot, dock)
    assert opened == ["Register"]
    register(dock)
    assert "left out is missed by" in dock.register_view.result.text()
    qtbot.mouseClick(dock.register_view.button, Qt.MouseButton.LeftButton)
    assert opened == ["Register", "Register"]
    moved = (
        layers.find(dock.viewer, section, "landmarks_msi").data - layers.find(dock.viewer, section, "landmarks_st").data
    )
    assert np.linalg.norm(moved, axis=1).max() < 300

    assert verb(dock) == "Pair"
    press(qtbot, dock)
    done()
    assert dock.state.paired is not None
    assert len(dock.state.paired) == 150
    assert "150 of 150 spots have ions" in dock.messages.text
    assert layers.find(dock.viewer, section, "coverage") is not None
    assert verb(dock) == "Train"


def test_other_choices_ask_to_pair_again(qtbot: Any, dock: DataDock, make_section: Callable[..., Section]) -> None:
    section = make_section()
    dock.state.add_section(section)
    dock.state.set_paired(pipeline.pair(section), section)
    assert verb(dock) == "Train"
    dock.pair_view.form.fields["method"].box.setCurrentText(words_for("nearest"))
    assert verb(dock) == "Pair again"
    assert dock.state.recipe.pairing == Pairing(method="nearest")
    dock.state.recipe = dock.state.recipe.model_copy(update={"pairing": Pairing()})
    assert verb(dock) == "Train"
    assert dock.pair_view.form.value == Pairing()


def test_a_new_registration_makes_the_pairing_stale(dock: DataDock, make_section: Callable[..., Section]) -> None:
    section = make_section()
    dock.state.add_section(section)
    dock.state.set_paired(pipeline.pair(section), section)
    dock.state.set_registered(section)
    assert verb(dock) == "Pair again"
    assert "registration changed since pairing" in dock.state_line.text()
    assert "Press Pair again" in dock.state_line.text()


def test_registering_is_offered_without_landmarks_too(dock: DataDock, make_section: Callable[..., Section]) -> None:
    dock.state.add_section(make_section(registered=False))
    assert verb(dock) == "Register"
    assert dock.run_bar.button.isEnabled()
    assert dock.register_view.result.text() == "Not registered yet."


@pytest.mark.parametrize(
    ("st", "msi", "expected"), [(False, True, "Explore ions"), (True, False, "Predict or train"), (True, True, "Pair")]
)
def test_next_step(make_section: Callable[..., Section], st: bool, msi: bool, expected: str) -> None:
    work = Work(make_section(st=st, msi=msi))
    assert next_step(work, wanted=False, pairing=Pairing()).verb == expected
    assert next_step(work, wanted=True, pairing=Pairing()).verb == "Open"


@pytest.mark.parametrize(
    ("content", "words"), [(None, "There is no"), ("not a section", "cannot|no kind|not"), ("x,y\n1,2\n", ".")]
)
def test_bad_files_are_explained_and_nothing_is_lost(
    dock: DataDock,
    done: Callable[[], None],
    make_section: Callable[..., Section],
    tmp_path: Path,
    content: str | None,
    words: str,
) -> None:
    section = make_section()
    dock.state.add_section(section)
    path = tmp_path / ("x.csv" if content and "," in content else "x.txt")
    if content is not None:
        path.write_text(content)
    dock.open_paths([path])
    done()
    assert dock.messages.level == "error"
    assert path.name in dock.messages.text
    assert not dock.messages.toggle.isVisible(), "bad input is no bug and needs no traceback"
    assert dock.state.section is section
    assert verb(dock) == "Open"


def test_no_overlap_is_explained(dock: DataDock, done: Callable[[], None], zarr: Path) -> None:
    dock.open_paths([zarr])
    done()
    section = dock.state.section
    assert section is not None
    moving = np.array([[0.0, 0], [900, 0], [0, 900]])
    pipeline.apply_registration(section, fit(Landmarks(("1", "2", "3"), moving, moving + 90_000), "affine"))
    dock.state.set_registered(section)
    dock.pair()
    done()
    assert dock.messages.level == "error"
    assert "No MSI pixel lies over any spot" in dock.messages.text
    assert dock.state.paired is None


def test_cancelling_leaves_everything_as_it_was(
    qtbot: Any, dock: DataDock, done: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SAMPLES, "slow", SampleChoices(n_spots=20_000, n_genes=2000, image_px=2048))
    dock.open_sample("slow")
    qtbot.waitUntil(lambda: dock.run_bar.bar.value() > 0, timeout=30_000)
    qtbot.mouseClick(dock.run_bar.cancel, Qt.MouseButton.LeftButton)
    done()
    assert "Nothing was changed" in dock.messages.text
    assert dock.state.sections == ()
    assert len(dock.viewer.layers) == 0
    assert dock.run_bar.button.isVisible()


def test_closing_while_running_is_harmless(qtbot: Any, viewer: ViewerModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SAMPLES, "small", SampleChoices(**SMALL))
    dock = DataDock(viewer)
    state = state_of(viewer)
    dock.open_sample("small")
    dock.jobs.shut()
    dock.close()
    dock.deleteLater()
    QTest.qWait(1500)
    assert state.sections == ()
    assert state.running == ()


def test_a_second_job_does_not_drop_the_first(
    dock: DataDock, done: Callable[[], None], zarr: Path, tmp_path: Path
) -> None:
    dock.open_paths([zarr])
    dock.open_paths([tmp_path / "other.zarr"])
    assert "still running" in dock.messages.text
    done()
    assert [section.name for section in dock.state.sections] == ["brain"]


def test_opening_the_same_file_replaces_it(dock: DataDock, done: Callable[[], None], zarr: Path) -> None:
    dock.open_paths([zarr])
    done()
    first = dock.state.section
    dock.open_view.choices.fields["spot_diameter_um"].set_value(70)
    assert verb(dock) == "Open"
    dock.open()
    done()
    assert len(dock.state.sections) == 1
    assert dock.state.section is not first
    assert len([layer for layer in dock.viewer.layers if layer.name.startswith("H&E")]) == 1


def test_what_is_not_saved_is_not_closed_at_once(
    qtbot: Any, dock: DataDock, done: Callable[[], None], zarr: Path, tmp_path: Path
) -> None:
    dock.open_paths([zarr])
    done()
    register(dock)
    dock.close_section()
    assert "is not saved" in dock.messages.text
    assert len(dock.state.sections) == 1

    dock.save_as(tmp_path / "kept")
    done()
    assert (tmp_path / "kept.zarr").is_dir()
    assert pipeline.open_section(tmp_path / "kept.zarr").registered
    dock.save_as(tmp_path / "kept.zarr")
    assert "already there" in dock.messages.text
    qtbot.mouseClick(dock.messages.action, Qt.MouseButton.LeftButton)
    done()
    assert dock.messages.level == "good"

    dock.close_section()
    assert dock.state.sections == ()
    assert len(dock.viewer.layers) == 0


def test_saving_where_nothing_can_be_written(
    dock: DataDock, done: Callable[[], None], zarr: Path, tmp_path: Path
) -> None:
    dock.open_paths([zarr])
    done()
    (tmp_path / "file").write_text("in the way")
    dock.save_as(tmp_path / "file" / "x.zarr")
    done()
    assert dock.messages.level == "error"
    assert not dock.messages.toggle.isVisible()


def test_only_the_section_looked_at_is_seen(dock: DataDock, make_section: Callable[..., Section]) -> None:
    one, two = make_section("one"), make_section("two")
    for section in (one, two):
        dock.state.add_section(section)
        overlays.show_section(dock.viewer, section)
    dock.state.section = one
    layers.find(dock.viewer, one, "spots").visible = False
    dock.state.section = two
    assert not any(layer.visible for layer in layers.own_layers(dock.viewer, one))
    dock.chooser.box.setCurrentIndex(0)
    assert dock.state.section is one
    assert layers.find(dock.viewer, one, "tic").visible
    assert not layers.find(dock.viewer, one, "spots").visible, "hidden by hand stays hidden"
    assert not any(layer.visible for layer in layers.own_layers(dock.viewer, two))


def test_roles_are_offered_and_changed(dock: DataDock, done: Callable[[], None], zarr: Path) -> None:
    dock.open_paths([zarr])
    done()
    view = dock.roles_view
    assert view.roles()["msi"] == "msi"
    assert not view.apply.isEnabled()
    view.fields["image"].box.setCurrentText("none")
    assert view.apply.isEnabled()
    view.fields["image"].box.setCurrentText("histology")
    view.fields["st_element"].box.setCurrentText("msi_pixels")
    view.apply.click()
    done()
    assert dock.messages.text
    assert len(dock.state.sections) == 1


def test_files_are_dropped(dock: DataDock, done: Callable[[], None], zarr: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(zarr))])
    dock.dropEvent(
        QDropEvent(
            QPointF(10, 10),
            Qt.DropAction.CopyAction,
            data,
            Qt.MouseButton.LeftButton,
            Qt.KeyboardModifier.NoModifier,
        )
    )
    done()
    assert dock.state.section is not None


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.zarr"], ("a.zarr", None, None)),
        (["a.ibd", "a.imzML", "outs"], ("outs", "a.imzML", None)),
        (["he.tif", "msi.h5ad"], ("msi.h5ad", None, "he.tif")),
        (["genes.h5ad", "ions.h5ad"], ("genes.h5ad", "ions.h5ad", None)),
        (["he.png"], (None, None, "he.png")),
    ],
)
def test_dropped_files_are_told_apart(names: list[str], expected: tuple[str | None, ...]) -> None:
    found = sort_paths(map(Path, names))
    assert tuple(None if path is None else path.name for path in found) == expected


def test_what_was_found_in_words(make_section: Callable[..., Section]) -> None:
    rows = dict(found_in_words(make_section().summary()))
    assert rows["MSI"] == "29 pixels of 10 µm"
    assert rows["Ions"] == "4, m/z 500.2 to 798.5"
    assert rows["Registered"] == "yes"
    assert dict(found_in_words(make_section(msi=False).summary()))["MSI"] == "none"


@pytest.mark.parametrize("size", [10, 13])
def test_nothing_is_cut_at_the_least_width(
    qtbot: Any, dock: DataDock, done: Callable[[], None], zarr: Path, size: int
) -> None:
    from napari.settings import get_settings

    dock.open_paths([zarr])
    done()
    get_settings().appearance.font_size = size
    for group in dock.findChildren(Group):
        group.expand()
    dock.resize(320, 700)
    qtbot.waitUntil(lambda: dock.scroll.widget().minimumSizeHint().width() <= dock.scroll.viewport().width())


def test_real_bladder(dock: DataDock, done: Callable[[], None], real_data: Path) -> None:
    folder = real_data / "mouse_bladder_msi"
    dock.open_paths([folder / "mouse_urinary_bladder_HE.tif", folder / "bladder_msi.h5ad"])
    done()
    assert [layer.name for layer in dock.viewer.layers] == ["H&E", "total ion current"]
    assert verb(dock) == "Explore ions"
    assert "79 ions" in dock.state_line.text()


def test_real_truncated_ibd(dock: DataDock, done: Callable[[], None], real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "pyimzml_examples"
    for suffix, least in ((".imzML", None), (".ibd", 100_000)):
        (tmp_path / f"cut{suffix}").write_bytes((folder / f"Example_Processed{suffix}").read_bytes()[:least])
    dock.open_paths([tmp_path / "cut.imzML"])
    done()
    assert dock.messages.level == "error"
    assert "incomplete" in dock.messages.text
