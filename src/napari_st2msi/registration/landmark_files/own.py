"""Our own JSON: pairs in µm with their ids, whether they are used, and the section they belong to."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from napari_st2msi.errors import DataProblem, FileProblem
from napari_st2msi.registration.landmark_files.found import Found
from napari_st2msi.registration.landmarks import Landmarks

#: What the key `format` of the file says.
NAME = "napari-st2msi landmarks"
VERSION = 1


def is_own(facts: Any) -> bool:
    """Tell whether JSON holds landmarks of ours: a file of landmarks, or a whole registration."""
    return isinstance(facts, dict) and (facts.get("format") == NAME or _of_registration(facts))


def read(facts: dict[str, Any], name: str, section: str) -> Found:
    """Return the pairs of a file; `section` is the name of the section they are read for.

    Raises
    ------
    FileProblem
        It is damaged or from a later version.
    DataProblem
        A pair lacks a coordinate.
    """
    damaged = FileProblem(f"'{name}' is damaged: it has no list of landmarks with id, msi and st. Write it again.")
    if _of_registration(facts):
        kept = facts["landmarks"]
        try:
            landmarks = Landmarks.from_dict(kept)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise damaged from error
        return Found(landmarks.moving, landmarks.fixed, landmarks.ids, landmarks.enabled)
    version = facts.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise FileProblem(
            f"'{name}' is of version {version}, which this version of napari-st2msi does not know. Update it."
        )
    try:
        pairs = facts["landmarks"]
        ids = tuple(str(pair["id"]) for pair in pairs)
        sides = [[[_coordinate(value) for value in pair[side]] for pair in pairs] for side in ("msi", "st")]
        moving, fixed = (np.asarray(side, dtype=np.float64).reshape(len(pairs), 2) for side in sides)
        enabled = np.array([pair.get("enabled", True) is True for pair in pairs], dtype=bool)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise damaged from error
    return Found(moving, fixed, ids, enabled, notes=_of_another(facts.get("section"), section))


def write(landmarks: Landmarks, section: str) -> str:
    """Return the text of a file; every number is kept to its last digit."""
    pairs = [
        {"id": key, "msi": moving, "st": fixed, "enabled": enabled}
        for key, moving, fixed, enabled in zip(
            landmarks.ids,
            landmarks.moving.tolist(),
            landmarks.fixed.tolist(),
            landmarks.enabled.tolist(),
            strict=True,
        )
    ]
    lines = ",\n    ".join(json.dumps(pair, ensure_ascii=False, allow_nan=False) for pair in pairs)
    head = json.dumps(
        {"format": NAME, "version": VERSION, "section": section, "units": "um"}, ensure_ascii=False, indent=2
    )
    return f'{head[:-2]},\n  "landmarks": [\n    {lines}\n  ]\n}}\n'


def _of_registration(facts: dict[str, Any]) -> bool:
    kept = facts.get("landmarks")
    return isinstance(kept, dict) and "moving_um" in kept


def _coordinate(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise DataProblem(f"A coordinate in the file of landmarks is '{value}' and not a number.")
    return float(value)


def _of_another(theirs: Any, ours: str) -> tuple[str, ...]:
    if not theirs or theirs == ours:
        return ()
    return (f"These landmarks were written for section '{theirs}', and this is '{ours}'. Check that they belong here.",)
