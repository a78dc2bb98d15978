"""On simulated tissue with known truth: what genes drive is recovered near its ceiling, the rest is not."""

import numpy as np
import pytest

from napari_st2msi.evaluation.evaluate import cross_validate
from napari_st2msi.io.sample import simulate
from napari_st2msi.recipe import Recipe

KINDS = {"linear": 6, "presence": 4, "smooth": 6, "noise": 6}


@pytest.fixture(scope="module")
def scored():
    choices = {"neighbourhood": 0, "nonlinear": 0, "interaction": 0, **KINDS}
    simulation = simulate(n_spots=900, n_genes=400, image_px=128, ions_per_kind=choices)
    found = cross_validate(simulation.paired(), Recipe.model_validate({"evaluation": {"n_folds": 3}}))
    return found.flat().join(simulation.truth.ions[["kind", "ceiling_spots"]])


def test_ions_driven_by_genes_come_near_their_ceiling(scored):
    linear = scored[scored.kind == "linear"]
    assert np.median(linear.ceiling_spots - linear.r2) < 0.2
    assert (linear.verdict == "predicted from genes").mean() > 0.8
    assert (scored.presence_auc[scored.kind == "presence"] > 0.8).all()


@pytest.mark.parametrize("kind", ["smooth", "noise"])
def test_ions_that_genes_do_not_drive_are_not_predicted(scored, kind):
    own = scored[scored.kind == kind]
    assert abs(np.median(own.r2)) <= 0.02
    assert (own.verdict != "predicted from genes").mean() > 0.6
    if kind == "noise":
        assert set(own.verdict) == {"noise: R² ≈ 0, no pattern"}
