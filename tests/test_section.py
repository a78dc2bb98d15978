"""`Section`, its roles, and how arrays become one."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from spatialdata.transformations import Affine, set_transformation

from napari_st2msi.errors import DataProblem, GeometryProblem
from napari_st2msi.io.build import build_section
from napari_st2msi.roles import Roles, detect_roles
from napari_st2msi.section import MSI_SYSTEM, SYSTEM, Section


def spots(n: int = 6, genes: int = 4) -> ad.AnnData:
    return ad.AnnData(np.arange(n * genes, dtype=np.float32).reshape(n, genes))


def pixels(side: int = 4, ions: int = 3) -> tuple[ad.AnnData, np.ndarray]:
    table = ad.AnnData(np.ones((side * side, ions), dtype=np.float32))
    table.var["mz"] = 100.0 + np.arange(ions)
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)
    return table, grid * 50.0


@pytest.fixture
def section() -> Section:
    msi, xy = pixels()
    return build_section(
        name="brain",
        st=spots(),
        st_xy=np.random.default_rng(0).random((6, 2)) * 100,
        spot_diameter_um=55.0,
        msi=msi,
        msi_xy=xy,
        pixel_size_um=50.0,
    )


def test_roles_follow_the_content_not_the_names(section: Section) -> None:
    swapped = section.sdata
    swapped.tables["a"], swapped.tables["b"] = swapped.tables.pop("msi"), swapped.tables.pop("st")
    assert detect_roles(swapped) == Roles("b", "st_spots", "a", "msi_pixels", None)


def test_a_role_that_is_not_there_is_named(section: Section) -> None:
    with pytest.raises(DataProblem, match="There is no 'nothing' to use as msi"):
        Section(section.sdata, Roles(st="st", st_element="st_spots", msi="nothing"))


def test_summary_says_what_was_found(section: Section) -> None:
    facts = section.summary()
    assert (facts["spots"], facts["genes"], facts["pixels"], facts["ions"]) == (6, 4, 16, 3)
    assert facts["spot_diameter_um"] == pytest.approx(55)
    assert facts["pixel_size_um"] == pytest.approx(50)
    assert facts["mz_range"] == [100.0, 102.0]
    assert facts["registered"] is False
    assert facts["paired"] is False


def test_msi_lies_over_st_only_after_registration(section: Section) -> None:
    assert section.msi_to_st is None
    with pytest.raises(GeometryProblem, match="not registered yet"):
        section.pixels()
    mirror = np.array([[-1.0, 0, 300], [0, 1, 10], [0, 0, 1]])
    set_transformation(section.sdata["msi_pixels"], Affine(mirror, ("x", "y"), ("x", "y")), SYSTEM)
    np.testing.assert_allclose(section.msi_to_st, mirror)
    own, common = section.pixels(MSI_SYSTEM), section.pixels()
    np.testing.assert_allclose(common.centres, own.centres * [-1, 1] + [300, 10])
    np.testing.assert_allclose(common.area, 2500)


def test_positions_come_in_the_order_of_the_table_not_of_the_element(section: Section) -> None:
    before = section.st.obsm["spatial"]
    table = section.sdata.tables["st"]
    order = np.array([3, 1, 0, 2, 5, 4])
    section.sdata.tables["st"] = table[order].copy()
    section.forget_caches()
    np.testing.assert_allclose(section.st.obsm["spatial"], before[order])


def test_one_table_for_several_regions_is_cut_to_the_chosen_one(section: Section) -> None:
    other = build_section(name="b", st=spots(5), st_xy=np.arange(10.0).reshape(5, 2), spot_diameter_um=55.0)
    joined = ad.concat([section.sdata.tables["st"], other.sdata.tables["st"]], index_unique="-")
    joined.obs["region"] = pd.Categorical(["st_spots"] * 6 + ["more"] * 5)
    joined.uns["spatialdata_attrs"] = {
        "region": ["st_spots", "more"],
        "region_key": "region",
        "instance_key": "instance",
    }
    section.sdata.shapes["more"] = other.sdata["st_spots"]
    del section.sdata.tables["st"]
    section.sdata.tables["st"] = joined
    assert Section(section.sdata, Roles("st", "st_spots")).st.n_obs == 6
    assert Section(section.sdata, Roles("st", "more")).st.n_obs == 5


def test_giving_st_a_section_label_leaves_the_table_in_the_file_alone(section: Section) -> None:
    assert "section" in section.st.obs
    assert "section" not in section.sdata.tables["st"].obs


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"st_xy": np.zeros((6, 2))}, "lie exactly on another one"),
        ({"st_xy": np.full((6, 2), np.nan)}, "have no position"),
        ({"st_xy": np.zeros((5, 2))}, "two columns are needed"),
        ({"st": spots(0)}, "is empty"),
    ],
)
def test_positions_that_cannot_be_used_are_refused(change: dict, message: str) -> None:
    given = {"st": spots(), "st_xy": np.arange(12.0).reshape(6, 2), "spot_diameter_um": 55.0} | change
    with pytest.raises(DataProblem, match=message):
        build_section(**given)


def test_names_twice_are_refused() -> None:
    table = spots()
    table.var_names = ["Actb", "Actb", "Gapdh", "Mbp"]
    with pytest.raises(DataProblem, match="columns of the table have the same name"):
        build_section(st=table, st_xy=np.arange(12.0).reshape(6, 2), spot_diameter_um=55.0)


def test_pixels_without_a_size_are_refused() -> None:
    msi, xy = pixels()
    with pytest.raises(GeometryProblem, match="size of an MSI pixel is unknown"):
        build_section(msi=msi, msi_xy=xy)


def bend(section: Section) -> np.ndarray:
    """Put pixels into the section as a registration does that bends them; return their centres."""
    import geopandas
    import shapely
    from spatialdata.models import ShapesModel
    from spatialdata.transformations import Identity

    own = section.pixels(MSI_SYSTEM)
    matrix = np.array([[0.0, 1, 10], [1, 0, 20], [0, 0, 1]])
    set_transformation(section.sdata["msi_pixels"], Affine(matrix, ("x", "y"), ("x", "y")), SYSTEM)
    centres = own.centres[:, ::-1] + [10, 20] + 5 * np.sin(own.centres / 50)
    # Corners whose centroid is not the centre.
    corners = own.corners[..., ::-1] + [10, 20] + np.array([[9.0, 0], [0, 0], [0, 0], [0, 0]])
    frame = geopandas.GeoDataFrame(
        {"centre_x": centres[:, 0], "centre_y": centres[:, 1]}, geometry=shapely.polygons(corners)
    )
    section.sdata["msi_pixels_warped"] = ShapesModel.parse(frame[::-1], transformations={SYSTEM: Identity()})
    section.remember(warped={"element": "msi_pixels_warped", "msi_to_st": matrix.tolist()})
    section.forget_caches()
    return centres


def test_bent_pixels_lie_where_they_were_put_and_not_where_the_affine_says(section: Section) -> None:
    own = section.pixels(MSI_SYSTEM).centres
    centres = bend(section)
    assert section.warped_element == "msi_pixels_warped"
    assert section.registered
    np.testing.assert_allclose(section.pixels().centres, centres)
    np.testing.assert_allclose(section.msi_xy_in_st, centres)
    assert section.pixels().corners.shape == (16, 4, 2)
    np.testing.assert_allclose(section.pixels(MSI_SYSTEM).centres, own)
    np.testing.assert_allclose(section.msi.obsm["spatial"], own)


def test_bent_pixels_count_only_while_the_msi_lies_there(section: Section) -> None:
    own = section.pixels(MSI_SYSTEM).centres
    bend(section)
    elsewhere = np.array([[0.0, 1, 10], [1, 0, 21], [0, 0, 1]])
    set_transformation(section.sdata["msi_pixels"], Affine(elsewhere, ("x", "y"), ("x", "y")), SYSTEM)
    assert section.warped_element is None
    np.testing.assert_allclose(section.pixels().centres, own[:, ::-1] + [10, 21])
    np.testing.assert_allclose(section.msi_xy_in_st, own[:, ::-1] + [10, 21])


@pytest.mark.parametrize("what", ["gone", "nonsense", "another"])
def test_bent_pixels_that_are_missing_or_of_another_element_do_not_count(section: Section, what: str) -> None:
    bend(section)
    laid = dict(section.attrs["warped"])
    if what == "gone":
        del section.sdata["msi_pixels_warped"]
    else:
        section.remember(warped={**laid, **({"msi_to_st": "x"} if what == "nonsense" else {"element": "other"})})
    assert section.warped_element is None


def test_places_over_the_st_need_a_registration(section: Section) -> None:
    with pytest.raises(GeometryProblem, match="not registered yet"):
        _ = section.msi_xy_in_st
