"""A registration as a displacement field, for ITK and all that stands on it (SimpleITK, elastix, ANTs, 3D Slicer)."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import FileProblem, GeometryProblem
from napari_st2msi.io.one_file import replacing
from napari_st2msi.progress import Progress, check, never
from napari_st2msi.registration.registration import Registration
from napari_st2msi.registration.transforms import Transform
from napari_st2msi.section import MSI_SYSTEM, Section

#: Formats that hold everything in one file, so that it can be renamed into its place.
FORMATS = (".mha", ".nrrd")
#: Between its nodes a field is blended linearly; nodes are set so densely that this is missed by no more.
_MISS_UM = 0.25
_COARSEST_UM, _FINEST_UM = 400.0, 5.0
_MOST_NODES = 4_000_000
_ROWS = 50_000


def write_displacement_field(
    section: Section,
    registration: Registration,
    path: str | Path,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Path:
    """Write where every place of the ST lies in the MSI, as a vector image.

    The field covers spots and MSI pixels, with a margin. At a point p of the ST (µm in ``st2msi``) it
    holds the vector, µm, that leads to the same place of the tissue in the MSI (``st2msi_msi``). That is
    the direction in which ITK resamples the moving image onto the fixed one: read it as an image of
    float64 vectors, make it a `DisplacementFieldTransform`, and resample. ITK speaks of mm; here its
    units are µm.

    Where a transform folds, some places of the ST belong to none or to several of the MSI; near such a
    fold the field is filled in smoothly, as long as that is a tenth of it at most.

    Parameters
    ----------
    path
        Ends in ``.mha`` or ``.nrrd``. A file that is there is replaced once the new one is whole.

    Returns
    -------
    Where it was written.

    Raises
    ------
    FileProblem
        The ending is another one, the folder is missing or cannot be written, or the disk is full.
    GeometryProblem
        The transform folds over more than a tenth of the field.
    Cancelled
        The user stopped it.
    """
    target = Path(path).expanduser().resolve()
    if target.suffix.lower() not in FORMATS:
        raise FileProblem(f"A displacement field ends in {' or '.join(FORMATS)}, and not as '{target.name}' does.")
    if not target.parent.is_dir():
        raise FileProblem(f"The folder '{target.parent}' does not exist. Make it first, or choose another place.")
    if target.is_dir():
        raise FileProblem(f"'{target}' is a folder. Choose a name for the file.")
    low, high = _extent(section, registration.transform)
    vectors, spacing = displacement_field(
        registration.transform, low, high, progress=progress.part(0, 0.8), cancelled=cancelled
    )
    progress(0.8, "Writing the field")
    _write(vectors, low, spacing, target)
    return target


def displacement_field(
    transform: Transform,
    low: NDArray[np.floating],
    high: NDArray[np.floating],
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> tuple[NDArray[np.float64], float]:
    """Return the vectors from ST to MSI on a grid over a rectangle of the ST.

    The grid is refined until blending linearly between its nodes misses the transform by no more than a
    quarter of a µm in the middle between them.

    Parameters
    ----------
    low, high
        (2,) least and greatest x and y in µm of the ST; the first node lies at `low`.

    Returns
    -------
    vectors
        (rows, columns, 2) float64 in µm.
    spacing
        Distance between nodes in µm.

    Raises
    ------
    GeometryProblem
        The transform folds over more than a tenth of the rectangle.
    """
    size = np.asarray(high, dtype=np.float64) - low
    # Enough nodes from the start to tell how large a part is folded.
    spacing = float(np.clip(size.max() / 40, _FINEST_UM, _COARSEST_UM))
    while True:
        check(cancelled)
        progress(min(0.9, _FINEST_UM / spacing), f"Looking up the transform every {spacing:,.0f} µm")
        vectors = _vectors(transform, low, np.ceil(size / spacing).astype(int) + 1, spacing, cancelled)
        finer = spacing / 2
        most = np.prod(size / finer + 2)
        if transform.matrix is not None or finer < _FINEST_UM or most > _MOST_NODES:
            return vectors, spacing
        if _missed(transform, vectors, low, spacing, cancelled) <= _MISS_UM:
            return vectors, spacing
        spacing = finer


def _vectors(
    transform: Transform,
    low: NDArray[np.floating],
    shape: NDArray[np.int_],
    spacing: float,
    cancelled: Callable[[], bool],
) -> NDArray[np.float64]:
    columns, rows = (np.arange(count) * spacing for count in shape)
    nodes = np.stack(np.meshgrid(columns, rows), axis=-1) + low
    vectors = (_inverse(transform, nodes.reshape(-1, 2), cancelled) - nodes.reshape(-1, 2)).reshape(nodes.shape)
    holes = ~np.isfinite(vectors).all(axis=-1)
    if holes.mean() > 0.1:
        raise GeometryProblem(
            "The transform folds the tissue over a large part, so no field leads back from the ST. Look at the "
            "landmarks that are farthest off, or choose a stiffer transform."
        )
    if holes.any():
        vectors[holes] = _filled(nodes[~holes], vectors[~holes], nodes[holes])
    return vectors


def _inverse(transform: Transform, points: NDArray[np.float64], cancelled: Callable[[], bool]) -> NDArray[np.float64]:
    parts = []
    for start in range(0, len(points), _ROWS):
        check(cancelled)
        parts.append(transform.inverse(points[start : start + _ROWS]))
    return np.concatenate(parts)


def _filled(
    known: NDArray[np.float64], vectors: NDArray[np.float64], wanted: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return vectors where there are none, from the nearest eight that there are."""
    from scipy.interpolate import RBFInterpolator

    return np.asarray(RBFInterpolator(known, vectors, neighbors=min(8, len(known)), kernel="linear")(wanted))


