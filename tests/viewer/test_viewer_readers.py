"""What napari opens through us: sections by menu or drop, with a window and without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from npe2 import PluginManager

from napari_st2msi import pipeline
from napari_st2msi.viewer.parts.open_dock import open_dock
from napari_st2msi.viewer.readers import NOTHING, get_reader, is_spatialdata, read_sample, read_section
from napari_st2msi.viewer.state import state_of


@pytest.fixture(scope="module")
def zarr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    section = pipeline.simulate(n_spots=120, n_genes=30, ions_per_kind=1, image_px=128).sections[0]
    return pipeline.save(section, tmp_path_factory.mktemp("read") / "simulated.zarr")


def test_sections_are_told_from_other_files(zarr: Path, tmp_path: Path) -> None:
    assert is_spatialdata(zarr)
    assert get_reader(str(zarr)) is read_section
    other = tmp_path / "other.zarr"
    other.mkdir()
    (other / ".zattrs").write_text(json.dumps({"multiscales": []}))
    assert get_reader(str(other)) is None
    (other / ".zattrs").write_text(json.dumps({"spatialdata_attrs": {"version": "0.1"}}))
    assert get_reader(str(other)) is read_section
    (other / ".zattrs").write_text("{")
    assert get_reader(str(other)) is None
    assert get_reader(str(tmp_path / "missing.zarr")) is None
    assert get_reader("brain.imzML") is read_section
    assert get_reader(["a.imzML"]) is read_section
    assert get_reader(["a.imzML", "b.imzML"]) is None
    assert get_reader("nonsense.st2msi-sample") is None


def test_without_a_window_layers_are_returned(zarr: Path) -> None:
    layers = read_section(str(zarr))
    assert [meta["name"] for _, meta, _ in layers] == ["H&E", "total ion current", "ST spots"]


def test_the_manifest_leads_here(zarr: Path) -> None:
    from npe2 import read

    PluginManager.instance().discover()
    layers = read([str(zarr)], plugin_name="napari-st2msi", stack=False)
    assert len(layers) == 3


def test_with_a_window_the_data_dock_reads(make_napari_viewer: Any, qtbot: Any, zarr: Path) -> None:
    viewer = make_napari_viewer()
    assert viewer.open(str(zarr), plugin="napari-st2msi") == []
    dock = open_dock(viewer, "Data")
    qtbot.waitUntil(lambda: not dock.jobs.running, timeout=60_000)
    assert [section.name for section in state_of(viewer).sections] == ["simulated"]
    assert "H&E" in [layer.name for layer in viewer.layers]
    assert read_section(str(zarr.parent / "missing.zarr")) == NOTHING
    qtbot.waitUntil(lambda: not dock.jobs.running, timeout=60_000)
    assert "missing.zarr" in dock.messages.text


def test_imzml_is_opened(make_napari_viewer: Any, qtbot: Any, real_data: Path) -> None:
    viewer = make_napari_viewer()
    viewer.open(str(real_data / "pyimzml_examples" / "Example_Continuous.imzML"), plugin="napari-st2msi")
    dock = open_dock(viewer, "Data")
    qtbot.waitUntil(lambda: not dock.jobs.running, timeout=60_000)
    assert "total ion current" in [layer.name for layer in viewer.layers]


def test_a_sample_needs_a_known_name() -> None:
    with pytest.raises(AssertionError):
        read_sample("nonsense.st2msi-sample")


def test_a_dock_that_is_closed_stops_its_work(make_napari_viewer: Any, qtbot: Any, zarr: Path) -> None:
    viewer = make_napari_viewer()
    dock = open_dock(viewer, "Data")
    dock.open_paths([zarr])
    assert state_of(viewer).running
    viewer.window.remove_dock_widget(dock)
    assert state_of(viewer).running == ()
    qtbot.wait(500)
    assert state_of(viewer).sections == ()
    again = open_dock(viewer, "Data")
    assert again is not dock
    assert not again.jobs.running


def test_the_menu_and_the_docks_open_the_same_dock(make_napari_viewer: Any) -> None:
    from napari._app_model import get_app_model

    viewer = make_napari_viewer()
    dock = open_dock(viewer, "Data")
    assert open_dock(viewer, "Data") is dock
    get_app_model().commands.execute_command("napari-st2msi.data")
    assert [widget for widget in viewer.window.dock_widgets.values() if type(widget) is type(dock)] == [dock]
