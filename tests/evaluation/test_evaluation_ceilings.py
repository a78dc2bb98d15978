"""Ceilings: halves of pixels against a second measurement, isotopologues, nuggets, adjacent sections."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

import napari_st2msi as st2msi
from napari_st2msi import PairedDataset
from napari_st2msi.errors import DataProblem, RecipeProblem
from napari_st2msi.evaluation.ceilings import ceilings, relative
from napari_st2msi.evaluation.repeats import NEUTRON
from napari_st2msi.io import sample
from napari_st2msi.paired import WEIGHTS
from napari_st2msi.progress import Progress, never

RNG = np.random.default_rng(0)


def grid(side: int, pitch: float = 100.0) -> NDArray[np.float64]:
    return pitch * np.argwhere(np.ones((side, side))).astype(float)


def paired_of(
    values: NDArray[np.float64], xy: NDArray[np.float64], mz: list[float] | None = None, section: object = "s"
) -> PairedDataset:
    obs = pd.DataFrame({"section": section}, index=[f"spot{i}" for i in range(len(xy))])
    genes = AnnData(np.ones((len(xy), 1), dtype=np.float32), obs=obs, obsm={"spatial": xy})
    var = pd.DataFrame({"mz": mz or list(100.0 + 10 * np.arange(values.shape[1]))})
    var.index = [f"{value:.4f}" for value in var["mz"]]
    return PairedDataset(genes, AnnData(values.astype(np.float32), obs=obs.copy(), var=var))


@pytest.fixture(scope="module")
def measured() -> tuple[st2msi.Section, PairedDataset, pd.Series, pd.Series]:
    """A section of pixels of 25 µm, and how its spots correlate with a second measurement of the same tissue."""
    simulation = st2msi.simulate(n_spots=500, n_genes=20, ions_per_kind=5, pixel_size_um=25, image_px=128, seed=5)
    section = simulation.sections[0]
    st2msi.register(section)
    paired = st2msi.pair(section)
    weights = paired.pixel_weights
    total = np.asarray(weights.sum(axis=1))

    def again(seed: int) -> NDArray[np.float64]:
        pixels = sample._measure_pixels(
            simulation.choices.model_copy(update={"seed": seed}), 0, simulation._specimens[0], simulation._panel,
            simulation.truth.sections[section.name].gain, section.msi.obsm["spatial"], Progress(), never,
        )  # fmt: skip
        return np.log1p(np.asarray(weights @ np.asarray(pixels.X)) / total)

    one, other = again(101), again(102)
    known = [float(np.corrcoef(a, b)[0, 1]) for a, b in zip(one.T, other.T, strict=True)]
    truth = simulation.truth.ions
    return section, paired, pd.Series(known, index=truth.index), truth["kind"]


def test_halves_of_pixels_meet_a_second_measurement(measured) -> None:
    section, paired, known, kind = measured
    found = ceilings(paired, section=section)
    assert (found.table["source"] == "split_half").all()
    assert found.notes == ()
    off = (found.ceiling - known).abs()
    assert (off <= 0.05).mean() >= 0.8
    assert off[kind != "noise"].max() < 0.1
    # A second measurement finds again what differs inside a spot; the nugget counts that as noise.
    assert found.table["nugget"][kind == "linear"].mean() < known[kind == "linear"].mean() - 0.2


def test_the_gradient_inside_spots_is_no_noise() -> None:
    """Pixels without noise on a steep slope: everything is reproducible."""
    pixels = grid(60, 25.0)
    values = np.exp(0.004 * pixels[:, [0]] + np.array([3.0, 4.0]))
    found = _by_halves(pixels, values)
    assert (found > 0.99).all()


def test_reliability_follows_the_noise_of_pixels() -> None:
    """Four equal pixels a spot, measured twice: the correlation of both is what halves of one tell."""
    pixels = grid(80, 25.0)
    row, column = (pixels // 50).astype(int).T
    signal = 6 + RNG.normal(0, 0.5, (40, 40, 3))[row, column]
    twice = [np.exp(signal + np.array([0.2, 0.6, 1.0]) * RNG.standard_normal(signal.shape)) for _ in range(2)]
    one, other = (np.log1p(each.reshape(40, 2, 40, 2, 3).mean(axis=(1, 3))).reshape(-1, 3) for each in twice)
    known = [np.corrcoef(a, b)[0, 1] for a, b in zip(one.T, other.T, strict=True)]
    assert known[0] > 0.9
    assert known[2] < 0.6
    assert np.allclose(_by_halves(pixels, twice[0]), known, atol=0.05)


def _by_halves(pixels: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return reliabilities of spots of two by two pixels."""
    spot = np.unique((pixels // 50).astype(int), axis=0, return_inverse=True)[1].ravel()
    weights = csr_matrix((np.ones(len(pixels)), (spot, np.arange(len(pixels)))))
    xy = np.asarray(weights @ pixels) / 4
    paired = paired_of(np.asarray(weights @ values) / 4, xy)
    paired.ions.obsm[WEIGHTS] = weights
    table = AnnData(values.astype(np.float32), var=paired.ions.var.copy(), obsm={"spatial": pixels})

    class Pixels:
        msi = table

    return ceilings(paired, section=Pixels()).table["split_half"].to_numpy()


def test_spots_of_one_pixel_say_so() -> None:
    pixels = grid(12, 100.0)
    values = RNG.lognormal(3, 1, (144, 2))
    paired = paired_of(values, pixels)
    paired.ions.obsm[WEIGHTS] = csr_matrix(np.eye(144))
    table = AnnData(values.astype(np.float32), var=paired.ions.var.copy(), obsm={"spatial": pixels})

    class Pixels:
        msi = table

    found = ceilings(paired, section=Pixels())
    assert found.table["split_half"].isna().all()
    assert any("0 of 144 spots have two pixels" in note for note in found.notes)
    rougher, nor = ceilings(paired).notes
    assert "without the section" in rougher
    assert "any ion its isotopologue" in nor
    Pixels.msi = table[:100].copy()
    with pytest.raises(DataProblem, match="not the sections"):
        ceilings(paired, section=Pixels())


def test_isotopologues_are_found_and_tell_the_reliability() -> None:
    n = 4000
    signal = RNG.normal(0, 1, n)
    log = 6 + np.column_stack([signal + 0.5 * RNG.standard_normal(n) for _ in range(2)] + [RNG.standard_normal(n)] * 2)
    mz = [760.5851, 760.5851 + NEUTRON + 0.002, 800.0, 801.02]  # 2.6 ppm off; 21 ppm off
    found = ceilings(paired_of(np.exp(log), RNG.uniform(0, 5000, (n, 2)), mz)).table
    assert found["partner"].tolist() == ["761.5905", "760.5851", "", ""]
    assert np.allclose(found["isotopologue"][:2], 1 / 1.25, atol=0.03)
    assert found["source"].tolist() == ["isotopologue"] * 2 + ["nugget"] * 2
    wide = ceilings(paired_of(np.exp(log), RNG.uniform(0, 5000, (n, 2)), mz), ppm=30).table
    assert (wide["partner"] != "").all()


def test_nuggets_of_a_smooth_image_with_noise() -> None:
    xy = grid(30)
    smooth = np.sin(xy[:, 0] / 500) + np.cos(xy[:, 1] / 600)
    share = np.array([1.0, 0.7, 0.0])
    noise = smooth.std() * np.sqrt((1 - share) / np.maximum(share, 1e-9))
    values = np.where(share > 0, smooth[:, None], 0) + np.minimum(noise, 1) * RNG.standard_normal((900, 3))
    found = ceilings(paired_of(np.exp(6 + values), xy)).ceiling
    assert np.allclose(found, share, atol=0.08)


def test_adjacent_sections_repeat_smooth_images_only() -> None:
    xy = grid(20)
    smooth = np.sin(xy[:, 0] / 600)
    both = [np.column_stack([smooth, RNG.standard_normal(400)]) + 0.1 * RNG.standard_normal((400, 2)) for _ in range(2)]
    section = ["a"] * 400 + ["b"] * 400
    paired = paired_of(np.exp(5 + np.vstack(both)), np.vstack([xy, xy + 50]), section=section)
    paired.genes.obs_names = paired.ions.obs_names = [f"spot{i}" for i in range(800)]
    found = ceilings(paired, adjacent_sections=("a", "b")).table
    assert found["adjacent"].iloc[0] > 0.9
    assert found["adjacent"].iloc[1] < 0.1
    assert (found["source"] == "adjacent").all()
    with pytest.raises(RecipeProblem, match="no 'c'"):
        ceilings(paired, adjacent_sections=("a", "c"))


def test_r2_relative_to_the_ceiling() -> None:
    share = relative([0.4, 0.1, 0.2], [0.8, 0.04, np.nan])
    assert share[0] == pytest.approx(0.5)
    assert np.isnan(share[1:]).all()


def test_bad_input() -> None:
    paired = paired_of(np.ones((9, 1)), grid(3))
    with pytest.raises(RecipeProblem, match="tolerance"):
        ceilings(paired, ppm=0)
    with pytest.raises(RecipeProblem, match="split"):
        ceilings(paired, n_splits=0)
    nothing = paired_of(np.full((9, 1), np.nan), grid(3))
    with pytest.raises(DataProblem, match="No spot has measured ions"):
        ceilings(nothing)
    constant = ceilings(paired).table
    assert constant["ceiling"].isna().all()
    assert constant["source"].tolist() == [""]


def test_what_sections_differ_by_counts_as_reproducible() -> None:
    simulation = st2msi.simulate(
        n_spots=200, n_genes=20, ions_per_kind={"noise": 4}, n_sections=2, image_px=128, seed=0
    )
    paired = simulation.paired()
    alone = ceilings(paired).ceiling
    paired.ions.X[paired.sections == np.unique(paired.sections)[0]] *= 5000
    assert (alone < 0.5).all()
    assert (ceilings(paired).ceiling > 0.9).all()
