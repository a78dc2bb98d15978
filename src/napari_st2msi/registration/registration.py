"""`Registration`: a transform fitted to landmarks, with the errors that say how far to trust it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import FileProblem, GeometryProblem
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.registration.transforms import Linear, straightness, transform_class, transform_from_dict

#: With fewer landmarks each one pulls the fit so far that errors say little.
_FEW = 6
#: Landmarks that spread across less than this part of their length are nearly on a line.
_NARROW = 0.1


@dataclass(frozen=True, eq=False)
class Registration:
    """How MSI lies over ST, and how far off it is.

    Attributes
    ----------
    landmarks
        The pairs of points, also those that were not used.
    transform
        Maps µm of the MSI to µm of the ST.
    residuals_um
        (n,) distance between each fixed point and its transformed counterpart. It flatters: the
        transform was fitted to these very points.
    left_out_um
        (n,) the same distance when the transform is fitted to all other landmarks. This is the
        error to expect where nobody clicked. NaN where the others are too few or on one line; for a
        disabled landmark, which is left out anyway, equal to its residual.
    warnings
        What the user should know, in words.
    """

    landmarks: Landmarks
    transform: Linear
    residuals_um: NDArray[np.float64]
    left_out_um: NDArray[np.float64]
    warnings: tuple[str, ...] = ()

    @property
    def rms_um(self) -> float:
        """Root mean square of the residuals of the landmarks used."""
        return float(np.sqrt(np.mean(self.residuals_um[self.landmarks.enabled] ** 2)))

    @property
    def reflects(self) -> bool:
        """Whether the MSI is mirrored relative to the ST."""
        return self.transform.reflects

    @property
    def left_out(self) -> dict[str, float]:
        """Median, mean and maximum of the left-out errors of the landmarks used, µm; NaN if unknown."""
        errors = self.left_out_um[self.landmarks.enabled]
        errors = errors[np.isfinite(errors)]
        if not len(errors):
            return dict.fromkeys(("median", "mean", "max"), float("nan"))
        return {"median": float(np.median(errors)), "mean": float(errors.mean()), "max": float(errors.max())}

    @property
    def fingerprint(self) -> str:
        """A short name of the transform: the same for the same place of the MSI, to a thousandth of a µm."""
        # A billionth of the linear part moves a point by less than that within any section.
        steps = np.array([1e-9, 1e-9, 1e-3])
        rounded = np.rint(self.transform.matrix / steps).astype(np.int64)
        return hashlib.sha256(rounded.tobytes()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values; unknown errors are None."""
        return {
            "version": 1,
            "transform": self.transform.to_dict(),
            "landmarks": self.landmarks.to_dict(),
            "residuals_um": self.residuals_um.tolist(),
            "left_out_um": [value if np.isfinite(value) else None for value in self.left_out_um.tolist()],
            "rms_um": self.rms_um,
            "reflects": self.reflects,
            "fingerprint": self.fingerprint,
            "warnings": list(self.warnings),
        }

    def to_json(self) -> str:
        """Return everything as JSON text."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> Self:
        """Return the registration that `to_dict` wrote.

        Raises
        ------
        FileProblem
            It is damaged, or from a later version of this package.
        """
        if facts.get("version") != 1:
            raise FileProblem(
                f"The stored registration is of version {facts.get('version')}, which this version of "
                "napari-st2msi does not know. Update napari-st2msi, or register the section again."
            )
        try:
            left_out = np.array([np.nan if value is None else value for value in facts["left_out_um"]], dtype=float)
            return cls(
                Landmarks.from_dict(facts["landmarks"]),
                transform_from_dict(facts["transform"]),
                np.asarray(facts["residuals_um"], dtype=float),
                left_out,
                tuple(facts["warnings"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FileProblem("The stored registration is damaged. Register the section again.") from error


def fit(landmarks: Landmarks, transform: str = "affine", *, pixel_size_um: float | None = None) -> Registration:
    """Fit a transform to the enabled landmarks and measure its errors.

    Parameters
    ----------
    landmarks
        At least three enabled pairs, not all on a line.
    transform
        ``affine`` or ``similarity``; a reflection is found where the points ask for one.
    pixel_size_um
        Side of an MSI pixel, to warn when the error is above half of it.

    Raises
    ------
    GeometryProblem
        Too few landmarks, two at the same point, or all on one line.
    RecipeProblem
        There is no such transform.
    """
    kind = transform_class(transform)
    _refuse_doubles(landmarks)
    used = np.flatnonzero(landmarks.enabled)
    fitted = kind.fit(landmarks.moving[used], landmarks.fixed[used])
    residuals = np.linalg.norm(fitted.forward(landmarks.moving) - landmarks.fixed, axis=1)
    left_out = residuals.copy()
    for one in used:
        others = used[used != one]
        try:
            without = kind.fit(landmarks.moving[others], landmarks.fixed[others])
        except GeometryProblem:
            left_out[one] = np.nan
        else:
            left_out[one] = np.linalg.norm(without.forward(landmarks.moving[[one]]) - landmarks.fixed[one])
    result = Registration(landmarks, fitted, residuals, left_out)
    return Registration(landmarks, fitted, residuals, left_out, _warnings(result, pixel_size_um))


def _refuse_doubles(landmarks: Landmarks) -> None:
    used = np.flatnonzero(landmarks.enabled)
    for side, xy in (("MSI", landmarks.moving[used]), ("ST", landmarks.fixed[used])):
        _, first, inverse = np.unique(xy, axis=0, return_index=True, return_inverse=True)
        again = np.flatnonzero(first[inverse.ravel()] != np.arange(len(xy)))
        if len(again):
            two = landmarks.ids[used[first[inverse.ravel()][again[0]]]], landmarks.ids[used[again[0]]]
            raise GeometryProblem(
                f"Landmarks {two[0]} and {two[1]} are at the same point on the {side} side. Move or remove one."
            )


def _warnings(registration: Registration, pixel_size_um: float | None) -> tuple[str, ...]:
    found = []
    landmarks = registration.landmarks
    used = landmarks.enabled
    if used.sum() < _FEW:
        found.append(
            f"Only {int(used.sum())} landmarks: each one pulls the fit, so the errors say little. Place {_FEW} or "
            "more, spread over the tissue."
        )
    if min(straightness(landmarks.moving[used]), straightness(landmarks.fixed[used])) < _NARROW:
        found.append(
            "The landmarks lie nearly on one line, so the fit is loose across it. Add some away from that line."
        )
    if registration.reflects:
        found.append("The MSI is mirrored relative to the ST: the landmarks ask for it. Check it by eye.")
    error = registration.left_out["median"]
    if pixel_size_um is not None and error > pixel_size_um / 2:
        found.append(
            f"A landmark left out is missed by {error:,.0f} µm (median), more than half an MSI pixel "
            f"({pixel_size_um / 2:,.0f} µm): spots may get ions of the pixel beside. Check the landmarks that are "
            "farthest off."
        )
    return tuple(found)
