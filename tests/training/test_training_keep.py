import numpy as np
import pytest

from napari_st2msi.errors import DataProblem
from napari_st2msi.evaluation.evaluate import cross_validate
from napari_st2msi.io.build import build_section
from napari_st2msi.training.fit import fit_model
from napari_st2msi.training.keep import keep_prediction
from planted import planted

DATA = planted(n_side=10)


def section(name="s0"):
    return build_section(name=name, st=DATA.genes, st_xy=DATA.xy, spot_diameter_um=55)


def test_out_of_fold_prediction_is_written_and_read_back(tmp_path):
    import spatialdata

    target = section()
    found = cross_validate(DATA)
    keep_prediction(target, found.prediction)
    target.sdata.write(tmp_path / "s.zarr")
    table = spatialdata.read_zarr(tmp_path / "s.zarr").tables["msi_predicted"]
    np.testing.assert_allclose(table.X, found.prediction.X)
    np.testing.assert_allclose(table.layers["measured"], found.prediction.layers["measured"])
    np.testing.assert_allclose(table.var["r2"], found.flat().r2)
    assert list(table.var["verdict"]) == list(found.flat().verdict)
    assert table.uns["provenance"]["kind"] == "out_of_fold"
    assert table.uns["spatialdata_attrs"]["region"] == "st_spots"


def test_spots_are_matched_by_name_and_a_second_prediction_replaces_the_first():
    target = section()
    model = fit_model(DATA)
    keep_prediction(target, model.predict(target.st))
    order = np.random.default_rng(0).permutation(len(DATA))[:40]
    predicted = model.predict(DATA.genes[order].copy())
    keep_prediction(target, predicted)
    table = target.predicted
    assert table.n_obs == 40
    st = target.sdata.tables["st"]
    names = st.obs_names[st.obs["instance"].searchsorted(table.obs["instance"])]
    assert list(names) == list(DATA.obs.index[order])
    np.testing.assert_allclose(table.X, predicted.X)


def test_of_several_sections_this_one_is_kept():
    data = planted(n_side=10, sections=2)
    predicted = fit_model(data).predict(data.genes)
    predicted.obs_names = [f"{s}:{n}" for s, n in zip(predicted.obs["section"], predicted.obs_names, strict=True)]
    target = build_section(name="s1", st=data.select(data.sections == "s1").genes, st_xy=DATA.xy, spot_diameter_um=55)
    keep_prediction(target, predicted)
    assert target.predicted.n_obs == 100
    np.testing.assert_allclose(target.predicted.X, predicted.X[100:])


def test_a_prediction_of_other_spots_is_refused():
    predicted = fit_model(DATA).predict(DATA.genes)
    predicted.obs_names = [f"other{number}" for number in range(100)]
    with pytest.raises(DataProblem, match="None of the 100 predicted spots"):
        keep_prediction(section(), predicted)


def test_columns_of_the_user_that_are_called_like_ours_stay():
    st = DATA.genes.copy()
    st.obs["Region"], st.obs["region"], st.obs["instance"] = "cortex", "left", 3
    one = build_section(name="s0", st=st, st_xy=DATA.xy, spot_diameter_um=55)
    keep_prediction(one, fit_model(DATA).predict(one.st))
    table = one.predicted
    assert table.n_obs == one.st.n_obs
    attrs = table.uns["spatialdata_attrs"]
    assert (table.obs[attrs["region_key"]] == one.roles.st_element).all()
    assert (table.obs["Region"] == "cortex").all()
