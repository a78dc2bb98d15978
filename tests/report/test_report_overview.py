"""The picture of the section: the stain where it lies, coverage as it is, and words that tell the error."""

from __future__ import annotations

import numpy as np

import napari_st2msi as st2msi
from napari_st2msi.io.build import build_section
from napari_st2msi.report.overview import histology, overview_figure, overview_words


def test_the_stain_lies_where_it_was_put() -> None:
    simulation = st2msi.simulate(n_spots=100, n_genes=20, ions_per_kind=1, image_px=128)
    st = simulation.sections[0].st
    image = np.zeros((40, 1100, 3), dtype=np.uint8)
    image[:, :550] = [200, 10, 20]
    to_um = np.array([[2.0, 0, 100], [0, 2.0, -50], [0, 0, 1]])
    section = build_section(st=st, st_xy=st.obsm["spatial"], image=image, image_to_um=to_um)
    stored, matrix = histology(section)
    assert stored.shape[2] == 3
    # Corners of the picture, at whatever resolution it was read, are where they were put.
    corner = matrix @ [stored.shape[1], stored.shape[0], 1]
    np.testing.assert_allclose(corner[:2], [2 * 1100 + 100, 2 * 40 - 50])
    np.testing.assert_array_equal(stored[0, 0], [200, 10, 20])


def test_coverage_and_error_are_those_of_the_section() -> None:
    section = st2msi.simulate(n_spots=100, n_genes=20, ions_per_kind=1, image_px=128, crop=0.3).sections[0]
    registration = st2msi.register(section)
    paired = st2msi.pair(section)
    figure = overview_figure(section, paired)
    stain, coverage = figure.axes[:2]
    assert len(stain.images) == 1
    np.testing.assert_allclose(coverage.collections[0].get_array(), paired.obs["coverage"])
    assert stain.get_xlim() == coverage.get_xlim()
    words = overview_words(section)
    assert f"{registration.left_out['median']:,.0f} µm (median)" in words
    assert f"{section.msi.n_obs:,} MSI pixels of 50 µm" in words


def test_how_it_was_registered_is_said() -> None:
    section = st2msi.simulate(n_spots=100, n_genes=20, ions_per_kind=1, image_px=128).sections[0]
    facts = st2msi.register(section, transform="thin_plate").to_dict()
    assert "by 9 landmarks (thin plate); each, predicted from the others, is missed by" in overview_words(section)
    section.remember(registration=facts | {"source": "refined"})
    assert "automatically (thin plate); each of 9 landmarks, left out, is missed by" in overview_words(section)
    none = {"ids": [], "moving_um": [], "fixed_um": [], "enabled": []}
    trust = {"trusted": False, "reasons": ["Too dark."], "measures": {}, "curve": []}
    section.remember(registration=facts | {"source": "automatic", "landmarks": none, "left_out_um": [], "trust": trust})
    words = overview_words(section)
    assert "without landmarks to measure the error by" in words
    assert "not trusted: Too dark." in words
