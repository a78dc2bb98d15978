"""`Registration`: a transform, with the landmarks and errors that say how far to trust it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import FileProblem
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.registration.transforms import Transform, transform_from_dict

VERSION = 2
Source = Literal["landmarks", "automatic", "refined"]


@dataclass(frozen=True)
class Candidate:
    """A transform that was tried on the landmarks.

    Attributes
    ----------
    kind, label
        Its name in the code, and in words.
    rms_um
        Root mean square of the residuals, NaN where it could not be fitted. It flatters.
    left_out
        Median, mean and maximum of the leave-one-out errors, µm; NaN if unknown.
    score_um
        What the automatic choice compares, µm; NaN if unknown.
    chosen
        Whether it is the transform of the registration.
    why_not
        Why it is not, in words; empty for the one chosen.
    """

    kind: str
    label: str
    rms_um: float
    left_out: dict[str, float]
    score_um: float = float("nan")
    chosen: bool = False
    why_not: str = ""


@dataclass(frozen=True)
class Trust:
    """Whether a registration that was found from images may be believed.

    Attributes
    ----------
    trusted
        Whether nothing speaks against it.
    reasons
        What speaks against it, or for it, in words.
    measures
        Named numbers that this rests on.
    curve
        How well the images agree, iteration by iteration; higher is better.
    """

    trusted: bool
    reasons: tuple[str, ...] = ()
    measures: dict[str, float] = field(default_factory=dict)
    curve: tuple[float, ...] = field(default=(), repr=False)


@dataclass(frozen=True, eq=False, repr=False)
class Registration:
    """How MSI lies over ST, and how far off it is.

    Attributes
    ----------
    landmarks
        The pairs of points, also those that were not used. One found from images may have none.
    transform
        Maps µm of the MSI to µm of the ST.
    residuals_um
        (n,) distance between each fixed point and its transformed counterpart. Where the transform was
        fitted to these very points it flatters.
    left_out_um
        (n,) the same distance when everything, the smoothing of a spline included, is fitted to all
        other landmarks. This is the error to expect where nobody clicked. NaN where the others are too
        few or on one line; for a disabled landmark, which is left out anyway, equal to its residual.
    influence_um
        (n,) how far the map moves, at most over the tissue, when a landmark is left out; NaN if
        unknown, 0 for a disabled one.
    outlier
        (n,) bool: the others agree so well that this one is unlikely to be a good click.
    candidates
        Every transform that was tried, from the stiffest to the most pliable.
    warnings
        What the user should know, in words.
    source
        Where the transform comes from: ``landmarks``, images (``automatic``), or both (``refined``).
    trust
        Whether one found from images may be believed; None for landmarks.
    """

    landmarks: Landmarks
    transform: Transform
    residuals_um: NDArray[np.float64]
    left_out_um: NDArray[np.float64]
    influence_um: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    outlier: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    candidates: tuple[Candidate, ...] = ()
    warnings: tuple[str, ...] = ()
    source: Source = "landmarks"
    trust: Trust | None = None

    def __post_init__(self) -> None:
        n = len(self.landmarks)
        if len(self.influence_um) != n:
            object.__setattr__(self, "influence_um", np.full(n, np.nan))
        if len(self.outlier) != n:
            object.__setattr__(self, "outlier", np.zeros(n, dtype=bool))

    def __repr__(self) -> str:
        parts = [self.transform.label + (", mirrored" if self.reflects else "")]
        if len(self.landmarks):
            parts.append(f"{int(self.landmarks.enabled.sum())} landmarks")
            parts.append(f"left out missed by {self.left_out['median']:,.0f} µm (median)")
        if self.trust is not None:
            parts.append("trusted" if self.trust.trusted else "not trusted")
        return "Registration: " + " · ".join(parts)

    @property
    def rms_um(self) -> float:
        """Root mean square of the residuals of the landmarks used; NaN where there are none."""
        return root_mean_square(self.residuals_um[self.landmarks.enabled])

    @property
    def reflects(self) -> bool:
        """Whether the MSI is mirrored relative to the ST."""
        return self.transform.reflects

    @property
    def left_out(self) -> dict[str, float]:
        """Median, mean and maximum of the left-out errors of the landmarks used, µm; NaN if unknown."""
        return summary(self.left_out_um[self.landmarks.enabled])

    @property
    def fingerprint(self) -> str:
        """A short name of the transform: the same for the same place of the MSI, to a thousandth of a µm."""
        if self.transform.matrix is not None:
            # A billionth of the linear part moves a point by less than that within any section.
            steps = np.array([1e-9, 1e-9, 1e-3])
            content = np.rint(self.transform.matrix / steps).astype(np.int64).tobytes()
        else:
            content = json.dumps(_rounded(self.transform.to_dict()), sort_keys=True).encode()
        return hashlib.sha256(content).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values; unknown errors are None."""
        return {
            "version": VERSION,
            "source": self.source,
            "transform": self.transform.to_dict(),
            "landmarks": self.landmarks.to_dict(),
            "residuals_um": _plain(self.residuals_um.tolist()),
            "left_out_um": _plain(self.left_out_um.tolist()),
            "influence_um": _plain(self.influence_um.tolist()),
            "outlier": self.outlier.tolist(),
            "rms_um": _plain(self.rms_um),
            "left_out": _plain(self.left_out),
            "reflects": self.reflects,
            "fingerprint": self.fingerprint,
            "candidates": [_plain(vars(candidate)) for candidate in self.candidates],
            "warnings": list(self.warnings),
            "trust": None if self.trust is None else _plain(vars(self.trust)),
        }

    def to_json(self) -> str:
        """Return everything as JSON text."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> Self:
        """Return the registration that `to_dict` wrote, also that of an earlier version.

        Raises
        ------
        FileProblem
            It is damaged, or from a later version of this package.
        """
        if facts.get("version") not in (1, VERSION):
            raise FileProblem(
                f"The stored registration is of version {facts.get('version')}, which this version of "
                "napari-st2msi does not know. Update napari-st2msi, or register the section again."
            )
        try:
            trust = facts.get("trust")
            return cls(
                landmarks=Landmarks.from_dict(facts["landmarks"]),
                transform=transform_from_dict(facts["transform"]),
                residuals_um=_numbers(facts["residuals_um"]),
                left_out_um=_numbers(facts["left_out_um"]),
                influence_um=_numbers(facts.get("influence_um", ())),
                outlier=np.asarray(facts.get("outlier", ()), dtype=bool),
                candidates=tuple(_candidate(one) for one in facts.get("candidates", ())),
                warnings=tuple(facts["warnings"]),
                source=facts.get("source", "landmarks"),
                trust=None if trust is None else _trust(trust),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FileProblem("The stored registration is damaged. Register the section again.") from error


def root_mean_square(errors: NDArray[np.float64]) -> float:
    """Return the root of the mean square; NaN where there is nothing."""
    return float(np.sqrt(np.mean(errors**2))) if len(errors) else float("nan")


def summary(errors: NDArray[np.float64]) -> dict[str, float]:
    """Return median, mean and maximum of the errors that are known; NaN where none is."""
    errors = errors[np.isfinite(errors)]
    if not len(errors):
        return dict.fromkeys(("median", "mean", "max"), float("nan"))
    return {"median": float(np.median(errors)), "mean": float(errors.mean()), "max": float(errors.max())}


def _numbers(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _candidate(facts: dict[str, Any]) -> Candidate:
    left_out = {name: _number(value) for name, value in facts["left_out"].items()}
    numbers = {name: _number(facts[name]) for name in ("rms_um", "score_um")}
    known = {one.name for one in fields(Candidate)}
    return Candidate(**{**{name: facts[name] for name in known & set(facts)}, **numbers, "left_out": left_out})


def _trust(facts: dict[str, Any]) -> Trust:
    measures = {name: _number(value) for name, value in facts["measures"].items()}
    return Trust(bool(facts["trusted"]), tuple(facts["reasons"]), measures, tuple(map(_number, facts["curve"])))


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: what is not finite as None."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def _rounded(value: Any) -> Any:
    """Return plain values with nine digits of every number."""
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return f"{value:.9g}" if isinstance(value, float) else value
