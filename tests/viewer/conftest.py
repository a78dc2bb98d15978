"""Sections, viewers without a window, and docks for the tests of the viewer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from napari.components import ViewerModel

from docked import come_to_rest
from napari_st2msi.io.build import build_section
from napari_st2msi.models.base import prediction
from napari_st2msi.paired import PairedDataset
from napari_st2msi.section import Section
from napari_st2msi.viewer.parts.dock import Dock

IONS = ["ion0", "ion1", "ion2", "ion3"]


@pytest.fixture(autouse=True)
def _own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep napari's settings of whoever runs the tests out of them, and theirs untouched."""
    from napari.settings import get_settings

    before = get_settings().appearance.theme, get_settings().appearance.font_size
    yield
    get_settings().appearance.theme, get_settings().appearance.font_size = before


@pytest.fixture(autouse=True)
def kept_landmarks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the Register dock keeps landmarks that are not saved yet: not in the folder of whoever runs the tests."""
    folder = tmp_path / "kept-landmarks"
    monkeypatch.setattr("napari_st2msi.viewer.docks.register_autosave.user_folder", lambda: folder)
    return folder


@pytest.fixture
def viewer() -> ViewerModel:
    """A viewer without a window: layers, keys and events are the real ones."""
    return ViewerModel()


@pytest.fixture
def done(qtbot: Any, dock: Dock) -> Callable[[], None]:
    """Wait until nothing runs in the dock of a test."""
    return partial(come_to_rest, qtbot, dock)


@pytest.fixture
def make_section() -> Callable[..., Section]:
    """Build a section of 6 × 5 pixels of 10 µm, one of them missing, and 8 spots."""

    def make(
        name: str = "one",
        *,
        st: bool = True,
        msi: bool = True,
        registered: bool = True,
        regular: bool = True,
        seed: int = 0,
    ) -> Section:
        rng = np.random.default_rng(seed)
        columns, rows = np.meshgrid(np.arange(6), np.arange(5))
        xy = np.column_stack([columns.ravel(), rows.ravel()])[:-1] * 10.0
        if not regular:
            xy = xy + rng.uniform(-3, 3, xy.shape)
        var = pd.DataFrame(
            {"mz": [500.25, 616.1, 760.5851, 798.541], "names": ["PE(20:1)", "heme", "PC(34:1);PC(35:0)", "PC(34:1)"]},
            index=IONS,
        )
        pixels = AnnData(rng.gamma(2, 10, (len(xy), 4)).astype(np.float32), var=var)
        pixels.obs_names = [f"p{i}" for i in range(len(xy))]
        spots = AnnData(rng.poisson(3, (8, 5)).astype(np.float32))
        spots.obs_names = [f"s{i}" for i in range(8)]
        return build_section(
            name=name,
            st=spots if st else None,
            st_xy=np.column_stack([np.arange(8) * 7.0, np.arange(8) % 3 * 20.0]) if st else None,
            spot_diameter_um=8.0 if st else None,
            msi=pixels if msi else None,
            msi_xy=xy if msi else None,
            pixel_size_um=10.0 if msi else None,
            msi_to_st=np.eye(3) if msi and registered else None,
        )

    return make


@pytest.fixture
def section(make_section: Callable[..., Section]) -> Section:
    return make_section()


@pytest.fixture
def measured(section: Section) -> PairedDataset:
    """Ions of the spots of `section`, the last spot without MSI."""
    genes = section.st.copy()
    values = np.random.default_rng(3).gamma(2, 10, (8, 4)).astype(np.float32)
    values[7] = np.nan
    ions = AnnData(values, obs=genes.obs.copy(), var=section.msi.var.copy())
    return PairedDataset(genes, ions)


@pytest.fixture
def guess(section: Section, measured: PairedDataset) -> AnnData:
    """A prediction for all spots of `section`, with scores in its var."""
    var = section.msi.var.assign(r2=[0.1, 0.6, np.nan, -0.2], gain=[0.0, 0.3, np.nan, -0.3])
    var["r2_coordinates"], var["verdict"] = 0.25, ["no better than position", "predicted from genes", "", "noise"]
    values = np.random.default_rng(4).gamma(2, 10, (8, 4))
    return prediction(values, section.st, var, model="two_stage", kind="out_of_fold", note="Blocks were held out.")


def mean_of(table: Any, ion: str) -> np.ndarray:
    """Return a column of a table as a plain array."""
    return np.asarray(table[:, ion].X).ravel()
