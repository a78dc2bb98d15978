"""The main job, whole: from files to ion images that can be believed, and on to a section with ST only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import napari_st2msi as st2msi
from napari_st2msi.errors import GeometryProblem, ModelProblem
from napari_st2msi.io.sample import Simulation
from napari_st2msi.pipeline import keep_prediction, paired_dataset
from napari_st2msi.roles import PREDICTED_TABLE


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return st2msi.simulate(n_spots=700, n_genes=300, ions_per_kind=4, image_px=256, seed=3)


@pytest.fixture(scope="module")
def done(simulation: Simulation, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, pd.DataFrame]:
    """Write the section, open it again, run every step on it, and keep what came out."""
    folder = tmp_path_factory.mktemp("pipeline")
    st2msi.save(simulation.sections[0], folder / "section.zarr")
    section = st2msi.open_section(folder / "section.zarr")
    registration = st2msi.register(section)
    assert registration.left_out["median"] < 100
    paired = st2msi.pair(section)
    recipe = st2msi.Recipe.model_validate({"evaluation": {"n_folds": 4}})
    evaluation = st2msi.evaluate(paired, recipe)
    keep_prediction(section, evaluation.prediction)
    st2msi.save(section)
    st2msi.train(paired, recipe, evaluation=evaluation).save(folder / "model")
    return folder / "section.zarr", folder / "model", evaluation.flat()


def test_what_genes_drive_is_found_and_what_they_do_not_is_not(
    simulation: Simulation, done: tuple[Path, Path, pd.DataFrame]
) -> None:
    _, _, scores = done
    truth = simulation.truth.ions.loc[scores.index]
    share = (scores["r2"] / truth["ceiling_spots"])[truth["kind"] == "linear"]
    assert share.median() > 0.6
    for kind in ("noise", "smooth"):
        own = scores.loc[truth["kind"] == kind]
        assert own["r2"].median() < 0.05
        assert not own["verdict"].str.startswith("predicted from genes").any()
    linear = scores.loc[truth["kind"] == "linear"]
    assert linear["verdict"].str.startswith("predicted from genes").mean() > 0.7


def test_everything_is_in_the_file_when_it_is_opened_again(done: tuple[Path, Path, pd.DataFrame]) -> None:
    path, _, scores = done
    section = st2msi.open_section(path)
    assert section.registered
    assert len(paired_dataset(section)) > 500
    predicted = section.sdata.tables[PREDICTED_TABLE]
    assert predicted.uns["provenance"]["kind"] == "out_of_fold"
    np.testing.assert_allclose(predicted.var["r2"], scores.loc[predicted.var_names, "r2"], rtol=1e-5)


def test_other_readers_open_the_file(done: tuple[Path, Path, pd.DataFrame]) -> None:
    import spatialdata

    sdata = spatialdata.read_zarr(done[0])
    assert {"st", "msi", "msi_on_st", "msi_predicted"} <= set(sdata.tables)
    table = sdata.tables["msi_on_st"]
    element, matched = spatialdata.match_element_to_table(sdata, "st_spots", "msi_on_st")
    assert len(element["st_spots"]) == matched.n_obs == table.n_obs


def test_a_section_with_st_only_is_predicted_by_the_model_folder(
    simulation: Simulation, done: tuple[Path, Path, pd.DataFrame], tmp_path: Path
) -> None:
    _, folder, _ = done
    other = st2msi.simulate(n_spots=300, n_genes=300, ions_per_kind=4, image_px=256, seed=3, n_sections=2).sections[1]
    for name in ("msi", "msi_pixels", "landmarks_st", "landmarks_msi"):
        if name in other.sdata:
            del other.sdata[name]
    query = st2msi.Section(other.sdata, name="new")
    assert not query.has_msi
    model = st2msi.load_model(folder)
    prediction = st2msi.predict(model, query)
    assert prediction.shape == (300, len(simulation.truth.ions))
    assert prediction.uns["provenance"]["kind"] == "new_section"
    assert np.isfinite(prediction.X).all()
    assert (prediction.X >= 0).all()
    keep_prediction(query, prediction)
    st2msi.save(query, tmp_path / "new.zarr")
    again = st2msi.open_section(tmp_path / "new.zarr").predicted
    assert again is not None
    np.testing.assert_allclose(again.X, prediction.X)


def test_foreign_genes_are_refused_with_the_share_that_matches(done: tuple[Path, Path, pd.DataFrame]) -> None:
    model = st2msi.load_model(done[1])
    other = st2msi.simulate(n_spots=200, n_genes=100, ions_per_kind=1, image_px=256).sections[0].st
    other.var_names = [f"Other{i}" for i in range(other.n_vars)]
    with pytest.raises(ModelProblem, match="genes"):
        st2msi.predict(model, other)


def test_steps_out_of_order_say_which_comes_first(simulation: Simulation) -> None:
    section = st2msi.simulate(n_spots=200, n_genes=50, ions_per_kind=1, image_px=256).sections[0]
    with pytest.raises(GeometryProblem, match="Register first"):
        st2msi.pair(section)
