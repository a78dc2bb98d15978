"""Networks and other regressions inside two stages: presence by networks, intensity by trees, a perceptron, a stack."""

import json

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score
from typer.testing import CliRunner

from napari_st2msi.cli.app import app
from napari_st2msi.errors import ModelProblem
from napari_st2msi.models.registry import build
from napari_st2msi.progress import Cancelled, Progress
from napari_st2msi.recipe import Recipe
from napari_st2msi.training.fit import fit_model
from napari_st2msi.training.folder import load
from planted import planted

DATA = planted(n_side=24)
HELD = DATA.xy[:, 0] >= 1600
TRAIN, TEST = DATA.select(~HELD), DATA.select(HELD)
SMALL = planted(n_side=10)
#: Every way to tell presence or intensity that has a network or trees inside.
STAGES = [
    ("network", "ridge"),
    ("networks", "ridge"),
    ("logistic", "trees"),
    ("logistic", "mlp"),
    ("logistic", "stack"),
]


def recipe(presence, intensity, epochs=3, **model):
    small = {"ensemble": 2, "width": 32, "depth": 1, "rounds": 20, "tree_components": 4, "n_landmarks": 50}
    return Recipe.model_validate(
        {
            "genes": {"neighbourhood": "none"},
            "model": {"presence": presence, "intensity": intensity} | small | model,
            "networks": {"epochs": epochs, "device": "cpu"},
        }
    )


def fitted(data, *choices, **more):
    return build(recipe(*choices, **more)).fit(data)


def of_kind(data, kind):
    return np.flatnonzero(data.ions.var.kind == kind)


def r2(predicted, kind):
    ions = of_kind(TEST, kind)
    y, guess = np.log1p(TEST.ions.X[:, ions]), np.log1p(predicted.X[:, ions])
    return 1 - ((y - guess) ** 2).sum(axis=0) / ((y - y.mean(axis=0)) ** 2).sum(axis=0)


@pytest.mark.parametrize("presence", ["network", "networks"])
def test_networks_tell_presence_better_than_its_share(presence):
    predicted = fitted(TRAIN, presence, "ridge", epochs=12).predict(TEST.genes)
    chances = predicted.layers["presence"]
    assert chances.min() >= 0
    assert chances.max() <= 1
    for ion in of_kind(TEST, "presence"):
        there, share = TEST.ions.X[:, ion] > 0, (TRAIN.ions.X[:, ion] > 0).mean()
        assert roc_auc_score(there, chances[:, ion]) > 0.8
        assert log_loss(there, chances[:, ion]) < 0.8 * log_loss(there, np.full(len(there), share))
    assert (r2(predicted, "presence") > 0.25).all()
    # In every spot, in none, in too few to learn from.
    assert (chances[:, of_kind(TEST, "linear")] == 1).all()
    assert (chances[:, of_kind(TEST, "zero")] == 0).all()
    assert np.ptp(chances[:, of_kind(TEST, "rare")], axis=0).max() == 0


@pytest.mark.parametrize("presence", ["network", "networks"])
def test_presence_that_no_gene_tells_gets_its_share(presence):
    data = TRAIN.select(np.arange(len(TRAIN)))
    ions = of_kind(data, "noise")
    there = np.random.default_rng(4).random((len(data), len(ions))) < 0.6
    data.ions.X[:, ions] *= there
    chances = fitted(data, presence, "ridge", epochs=6, ensemble=3).predict(TEST.genes).layers["presence"][:, ions]
    assert np.ptp(chances, axis=0).max() < 0.1
    np.testing.assert_allclose(chances.mean(axis=0), there.mean(axis=0), atol=0.05)


