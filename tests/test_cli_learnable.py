"""`napari-st2msi learnability`, as a user runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

import napari_st2msi as st2msi
from command_line import refused, result
from napari_st2msi.evaluation.learnability import Learnability


@pytest.fixture(scope="module")
def section(tmp_path_factory: pytest.TempPathFactory) -> Path:
    simulation = st2msi.simulate(n_spots=150, n_genes=60, ions_per_kind=4, pixel_size_um=25, image_px=128, seed=2)
    section = simulation.sections[0]
    st2msi.register(section)
    st2msi.pair(section)
    return st2msi.save(section, tmp_path_factory.mktemp("learnability") / "section.zarr")


def test_tables_and_figure_are_written(section: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    facts = result(
        "learnability", section, "--out", out, "--model", "ridge", "--protocol", "random", "--protocol", "half",
        "--set", "evaluation.n_folds=2", "--least-gain", "0.1",
    )  # fmt: skip
    assert facts["judged_by"] == "half"
    assert sum(facts["tiers"].values()) == 28
    assert set(facts["moran"]) == {"random", "half"}
    found = Learnability.load(out)
    assert found.criteria.least_gain == 0.1
    assert (found.table["ceiling_source"] == "split_half").all()  # the section knows its pixels
    assert (out / "learnability.png").read_bytes()[:4] == b"\x89PNG"
    assert "already there" in refused("learnability", section, "--out", out)


def test_bad_input_is_refused_before_any_work(section: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "no protocol 'blok'" in refused("learnability", section, "--out", out, "--protocol", "blok")
    assert "least_gain" in refused("learnability", section, "--out", out, "--least-gain", "2")
    assert "Adjacent sections" in refused("learnability", section, "--out", out, "--adjacent", "a", "b")
    assert not out.exists()
    out.write_text("a file")
    assert "Name a folder" in refused("learnability", section, "--out", out, "--overwrite")
    assert out.read_text() == "a file"
