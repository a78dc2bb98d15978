"""Pairing of whole sections: values, what is kept, what is refused, what is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely
from anndata import AnnData
from scipy import sparse

from bent import simulated, true_spline
from napari_st2msi.errors import DataProblem, GeometryProblem
from napari_st2msi.io.build import annotate, build_section
from napari_st2msi.pairing.aggregate import spread
from napari_st2msi.pairing.pair import keep, pair_section, stale, stored, stored_weights
from napari_st2msi.pairing.weights import pair_weights
from napari_st2msi.progress import Cancelled, Progress
from napari_st2msi.recipe import Pairing
from napari_st2msi.registration.persistence import apply
from napari_st2msi.section import MSI_SYSTEM, SYSTEM, Section
from napari_st2msi.shapes import Outlines

RNG = np.random.default_rng(0)


def table(n: int, names: int, *, mz: bool = False, prefix: str = "o") -> AnnData:
    var = pd.DataFrame(index=[f"{'ion' if mz else 'gene'}{i}" for i in range(names)])
    if mz:
        var["mz"] = np.linspace(100, 900, names)
    obs = pd.DataFrame(index=[f"{prefix}{i}" for i in range(n)])
    return AnnData(X=RNG.poisson(5, (n, names)).astype(np.float32), obs=obs, var=var)


def nodes(columns: int, rows: int, pitch: float) -> np.ndarray:
    x, y = np.meshgrid(np.arange(columns), np.arange(rows))
    return np.column_stack([x.ravel(), y.ravel()]) * pitch


def section_of(st_xy: Any = None, msi_xy: Any = None, *, pixel: float = 20.0, ions: int = 4, **changes: Any) -> Section:
    """100 µm spots of 55 µm over 20 µm pixels that cover the lower part of them."""
    st_xy = nodes(6, 8, 100.0) if st_xy is None else np.asarray(st_xy, dtype=float)
    msi_xy = nodes(28, 28, 20.0) - 20.0 if msi_xy is None else np.asarray(msi_xy, dtype=float)
    facts = {
        "name": "one",
        "st": table(len(st_xy), 5, prefix="spot"),
        "st_xy": st_xy,
        "spot_diameter_um": 55.0,
        "msi": table(len(msi_xy), ions, mz=True, prefix="pixel"),
        "msi_xy": msi_xy,
        "pixel_size_um": pixel,
        "msi_to_st": np.eye(3),
    }
    return build_section(**{**facts, **changes})


def test_ions_are_area_weighted_means() -> None:
    section = section_of()
    result = pair_section(section, Pairing(uncovered="nan", min_coverage=0))
    spots = shapely.buffer(shapely.points(section.st.obsm["spatial"]), 27.5, quad_segs=2000)
    areas = shapely.area(shapely.intersection(spots[:, None], shapely.polygons(section.pixels().corners)[None]))
    with np.errstate(invalid="ignore"):
        expected = areas @ section.msi.X / areas.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(result.dataset.ions.X, expected, rtol=1e-4)
    np.testing.assert_allclose(result.coverage, areas.sum(axis=1) / (np.pi * 27.5**2), atol=1e-5)
    assert result.dataset.obs["n_pixels"].tolist() == (areas > 1e-6).sum(axis=1).tolist()
    assert 0 < np.isnan(expected).all(axis=1).sum() < len(expected)


@pytest.mark.parametrize("method", ["overlap", "sum", "radius", "nearest", "inverse_distance"])
def test_uncovered_is_dropped_or_nan_never_zero(method: str) -> None:
    section = section_of()
    section.msi.X[:] += 1  # so that no true value is zero
    dropped = pair_section(section, Pairing(method=method, radius_um=20))
    kept = pair_section(section, Pairing(method=method, radius_um=20, uncovered="nan"))
    without = ~dropped.kept
    assert without.any()
    assert kept.kept.all()
    assert len(dropped.dataset) == dropped.kept.sum()
    assert np.isnan(kept.dataset.ions.X[without]).all()
    assert (dropped.dataset.ions.X > 0).all()
    np.testing.assert_array_equal(kept.dataset.ions.X[dropped.kept], dropped.dataset.ions.X)
    assert dropped.dataset.genes.obs_names.tolist() == section.st.obs_names[dropped.kept].tolist()
    np.testing.assert_array_equal(dropped.dataset.genes.X, section.st.X[dropped.kept])
    assert (dropped.coverage[dropped.kept] >= 0.5).all()


def test_sum_is_the_signal_under_the_spot() -> None:
    """Spots that tile the tissue share out all its signal: nothing lost, nothing doubled."""
    squares = [shapely.box(x, y, x + 50, y + 50) for x in (0, 50) for y in (0, 50)]
    centres = np.array([[s.centroid.x, s.centroid.y] for s in squares])
    section = section_of(centres, nodes(5, 5, 20.0) + 10, cells=squares, spot_diameter_um=None)
    result = pair_section(section, Pairing(method="sum"))
    np.testing.assert_allclose(result.dataset.ions.X.sum(axis=0), section.msi.X.sum(axis=0), rtol=1e-6)
    np.testing.assert_allclose(result.coverage, 1.0)


def test_cells_and_points() -> None:
    cells = [shapely.Point(x, y).buffer(8) for x, y in nodes(6, 8, 100.0)]
    paired = pair_section(section_of(cells=cells, spot_diameter_um=None), Pairing())
    assert len(paired.dataset) > 10
    points = section_of(spot_diameter_um=None)
    with pytest.raises(GeometryProblem, match="spot diameter"):
        pair_section(points, Pairing())
    given = pair_section(points, Pairing(spot_diameter_um=55))
    np.testing.assert_allclose(given.dataset.ions.X, pair_section(_same(points, 55.0), Pairing()).dataset.ions.X)
    assert len(pair_section(points, Pairing(method="nearest")).dataset) > 10


def _same(section: Section, diameter: float) -> Section:
    return section_of(st=section.st, spot_diameter_um=diameter, msi=section.msi)


def test_a_given_diameter_wins_and_says_so_for_cells() -> None:
    cells = [shapely.Point(x, y).buffer(8) for x, y in nodes(6, 8, 100.0)]
    result = pair_section(section_of(cells=cells, spot_diameter_um=None), Pairing(spot_diameter_um=55))
    assert any("55 µm" in warning for warning in result.warnings)


@pytest.mark.parametrize("kind", ["points", "discs"])
def test_pixels_without_outlines_fill_their_grid(kind: str) -> None:
    """The layout that metaspace-converter writes: MSI on points."""
    from spatialdata.models import PointsModel, ShapesModel
    from spatialdata.transformations import get_transformation

    section = section_of()
    expected = pair_section(section, Pairing())
    element = section.sdata["msi_pixels"]
    known = get_transformation(element, get_all=True)
    xy = np.asarray(section.msi.obsm["spatial"])
    del section.sdata["msi_pixels"]
    section.sdata["msi_pixels"] = (
        PointsModel.parse(pd.DataFrame(xy, columns=["x", "y"]), transformations=known)
        if kind == "points"
        else ShapesModel.parse(xy, geometry=0, radius=10.0, transformations=known)
    )
    section.forget_caches()
    result = pair_section(section, Pairing())
    np.testing.assert_allclose(result.dataset.ions.X, expected.dataset.ions.X, rtol=1e-5)
    assert any("20 × 20 µm" in warning for warning in result.warnings)


def test_sparse_ions_give_the_same() -> None:
    section = section_of()
    expected = pair_section(section, Pairing()).dataset.ions.X
    section.sdata.tables["msi"].X = sparse.csr_matrix(section.msi.X)
    section.forget_caches()
    np.testing.assert_allclose(pair_section(section, Pairing()).dataset.ions.X, expected, rtol=1e-6)


def test_one_spot_one_pixel_and_an_ion_that_is_nowhere() -> None:
    one = section_of([[0.0, 0.0]], [[5.0, 5.0]], pixel=100.0)
    result = pair_section(one, Pairing())
    np.testing.assert_allclose(result.dataset.ions.X, one.msi.X, rtol=1e-6)
    assert result.coverage.tolist() == [1.0]
    one.msi.X[:, 2] = 0
    assert (pair_section(one, Pairing()).dataset.ions.X[:, 2] == 0).all()
    keep(one, result)
    assert len(stored(one)) == 1


def test_pixels_without_values_count_as_not_measured() -> None:
    section = section_of()
    section.msi.X[:200] = np.nan
    result = pair_section(section, Pairing(uncovered="nan", min_coverage=0))
    assert np.isfinite(result.dataset.ions.X[result.dataset.covered]).all()
    assert any("200 of 784" in warning for warning in result.warnings)
    assert not np.isin(result.weights.indices, np.arange(200)).any()
    assert result.weights.shape == (48, 784)


@pytest.mark.parametrize(("bad", "words"), [(np.nan, "missing"), (-3.0, "negative"), (np.inf, "infinite")])
def test_bad_intensities_are_refused(bad: float, words: str) -> None:
    section = section_of()
    section.msi.X[5, 1] = bad
    with pytest.raises(DataProblem, match=words):
        pair_section(section, Pairing())


def test_the_same_pixel_twice_is_refused() -> None:
    from spatialdata.transformations import get_transformation, set_transformation

    section = section_of()
    element = section.sdata["msi_pixels"].copy()
    known = get_transformation(section.sdata["msi_pixels"], get_all=True)
    element.loc[1, "geometry"] = element.loc[0, "geometry"]
    set_transformation(element, known, set_all=True)
    section.sdata["msi_pixels"] = element
    section.forget_caches()
    with pytest.raises(DataProblem, match="1 of 784 MSI pixels lie exactly on another"):
        pair_section(section, Pairing())


def test_not_registered() -> None:
    with pytest.raises(GeometryProblem, match="not registered"):
        pair_section(section_of(msi_to_st=None), Pairing())


def test_no_overlap_says_where_both_are() -> None:
    with pytest.raises(GeometryProblem, match=r"x 0 to 500 .* x 89,980 to .*landmarks"):
        pair_section(section_of(msi_xy=nodes(28, 28, 20.0) + [90_000 - 20, 0]), Pairing())


def test_units_that_look_different_are_named() -> None:
    far = np.array([9e4, 9e4])
    with pytest.raises(GeometryProblem, match=r"MSI is about .* times smaller .* millimetres"):
        pair_section(section_of(msi_xy=nodes(28, 28, 0.02) + far, pixel=0.02), Pairing())
    with pytest.raises(GeometryProblem, match=r"MSI is about .* counted in pixels"):
        pair_section(section_of(msi_xy=nodes(28, 28, 1.0) + far, pixel=1.0), Pairing())
    with pytest.raises(GeometryProblem, match=r"ST is about .* millimetres"):
        pair_section(section_of(nodes(6, 8, 0.1) - 900, spot_diameter_um=0.055), Pairing())
    # Both at the origin: some spots meet, and the words still come.
    result = pair_section(section_of(nodes(40, 40, 100.0), nodes(78, 78, 1.0) - 30, pixel=1.0), Pairing())
    assert any("counted in pixels" in warning for warning in result.warnings)


def test_too_much_coverage_asked_for() -> None:
    section = section_of(msi_xy=nodes(28, 28, 20.0), pixel=10.0)  # gaps between the pixels
    with pytest.raises(GeometryProblem, match=r"No spot has 90% .* the best has 2\d%"):
        pair_section(section, Pairing(min_coverage=0.9))


def test_warnings_in_words() -> None:
    warnings = " ".join(pair_section(section_of(pixel=100.0, msi_xy=nodes(7, 6, 100.0) - 50), Pairing()).warnings)
    assert "MSI pixels (100 µm) are larger than spots (55 µm)" in warnings
    assert "feed more than one spot" in warnings
    assert "of 48 spots" in warnings
    fine = section_of(nodes(5, 5, 100.0))
    assert pair_section(fine, Pairing()).warnings == ()


def test_nothing_changes_when_cancelled() -> None:
    section = section_of()
    calls = iter(range(1000))
    with pytest.raises(Cancelled):
        pair_section(section, Pairing(), cancelled=lambda: next(calls) > 3)
    assert not section.paired
    seen: list[float] = []
    pair_section(section, Pairing(), progress=Progress(lambda fraction, _: seen.append(fraction)))
    assert seen == sorted(seen)


@pytest.mark.parametrize("uncovered", ["drop", "nan"])
def test_kept_and_found_again(tmp_path: Path, uncovered: str) -> None:
    from spatialdata import read_zarr

    section = section_of()
    result = pair_section(section, Pairing(uncovered=uncovered))
    keep(section, pair_section(section, Pairing(method="nearest")))
    keep(section, result)  # a second pairing replaces the first
    section.sdata.write(tmp_path / "one.zarr")
    again = Section(read_zarr(tmp_path / "one.zarr"), section.roles, name="one")

    found = stored(again)
    assert found.obs.index.tolist() == result.dataset.obs.index.tolist()
    np.testing.assert_array_equal(found.ions.X, result.dataset.ions.X)
    np.testing.assert_array_equal(found.genes.X, result.dataset.genes.X)
    for column in ("section", "coverage", "n_pixels"):
        assert found.obs[column].tolist() == result.dataset.obs[column].tolist()
    np.testing.assert_allclose(found.xy, result.dataset.xy)
    assert found.ions.var["mz"].tolist() == section.msi.var["mz"].tolist()
    assert (stored_weights(again) != result.weights[result.kept]).nnz == 0
    assert again.attrs["pairing"]["choices"] == Pairing(uncovered=uncovered).model_dump(mode="json")
    assert stale(again) is None
    back = spread(stored_weights(again), found.ions.X[:, 0])
    assert again.msi_grid.image(back).shape == (28, 28)


def test_stale_after_another_registration() -> None:
    from spatialdata.transformations import Affine, set_transformation

    section = section_of()
    assert stale(section) is None
    keep(section, pair_section(section, Pairing()))
    moved = np.array([[1, 0, 30], [0, 1, 40], [0, 0, 1]], dtype=float)
    set_transformation(section.sdata["msi_pixels"], Affine(moved, ("x", "y"), ("x", "y")), SYSTEM)
    section.forget_caches()
    assert "up to 50.0 µm" in (stale(section) or "")
    keep(section, pair_section(section, Pairing()))
    assert stale(section) is None
    section.remember(pairing={"choices": {}})
    assert "Nothing says how MSI lay" in (stale(section) or "")


@pytest.mark.parametrize("method", ["overlap", "nearest"])
def test_under_a_spline_spots_get_the_pixels_that_truly_lie_there(method: str) -> None:
    section, truth = simulated()
    apply(section, true_spline())
    choices = Pairing(method=method, uncovered="nan", min_coverage=0)
    found = pair_section(section, choices)
    own = section.pixels(MSI_SYSTEM)
    true = Outlines(truth.pose.to_st(own.centres), corners=truth.pose.to_st(own.corners))
    expected = pair_weights(section.spots, true, choices)
    straight = section.msi_to_st
    by_affine = Outlines(
        own.centres @ straight[:2, :2].T + straight[:2, 2], corners=own.corners @ straight[:2, :2].T + straight[:2, 2]
    )

    def wrong(weights: sparse.csr_matrix) -> float:
        """The share of all weight that goes to other pixels than it should."""
        return float(abs(weights - expected).sum() / expected.sum() / 2)

    # The spline itself is true to a µm or so, of pixels of 50 µm.
    assert wrong(found.weights) < 0.01
    assert wrong(pair_weights(section.spots, by_affine, choices)) > 0.25


def test_discs_that_an_affine_stretches_are_paired_as_their_grid() -> None:
    from spatialdata.models import ShapesModel
    from spatialdata.transformations import Affine, Identity

    section = section_of()
    xy = section.pixels().centres
    stretch = np.diag([1.2, 1.0, 1.0])
    systems = {"st2msi_msi": Identity(), SYSTEM: Affine(stretch, ("x", "y"), ("x", "y"))}
    del section.sdata["msi_pixels"]
    section.sdata["msi_pixels"] = ShapesModel.parse(xy, geometry=0, radius=10.0, transformations=systems)
    section.forget_caches()
    result = pair_section(section, Pairing())
    assert any("taken as 20 × 20 µm" in warning for warning in result.warnings)
    np.testing.assert_allclose(section.msi_xy_in_st, xy * [1.2, 1.0])
    whole = result.coverage > 0.99
    assert whole.any()
    np.testing.assert_allclose(result.weights[whole].sum(axis=1), np.pi * 27.5**2, rtol=1e-6)


def test_data_that_came_paired() -> None:
    st, ions = table(20, 5, prefix="cell"), table(20, 7, mz=True, prefix="cell")
    section = build_section(name="donor", st=st, st_xy=RNG.uniform(0, 900, (20, 2)), paired=ions)
    found = stored(section)
    np.testing.assert_array_equal(found.ions.X, ions.X)
    np.testing.assert_array_equal(found.genes.X, st.X)
    assert found.obs["coverage"].eq(1).all()
    assert stale(section) is None
    with pytest.raises(DataProblem, match="already paired"):
        pair_section(section, Pairing())
    with pytest.raises(DataProblem, match="unknown"):
        stored_weights(section)


def test_a_paired_table_of_other_spots_is_refused() -> None:
    section = section_of()
    other = annotate(table(48, 3, mz=True), "st_spots")
    other.obs["instance"] += 10
    section.sdata.tables["msi_on_st"] = other
    with pytest.raises(DataProblem, match="10 of 48 paired spots"):
        stored(section)


def test_not_paired_yet() -> None:
    with pytest.raises(DataProblem, match="not paired"):
        stored(section_of())


def test_magpie_geometry(real_data: Path) -> None:
    """The share of in-tissue spots without MSI, as the data's README has it."""
    import json

    folder = real_data / "magpie_sma_V11L12-038_D1"
    spots = pd.read_csv(folder / "tissue_positions_list.csv", header=None, index_col=0)
    landmarks = pd.read_csv(folder / "landmarks_noHE.csv").to_numpy()
    pixels = pd.read_csv(folder / "MSI_metadata.csv")[["x", "y"]].to_numpy(dtype=float) * 100
    hires = json.loads((folder / "scalefactors_json.json").read_text())["tissue_hires_scalef"]

    from scipy.spatial import cKDTree

    full = spots[[5, 4]].to_numpy(dtype=float)
    um = 100 / np.median(cKDTree(full).query(full, k=2)[0][:, 1])
    design = np.column_stack([landmarks[:, :2] * 100, np.ones(len(landmarks))])
    affine = np.linalg.lstsq(design, landmarks[:, 2:] / hires * um, rcond=None)[0].T
    tissue = full[spots[1] == 1] * um
    section = section_of(tissue, pixels, pixel=100.0, ions=2, msi_to_st=np.vstack([affine, [0, 0, 1]]))

    def without(**choices: Any) -> float:
        result = pair_section(section, Pairing(**choices))
        return 100 * float((~result.kept).mean())

    assert len(tissue) == 2913
    assert without(method="radius", radius_um=27.5) == pytest.approx(76, abs=0.5)
    assert without(method="radius", radius_um=50) == pytest.approx(21, abs=0.5)
    assert without(min_coverage=0) == pytest.approx(1.9, abs=0.05)
    words = " ".join(pair_section(section, Pairing()).warnings)
    assert "larger than spots" in words
