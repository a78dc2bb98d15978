"""Put a registration into a section, and find it there again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from napari_st2msi.errors import FileProblem, GeometryProblem
from napari_st2msi.io.landmarks import landmark_elements
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.registration.registration import Registration
from napari_st2msi.registration.transforms import Affine, Transform
from napari_st2msi.section import (
    CENTRE,
    CONFIDENCE,
    EXPECTED_ERROR,
    MSI_SYSTEM,
    SYSTEM,
    Section,
    same_place,
    warped_name,
)
from napari_st2msi.shapes import Outlines, squares

#: Earlier registrations that are kept; of more than these the oldest are forgotten.
MOST_KEPT = 20
_FOREIGN = "This alignment came with the file, or another tool made it."


@dataclass(frozen=True)
class Earlier:
    """A registration that held before.

    Attributes
    ----------
    applied
        When it was applied, ISO 8601 in UTC; empty where the file does not say.
    """

    registration: Registration
    applied: str = ""


def apply(section: Section, registration: Registration) -> None:
    """Lay the MSI of a section over its ST.

    Every element that lies in ``st2msi_msi`` gets the system ``st2msi`` beside those it has, so that
    any reader of SpatialData shows it aligned. Where the transform is no affine that is the nearest one
    over the pixel centres, and the pixels as they truly lie become polygons in an element of their own,
    ``<element>_warped`` in ``st2msi``: every corner is transformed exactly, and the columns `centre_x` and
    `centre_y` hold the transformed centres.

    Landmarks become two points elements; a registration without any leaves those of the section alone.
    The whole registration goes into the attributes, and the one that held before into their history,
    the last `MOST_KEPT` of them; so does the alignment that a file came with. The confidence of the spots,
    which was of that one, is dropped.

    Raises
    ------
    DataProblem
        The section has no MSI.
    GeometryProblem
        The transform sends pixels out of the plane. The section is unchanged.
    """
    from spatialdata.transformations import Affine as Matrix
    from spatialdata.transformations import get_transformation, set_transformation

    pixels = _with_extent(section)
    transform = registration.transform
    matrix = transform.nearest_affine(pixels.centres)
    warped = None if transform.matrix is not None else _warped(section, pixels, transform)
    landmarks = registration.landmarks
    points = landmark_elements(landmarks.ids, landmarks.moving, landmarks.fixed) if len(landmarks) else {}
    past = _past(section, registration)

    for name, element in points.items():
        _put(section, name, element)
    for _, _, element in section.sdata.gen_spatial_elements():
        known = get_transformation(element, get_all=True)
        if MSI_SYSTEM in known:
            own = known[MSI_SYSTEM].to_affine_matrix(("x", "y"), ("x", "y"))
            set_transformation(element, Matrix(matrix @ own, ("x", "y"), ("x", "y")), SYSTEM)
    assert section.roles.msi_element is not None
    bent = warped_name(section.roles.msi_element)
    _put(section, bent, warped)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    section.remember(
        registration={**registration.to_dict(), "applied": now},
        registration_history=past,
        warped={} if warped is None else {"element": bent, "msi_to_st": matrix.tolist()},
    )
    if section.roles.st is not None:
        spots = section.sdata.tables[section.roles.st]
        spots.obs = spots.obs.drop(columns=[CONFIDENCE, EXPECTED_ERROR], errors="ignore")
    section.forget_caches()


def registration_of(section: Section) -> Registration | None:
    """Return the registration that holds in a section.

    None where there is none: not registered, one frame from the start, or aligned by another tool
    since, which is seen by the affine that readers know; of a spline, by the nearest one.

    Raises
    ------
    FileProblem
        What is stored is damaged or from a later version.
    """
    facts, matrix = section.attrs.get("registration"), section.msi_to_st
    if not facts or matrix is None:
        return None
    registration = Registration.from_dict(facts)
    laid = registration.transform.matrix
    holds = section.warped_element is not None if laid is None else same_place(laid, matrix)
    return registration if holds else None


def transform_of(section: Section) -> Transform | None:
    """Return the exact transform by which the MSI lies over the ST now, whoever laid it; None until registered.

    Raises
    ------
    FileProblem
        What is stored is damaged or from a later version.
    """
    matrix = section.msi_to_st
    if matrix is None:
        return None
    if section.warped_element is None:
        return Affine(matrix)
    return Registration.from_dict(section.attrs["registration"]).transform


def history(section: Section) -> tuple[Earlier, ...]:
    """Return the registrations that held before the present one, the newest last.

    To go back to one, `apply` it again.

    Raises
    ------
    FileProblem
        What is stored is damaged or from a later version.
    """
    kept = section.attrs.get("registration_history") or []
    if not all(isinstance(facts, dict) for facts in kept):
        raise FileProblem("The history of registrations in this file is damaged.")
    return tuple(Earlier(Registration.from_dict(facts), str(facts.get("applied", ""))) for facts in kept)


def _with_extent(section: Section) -> Outlines:
    """Return the pixels in their own frame as polygons; those without outlines fill their grid.

    Where there is no grid either they stay what they are: discs become squares of the same width, and
    of mere points nothing says what they cover.
    """
    pixels, grid = section.pixels(MSI_SYSTEM), section.msi_grid
    if pixels.corners is not None:
        return pixels
    if grid is not None and len(pixels) > 1:
        return Outlines(pixels.centres, corners=squares(pixels.centres, grid.pitch))
    if pixels.radius is not None:
        corners = squares(np.zeros((len(pixels), 2)), 2.0) * pixels.radius[:, None, None] + pixels.centres[:, None]
        return Outlines(pixels.centres, corners=corners)
    return pixels


def _warped(section: Section, pixels: Outlines, transform: Transform) -> Any:
    """Return the pixels as they lie over the ST, by the instances of the table: polygons, or points of points."""
    import geopandas
    import pandas as pd
    import shapely
    from spatialdata.models import PointsModel, ShapesModel
    from spatialdata.transformations import Identity

    instances = section.msi.obs[section.msi.uns["spatialdata_attrs"]["instance_key"]].to_numpy()
    centres = transform.forward(pixels.centres)
    corners = None if pixels.corners is None else transform.forward(pixels.corners.reshape(-1, 2))
    if not (np.isfinite(centres).all() and (corners is None or np.isfinite(corners).all())):
        raise GeometryProblem(
            f"The {transform.kind.replace('_', ' ')} transform sends some MSI pixels to infinity. Add landmarks at "
            "the edges of the tissue, or choose a simpler transform."
        )
    if corners is None:
        frame = pd.DataFrame(centres, columns=["x", "y"], index=instances)
        return PointsModel.parse(frame, transformations={SYSTEM: Identity()})
    assert pixels.corners is not None
    frame = geopandas.GeoDataFrame(
        dict(zip(CENTRE, centres.T, strict=True)),
        geometry=shapely.polygons(corners.reshape(pixels.corners.shape)),
        index=instances,
    )
    return ShapesModel.parse(frame, transformations={SYSTEM: Identity()})


def _past(section: Section, registration: Registration) -> list[dict[str, Any]]:
    """Return the history with what holds now put last, unless that is what is applied again."""
    kept = [facts for facts in section.attrs.get("registration_history") or [] if isinstance(facts, dict)]
    before, matrix = section.attrs.get("registration"), section.msi_to_st
    try:
        held = registration_of(section)
    except FileProblem:  # damaged, which registering again mends: nobody could go back to it
        held, before = None, None
    if before and {key: value for key, value in before.items() if key != "applied"} != registration.to_dict():
        kept.append(before)
    if matrix is not None and held is None:
        nothing = np.zeros(0)
        none = Landmarks((), np.zeros((0, 2)), np.zeros((0, 2)))
        kept.append(Registration(none, Affine(matrix), nothing, nothing, warnings=(_FOREIGN,)).to_dict())
    return kept[-MOST_KEPT:]


def _put(section: Section, name: str, element: Any) -> None:
    """Put an element in the place of an earlier one; None takes it away."""
    if name in section.sdata:
        del section.sdata[name]
    if element is not None:
        section.sdata[name] = element
