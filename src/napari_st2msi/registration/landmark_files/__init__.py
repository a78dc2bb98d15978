"""Landmark files of all formats: read to `Landmarks` in µm, and written from them.

============  ===========================================  =============================  =========================
format        what is in it                                units                          ids · pairs not used
============  ===========================================  =============================  =========================
json          our own, with version and section            µm                             kept · kept
csv           a table with a header, `msi_x_um` or alike   as its columns say: µm, mm,    kept · kept
                                                           pixels; else what fits
magpie        `X_left, Y_left, X_right, Y_right`           MSI pixels, hires pixels       counted · left out
bigwarp       name, active, moving, target; no header      µm; read: what fits            kept · kept
elastix       two point sets, `…_moving` and `…_fixed`     µm; `index`: pixels; `point`:  counted · left out
                                                           what fits
spatialdata   two points or circles elements in a zarr     µm, through their systems      kept · left out
============  ===========================================  =============================  =========================

MSI is the moving side, ST the fixed one; BigWarp and spatialdata say *target* and *reference*. Pixels are those of the
MSI grid and of the full histology, and the centre of the first is 0. "What fits": where a file does not say its units,
they are those of µm, pixels and mm in which the landmarks lie over the images and are as far apart on one side as on
the other, for both are the same tissue; a note says so unless it is µm.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from napari_st2msi.errors import DataProblem, FileProblem, RecipeProblem
from napari_st2msi.io.one_file import write_texts
from napari_st2msi.io.text_table import cells, read_text
from napari_st2msi.registration.landmark_files import bigwarp, elastix, elements, magpie, own, table
from napari_st2msi.registration.landmark_files.found import Found
from napari_st2msi.registration.landmark_files.places import from_um, landmarks_in_um
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.section import Section

#: Formats by name, with the words of a menu.
FORMATS: dict[str, str] = {
    "json": "napari-st2msi landmarks (JSON)",
    "csv": "table in µm (CSV)",
    "magpie": "MAGPIE (CSV)",
    "bigwarp": "BigWarp (CSV)",
    "elastix": "elastix point sets (two text files)",
    "spatialdata": "SpatialData elements (zarr)",
}
# What a name says about the format to write.
_SUFFIXES = {".json": "json", ".csv": "csv", ".txt": "elastix", ".pts": "elastix", ".zarr": "spatialdata"}
_WITHOUT_UNUSED = ("magpie", "elastix", "spatialdata")


def find_landmarks(
    section: Section, source: Landmarks | str | Path | None = None, *, notes: list[str] | None = None
) -> Landmarks:
    """Return landmarks, wherever they are.

    Parameters
    ----------
    section
        The section they belong to.
    source
        Landmarks themselves; a file of any format in `FORMATS`; None for those that the section carries.
    notes
        A list that receives, in words, what had to be assumed of a file.

    Raises
    ------
    FileProblem, DataProblem, GeometryProblem
        As `read_landmarks`; or the section carries none.
    """
    if isinstance(source, Landmarks):
        return source
    if source is not None:
        return read_landmarks(section, source, notes=notes)
    from napari_st2msi.io.landmarks import read_landmark_elements

    kept = read_landmark_elements(section.sdata)
    if kept is None:
        raise DataProblem(
            f"Section '{section.name}' carries no landmarks. Give a file, for example a CSV with the columns "
            f"{', '.join(table.COLUMNS[:5])}."
        )
    ids, disabled = tuple(map(str, kept[0])), _disabled(section)
    return Landmarks(ids, kept[1], kept[2], np.array([key not in disabled for key in ids], dtype=bool))


def read_landmarks(
    section: Section, path: str | Path, format: str | None = None, *, notes: list[str] | None = None
) -> Landmarks:
    """Read the landmarks of a section from a file.

    Parameters
    ----------
    section
        The section they belong to: it says how large pixels are, and where its images lie.
    path
        The file; of elastix, either of the two; of spatialdata, the zarr.
    format
        One of `FORMATS`; found from the content when None.
    notes
        A list that receives, in words, what had to be assumed and what should be looked at.

    Returns
    -------
    Landmarks in µm of ``st2msi_msi`` and ``st2msi``.

    Raises
    ------
    FileProblem
        It cannot be read, is damaged, or is from a later version.
    DataProblem
        A column is missing, a value is not a number, a pair is there twice, or there is none.
    GeometryProblem
        Landmarks lie far outside the images, or their units cannot be brought to µm in this section.
    RecipeProblem
        There is no such format.
    """
    path = Path(path).expanduser()
    _check_format(format)
    found = _read(section, path, format)
    if not len(found.moving):
        raise DataProblem(f"'{path.name}' holds no landmarks. Choose another file.")
    landmarks, remarks = landmarks_in_um(section, found, path.name)
    _refuse_twins(landmarks, path.name)
    if notes is not None:
        notes += remarks
    return landmarks


def write_landmarks(
    section: Section,
    landmarks: Landmarks,
    path: str | Path,
    format: str | None = None,
    *,
    notes: list[str] | None = None,
) -> list[Path]:
    """Write landmarks to a file; one that is there is replaced in one step.

    Parameters
    ----------
    section
        The section they belong to.
    path
        The file. Of elastix two are written, with *moving* and *fixed* in their names.
    format
        One of `FORMATS`; found from the ending of the name when None.
    notes
        A list that receives, in words, what the format cannot hold.

    Returns
    -------
    The files written.

    Raises
    ------
    FileProblem
        It cannot be written.
    GeometryProblem
        The section does not tell the size of the pixels that the format counts in.
    RecipeProblem
        There is no such format, or the name does not tell one.
    """
    path = Path(path).expanduser()
    format = format or _SUFFIXES.get(path.suffix.lower())
    if format is None:
        raise RecipeProblem(f"'{path.name}' does not tell a format. Let it end in {', '.join(_SUFFIXES)}.")
    _check_format(format)
    unused = int((~landmarks.enabled).sum())
    if unused and format in _WITHOUT_UNUSED and notes is not None:
        notes.append(f"{unused} disabled landmarks were left out: {FORMATS[format]} cannot say that they are not used.")
    if format == "spatialdata":
        elements.write(landmarks, path)
        return [path]
    texts = elastix.write(landmarks, path) if format == "elastix" else {path: _text(section, landmarks, format)}
    write_texts(texts)
    return list(texts)


def _disabled(section: Section) -> set[str]:
    """Return the ids of kept landmarks that are not used.

    Elements hold points only: it stands with the registration that put them there, the newest with landmarks.
    """
    for facts in (section.attrs.get("registration"), *reversed(section.attrs.get("registration_history") or [])):
        try:
            landmarks = facts["landmarks"] if facts else {"ids": []}
            if landmarks["ids"]:
                return {key for key, used in zip(landmarks["ids"], landmarks["enabled"], strict=True) if not used}
        except (KeyError, TypeError, ValueError):  # damaged, which registering again mends
            continue
    return set()


def _read(section: Section, path: Path, format: str | None) -> Found:
    if path.is_dir():
        if format not in (None, "spatialdata"):
            raise FileProblem(f"'{path}' is a folder. Choose a file of landmarks.")
        return elements.read(section, path)
    text = read_text(path, "landmarks")
    if format == "elastix" or (format is None and elastix.is_point_set(text)):
        return elastix.read(path)
    if text.lstrip()[0] in "{[":
        return _from_json(text, path.name, section)
    rows = cells(text)
    if format == "bigwarp" or (format is None and bigwarp.is_bigwarp(rows)):
        return bigwarp.read(rows, path.name)
    if format == "magpie" or (format is None and magpie.is_magpie(rows[0])):
        return magpie.read(rows, path.name)
    if format in ("json", "spatialdata"):
        raise FileProblem(f"'{path.name}' is not of the format {FORMATS[format]}.")
    return table.read(rows, path.name)


def _from_json(text: str, name: str, section: Section) -> Found:
    try:
        facts: Any = json.loads(text)
    except json.JSONDecodeError as error:
        raise FileProblem(f"'{name}' is damaged: no JSON after line {error.lineno}.") from error
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, brackets by the thousand
        raise FileProblem(f"'{name}' is damaged. Choose another file.") from error
    if own.is_own(facts):
        return own.read(facts, name, section.name)
    if bigwarp.is_project(facts):
        return bigwarp.read_project(facts, name)
    raise FileProblem(f"'{name}' holds no landmarks of napari-st2msi or BigWarp. Choose another file.")


def _text(section: Section, landmarks: Landmarks, format: str) -> str:
    if format == "json":
        return own.write(landmarks, section.name)
    if format == "bigwarp":
        return bigwarp.write(landmarks)
    if format == "magpie":
        used = landmarks.enabled
        return magpie.write(
            from_um(section, "MSI", landmarks.moving[used], "magpie"),
            from_um(section, "ST", landmarks.fixed[used], "magpie"),
        )
    return table.write(landmarks)


def _check_format(format: str | None) -> None:
    if format is not None and format not in FORMATS:
        raise RecipeProblem(f"There is no format '{format}' of landmarks. Choose one of: {', '.join(FORMATS)}.")


def _refuse_twins(landmarks: Landmarks, name: str) -> None:
    seen: dict[tuple[float, ...], str] = {}
    for key, moving, fixed in zip(landmarks.ids, landmarks.moving.tolist(), landmarks.fixed.tolist(), strict=True):
        twin = seen.setdefault((*moving, *fixed), key)
        if twin != key:
            raise DataProblem(f"Landmarks {twin} and {key} in '{name}' are the same pair of points. Remove one.")
