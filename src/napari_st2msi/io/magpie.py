"""The folder of a MAGPIE project to a `Section`, with the landmarks that people picked in it.

The layout is that of https://core-bioinformatics.github.io/magpie: `visium`, `msi` and up to three files
of landmarks. A flat folder with the same files is read as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, FileProblem
from napari_st2msi.io.combine import combine
from napari_st2msi.io.landmarks import landmark_elements
from napari_st2msi.io.opening import Opening
from napari_st2msi.io.tables import IonTable, measured, positions_of, read_ion_table
from napari_st2msi.io.text_table import cells, numbers, read_text
from napari_st2msi.io.units import msi_scale
from napari_st2msi.io.visium import VisiumGeometry, is_visium, read_visium, visium_geometry
from napari_st2msi.progress import Progress, check, never
from napari_st2msi.section import Section

_INTENSITIES, _METADATA, _TURNED = "MSI_intensities.csv", "MSI_metadata.csv", "MSI_metadata_modified.csv"
_DIRECT, _TO_HE, _BETWEEN_HE = "landmarks_noHE.csv", "landmarks_MSI2HE.csv", "landmarks_HE2HE.csv"
#: Columns of a file of landmarks: MSI pixels (left), pixels of the hires image (right).
LANDMARK_COLUMNS = ("X_left", "Y_left", "X_right", "Y_right")


def is_magpie(folder: Path) -> bool:
    """Tell whether a folder is a MAGPIE project: it has a table of MSI pixels in the place MAGPIE wants."""
    return _find(folder, _METADATA) is not None or _find(folder, _INTENSITIES) is not None


def read_landmarks_csv(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the left (moving) and right (fixed) points of a MAGPIE file, (n, 2) each, in its own pixels.

    Left are MSI pixels as `MSI_metadata.csv` counts them, right are pixels of Visium's hires image.

    Raises
    ------
    FileProblem
        The file is missing or cannot be read.
    DataProblem
        A column is missing or there twice, a value is not a number, or a landmark lacks one.
    """
    moving, fixed = landmark_points(cells(read_text(path, "landmarks")), path.name)
    bad = int((~np.isfinite(np.hstack([moving, fixed]))).any(axis=1).sum())
    if bad:
        raise DataProblem(f"{bad} of {len(moving)} landmarks in '{path.name}' lack a number. Complete or remove them.")
    return moving, fixed


