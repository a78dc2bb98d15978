"""Public data in the Data dock: licence first, then the files, from a server on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from napari.components import ViewerModel
from qtpy.QtWidgets import QFileDialog

from docked import on_screen
from napari_st2msi.io.public import catalogue
from napari_st2msi.viewer.docks.data import DataDock
from repository import Repository, serving


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    files = {"visium.RDS": b"a" * 3_000_000, "SpaMTP_msi_transformed.RDS": b"b", "striatum.dhb.data.RDS": b"c"}
    with serving(files) as it:
        monkeypatch.setitem(catalogue.CATALOGUE, "spamtp", it.data("spamtp"))
        yield it


@pytest.fixture
def dock(qtbot: Any, viewer: ViewerModel) -> DataDock:
    return on_screen(qtbot, DataDock(viewer), size=(380, 700))


def choose(dock: DataDock, name: str) -> None:
    """Choose a data set in the menu, as a user does."""
    (menu,) = [action.menu() for action in dock.open_view.samples.menu().actions() if action.menu() is not None]
    titles = [data.title for data in catalogue.CATALOGUE.values()]
    assert [action.text() for action in menu.actions()] == titles
    menu.actions()[list(catalogue.CATALOGUE).index(name)].trigger()


def test_licence_and_size_are_shown_before_anything_is_fetched(
    dock: DataDock, done: Callable[[], None], repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(dock, "spamtp")
    done()
    for words in ("DOI: 10.5281/zenodo.17246900", "Licence: cc-by-4.0", "3 MB: visium.RDS"):
        assert words in dock.messages.text
    assert not [path for path, _ in repository.asked if path.startswith("/file")]

    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: "")
    dock.messages.action.click()
    assert not dock.jobs.running

    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
    dock.messages.action.click()
    done()
    assert (tmp_path / "visium.RDS").stat().st_size == 3_000_000
    assert "SOURCE.json" in dock.messages.text
    assert "striatum.dhb.data.RDS" in dock.messages.text
    assert dock.open_view.path.value() == tmp_path
    assert dock.run_bar.button.text() == "Open"


def test_problems_are_explained(
    dock: DataDock, done: Callable[[], None], repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(catalogue.CATALOGUE, "sma", Repository("http://127.0.0.1:9", {}).data("sma"))
    choose(dock, "sma")
    done()
    assert "cannot be reached" in dock.messages.text
    assert dock.messages.level == "error"

    repository.instead["visium.RDS"] = b"z" * 3_000_000
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
    choose(dock, "spamtp")
    done()
    dock.messages.action.click()
    done()
    assert "another checksum" in dock.messages.text
    assert not list(tmp_path.glob("*.RDS"))
