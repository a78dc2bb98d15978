from __future__ import annotations

import os
from pathlib import Path

import pytest

from napari_st2msi.benchmarking.combinations import combinations, files_of
from napari_st2msi.benchmarking.config import Config
from napari_st2msi.benchmarking.files import inside
from napari_st2msi.errors import FileProblem
from tiny_benchmark import TINY

NAMED = ("a.zarr", "ions.h5ad", "he.tif", "mz.csv", "genes.txt", "marks.csv", "weights.safetensors", "visium")


def config(folder: Path) -> Config:
    genes = {"selection": "listed", "file": "genes.txt", "signature_file": "marks.csv"}
    data = [
        {"paths": ["a.zarr"], "msi": "ions.h5ad", "opening": {"histology": "he.tif", "mz_table": "mz.csv"}},
        {"simulate": {"geometry": "visium"}},
    ]
    features = [{"name": "mine", "genes": {**genes, "histology_weights": "weights.safetensors"}}]
    return Config.of({**TINY, "data": data, "features": features, "folder": folder})


def test_all_files_that_results_rest_on(tmp_path: Path) -> None:
    for name in NAMED:
        (tmp_path / name).touch()
    asked = config(tmp_path)
    assert files_of(asked, combinations(asked)) == sorted(tmp_path / name for name in NAMED)


@pytest.mark.parametrize("name", NAMED)
def test_each_of_them_is_missed(name: str, tmp_path: Path) -> None:
    for other in NAMED:
        (tmp_path / other).touch()
    (tmp_path / name).unlink()
    asked = config(tmp_path)
    with pytest.raises(FileProblem, match=f"{name}' is missing|there is no file '.*{name}'"):
        files_of(asked, combinations(asked))


def test_what_lies_deep_inside_counts(tmp_path: Path) -> None:
    deep = tmp_path / "a.zarr" / "tables" / "x"
    deep.parent.mkdir(parents=True)
    deep.write_text("1")
    alone = tmp_path / "genes.txt"
    alone.write_text("g1")
    before = inside([tmp_path / "a.zarr", alone])
    assert inside([alone, tmp_path / "a.zarr"]) == before
    os.utime(deep, ns=(1, 1))
    assert inside([tmp_path / "a.zarr", alone]) != before
