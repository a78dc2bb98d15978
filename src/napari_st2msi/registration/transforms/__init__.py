"""Transforms of the plane from MSI to ST, by name."""

from __future__ import annotations

from typing import Any

from napari_st2msi.errors import FileProblem, RecipeProblem
from napari_st2msi.registration.transforms.base import Transform, straightness
from napari_st2msi.registration.transforms.free_form import FreeForm
from napari_st2msi.registration.transforms.linear import Affine, Linear, Rigid, Similarity
from napari_st2msi.registration.transforms.projective import Projective
from napari_st2msi.registration.transforms.thin_plate import ThinPlateSpline

__all__ = [
    "POINT_TRANSFORMS",
    "TRANSFORMS",
    "Affine",
    "FreeForm",
    "Linear",
    "Projective",
    "Rigid",
    "Similarity",
    "ThinPlateSpline",
    "Transform",
    "straightness",
    "transform_class",
    "transform_from_dict",
]

#: All transforms by name, from the stiffest to the most pliable.
TRANSFORMS: dict[str, type[Transform]] = {
    kind.kind: kind for kind in (Rigid, Similarity, Affine, Projective, ThinPlateSpline, FreeForm)
}
#: Those that are fitted to landmarks.
POINT_TRANSFORMS: dict[str, type[Transform]] = {name: kind for name, kind in TRANSFORMS.items() if kind.needs}


def transform_class(kind: str) -> type[Transform]:
    """Return the transform of a name.

    Raises
    ------
    RecipeProblem
        There is none of that name.
    """
    if kind not in TRANSFORMS:
        raise RecipeProblem(f"There is no transform '{kind}'. Choose one of: {', '.join(TRANSFORMS)}.")
    return TRANSFORMS[kind]


def transform_from_dict(facts: dict[str, Any]) -> Transform:
    """Return the transform that `to_dict` wrote.

    Raises
    ------
    FileProblem
        It is not one.
    """
    try:
        kind = transform_class(facts["kind"])
    except (KeyError, TypeError) as error:
        raise FileProblem("The stored registration is damaged. Register the section again.") from error
    return kind.from_dict(facts)
