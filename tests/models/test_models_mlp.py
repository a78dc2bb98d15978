"""The multilayer perceptron, and what all networks share: weights of features, trust, checkpoints, curves."""

import numpy as np
import pytest
import torch
from anndata import AnnData
from safetensors.numpy import load, save

from napari_st2msi.errors import ModelProblem
from napari_st2msi.models.deep.following import Told, followed, following
from napari_st2msi.models.deep.learner import weights
from napari_st2msi.models.deep.loss import unlikelihood
from napari_st2msi.models.mlp import MultilayerPerceptron
from napari_st2msi.models.regression import Ridge as RidgeAlone
from napari_st2msi.paired import PairedDataset
from napari_st2msi.progress import Cancelled
from napari_st2msi.recipe import Recipe
from planted import planted

QUICK = Recipe.model_validate(
    {
        "genes": {"n_top": 30, "neighbourhood": "none"},
        "model": {"name": "mlp", "ensemble": 2, "width": 32, "depth": 1},
        "networks": {"epochs": 4, "device": "cpu"},
    }
)
SMALL = planted(n_side=12)


def fitted(data=SMALL, recipe=QUICK, **more):
    return MultilayerPerceptron(recipe).fit(data, **more)


def acting_together(n_side=32):
    """Spots whose first ion follows the product of two gene programs, which no linear map can."""
    rng = np.random.default_rng(0)
    n = n_side**2
    programs = rng.normal(size=(n, 2))
    # As many genes fall as rise, so that the library size tells nothing.
    loading = np.kron(np.eye(2), np.repeat([1.0, -1.0], 15))
    counts = rng.poisson(np.exp(3 + 0.5 * programs @ loading))
    data = planted(n_side=n_side, genes=60)
    genes = AnnData(counts.astype("f"), obs=data.genes.obs, var=data.genes.var, obsm=dict(data.genes.obsm))
    data.ions.X[:, 0] = np.expm1(4 + 0.5 * programs[:, 0] * programs[:, 1])
    data.ions.X[:, 1] = np.expm1(4 + 0.5 * programs[:, 0])
    return PairedDataset(genes, data.ions)


def r2(data, predicted, ion):
    y, guess = np.log1p(data.ions.X[:, ion]), np.log1p(predicted.X[:, ion])
    return 1 - ((y - guess) ** 2).sum() / ((y - y.mean()) ** 2).sum()


def test_genes_that_act_together_are_learned_and_noise_is_the_mean():
    data = acting_together()
    held = data.xy[:, 0] >= 2200
    recipe = Recipe.model_validate(
        {
            "genes": {"n_top": 60, "neighbourhood": "none"},
            "model": {"name": "mlp", "width": 64},
            "networks": {"epochs": 25, "device": "cpu"},
        }
    )
    predicted = fitted(data.select(~held), recipe).predict(data.genes[held].copy())
    scores = [r2(data.select(held), predicted, ion) for ion in range(9)]
    assert scores[0] > 0.6
    assert scores[1] > 0.9
    assert np.abs(scores[6:9]).max() < 0.03
    ridge = RidgeAlone(recipe).fit(data.select(~held)).predict(data.genes[held].copy())
    assert r2(data.select(held), ridge, 0) < 0.1


def test_saved_and_loaded_it_predicts_the_same(tmp_path):
    model = fitted()
    facts, arrays = model.state()
    again = MultilayerPerceptron(QUICK).restore(facts, load(save(arrays)))
    a, b = model.predict(SMALL.genes), again.predict(SMALL.genes)
    assert (a.X == b.X).all()
    assert (a.layers["presence"] == b.layers["presence"]).all()
    assert len(again.networks_) == 2


def test_the_order_of_spots_changes_nothing_at_all():
    order = np.random.default_rng(2).permutation(len(SMALL))
    a, b = fitted().predict(SMALL.genes), fitted(SMALL.select(order)).predict(SMALL.genes)
    np.testing.assert_allclose(a.X, b.X, rtol=1e-5)


def test_the_seed_decides():
    other = QUICK.model_copy(update={"networks": QUICK.networks.model_copy(update={"seed": 1})})
    a, b, c = fitted().predict(SMALL.genes), fitted().predict(SMALL.genes), fitted(recipe=other).predict(SMALL.genes)
    assert (a.X == b.X).all()
    assert (a.X != c.X).any()


def test_genes_missing_at_prediction():
    model = fitted()
    fewer = model.predict(SMALL.genes[:, ::-1][:, :20].copy())
    assert fewer.uns["provenance"]["share_genes_matched"] == pytest.approx(20 / 30)
    with pytest.raises(ModelProblem, match="Only 17%"):
        model.predict(SMALL.genes[:, :5].copy())


def test_too_few_spots():
    with pytest.raises(ModelProblem, match="at least 10 spots"):
        fitted(SMALL.select(np.array([0])))


