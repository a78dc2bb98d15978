"""The entries of File > Open Sample."""

from __future__ import annotations

from typing import Any

import pytest
from npe2 import PluginManager, PluginManifest

from napari_st2msi.io.sample import SAMPLES
from napari_st2msi.io.simulation.choices import SampleChoices
from napari_st2msi.viewer.parts.open_dock import open_dock
from napari_st2msi.viewer.readers import get_reader, read_sample
from napari_st2msi.viewer.samples import sample_name, sample_uri
from napari_st2msi.viewer.state import state_of

SMALL = SampleChoices(n_spots=120, n_genes=30, ions_per_kind=1, image_px=128)


def entries() -> dict[str, Any]:
    manifest = PluginManifest.from_distribution("napari-st2msi")
    return {entry.display_name: entry for entry in manifest.contributions.sample_data}


def test_the_menu_has_every_sample_and_no_other() -> None:
    assert set(entries()) == set(SAMPLES)
    for name, entry in entries().items():
        assert entry.uri == sample_uri(name)
        assert sample_name(entry.uri) == name
        assert get_reader(entry.uri) is read_sample


def test_other_paths_are_no_samples() -> None:
    assert sample_name("/somewhere/brain.zarr") is None


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> str:
    name = next(iter(SAMPLES))
    monkeypatch.setitem(SAMPLES, name, SMALL)
    return name


def test_opened_from_the_menu(make_napari_viewer: Any, qtbot: Any, small: str) -> None:
    viewer = make_napari_viewer()
    PluginManager.instance().discover()
    viewer.open_sample("napari-st2msi", entries()[small].key)
    dock = open_dock(viewer, "Data")
    qtbot.waitUntil(lambda: not dock.jobs.running, timeout=60_000)
    assert len(state_of(viewer).sections) == 1
    assert {"H&E", "ST spots", "landmarks MSI"} <= {layer.name for layer in viewer.layers}


def test_without_a_window(small: str) -> None:
    names = [meta["name"] for _, meta, _ in read_sample(sample_uri(small))]
    assert names == ["H&E", "total ion current", "ST spots"]
