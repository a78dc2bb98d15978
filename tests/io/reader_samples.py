"""Small sections and files that several reader tests start from."""

from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from PIL import Image
from scipy.sparse import csc_matrix

from napari_st2msi.io.build import build_section
from napari_st2msi.section import Section

MIRROR = np.array([[-1.0, 0.0, 900.0], [0.0, 1.0, 20.0], [0.0, 0.0, 1.0]])


def genes(n: int = 60, g: int = 8, seed: int = 0) -> ad.AnnData:
    counts = np.random.default_rng(seed).poisson(1.5, (n, g)).astype(np.float32)
    names = [f"spot_{i}" for i in range(n)]
    return ad.AnnData(counts, obs=pd.DataFrame(index=names), var=pd.DataFrame(index=[f"Gene{i}" for i in range(g)]))


def ions(n: int, k: int = 5, seed: int = 1) -> ad.AnnData:
    values = np.random.default_rng(seed).gamma(2.0, 10.0, (n, k)).astype(np.float32)
    mz = 700.0 + 12.5 * np.arange(k)
    var = pd.DataFrame({"mz": mz}, index=[f"mz-{value:.2f}" for value in mz])
    return ad.AnnData(values, obs=pd.DataFrame(index=[f"pixel_{i}" for i in range(n)]), var=var)


def grid(width: int = 12, height: int = 10) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).reshape(-1, 2).astype(float)


def hexagons(rows: int = 10, columns: int = 10, pitch: float = 100.0) -> tuple[np.ndarray, np.ndarray]:
    """Visium's lattice: positions, and (array_row, array_col)."""
    row, i = np.divmod(np.arange(rows * columns), columns)
    column = 2 * i + row % 2
    return np.column_stack([column * pitch / 2, row * pitch * np.sqrt(3) / 2]), np.column_stack([row, column])


def small_section(*, registered: bool = True, image: bool = True, name: str = "brain") -> Section:
    xy, _ = hexagons(6, 10)
    pixels = grid()
    picture = np.random.default_rng(2).integers(0, 255, (1100, 60, 3), dtype=np.uint8)
    return build_section(
        name=name,
        st=genes(len(xy)),
        st_xy=xy,
        spot_diameter_um=55.0,
        msi=ions(len(pixels)),
        msi_xy=pixels * 100,
        pixel_size_um=100.0,
        msi_to_st=MIRROR if registered else None,
        image=picture if image else None,
    )


def write_10x_h5(path: Path, counts: np.ndarray, barcodes: list[str], names: list[str]) -> None:
    """Write a count matrix as Cell Ranger 3 and later lay it out: genes × barcodes, column by column."""
    matrix = csc_matrix(counts.T.astype(np.int32))
    with h5py.File(path, "w") as file:
        file.attrs["library_ids"] = np.array([b"lib"])
        file.attrs["chemistry_description"] = b"Visium V1"
        group = file.create_group("matrix")
        group["barcodes"] = np.array(barcodes, dtype="S")
        group["data"], group["indices"] = matrix.data, matrix.indices.astype(np.int64)
        group["indptr"] = matrix.indptr.astype(np.int64)
        group["shape"] = np.array(matrix.shape, dtype=np.int32)
        features = group.create_group("features")
        features["id"] = np.array([f"ENSG{i:05d}" for i in range(len(names))], dtype="S")
        features["name"] = np.array(names, dtype="S")
        features["feature_type"] = np.array(["Gene Expression"] * len(names), dtype="S")
        features["genome"] = np.array(["mm10"] * len(names), dtype="S")


def write_space_ranger(
    folder: Path,
    *,
    generation: int = 2,
    um_per_pixel: float = 0.25,
    rows: int = 10,
    columns: int = 10,
    names: list[str] | None = None,
) -> Path:
    """Write an `outs` folder: spots of the last lattice row are not in tissue and have no counts."""
    spatial = folder / "outs" / "spatial"
    spatial.mkdir(parents=True)
    xy, array = hexagons(rows, columns)
    pixels = np.rint((xy + 200) / um_per_pixel).astype(int)
    barcodes = [f"BC{i:04d}-1" for i in range(len(xy))]
    in_tissue = (array[:, 0] < rows - 1).astype(int)
    table = pd.DataFrame(
        {
            "barcode": barcodes,
            "in_tissue": in_tissue,
            "array_row": array[:, 0],
            "array_col": array[:, 1],
            "pxl_row_in_fullres": pixels[:, 1],
            "pxl_col_in_fullres": pixels[:, 0],
        }
    )
    old = generation == 1
    table.to_csv(
        spatial / ("tissue_positions_list.csv" if old else "tissue_positions.csv"), index=False, header=not old
    )
    hires = 0.1
    (spatial / "scalefactors_json.json").write_text(
        json.dumps(
            {
                "tissue_hires_scalef": hires,
                "tissue_lowres_scalef": hires / 3,
                "spot_diameter_fullres": 65 / um_per_pixel,
                "fiducial_diameter_fullres": 105 / um_per_pixel,
            }
        )
    )
    size = np.ceil((pixels.max(axis=0) + 400) * hires).astype(int)
    picture = np.full((size[1], size[0], 3), 230, dtype=np.uint8)
    picture[: size[1] // 2, :, 0] = 120
    Image.fromarray(picture).save(spatial / "tissue_hires_image.png")
    Image.fromarray(picture[::3, ::3]).save(spatial / "tissue_lowres_image.png")
    names = names or [f"Gene{i}" for i in range(12)]
    kept = np.flatnonzero(in_tissue)
    counts = np.random.default_rng(0).poisson(2, (len(kept), len(names)))
    write_10x_h5(folder / "outs" / "filtered_feature_bc_matrix.h5", counts, [barcodes[i] for i in kept], names)
    return folder / "outs"
