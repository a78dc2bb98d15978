"""Fit a transform to landmarks, and measure how far off it is where nobody clicked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import GeometryProblem, RecipeProblem
from napari_st2msi.features.threads import threads_for
from napari_st2msi.registration.advice import refuse_doubles, warnings_of
from napari_st2msi.registration.choose import table, try_all
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.registration.outliers import outliers
from napari_st2msi.registration.registration import Registration
from napari_st2msi.registration.transforms import POINT_TRANSFORMS


def fit(
    landmarks: Landmarks,
    transform: str = "auto",
    *,
    reflection: bool | None = None,
    smoothing: float | None = None,
    pixel_size_um: float | None = None,
    spot_pitch_um: float | None = None,
    extent: NDArray[np.floating] | None = None,
    fixed_extent: NDArray[np.floating] | None = None,
) -> Registration:
    """Fit a transform to the enabled landmarks and measure its errors.

    Parameters
    ----------
    landmarks
        At least three enabled pairs, not all on a line.
    transform
        ``auto`` for the one with the smallest leave-one-out errors, or a name of `POINT_TRANSFORMS`.
    reflection
        Whether the MSI is mirrored; None for whichever fits better.
    smoothing
        Of a thin-plate spline, mm²; 0 for exact, None for the one that the landmarks speak for.
    pixel_size_um, spot_pitch_um
        Side of an MSI pixel and distance of ST spots, to warn when the error is above half of them.
    extent, fixed_extent
        (m, 2) µm of the MSI and of the ST: where there is tissue. Folds, influence and landmarks that
        lie elsewhere are looked for there; None for the landmarks themselves.

    Raises
    ------
    GeometryProblem
        Too few landmarks, two at the same point, all on one line, or most of them outside the tissue.
    RecipeProblem
        There is no such transform, or it is not fitted to landmarks.
    """
    if transform != "auto" and transform not in POINT_TRANSFORMS:
        raise RecipeProblem(
            f"There is no transform '{transform}' for landmarks. Choose one of: auto, {', '.join(POINT_TRANSFORMS)}."
        )
    refuse_doubles(landmarks)
    extent, fixed_extent = (None if xy is None or not len(xy) else xy for xy in (extent, fixed_extent))
    used = np.flatnonzero(landmarks.enabled)
    moving, fixed = landmarks.moving[used], landmarks.fixed[used]
    where = moving if extent is None else np.asarray(extent, dtype=np.float64)
    suspected, influence = np.zeros(len(landmarks), dtype=bool), np.zeros(len(landmarks))
    # Hundreds of small decompositions: threads would wait for each other at every one.
    with threads_for(0):
        suspected[used] = outliers(moving, fixed)
        tried = try_all(
            moving, fixed, transform, reflection=reflection, smoothing=smoothing, suspected=bool(suspected.any()),
            where=where,
        )  # fmt: skip
        chosen = next(one for one in tried if one.chosen)
        if chosen.transform is None:
            raise GeometryProblem(chosen.why_not)
        influence[used] = chosen.influence(moving, fixed, where)
        residuals = np.linalg.norm(chosen.transform.forward(landmarks.moving) - landmarks.fixed, axis=1)
        left_out = residuals.copy()
        left_out[used] = chosen.left_out_um
        result = Registration(landmarks, chosen.transform, residuals, left_out, influence, suspected, table(tried))
        words = warnings_of(
            result,
            reflection=reflection,
            pixel_size_um=pixel_size_um,
            spot_pitch_um=spot_pitch_um,
            extent=extent,
            fixed_extent=fixed_extent,
        )
    return replace(result, warnings=words)
