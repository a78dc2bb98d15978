"""How far to trust a registration at each spot: by what genes and ions say there, by its bending, by landmarks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, GeometryProblem
from napari_st2msi.features.threads import threads_for
from napari_st2msi.progress import Progress, check, never
from napari_st2msi.registration.agreement import Agreement, expected_error, local_agreement
from napari_st2msi.registration.components import gene_components, ion_components
from napari_st2msi.registration.raster import neighbour_distance
from napari_st2msi.registration.registration import Registration
from napari_st2msi.section import CONFIDENCE, EXPECTED_ERROR, MSI_SYSTEM, Section

#: A stretch against the rest of the tissue by this factor (as a logarithm) halves the confidence.
_STRAIN = 0.3
#: The least length that counts, µm: what is finer than tissue varies is taken together.
_LEAST_UM = 50.0
#: Floating-point operations of the largest single step.
_STEP = 1e9


@dataclass(frozen=True, eq=False)
class Confidence:
    """How far to trust a registration at each spot, from 0 to 1.

    ``value = jacobian / (1 + (error_um / half_um)²)``. It is 1 where the MSI is expected to lie in its
    place and nothing is stretched; 1/2 where it is expected to be off by half a pixel or half the
    distance of spots, whichever is more, so that a spot may have got the ions beside it; and near 0
    where it is off by more, where ions follow genes nowhere near, or where the tissue is folded.

    Attributes
    ----------
    value
        (spots,) float32, 0 to 1, never NaN.
    error_um
        (spots,) float32, the distance by which the MSI is expected to be off, as far as it can be told:
        at most about two thirds of `reach_um`, when anything is as likely as anything else.
    agreement
        (spots,) float32: correlation of ions with genes around each spot as the MSI lies, 0 (none, or
        against) to 1; NaN where there is no MSI, or nothing to compare.
    landmarks
        (spots,) float32: 1/2 where landmarks let expect an error of `half_um`; the farther from the nearest
        one the less. NaN without landmarks, or where their left-out errors are unknown.
    jacobian
        (spots,) float32: 1 where lengths change as elsewhere in the tissue, 1/2 where they are stretched or
        shrunk by a third against that, 0 where the tissue is turned inside out.
    half_um, reach_um
        Half the pixel or half the distance of spots, whichever is more; and how far around its place
        the MSI was looked for.
    fingerprint
        Of the registration this is about.
    warnings
        What could not be judged, in words.
    """

    value: NDArray[np.float32]
    error_um: NDArray[np.float32]
    agreement: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    jacobian: NDArray[np.float32]
    half_um: float
    reach_um: float
    fingerprint: str
    warnings: tuple[str, ...] = field(default=())


def confidence(
    section: Section,
    registration: Registration,
    *,
    genes: NDArray[np.floating] | None = None,
    ions: NDArray[np.floating] | None = None,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Confidence:
    """Judge a registration at each spot. The section need not be registered, and is not changed.

    Three things are looked at:

    - Local agreement. Genes and ions are brought to their canonical components over the whole tissue as
      it is registered, and correlated within some hundred µm of each spot: where the MSI lies, and where
      it would lie if it were moved by up to `reach_um` in any direction (block matching, with
      correlation as likelihood; see `napari_st2msi.registration.agreement`). Where moving it would make
      ions follow genes better, it is likely off by that much; where nothing agrees, it may be anywhere.
    - Landmarks. Before genes and ions are looked at, the error is taken to be the median of the left-out
      errors, times √(1 + (d/s)²) at distance d from the nearest landmark, where s is the usual
      distance between landmarks. Without landmarks every error is as likely as any other.
    - The Jacobian, against its median over all spots.

    The first two give the expected error. An automatic registration was itself led by genes and ions, so
    that its agreement flatters somewhat.

    Parameters
    ----------
    genes, ions
        (spots, n) and (pixels, m) components, if they are at hand; else those of
        `napari_st2msi.registration.components`.

    Raises
    ------
    DataProblem
        The section has no ST or no MSI.
    GeometryProblem
        The transform maps no pixel to any place near the spots.
    Cancelled
        The user stopped it.
    """
    st, pixels = section.spots.centres, section.pixels(MSI_SYSTEM)
    transform = registration.transform
    moving = transform.inverse(st)
    inside = np.asarray(np.isfinite(moving).all(axis=1))
    if not inside.any():
        raise GeometryProblem("The transform leads from no spot to the MSI. Register the section again.")
    back = np.asarray(np.linalg.inv(transform.nearest_affine(pixels.centres)), dtype=np.float64)
    size = float(np.sqrt(abs(np.linalg.det(back[:2, :2]))))
    pixel = (neighbour_distance(pixels.centres) or pixels.diameter or _LEAST_UM) / size
    length = max(neighbour_distance(st), pixel, _LEAST_UM)
    check(cancelled)

    jacobian = _evenness(transform.jacobian(np.where(inside[:, None], moving, moving[inside].mean(axis=0))))
    prior = _by_landmarks(registration, st)
    reach = 3 * length
    warnings: tuple[str, ...] = ()
    found: Agreement | None = None
    with threads_for(_STEP):
        try:
            progress(0.0, "Comparing genes and ions")
            genes = gene_components(section) if genes is None else genes
            check(cancelled)
            progress(0.1, "Comparing genes and ions")
            ions = ion_components(section) if ions is None else ions
            check(cancelled)
            if not (genes.shape[1] and ions.shape[1]):
                raise DataProblem("One of the two is the same everywhere.")
            found = local_agreement(
                st, moving, pixels.centres, genes, ions, length, back[:2, :2], progress.part(0.2, 0.9), cancelled
            )
        except DataProblem as error:
            warnings = (f"Genes and ions could not be compared, so confidence rests on landmarks alone. {error}",)
        expected = expected_error(found, prior, reach)
    agreement = np.full(len(st), np.nan) if found is None else np.clip(found.here, 0, 1)
    half = length / 2
    value = np.where(inside, jacobian * _half_at(expected, half), 0.0)
    return Confidence(
        value=value.astype(np.float32),
        error_um=expected.astype(np.float32),
        agreement=agreement.astype(np.float32),
        landmarks=_half_at(prior, half).astype(np.float32),
        jacobian=np.where(inside, jacobian, 0.0).astype(np.float32),
        half_um=half,
        reach_um=reach,
        fingerprint=registration.fingerprint,
        warnings=warnings,
    )


def keep_confidence(section: Section, judged: Confidence) -> None:
    """Put the confidence of each spot into the ST table, so that training can weight by it.

    `obs` gets the columns ``registration_confidence`` (0 to 1) and ``registration_error_um``; pairing
    takes them along. The next registration takes them away.

    Raises
    ------
    DataProblem
        It was judged for other spots.
    """
    rows = section.st.obs_names
    if len(rows) != len(judged.value):
        raise DataProblem(f"Confidence is known of {len(judged.value):,} spots, but the section has {len(rows):,}.")
    assert section.roles.st is not None
    table = section.sdata.tables[section.roles.st]
    for column, values in ((CONFIDENCE, judged.value), (EXPECTED_ERROR, judged.error_um)):
        # Other sections that share the table have no confidence by this registration.
        table.obs[column] = pd.Series(values, index=rows).reindex(table.obs_names)
        if "st" in section.__dict__:
            section.st.obs[column] = values


def _half_at(value: NDArray[np.float64], half: float) -> NDArray[np.float64]:
    """Return 1 at 0, 1/2 at `half`, and less and less beyond."""
    return np.asarray(1 / (1 + (value / half) ** 2))


def _evenness(jacobian: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n,) 0 to 1: how far lengths change as they do elsewhere."""
    determinant = np.linalg.det(jacobian)
    usual = np.sqrt(np.median(np.abs(determinant)))
    stretch = np.maximum(np.linalg.svd(jacobian, compute_uv=False) / usual, 1e-9)
    strain = np.abs(np.log(stretch)).max(axis=1)
    folded = np.sign(determinant) != np.sign(np.median(determinant))
    return np.where(folded, 0.0, _half_at(strain, _STRAIN))


def _by_landmarks(registration: Registration, xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n,) the error in µm that landmarks let expect (its median), NaN where they say nothing."""
    from scipy.spatial import cKDTree

    fixed = registration.landmarks.fixed[registration.landmarks.enabled]
    error = registration.left_out["median"]
    if len(fixed) < 2 or not np.isfinite(error):
        return np.full(len(xy), np.nan)
    spacing = neighbour_distance(fixed) or 1.0
    away = cKDTree(fixed).query(xy)[0]
    return np.asarray(error * np.sqrt(1 + (away / spacing) ** 2))
