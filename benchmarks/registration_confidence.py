"""Whether the confidence in a registration follows its true error.

Simulated brain sections with a known pose are registered in five ways, good and bad: by the spline through
many exact landmarks, by the nine clicked ones (affine, spline), by a spline whose landmarks lie 290 µm off
on one half of the tissue, and by half a turn too much. At each spot the true error is how far the MSI was
laid from where it belongs. Shown are the medians of the true and of the expected error, their rank
correlation over spots, and that of confidence with the error, which should be near -1; where the error is
the same everywhere there is little to rank.

    python benchmarks/registration_confidence.py
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy.stats import spearmanr

from _report import table, verdict
from napari_st2msi.io.sample import SectionTruth, simulate
from napari_st2msi.registration.confidence import confidence
from napari_st2msi.registration.fit import fit
from napari_st2msi.registration.landmark_files import find_landmarks
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.registration.registration import Registration
from napari_st2msi.registration.transforms import Affine, ThinPlateSpline, Transform
from napari_st2msi.section import Section

#: Largest warp and side of an MSI pixel, µm, of each section.
SECTIONS = ((80.0, 50.0), (300.0, 50.0), (150.0, 100.0), (200.0, 150.0))
CLEARLY_WRONG = "half of it 290 µm off"
TARGET_RANK, TARGET_SECONDS = 0.8, 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spots", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    rows, seconds, ranks = [], [], []
    for number, (warp, pixel) in enumerate(SECTIONS):
        seed = chosen.seed + number
        simulation = simulate(
            n_spots=chosen.spots, n_genes=500, image_px=256, warp_um=warp, pixel_size_um=pixel, seed=seed
        )
        section = simulation.sections[0]
        truth = simulation.truth.sections[section.name]
        for name, registration in ways(section, truth).items():
            spots = section.spots.centres
            error = np.linalg.norm(registration.transform.forward(truth.pose.to_msi(spots)) - spots, axis=1)
            begin = time.perf_counter()
            judged = confidence(section, registration)
            seconds.append(time.perf_counter() - begin)
            rank, of_error = (spearmanr(values, error).statistic for values in (judged.value, judged.error_um))
            if name == CLEARLY_WRONG:
                ranks.append(-rank)
            medians = np.median(error), np.median(judged.error_um)
            rows.append(
                [
                    f"{warp:.0f} µm",
                    f"{pixel:.0f} µm",
                    name,
                    *(f"{value:.0f}" for value in medians),
                    f"{of_error:.2f}",
                    f"{rank:.2f}",
                    f"{np.median(judged.value):.2f}",
                    f"{seconds[-1]:.2f}",
                ]
            )
    head = ["warp", "pixel", "registered", "error µm", "expected µm", "rank", "rank of confidence", "confidence", "s"]
    table(f"{chosen.spots:,} spots; medians over them", head, rows)
    verdict(f"rank correlation with the error, least of those with {CLEARLY_WRONG}", min(ranks), TARGET_RANK, unit="")
    verdict("longest run", max(seconds), TARGET_SECONDS, at_least=False, unit=" s")


def ways(section: Section, truth: SectionTruth) -> dict[str, Registration]:
    """Return registrations of one section, good and bad."""
    clicked = find_landmarks(section)
    shifted = clicked.fixed.copy()
    shifted[shifted[:, 0] > np.median(shifted[:, 0])] += [250, 150]
    xy = np.asarray(section.msi.obsm["spatial"])
    moving = xy[np.random.default_rng(0).choice(len(xy), 100, replace=False)]
    turn = np.diag([-1.0, -1.0, 1.0])
    turn[:2, 2] = 2 * section.spots.centres.mean(axis=0)
    return {
        "all but exactly": by_images(ThinPlateSpline.fit(moving, truth.pose.to_st(moving))),
        "9 clicks, affine": fit(clicked, "affine"),
        "9 clicks, spline": fit(clicked, "thin_plate", smoothing=0.0),
        CLEARLY_WRONG: fit(Landmarks(clicked.ids, clicked.moving, shifted), "thin_plate", smoothing=0.0),
        "half a turn too far": by_images(Affine(turn @ truth.true_msi_to_st)),
    }


def by_images(transform: Transform) -> Registration:
    """Return a registration that rests on no landmark."""
    none, nothing = np.zeros((0, 2)), np.zeros(0)
    return Registration(Landmarks((), none, none), transform, nothing, nothing, source="automatic")


if __name__ == "__main__":
    main()
