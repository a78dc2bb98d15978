"""Seurat objects in .rds files to a `Section`: assays of genes and of m/z, with the positions of their images.

Positions are taken as Seurat gives them, whose x is the row of a Visium image: objects that were laid over one
another in R lie over one another here, and are seen mirrored along the diagonal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, GeometryProblem
from napari_st2msi.io import regions, visium
from napari_st2msi.io.anndata import section_of_tables
from napari_st2msi.io.opening import Opening
from napari_st2msi.io.r_values import RValue, read_rds
from napari_st2msi.io.tables import mz_of
from napari_st2msi.io.units import spacing
from napari_st2msi.progress import Progress, check, never
from napari_st2msi.section import Section

if TYPE_CHECKING:
    from anndata import AnnData

_VISIUM = ("VisiumV1", "VisiumV2")


def read_seurat(
    path: Path,
    msi: Path | None = None,
    opening: Opening | None = None,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Section:
    """Read one Seurat object (genes, m/z, or both of the same spots), or two: ST and MSI.

    An assay whose features are m/z (``mz-798.54``) is MSI. Counts are read, joined where they are split by section;
    where there are none, what is.

    Raises
    ------
    FileProblem
        The package rdata is missing, or the file is no R object that can be read.
    DataProblem
        It is no Seurat object, or has no assay, or no positions.
    """
    opening = opening or Opening()
    tables: dict[str, list[AnnData]] = {"st": [], "msi": []}
    notes: list[str] = []
    factor, diameter = opening.um_per_unit, opening.spot_diameter_um
    files = [file for file in (path, msi) if file is not None]
    for number, file in enumerate(files):
        check(cancelled)
        progress(0.8 * number / len(files), f"reading {file.name}")
        whole = _seurat(file)
        places, kind = _positions(whole, file)
        for name, assay in whole["assays"].parts().items():
            check(cancelled)
            table = _table(name, assay, whole, file)
            if table is None:
                continue
            _place(table, places, file)
            side = "msi" if "mz" in table.var else "st"
            chosen = getattr(opening, side)
            if chosen is None or chosen == name:
                tables[side].append(table)
            if side == "st" and kind in _VISIUM:
                factor = factor or _um_per_pixel(table)
                diameter = diameter or visium.SPOT_UM
    for side, found in tables.items():
        if len(found) > 1:
            names = ", ".join(table.uns["assay"] for table in found)
            notes.append(f"Of the assays {names} the first is read; choose another as the {side.upper()} table.")
    first = [found[0] for found in tables.values() if found]
    if not first:
        raise DataProblem(f"'{path.name}' has no assay that can be used.")
    progress(0.9, "building the section")
    section = section_of_tables(
        first[0],
        first[1] if len(first) == 2 else None,
        opening.model_copy(update={"um_per_unit": factor, "spot_diameter_um": diameter}),
        name=path.stem,
        path=path,
        swap=False,
    )
    section.notes = (*notes, *section.notes)
    progress(1.0, "opened")
    return section


def _seurat(path: Path) -> RValue:
    whole = read_rds(path)
    if "Seurat" not in whole.classes:
        kind = whole.classes[0] if whole.classes else "no object"
        raise DataProblem(f"'{path.name}' holds no Seurat object but '{kind}'.")
    return whole


def _table(name: str, assay: RValue, whole: RValue, path: Path) -> AnnData | None:
    """Return an assay as cells × features, None if it is empty."""
    from anndata import AnnData

    if "Assay5" in assay.classes:
        joined = _joined(assay, f"the assay '{name}' of '{path.name}'")
        if joined is None:
            return None
        values, features, cells = joined
    else:
        matrix = next((assay[slot] for slot in ("counts", "data") if slot in assay and assay[slot].size), None)
        if matrix is None:
            return None
        values = matrix.matrix()
        features, cells = matrix.dimension_names()
        _fits(values, features, cells, f"the assay '{name}' of '{path.name}'")
    if not values.shape[0] or not values.shape[1]:
        return None
    obs = pd.DataFrame(index=pd.Index(cells, dtype=object))
    for column, content in whole["meta.data"].columns().items():
        rows = pd.Index(whole["meta.data"].row_names()).get_indexer(obs.index)
        if (rows >= 0).all() and len(content) > int(rows.max(initial=-1)):
            # Which section a spot is of is said by its image; `region` and the like may be anatomy.
            obs[f"meta.{column}" if column.lower() in regions.COLUMNS else column] = content[rows]
    var = pd.DataFrame(index=pd.Index(features, dtype=object))
    mz = [mz_of(feature) for feature in features]
    if all(value is not None for value in mz):
        var["mz"] = np.array(mz, dtype=float)
    return AnnData(X=values.T.astype(np.float32).tocsr(), obs=obs, var=var, uns={"assay": name})


def _joined(assay: RValue, what: str) -> tuple[Any, list[str], list[str]] | None:
    """Return the counts of an `Assay5`, else its data, else what comes first: features × cells, and the names of both.

    As Seurat 5 has it, ``counts`` may be split into ``counts.1``, ``counts.2`` with the cells of one section each, and
    not all of their features. They are joined as its JoinLayers does it: what a layer lacks is 0.
    """
    from scipy.sparse import csc_matrix, hstack

    layers = assay["layers"].parts()
    stem = next((each for each in ("counts", "data") if _split(layers, each)), next(iter(layers), None))
    if stem is None:
        return None
    chosen = _split(layers, stem)
    every, all_cells = (assay[side].dimension_names()[0] for side in ("features", "cells"))
    if stem in layers and len(_names_in(assay["cells"], stem)) == len(all_cells):
        chosen = [stem]  # it has all cells: the others were kept from before they were joined
    place = {feature: row for row, feature in enumerate(every)}
    known = np.zeros(len(every), dtype=bool)
    parts, cells = [], list[str]()
    for layer in chosen:
        values = layers[layer].matrix()
        features, own = (_names_in(assay[side], layer) for side in ("features", "cells"))
        _fits(values, features, own, what)
        if twice := set(own) & set(cells):
            raise DataProblem(
                f"Of {what}, {len(twice):,} cells are in several of the layers {', '.join(chosen)}. Keep one of them "
                "in R, or join them with JoinLayers."
            )
        rows = np.array([place[feature] for feature in features], dtype=np.int64)
        known[rows] = True
        cells += own
        coo = values.tocoo()
        parts.append(csc_matrix((coo.data, (rows[coo.row], coo.col)), shape=(len(every), len(own))))
    names = [feature for feature, here in zip(every, known, strict=True) if here]
    return hstack(parts, format="csc")[np.flatnonzero(known)], names, cells


def _split(layers: Mapping[str, RValue], stem: str) -> list[str]:
    return [each for each in layers if each == stem or each.startswith(f"{stem}.")]


def _fits(values: Any, features: list[str], cells: list[str], what: str) -> None:
    if values.shape != (len(features), len(cells)):
        raise DataProblem(f"{what[:1].upper()}{what[1:]} has values of another shape than its names.")


def _names_in(log: RValue, layer: str) -> list[str]:
    """Return the features or cells that a layer of an `Assay5` has, of all that the assay has."""
    names, layers = log.dimension_names()
    present = np.asarray(log.array(), dtype=bool).reshape(len(names), len(layers), order="F")
    return [name for name, here in zip(names, present[:, layers.index(layer)], strict=True) if here]


def _positions(whole: RValue, path: Path) -> tuple[pd.DataFrame, str]:
    """Return x, y, section and, where known, row and col of the Visium lattice by cell; and the class of the image."""
    places, kind = [], ""
    for name, image in whole["images"].parts().items():
        if "coordinates" in image:
            columns = image["coordinates"].columns()
            cells = image["coordinates"].row_names()
            known = {"x": "imagerow", "y": "imagecol", "row": "row", "col": "col"}
            place = pd.DataFrame({here: columns[there] for here, there in known.items() if there in columns}, cells)
        elif "boundaries" in image and "centroids" in image["boundaries"].parts():
            centroids = image["boundaries"].parts()["centroids"]
            xy = np.asarray(centroids["coords"].array(), dtype=float).reshape(-1, 2, order="F")
            place = pd.DataFrame(xy, columns=["x", "y"], index=centroids["cells"].strings())
        else:
            continue
        if {"x", "y"} <= set(place):
            places.append(place.assign(section=name))
            kind = image.classes[0] if image.classes else ""
    if not places:
        raise DataProblem(f"'{path.name}' has no positions: no image of the Seurat object says where its spots lie.")
    all_of_them = pd.concat(places)
    return all_of_them[~all_of_them.index.duplicated()], kind


def _place(table: AnnData, places: pd.DataFrame, path: Path) -> None:
    missing = ~table.obs_names.isin(places.index)
    if missing.any():
        raise DataProblem(
            f"{int(missing.sum()):,} of {table.n_obs:,} spots of '{path.name}' are in none of its images."
        )
    here = places.loc[table.obs_names]
    table.obsm["spatial"] = here[["x", "y"]].to_numpy(dtype=float)
    if len(set(here["section"])) > 1:
        table.obs["section"] = here["section"].to_numpy()
    if {"row", "col"} <= set(here) and here[["row", "col"]].notna().all(axis=None):
        table.obs["array_row"] = here["row"].to_numpy(dtype=int)
        table.obs["array_col"] = here["col"].to_numpy(dtype=int)


def _um_per_pixel(table: AnnData) -> float | None:
    """Return the µm of a full-resolution pixel, from the 100 µm between spots of Visium."""
    xy: NDArray[np.float64] = np.asarray(table.obsm["spatial"], dtype=np.float64)
    if "array_row" in table.obs:
        try:
            return visium.um_per_unit(xy, table.obs["array_row"].to_numpy(), table.obs["array_col"].to_numpy())
        except GeometryProblem:
            pass
    apart = spacing(xy)
    return visium.PITCH_UM / apart if apart > 0 else None
