"""What a user should know about landmarks and their fit, in words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import GeometryProblem
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.registration.registration import Registration, root_mean_square
from napari_st2msi.registration.transforms import Linear, Similarity, Transform, straightness

#: With fewer landmarks each one pulls the fit so far that errors say little.
_FEW = 6
#: Landmarks that spread across less than this part of their length are nearly on a line.
_NARROW = 0.1
#: Landmarks around less than this part of the tissue leave most of it to guessing.
_CORNER = 0.2
#: Beyond the tissue by more than this part of its size, a landmark cannot be meant so.
_BEYOND = 0.1
#: Both sides are in µm, and tissue hardly changes its size by more than this between two slides.
_SHRINKS, _SWELLS = 0.75, 1.33
#: How much more ground than the ST the MSI may cover before the sizes look wrong.
_LARGER = 4.0


def refuse_doubles(landmarks: Landmarks) -> None:
    """Refuse two enabled landmarks at the same point.

    Raises
    ------
    GeometryProblem
        There are two, and their names.
    """
    used = np.flatnonzero(landmarks.enabled)
    for side, xy in (("MSI", landmarks.moving[used]), ("ST", landmarks.fixed[used])):
        _, first, inverse = np.unique(xy, axis=0, return_index=True, return_inverse=True)
        again = np.flatnonzero(first[inverse.ravel()] != np.arange(len(xy)))
        if len(again):
            two = landmarks.ids[used[first[inverse.ravel()][again[0]]]], landmarks.ids[used[again[0]]]
            raise GeometryProblem(
                f"Landmarks {two[0]} and {two[1]} are at the same point on the {side} side. Move or remove one."
            )


def warnings_of(
    registration: Registration,
    *,
    reflection: bool | None = None,
    pixel_size_um: float | None = None,
    spot_pitch_um: float | None = None,
    extent: NDArray[np.floating] | None = None,
    fixed_extent: NDArray[np.floating] | None = None,
) -> tuple[str, ...]:
    """Return what the user should know of a registration, the gravest first.

    Parameters
    ----------
    reflection
        Whether the user said that the MSI is mirrored; None where it was found.
    pixel_size_um, spot_pitch_um
        Side of an MSI pixel and distance of ST spots; None for unknown.
    extent, fixed_extent
        (m, 2) µm of the MSI and of the ST: where there is tissue; None for unknown.
    """
    found = []
    landmarks = registration.landmarks
    used = np.flatnonzero(landmarks.enabled)
    sides = (("MSI", landmarks.moving, extent), ("ST", landmarks.fixed, fixed_extent))
    found += [_outside(landmarks, used, side, xy, where) for side, xy, where in sides if where is not None]
    if extent is not None:
        found += [_folds(registration.transform, extent), _larger(registration.transform, extent, fixed_extent)]
    found += [
        _resized(registration.transform),
        _outliers(registration),
        _few(used),
        _layout(landmarks, used, extent),
        _mirrored(registration) if reflection is None else _contradicted(registration, used, reflection),
        _inexact(registration, pixel_size_um, spot_pitch_um),
    ]
    return tuple(words for words in found if words)


def folded(transform: Transform, extent: NDArray[np.floating]) -> float:
    """Return the share of (m, 2) moving points where a transform is turned inside out, or leads nowhere."""
    sign = np.linalg.det(transform.jacobian(extent)) * (-1 if transform.reflects else 1)
    return float(np.mean(~(sign > 0)))


def _few(used: NDArray[np.intp]) -> str:
    if len(used) >= _FEW:
        return ""
    return (
        f"Only {len(used)} landmarks: each one pulls the fit, so the errors say little. Place {_FEW} or "
        "more, spread over the tissue."
    )


def _layout(landmarks: Landmarks, used: NDArray[np.intp], extent: NDArray[np.floating] | None) -> str:
    if min(straightness(landmarks.moving[used]), straightness(landmarks.fixed[used])) < _NARROW:
        return "The landmarks lie nearly on one line, so the fit is loose across it. Add some away from that line."
    if extent is None or straightness(extent) < _NARROW:
        return ""
    from scipy.spatial import ConvexHull

    share = ConvexHull(landmarks.moving[used]).volume / ConvexHull(extent).volume
    if share >= _CORNER:
        return ""
    return (
        f"The landmarks surround only {share:.0%} of the MSI; the rest is guessed from them. Add some where there are "
        "none yet."
    )


def _outside(
    landmarks: Landmarks, used: NDArray[np.intp], side: str, xy: NDArray[np.float64], where: NDArray[np.floating]
) -> str:
    low, high = where.min(axis=0), where.max(axis=0)
    beyond = np.maximum(low - xy[used], xy[used] - high).max(axis=1)
    out = np.flatnonzero(beyond > _BEYOND * float((high - low).max()))
    if not len(out):
        return ""
    names = [landmarks.ids[i] for i in used[out]]
    if len(out) > len(used) / 2:
        raise GeometryProblem(
            f"{len(out)} of {len(used)} landmarks lie outside the {side}, by up to {beyond.max():,.0f} µm. Check that "
            "they are of this section, that MSI and ST are not exchanged, and in which units they are."
        )
    who = f"Landmark {names[0]} lies" if len(names) == 1 else f"Landmarks {', '.join(names)} lie"
    return f"{who} outside the {side}, by up to {beyond.max():,.0f} µm. Move or disable {_them(names)}."


def _folds(transform: Transform, extent: NDArray[np.floating]) -> str:
    share = folded(transform, extent)
    if not share:
        return ""
    return (
        f"The transform folds the tissue over itself in {_percent(share)} of the MSI, where nothing it says is right. "
        "Choose a stiffer one, more smoothing, or check the landmarks there."
    )


def _larger(transform: Transform, extent: NDArray[np.floating], fixed_extent: NDArray[np.floating] | None) -> str:
    if fixed_extent is None:
        return ""
    spans = [np.ptp(xy, axis=0) for xy in (transform.forward(extent), fixed_extent)]
    if not np.isfinite(spans[0]).all() or spans[0].prod() <= _LARGER * spans[1].prod():
        return ""
    msi, st = (f"{x / 1000:.1f} × {y / 1000:.1f} mm" for x, y in spans)
    return (
        f"The MSI covers {msi}, the ST only {st}: most pixels lie beside it. That is fine if more tissue was "
        "measured; else check the size of an MSI pixel, and crop the MSI to this section."
    )


def _resized(transform: Transform) -> str:
    if not isinstance(transform, Linear) or _SHRINKS <= transform.scale <= _SWELLS:
        return ""
    return (
        f"The landmarks change the size of the MSI by a factor of {transform.scale:.3g}, though both sides are in µm. "
        "Check the size of an MSI pixel and the µm per pixel of the histology."
    )


def _outliers(registration: Registration) -> str:
    which = np.flatnonzero(registration.outlier)
    if not len(which):
        return ""
    landmarks, errors = registration.landmarks, registration.left_out_um
    names = [landmarks.ids[i] for i in which]
    by = " and ".join(f"{errors[i]:,.0f}" if np.isfinite(errors[i]) else "?" for i in which)
    rest = errors[landmarks.enabled & ~registration.outlier]
    rest = rest[np.isfinite(rest)]
    others = f", the others by {np.median(rest):,.0f} µm (median)" if len(rest) else ""
    who = f"Landmark {names[0]} is" if len(names) == 1 else f"Landmarks {' and '.join(names)} are"
    return f"{who} missed by {by} µm when left out{others}: check {_them(names)}, and move or disable."


def _mirrored(registration: Registration) -> str:
    if not registration.reflects:
        return ""
    return "The MSI is mirrored relative to the ST: the landmarks ask for it. Check it by eye."


def _contradicted(registration: Registration, used: NDArray[np.intp], reflection: bool) -> str:
    moving, fixed = registration.landmarks.moving[used], registration.landmarks.fixed[used]
    try:
        free = Similarity.fit(moving, fixed)
    except GeometryProblem:  # two pairs, or all on a line: they say nothing about it
        return ""
    missed = root_mean_square(np.linalg.norm(free.forward(moving) - fixed, axis=1))
    if free.reflects == reflection or missed >= registration.rms_um:
        return ""
    said, found = ("mirrored", "as it is") if reflection else ("not mirrored", "mirrored")
    return (
        f"You said that the MSI is {said}, but the landmarks fit it {found}: a similarity then misses them by "
        f"{missed:,.0f} µm, and this transform by {registration.rms_um:,.0f} µm (root mean squares). Let the mirroring "
        "be found, or check that no landmarks are exchanged."
    )


def _inexact(registration: Registration, pixel_size_um: float | None, spot_pitch_um: float | None) -> str:
    error = registration.left_out["median"]
    halves = [
        f"half {what} ({size / 2:,.0f} µm)"
        for what, size in (("an MSI pixel", pixel_size_um), ("the distance of spots", spot_pitch_um))
        if size is not None and error > size / 2
    ]
    if not halves:
        return ""
    return (
        f"A landmark left out is missed by {error:,.0f} µm (median), more than {' and '.join(halves)}: "
        "spots may get ions of the pixel beside. Check the landmarks that are farthest off."
    )


def _percent(share: float) -> str:
    return "less than 1 %" if share < 0.01 else f"{share:.0%}"


def _them(names: list[str]) -> str:
    return "it" if len(names) == 1 else "them"
