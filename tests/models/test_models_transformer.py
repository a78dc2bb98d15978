"""Transformers: what attention is, what they read, what they refuse, and ions never seen."""

import numpy as np
import pytest
import torch

from napari_st2msi.errors import DataProblem, ModelProblem
from napari_st2msi.models import transformer as module
from napari_st2msi.models.deep.device import threads
from napari_st2msi.models.deep.transformer import Attention, Transformer, sinusoids
from napari_st2msi.models.registry import model_class
from napari_st2msi.paired import PairedDataset
from napari_st2msi.progress import Cancelled
from napari_st2msi.recipe import Recipe
from planted import planted

BOTH = ("transformer", "linear_transformer")
DATA = planted(n_side=12)
QUICK = {"networks": {"epochs": 2}, "model": {"ensemble": 2, "n_tokens": 12}, "genes": {"n_clusters": 3}}


def fitted(name="transformer", data=DATA, **choices):
    chosen = {part: QUICK.get(part, {}) | choices.get(part, {}) for part in {*QUICK, *choices}}
    return model_class(name)(Recipe.model_validate(chosen)).fit(data)


@pytest.fixture(scope="module")
def model():
    return fitted()


def skill(data, predicted, kind):
    ion = (data.ions.var.kind == kind).to_numpy()
    y, guess = np.log1p(data.ions.X[:, ion]), np.log1p(predicted.X[:, ion])
    return 1 - ((y - guess) ** 2).sum(axis=0) / ((y - y.mean(axis=0)) ** 2).sum(axis=0)


@pytest.mark.parametrize("name", BOTH)
def test_planted_signal_is_learned_and_noise_is_the_mean(name):
    data = planted(n_side=22)
    train, held = data.select(data.xy[:, 0] < 1500), data.select(data.xy[:, 0] >= 1500)
    predicted = fitted(name, train, networks={"epochs": 12, "learning_rate": 2e-3}).predict(held.genes)
    assert np.median(skill(held, predicted, "linear")) > 0.6
    assert (skill(held, predicted, "presence") > 0.15).all()
    assert np.abs(skill(held, predicted, "noise")).max() < 0.08
    assert np.median(np.abs(skill(held, predicted, "noise"))) < 0.03


@pytest.mark.parametrize("map_less", [False, True])
def test_tokens_alone_tell_what_each_ion_follows(map_less):
    """Without a place of the spot, two ions find the gene of theirs among eight."""
    torch.manual_seed(0)
    tokens, place = torch.randn(400, 8, 1), torch.zeros(400, 3)
    truth = torch.stack([tokens[:, 2, 0], -tokens[:, 5, 0]], dim=1)
    network = Transformer(
        3, 8, 1, torch.tensor([500.0, 700.0]), torch.zeros(0, dtype=torch.long),
        width=16, heads=2, depth=1, dropout=0.0, map_less=map_less,
    )  # fmt: skip
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    with threads(1):  # small products
        for _ in range(150):
            optimiser.zero_grad()
            said, odds = network(place[:300], tokens[:300])
            ((said - truth[:300]) ** 2).mean().backward()
            optimiser.step()
    network.eval()
    with torch.no_grad():
        left = ((network(place[300:], tokens[300:])[0] - truth[300:]) ** 2).mean(dim=0)
        assert odds.shape == (300, 0)
        assert (left < 0.2).all()
        if not map_less:
            weights = network.attention(torch.tensor([0, 1]), place[300:], tokens[300:]).mean(dim=0)
            assert weights[0].argmax() == 2
            assert weights[1].argmax() == 5


def test_attention_is_the_softmax_that_the_network_computes_with():
    torch.manual_seed(1)
    attention, asked, tokens = Attention(12, 1), torch.randn(2, 5, 12), torch.randn(2, 7, 12)
    weights = attention.weights(asked, tokens)
    value = attention.key_value(tokens)[..., 12:]
    torch.testing.assert_close(attention(asked, tokens), attention.out(weights @ value))
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 5))


def test_sinusoids_tell_masses_apart_and_pass_over_unknown_ones():
    waves = sinusoids(torch.tensor([500.0, 500.01, 885.5499, float("nan")], dtype=torch.float64))
    assert waves.shape == (4, 32)
    assert torch.isfinite(waves).all()
    assert (waves[3] == 0).all()
    near, far = (waves[0] - waves[1]).norm(), (waves[0] - waves[2]).norm()
    assert 0.01 < near < far


