"""What the public data sets hold, unpacked, is opened by the readers of its formats."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from reader_samples import hexagons, write_space_ranger

from napari_st2msi import download, open_section
from napari_st2msi.errors import DataProblem, FileProblem
from napari_st2msi.io.opening import Opening
from napari_st2msi.io.public.layouts import sections_in
from repository import serving

MZ = [100.0625 + i for i in range(25)]


def write_sma(folder: Path, name: str = "V11L12-109_B1", matrix: str = "FMP") -> Path:
    """Write one section as `sma.zip` has it: a raster that is zero where nothing was measured."""
    output = folder / name / "output_data"
    write_space_ranger(output / f"{name}_RNA", generation=1)
    msi = output / f"{name}_MSI"
    msi.mkdir()
    raster = pd.DataFrame([(x, y) for x in range(12) for y in range(10)], columns=["x", "y"])
    values = np.random.default_rng(0).random((len(raster), len(MZ)))
    values[(raster["x"] == 0).to_numpy()] = 0
    table = pd.concat([raster, pd.DataFrame(values, columns=[str(mz) for mz in MZ])], axis=1)
    table.to_csv(msi / f"{name}.Visium.{matrix}.220826_smamsi.csv", index=False)
    return folder / name


def write_desium(path: Path, *, layer: bool = False, mz: object = None, ions: np.ndarray | None = None) -> Path:
    """Write a section as DESIUM has it: genes in X, ions and m/z in uns."""
    rng = np.random.default_rng(1)
    xy, array = hexagons(8, 8)
    counts = rng.poisson(2, (len(xy), 10)).astype(np.float32)
    table = ad.AnnData(
        X=np.log1p(counts) if layer else counts,
        obs=pd.DataFrame({"array_row": array[:, 0], "array_col": array[:, 1]}, index=[f"S{i}" for i in range(len(xy))]),
        var=pd.DataFrame(index=[f"Gene{i}" for i in range(10)]),
        obsm={"spatial": xy / 0.25},
        uns={
            "msi": rng.random((len(xy), len(MZ))) if ions is None else ions,
            "mz_features": np.array(MZ) if mz is None else mz,
        },
    )
    if layer:
        table.layers["counts"] = counts
    path.parent.mkdir(parents=True, exist_ok=True)
    table.write_h5ad(path)
    return path


def zipped(folder: Path) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder.parent).as_posix())
    return stream.getvalue()


@pytest.mark.parametrize("inside", ["", "output_data"])
def test_a_section_of_sma_opens_with_pixels_of_100_um(tmp_path: Path, inside: str) -> None:
    section = open_section(write_sma(tmp_path) / inside)
    assert section.name == "V11L12-109_B1"
    assert section.summary()["pixel_size_um"] == 100
    assert any("100 µm is taken" in note for note in section.notes)
    assert section.msi.shape == (110, len(MZ))
    assert section.st.n_vars == 12
    assert section.msi_to_st is None
    assert section.roles.image is not None
    assert open_section(tmp_path / "V11L12-109_B1", opening=Opening(pixel_size_um=50)).summary()["pixel_size_um"] == 50


def test_sma_is_downloaded_unpacked_and_found(tmp_path: Path) -> None:
    source = tmp_path / "source" / "sma"
    for slide, section in (("V11L12-109", "V11L12-109_B1"), ("V11L12-038", "V11L12-038_A1")):
        write_sma(source / slide, section)
    write_space_ranger(source / "V11L12-109" / "V11L12-109_D1" / "output_data" / "V11L12-109_D1_RNA")
    with serving({"sma.zip": zipped(source), "visium.zip": b"not wanted"}) as repository:
        sections = download(repository.data("sma"), tmp_path / "data")
    root = tmp_path / "data" / "sma"
    assert sections == [root / "V11L12-038" / "V11L12-038_A1", root / "V11L12-109" / "V11L12-109_B1"]
    assert not (tmp_path / "data" / "visium.zip").exists()
    assert open_section(sections[0]).has_msi
    with pytest.raises(FileProblem, match=r"holds 2 sections.*V11L12-038/V11L12-038_A1"):
        open_section(tmp_path / "data")


def test_half_a_section_of_sma_is_said(tmp_path: Path) -> None:
    section = write_sma(tmp_path)
    (table,) = section.rglob("*smamsi.csv")
    table.with_name("second_smamsi.csv").write_bytes(table.read_bytes())
    with pytest.raises(FileProblem, match="It holds 1 and 2"):
        open_section(section)


@pytest.mark.parametrize("layer", [False, True])
def test_a_section_of_desium_opens_already_paired(tmp_path: Path, layer: bool) -> None:
    path = write_desium(tmp_path / "Correlation_NMF_analysis" / "data" / "BC_525.h5ad", layer=layer)
    assert sections_in(tmp_path) == [path]
    section = open_section(path)
    assert section.name == "BC_525"
    assert section.paired
    np.testing.assert_allclose(section.ions["mz"], MZ)
    np.testing.assert_allclose(np.asarray(section.paired_table.X), ad.read_h5ad(path).uns["msi"], rtol=1e-6)
    genes = section.st.X.toarray() if hasattr(section.st.X, "toarray") else section.st.X
    assert (genes == np.round(genes)).all()
    np.testing.assert_allclose(section.st.obsm["spatial"], hexagons(8, 8)[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ions": np.ones((3, len(MZ)))}, r"is 3 × 25; for 64 spots .* should be 64 × 25"),
        ({"mz": np.array([*MZ[1:], np.nan])}, "1 of 25 values .* are no m/z"),
        ({"mz": np.array([*MZ[1:], MZ[1]])}, "more than once"),
        ({"ions": np.full((64, len(MZ)), -1.0)}, "are negative"),
        ({"ions": np.full((64, len(MZ)), "a", dtype=object)}, "holds no numbers"),
    ],
)
def test_desium_of_another_shape_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataProblem, match=message):
        open_section(write_desium(tmp_path / "bad.h5ad", **changes))


def test_an_empty_folder_says_what_can_be_opened(tmp_path: Path) -> None:
    with pytest.raises(FileProblem, match="What can be opened"):
        open_section(tmp_path)
