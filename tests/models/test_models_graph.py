"""Networks on the graph of neighbours: what they hear, from whom, and that drawing neighbours is fair."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from napari_st2msi.errors import DataProblem, ModelProblem
from napari_st2msi.features.neighbours import ring_means, step_length
from napari_st2msi.models.deep.following import following
from napari_st2msi.models.deep.graph import GraphNetwork, hood
from napari_st2msi.models.graph import GraphLearner
from napari_st2msi.models.registry import model_class
from napari_st2msi.progress import Cancelled
from napari_st2msi.recipe import Recipe
from planted import planted

ALL = ("gcn", "graphsage", "gat")
QUICK = {"networks": {"epochs": 2}, "model": {"ensemble": 1, "width": 16}}


def graph(data):
    step = step_length(data.xy, data.sections, 6)
    (ring,) = ring_means(data.xy, data.sections, np.arange(len(data)), step, 1)
    return torch.from_numpy(ring.indptr.astype(np.int64)), torch.from_numpy(ring.indices.astype(np.int64))


def around_planted(n_side=30, seed=0):
    """Return planted data whose first ions follow the mean over the four neighbours of what drives the genes."""
    data = planted(n_side=n_side, seed=seed)
    linear = np.flatnonzero(data.ions.var.kind == "linear")
    signal = np.log1p(data.ions.X[:, linear])
    (ring,) = ring_means(data.xy, data.sections, np.arange(len(data)), 110.0, 1)
    mean = ring @ signal
    spread = mean.std(axis=0) * 0.2
    data.ions.X[:, linear] = np.expm1(mean + spread * np.random.default_rng(1).normal(size=mean.shape))
    return data, linear


def skill(data, predicted, columns):
    y, guess = np.log1p(data.ions.X[:, columns]), np.log1p(predicted.X[:, columns])
    return 1 - ((y - guess) ** 2).sum(axis=0) / ((y - y.mean(axis=0)) ** 2).sum(axis=0)


@pytest.mark.parametrize("name", ALL)
def test_what_follows_the_neighbours_is_learned_and_noise_is_the_mean(name):
    data, linear = around_planted()
    train, held = data.select(data.xy[:, 0] < 2000), data.select(data.xy[:, 0] >= 2000)
    choices = {
        "genes": {"n_neighbours": 4},
        "networks": {"epochs": 15, "learning_rate": 1e-2},
        "model": {"width": 24, "dropout": 0.1},
    }
    model = model_class(name)(Recipe.model_validate(choices)).fit(train, context=data.genes)
    predicted = model.predict(held.genes, context=data.genes)
    assert np.median(skill(held, predicted, linear)) > 0.5
    noise = np.flatnonzero(data.ions.var.kind == "noise")
    assert np.abs(skill(held, predicted, noise)).max() < 0.05


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("depth", [0, 2])
def test_a_spot_hears_genes_as_many_steps_away_as_asked_in_its_section_only(name, depth):
    data = planted(n_side=9, sections=2)
    model = model_class(name)(Recipe.model_validate(QUICK | {"model": QUICK["model"] | {"depth": depth}})).fit(data)
    model.trust_[:] = 1
    before = model.predict(data.genes).X
    changed = data.genes.copy()
    changed.X = changed.X.toarray()
    middle = 40  # of the first section
    changed.X[middle, 1:] = np.roll(changed.X[middle, 1:], 5)
    differs = (before != model.predict(changed).X).any(axis=1)
    # On the grid with its eight neighbours: everything at most so many steps away.
    steps = np.abs(data.xy - data.xy[middle]).max(axis=1) / 100
    assert (differs == ((steps <= depth) & (data.sections == "s0"))).all()


@pytest.mark.parametrize("name", ALL)
def test_genes_of_spots_held_out_are_heard_and_ions_of_none(name):
    data = planted(n_side=9)
    held = np.abs(data.xy - 400).max(axis=1) < 150
    model = model_class(name)(Recipe.model_validate(QUICK)).fit(data.select(~held), context=data.genes)
    model.trust_[:] = 1
    alone = model.predict(data.select(held).genes)
    within = model.predict(data.select(held).genes, context=data.genes)
    assert (alone.X != within.X).any()
    with pytest.raises(DataProblem, match="not among those of their whole sections"):
        model.predict(data.genes, context=data.select(held).genes)


def test_bands_of_the_neighbourhood_are_left_out():
    model = model_class("gcn")(Recipe.model_validate(QUICK)).fit(planted(n_side=9))
    assert list(model.design_.bands) == ["own"]


@pytest.mark.parametrize("kind", ALL)
def test_a_minibatch_says_what_the_whole_graph_says(kind):
    starts, around = graph(planted(n_side=12, sections=2))
    n = len(starts) - 1
    torch.manual_seed(0)
    network = GraphNetwork(kind, 5, 3, 1, width=8, depth=3, dropout=0.5).eval()
    torch.nn.init.normal_(network.outlet.weight)
    features = torch.randn(n, 5)
    everyone = hood(starts, around, torch.arange(n), 3)
    whole, _ = network(features[everyone.nodes], everyone)
    asked = torch.tensor([200, 3, 77])
    few = hood(starts, around, asked, 3)
    assert len(few.nodes) < n
    some, odds = network(features[few.nodes], few)
    torch.testing.assert_close(some, whole[asked])
    assert odds.shape == (3, 1)


def test_weights_are_those_of_the_normalised_graph():
    starts, around = graph(planted(n_side=6))
    n = len(starts) - 1
    adjacency = csr_array((np.ones(len(around)), around.numpy(), starts.numpy()), shape=(n, n)).toarray() + np.eye(n)
    scale = 1 / np.sqrt(adjacency.sum(axis=1))
    found = hood(starts, around, torch.arange(n), 1)
    matrix = np.zeros((n, n))
    matrix[found.edges[1], found.edges[0]] = found.weights
    np.testing.assert_allclose(matrix, scale[:, None] * adjacency * scale, rtol=1e-6)


def test_drawn_neighbours_are_few_distinct_and_fair():
    starts, around = graph(planted(n_side=12))
    asked = torch.tensor([70, 0])  # eight neighbours, and three
    values = torch.randn(len(starts) - 1)
    everyone = hood(starts, around, asked, 1)
    expected = float((everyone.weights * values[everyone.nodes[everyone.edges[0]]])[everyone.edges[1] == 0].sum())
    torch.manual_seed(0)
    sums = []
    for _ in range(1000):
        found = hood(starts, around, asked, 1, most=5)
        own = found.edges[1] == 0
        assert own.sum() == 6  # five, and itself
        assert len(torch.unique(found.edges[0][own])) == 6
        assert (found.edges[1] == 1).sum() == 4
        sums.append(float((found.weights * values[found.nodes[found.edges[0]]])[own].sum()))
    assert np.mean(sums) == pytest.approx(expected, abs=4 * np.std(sums) / np.sqrt(len(sums)))


def test_large_graphs_draw_in_training_and_hear_all_in_prediction(monkeypatch):
    monkeypatch.setattr(GraphLearner, "sampled_past", 50)
    monkeypatch.setattr(GraphLearner, "most", 3)
    data = planted(n_side=12)
    model = model_class("graphsage")(Recipe.model_validate(QUICK)).fit(data)
    a = model.predict(data.genes).X
    monkeypatch.undo()
    assert (a == model.predict(data.genes).X).all()
    whole = model_class("graphsage")(Recipe.model_validate(QUICK)).fit(data)
    assert (a != whole.predict(data.genes).X).any()


@pytest.mark.parametrize("name", ALL)
def test_a_broken_training_goes_on_to_the_same_model(name, tmp_path):
    data = planted(n_side=9)
    recipe = Recipe.model_validate(QUICK | {"networks": {"epochs": 4}})
    unbroken = model_class(name)(recipe).fit(data).predict(data.genes)
    seen = []
    with following(checkpoints=tmp_path, told=seen.append), pytest.raises(Cancelled):
        model_class(name)(recipe).fit(data, cancelled=lambda: len(seen) >= 2)
    assert list(tmp_path.iterdir())
    with following(checkpoints=tmp_path):
        again = model_class(name)(recipe).fit(data)
    assert (again.predict(data.genes).X == unbroken.X).all()


def test_lone_spots_and_damaged_weights():
    data = planted(n_side=9)
    model = model_class("gat")(Recipe.model_validate(QUICK)).fit(data)
    alone = data.genes[[5]].copy()
    assert np.isfinite(model.predict(alone).X).all()
    facts, arrays = model.state()
    arrays["own.network1.straight.weight"] = arrays["own.network1.straight.weight"][:, 1:]
    with pytest.raises(ModelProblem, match="does not fit"):
        model_class("gat")().restore(facts, arrays)


def test_genes_missing_at_prediction_are_taken_at_their_mean_or_refused():
    data = planted(n_side=9)
    model = model_class("gcn")(Recipe.model_validate(QUICK)).fit(data)
    fewer = model.predict(data.genes[:, ::-1][:, :20].copy())
    assert fewer.uns["provenance"]["share_genes_matched"] == pytest.approx(20 / 30)
    with pytest.raises(ModelProblem, match="Only 17%"):
        model.predict(data.genes[:, :5].copy())
