"""Warnings in words: what the user should look at, and what to do."""

from __future__ import annotations

import numpy as np
import pytest

from napari_st2msi.errors import GeometryProblem
from napari_st2msi.registration.advice import folded
from napari_st2msi.registration.fit import fit
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.registration.transforms import Affine, ThinPlateSpline

RNG = np.random.default_rng(0)
TISSUE = np.stack(np.meshgrid(np.linspace(0, 6000, 40), np.linspace(0, 5000, 40)), axis=-1).reshape(-1, 2)
MOVING = np.array([[300, 400], [5600, 300], [5500, 4700], [400, 4600], [3000, 2400], [1500, 3600], [4300, 1500.0]])
FIXED = MOVING + RNG.normal(0, 20, MOVING.shape)
IDS = tuple("abcdefg")


def said(moving: np.ndarray = MOVING, fixed: np.ndarray = FIXED, transform: str = "auto", **given: object) -> str:
    found = fit(Landmarks(IDS[: len(moving)], moving, fixed), transform, **{"extent": TISSUE, **given})
    return "\n".join(found.warnings)


def test_good_landmarks_need_no_words() -> None:
    assert said(pixel_size_um=100, spot_pitch_um=100, fixed_extent=TISSUE) == ""


def test_few_landmarks() -> None:
    assert "Only 5 landmarks" in said(MOVING[:5], FIXED[:5])
    assert "Place 6 or more" in said(MOVING[:5], FIXED[:5])


def test_nearly_on_one_line() -> None:
    thin = MOVING * [1, 0.02] + [0, 2500]
    assert "nearly on one line" in said(thin, thin + RNG.normal(0, 5, thin.shape))


def test_in_a_corner() -> None:
    words = said(MOVING * 0.3, FIXED * 0.3)
    assert "surround only 7% of the MSI" in words
    assert "Add some where there are none" in words


def test_a_reflection_is_said() -> None:
    assert "mirrored" in said(fixed=FIXED * [-1, 1])


def test_a_reflection_that_the_landmarks_contradict_is_said() -> None:
    words = said(transform="similarity", reflection=True)
    assert "You said that the MSI is mirrored, but the landmarks fit it as it is" in words
    assert "ask for it" not in words
    assert "is not mirrored, but the landmarks fit it mirrored" in said(
        MOVING, FIXED * [-1, 1], "rigid", reflection=False
    )
    assert said(reflection=False) == said() == ""


def test_folding() -> None:
    crossed = MOVING.copy()
    crossed[[5, 6]] = crossed[[6, 5]]
    words = said(fixed=crossed, transform="thin_plate", smoothing=0.0)
    assert "folds the tissue over itself" in words
    assert "stiffer" in words
    assert "folds" not in said(fixed=crossed, transform="affine")
    spline = ThinPlateSpline.fit(MOVING, crossed)
    sign = np.linalg.det(spline.jacobian(TISSUE))
    assert folded(spline, TISSUE) == pytest.approx(np.mean(sign <= 0))
    assert folded(Affine.fit(MOVING, FIXED * [-1, 1]), TISSUE) == 0  # mirrored is not folded


def test_errors_beside_pixels_and_spots() -> None:
    noisy = MOVING + RNG.normal(0, 80, MOVING.shape)
    words = said(fixed=noisy, transform="similarity", pixel_size_um=50, spot_pitch_um=100)
    assert "half an MSI pixel (25 µm) and half the distance of spots (50 µm)" in words
    words = said(fixed=noisy, transform="similarity", pixel_size_um=5000, spot_pitch_um=20)
    assert "more than half the distance of spots (10 µm)" in words


def test_a_suspect_is_named() -> None:
    wrong = FIXED.copy()
    wrong[4] += [0, 900]
    words = said(fixed=wrong, transform="similarity")
    assert words.startswith("Landmark e is missed by")
    assert "the others by" in words
    assert "check it" in words


def test_landmarks_outside() -> None:
    out = MOVING.copy()
    out[2] = [9000, 4700]
    assert "Landmark c lies outside the MSI, by up to 3,000 µm. Move or disable it." in said(out, out)
    with pytest.raises(GeometryProblem, match="7 of 7 landmarks lie outside the MSI"):
        said(MOVING + 20_000, FIXED)
    with pytest.raises(GeometryProblem, match=r"outside the ST, .* in which units"):
        said(MOVING, FIXED * 100, fixed_extent=TISSUE)


def test_sizes_that_look_wrong() -> None:
    assert "by a factor of 0.1, though both sides are in µm" in said(fixed=MOVING / 10, transform="similarity")
    assert "by a factor of" not in said(fixed=MOVING * 0.8, transform="similarity")


def test_msi_larger_than_st() -> None:
    small = TISSUE[(TISSUE > 1400).all(axis=1) & (TISSUE < 3700).all(axis=1)]
    near = (MOVING - 2500) * 0.2 + 2500
    words = said(near, near + RNG.normal(0, 5, near.shape), fixed_extent=small)
    assert "The MSI covers 6.0 × 5.0 mm, the ST only 2.2 × 2.2 mm" in words
    assert "crop the MSI" in words
