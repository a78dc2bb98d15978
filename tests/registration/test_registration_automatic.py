"""Registration without landmarks: found, judged, refined, stopped, refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rebuilt import picture, rebuilt, with_values
from scipy.spatial import cKDTree

from napari_st2msi import simulate
from napari_st2msi.errors import DataProblem, GeometryProblem
from napari_st2msi.io.build import build_section
from napari_st2msi.io.sample import Simulation
from napari_st2msi.progress import Cancelled, Progress
from napari_st2msi.registration.automatic import propose
from napari_st2msi.registration.landmark_files import find_landmarks
from napari_st2msi.registration.masks import spots_on_tissue, st_mask
from napari_st2msi.registration.registration import Registration
from napari_st2msi.registration.sides import fixed_side
from napari_st2msi.roles import Roles
from napari_st2msi.section import MSI_SYSTEM, Section

SMALL: dict[str, Any] = {"n_spots": 350, "n_genes": 150, "ions_per_kind": 4, "image_px": 300, "pixel_size_um": 70}
EASY: dict[str, Any] = {"seed": 11, "rotation_deg": 140, "reflection": True, "scale": 1.1, "warp_um": 100}


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate(**SMALL, **EASY)


@pytest.fixture(scope="module")
def found(simulation: Simulation) -> Registration:
    return propose(simulation.sections[0])


def error_um(simulation: Simulation, registration: Registration) -> float:
    section = simulation.sections[0]
    pixels = section.pixels(MSI_SYSTEM).centres
    true = simulation.truth.sections[section.name].pose.to_st(pixels)
    on = cKDTree(section.spots.centres).query(true)[0] < 75
    return float(np.median(np.hypot(*(registration.transform.forward(pixels[on]) - true[on]).T)))


def without(section: Section, *, st: bool = False, image: bool = False) -> Section:
    """The same section as if it had been opened without its ST, or without its histology."""
    roles = section.roles
    if st:
        roles = replace(roles, st=None, st_element=None)
    if image:
        roles = replace(roles, image=None)
    return Section(section.sdata, roles, name=section.name)


def test_within_a_pixel_and_trusted(simulation: Simulation, found: Registration) -> None:
    assert error_um(simulation, found) < 0.3 * 70
    assert found.source == "automatic"
    assert found.reflects
    assert len(found.landmarks) == 0
    trust = found.trust
    assert trust is not None
    assert trust.trusted, trust.reasons
    assert trust.measures["expected_error_um"] < 70
    assert trust.measures["dice"] > 0.9
    assert trust.measures["margin"] > 1.2
    assert any("expected" in reason for reason in trust.reasons)
    # It is proposed and not applied.
    assert not simulation.sections[0].registered
    again = Registration.from_dict(found.to_dict())
    assert again.fingerprint == found.fingerprint


def test_the_same_every_time(simulation: Simulation, found: Registration) -> None:
    assert propose(simulation.sections[0]).fingerprint == found.fingerprint


def test_genes_alone_are_enough(simulation: Simulation) -> None:
    found = propose(without(simulation.sections[0], image=True))
    assert error_um(simulation, found) < 0.3 * 70


@pytest.mark.slow
def test_the_stain_alone_is_enough() -> None:
    simulation = simulate(**SMALL | {"n_spots": 1200}, **EASY)
    found = propose(without(simulation.sections[0], st=True))
    assert error_um(simulation, found) < 70


@pytest.mark.slow
def test_pixels_on_no_grid(simulation: Simulation) -> None:
    section = simulation.sections[0]
    turn = np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    xy = section.msi.obsm["spatial"] @ turn.T
    moved = rebuilt(section, msi_xy=xy)
    assert moved.msi_grid is None
    found = propose(moved)
    true = simulation.truth.sections[section.name].pose.to_st(section.msi.obsm["spatial"])
    on = cKDTree(section.spots.centres).query(true)[0] < 75
    assert np.median(np.hypot(*(found.transform.forward(xy) - true)[on].T)) < 0.3 * 70


def test_it_tells_how_it_goes(simulation: Simulation) -> None:
    parts: list[float] = []
    values: list[float] = []
    found = propose(simulation.sections[0], progress=Progress(lambda part, _: parts.append(part)), step=values.append)
    assert parts == sorted(parts)
    assert parts[0] == 0
    assert parts[-1] == 1
    assert found.trust is not None
    assert found.trust.curve == tuple(values)
    assert values[-1] > values[0]


def test_stopping_keeps_the_best_so_far_and_says_so(simulation: Simulation) -> None:
    seen: list[float] = []
    stopped = propose(simulation.sections[0], step=seen.append, cancelled=lambda: len(seen) >= 12)
    assert stopped.trust is not None
    assert not stopped.trust.trusted
    assert any("stopped" in reason for reason in stopped.trust.reasons)
    assert error_um(simulation, stopped) < 200
    assert stopped.warnings == stopped.trust.reasons


def test_stopping_before_anything_was_found(simulation: Simulation) -> None:
    with pytest.raises(Cancelled):
        propose(simulation.sections[0], cancelled=lambda: True)


def test_it_can_be_stopped_anywhere(simulation: Simulation) -> None:
    """It asks often, and what it was told to stop at any point ends as stopped, not as an error."""
    section, asked = without(simulation.sections[0], image=True), [0]

    def stopping(after: float) -> Callable[[], bool]:
        asked[0] = 0

        def cancelled() -> bool:
            asked[0] += 1
            return asked[0] > after

        return cancelled

    propose(section, refine="affine", cancelled=stopping(np.inf))
    often = asked[0]
    assert often > 400
    for after in (2, 5):
        with pytest.raises(Cancelled):
            propose(section, refine="affine", cancelled=stopping(after))
    stopped = propose(section, refine="affine", cancelled=stopping(often - 60))
    assert stopped.trust is not None
    assert not stopped.trust.trusted


def test_a_stain_that_shows_nothing_is_left_alone(simulation: Simulation) -> None:
    """Genes still tell the place: a white picture must not stop them."""
    section = simulation.sections[0]
    bare = without(section, image=True)
    side = fixed_side(rebuilt(section, image=np.full_like(picture(section), 255)))
    assert side.stain is not None
    assert side.stain.shape[1] == 0
    np.testing.assert_allclose(side.features, fixed_side(bare).features)


def test_one_ion_has_no_halves(simulation: Simulation) -> None:
    section = simulation.sections[0]
    with pytest.raises(DataProblem, match="only one ion"):
        propose(rebuilt(section, msi=section.msi[:, :1]))


def test_two_ions_are_enough_to_answer(simulation: Simulation) -> None:
    section = simulation.sections[0]
    found = propose(rebuilt(section, msi=section.msi[:, :2]), refine="affine")
    assert found.trust is not None
    assert np.isfinite(found.trust.measures["expected_error_um"])


def test_spots_beside_the_tissue_do_not_hide_its_outline(simulation: Simulation) -> None:
    """Tables with all positions of the slide say which lie on tissue; the others neither make nor spoil the mask."""
    section = simulation.sections[0]
    st, spots = section.st.copy(), section.spots
    left = spots.centres[:, 0] < np.median(spots.centres[:, 0])
    st.obs["in_tissue"] = left.astype(int)
    bare = rebuilt(section, st=st)
    np.testing.assert_array_equal(spots_on_tissue(bare), left)
    mask = st_mask(bare)
    assert mask.at(spots.centres[left]).all()
    assert mask.at(spots.centres[~left]).mean() < 0.2
    # Half of the spots lie far beside the picture: it is believed all the same, for these are not on tissue.
    beside = spots.centres + np.where(left[:, None], 0, 50_000)
    stained = rebuilt(section, st=st, st_xy=beside, image=picture(section))
    np.testing.assert_array_equal(st_mask(stained).image, st_mask(section).image)


def test_refinement_reports_landmarks_that_it_did_not_see(simulation: Simulation) -> None:
    section = simulation.sections[0]
    landmarks = find_landmarks(section)
    refined = propose(section, landmarks)
    assert refined.source == "refined"
    assert refined.trust is not None
    measures = refined.trust.measures
    # Nine clicks that are 25 µm off on either side: the images know better.
    assert measures["left_out_after_um"] < measures["left_out_before_um"]
    assert np.isnan(measures["margin"])
    assert error_um(simulation, refined) < 0.3 * 70
    assert np.isfinite(refined.left_out_um).all()
    assert any("left out" in reason for reason in refined.trust.reasons)


def test_refinement_that_does_not_help_is_flagged(simulation: Simulation) -> None:
    section = simulation.sections[0]
    truth = simulation.truth.sections[section.name].landmarks
    landmarks = find_landmarks(section)
    # Perfect clicks, but of ions that have nothing to do with the genes.
    rng = np.random.default_rng(0)
    shuffled = rebuilt(section, msi=with_values(section.msi, rng.permutation(section.msi.X)))
    perfect = replace(landmarks, moving=truth[["true_moving_x", "true_moving_y"]].to_numpy())
    perfect = replace(perfect, fixed=truth[["true_fixed_x", "true_fixed_y"]].to_numpy())
    refined = propose(shuffled, perfect)
    assert refined.trust is not None
    assert not refined.trust.trusted


def test_an_affine_when_asked(simulation: Simulation, found: Registration) -> None:
    section = simulation.sections[0]
    straight = propose(section, start=found, refine="affine")
    assert straight.transform.kind == "affine"
    assert straight.source == "refined"
    assert error_um(simulation, straight) < 70


def test_ions_that_say_nothing_are_not_trusted(simulation: Simulation) -> None:
    msi = simulation.sections[0].msi
    shuffled = with_values(msi, np.random.default_rng(0).permutation(msi.X))
    trust = propose(rebuilt(simulation.sections[0], msi=shuffled)).trust
    assert trust is not None
    assert not trust.trusted


class TestBadInput:
    def test_no_contrast(self, simulation: Simulation) -> None:
        section = simulation.sections[0]
        with pytest.raises(DataProblem, match="same in every pixel"):
            propose(rebuilt(section, msi=with_values(section.msi, np.ones(section.msi.shape))))
        with pytest.raises(DataProblem, match="same in every spot"):
            propose(rebuilt(section, st=with_values(section.st, np.ones(section.st.shape))))

    def test_missing_values(self, simulation: Simulation) -> None:
        section = simulation.sections[0]
        msi = section.msi.copy()
        msi.X[5, 5] = np.nan
        with pytest.raises(DataProblem, match=r"NaN|not numbers|missing"):
            propose(rebuilt(section, msi=msi))

    def test_units_that_do_not_fit(self, simulation: Simulation) -> None:
        section = simulation.sections[0]
        with pytest.raises(GeometryProblem, match="size of an MSI pixel"):
            propose(rebuilt(section, msi_xy=section.msi.obsm["spatial"] * 10))

    def test_too_few_spots(self, simulation: Simulation) -> None:
        section = simulation.sections[0]
        counts = section.st.X.toarray()
        counts[30:] = 0
        with pytest.raises(DataProblem, match="Only 30 spots"):
            propose(rebuilt(section, st=with_values(section.st, counts)))

    def test_nothing_to_lay_it_over(self, simulation: Simulation) -> None:
        with pytest.raises(DataProblem, match="neither spots nor histology"):
            propose(without(simulation.sections[0], st=True, image=True))

    def test_no_msi(self, simulation: Simulation) -> None:
        section = simulation.sections[0]
        alone = Section(section.sdata, Roles(**{**vars(section.roles), "msi": None, "msi_element": None}))
        with pytest.raises(DataProblem, match="no table of ions"):
            propose(alone)

    def test_a_picture_of_one_colour(self, simulation: Simulation) -> None:
        msi = simulation.sections[0].msi
        grey = np.full((200, 300, 3), 200, dtype=np.uint8)
        section = build_section(
            msi=msi, msi_xy=msi.obsm["spatial"], pixel_size_um=70.0, image=grey, image_to_um=np.diag([10.0, 10, 1])
        )
        with pytest.raises(DataProblem, match="same colour"):
            propose(section)
