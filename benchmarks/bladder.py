"""Mouse bladder: MALDI-MSI laid over its H&E without any landmark (real data).

    python benchmarks/bladder.py                       # the pose as the files have it
    python benchmarks/bladder.py --turn 130 --mirror   # the MSI turned and mirrored first: it must come back
    python benchmarks/bladder.py --out overlay.png     # also draw it

The picture is laid over the MSI by nobody: the H&E is stretched to the extent of the pixels, which is off
by the width of the tissue's rim. What counts is how the outlines agree (Dice), how the same registration
comes back after the MSI was turned and mirrored, and the overlay, by eye.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np

from _report import table, timed, verdict
from napari_st2msi.io.build import build_section
from napari_st2msi.io.opening import Opening
from napari_st2msi.pipeline import open_section
from napari_st2msi.registration.automatic import propose
from napari_st2msi.registration.components import ion_components
from napari_st2msi.registration.histology import histology_image
from napari_st2msi.registration.masks import dice, msi_mask, msi_tissue, st_mask
from napari_st2msi.registration.raster import rasterise
from napari_st2msi.registration.registration import Registration
from napari_st2msi.registration.transforms import Affine, Transform
from napari_st2msi.section import MSI_SYSTEM, Section

DATA = Path(os.environ.get("NAPARI_ST2MSI_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def bladder() -> Section:
    folder = DATA / "mouse_bladder_msi"
    if not folder.is_dir():
        sys.exit(f"no real data at {folder}: set NAPARI_ST2MSI_DATA")
    opening = Opening(histology=folder / "mouse_urinary_bladder_HE.tif")
    return open_section(folder / "bladder_msi.h5ad", opening=opening)


def turned(section: Section, degrees: float, mirror: bool, scale: float) -> tuple[Section, np.ndarray]:
    """Return the section with its MSI turned in its own frame, and the (3, 3) way back."""
    angle = np.radians(degrees)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if mirror:
        linear = linear @ np.diag([-1.0, 1.0])
    xy = section.msi.obsm["spatial"]
    there = xy @ linear.T
    shift = 50 - there.min(axis=0)
    image, to_um = histology_image(section, 4000)
    own = to_um @ np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
    msi = section.msi.copy()
    msi.obs = msi.obs.drop(columns=[name for name in ("region", "instance", "instance_id") if name in msi.obs])
    msi.uns.pop("spatialdata_attrs", None)
    made = build_section(
        name="bladder, turned", msi=msi, msi_xy=there + shift, pixel_size_um=scale, image=image, image_to_um=own
    )
    matrix = np.eye(3)
    matrix[:2, :2] = np.linalg.inv(linear)
    matrix[:2, 2] = -matrix[:2, :2] @ shift
    return made, matrix


def draw(section: Section, registration: Registration, path: Path) -> None:
    """Draw H&E, ions over it, and the outlines of the MSI's tissue on it."""
    import matplotlib.pyplot as plt

    image, to_um = histology_image(section)
    row, column = np.mgrid[: image.shape[0], : image.shape[1]]
    places = np.column_stack([column.ravel(), row.ravel()]) @ to_um[:2, :2].T + to_um[:2, 2]
    back = registration.transform.inverse(places)
    values = ion_components(section, 3).astype(float)
    low, high = np.quantile(values, [0.02, 0.98], axis=0)
    pixels, own = rasterise(section.pixels(MSI_SYSTEM), np.clip((values - low) / (high - low), 0, 1))
    inverse = np.linalg.inv(own)
    at = np.rint(np.nan_to_num(back @ inverse[:2, :2].T + inverse[:2, 2], nan=-1)).astype(int)
    inside = ((at >= 0) & (at < [pixels.shape[1], pixels.shape[0]])).all(axis=1)
    over = np.ones((len(places), 3))
    over[inside] = np.nan_to_num(pixels[at[inside, 1], at[inside, 0]], nan=1.0)
    over = over.reshape(image.shape)
    outline = msi_mask(section).at(back).reshape(image.shape[:2])
    board = ((row // 60 + column // 60) % 2 == 0)[..., None]
    figure, axes = plt.subplots(2, 2, figsize=(16, 9))
    stain = image / 255
    panels = {"H&E, outlines of H&E (black) and MSI (red)": stain, "ions": over}
    panels |= {"both": 0.5 * stain + 0.5 * over, "checkerboard": np.where(board, stain, over)}
    for axis, (title, panel) in zip(axes.ravel(), panels.items(), strict=True):
        axis.imshow(panel)
        axis.set_title(title)
        axis.set_axis_off()
    axes[0, 0].contour(st_mask(section).at(places).reshape(image.shape[:2]), [0.5], colors="black", linewidths=1)
    axes[0, 0].contour(outline, [0.5], colors="red", linewidths=1)
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turn", type=float, default=None, help="degrees; all of them when not given")
    parser.add_argument("--mirror", action="store_true")
    parser.add_argument("--out", type=Path, default=None, help="draw the registration of the files as they are")
    args = parser.parse_args()
    section = bladder()
    seconds, first = timed(lambda: propose(section))
    still = dice(section, Affine(np.eye(3)))
    rows = [row_of("as it is", first, seconds, 0.0)]
    if args.out is not None:
        draw(section, first, args.out)
    cases = [(args.turn, args.mirror)] if args.turn is not None else [(37.0, False), (130.0, True), (-90.0, True)]
    xy = section.msi.obsm["spatial"][msi_tissue(section)]
    worst = 0.0
    for degrees, mirror in cases:
        other, back = turned(section, degrees, mirror, 1.1)
        seconds, found = timed(lambda other=other: propose(other))
        moved = Affine(np.linalg.inv(back)).forward(xy)
        apart = float(np.median(np.hypot(*(found.transform.forward(moved) - first.transform.forward(xy)).T)))
        worst = max(worst, apart)
        rows.append(row_of(f"turned {degrees:g}°{', mirrored' if mirror else ''}, 1.1 ×", found, seconds, apart))
    header = ["MSI", "transform", "Dice", "trusted", "expected (px)", "from first (px)", "seconds"]
    table("mouse bladder, 34,840 pixels × 79 lipids, over its H&E; no landmark", header, rows)
    print(f"  Dice when the H&E is merely stretched over the MSI: {still:.3f}")
    verdict("Dice of the tissue masks", first.trust.measures["dice"], 0.95, unit="")
    verdict("after turning and mirroring, median distance to the first", worst, 1.0, at_least=False, unit=" px")


def row_of(name: str, registration: Registration, seconds: float, apart: float) -> list[str]:
    transform: Transform = registration.transform
    measures = registration.trust.measures
    return [
        name,
        transform.kind,
        f"{measures['dice']:.3f}",
        "yes" if registration.trust.trusted else "NO",
        f"{measures['expected_error_um']:.2f}",
        f"{apart:.2f}",
        f"{seconds:.1f}",
    ]


if __name__ == "__main__":
    main()
