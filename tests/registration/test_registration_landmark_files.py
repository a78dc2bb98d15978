"""Files of landmarks: every format there and back, units that are not said, and what people get wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from landmark_samples import plain_section, reread

from napari_st2msi.errors import DataProblem, FileProblem, GeometryProblem, RecipeProblem
from napari_st2msi.io.build import build_section, histology_element
from napari_st2msi.io.visium import visium_geometry
from napari_st2msi.registration.fit import fit
from napari_st2msi.registration.landmark_files import FORMATS, elements, read_landmarks, write_landmarks
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.section import Section

pytestmark = pytest.mark.filterwarnings("ignore")
#: Where the MSI of the test section begins, so that exchanged sides and axes are seen.
CORNER = np.array([20_000.0, 3000.0])
SIZE = np.array([5000.0, 4000.0])


@pytest.fixture(scope="module")
def section() -> Section:
    return plain_section(CORNER)


def drawn(seed: int, n: int = 9) -> Landmarks:
    """Landmarks all over the section, some not used, with names that need quoting."""
    rng = np.random.default_rng(seed)
    ids = tuple(rng.choice(["L", "pair, ", 'the "left" ', "µ"]) + str(i) for i in range(n))
    corners = np.array([[0.05, 0.05], [0.95, 0.95]])
    moving = np.vstack([corners, rng.uniform(0, 1, (n - 2, 2))]) * SIZE + CORNER
    fixed = np.vstack([corners, rng.uniform(0, 1, (n - 2, 2))]) * 4000
    return Landmarks(ids, moving, fixed, rng.random(n) < 0.7)


def check_same(found: Landmarks, wanted: Landmarks, *, whole: bool, rtol: float = 0.0) -> None:
    used = np.ones(len(wanted), dtype=bool) if whole else wanted.enabled
    np.testing.assert_allclose(found.moving, wanted.moving[used], rtol=rtol, atol=0)
    np.testing.assert_allclose(found.fixed, wanted.fixed[used], rtol=rtol, atol=0)
    if whole:
        assert found.ids == wanted.ids
        assert found.enabled.tolist() == wanted.enabled.tolist()
    else:
        assert found.enabled.all()


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("format", "suffix"), [("json", ".json"), ("csv", ".csv"), ("bigwarp", ".csv")])
def test_formats_that_keep_everything(section: Section, tmp_path: Path, format: str, suffix: str, seed: int) -> None:
    landmarks, notes = drawn(seed), []
    path = tmp_path / f"points{suffix}"
    assert write_landmarks(section, landmarks, path, format, notes=notes) == [path]
    check_same(read_landmarks(section, path, notes=notes), landmarks, whole=True)
    check_same(read_landmarks(section, str(path), format), landmarks, whole=True)
    assert notes == []


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("format", "suffix"), [("magpie", ".csv"), ("elastix", ".txt"), ("spatialdata", ".zarr")])
def test_formats_that_hold_used_pairs_only(
    section: Section, tmp_path: Path, format: str, suffix: str, seed: int
) -> None:
    landmarks, notes = drawn(seed), []
    written = write_landmarks(section, landmarks, tmp_path / f"points{suffix}", format, notes=notes)
    assert all(path.exists() for path in written)
    assert len(notes) == bool((~landmarks.enabled).any())
    assert all("disabled landmarks were left out" in note for note in notes)
    for path in written:  # of elastix, either file will do
        check_same(read_landmarks(section, path), landmarks, whole=False, rtol=1e-12)


def test_every_format_is_tested_and_replaced_in_place(section: Section, tmp_path: Path) -> None:
    for format in FORMATS:
        path = tmp_path / ("again.zarr" if format == "spatialdata" else f"again_{format}.txt")
        for seed in (1, 2):
            written = write_landmarks(section, drawn(seed), path, format)
        last = drawn(2).moving[drawn(2).enabled][-1]
        found = read_landmarks(section, written[0])
        np.testing.assert_allclose(found.moving[found.enabled][-1], last)
    assert not [each for each in tmp_path.iterdir() if each.name.startswith(".")]


def test_the_ending_tells_the_format(section: Section, tmp_path: Path) -> None:
    landmarks = drawn(0)
    assert json.loads(write_landmarks(section, landmarks, tmp_path / "a.json")[0].read_text())["section"] == "one"
    assert write_landmarks(section, landmarks, tmp_path / "a.csv")[0].read_text().startswith("id,msi_x_um,msi_y_um,")
    assert [path.name for path in write_landmarks(section, landmarks, tmp_path / "a.pts")] == [
        "a_moving.pts",
        "a_fixed.pts",
    ]
    with pytest.raises(RecipeProblem, match="Let it end in"):
        write_landmarks(section, landmarks, tmp_path / "a.xyz")
    with pytest.raises(RecipeProblem, match="no format 'matlab'"):
        write_landmarks(section, landmarks, tmp_path / "a.csv", "matlab")
    with pytest.raises(FileProblem, match="could not be written"):
        write_landmarks(section, landmarks, tmp_path / "nowhere" / "a.csv")


# -- our own JSON -----------------------------------------------------------------------------------


def test_json_of_another_section_version_or_content(section: Section, tmp_path: Path) -> None:
    path = write_landmarks(section, drawn(3), tmp_path / "a.json")[0]
    facts = json.loads(path.read_text())

    def changed(**other: object) -> Path:
        path.write_text(json.dumps({**facts, **other}))
        return path

    notes: list[str] = []
    read_landmarks(section, changed(section="liver 2"), notes=notes)
    assert "written for section 'liver 2', and this is 'one'" in notes[0]
    with pytest.raises(FileProblem, match=r"version 7.*Update it"):
        read_landmarks(section, changed(version=7))
    with pytest.raises(FileProblem, match="damaged"):
        read_landmarks(section, changed(landmarks=[{"id": "a", "msi": [1, 2]}]))
    with pytest.raises(DataProblem, match="'left' and not a number"):
        read_landmarks(section, changed(landmarks=[{"id": "a", "msi": [1, "left"], "st": [1, 2]}]))
    with pytest.raises(DataProblem, match="holds no landmarks"):
        read_landmarks(section, changed(landmarks=[]))
    with pytest.raises(FileProblem, match="holds no landmarks of napari-st2msi or BigWarp"):
        read_landmarks(section, changed(format="something else"))
    path.write_text('{"format": "napari-st2msi landmarks",\n"version": ')
    with pytest.raises(FileProblem, match="no JSON after line 2"):
        read_landmarks(section, path)


def test_landmarks_of_a_registration_report(section: Section, tmp_path: Path) -> None:
    landmarks = drawn(4)
    used = replace(landmarks, enabled=np.ones(len(landmarks), dtype=bool))
    path = tmp_path / "registration.json"
    path.write_text(fit(used, "affine").to_json())
    check_same(read_landmarks(section, path), used, whole=True)


# -- tables -----------------------------------------------------------------------------------------

HEADERS = [
    "id,msi_x_um,msi_y_um,st_x_um,st_y_um",
    "name;Moving X;Moving Y;Fixed X;Fixed Y",
    "\tx_msi\ty_msi\tx_visium\ty_visium",
    '"label","X source (um)","Y source (um)","X target (µm)","Y target (µm)"',
]


@pytest.mark.parametrize("header", HEADERS)
def test_headers_of_others(section: Section, tmp_path: Path, header: str) -> None:
    landmarks = drawn(5)
    separator = max(",;\t", key=header.count)
    rows = [
        separator.join([f"p{i}", *map(repr, [*moving, *fixed])])
        for i, (moving, fixed) in enumerate(zip(landmarks.moving.tolist(), landmarks.fixed.tolist(), strict=True))
    ]
    path = tmp_path / "a.csv"
    path.write_text("\ufeff" + "\n".join([header, *rows, ""]), encoding="utf-8")
    found = read_landmarks(section, path)
    assert found.ids[:2] == ("p0", "p1")
    np.testing.assert_array_equal(found.moving, landmarks.moving)
    np.testing.assert_array_equal(found.fixed, landmarks.fixed)


def test_order_of_columns_decimal_commas_and_flags(section: Section, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("st_y_um;st_x_um;msi_y_um;msi_x_um;used\n4,5;3,5;3002;20001,25;no\n400;300;3200;20100;yes\n")
    found = read_landmarks(section, path)
    np.testing.assert_array_equal(found.moving, [[20001.25, 3002], [20100, 3200]])
    np.testing.assert_array_equal(found.fixed, [[3.5, 4.5], [300, 400]])
    assert found.enabled.tolist() == [False, True]
    path.write_text(path.read_text().replace("yes", "perhaps"))
    with pytest.raises(DataProblem, match="'perhaps' is neither true nor false"):
        read_landmarks(section, path)


@pytest.mark.parametrize("unit", ["px", "pixels"])
def test_pixels_where_the_columns_say_so(section: Section, tmp_path: Path, unit: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"msi_x_{unit},msi_y_{unit},st_x_um,st_y_um\n0,0,1,2\n49,39,3000,4000\n")
    np.testing.assert_allclose(read_landmarks(section, path).moving, [CORNER, CORNER + [4900, 3900]])


def test_tables_that_cannot_be_used(section: Section, tmp_path: Path) -> None:
    header = "id,msi_x_um,msi_y_um,st_x_um,st_y_um\n"
    good = "a,21000,4000,3,4\n"
    with pytest.raises(FileProblem, match="the file is empty"):
        reread(section, tmp_path, " \n")
    with pytest.raises(DataProblem, match="holds no landmarks"):
        reread(section, tmp_path, header)
    with pytest.raises(DataProblem, match="has no header"):
        reread(section, tmp_path, "1,2,3,4\n5,6,7,8\n")
    with pytest.raises(DataProblem, match="lacks the columns msi_y_um, st_y_um"):
        reread(section, tmp_path, "msi_x_um,st_x_um\n1,2\n")
    with pytest.raises(DataProblem, match="two columns for the same thing: 'msi_x_um' and 'x moving'"):
        reread(section, tmp_path, "msi_x_um,x moving,msi_y_um,st_x_um,st_y_um\n1,2,3,4,5\n")
    with pytest.raises(DataProblem, match="different units"):
        reread(section, tmp_path, "msi_x_um,msi_y_px,st_x_um,st_y_um\n1,2,3,4\n")
    with pytest.raises(DataProblem, match="'far left' is not a number"):
        reread(section, tmp_path, header + "a,far left,2,3,4\n")
    with pytest.raises(DataProblem, match="Landmark b has no position on the ST side"):
        reread(section, tmp_path, header + good + "b,21500,4500,7\n")
    with pytest.raises(DataProblem, match=r"Landmarks a and b .* are the same pair"):
        reread(section, tmp_path, header + good + good.replace("a", "b"))
    with pytest.raises(FileProblem, match="not a text file"):
        reread(section, tmp_path, b"\x80\xff\x00binary")
    (tmp_path / "good.csv").write_text(header + good)
    with pytest.raises(FileProblem, match="is not of the format napari-st2msi landmarks"):
        read_landmarks(section, tmp_path / "good.csv", "json")
    with pytest.raises(FileProblem, match="cannot be read"):
        read_landmarks(section, tmp_path / "nowhere.csv")


# -- where landmarks lie ----------------------------------------------------------------------------


def swapped(landmarks: Landmarks) -> Landmarks:
    return replace(landmarks, moving=landmarks.fixed, fixed=landmarks.moving)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (swapped, "columns of MSI and ST in 'a.csv' seem to be exchanged"),
        (lambda good: replace(good, moving=good.moving[:, ::-1]), "x and y of the MSI side in 'a.csv' seem"),
        (lambda good: replace(good, moving=good.moving - [20_000, 0]), "far outside the MSI, which spans 19,950 to"),
        (
            lambda good: replace(good, fixed=good.fixed * 5),
            "far outside the ST, .* are in µm, and that 'a.csv'",
        ),
    ],
)
def test_landmarks_far_outside(
    section: Section, tmp_path: Path, spoil: Callable[[Landmarks], Landmarks], words: str
) -> None:
    write_landmarks(section, spoil(drawn(6)), tmp_path / "a.csv")
    with pytest.raises(GeometryProblem, match=words):
        read_landmarks(section, tmp_path / "a.csv")


def test_a_landmark_beside_the_tissue_is_told(section: Section, tmp_path: Path) -> None:
    good = drawn(7)
    moving = good.moving.copy()
    moving[3, 0] = CORNER[0] + SIZE[0] + 400
    write_landmarks(section, replace(good, moving=moving), tmp_path / "a.json")
    notes: list[str] = []
    read_landmarks(section, tmp_path / "a.json", notes=notes)
    assert notes == [f"Landmark {good.ids[3]} lies outside the MSI. Check that this is meant."]


# -- MAGPIE -----------------------------------------------------------------------------------------


def test_magpie_exchanged_or_without_hires_image(section: Section, tmp_path: Path) -> None:
    path = write_landmarks(section, drawn(8), tmp_path / "a.csv", "magpie")[0]
    header, *rows = path.read_text().splitlines()
    cells = [row.split(",") for row in rows]
    path.write_text("\n".join([header, *(",".join(cell[2:] + cell[:2]) for cell in cells)]))
    with pytest.raises(GeometryProblem, match=r"MSI and ST in 'a\.csv' seem to be exchanged"):
        read_landmarks(section, path)
    path.write_text("\n".join(["X_left,Y_left,X_right", *(",".join(cell[:3]) for cell in cells)]))
    with pytest.raises(DataProblem, match="no single column Y_right"):
        read_landmarks(section, path)
    small = plain_section(CORNER, name="small", image=False)
    with pytest.raises(GeometryProblem, match=r"hires image.* unknown in section 'small'"):
        write_landmarks(small, drawn(8), path, "magpie")


@pytest.mark.real_data
def test_landmarks_that_people_picked(real_data: Path) -> None:
    folder = real_data / "magpie_sma_V11L12-038_D1"
    geometry = visium_geometry(folder)
    metadata = pd.read_csv(folder / "MSI_metadata.csv")
    from spatialdata.transformations import Scale

    spots = np.asarray(geometry.xy_um)
    made = build_section(
        name="brain",
        st=AnnData(np.ones((len(spots), 1), np.float32)),
        st_xy=spots,
        spot_diameter_um=55,
        msi=AnnData(np.ones((len(metadata), 1), np.float32), var=pd.DataFrame({"mz": [1.0]}, index=["a"])),
        msi_xy=metadata[["x", "y"]].to_numpy(float) * 100,
        pixel_size_um=100,
    )
    scale = Scale([geometry.hires_um] * 2, ("x", "y"))
    made.sdata["tissue_hires_image"] = histology_element(np.zeros((2000, 2000, 3), np.uint8), {"st2msi": scale})
    found = read_landmarks(made, folder / "landmarks_noHE.csv")
    registration = fit(found, "affine")
    assert registration.rms_um == pytest.approx(121, abs=1)
    assert registration.left_out["mean"] == pytest.approx(156, abs=1)


# -- BigWarp ----------------------------------------------------------------------------------------

ROWS = """"Pt-0","true","20100.0","3100.0","10.0","20.0"
"Pt-1","false","24000.5","6500.0","3900.0","3500.25"
"Pt-2","false","21000.0","4000.0","Infinity","Infinity"
"""


def test_bigwarp_as_it_is_written(section: Section, tmp_path: Path) -> None:
    path, notes = tmp_path / "landmarks.csv", []
    path.write_text(ROWS)
    found = read_landmarks(section, path, notes=notes)
    assert found.ids == ("Pt-0", "Pt-1")
    assert found.enabled.tolist() == [True, False]
    np.testing.assert_array_equal(found.moving, [[20100, 3100], [24000.5, 6500]])
    np.testing.assert_array_equal(found.fixed, [[10, 20], [3900, 3500.25]])
    assert notes == ["1 landmarks of BigWarp have no counterpart yet and are left out."]
    assert write_landmarks(section, found, path, "bigwarp")[0].read_text() == "".join(ROWS.splitlines(True)[:2])


@pytest.mark.parametrize(("extra", "depth"), [("", False), ("0,", False), ("", True), ("0,", True)])
def test_bigwarp_of_other_versions_and_in_3d(section: Section, tmp_path: Path, extra: str, depth: bool) -> None:
    z = (",1", ",5") if depth else ("", "")
    content = f"Pt-0,true,{extra}20100,3100{z[0]},10,20{z[0]}\nPt-1,true,{extra}24000,6500{z[1]},3900,3500{z[1]}\n"
    found, notes = reread(section, tmp_path, content)
    np.testing.assert_array_equal(found.fixed, [[10, 20], [3900, 3500]])
    assert notes == (["These landmarks are in 3D; their z is left out."] if depth else [])


@pytest.mark.parametrize("calibrated", [False, True])
def test_bigwarp_in_pixels_of_images_without_calibration(section: Section, tmp_path: Path, calibrated: bool) -> None:
    landmarks, notes = drawn(9), []
    # As pixels of 2 µm, the ST side would lie over the image in µm, too; but it would be half as large as the MSI.
    pixels = replace(
        landmarks,
        moving=(landmarks.moving - CORNER) / 100,
        fixed=landmarks.fixed if calibrated else landmarks.fixed / 2 - 0.5,
    )
    path = write_landmarks(section, pixels, tmp_path / "a.csv", "bigwarp")[0]
    found = read_landmarks(section, path, notes=notes)
    np.testing.assert_allclose(found.moving, landmarks.moving)
    np.testing.assert_allclose(found.fixed, landmarks.fixed)
    sides = ["MSI"] if calibrated else ["MSI", "ST"]
    assert len(notes) == len(sides)
    assert all(f"Its {side} side is read in pixels" in note for side, note in zip(sides, notes, strict=True))


def test_sides_of_different_size_are_told(section: Section, tmp_path: Path) -> None:
    good, notes = drawn(9), []
    path = write_landmarks(section, replace(good, fixed=good.fixed / 3), tmp_path / "a.json")[0]
    read_landmarks(section, path, notes=notes)
    assert len(notes) == 1
    assert "3.7 times as far apart on the MSI side as on the ST side" in notes[0]


def test_a_project_of_bigwarp(section: Section, tmp_path: Path) -> None:
    inner = {
        "type": "BigWarpLandmarks",
        "numDimensions": 2,
        "movingPoints": [[20100, 3100], [24000, 6500]],
        "fixedPoints": [[10, 20], [3900, 3500]],
        "active": [True, False],
        "names": ["Pt-0", "Pt-1"],
    }
    path = tmp_path / "project.json"
    path.write_text(json.dumps({"Sources": {}, "landmarks": inner}))
    assert read_landmarks(section, path).enabled.tolist() == [True, False]
    path.write_text(json.dumps({**inner, "names": ["Pt-0"]}))
    with pytest.raises(DataProblem, match=r"project 'project\.json' is damaged"):
        read_landmarks(section, path)


def test_bigwarp_that_is_damaged(section: Section, tmp_path: Path) -> None:
    with pytest.raises(DataProblem, match="has 5 columns"):
        reread(section, tmp_path, "Pt-0,true,1,2,3\n")
    with pytest.raises(DataProblem, match="line 2: 5 columns where the first line has 6"):
        reread(section, tmp_path, "Pt-0,true,1,2,3,4\nPt-1,true,1,2,3\n")
    with pytest.raises(DataProblem, match="line 1: 'oops' is not a number"):
        reread(section, tmp_path, "Pt-0,true,1,2,3,oops\n")


# -- elastix ----------------------------------------------------------------------------------------


def test_elastix_finds_the_other_file(section: Section, tmp_path: Path) -> None:
    for one, other in (("a_moving.pts", "a_fixed.pts"), ("MSI points.txt", "ST points.txt")):
        (tmp_path / one).write_text("index\n2\n0 0\n49 39\n")
        (tmp_path / other).write_text("point\n2\n10 20\n3900 3500\n")
        for name in (one, other):
            found = read_landmarks(section, tmp_path / name)
            np.testing.assert_allclose(found.moving, [CORNER, CORNER + [4900, 3900]])
            np.testing.assert_allclose(found.fixed, [[10, 20], [3900, 3500]])


def test_elastix_in_millimetres(section: Section, tmp_path: Path) -> None:
    landmarks, notes = drawn(10), []
    scaled = replace(landmarks, moving=landmarks.moving / 1000, fixed=landmarks.fixed / 1000)
    paths = write_landmarks(section, scaled, tmp_path / "a.txt", "elastix")
    check_same(read_landmarks(section, paths[0], notes=notes), landmarks, whole=False, rtol=1e-9)
    assert ["read in mm" in note for note in notes] == [True, True]


def test_elastix_that_is_damaged(section: Section, tmp_path: Path) -> None:
    moving, fixed = tmp_path / "a_moving.txt", tmp_path / "a_fixed.txt"
    moving.write_text("point\n2\n20100 3100\n24000 6500\n")
    with pytest.raises(FileProblem, match=r"the other, 'a_fixed\.txt', is not beside it"):
        read_landmarks(section, moving)
    fixed.write_text("point\n1\n10 20\n")
    with pytest.raises(DataProblem, match=r"'a_moving\.txt' holds 2 points and 'a_fixed\.txt' 1"):
        read_landmarks(section, fixed)
    fixed.write_text("point\n3\n10 20\n30 40\n")
    with pytest.raises(DataProblem, match="says 3 points but holds 2"):
        read_landmarks(section, fixed)
    fixed.write_text("point\n2\n10 20\n30 here\n")
    with pytest.raises(DataProblem, match="point 2: '30 here' is no pair of numbers"):
        read_landmarks(section, fixed)
    fixed.write_text("10 20\n30 40\n")
    with pytest.raises(DataProblem, match="its first line must be 'point' or 'index'"):
        read_landmarks(section, moving)
    alone = tmp_path / "test.txt"
    alone.write_text("point\n1\n1 2\n")
    with pytest.raises(FileProblem, match="its name does not tell which"):
        read_landmarks(section, alone)


# -- spatialdata ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mirrored", [False, True])
def test_spatialdata_aligns_with_what_we_write(section: Section, tmp_path: Path, mirrored: bool) -> None:
    import spatialdata
    from spatialdata.transformations import align_elements_using_landmarks

    moving = drawn(11).moving
    linear = 0.8 * np.array([[0.6, -0.8], [0.8, 0.6]]) @ np.diag([-1.0 if mirrored else 1.0, 1.0])
    fixed = (moving - CORNER - SIZE / 2) @ linear.T + 2000
    landmarks = Landmarks(tuple(map(str, range(len(moving)))), moving, fixed)
    path = write_landmarks(section, landmarks, tmp_path / "points.zarr")[0]
    stored = spatialdata.read_zarr(path)
    align_elements_using_landmarks(
        references_coords=stored["landmarks_st"],
        moving_coords=stored["landmarks_msi"],
        reference_element=section.sdata["st_spots"],
        moving_element=section.sdata["msi_pixels"],
        reference_coordinate_system="st2msi",
        moving_coordinate_system="st2msi_msi",
        new_coordinate_system="aligned",
    )
    laid = spatialdata.transform(section.sdata["msi_pixels"], to_coordinate_system="aligned")
    centres = np.column_stack([laid.centroid.x, laid.centroid.y])
    wanted = (np.asarray(section.msi.obsm["spatial"]) - CORNER - SIZE / 2) @ linear.T + 2000
    np.testing.assert_allclose(centres, wanted, atol=1e-6)


def test_circles_drawn_in_napari_spatialdata(section: Section) -> None:
    import spatialdata
    from spatialdata.models import ShapesModel
    from spatialdata.transformations import Scale, set_transformation

    landmarks = drawn(12)
    # Drawn on elements that have a `global` in half µm, as their own readers set it.
    for element in ("st_spots", "msi_pixels"):
        set_transformation(section.sdata[element], Scale([2.0, 2.0], ("x", "y")), "global")
    circles = {
        f"landmarks_{side}": ShapesModel.parse(2 * xy, geometry=0, radius=10)
        for side, xy in (("moving", landmarks.moving), ("reference", landmarks.fixed))
    }
    sdata = spatialdata.SpatialData.init_from_elements(circles)
    found = elements.from_elements(section, sdata, "landmarks_moving", "landmarks_reference")
    np.testing.assert_allclose(found.moving, landmarks.moving)
    np.testing.assert_allclose(found.fixed, landmarks.fixed)
    with pytest.raises(DataProblem, match="no element 'landmarks_st'"):
        elements.from_elements(section, sdata, "landmarks_moving", "landmarks_st")
    with pytest.raises(DataProblem, match="neither points nor circles"):
        elements.from_elements(section, section.sdata, "msi_pixels", "st_spots")
    sdata["landmarks_reference"] = ShapesModel.parse(landmarks.fixed[:4], geometry=0, radius=1)
    with pytest.raises(DataProblem, match="'landmarks_moving' holds 9 points and 'landmarks_reference' 4"):
        elements.from_elements(section, sdata, "landmarks_moving", "landmarks_reference")


def test_stores_without_a_pair_of_elements(section: Section, tmp_path: Path) -> None:
    import spatialdata
    from spatialdata.models import PointsModel
    from spatialdata.transformations import Identity

    one = PointsModel.parse(drawn(13).fixed, transformations={"elsewhere": Identity()})
    path = tmp_path / "other.zarr"
    spatialdata.SpatialData.init_from_elements({"landmarks_st": one}).write(path)
    with pytest.raises(DataProblem, match=r"'other\.zarr' must hold .* It holds: landmarks_st"):
        read_landmarks(section, path)
    both = tmp_path / "both.zarr"
    spatialdata.SpatialData.init_from_elements({"landmarks_st": one, "landmarks_msi": one}).write(both)
    with pytest.raises(DataProblem, match="lies in elsewhere, which has nothing in common"):
        read_landmarks(section, both)
    spatialdata.SpatialData.init_from_elements({"cells": one}).write(tmp_path / "cells.zarr")
    with pytest.raises(FileProblem, match="holds more than landmarks"):
        write_landmarks(section, drawn(13), tmp_path / "cells.zarr")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileProblem, match="cannot be read"):
        read_landmarks(section, tmp_path / "empty")
    with pytest.raises(FileProblem, match="is a folder"):
        read_landmarks(section, tmp_path / "empty", "csv")
