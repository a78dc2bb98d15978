import numpy as np
import pandas as pd
import pytest

from napari_st2msi.errors import DataProblem
from napari_st2msi.features.ions import IonScale, frame_from_json, frame_to_json
from napari_st2msi.recipe import Ions
from planted import planted


@pytest.mark.parametrize("log1p", [True, False])
def test_there_and_back(log1p):
    ions = planted().ions
    scale = IonScale(Ions(log1p=log1p)).fit(ions)
    np.testing.assert_allclose(scale.inverse(scale.forward(ions)), ions.X, rtol=1e-5)


def test_tic_divides_by_total_and_refers_to_the_training_median():
    ions = planted().ions
    scale = IonScale(Ions(normalisation="tic", log1p=False)).fit(ions)
    values = scale.forward(ions)
    assert scale.reference_ == pytest.approx(np.median(ions.X.sum(axis=1)), rel=1e-5)
    np.testing.assert_allclose(values.sum(axis=1), scale.reference_, rtol=1e-5)


def test_tic_reference_comes_from_training_spots_alone():
    ions = planted().ions
    train, held = ions[:100].copy(), ions[100:].copy()
    scale = IonScale(Ions(normalisation="tic")).fit(train)
    brighter = held.copy()
    brighter.X = held.X * 100
    np.testing.assert_allclose(scale.forward(brighter), scale.forward(held), rtol=1e-5)


def test_spot_without_signal_stays_zero():
    ions = planted().ions
    ions.X[0] = 0
    assert (IonScale(Ions(normalisation="tic")).fit(ions).forward(ions)[0] == 0).all()


def test_rare_ions_are_not_learnable():
    ions = planted().ions
    scale = IonScale(Ions(min_spots=10)).fit(ions)
    assert set(ions.var.kind[~scale.learnable_]) == {"zero", "rare"}


def test_predictions_below_zero_become_zero():
    scale = IonScale().fit(planted().ions)
    assert (scale.inverse(np.full((2, 15), -3.0)) == 0).all()


@pytest.mark.parametrize(("value", "words"), [(np.nan, "NaN"), (np.inf, "infinite"), (-1.0, "negative")])
def test_bad_values_are_refused(value, words):
    ions = planted().ions
    ions.X[1, 2] = value
    with pytest.raises(DataProblem, match=words):
        IonScale().fit(ions)


def test_other_ions_are_refused():
    ions = planted().ions
    with pytest.raises(DataProblem, match="differ"):
        IonScale().fit(ions).forward(ions[:, ::-1].copy())


def test_table_survives_json():
    frame = pd.DataFrame(
        {"mz": [1.5, np.nan], "n": [1, 2], "good": [True, False], "name": ["a", ""]}, index=["i1", "i2"]
    )
    pd.testing.assert_frame_equal(frame_from_json(frame_to_json(frame)), frame, check_index_type=False)
