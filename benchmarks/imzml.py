"""imzML to ion images, beside pyimzML, in one run.

Two files are made with pyimzML's own writer in a temporary folder, both with 1,000 ions wanted:

- processed: each spectrum has its own list of about 1,000 centroids (each ion with probability 0.7,
  jittered by 2 ppm, and 300 others), m/z in 64 bit, intensities in 32 bit;
- continuous: 1,300 points on one axis (the ions and 300 others), intensities in 32 bit.

Peers, on the same files in the same process:

- ``ImzMLParser`` and ``getionimage`` for each ion, timed on a few ions and scaled to all of them,
  since every image costs the same;
- ``ImzMLParser`` and one pass of ``getspectrum`` that takes all ions out of a spectrum by
  ``searchsorted`` and cumulative sums.

Ours is timed twice: up to the array that the peers also give, and up to the finished `Section`.
Results are compared before any ratio is printed. Peak memory is the high-water mark of a fresh process
(Linux only) less what it held before and less its result: the array of intensities, or the section,
which holds one polygon a pixel beside them.

    python benchmarks/imzml.py            # 10,000 pixels
    python benchmarks/imzml.py --large    # 200,000 pixels; needs 4 GB of disk and 3 GB of memory
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

from _report import table, timed, verdict
from napari_st2msi.section import Section

PPM = 10.0
N_IONS = 1_000
N_OTHERS = 300
# Not the first: getionimage gives the first point of a spectrum where a window lies below it.
SLOW_IONS = np.arange(100, N_IONS, 200)


def make(folder: Path, mode: str, n_pixels: int, ions: np.ndarray) -> Path:
    from pyimzml.ImzMLWriter import ImzMLWriter

    rng = np.random.default_rng(0)
    width = int(np.ceil(np.sqrt(n_pixels)))
    others = rng.uniform(100, 1000, N_OTHERS)
    axis = np.sort(np.concatenate([ions, others]))
    path = folder / f"{mode}.imzML"
    with ImzMLWriter(str(path), mode=mode, spec_type="centroid") as writer:
        for pixel in range(n_pixels):
            if mode == "processed":
                present = ions[rng.random(N_IONS) < 0.7]
                mz = np.sort(np.concatenate([present * (1 + rng.normal(0, 2e-6, len(present))), others]))
            else:
                mz = axis
            intensity = rng.gamma(2.0, 50.0, len(mz)).astype(np.float32)
            writer.addSpectrum(mz, intensity, (pixel % width + 1, pixel // width + 1))
    return path


def ours_array(path: Path, ions: np.ndarray) -> np.ndarray:
    from napari_st2msi.io.imzml_index import read_index
    from napari_st2msi.io.imzml_read import read_ions

    return read_ions(read_index(path), ions, PPM).intensities


def ours_section(path: Path, ions: np.ndarray) -> Section:
    from napari_st2msi.io.imzml import read_imzml
    from napari_st2msi.io.opening import Opening

    return read_imzml(path, Opening(mz=tuple(ions.tolist()), ppm=PPM, pixel_size_um=50))


def peer_one_pass(path: Path, ions: np.ndarray) -> np.ndarray:
    from pyimzml.ImzMLParser import ImzMLParser

    lower, upper = ions - ions * PPM * 1e-6, ions + ions * PPM * 1e-6
    with ImzMLParser(str(path)) as parser:
        result = np.zeros((len(parser.coordinates), len(ions)), dtype=np.float32)
        for i in range(len(parser.coordinates)):
            mz, intensity = parser.getspectrum(i)
            total = np.concatenate([[0.0], np.cumsum(intensity, dtype=np.float64)])
            result[i] = total[np.searchsorted(mz, upper, "right")] - total[np.searchsorted(mz, lower, "left")]
    return result


def peer_ion_images(path: Path, ions: np.ndarray) -> tuple[float, list[np.ndarray]]:
    """Return the seconds for all ions, scaled up from a few, and the images of those few."""
    from pyimzml.ImzMLParser import ImzMLParser, getionimage

    parsing, parser = timed(lambda: ImzMLParser(str(path)))
    some = ions[SLOW_IONS]
    with parser:
        imaging, images = timed(lambda: [getionimage(parser, mz, tol=mz * PPM * 1e-6) for mz in some])
        rows, columns = np.array(parser.coordinates)[:, [1, 0]].T - 1
    return parsing + imaging * len(ions) / len(some), [image[rows, columns] for image in images]


def memory(path: Path, ions_file: Path, what: str) -> dict[str, float] | None:
    """Return what `measure` prints, measured in a process of its own."""
    if not Path("/proc/self/clear_refs").exists():
        return None
    command = [sys.executable, __file__, "--measure", what, str(path), str(ions_file)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def warm_up() -> None:
    """Open a small file, so that what is imported on the way is neither timed nor counted."""
    with tempfile.TemporaryDirectory() as folder:
        ions = np.linspace(200, 900, N_IONS)
        ours_section(make(Path(folder), "processed", 20, ions), ions)


def measure(what: str, path: Path, ions_file: Path) -> None:
    """Print in MB, as JSON, the peak above the result, and what the result holds beside the intensities."""
    work = {"array": ours_array, "section": ours_section}[what]
    warm_up()
    ions = np.load(ions_file)
    gc.collect()
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    result = work(path, ions)
    peak = _status("VmHWM")
    gc.collect()
    intensities = result if what == "array" else result.sdata.tables["msi"].X
    output = max(_status("VmRSS") - before, intensities.nbytes)
    beside = output - intensities.nbytes if what == "section" else 0
    print(json.dumps({"above": (peak - before - intensities.nbytes - beside) / 1e6, "beside": beside / 1e6}))


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def compare(mode: str, n_pixels: int, folder: Path) -> bool:
    ions = np.sort(np.random.default_rng(1).uniform(100, 1000, N_IONS))
    np.save(folder / "ions.npy", ions)
    path = make(folder, mode, n_pixels, ions)
    large = n_pixels > 50_000
    t_pass, expected = timed(lambda: peer_one_pass(path, ions))
    t_array, found = timed(lambda: ours_array(path, ions))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)
    del found
    t_section, section = timed(lambda: ours_section(path, ions))
    found = section.sdata.tables["msi"].X
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)
    rows = [
        ["pyimzML, one pass of getspectrum", f"{t_pass:.2f} s", f"{t_pass / t_section:.1f}×"],
        ["ours, to the array", f"{t_array:.2f} s", f"{t_array / t_section:.1f}×"],
        ["ours, to the Section", f"{t_section:.2f} s", "1.0×"],
    ]
    if not large:
        t_images, images = peer_ion_images(path, ions)
        for i, image in zip(SLOW_IONS, images, strict=True):
            np.testing.assert_allclose(found[:, i], image, rtol=1e-5, atol=1e-3)
        label = f"pyimzML, getionimage per ion (from {len(SLOW_IONS)} ions)"
        rows.insert(0, [label, f"{t_images:.2f} s", f"{t_images / t_section:.1f}×"])
    del found, expected, section
    table(f"{mode}, {n_pixels:,} pixels, {N_IONS:,} ions: the same values", ["", "time", "ours is faster by"], rows)
    met = verdict("to the Section, against one pass of getspectrum", t_pass / t_section, 2.0 if large else 1.0)
    if not large:
        met &= verdict("to the Section, against getionimage per ion", t_images / t_section, 60.0)
    for what in ("array", "section"):
        used = memory(path, folder / "ions.npy", what)
        if used is None:
            print("  peak memory is measured on Linux only")
            continue
        met &= verdict(f"peak memory above the {what}", used["above"], 100, at_least=False, unit=" MB")
        if what == "section":
            print(f"          the section holds {used['beside']:.0f} MB beside its intensities: pixel polygons, names")
    return met


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="200,000 pixels instead of 10,000")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    choices = parser.parse_args()
    warnings.simplefilter("ignore")
    if choices.measure:
        what, path, ions_file = choices.measure
        measure(what, Path(path), Path(ions_file))
        return 0
    warm_up()
    met = True
    for mode in ("processed", "continuous"):
        with tempfile.TemporaryDirectory(prefix="st2msi-bench-") as folder:
            met &= compare(mode, 200_000 if choices.large else 10_000, Path(folder))
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