def _missed(
    transform: Transform,
    vectors: NDArray[np.float64],
    low: NDArray[np.floating],
    spacing: float,
    cancelled: Callable[[], bool],
) -> float:
    """Return how far blending misses the transform in the middle of four nodes, in µm, at most."""
    middle = (vectors[:-1, :-1] + vectors[1:, :-1] + vectors[:-1, 1:] + vectors[1:, 1:]) / 4
    rows, columns = np.indices(middle.shape[:2])
    points = (np.stack([columns, rows], axis=-1).reshape(-1, 2) + 0.5) * spacing + low
    away = np.linalg.norm(points + middle.reshape(-1, 2) - _inverse(transform, points, cancelled), axis=1)
    # Where the transform folds there is nothing to be missed.
    return float(np.nanmax(away, initial=0.0))


def _extent(section: Section, transform: Transform) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the least and the greatest x and y of spots and pixels, with a margin of a twentieth."""
    pixels = section.pixels(MSI_SYSTEM)
    parts = [transform.forward(pixels.centres if pixels.corners is None else pixels.corners.reshape(-1, 2))]
    if section.has_st:
        parts.append(section.spots.centres)
    every = np.concatenate(parts)
    every = every[np.isfinite(every).all(axis=1)]
    low, high = every.min(axis=0), every.max(axis=0)
    margin = 0.05 * float((high - low).max())
    return low - margin, high + margin


def _write(vectors: NDArray[np.float64], low: NDArray[np.float64], spacing: float, target: Path) -> None:
    """Write beside the target and rename into its place: what was there stays until the new file is whole."""
    import SimpleITK as sitk

    image: Any = sitk.GetImageFromArray(vectors, isVector=True)
    image.SetOrigin(low.tolist())
    image.SetSpacing((spacing, spacing))
    image.SetMetaData("units", "um")
    try:
        with replacing(target) as new:
            # ITK tells in many words what went wrong, and of a full disk nothing: try the place, and weigh the file.
            new.write_bytes(b"")
            sitk.WriteImage(image, str(new), useCompression=False)
            if new.stat().st_size < vectors.nbytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except RuntimeError as error:
        raise FileProblem(
            f"'{target}' could not be written, perhaps because the disk is full. What was there is unchanged."
        ) from error
