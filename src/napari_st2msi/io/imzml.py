"""imzML, continuous and processed, to a `Section`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, GeometryProblem
from napari_st2msi.io.build import build_section
from napari_st2msi.io.imzml_index import ImzmlIndex, read_index
from napari_st2msi.io.imzml_read import IonReading, read_ions
from napari_st2msi.io.mz_table import mz_frame, read_mz_table
from napari_st2msi.io.opening import Opening
from napari_st2msi.io.peaks import pick_peaks
from napari_st2msi.progress import Progress, never
from napari_st2msi.section import Section

#: Empty columns of pixels between the slices of a file with several.
_GAP = 5
_DIVISOR = {"tic": "total ion current", "rms": "root mean square", "median": "median above zero"}


def read_imzml(
    path: Path,
    opening: Opening | None = None,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Section:
    """Read ion images from an .imzML file and the .ibd file beside it.

    The intensity of an ion in a pixel is the sum of the spectrum within ``m/z ± ppm``, edges included.
    Ions come from `opening.mz`, from `opening.mz_table`, or else are the `opening.n_peaks` highest peaks
    of the mean spectrum, which takes a second pass over the file. Memory is that of the result plus a
    fixed buffer. Checksums of the .ibd file are not verified, its identifier and lengths are.

    Pixel (x, y) of the file, counted from 1, has its centre at ``(x - 1/2, y - 1/2)`` times the pixel
    size, so the corner of the image is the origin. Slices (several z) are laid side by side along x.

    Parameters
    ----------
    path
        The .imzML file.
    opening
        Reads `name`, `mz`, `mz_table`, `ppm`, `n_peaks`, `normalisation` (see
        `napari_st2msi.io.imzml_read.read_ions`) and `pixel_size_um`.

    Returns
    -------
    A section with MSI only. Its table is float32, pixels × ions in the order of the list; `var` has `mz`,
    `name`, and `formula` and `adduct` if known; `obs` has the coordinates `x`, `y` (and `z`) of the file
    and `tic`, the sum of the whole spectrum before normalisation.

    Raises
    ------
    FileProblem
        A file is missing, incomplete, refused, or does not belong to the other.
    DataProblem
        No spectra, duplicate pixels, NaN or negative intensities, or a bad list of m/z.
    GeometryProblem
        The size of a pixel is neither in the file nor given.
    """
    from anndata import AnnData

    opening = opening or Opening()
    ions = _wanted(opening)
    index = read_index(path, progress=progress.part(0, 0.3), cancelled=cancelled)
    notes = list(index.notes)
    size = _pixel_size(index, opening)
    reading = progress.part(0.3, 0.9)
    if ions is None:
        peaks = pick_peaks(index, opening.n_peaks, opening.ppm, progress=progress.part(0.3, 0.6), cancelled=cancelled)
        ions = mz_frame(peaks.tolist())
        notes.append(f"No m/z was given: the {len(ions):,} highest peaks of the mean spectrum are read.")
        reading = progress.part(0.6, 0.9)
    mz = ions["mz"].to_numpy()
    found = read_ions(
        index, mz, opening.ppm, normalisation=opening.normalisation, progress=reading, cancelled=cancelled
    )
    notes += _notes(ions, found, opening)
    progress(0.9, "building the section")
    xy, more = _positions(index, size)
    notes += more
    obs = pd.DataFrame({"x": index.xyz[:, 0], "y": index.xyz[:, 1]}, index=_pixel_names(index))
    if np.ptp(index.xyz[:, 2]):
        obs["z"] = index.xyz[:, 2]
    obs["tic"] = found.tic
    table = AnnData(X=found.intensities, obs=obs, var=ions)
    table.uns["imzml"] = {"ppm": opening.ppm, "normalisation": opening.normalisation}
    section = build_section(
        name=opening.name or path.stem,
        msi=table,
        msi_xy=xy,
        pixel_size_um=size,
        path=path,
        notes=tuple(notes),
    )
    progress(1.0, "opened")
    return section


def _wanted(opening: Opening) -> pd.DataFrame | None:
    """Return the ions asked for, None when peaks are to be picked."""
    if opening.mz and opening.mz_table is not None:
        raise DataProblem("Both a list of m/z and an m/z table are given. Give one of them.")
    if opening.mz_table is not None:
        return read_mz_table(opening.mz_table)
    return mz_frame(opening.mz) if opening.mz else None


def _pixel_size(index: ImzmlIndex, opening: Opening) -> tuple[float, float]:
    if opening.pixel_size_um is not None:
        return opening.pixel_size_um, opening.pixel_size_um
    if index.pixel_size_um is None:
        raise GeometryProblem(f"'{index.path.name}' does not say how large a pixel is. Give the MSI pixel size in µm.")
    return index.pixel_size_um


def _positions(index: ImzmlIndex, size: tuple[float, float]) -> tuple[NDArray[np.float64], list[str]]:
    """Return (pixels, 2) centres in µm, slices side by side, and what there is to say about it."""
    x, y, z = index.xyz.T
    slices, which = np.unique(z, return_inverse=True)
    column = x + which * (int(np.ptp(x)) + 1 + _GAP)
    xy = (np.column_stack([column, y]) - 0.5) * np.asarray(size)
    if len(slices) == 1:
        return xy, []
    return xy, [f"The file holds {len(slices):,} slices (z); they are laid side by side along x."]


def _pixel_names(index: ImzmlIndex) -> list[str]:
    x, y, z = index.xyz.T.tolist()
    if len(set(z)) == 1:
        return [f"x{a}_y{b}" for a, b in zip(x, y, strict=True)]
    return [f"x{a}_y{b}_z{c}" for a, b, c in zip(x, y, z, strict=True)]


def _notes(ions: pd.DataFrame, found: IonReading, opening: Opening) -> list[str]:
    notes = []
    mz = np.sort(ions["mz"].to_numpy())
    window = mz * opening.ppm * 1e-6
    overlapping = int((mz[1:] - window[1:] <= mz[:-1] + window[:-1]).sum())
    if overlapping:
        notes.append(
            f"{overlapping:,} pairs of neighbouring ions overlap within ± {opening.ppm:g} ppm and share signal."
        )
    low, high = found.mz_range
    outside = int(((mz + window < low) | (mz - window > high)).sum())
    if outside:
        notes.append(f"{outside:,} of {len(mz):,} ions lie outside of the measured range, m/z {low:.4f} to {high:.4f}.")
    empty = np.flatnonzero(~found.intensities.any(axis=0))
    if len(empty):
        first = ", ".join(ions.index[empty][:5]) + (", …" if len(empty) > 5 else "")
        notes.append(f"{len(empty):,} of {len(mz):,} ions are zero in every pixel and kept: m/z {first}.")
    silent = int((found.tic == 0).sum())
    if silent:
        notes.append(f"{silent:,} of {len(found.tic):,} spectra are empty; their ions are zero.")
    if opening.normalisation != "none":
        notes.append(f"Each spectrum is divided by its {_DIVISOR[opening.normalisation]}.")
    return notes