def test_attention_of_chosen_ions_and_spots(model):
    ions = ["presence1", "linear0"]
    whole = model.attention(DATA.genes, ions)
    assert whole.shape == (len(DATA), 2, 12)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(whole.sum(axis=2), 1, rtol=1e-5)
    few = model.attention(DATA.genes[[5, 3]].copy(), ions[::-1], context=DATA.genes)
    np.testing.assert_allclose(few, whole[[5, 3], ::-1], rtol=1e-4, atol=1e-6)
    assert model.token_names_ == model.tokens_.genes_.names_


def test_attention_of_clusters_is_the_mean_over_their_spots(model):
    names = list(DATA.ions.var_names[model.columns_])
    weights = model.attention(DATA.genes, names)
    which = model.tokens_.signatures_.assign(DATA.genes)
    assert model.cluster_attention_.shape == (len(model.clusters_), len(names), 12)
    for number in np.unique(which):
        np.testing.assert_allclose(
            model.cluster_attention_[number], weights[which == number].mean(axis=0), rtol=1e-4, atol=1e-6
        )


def test_attention_comes_back_from_the_state(model):
    again = model_class("transformer")(model.recipe).restore(*model.state())
    assert (again.cluster_attention_ == model.cluster_attention_).all()
    assert again.clusters_ == model.clusters_
    assert (again.attention(DATA.genes, ["linear1"]) == model.attention(DATA.genes, ["linear1"])).all()


def test_attention_says_what_it_cannot_show(model, monkeypatch):
    with pytest.raises(ModelProblem, match="'rare0': the ion was seen in too few spots"):
        model.attention(DATA.genes, ["linear0", "rare0"])
    with pytest.raises(ModelProblem, match="'sugar': the ion is not one of the model"):
        model.attention(DATA.genes, ["sugar"])
    monkeypatch.setattr(module, "MOST_WEIGHTS", 1000)
    with pytest.raises(ModelProblem, match="Ask for fewer ions or spots"):
        model.attention(DATA.genes, ["linear0"])


def test_attention_stops_when_asked(model):
    with pytest.raises(Cancelled):
        model.attention(DATA.genes, ["linear0"], cancelled=lambda: True)


def test_without_a_map_there_is_no_attention():
    model = fitted("linear_transformer")
    with pytest.raises(ModelProblem, match="no attention map"):
        model.attention(DATA.genes, ["linear0"])
    assert model.cluster_attention_.size == 0
    again = model_class("linear_transformer")(model.recipe).restore(*model.state())
    assert (again.predict(DATA.genes).X == model.predict(DATA.genes).X).all()


