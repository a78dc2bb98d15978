"""What either side can show: values where they were measured, colours that stay the same, nothing computed twice."""

from __future__ import annotations

import gc

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix
from scipy.spatial import KDTree

from napari_st2msi import simulate
from napari_st2msi.errors import DataProblem, RecipeProblem
from napari_st2msi.io.build import build_section
from napari_st2msi.registration import views
from napari_st2msi.registration.views import MSI_VIEWS, ST_VIEWS, limits_of, msi_view, msi_views, st_view, st_views
from napari_st2msi.section import MSI_SYSTEM, Section

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def section() -> Section:
    return simulate(n_spots=400, n_genes=250, ions_per_kind=4, seed=3).sections[0]


def at(view: views.View, xy: np.ndarray) -> np.ndarray:
    """What a picture shows at (n, 2) places in µm."""
    column, row = np.rint(np.linalg.solve(view.to_um, np.column_stack([xy, np.ones(len(xy))]).T)[:2]).astype(int)
    return view.image[row, column]


def scattered(*, sparse: bool = False) -> Section:
    """MSI on no grid at all, and cells without size."""
    rng = np.random.default_rng(0)
    values = rng.poisson(2, (300, 6)).astype(np.float32)
    return build_section(
        name="scattered",
        st=AnnData(csr_matrix(values) if sparse else values),
        st_xy=rng.uniform(0, 1000, (300, 2)),
        msi=AnnData(values, var=pd.DataFrame({"mz": np.arange(6) + 100.0}, index=list("abcdef"))),
        msi_xy=rng.uniform(0, 1000, (300, 2)),
        pixel_size_um=20,
    )


def test_all_views_of_a_section(section: Section) -> None:
    assert st_views(section) == ST_VIEWS
    assert msi_views(section) == MSI_VIEWS
    shown = [st_view(section, what, section.st.var_names[0] if what == "gene" else None) for what in ST_VIEWS]
    shown += [msi_view(section, what, section.msi.var_names[0] if what == "ion" else None) for what in MSI_VIEWS]
    for view in shown:
        assert view.rgb == (view.limits is None)
        assert view.image.dtype == (np.uint8 if view.rgb else np.float32)
        assert view.to_um.shape == (3, 3)
        assert view.name
    assert len({view.name for view in shown}) == len(shown)


@pytest.mark.parametrize("kind", ["simulated", "scattered", "sparse"])
def test_values_stand_where_they_were_measured(section: Section, kind: str) -> None:
    shown = section if kind == "simulated" else scattered(sparse=kind == "sparse")
    gene, ion = shown.st.var_names[2], shown.msi.var_names[3]
    counts = np.asarray(shown.st.X.sum(axis=1), dtype=np.float32).ravel()
    column = shown.st.X[:, 2]
    column = np.asarray(column.toarray() if hasattr(column, "toarray") else column).ravel()
    pixels = shown.pixels(MSI_SYSTEM).centres
    for view, xy, values in (
        (st_view(shown, "counts"), shown.spots.centres, counts),
        (st_view(shown, "gene", gene), shown.spots.centres, column),
        (msi_view(shown, "tic"), pixels, shown.total_ions),
        (msi_view(shown, "ion", ion), pixels, np.asarray(shown.msi.X[:, 3]).ravel()),
    ):
        # Scattered cells may be nearer to each other than pictures have pixels.
        assert (at(view, xy) == values).mean() > (0.999 if kind == "simulated" else 0.8)


def test_nothing_is_shown_where_nothing_was_measured(section: Section) -> None:
    counts, clusters = st_view(section, "counts"), st_view(section, "clusters")
    row, column = np.nonzero(np.isfinite(counts.image))
    assert len(row) < counts.image.size
    shown = np.column_stack([column, row]) @ counts.to_um[:2, :2].T + counts.to_um[:2, 2]
    assert KDTree(section.spots.centres).query(shown)[0].max() < 100
    np.testing.assert_array_equal(clusters.image[..., 3] > 0, np.isfinite(counts.image))
    tic = msi_view(section, "tic").image
    assert np.isfinite(tic).sum() == section.msi.n_obs
    assert (msi_view(section, "segmentation").image[..., 3] > 0).sum() == section.msi.n_obs


