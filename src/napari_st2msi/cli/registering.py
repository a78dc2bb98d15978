"""The command `register`: MSI onto ST, by landmarks or by what was measured, for one section or many."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from napari_st2msi.cli.console import USERS_PROBLEM, Run, written
from napari_st2msi.cli.registering_files import (
    Places,
    check_kept,
    check_places,
    file_of,
    places_of,
    write_beside,
    write_report,
)
from napari_st2msi.cli.sections import OverwriteOption, open_path
from napari_st2msi.errors import GeometryProblem, RecipeProblem, St2msiError
from napari_st2msi.io.opening import Opening
from napari_st2msi.progress import Cancelled, check

if TYPE_CHECKING:
    from napari_st2msi.registration.landmarks import Landmarks
    from napari_st2msi.registration.registration import Registration
    from napari_st2msi.section import Section

Transforms = Literal["auto", "rigid", "similarity", "affine", "projective", "thin_plate"]
_MIRRORED = {"auto": None, "yes": True, "no": False}


@dataclass(frozen=True)
class Choices:
    """What was asked for, the same for all sections."""

    transform: Transforms
    mirrored: bool | None
    automatic: bool
    refine: Literal["affine", "free_form"]
    accept_untrusted: bool


def register(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="SECTION", help="Sections as 'convert' wrote them.", show_default=False),
    ],
    landmarks: Annotated[
        Path | None,
        typer.Option(
            "--landmarks",
            metavar="FILE",
            help="Pairs of points picked in MSI and in ST: CSV, JSON, BigWarp, elastix, MAGPIE, SpatialData. Several "
            "sections: a folder with a file for each, named like it. Default: those that came with the section.",
        ),
    ] = None,
    transform: Annotated[
        Transforms,
        typer.Option(
            "--transform",
            help="auto: the one that predicts landmarks best when they are left out; rigid: shift and turn; "
            "similarity: and scale; affine: and shear; projective; thin_plate: bends. All may mirror.",
        ),
    ] = "auto",
    mirrored: Annotated[
        Literal["auto", "yes", "no"],
        typer.Option("--mirrored", help="Whether the MSI is mirrored. auto: whichever fits the landmarks."),
    ] = "auto",
    automatic: Annotated[
        bool,
        typer.Option(
            "--automatic",
            help="Find it from what was measured. Without --landmarks nothing else is needed; with them it starts "
            "there, and tells whether refinement helped.",
        ),
    ] = False,
    refine: Annotated[
        Literal["affine", "free_form"],
        typer.Option("--refine", help="How far --automatic goes: free_form bends, where that holds better."),
    ] = "free_form",
    accept_untrusted: Annotated[
        bool,
        typer.Option("--accept-untrusted", help="Keep what --automatic found even where it does not trust it."),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE.json", help="Write everything there is to say. Several: a folder."),
    ] = None,
    overlay: Annotated[
        Path | None, typer.Option("--overlay", metavar="FILE.png", help="Draw MSI over ST. Several: a folder.")
    ] = None,
    displacement: Annotated[
        Path | None,
        typer.Option(
            "--displacement",
            metavar="FILE.mha",
            help="Write the field by which ITK resamples MSI onto ST. Several: a folder.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="OUT.zarr",
            help="Write here, several into a folder. Default: into the section itself.",
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    *,
    opening: Opening,
    run: Run,
) -> None:
    """Lay MSI over ST, and say how far off it is where it was not told.

    The error that counts is the left-out one: each landmark is predicted from the others.
    What is found automatically and not trusted is shown (--report, --overlay), not kept.

    For example:

      napari-st2msi register section.zarr --landmarks landmarks.csv

      napari-st2msi register section.zarr --automatic --overlay overlay.png

      napari-st2msi register *.zarr --landmarks picked/ --report reports/ --overlay overlays/
    """
    choices = Choices(transform, _MIRRORED[mirrored], automatic, refine, accept_untrusted)
    _check(choices, landmarks)
    several = len(paths) > 1
    if several and opening.name:
        raise RecipeProblem("--name is the name of one section, and there are several. Leave it out.")
    places = [places_of(path, several, landmarks, out, report, overlay, displacement) for path in paths]
    check_places(places, several, overwrite)
    if several:
        _many(places, choices, overwrite, opening, run)
    else:
        facts, lines = _one(places[0], choices, overwrite, opening, run)
        run.result(facts, lines=lines)


def _many(places: list[Places], choices: Choices, overwrite: bool, opening: Opening, run: Run) -> None:
    """Register one section after the other; what fails does not stop the others."""
    done: dict[str, dict[str, Any]] = {}
    failed: dict[str, str] = {}
    for place in places:
        name = place.section.name
        try:
            check(run.cancelled)
            done[name], _ = _one(place, choices, overwrite, opening, run)
        except St2msiError as error:
            failed[name] = str(error)
        except Cancelled as stop:
            rest = [each.section.name for each in places if each.section.name not in done]
            before = f" Registered before: {', '.join(done)}." if done else ""
            raise Cancelled(f"Stopped.{before} Not registered: {', '.join(rest)}.") from stop
        run.say(f"{name}: {failed[name] if name in failed else _in_short(done[name])}")
    summary: dict[str, Any] = {name: _in_short(facts) for name, facts in done.items()}
    if failed:
        summary["not registered"] = [f"{name}: {why}" for name, why in failed.items()]
    run.result({"sections": [{"file": name} | facts for name, facts in done.items()], "failed": failed}, lines=summary)
    if failed:
        raise typer.Exit(USERS_PROBLEM)


def _one(
    places: Places, choices: Choices, overwrite: bool, opening: Opening, run: Run
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Register one section; return the facts, and the lines that a person reads."""
    from napari_st2msi.pipeline import apply_registration, save

    section = open_path(places.section, None, opening, run)
    check_kept(places)
    notes: list[str] = []
    found = _landmarks(section, places, choices, notes)
    registration = (
        _automatic(section, found, choices, run) if choices.automatic else _by_landmarks(section, found, choices)
    )
    kept = choices.accept_untrusted or registration.trust is None or registration.trust.trusted
    if kept:
        with run.progress(f"Judging the registration of {section.name}") as progress:
            apply_registration(section, registration, progress=progress, cancelled=run.cancelled)
    # Whoever stops it wants nothing written, not even the best so far.
    check(run.cancelled)
    files = write_beside(places, section, registration, run)
    facts = {**registration.to_dict(), "section": section.name, "notes": notes, "kept": kept}
    if kept:
        run.say(f"Writing {written(places.out or places.section)} …")
        facts["path"] = str(save(section, places.out, overwrite=overwrite))
        notes += _stale(section)
    if places.report is not None:
        files["report"] = write_report(places.report, facts)
    facts["files"] = {name: str(path) for name, path in files.items()}
    if not kept:
        raise GeometryProblem(_untrusted(registration, files))
    lines = _lines(registration, notes) | {"written to": [written(facts["path"]), *map(written, files.values())]}
    return facts, lines


