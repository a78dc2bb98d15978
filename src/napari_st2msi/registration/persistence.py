"""Put a registration into a section, and find it there again."""

from __future__ import annotations

import numpy as np

from napari_st2msi.io.landmarks import landmark_elements
from napari_st2msi.registration.registration import Registration
from napari_st2msi.section import MSI_SYSTEM, SYSTEM, Section


def apply(section: Section, registration: Registration) -> None:
    """Lay the MSI of a section over its ST.

    Every element that lies in ``st2msi_msi`` gets the system ``st2msi`` beside those it has, so that
    any reader of SpatialData shows it aligned. Landmarks become two points elements, and the whole
    registration goes into the attributes. An earlier registration is replaced.

    Raises
    ------
    DataProblem
        The section has no MSI.
    """
    from spatialdata.transformations import Affine, get_transformation, set_transformation

    assert section.msi is not None  # raises in words where there is none
    landmarks = registration.landmarks
    elements = landmark_elements(landmarks.ids, landmarks.moving, landmarks.fixed)
    for name, element in elements.items():
        if name in section.sdata:
            del section.sdata[name]
        section.sdata[name] = element
    for _, _, element in section.sdata.gen_spatial_elements():
        known = get_transformation(element, get_all=True)
        if MSI_SYSTEM in known:
            own = known[MSI_SYSTEM].to_affine_matrix(("x", "y"), ("x", "y"))
            over = Affine(registration.transform.matrix @ own, ("x", "y"), ("x", "y"))
            set_transformation(element, over, SYSTEM)
    section.remember(registration=registration.to_dict())
    section.forget_caches()


def registration_of(section: Section) -> Registration | None:
    """Return the registration that holds in a section.

    None where there is none: not registered, one frame from the start, or aligned by another tool
    since.

    Raises
    ------
    FileProblem
        What is stored is damaged or from a later version.
    """
    facts, matrix = section.attrs.get("registration"), section.msi_to_st
    if facts is None or matrix is None:
        return None
    registration = Registration.from_dict(facts)
    return registration if np.allclose(registration.transform.matrix, matrix, rtol=1e-6, atol=1e-3) else None
