"""Landmarks as elements of a SpatialData: points or circles, as `align_elements_using_landmarks` takes them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, FileProblem
from napari_st2msi.io.landmarks import FIXED, MOVING, landmark_elements
from napari_st2msi.io.store import in_words, is_store, read_store, recover
from napari_st2msi.registration.landmark_files.found import Found
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.section import MSI_SYSTEM, SYSTEM, Section
from napari_st2msi.shapes import map_points

if TYPE_CHECKING:
    from spatialdata import SpatialData

# Words in the names of elements, which tell the sides apart.
_SIDES = ({"msi", "moving", "source"}, {"st", "fixed", "reference", "references", "target", "visium"})


def read(section: Section, path: Path) -> Found:
    """Return the pairs of a SpatialData zarr that holds a landmark element for each side.

    Raises
    ------
    FileProblem
        It cannot be read.
    DataProblem
        There are no two such elements, or more than two.
    """
    try:
        sdata = read_store(path)
    except Exception as error:  # zarr and spatialdata raise whatever they like on damaged stores
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise FileProblem(f"The SpatialData '{path}' cannot be read: {reason}.") from error
    return from_elements(section, sdata, *_named(sdata, path.name))


def from_elements(section: Section, sdata: SpatialData, moving: str, fixed: str) -> Found:
    """Return the pairs of two elements: points, or circles as napari-spatialdata draws them.

    Coordinates are brought to µm through ``st2msi_msi`` and ``st2msi`` where the elements have them, else
    through a system that they share with the MSI or ST element of the section. Rows with the same `id`
    belong together; without ids, the order pairs them.

    Parameters
    ----------
    section
        The section they belong to.
    sdata
        What holds the elements; it may be the section's own.
    moving, fixed
        Names of the elements on the MSI side and on the ST side.

    Raises
    ------
    DataProblem
        An element is missing or of another kind, has no system in common with the section, or the two
        hold different numbers of points.
    """
    one = _points(sdata, moving, section, section.roles.msi_element, MSI_SYSTEM)
    other = _points(sdata, fixed, section, section.roles.st_element or section.roles.image, SYSTEM)
    if one.index.name == other.index.name == "id" and one.index.is_unique and other.index.is_unique:
        ids = one.index.intersection(other.index, sort=False)
        lost = max(len(one), len(other)) - len(ids)
        notes = (f"{lost} landmarks have no counterpart and are left out.",) if lost else ()
        return Found(one.loc[ids].to_numpy(), other.loc[ids].to_numpy(), tuple(map(str, ids)), notes=notes)
    if len(one) != len(other):
        raise DataProblem(
            f"'{moving}' holds {len(one)} points and '{fixed}' {len(other)}. Their order pairs them, so both need the "
            "same number."
        )
    return Found(one.to_numpy(), other.to_numpy())


def write(landmarks: Landmarks, path: Path) -> None:
    """Write the landmarks that are used as a SpatialData zarr with two points elements.

    `landmarks_st` lies in ``st2msi``, `landmarks_msi` in ``st2msi_msi``, both in µm: what
    `spatialdata.transformations.align_elements_using_landmarks` takes with these two systems.

    Raises
    ------
    FileProblem
        Something else is in the way, or it cannot be written.
    """
    from spatialdata import SpatialData

    used = landmarks.enabled
    ids = [key for key, there in zip(landmarks.ids, used, strict=True) if there]
    elements = landmark_elements(ids, landmarks.moving[used], landmarks.fixed[used])
    if path.exists() and not _holds_only(path, {*elements}):
        raise FileProblem(
            f"'{path}' is there and holds more than landmarks, so it is not replaced. Choose another name; to keep "
            "landmarks in the section itself, register and save it."
        )
    new, old = (path.with_name(f".{path.name}.st2msi-{word}") for word in ("new", "old"))
    recover(path)
    for left_over in (new, old):
        shutil.rmtree(left_over, ignore_errors=True)
    try:
        SpatialData.init_from_elements(elements).write(new)
        if path.exists():
            os.rename(path, old)
        os.rename(new, path)
    except OSError as error:
        raise FileProblem(in_words(error, path)) from error
    finally:
        recover(path)
        for left_over in (new, old):
            shutil.rmtree(left_over, ignore_errors=True)


def _holds_only(path: Path, names: set[str]) -> bool:
    return is_store(path) and {name for _, name, _ in read_store(path).gen_elements()} <= names


def _named(sdata: SpatialData, name: str) -> tuple[str, str]:
    """Return the names of the two landmark elements."""
    known = [*sdata.points, *sdata.shapes]
    if {MOVING, FIXED} <= {*known}:
        return MOVING, FIXED
    landmarks = [each for each in known if "landmark" in each.lower()]
    words_of = {each: {*each.lower().replace("-", "_").split("_")} for each in landmarks}
    sides = [[each for each in landmarks if words_of[each] & words] for words in _SIDES]
    if any(len(side) != 1 for side in sides) or sides[0] == sides[1]:
        raise DataProblem(
            f"'{name}' must hold one points or circles element of landmarks for each side, called '{MOVING}' and "
            f"'{FIXED}'. It holds: {', '.join(known) or 'neither points nor shapes'}."
        )
    return sides[0][0], sides[1][0]


def _points(sdata: SpatialData, name: str, section: Section, own: str | None, system: str) -> pd.DataFrame:
    """Return x and y in µm, indexed by `id` where there is one."""
    from spatialdata.models import PointsModel, ShapesModel, get_model

    if name not in sdata:
        raise DataProblem(f"There is no element '{name}'. Choose the landmarks of either side.")
    element = sdata[name]
    model = get_model(element)
    if model is PointsModel:
        frame = element.compute()
        xy = frame[["x", "y"]].to_numpy(dtype=np.float64)
    elif model is ShapesModel and set(element.geometry.geom_type) <= {"Point"}:
        frame = element
        xy = np.column_stack([frame.geometry.x, frame.geometry.y]).astype(np.float64)
    else:
        raise DataProblem(f"'{name}' holds neither points nor circles, so it holds no landmarks.")
    matrix = _to_um(element, name, None if own is None else section.sdata[own], system)
    points = pd.DataFrame(map_points(matrix, xy), columns=["x", "y"])
    return points.set_axis(pd.Index(frame["id"], name="id")) if "id" in frame else points


def _to_um(element: Any, name: str, own: Any, system: str) -> NDArray[np.float64]:
    from spatialdata.transformations import get_transformation

    def matrices(of: Any) -> dict[str, NDArray[np.float64]]:
        known = get_transformation(of, get_all=True)
        return {key: np.asarray(each.to_affine_matrix(("x", "y"), ("x", "y")), float) for key, each in known.items()}

    here = matrices(element)
    if system in here:
        return here[system]
    there = {} if own is None else matrices(own)
    common = sorted(set(here) & set(there), key=lambda each: each != "global")
    if not common or system not in there:
        raise DataProblem(
            f"'{name}' lies in {', '.join(here) or 'no coordinate system'}, which has nothing in common with the "
            f"section. Give it the system '{system}' in µm, or that of the element it was drawn on."
        )
    return np.asarray(there[system] @ np.linalg.inv(there[common[0]]) @ here[common[0]])