def _by_landmarks(section: Section, found: Landmarks | None, choices: Choices) -> Registration:
    from napari_st2msi.registration.fit import fit
    from napari_st2msi.registration.surroundings import surroundings

    assert found is not None
    around = vars(surroundings(section))
    return fit(found, choices.transform, reflection=choices.mirrored, **around)


def _automatic(section: Section, found: Landmarks | None, choices: Choices, run: Run) -> Registration:
    from napari_st2msi.pipeline import propose_registration

    start = None if found is None else _by_landmarks(section, found, choices)
    with run.progress(f"Registering {section.name}") as progress:
        return propose_registration(
            section, found, start=start, refine=choices.refine, progress=progress, cancelled=run.cancelled
        )


def _landmarks(section: Section, places: Places, choices: Choices, notes: list[str]) -> Landmarks | None:
    from napari_st2msi.registration.landmark_files import find_landmarks, read_landmarks

    if places.landmarks is not None:
        return read_landmarks(section, file_of(section, places), notes=notes)
    return None if choices.automatic else find_landmarks(section)


def _check(choices: Choices, landmarks: Path | None) -> None:
    if not choices.automatic and choices.accept_untrusted:
        raise RecipeProblem("--accept-untrusted is about what --automatic finds. Add --automatic, or leave it out.")
    if choices.automatic and landmarks is None and (choices.transform != "auto" or choices.mirrored is not None):
        raise RecipeProblem(
            "--transform and --mirrored are about landmarks, and --automatic starts without any. Add --landmarks, or "
            "leave them out; --refine says how far it goes."
        )


def _untrusted(registration: Registration, files: dict[str, Path]) -> str:
    assert registration.trust is not None
    look = f" Look at '{written(files['overlay'])}'." if "overlay" in files else " Look at it with --overlay."
    return (
        f"What was found is not trusted, so the section stays as it was. {' '.join(registration.trust.reasons)}{look} "
        "Pick landmarks and give them by --landmarks, or keep it all the same by --accept-untrusted."
    )


def _stale(section: Section) -> list[str]:
    from napari_st2msi.pairing.pair import stale

    why = stale(section) if section.paired else None
    return [] if why is None else [why]


def _left_out(error: dict[str, float]) -> str:
    if error["median"] != error["median"]:
        return "unknown: too few landmarks to leave one out"
    return f"missed by {error['median']:,.0f} µm (median), {error['max']:,.0f} µm at most"


def _lines(registration: Registration, notes: list[str]) -> dict[str, Any]:
    lines: dict[str, Any] = {"transform": registration.transform.label}
    count = len(registration.landmarks)
    if count:
        lines["landmarks"] = f"{int(registration.landmarks.enabled.sum())} used of {count}"
        lines["left out"] = _left_out(registration.left_out)
        if registration.source == "landmarks":
            lines["in sample"] = f"{registration.rms_um:,.0f} µm (root mean square; it flatters)"
    tried = [
        f"{one.label}: {one.score_um:,.0f} µm left out{' (chosen)' if one.chosen else ''}"
        for one in registration.candidates
        if one.score_um == one.score_um
    ]
    if tried:
        lines["tried"] = tried
    lines["mirrored"] = registration.reflects
    if registration.trust is not None:
        lines["trusted"] = [
            "yes" if registration.trust.trusted else "no, kept all the same",
            *registration.trust.reasons,
        ]
    said = [*notes, *(words for words in registration.warnings if not _repeats(words, registration))]
    return lines | ({"note": said} if said else {})


def _repeats(words: str, registration: Registration) -> bool:
    return registration.trust is not None and words in registration.trust.reasons


def _in_short(facts: dict[str, Any]) -> str:
    from napari_st2msi.registration.transforms import transform_class

    error, trust = facts["left_out"]["median"], facts["trust"]
    words = [transform_class(facts["transform"]["kind"]).label]
    if error is not None:
        words.append(f"left out missed by {error:,.0f} µm (median)")
    elif trust is not None and trust["measures"].get("expected_error_um") is not None:
        words.append(f"an error of about {trust['measures']['expected_error_um']:,.0f} µm expected")
    if trust is not None and not trust["trusted"]:
        words.append("not trusted")
    if warned := len(facts["warnings"]) + len(facts["notes"]):
        words.append(f"{warned} warning{'s' * (warned > 1)}")
    return ", ".join(words)
