"""The same start, refined by SimpleITK and by ours: mutual information of two images, or of all channels.

    python benchmarks/simpleitk_engine.py --poses 10

Both begin at the pose that our search found. SimpleITK (Mattes mutual information, affine, then B-spline of
six cells, three resolutions each) sees one image of either side, because that is what its metrics take:
total counts against total ions, or the first pair of canonical variates, which is the pair of images
that agrees best at the start. Ours sees all components of both sides.
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import numpy as np
import SimpleITK as sitk

from _report import table, timed
from automatic import choices
from napari_st2msi.io.sample import simulate
from napari_st2msi.registration.intensity import COARSE, FREE_FORM, refine
from napari_st2msi.registration.mutual_information import Joint
from napari_st2msi.registration.placement import Placement
from napari_st2msi.registration.poses import find_poses
from napari_st2msi.registration.raster import rasterise
from napari_st2msi.registration.sides import FixedSide, MovingSide, fixed_side, moving_side
from napari_st2msi.section import MSI_SYSTEM, Section
from napari_st2msi.shapes import Outlines


def variates(fixed: FixedSide, moving: MovingSide, start: Placement) -> tuple[np.ndarray, np.ndarray]:
    """Return the first canonical variate at spots and as an image of the MSI."""
    channels = moving.channels(16, 0.0, on_glass=False)
    seen = channels.at(start.at(fixed.xy))
    x = fixed.features[:, :16]
    joint = Joint.of(x, seen.values, seen.weight, 0.02)
    across = np.linalg.solve(joint.x, joint.whole[:16, 16:]) @ np.linalg.inv(joint.y)
    values, vectors = np.linalg.eig(across @ joint.whole[16:, :16])
    a = np.real(vectors[:, np.argmax(np.real(values))])
    b = np.linalg.solve(joint.y, joint.whole[16:, :16] @ a)
    return x @ a, channels.image @ b


def as_image(values: np.ndarray, to_um: np.ndarray) -> Any:
    image = sitk.GetImageFromArray(np.nan_to_num(values).astype(np.float32))
    image.SetSpacing((float(to_um[0, 0]), float(to_um[1, 1])))
    image.SetOrigin((float(to_um[0, 2]), float(to_um[1, 2])))
    return image


def by_simpleitk(fixed: FixedSide, moving: MovingSide, start: Placement, st: np.ndarray, msi: np.ndarray) -> np.ndarray:
    """Return (n, 2) where spots lie in the MSI, as SimpleITK finds it."""
    drawn, to_um = rasterise(Outlines(fixed.xy), st, fixed.pitch_um / 2)
    first, second = as_image(drawn, to_um), as_image(msi, moving.to_um)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    mask = method_mask(drawn, first)
    method.SetMetricFixedMask(mask)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([150.0, 75.0, 30.0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetOptimizerAsGradientDescentLineSearch(learningRate=1.0, numberOfIterations=100)
    method.SetOptimizerScalesFromPhysicalShift()
    affine = sitk.AffineTransform(2)
    middle = fixed.xy.mean(axis=0)
    affine.SetCenter(middle.tolist())
    affine.SetMatrix(start.linear.ravel().tolist())
    affine.SetTranslation((start.at(middle[None])[0] - middle).tolist())
    method.SetInitialTransform(affine, inPlace=True)
    method.Execute(first, second)
    bend = sitk.BSplineTransformInitializer(first, [6, 6], order=3)
    method.SetMovingInitialTransform(affine)
    method.SetOptimizerAsLBFGSB(numberOfIterations=60)
    method.SetInitialTransform(bend, inPlace=True)
    method.Execute(first, second)
    both = sitk.CompositeTransform(2)
    both.AddTransform(affine)
    both.AddTransform(bend)
    return np.array([both.TransformPoint(tuple(map(float, xy))) for xy in fixed.xy])


def method_mask(drawn: np.ndarray, image: Any) -> Any:
    mask = sitk.GetImageFromArray(np.isfinite(drawn).astype(np.uint8))
    mask.CopyInformation(image)
    return mask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--poses", type=int, default=10)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for seed in range(args.poses):
        simulation = simulate(**choices(seed))
        section: Section = simulation.sections[0]
        pose = simulation.truth.sections[section.name].pose
        fixed, moving = fixed_side(section), moving_side(section)
        best = find_poses(fixed, moving)[0]
        start = refine(fixed, moving, Placement.of_matrix(best.matrix), COARSE).placement
        covered = moving.channels(1, 0.0, on_glass=False).at(pose.to_msi(fixed.xy)).weight > 0.5

        def error(there: np.ndarray, pose: Any = pose, fixed: FixedSide = fixed, on: np.ndarray = covered) -> str:
            return f"{np.median(np.hypot(*(pose.to_st(there) - fixed.xy).T)[on]):.1f}"

        counts = np.log1p(np.asarray(section.st.X.sum(axis=1)).ravel())
        total = rasterise(section.pixels(MSI_SYSTEM), np.log1p(section.total_ions))[0]
        seconds_itk, plain = timed(lambda f=fixed, m=moving, s=start, c=counts, t=total: by_simpleitk(f, m, s, c, t))
        canonical = by_simpleitk(fixed, moving, start, *variates(fixed, moving, start))
        seconds, ours = timed(lambda f=fixed, m=moving, s=start: refine(f, m, s, FREE_FORM).placement)
        rows.append([
            f"{seed}", error(start.at(fixed.xy)), error(plain), error(canonical), error(ours.at(fixed.xy)),
            f"{seconds_itk:.1f}", f"{seconds:.1f}",
        ])  # fmt: skip
        print("  " + " ".join(rows[-1]), flush=True)
    header = ["seed", "start", "SimpleITK, totals", "SimpleITK, variates", "ours", "s SimpleITK", "s ours"]
    table("median TRE in µm from the same start", header, rows)
    medians = [f"{np.median([float(row[i]) for row in rows]):.1f}" for i in range(1, 5)]
    print("  medians: " + ", ".join(f"{name} {value}" for name, value in zip(header[1:5], medians, strict=True)))


if __name__ == "__main__":
    main()
