"""The command `download`, from a server on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from command_line import refused, result, run
from napari_st2msi.cli import downloading
from napari_st2msi.io.public import catalogue
from repository import Repository, serving


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    with serving({"visium.RDS": b"a" * 1000, "SpaMTP_msi_transformed.RDS": b"b", "striatum.dhb.data.RDS": b"c"}) as it:
        monkeypatch.setitem(catalogue.CATALOGUE, "spamtp", it.data("spamtp"))
        yield it


def test_without_a_name_it_says_what_there_is() -> None:
    facts = result("download")
    assert {name: about["doi"] for name, about in facts.items()} == {
        "sma": "10.17632/w7nw4km7xd.1",
        "spamtp": "10.5281/zenodo.17246900",
        "desium": "10.7910/DVN/GZFCWC",
    }
    assert "doi:10.7910/DVN/GZFCWC" in run("download").stdout


def test_without_a_folder_it_says_licence_and_sizes_and_fetches_nothing(repository: Repository) -> None:
    said = run("download", "spamtp")
    assert said.exit_code == 0
    for words in ("10.5281/zenodo.17246900", "cc-by-4.0", "visium.RDS  1 kB", "together 1 kB"):
        assert words in said.stdout
    assert not [path for path, _ in repository.asked if path.startswith("/file")]


def test_the_licence_is_shown_before_and_kept_beside_the_files(repository: Repository, tmp_path: Path) -> None:
    done = run("download", "spamtp", "--out", tmp_path / "pair", "--file", "visium*")
    assert done.exit_code == 0, done.output
    assert done.stderr.index("cc-by-4.0") < done.stderr.index("Downloading")
    assert (tmp_path / "pair" / "visium.RDS").read_bytes() == b"a" * 1000
    assert "visium.RDS" in done.stdout
    facts = result("download", "spamtp", "--out", tmp_path / "pair")
    assert facts["licence"] == "cc-by-4.0"
    assert [Path(section).name for section in facts["sections"]] == ["pair", "striatum.dhb.data.RDS"]


def test_large_downloads_need_a_yes(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloading, "LARGE", 1001)
    said = refused("download", "spamtp", "--out", tmp_path / "pair")
    assert "Add --yes" in said
    assert not (tmp_path / "pair").exists()
    assert run("download", "spamtp", "--out", tmp_path / "pair", "--yes").exit_code == 0


def test_problems_are_said_in_words(repository: Repository, tmp_path: Path) -> None:
    assert "Known are: sma, spamtp, desium" in refused("download", "smaa", "--out", tmp_path)
    assert "has no file 'x'" in refused("download", "spamtp", "--out", tmp_path, "--file", "x")
    repository.instead["visium.RDS"] = b"z" * 1000
    assert "another checksum" in refused("download", "spamtp", "--out", tmp_path)
    assert not list(tmp_path.glob("*.RDS"))
