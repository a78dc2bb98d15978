"""Where `register` reads landmarks and writes what was asked for, for one section or many."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_st2msi.cli.console import Run, plain
from napari_st2msi.errors import DataProblem, FileProblem, RecipeProblem

if TYPE_CHECKING:
    from napari_st2msi.registration.registration import Registration
    from napari_st2msi.section import Section

#: Endings of files of landmarks that are looked for in a folder, in this order.
_ENDINGS = (".csv", ".json", "_moving.txt", "_moving.pts", ".zarr")


@dataclass(frozen=True)
class Places:
    """Where what belongs to one section is read and written; None for nowhere, or for the section itself."""

    section: Path
    landmarks: Path | None
    out: Path | None
    report: Path | None
    overlay: Path | None
    displacement: Path | None


def places_of(
    path: Path,
    several: bool,
    landmarks: Path | None,
    out: Path | None,
    report: Path | None,
    overlay: Path | None,
    displacement: Path | None,
) -> Places:
    """Return where what belongs to the section in `path` goes: of several sections, into folders."""

    def beside(target: Path | None, ending: str) -> Path | None:
        if target is None:
            return None
        return target / f"{path.resolve().stem}{ending}" if several or target.is_dir() else target

    return Places(
        path,
        landmarks,
        out / path.name if several and out is not None else out,
        beside(report, ".json"),
        beside(overlay, ".png"),
        beside(displacement, ".mha"),
    )


def check_places(places: list[Places], several: bool, overwrite: bool) -> None:
    """Refuse early what would fail late, and make the folders of a batch."""
    from napari_st2msi.io.store import is_store
    from napari_st2msi.registration.displacement import FORMATS

    names = [one.section.stem for one in places]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataProblem(f"Two sections are called '{twice}'. What is written for them would be mixed up; rename one.")
    given = places[0].landmarks
    if given is not None and not given.exists():
        raise FileProblem(f"There is no '{given}'. Check --landmarks.")
    if several and given is not None and (not given.is_dir() or is_store(given)):
        raise RecipeProblem(
            f"'{given}' is one file, but landmarks belong to one section. Give a folder with a file for each section, "
            "named like it."
        )
    for one in places:
        for option, target, endings in (
            ("--report", one.report, (".json",)),
            ("--overlay", one.overlay, (".png",)),
            ("--displacement", one.displacement, FORMATS),
        ):
            if target is not None and target.suffix.lower() not in endings:
                raise RecipeProblem(f"{option} writes {' or '.join(endings)}, and '{target.name}' ends otherwise.")
        for target in filter(None, (one.report, one.overlay, one.displacement, one.out)):
            if is_store(target.parent):
                raise FileProblem(f"'{target.parent}' is a zarr: nothing else belongs into it. Choose another place.")
            if several:
                _make_folder(target.parent)
            elif not target.parent.is_dir():
                raise FileProblem(f"There is no folder '{target.parent}'. Make it, or choose another place.")
        if one.out is not None and one.out.exists() and not overwrite:
            raise FileProblem(f"'{one.out}' is already there. Choose another name, or add --overwrite.")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileProblem(f"'{folder}' cannot be a folder: {error.strerror or error}. Choose another place.") from error


def file_of(section: Section, places: Places) -> Path:
    """Return the file of landmarks of a section: the one given, or the one in a folder that is named like it.

    Raises
    ------
    FileProblem
        The folder has none, or the report would be written over it.
    """
    from napari_st2msi.io.store import is_store

    path = places.landmarks
    assert path is not None
    if path.is_dir() and not is_store(path):
        names = dict.fromkeys((section.name, places.section.stem))
        tried = [path / f"{name}{ending}" for name in names for ending in _ENDINGS]
        found = next((each for each in tried if each.exists()), None)
        if found is None:
            raise FileProblem(
                f"'{path}' has no landmarks of section '{section.name}'. Name the file '{tried[0].name}'."
            )
        path = found
    if places.report is not None and places.report.exists() and path.samefile(places.report):
        raise FileProblem(f"The report would take the place of the landmarks in '{path}'. Choose another name for it.")
    return path


def check_kept(places: Places) -> None:
    """Refuse to begin where the result could not be kept.

    Raises
    ------
    FileProblem
        The section was not read from a zarr that can be updated, and nothing says where to write it; or the
        folder may not be written.
    """
    from napari_st2msi.io.store import in_words, is_store

    if places.out is None and not is_store(places.section):
        raise FileProblem(f"'{places.section}' is no zarr that could be updated. Say where to write by --out.")
    for target in filter(None, (places.out or places.section, places.report, places.overlay, places.displacement)):
        if not os.access(target.resolve().parent, os.W_OK):
            raise FileProblem(in_words(PermissionError(errno.EACCES, ""), target.resolve()))


def write_beside(places: Places, section: Section, registration: Registration, run: Run) -> dict[str, Path]:
    """Write the pictures and fields that were asked for beside the section, and return the files."""
    files: dict[str, Path] = {}
    if places.displacement is not None:
        from napari_st2msi.registration.displacement import write_displacement_field

        with run.progress("Writing the displacement field") as progress:
            write_displacement_field(
                section, registration, places.displacement, progress=progress, cancelled=run.cancelled
            )
        files["displacement"] = places.displacement
    if places.overlay is not None:
        from napari_st2msi.report.registration import write_overlay

        write_overlay(places.overlay, section, registration)
        files["overlay"] = places.overlay
    return files


def write_report(path: Path, facts: dict[str, Any]) -> Path:
    """Write all that is known of a registration as JSON, and return the file."""
    from napari_st2msi.io.one_file import write_texts

    write_texts({path: json.dumps(plain(facts), indent=2, ensure_ascii=False) + "\n"})
    return path