@pytest.mark.parametrize("intensity", ["trees", "mlp", "stack"])
def test_intensity_is_learned_and_noise_is_the_mean(intensity):
    predicted = fitted(TRAIN, "logistic", intensity, epochs=12, rounds=40).predict(TEST.genes)
    assert (r2(predicted, "linear") > 0.45).all()
    assert (r2(predicted, "presence") > 0.25).all()
    assert np.abs(np.median(r2(predicted, "noise"))) < 0.05  # trees that are not drawn to the mean reach -0.08
    assert np.ptp(predicted.X[:, of_kind(TEST, "rare")], axis=0).max() == 0


@pytest.mark.parametrize("stages", STAGES)
def test_a_saved_model_predicts_the_same(stages, tmp_path):
    model = fit_model(SMALL, recipe(*stages))
    again = load(model.save(tmp_path / "model"))
    a, b = model.predict(SMALL.genes), again.predict(SMALL.genes)
    assert (a.X == b.X).all()
    assert (a.layers["presence"] == b.layers["presence"]).all()
    assert again.recipe == model.recipe


@pytest.mark.parametrize("stages", [*STAGES, ("networks", "trees")])
def test_order_of_spots_does_not_matter(stages):
    order = np.random.default_rng(2).permutation(len(SMALL))
    a, b = (fitted(data, *stages).predict(SMALL.genes) for data in (SMALL, SMALL.select(order)))
    np.testing.assert_allclose(a.X, b.X, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(a.layers["presence"], b.layers["presence"], atol=1e-4)


@pytest.mark.parametrize("stages", STAGES)
def test_both_stages_stop_when_asked(stages):
    for enough in (0.01, 0.55):  # in the first stage, and in the second
        reached = [0.0]

        def note(fraction, message, reached=reached):
            reached[0] = fraction

        with pytest.raises(Cancelled):
            build(recipe(*stages)).fit(
                SMALL, progress=Progress(note), cancelled=lambda reached=reached, enough=enough: reached[0] >= enough
            )
        assert reached[0] < 1


@pytest.mark.parametrize("stages", [("network", "mlp"), ("networks", "trees"), ("logistic", "stack")])
def test_one_network_asked_for_is_not_the_mean(stages):
    predicted = fitted(TRAIN, *stages, epochs=8, ensemble=1).predict(TEST.genes)
    assert np.ptp(np.log1p(predicted.X[:, of_kind(TEST, "linear")]), axis=0).max() > 0.3
    assert np.ptp(predicted.layers["presence"][:, of_kind(TEST, "presence")], axis=0).max() > 0.3


def test_networks_of_other_data_are_refused():
    model = fitted(SMALL, "networks", "ridge")
    facts, arrays = model.state()
    name = next(name for name in arrays if name.startswith("presence.network1"))
    with pytest.raises(ModelProblem, match="missing values"):
        build(model.recipe).restore(facts, arrays | {name: np.full_like(arrays[name], np.nan)})
    with pytest.raises(ModelProblem, match="does not fit"):
        build(model.recipe).restore(facts, {key: value for key, value in arrays.items() if key != name})


def test_the_command_line_trains_and_predicts(tmp_path):
    SMALL.genes.write_h5ad(tmp_path / "genes.h5ad")
    SMALL.ions.write_h5ad(tmp_path / "ions.h5ad")

    def run(*arguments):
        done = CliRunner().invoke(app, [str(argument) for argument in (*arguments, "--json")])
        assert done.exit_code == 0, done.stderr
        return json.loads(done.stdout)

    choices = ("--presence", "network", "--intensity", "trees", "--rounds", 10, "--epochs", 2, "--n-folds", 2)
    small = ("--ensemble", 2, "--width", 16, "--depth", 1, "--device", "cpu", "--buffer-um", 0)
    out = tmp_path / "model"
    run("train", tmp_path / "genes.h5ad", "--msi", tmp_path / "ions.h5ad", *choices, *small, "--out", out)
    model = load(out)
    assert (model.recipe.model.presence, model.recipe.model.intensity) == ("network", "trees")
    assert model.scores is not None
    told = run("predict", out, tmp_path / "genes.h5ad", "--out", tmp_path / "p.h5ad")
    assert told["provenance"]["model"] == "two_stage"
