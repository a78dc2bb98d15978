"""Give every spot its ions, keep the result in the section, and find it there again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, GeometryProblem
from napari_st2msi.paired import WEIGHTS, PairedDataset
from napari_st2msi.pairing.advice import warnings_for, why_apart
from napari_st2msi.pairing.aggregate import aggregate, measured_pixels
from napari_st2msi.pairing.weights import BY_AREA, pair_weights
from napari_st2msi.progress import Progress, check, never
from napari_st2msi.recipe import Pairing
from napari_st2msi.roles import PAIRED_TABLE, table_regions
from napari_st2msi.section import CONFIDENCE, EXPECTED_ERROR, MSI_SYSTEM, Section
from napari_st2msi.shapes import Outlines, map_points, squares

if TYPE_CHECKING:
    from anndata import AnnData
    from scipy.sparse import csr_matrix


#: What a spot came by in pairing and registration; the last two where they are known.
_COLUMNS = ("coverage", "n_pixels", CONFIDENCE, EXPECTED_ERROR)


@dataclass(frozen=True)
class PairingResult:
    """Spots with their ions, and how they came by them.

    Attributes
    ----------
    dataset
        The spots that are kept, genes beside ions.
    weights
        (spots, pixels) CSR float64 for all spots of `section.st` and all pixels of `section.msi`; see
        `pair_weights` for what a weight is. `spread` takes it for the way back.
    coverage
        (spots,) float64 for all spots. By overlap and sum: the share of the spot's area under pixels,
        0 to 1. By the other methods, which know no areas: 1 with any pixel in reach, else 0.
    kept
        (spots,) bool, which spots of `section.st` are in `dataset`.
    warnings
        What the user should know, in words.
    choices
        As they were applied.
    """

    dataset: PairedDataset
    weights: csr_matrix
    coverage: NDArray[np.float64]
    kept: NDArray[np.bool_]
    warnings: tuple[str, ...]
    choices: Pairing


def pair_section(
    section: Section,
    choices: Pairing,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> PairingResult:
    """Pair the MSI pixels of a registered section with its ST spots. The section is not changed.

    Ions of a spot are W·X/ΣW over the pixels with a weight (W·X for `sum`). A spot with less than
    the least coverage, or without any pixel, is dropped or NaN, never 0. Pixels whose ions are all
    NaN count as not measured.

    Raises
    ------
    GeometryProblem
        The section is not registered, a size is unknown, or no pixel lies over any spot.
    DataProblem
        A table is missing, holds NaN or negative intensities, or the same pixel twice.
    Cancelled
        The user stopped it.
    """
    if section.paired and not section.has_msi:
        raise DataProblem(f"Section '{section.name}' came already paired: its spots have their ions. Go on to train.")
    st, msi = section.st, section.msi
    spots, spot_notes = _spot_outlines(section, choices)
    pixels, pixel_notes = _pixel_outlines(section)
    if (doubles := len(pixels) - len(np.unique(pixels.centres, axis=0))) > 0:
        raise DataProblem(f"{doubles:,} of {len(pixels):,} MSI pixels lie exactly on another one. Remove them first.")
    check(cancelled)
    progress(0.0, "Checking intensities")
    measured = measured_pixels(msi.X, cancelled=cancelled)

    weights = pair_weights(
        spots, _select(pixels, measured), choices, progress=progress.part(0.1, 0.5), cancelled=cancelled
    )
    weights = _widen(weights, measured)
    if weights.nnz == 0:
        raise GeometryProblem(why_apart(spots, pixels))
    coverage = _coverage(weights, spots, pixels, choices)
    n_pixels = np.diff(weights.indptr)
    covered = (n_pixels > 0) & (coverage >= choices.min_coverage)
    if not covered.any():
        raise GeometryProblem(
            f"No spot has {choices.min_coverage:.0%} of its area under MSI pixels; the best has {coverage.max():.0%}. "
            "Check the registration and the sizes in µm, or allow less coverage."
        )
    ions = aggregate(
        weights, msi.X, mean=choices.method != "sum", progress=progress.part(0.5, 1.0), cancelled=cancelled
    )
    ions[~covered] = np.nan
    kept = covered if choices.uncovered == "drop" else np.ones(len(covered), dtype=bool)

    missing = int((~measured).sum())
    notes = (*spot_notes, *pixel_notes)
    if missing:
        notes += (f"{missing:,} of {len(measured):,} MSI pixels have no values (NaN) and count as not measured.",)
    return PairingResult(
        dataset=_dataset(st, msi.var, ions, weights, coverage, kept),
        weights=weights,
        coverage=coverage,
        kept=kept,
        warnings=notes + warnings_for(spots, pixels, weights, ~covered, choices),
        choices=choices,
    )


def keep(section: Section, result: PairingResult) -> None:
    """Put a pairing into the section as table `msi_on_st`, in the place of an earlier one.

    The table annotates the ST element with the instances of the ST table. `obs` has `section`,
    `coverage` and `n_pixels`, and the confidence of the registration where it is known;
    `obsm["weights"]` the (spots, pixels) weights of the kept spots; `uns["pairing"]` the choices. The
    section remembers the choices and the registration they were made under, so that `stale` can tell
    when to pair again.
    """
    from anndata import AnnData
    from spatialdata.models import TableModel

    attrs = section.st.uns["spatialdata_attrs"]
    region, key = attrs["region_key"], attrs["instance_key"]
    ions, genes = result.dataset.ions, result.dataset.genes
    table = AnnData(
        X=ions.X,
        obs=genes.obs[[region, key, "section", *(c for c in _COLUMNS if c in genes.obs)]].copy(),
        var=ions.var.copy(),
        obsm={"spatial": result.dataset.xy, WEIGHTS: ions.obsm[WEIGHTS]},
        uns={"pairing": result.choices.model_dump(exclude_none=True)},
    )
    element = section.roles.st_element
    table.obs[region] = pd.Categorical([element] * table.n_obs)
    section.sdata.tables[PAIRED_TABLE] = TableModel.parse(table, region=element, region_key=region, instance_key=key)
    matrix = section.msi_to_st
    section.remember(
        pairing={
            "choices": result.choices.model_dump(mode="json"),
            "msi_to_st": None if matrix is None else matrix.tolist(),
            "bent_by": _bent_by(section),
            "warnings": list(result.warnings),
        }
    )


def stored(section: Section) -> PairedDataset:
    """Return the pairing that a section carries: made by `keep`, or come with the data.

    Spots are matched by the instances that both tables annotate, in the order of the paired table.

    Raises
    ------
    DataProblem
        The section is not paired, or its paired table belongs to other spots.
    """
    st, ions = section.st, _own_rows(section)
    rows = pd.Index(_instances(st)).get_indexer(pd.Index(_instances(ions)))
    if (rows < 0).any() or len(np.unique(rows)) != len(rows):
        raise DataProblem(
            f"{int((rows < 0).sum()):,} of {len(rows):,} paired spots of section '{section.name}' are not spots of "
            "its ST table, or are there twice. Pair again."
        )
    genes = st[rows].copy()
    for column in _COLUMNS:
        if column in ions.obs:
            genes.obs[column] = ions.obs[column].to_numpy()
    from anndata import AnnData

    places = {"spatial": genes.obsm["spatial"]} | ({WEIGHTS: ions.obsm[WEIGHTS]} if WEIGHTS in ions.obsm else {})
    values = AnnData(X=ions.X, obs=genes.obs.copy(), var=ions.var.copy(), obsm=places)
    return PairedDataset(genes, values)


def stored_weights(section: Section) -> csr_matrix:
    """Return the (spots, pixels) weights of the spots of `stored`, for the way back onto pixels.

    Raises
    ------
    DataProblem
        The section is not paired, or came paired, so that no pixels are known.
    """
    from scipy.sparse import csr_matrix

    ions = _own_rows(section)
    if WEIGHTS not in ions.obsm:
        raise DataProblem(f"Section '{section.name}' came already paired: which pixels its spots had is unknown.")
    return csr_matrix(ions.obsm[WEIGHTS])


def stale(section: Section) -> str | None:
    """Return why the pairing a section carries no longer fits it, None where it does or there is none."""
    remembered = section.attrs.get("pairing")
    if not section.paired or not remembered or not section.has_msi:
        return None
    before, now = remembered.get("msi_to_st"), section.msi_to_st
    if now is None:
        return "The section is no longer registered. Register and pair again."
    if np.shape(before) != (3, 3):
        return "Nothing says how MSI lay over ST when they were paired. Pair again."
    ions = _own_rows(section)
    if WEIGHTS in ions.obsm and ions.obsm[WEIGHTS].shape[1] != section.msi.n_obs:
        return "The MSI pixels are others than when they were paired. Pair again."
    xy = np.column_stack([section.msi.obsm["spatial"], np.ones(section.msi.n_obs)])
    moved = np.linalg.norm(xy @ (now - np.asarray(before, dtype=float))[:2].T, axis=1).max()
    bent = remembered.get("bent_by"), _bent_by(section)
    if moved > 1e-3 and bent == (None, None):
        return f"The registration changed after pairing: MSI moved by up to {moved:,.1f} µm. Pair again."
    if moved > 1e-3 or bent[0] != bent[1]:
        return "The registration changed after pairing: MSI lies elsewhere. Pair again."
    return None


def _bent_by(section: Section) -> str | None:
    """Return the fingerprint of a registration that no affine tells, None where the affine says it all."""
    if section.warped_element is None:
        return None
    return str(section.attrs.get("registration", {}).get("fingerprint", ""))


def _spot_outlines(section: Section, choices: Pairing) -> tuple[Outlines, tuple[str, ...]]:
    """Return the spots as the data says, or as discs of the diameter that the user gave."""
    spots = section.spots
    if choices.spot_diameter_um is None:
        return spots, ()
    given = Outlines(spots.centres, radius=np.full(len(spots), choices.spot_diameter_um / 2))
    if spots.corners is None:
        return given, ()
    return given, (
        f"The spots have outlines of their own, but were paired as discs of {choices.spot_diameter_um:g} µm.",
    )


def _pixel_outlines(section: Section) -> tuple[Outlines, tuple[str, ...]]:
    """Return the pixels as polygons over the ST; those without outlines fill their grid."""
    own, grid, matrix = section.pixels(MSI_SYSTEM), section.msi_grid, section.msi_to_st
    if own.corners is not None or matrix is None:
        return section.pixels(), ()
    if grid is not None and len(own) > 1:
        side: float | tuple[float, float] = grid.pitch
    elif own.radius is not None:
        side = 2 * float(np.median(own.radius))
    else:
        return section.pixels(), ()
    width, height = np.broadcast_to(side, 2)
    note = f"The MSI pixels have no outlines; they were taken as {width:g} × {height:g} µm."
    if section.warped_element is not None:  # registration gave them outlines in the same way
        return section.pixels(), (note,)
    corners = map_points(matrix, squares(own.centres, side))
    return Outlines(section.msi_xy_in_st, corners=corners), (note,)


def _select(outlines: Outlines, mask: NDArray[np.bool_]) -> Outlines:
    radius, corners = outlines.radius, outlines.corners
    return Outlines(
        outlines.centres[mask],
        None if radius is None else radius[mask],
        None if corners is None else corners[mask],
    )


def _widen(weights: csr_matrix, measured: NDArray[np.bool_]) -> csr_matrix:
    """Return weights over the measured pixels as weights over all pixels."""
    from scipy.sparse import csr_matrix

    columns = np.flatnonzero(measured)
    return csr_matrix((weights.data, columns[weights.indices], weights.indptr), shape=(weights.shape[0], len(measured)))


def _coverage(weights: csr_matrix, spots: Outlines, pixels: Outlines, choices: Pairing) -> NDArray[np.float64]:
    if choices.method not in BY_AREA:
        return (np.diff(weights.indptr) > 0).astype(np.float64)
    per_weight = np.ones(len(pixels)) if choices.method == "overlap" else pixels.area
    # Pixels that overlap each other would cover a spot more than once.
    return np.asarray(np.minimum(weights @ per_weight / spots.area, 1.0))


def _dataset(
    st: AnnData,
    ions: pd.DataFrame,
    values: NDArray[np.floating],
    weights: csr_matrix,
    coverage: NDArray[np.float64],
    kept: NDArray[np.bool_],
) -> PairedDataset:
    from anndata import AnnData

    genes = st[kept].copy()
    genes.obs["coverage"] = coverage[kept]
    genes.obs["n_pixels"] = np.diff(weights.indptr)[kept].astype(np.int64)
    places = {"spatial": genes.obsm["spatial"], WEIGHTS: weights[kept]}
    table = AnnData(X=values[kept], obs=genes.obs.copy(), var=ions.copy(), obsm=places)
    return PairedDataset(genes, table)


def _own_rows(section: Section) -> AnnData:
    """Return the rows of the paired table that belong to the section's ST element."""
    table = section.paired_table
    if len(table_regions(table)) > 1:
        table = table[table.obs[table.uns["spatialdata_attrs"]["region_key"]] == section.roles.st_element].copy()
    return table


def _instances(table: AnnData) -> NDArray[Any]:
    return np.asarray(table.obs[table.uns["spatialdata_attrs"]["instance_key"]])