def test_histology_is_small_and_lies_where_it_did(section: Section) -> None:
    view = st_view(section, "histology")
    assert max(view.image.shape) <= 2000
    assert view.image.shape[2] == 3
    # Tissue is stained, and spots lie on tissue; the corners are glass.
    on, corners = at(view, section.spots.centres), view.image[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert on.mean() < corners.mean() - 10


def test_clusters_are_the_same_each_time(section: Section) -> None:
    first = st_view(section, "clusters").image
    views._kept.clear()
    again = st_view(section, "clusters").image
    np.testing.assert_array_equal(first, again)
    colours = {tuple(colour) for colour in first[first[..., 3] > 0][:, :3].tolist()}
    assert colours <= {tuple(colour) for colour in views._palette().tolist()}
    assert len(colours) == 8


def test_long_work_is_done_once_and_forgotten_with_the_section(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, compute, computed = scattered(), views.ion_components, []

    def counted(section: Section) -> np.ndarray:
        computed.append(section.name)
        return compute(section)

    monkeypatch.setattr(views, "ion_components", counted)
    views._kept.clear()
    for what in ("components", "components", "segmentation"):
        msi_view(shown, what)
    assert computed == ["scattered"]
    assert len(views._kept) == 1
    del shown
    gc.collect()
    assert len(views._kept) == 0


def test_sections_with_one_side_only(section: Section) -> None:
    msi = build_section(name="msi", msi=section.msi, msi_xy=section.msi.obsm["spatial"], pixel_size_um=50)
    assert st_views(msi) == ()
    with pytest.raises(DataProblem, match="no histology"):
        st_view(msi, "histology")
    with pytest.raises(DataProblem, match="no table of genes"):
        st_view(msi, "counts")
    st = build_section(name="st", st=section.st, st_xy=section.spots.centres, spot_diameter_um=55)
    assert st_views(st) == ST_VIEWS[1:]
    assert msi_views(st) == ()
    with pytest.raises(DataProblem, match="no table of ions"):
        msi_view(st, "tic")


def test_what_cannot_be_shown(section: Section) -> None:
    with pytest.raises(RecipeProblem, match=r"cannot show 'proteins'\. Choose one of: histology, counts"):
        st_view(section, "proteins")
    with pytest.raises(RecipeProblem, match=r"cannot show 'counts'\. Choose one of: tic, ion"):
        msi_view(section, "counts")
    with pytest.raises(DataProblem, match=r"no gene 'NOTCH99'\. Choose one of its 250"):
        st_view(section, "gene", "NOTCH99")
    with pytest.raises(DataProblem, match="no ion 'None'"):
        msi_view(section, "ion")


def test_few_components_and_clusters() -> None:
    values = np.tile(np.array([[0, 5], [5, 0], [2, 2]], np.float32), (20, 1))
    xy = np.stack(np.meshgrid(np.arange(10), np.arange(6)), axis=-1).reshape(-1, 2) * 10.0
    var = pd.DataFrame({"mz": [100.0, 200.0]}, index=["a", "b"])
    shown = build_section(name="few", msi=AnnData(values, var=var), msi_xy=xy, pixel_size_um=10)
    assert msi_view(shown, "components").image.shape == (6, 10, 4)
    segments = msi_view(shown, "segmentation").image[..., :3].reshape(-1, 3)
    assert len(np.unique(segments, axis=0)) == 3  # as many as there are different pixels


@pytest.mark.parametrize(
    ("values", "limits"),
    [
        (np.arange(1001), (0, 995)),
        (np.r_[np.zeros(999), 7], (0, 7)),
        (np.zeros(5), (0, 1)),
        (np.full(4, np.nan), (0, 1)),
        (np.array([-2.0, 3.0, np.nan]), (-2, 3)),
    ],
)
def test_limits_leave_out_hotspots(values: np.ndarray, limits: tuple[float, float]) -> None:
    assert limits_of(values.astype(float)) == limits
