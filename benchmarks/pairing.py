"""Pairing against `spatialdata.aggregate`, on the same section in the same process.

5,000 spots of 55 µm on a hexagonal grid over 100,000 MSI pixels with 1,000 ions:

    python benchmarks/pairing.py
    python benchmarks/pairing.py --spots 500 --pixels 10000 --ions 100     # a quick look

Both sides start from the same SpatialData and end with a table of spots × ions. Ours includes
checking the intensities, the exact areas, coverage and warnings. `aggregate` is run both ways it
offers a mean: without fractions (a plain mean of every pixel a spot touches) and with fractions
(each pixel multiplied by the share of its own area, then divided by the number of pixels). Neither is
an area-weighted mean, which is why the results differ; the mean weighted by area can be had from it
by two further sums, and that is what ours is checked against.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from _report import table, timed, verdict
from napari_st2msi.io.build import build_section
from napari_st2msi.paired import dense
from napari_st2msi.pairing.pair import pair_section
from napari_st2msi.recipe import Pairing
from napari_st2msi.section import SYSTEM, Section

PITCH_UM, SPOT_UM = 100.0, 55.0


def hexagonal(n: int) -> np.ndarray:
    columns = int(np.ceil(np.sqrt(n * np.sqrt(3) / 2)))
    row, column = np.divmod(np.arange(n), columns)
    return np.column_stack([(column + row % 2 / 2) * PITCH_UM, row * PITCH_UM * np.sqrt(3) / 2])


def make_section(n_spots: int, n_pixels: int, n_ions: int) -> Section:
    rng = np.random.default_rng(0)
    spots = hexagonal(n_spots)
    extent = np.ptp(spots, axis=0) + PITCH_UM
    side = float(np.sqrt(extent.prod() / n_pixels))
    columns = int(np.ceil(extent[0] / side))
    row, column = np.divmod(np.arange(n_pixels), columns)
    pixels = np.column_stack([column, row]) * side - PITCH_UM / 2 + side / 2
    var = pd.DataFrame({"mz": np.linspace(100, 1200, n_ions)}, index=[f"mz_{i}" for i in range(n_ions)])
    return build_section(
        st=AnnData(np.ones((n_spots, 1), np.float32), obs=pd.DataFrame(index=[f"s{i}" for i in range(n_spots)])),
        st_xy=spots,
        spot_diameter_um=SPOT_UM,
        msi=AnnData(rng.gamma(2.0, size=(n_pixels, n_ions)).astype(np.float32), var=var),
        msi_xy=pixels,
        pixel_size_um=side,
        msi_to_st=np.eye(3),
    )


def aggregated(
    section: Section, how: str, *, fractions: bool, ions: list[str] | None = None, by: Any = "st_spots"
) -> np.ndarray:
    """Return spots × ions as `spatialdata.aggregate` has them."""
    from spatialdata import aggregate

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas: aggregate inserts one column an ion
        found = aggregate(
            values="msi_pixels",
            by=by,
            values_sdata=section.sdata,
            by_sdata=section.sdata if isinstance(by, str) else None,
            value_key=ions or section.msi.var_names.tolist(),
            agg_func=how,
            target_coordinate_system=SYSTEM,
            fractions=fractions,
            table_name="msi",
            deepcopy=False,
        )
    return dense(found.tables["msi"].X)


def area_mean(section: Section) -> np.ndarray:
    """Return the area-weighted mean of the first ion from two sums of `aggregate`.

    Right only because all pixels have one size: Σ(share × value) / Σ(share). `aggregate` draws a disc
    with 64 corners, which alone changes a mean by 0.1 %: here it is given 2,048.
    """
    import geopandas
    import shapely
    from spatialdata.models import ShapesModel
    from spatialdata.transformations import Identity

    discs = shapely.buffer(shapely.points(section.spots.centres), SPOT_UM / 2, quad_segs=512)
    by = ShapesModel.parse(geopandas.GeoDataFrame(geometry=discs), transformations={SYSTEM: Identity()})
    column = section.sdata.tables["msi"].X[:, 0]
    ions, values = [section.msi.var_names[0]], column.copy()
    total = aggregated(section, "sum", fractions=True, ions=ions, by=by)[:, 0]
    column[:] = 1
    share = aggregated(section, "sum", fractions=True, ions=ions, by=by)[:, 0]
    column[:] = values
    return total / share


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spots", type=int, default=5_000)
    parser.add_argument("--pixels", type=int, default=100_000)
    parser.add_argument("--ions", type=int, default=1_000)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; the median counts")
    sizes = parser.parse_args()
    section = make_section(sizes.spots, sizes.pixels, sizes.ions)

    def ours() -> np.ndarray:
        section.forget_caches()
        return pair_section(section, Pairing(uncovered="nan", min_coverage=0)).dataset.ions.X

    runs: dict[str, Callable[[], np.ndarray]] = {
        "napari-st2msi, areas": ours,
        "aggregate, fractions=False": lambda: aggregated(section, "mean", fractions=False),
        "aggregate, fractions=True": lambda: aggregated(section, "mean", fractions=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    found: dict[str, np.ndarray] = {}
    for _ in range(sizes.repeat):
        for name, run in runs.items():  # by turns, so that a busy machine slows all of them
            took, found[name] = timed(run)
            seconds[name].append(took)

    own, values = np.median(seconds["napari-st2msi, areas"]), found["napari-st2msi, areas"]
    rows = []
    for name in runs:
        took = float(np.median(seconds[name]))
        factor = float(np.nanmedian(found[name] / values))
        r = np.corrcoef(found[name].ravel(), values.ravel())[0, 1]
        rows.append([name, f"{took:.2f}", f"{took / own:.1f}", f"{factor:.2f}", f"{r:.3f}"])
    side = section.pixels().diameter
    table(
        f"{sizes.spots:,} spots of {SPOT_UM:g} µm, {sizes.pixels:,} pixels of {side:.1f} µm, {sizes.ions:,} ions",
        ["", "seconds", "× ours", "value / ours", "r with ours"],
        rows,
    )
    fastest = min(np.median(seconds[name]) for name in runs if name.startswith("aggregate"))
    verdict("faster than spatialdata.aggregate at its fastest", float(fastest / own), 5.0)
    difference = np.nanmax(np.abs(values[:, 0] / area_mean(section) - 1))
    print(f"  largest difference to the area mean had from two sums of aggregate: {difference:.0e} (relative)")


if __name__ == "__main__":
    main()
