"""Seurat objects in .rds files."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from r_files import R, assay, assay5, centroids, named, seurat, split_assay5, visium, write_rds
from reader_samples import hexagons

from napari_st2msi import open_section, pair
from napari_st2msi.errors import DataProblem, FileProblem
from napari_st2msi.io.opening import Opening

RNG = np.random.default_rng(0)
#: µm of a full-resolution pixel.
UM = 0.25
XY, ARRAY = hexagons(10, 10)
SPOTS = [f"BC{i:03d}-1" for i in range(len(XY))]
GENES = [f"Gene{i}" for i in range(12)]
COUNTS = RNG.poisson(2, (len(GENES), len(SPOTS))).astype(float)
MZ = [f"mz-{300.125 + i}" for i in range(25)]
PIXELS = np.array([(x, y) for y in range(12) for x in range(12)], dtype=float) * 100
IONS = RNG.random((len(MZ), len(PIXELS)))


def spots_file(path: Path, kind: str = "VisiumV1") -> Path:
    image = visium(SPOTS, XY / UM, ARRAY) if kind == "VisiumV1" else centroids(SPOTS, XY / UM, kind)
    make = assay if kind == "VisiumV1" else assay5
    return write_rds(path, seurat(SPOTS, image, Spatial=make(COUNTS, GENES, SPOTS)))


def pixels_file(path: Path, unit: float = 1.0) -> Path:
    cells = [f"{x:g}_{y:g}" for x, y in PIXELS]
    return write_rds(path, seurat(cells, centroids(cells, PIXELS / unit), Spatial=assay5(IONS, MZ, cells)))


@pytest.mark.parametrize("kind", ["VisiumV1", "VisiumV2"])
def test_genes_of_visium_spots_are_read_in_micrometres(tmp_path: Path, kind: str) -> None:
    section = open_section(spots_file(tmp_path / "visium.RDS", kind))
    assert section.has_st
    assert not section.has_msi
    assert section.st.var_names.tolist() == GENES
    np.testing.assert_array_equal(section.st.X.toarray(), COUNTS.T)
    np.testing.assert_allclose(section.st.obsm["spatial"], XY, atol=1e-6)
    assert section.st.obs["meta.region"].tolist()[:3] == ["CTX", "STR", "CTX"]
    assert not [note for note in section.notes if "taken as µm" in note]


def test_pixels_with_mz_are_msi(tmp_path: Path) -> None:
    section = open_section(pixels_file(tmp_path / "msi.rds"), opening=Opening(pixel_size_um=50))
    assert section.has_msi
    assert not section.has_st
    np.testing.assert_allclose(section.msi.var["mz"], [300.125 + i for i in range(25)])
    values = section.msi.X.toarray() if hasattr(section.msi.X, "toarray") else section.msi.X
    np.testing.assert_allclose(values, IONS.T, rtol=1e-6)
    assert section.summary()["pixel_size_um"] == 50


@pytest.mark.parametrize("kind", ["VisiumV1", "VisiumV2"])
def test_the_pair_of_spamtp_lies_in_one_frame(tmp_path: Path, kind: str) -> None:
    spots_file(tmp_path / "visium.RDS", kind)
    pixels_file(tmp_path / "SpaMTP_msi_transformed.RDS", UM)
    section = open_section(tmp_path)
    assert section.name == tmp_path.name
    assert section.msi_to_st is not None
    np.testing.assert_allclose(section.msi_xy_in_st, PIXELS, atol=1e-6)
    assert section.summary()["pixel_size_um"] == pytest.approx(100)
    paired = pair(section)
    assert paired.covered.sum() == len(SPOTS)


def test_genes_and_ions_of_the_same_spots_are_paired(tmp_path: Path) -> None:
    ions = RNG.random((len(MZ), len(SPOTS)))
    path = write_rds(
        tmp_path / "striatum.dhb.data.RDS",
        seurat(SPOTS, visium(SPOTS, XY / UM, ARRAY), SPT=assay(COUNTS, GENES, SPOTS), SPM=assay5(ions, MZ, SPOTS)),
    )
    section = open_section(path)
    assert section.paired
    values = section.paired_table.X
    np.testing.assert_allclose(values.toarray() if hasattr(values, "toarray") else values, ions.T, rtol=1e-6)
    np.testing.assert_array_equal(section.st.X.toarray(), COUNTS.T)
    assert section.ions["mz"].iloc[0] == 300.125


def test_images_of_one_object_are_sections_side_by_side(tmp_path: Path) -> None:
    half = len(SPOTS) // 2
    whole = seurat(SPOTS, None, Spatial=assay(COUNTS, GENES, SPOTS))
    whole.attributes["images"] = named(
        front=visium(SPOTS[:half], XY[:half] / UM, ARRAY[:half]),
        back=visium(SPOTS[half:], XY[:half] / UM, ARRAY[:half]),
    )
    section = open_section(write_rds(tmp_path / "two.rds", whole))
    assert section.st.obs["section"].tolist() == ["front"] * half + ["back"] * half
    first, second = (section.st.obsm["spatial"][part] for part in (slice(0, half), slice(half, None)))
    assert second.min(axis=0)[0] > first.max(axis=0)[0] or first.min(axis=0)[0] > second.max(axis=0)[0]


def test_of_several_assays_one_can_be_chosen(tmp_path: Path) -> None:
    other = assay(COUNTS[:3] + 1, GENES[:3], SPOTS)
    whole = seurat(SPOTS, visium(SPOTS, XY / UM, ARRAY), Spatial=assay(COUNTS, GENES, SPOTS), SCT=other)
    path = write_rds(tmp_path / "two.rds", whole)
    section = open_section(path)
    assert section.st.n_vars == len(GENES)
    assert any("Spatial, SCT" in note for note in section.notes)
    assert open_section(path, opening=Opening(st="SCT")).st.n_vars == 3


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (R(["a", "b"]), "holds no Seurat object but 'no object'"),
        (R(None, {"class": "SpatialExperiment"}), "holds no Seurat object but 'SpatialExperiment'"),
        (R(None, {"class": "Seurat"}), "has no part"),
        (seurat(SPOTS, None, Spatial=assay(COUNTS, GENES, SPOTS)), "has no positions"),
        (seurat(SPOTS, visium(SPOTS[1:], XY[1:], ARRAY[1:]), Spatial=assay(COUNTS, GENES, SPOTS)), "1 of 100 spots"),
        (seurat(SPOTS, visium(SPOTS, XY, ARRAY)), "no assay that can be used"),
        (seurat(SPOTS, visium(SPOTS, XY, ARRAY), Spatial=assay(COUNTS, GENES[1:], SPOTS)), "another shape"),
    ],
)
def test_objects_of_another_shape_are_refused(tmp_path: Path, value: R, message: str) -> None:
    with pytest.raises(DataProblem, match=message):
        open_section(write_rds(tmp_path / "bad.rds", value))


def damaged(**parts: Any) -> R:
    """Return spots whose matrix of counts has other parts than R would write."""
    counts = assay(COUNTS, GENES, SPOTS)
    counts.attributes["counts"].attributes.update(parts)
    return seurat(SPOTS, visium(SPOTS, XY, ARRAY), Spatial=counts)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (damaged(i=np.full(np.count_nonzero(COUNTS), 5_000)), "sparse matrix of R is damaged"),
        (damaged(i=np.full(np.count_nonzero(COUNTS), -1)), "sparse matrix of R is damaged"),
        (damaged(Dim=np.array([12])), "sparse matrix of R is damaged"),
        (damaged(Dimnames=R(np.zeros(0))), "no names of its rows"),
    ],
    ids=["beyond the last row", "before the first row", "one dimension", "no names"],
)
def test_damaged_matrices_are_refused(tmp_path: Path, value: R, message: str) -> None:
    with pytest.raises(DataProblem, match=message):
        open_section(write_rds(tmp_path / "bad.rds", value))


def test_a_dense_matrix_of_another_size_than_it_says_is_refused(tmp_path: Path) -> None:
    counts = assay(COUNTS, GENES, SPOTS)
    counts.attributes["counts"] = R(COUNTS[1:], {"dim": np.array(COUNTS.shape)})
    with pytest.raises(DataProblem, match="A matrix of R is damaged"):
        open_section(write_rds(tmp_path / "bad.rds", seurat(SPOTS, visium(SPOTS, XY, ARRAY), Spatial=counts)))


def in_layers(path: Path, layers: dict[str, tuple[slice, slice]]) -> Path:
    """Write the counts in layers that have some of the genes and some of the spots each."""
    split = split_assay5(
        {name: COUNTS[genes, spots] for name, (genes, spots) in layers.items()},
        {name: GENES[genes] for name, (genes, _) in layers.items()},
        {name: SPOTS[spots] for name, (_, spots) in layers.items()},
    )
    return write_rds(path, seurat(SPOTS, visium(SPOTS, XY / UM, ARRAY), Spatial=split))


FRONT, BACK, ALL = slice(0, 60), slice(60, None), slice(None)


@pytest.mark.parametrize("names", [("counts.1", "counts.2"), ("data.a", "data.b"), ("counts", "counts.2")])
def test_layers_of_some_spots_each_are_joined(tmp_path: Path, names: tuple[str, str]) -> None:
    first, second = names
    path = in_layers(tmp_path / "split.rds", {first: (slice(0, 10), FRONT), second: (slice(2, None), BACK)})
    st = open_section(path).st
    assert st.obs_names.tolist() == SPOTS
    assert st.var_names.tolist() == GENES
    whole = COUNTS.T.copy()
    whole[FRONT, 10:] = 0
    whole[BACK, :2] = 0
    np.testing.assert_array_equal(st.X.toarray(), whole)


def test_counts_of_all_spots_are_complete(tmp_path: Path) -> None:
    layers = {"counts.1": (ALL, FRONT), "counts": (ALL, ALL), "counts.2": (ALL, BACK), "data": (slice(0, 3), ALL)}
    st = open_section(in_layers(tmp_path / "kept.rds", layers)).st
    assert st.obs_names.tolist() == SPOTS
    np.testing.assert_array_equal(st.X.toarray(), COUNTS.T)


def test_layers_that_clash_are_refused(tmp_path: Path) -> None:
    path = in_layers(tmp_path / "clash.rds", {"counts": (ALL, slice(0, 70)), "counts.2": (ALL, BACK)})
    with pytest.raises(DataProblem, match=r"10 cells are in several of the layers counts, counts\.2.*JoinLayers"):
        open_section(path)


def test_damaged_files_and_a_missing_package_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = spots_file(tmp_path / "visium.RDS").read_bytes()
    (tmp_path / "cut.rds").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.rds").write_text("no R at all")
    for name in ("cut.rds", "text.rds"):
        with pytest.raises(FileProblem, match="cannot be read as an R object"):
            open_section(tmp_path / name)
    with pytest.raises(FileProblem, match="There is no"):
        open_section(tmp_path / "missing.rds")
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "rdata":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(FileProblem, match="pip install rdata"):
        open_section(tmp_path / "visium.RDS")