def test_every_epoch_of_every_network_is_told():
    told: list[Told] = []
    with following(told=told.append):
        model = fitted()
    assert [(item.network, item.networks) for item in told] == [(1, 2)] * 4 + [(2, 2)] * 4
    assert [item.epoch for item in told] == [epoch for curve in model.curves_ for epoch in curve]
    assert followed().told is None


@pytest.mark.parametrize("last", [(1, 1), (1, 3), (2, 2)])
def test_a_fit_that_was_killed_goes_on_to_the_same_model(tmp_path, last):
    class Killed(BaseException):
        pass

    def kill(item):
        if (item.network, item.epoch.number) == last:
            raise Killed

    with pytest.raises(Killed), following(tmp_path, told=kill):
        fitted()
    told = []
    with following(tmp_path, told=told.append):
        model = fitted()
    assert len(told) == 8 - 4 * (last[0] - 1) - last[1]
    assert (model.predict(SMALL.genes).X == fitted().predict(SMALL.genes).X).all()


def test_enough_keeps_the_best_epoch_so_far():
    told = []
    with following(told=told.append, enough=lambda: len(told) >= 3):
        model = fitted()
    assert len(told) == 3
    assert len(model.networks_) == 1
    assert np.isfinite(model.predict(SMALL.genes).X).all()
    with pytest.raises(Cancelled), following(enough=lambda: True):
        fitted()


def test_cancelled_in_the_middle():
    told = []
    with pytest.raises(Cancelled), following(told=told.append):
        fitted(cancelled=lambda: len(told) >= 3)
    assert len(told) == 3


def test_directions_weigh_by_their_variance_and_genes_of_one_scale_stay():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(5000, 6)) * [4.0, 2.0, 0.0, 1.0, 1.0, 1.0]
    found = weights(features, {"own": slice(0, 3), "ring1": slice(3, 6)})
    spread = features.std(axis=0)
    np.testing.assert_allclose(found[1] / found[0], 0.5, rtol=0.05)
    np.testing.assert_allclose(found[3:] / found[3], 1, rtol=0.05)
    assert ((found * spread) ** 2).sum() == pytest.approx(np.sqrt(6))
    assert np.isfinite(weights(np.zeros((5, 2)), {"own": slice(0, 2)})).all()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ({"own.mean": lambda a: a[:-1]}, "do not fit its ions"),
        ({"own.columns": lambda a: a + 1000}, "do not fit its ions"),
        ({"own.weight": lambda a: a[:-1]}, "do not fit their means"),
        ({"own.network1.straight.weight": lambda a: a[:, :-1].copy()}, "does not fit its features"),
        ({"own.network2.straight.bias": lambda a: a * np.float32("nan")}, "missing values"),
    ],
)
def test_a_model_that_was_tampered_with_is_refused(spoil, words):
    facts, arrays = fitted(recipe=QUICK).state()
    for name, change in spoil.items():
        arrays[name] = change(arrays[name])
    with pytest.raises(ModelProblem, match=words):
        MultilayerPerceptron(QUICK).restore(facts, arrays)


def test_nothing_to_learn_is_the_mean():
    zero = SMALL.ions[:, SMALL.ions.var.kind == "zero"].copy()
    model = fitted(PairedDataset(SMALL.genes, zero))
    assert model.networks_ == []
    assert (model.predict(SMALL.genes).X == 0).all()


def test_several_gpus_are_refused_where_there_are_none():
    several = QUICK.model_copy(update={"networks": QUICK.networks.model_copy(update={"devices": 2})})
    with pytest.raises(ModelProblem, match="2 NVIDIA GPUs were asked for"):
        fitted(recipe=several)


def test_networks_learn_which_ions_can_be_told():
    data = acting_together(n_side=16)
    recipe = QUICK.model_copy(update={"networks": QUICK.networks.model_copy(update={"epochs": 25})})
    model = fitted(data, recipe)
    kind = data.ions.var.kind.to_numpy()[model.columns_]
    noise = np.mean([network.log_noise.detach().numpy() for network in model.networks_], axis=0)
    assert noise[1] < noise[kind == "noise"].min() - 0.05
    assert np.abs(noise[kind == "noise"]).max() < 0.05


def test_presence_may_count_more_in_the_likelihood():
    rng = np.random.default_rng(0)
    said, odds, truth = (torch.from_numpy(rng.normal(size=shape)) for shape in ((5, 3), (5, 2), (5, 3)))
    data = {"intensity": truth, "counts": torch.ones(5, 3), "present": (odds > 0).double(), "n_counts": torch.tensor(3)}
    rows = torch.arange(5)
    none, once, thrice = (unlikelihood(said, odds, torch.zeros(3), data, rows, much) for much in (0.0, 1.0, 3.0))
    assert float(none) == pytest.approx(float(0.5 * ((said - truth) ** 2).mean()))
    assert float(thrice - none) == pytest.approx(3 * float(once - none))
    assert float(once) > float(none)
