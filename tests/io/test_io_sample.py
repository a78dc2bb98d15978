"""Simulated sections: what comes out is of the promised shape, and the truth about it is true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_st2msi.errors import FileProblem, RecipeProblem
from napari_st2msi.io.sample import KINDS, SAMPLES, SampleChoices, Simulation, simulate
from napari_st2msi.progress import Cancelled, Progress
from napari_st2msi.registration.landmark_files import find_landmarks

SMALL = {"n_spots": 600, "n_genes": 200, "ions_per_kind": 4, "image_px": 256}


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate(**SMALL, seed=3)


@pytest.fixture(scope="module")
def cells() -> Simulation:
    return simulate(**SMALL, tissue="tonsil", technology="cells", pixel_size_um=20, warp_um=15)


def test_sizes_and_frames_are_those_of_an_experiment(simulation: Simulation) -> None:
    (section,) = simulation.sections
    assert section.st.shape == (600, 200)
    assert section.msi.n_vars == 4 * len(KINDS)
    assert section.spots.diameter == pytest.approx(55)
    assert not section.registered
    assert section.msi_grid is not None
    assert section.msi_grid.pitch == pytest.approx((50, 50))
    assert section.roles.image is not None
    assert {"array_row", "array_col", "in_tissue"} <= set(section.st.obs)
    assert section.st.var_names.is_unique
    assert section.st.obs_names.is_unique
    assert (section.ions.mz.diff().dropna() > 0).all()
    assert (section.ions.name != "").all()


def test_spots_lie_on_the_visium_lattice(simulation: Simulation) -> None:
    st = simulation.sections[0].st
    row, column = st.obs["array_row"].to_numpy(), st.obs["array_col"].to_numpy()
    assert ((row + column) % 2 == 0).all()
    expected = np.column_stack([column * 50.0, row * 50.0 * np.sqrt(3)])
    offset = st.obsm["spatial"] - expected
    np.testing.assert_allclose(offset, np.broadcast_to(offset[0], offset.shape), atol=1e-6)


def test_the_same_seed_gives_the_same_sample_and_another_one_does_not() -> None:
    few = {"n_spots": 150, "n_genes": 40, "ions_per_kind": 1, "image_px": 128}
    first, again, other = simulate(**few), simulate(**few), simulate(**few, seed=1)
    assert (first.sections[0].st.X != again.sections[0].st.X).nnz == 0
    np.testing.assert_array_equal(first.sections[0].msi.X, again.sections[0].msi.X)
    np.testing.assert_array_equal(first.paired().ions.X, again.paired().ions.X)
    np.testing.assert_array_equal(first.sections[0].sdata["histology"], again.sections[0].sdata["histology"])
    assert (first.sections[0].st.X != other.sections[0].st.X).nnz > 0


def test_counts_are_sparse_and_overdispersed(simulation: Simulation) -> None:
    counts = simulation.sections[0].st.X
    share = counts.nnz / np.prod(counts.shape)
    assert share == pytest.approx(simulation.choices.detection, abs=0.03)
    values = counts.toarray()
    np.testing.assert_array_equal(values, np.rint(values))
    mean, variance = values.mean(axis=0), values.var(axis=0)
    assert np.median((variance / mean)[mean > 0.5]) > 1.3


def test_detection_is_what_was_asked_for() -> None:
    sparse = simulate(**{**SMALL, "ions_per_kind": 1}, detection=0.1).sections[0].st.X
    assert sparse.nnz / np.prod(sparse.shape) == pytest.approx(0.1, abs=0.03)


def test_the_ceiling_is_what_the_true_values_reach(simulation: Simulation) -> None:
    ions = simulation.truth.ions
    assert set(ions["kind"]) == set(KINDS)
    for kind in ("linear", "neighbourhood", "nonlinear", "interaction", "presence"):
        of_kind = ions[ions["kind"] == kind]
        np.testing.assert_allclose(of_kind["ceiling_spots"], of_kind["ceiling"], atol=0.09)
        assert (of_kind["ceiling"] > 0.3).all()
    assert (ions.loc[ions["kind"] == "noise", "reproducible"] < 1e-9).all()
    assert (ions.loc[ions["kind"] == "smooth", "reproducible"] > 0.4).all()
    assert (ions.loc[ions["kind"].isin(["noise", "smooth"]), "ceiling"] < 1e-9).all()
    assert (
        ions.loc[ions["kind"] == "nonlinear", "ceiling"] < ions.loc[ions["kind"] == "nonlinear", "reproducible"]
    ).all()
    linear = ions[ions["kind"] == "linear"]
    assert (linear["ceiling_given_counts"] < linear["ceiling"]).all()
    assert (linear["ceiling_given_counts"] > 0.5 * linear["ceiling"]).all()


def _r2_of_programs(simulation: Simulation, kind: str) -> np.ndarray:
    """In-sample R² of a linear fit of the true activities to the measured ions of a kind."""
    paired = simulation.paired()
    chosen = (simulation.truth.ions["kind"] == kind).to_numpy()
    truth = simulation.truth.sections[simulation.sections[0].name]
    design = np.column_stack([truth.activities, np.ones(len(paired))])
    values = np.log1p(paired.ions.X[:, chosen])
    fitted = design @ np.linalg.lstsq(design, values, rcond=None)[0]
    return 1 - ((values - fitted) ** 2).sum(axis=0) / ((values - values.mean(axis=0)) ** 2).sum(axis=0)


def test_linear_ions_follow_the_programs_up_to_their_ceiling(simulation: Simulation) -> None:
    ions = simulation.truth.ions
    reached = _r2_of_programs(simulation, "linear")
    np.testing.assert_allclose(reached, ions.loc[ions["kind"] == "linear", "ceiling_spots"], atol=0.03)


def test_noise_ions_follow_nothing(simulation: Simulation) -> None:
    # Twelve programs fit 600 spots of noise to 12/600 by chance.
    assert _r2_of_programs(simulation, "noise").max() < 0.06


def test_an_interaction_is_no_sum(simulation: Simulation) -> None:
    ions = simulation.truth.ions
    reached = _r2_of_programs(simulation, "interaction")
    assert (reached < 0.7 * ions.loc[ions["kind"] == "interaction", "ceiling"]).all()


def test_presence_ions_are_absent_elsewhere(simulation: Simulation) -> None:
    kinds = simulation.truth.ions["kind"]
    absent = (simulation.paired().ions.X == 0).mean(axis=0)
    assert ((absent > 0.2) & (absent < 0.8))[kinds == "presence"].all()
    assert (absent[kinds != "presence"] == 0).all()


def test_programs_vary_from_spot_to_spot_and_by_region(simulation: Simulation) -> None:
    truth = simulation.truth.sections["simulated"]
    paired = simulation.paired()
    xy, activity = paired.xy, truth.activities.to_numpy()
    far = np.hypot(*(xy[:, None] - xy[None]).transpose(2, 0, 1))
    first, second = np.nonzero((far > 90) & (far < 110))
    alike = np.array([np.corrcoef(a[first], a[second])[0, 1] for a in activity.T])
    assert (alike > 0.3).all()
    assert (alike < 0.9).all()
    means = truth.activities.groupby(truth.regions).mean()
    assert (means.std() > 0.3).all()


def test_markers_rise_where_their_program_does(simulation: Simulation) -> None:
    truth = simulation.truth
    activity = truth.sections["simulated"].activities
    genes = simulation.sections[0].st
    total = genes.X.sum(axis=1).A1
    for program in activity.columns[:5]:
        marker = truth.loadings.loc[program].idxmax()
        share = genes[:, marker].X.toarray().ravel() / total
        assert np.corrcoef(np.log1p(1e3 * share), activity[program])[0, 1] > 0.25


def test_pixels_measure_the_same_tissue_as_spots(simulation: Simulation) -> None:
    (section,) = simulation.sections
    truth = simulation.truth.sections[section.name]
    from scipy.spatial import cKDTree

    paired = simulation.paired()
    nearest = cKDTree(truth.pose.to_st(section.msi.obsm["spatial"])).query(paired.xy)[1]
    kinds = simulation.truth.ions["kind"].to_numpy()
    there, here = np.log1p(section.msi.X[nearest]), np.log1p(paired.ions.X)
    alike = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(there.T, here.T, strict=True)])
    # Two independent measurements of one signal correlate by its reproducible share, a little less
    # because a pixel does not lie on the centre of the spot.
    expected = simulation.truth.ions["reproducible"].to_numpy()
    assert (alike[kinds == "linear"] > 0.7 * expected[kinds == "linear"]).all()
    assert np.abs(alike[kinds == "noise"]).max() < 0.2


def test_glass_around_the_tissue_is_dark(simulation: Simulation) -> None:
    (section,) = simulation.sections
    tissue = simulation._specimens[0].layout.tissue
    depth = tissue.depth_at(simulation.truth.sections[section.name].pose.to_st(section.msi.obsm["spatial"]))
    total = section.msi.X.sum(axis=1)
    assert (depth < -60).mean() > 0.05
    assert np.median(total[depth < -60]) < 0.1 * np.median(total[depth > 60])


def test_landmarks_fit_the_map_up_to_the_click(simulation: Simulation) -> None:
    (section,) = simulation.sections
    truth = simulation.truth.sections[section.name]
    marks = truth.landmarks
    true_fixed = marks[["true_fixed_x", "true_fixed_y"]].to_numpy()
    np.testing.assert_allclose(
        truth.pose.to_st(marks[["true_moving_x", "true_moving_y"]].to_numpy()), true_fixed, atol=0.1
    )
    error = marks[["fixed_x", "fixed_y"]].to_numpy() - true_fixed
    assert 0 < np.sqrt((error**2).mean()) < 2 * simulation.choices.click_um
    found = find_landmarks(section)
    np.testing.assert_allclose(found.fixed, marks[["fixed_x", "fixed_y"]].to_numpy())
    np.testing.assert_allclose(found.moving, marks[["moving_x", "moving_y"]].to_numpy())
    assert np.hypot(*(true_fixed[:, None] - true_fixed[None]).T)[~np.eye(len(marks), dtype=bool)].min() > 200


def test_cropped_msi_lacks_one_side() -> None:
    whole = simulate(**SMALL, rotation_deg=0, reflection=False, warp_um=0).sections[0]
    cropped = simulate(**SMALL, rotation_deg=0, reflection=False, warp_um=0, crop=0.4).sections[0]
    share = cropped.msi.n_obs / whole.msi.n_obs
    assert 0.4 < share < 0.75
    assert np.ptp(cropped.msi.obsm["spatial"], axis=0)[0] < 0.7 * np.ptp(whole.msi.obsm["spatial"], axis=0)[0]


def test_sections_share_programs_and_differ_by_batch() -> None:
    two = {**SMALL, "n_spots": 300, "n_sections": 2}
    plain, batched = simulate(**two, batch=0.0), simulate(**two, batch=0.8)
    assert [section.name for section in batched.sections] == ["simulated 1", "simulated 2"]
    assert batched.sections[0].st.var_names.equals(batched.sections[1].st.var_names)

    def shift(simulation: Simulation) -> tuple[float, float]:
        paired = simulation.paired()
        first = paired.sections == "simulated 1"
        genes, ions = paired.genes.X.toarray(), np.log1p(paired.ions.X)
        common = genes.mean(axis=0) > 0.3
        ratio = np.log(genes[first].mean(axis=0)[common] / genes[~first].mean(axis=0)[common])
        return float(ratio.std()), float((ions[first].mean(axis=0) - ions[~first].mean(axis=0)).std())

    assert shift(batched)[0] > 2 * shift(plain)[0]
    assert shift(batched)[1] > 2 * shift(plain)[1]
    gains = [truth.gain for truth in batched.truth.sections.values()]
    assert not np.allclose(*gains)
    assert all((truth.gain == 1).all() for truth in plain.truth.sections.values())


def test_cells_are_polygons_that_do_not_overlap(cells: Simulation) -> None:
    import shapely

    (section,) = cells.sections
    polygons = section.sdata["st_spots"].geometry.to_numpy()
    assert len(polygons) == 600
    first, _ = shapely.STRtree(polygons).query(polygons, predicate="overlaps")
    assert len(first) == 0
    assert 3 < section.spots.diameter < 10
    assert len(cells.paired()) == 600


def test_cells_crowd_where_nuclei_do(cells: Simulation) -> None:
    truth = next(iter(cells.truth.sections.values()))
    tissue = cells._specimens[0].layout.tissue
    names = [region.name for region in tissue.regions]
    found = np.array([(truth.regions == name).sum() for name in names]) / tissue.shares()
    assert found[names.index("mantle zone")] > 2 * found[names.index("connective tissue")]


def test_every_ready_made_sample_can_be_chosen() -> None:
    for choices in SAMPLES.values():
        assert isinstance(choices, SampleChoices)
        small = simulate(choices, n_spots=150, n_genes=30, ions_per_kind=1, image_px=128)
        assert len(small.sections) == choices.n_sections


def test_real_visium_positions_are_kept(real_data: Path) -> None:
    folder = real_data / "magpie_sma_V11L12-038_D1"
    simulation = simulate(geometry=folder, n_genes=30, ions_per_kind=1, image_px=256)
    (section,) = simulation.sections
    assert section.st.n_obs == 2913
    from napari_st2msi.io.visium import visium_geometry

    geometry = visium_geometry(folder)
    np.testing.assert_allclose(section.st.obsm["spatial"], geometry.xy_um[geometry.in_tissue])
    assert (simulation._specimens[0].layout.tissue.depth_at(section.st.obsm["spatial"]) > 0).all()


def test_histology_shows_tissue_on_white_glass(simulation: Simulation) -> None:
    (section,) = simulation.sections
    picture = np.asarray(section.sdata["histology"]).transpose(1, 2, 0).astype(float)
    from spatialdata.transformations import get_transformation

    matrix = get_transformation(section.sdata["histology"], "st2msi").to_affine_matrix(("x", "y"), ("x", "y"))
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]] + 0.5
    xy = np.stack([columns, rows], axis=-1) @ matrix[:2, :2].T + matrix[:2, 2]
    depth = simulation._specimens[0].layout.tissue.depth_at(xy)
    assert picture[depth < -60].mean() > 225
    tissue = picture[depth > 60].mean(axis=0)
    # Stained: green is absorbed most.
    assert tissue[1] < tissue[2] < 240
    assert tissue[1] < tissue[0]


@pytest.mark.parametrize(
    ("choices", "word"),
    [
        ({"n_spots": 3}, "n_spots"),
        ({"n_spots": 2_000_000}, "n_spots"),
        ({"spots": 300}, "no choice 'spots'"),
        ({"technology": "xenium"}, "technology"),
        ({"warp_um": 500}, "warp_um"),
        ({"ions_per_kind": 0}, "at least one"),
        ({"ions_per_kind": {"linear": 1000}}, "150"),
        ({"ions_per_kind": {"magic": 1}}, "magic"),
        ({"detection": 0}, "detection"),
        ({"geometry": "there", "technology": "cells"}, "visium"),
    ],
)
def test_bad_choices_are_named(choices: dict[str, object], word: str) -> None:
    with pytest.raises(RecipeProblem, match=word):
        simulate(**choices)


def test_a_folder_without_positions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileProblem):
        simulate(geometry=tmp_path)


def test_it_can_be_stopped_and_reports_how_far_it_is() -> None:
    seen: list[float] = []
    simulate(n_spots=100, n_genes=20, ions_per_kind=1, image_px=128, progress=Progress(lambda f, _: seen.append(f)))
    assert seen == sorted(seen)
    assert seen[-1] == 1
    with pytest.raises(Cancelled):
        simulate(n_spots=100, cancelled=lambda: True)