def landmark_points(rows: Sequence[Sequence[str]], name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the left (moving) and right (fixed) points of a table of MAGPIE, (n, 2) each; NaN where a cell is empty.

    Parameters
    ----------
    rows
        Its cells, the header first; the case of titles does not matter.
    name
        Of the file, for messages.

    Raises
    ------
    DataProblem
        A column is missing or there twice, or a value is not a number.
    """
    header = [title.lower() for title in rows[0]]
    wrong = [column for column in LANDMARK_COLUMNS if header.count(column.lower()) != 1]
    if wrong:
        raise DataProblem(
            f"'{name}' has no single column {', '.join(wrong)}. MAGPIE writes {', '.join(LANDMARK_COLUMNS)}, each once."
        )
    points = numbers(rows[1:], {column: header.index(column.lower()) for column in LANDMARK_COLUMNS}, name)
    return points[:, :2], points[:, 2:]


def read_magpie(
    path: Path,
    opening: Opening | None = None,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Section:
    """Read counts, intensities and landmarks of a MAGPIE project.

    Landmarks become the two points elements of `napari_st2msi.io.landmarks`, in µm; registration starts
    from them. The size of an MSI pixel is not in the files: without `opening.pixel_size_um` it is estimated
    from the landmarks.

    Raises
    ------
    FileProblem
        Counts or intensities are missing, as in folders that were shared without them.
    DataProblem
        The two MSI tables do not list the same pixels, or values are no numbers.
    """
    opening = opening or Opening()
    check(cancelled)
    visium = _visium_folder(path)
    intensities = _find(path, _INTENSITIES)
    if visium is None:
        raise FileProblem(f"'{path}' has MSI but no folder 'visium' with the output of Space Ranger.")
    if intensities is None:
        raise FileProblem(
            f"'{path}' has positions of MSI pixels but no intensities. MAGPIE keeps them in 'msi/{_INTENSITIES}'; "
            "without them there are no ion images to open."
        )
    geometry = visium_geometry(visium, um_per_pixel=opening.um_per_unit)
    st = read_visium(visium, opening, progress=progress.part(0.0, 0.5), cancelled=cancelled)
    landmarks, notes = read_landmarks(path, geometry)
    table, xy, file = _msi(path, intensities, progress.part(0.5, 0.9), cancelled)
    known = None if opening.pixel_size_um or landmarks is None else _pixel_from(landmarks)
    scale = msi_scale(xy, opening.model_copy(update={"um_per_unit": None}), known_um=known)
    if known is not None:
        notes.append(
            f"The size of an MSI pixel is estimated from the landmarks: {known:.4g} µm. Give it if you know better."
        )
    section = combine(st, _msi_section(path, table, xy, scale.um_per_unit, scale.pixel_um), opening)
    if file.name == _TURNED:
        notes.append(f"Positions of MSI pixels are those turned in MAGPIE ('{_TURNED}').")
    notes += scale.notes
    if landmarks is not None:
        moving, fixed = landmarks
        ids = [f"L{i + 1}" for i in range(len(moving))]
        for name, element in landmark_elements(ids, moving * scale.um_per_unit, fixed).items():
            section.sdata.points[name] = element
        notes.append(f"{len(ids)} landmarks came with the project. Register to lay MSI over ST.")
    progress(1.0, "opened")
    return Section(
        section.sdata,
        section.roles,
        name=opening.name or path.resolve().name,
        path=path,
        notes=(*section.notes, *notes),
    )


def read_landmarks(
    path: Path, geometry: VisiumGeometry
) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]] | None, list[str]]:
    """Return landmarks of a project, MSI pixels (n, 2) and ST µm (n, 2), or None; and notes.

    Where people picked through the MSI's own H&E, the points on that H&E are carried back to MSI pixels by
    the affine map of the first set of landmarks.

    Raises
    ------
    FileProblem, DataProblem
        A file of landmarks cannot be used.
    """
    direct, to_he, between = (_find(path, name) for name in (_DIRECT, _TO_HE, _BETWEEN_HE))
    if direct is not None:
        moving, fixed = read_landmarks_csv(direct)
        return (moving, fixed * geometry.hires_um), []
    if to_he is None or between is None:
        return None, [] if to_he is None and between is None else [
            f"Landmarks through the MSI's own H&E need both '{_TO_HE}' and '{_BETWEEN_HE}'; one is missing."
        ]
    msi, he = read_landmarks_csv(to_he)
    he_again, fixed = read_landmarks_csv(between)
    if len(msi) < 3:
        raise DataProblem(f"'{_TO_HE}' has {len(msi)} landmarks; 3 are needed to carry points from H&E to MSI.")
    fit, *_ = np.linalg.lstsq(np.column_stack([he, np.ones(len(he))]), msi, rcond=None)
    moving = np.column_stack([he_again, np.ones(len(he_again))]) @ fit
    return (moving, fixed * geometry.hires_um), [
        "Landmarks were picked through the MSI's own H&E; their places in MSI are computed."
    ]


def _msi(
    path: Path, intensities: Path, progress: Progress, cancelled: Callable[[], bool]
) -> tuple[IonTable, NDArray[np.float64], Path]:
    """Return intensities with their positions, matched by `spot_id`."""
    file = _find(path, _TURNED) or _find(path, _METADATA)
    if file is None:
        raise FileProblem(f"'{path}' has '{_INTENSITIES}' but no '{_METADATA}' with the positions of the pixels.")
    table = read_ion_table(intensities, progress=progress, cancelled=cancelled)
    try:
        metadata = pd.read_csv(file, dtype=str)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise FileProblem(f"'{file}' cannot be read: {str(error).splitlines()[0]}.") from error
    for name, columns in ((intensities.name, table.other), (file.name, metadata)):
        if "spot_id" not in columns:
            raise DataProblem(f"'{name}' has no column spot_id, so intensities and positions cannot be matched.")
        if columns["spot_id"].duplicated().any():
            raise DataProblem(f"'{name}' lists {int(columns['spot_id'].duplicated().sum()):,} pixels twice.")
    rows = pd.Index(metadata["spot_id"]).get_indexer(pd.Index(table.other["spot_id"]))
    if (rows < 0).any():
        raise DataProblem(
            f"{int((rows < 0).sum()):,} of {len(rows):,} pixels of '{intensities.name}' are not in '{file.name}', "
            f"for example '{table.other['spot_id'][rows < 0].iloc[0]}'."
        )
    metadata = metadata.iloc[rows].reset_index(drop=True)
    return IonTable(table.intensities, table.mz, table.names, metadata), positions_of(metadata, file.name), file


def _msi_section(
    path: Path, table: IonTable, xy: NDArray[np.float64], um_per_unit: float, pixel_um: tuple[float, float]
) -> Section:
    from anndata import AnnData

    from napari_st2msi.io.build import build_section

    intensities, positions, other, notes = measured(table, xy)
    obs = other.set_index("spot_id")
    obs.index.name = None
    return build_section(
        name=path.name,
        msi=AnnData(X=intensities, obs=obs, var=pd.DataFrame({"mz": table.mz}, index=table.names)),
        msi_xy=positions * um_per_unit,
        pixel_size_um=pixel_um,
        notes=tuple(notes),
    )


def _pixel_from(landmarks: tuple[NDArray[np.float64], NDArray[np.float64]]) -> float | None:
    """Return µm per MSI unit by the affine map of the landmarks, None where they do not determine one."""
    moving, fixed = landmarks
    if len(moving) < 3:
        return None
    lifted = np.column_stack([moving, np.ones(len(moving))])
    fit, _, rank, _ = np.linalg.lstsq(lifted, fixed, rcond=None)
    size = float(np.sqrt(abs(np.linalg.det(fit[:2]))))
    return size if rank == 3 and size > 0 else None


def _visium_folder(path: Path) -> Path | None:
    for place in (path / "visium" / "outs", path / "visium", path / "Visium", path):
        if place.is_dir() and is_visium(place):
            return place
    return None


def _find(path: Path, name: str) -> Path | None:
    """Return a file of the project wherever MAGPIE or a flat copy has it."""
    for place in (path / "msi", path / "MSI", path):
        if (place / name).is_file():
            return place / name
    return None