def test_small_pieces_give_the_same(model, monkeypatch):
    expected, weights = model.predict(DATA.genes).X, model.attention(DATA.genes, ["linear0"])
    unseen = model.predict_unseen(DATA.genes, [300.0]).X
    monkeypatch.setattr(module, "_AT_ONCE", 5000)
    np.testing.assert_allclose(model.predict(DATA.genes).X, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(model.attention(DATA.genes, ["linear0"]), weights, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.predict_unseen(DATA.genes, [300.0]).X, unseen, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", BOTH)
def test_an_ion_never_seen_is_asked_for_by_its_mz(name):
    """Two families of ions, told apart by their m/z, follow opposite genes; others are asked for by theirs."""
    data = planted(n_side=16, per_kind=8)
    own = np.flatnonzero(data.ions.var.kind == "linear")
    signal = np.log1p(data.ions.X[:, own[0]])
    signal = (signal - signal.mean()) / signal.std()
    low = np.arange(len(own)) < 4
    noise = np.random.default_rng(0).normal(size=(len(data), len(own)))
    ions = data.ions[:, own].copy()
    ions.X = np.expm1(4 + 0.5 * np.where(low, 1, -1) * signal[:, None] + 0.1 * noise).astype(np.float32)
    ions.var["mz"] = np.where(low, 300.0, 900.0) + 2.0 * (np.arange(len(own)) % 4)
    paired = PairedDataset(data.genes, ions)
    model = fitted(name, paired, networks={"epochs": 12, "learning_rate": 2e-3})
    said = model.predict_unseen(data.genes, [303.0, 903.0])
    assert said.shape == (len(data), 2)
    assert said.var["mz"].tolist() == [303.0, 903.0]
    assert "standard deviations" in said.uns["provenance"]["unit"]
    assert np.corrcoef(said.X[:, 0], signal)[0, 1] > 0.5
    assert np.corrcoef(said.X[:, 1], signal)[0, 1] < -0.5


def test_an_mz_that_is_none_is_refused(model):
    for wrong in ([0.0], [np.nan], [-3.0], []):
        with pytest.raises(DataProblem, match="a number above 0"):
            model.predict_unseen(DATA.genes, wrong)


def test_ions_without_mz_are_learned_and_others_cannot_be_asked_for():
    data = planted(n_side=8)
    data.ions.var = data.ions.var.drop(columns="mz")
    model = fitted(data=data)
    assert np.isfinite(model.predict(data.genes).X).all()
    with pytest.raises(ModelProblem, match="knows no m/z"):
        model.predict_unseen(data.genes, [500.0])


def test_the_signature_mask_enters_the_tokens(model):
    assert model._channels == ["own", "ring1", "ring2", "signature"]
    mask = model.data(DATA.genes, None, model.design_.transform(DATA.genes))["tokens"][..., 3].numpy()
    assert (mask == model.tokens_.signatures_.mask(DATA.genes, model.token_names_)).all()
    without = fitted(genes={"signature_mask": "no"})
    assert without._channels == ["own", "ring1", "ring2"]
    assert without.clusters_ == ["all"]
    bits = torch.from_numpy(mask).clone()
    data = model.data(DATA.genes, None, model.design_.transform(DATA.genes))
    before = model.forward(model.networks_[0], data, torch.arange(len(DATA)))[0]
    data["tokens"][..., 3] = 1 - bits
    assert not torch.allclose(before, model.forward(model.networks_[0], data, torch.arange(len(DATA)))[0])


@pytest.mark.parametrize(
    ("neighbourhood", "channels"),
    [("none", ["own"]), ("diffusion", ["own", "diffused"]), ("graph_svd", ["own", "diffused"])],
)
def test_tokens_have_the_neighbourhood_of_the_recipe(neighbourhood, channels):
    model = fitted(genes={"neighbourhood": neighbourhood, "signature_mask": "no"}, model={"ensemble": 1})
    assert model._channels == channels


def test_tokens_may_be_pathways(tmp_path):
    path = tmp_path / "sets.gmt"
    path.write_text("first\tx\tg1\tg2\tg3\nsecond\tx\tg4\tg5\tg6\tg7\n", encoding="utf-8")
    model = fitted(model={"attend": "pathways"}, genes={"file": str(path)})
    assert model.token_names_ == ["first", "second"]
    assert model.attention(DATA.genes, ["linear0"]).shape == (len(DATA), 1, 2)
    again = model_class("transformer")(model.recipe).restore(*model.state())
    assert again.token_names_ == ["first", "second"]
    assert len(model.design_.genes_.names_) == 30


def test_too_many_genes_to_attend_to(tmp_path):
    path = tmp_path / "genes.txt"
    path.write_text("\n".join(f"g{number}" for number in range(20)), encoding="utf-8")
    with pytest.raises(ModelProblem, match="20 genes to attend to, and the recipe allows 12"):
        fitted(genes={"selection": "listed", "file": str(path)})


def test_a_state_that_does_not_fit_is_refused(model):
    facts, arrays = model.state()
    for name, message in (("own.token.mean", "tokens do not fit"), ("own.token.attention", "attention of clusters")):
        with pytest.raises(ModelProblem, match=message):
            model_class("transformer")(model.recipe).restore(facts, arrays | {name: arrays[name][:-1]})
    other = model_class("transformer")(Recipe.model_validate(QUICK | {"model": {"layers": 2}}))
    with pytest.raises(ModelProblem, match="network does not fit"):
        other.restore(facts, arrays)


def test_what_is_seen_around_a_spot_reaches_ions_and_no_token():
    data = planted(n_side=10)
    data.genes.obsm["histology"] = np.random.default_rng(0).random((len(data), 4))
    model = fitted(data=data, genes={"histology": "texture"}, model={"ensemble": 1})
    assert model._channels == ["own", "ring1", "ring2", "signature"]
    assert "histology" in model.design_.bands
    assert np.isfinite(model.predict(data.genes).X).all()
