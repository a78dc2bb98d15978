"""The conditional variational autoencoder: an expectation that is always the same, and a spread that is honest."""

import numpy as np
import pytest
import torch

from napari_st2msi.models.deep.cvae import WARM_UP, ConditionalAutoencoder, conditional_bound
from napari_st2msi.models.deep.following import following
from napari_st2msi.models.registry import model_class
from napari_st2msi.progress import Cancelled
from napari_st2msi.recipe import Recipe
from planted import planted


def network(n_draws=64, seed=0, **sizes):
    torch.manual_seed(seed)
    sizes = {"width": 8, "depth": 1, "dropout": 0.0, "n_latent": 3, "n_draws": n_draws} | sizes
    made = ConditionalAutoencoder(5, 4, 2, **sizes)
    for layer in (made.outlet, made.latent, made.prior):
        torch.nn.init.normal_(layer.weight, std=0.3)
    return made


@pytest.fixture(scope="module")
def learned():
    data = planted(n_side=30)
    train, held = data.select(data.xy[:, 0] < 2000), data.select(data.xy[:, 0] >= 2000)
    choices = {
        "genes": {"neighbourhood": "none"},
        "networks": {"epochs": 20, "learning_rate": 5e-3},
        "model": {"width": 32, "dropout": 0.1, "n_latent": 4},
    }
    model = model_class("cvae")(Recipe.model_validate(choices)).fit(train)
    return held, model, model.predict(held.genes)


def r2(data, predicted, kind):
    ion = (data.ions.var.kind == kind).to_numpy()
    y, guess = np.log1p(data.ions.X[:, ion]), np.log1p(predicted.X[:, ion])
    return 1 - ((y - guess) ** 2).sum(axis=0) / ((y - y.mean(axis=0)) ** 2).sum(axis=0)


def test_a_planted_signal_is_learned_and_noise_is_the_mean(learned):
    held, _, predicted = learned
    assert (r2(held, predicted, "linear") > 0.6).all()
    assert (r2(held, predicted, "presence") > 0.2).all()
    assert (np.abs(r2(held, predicted, "noise")) < 0.05).all()


def test_the_spread_covers_what_was_measured(learned):
    held, _, predicted = learned
    std = predicted.layers["std"]
    assert (std >= 0).all()
    always = held.ions.var.kind.isin(("linear", "noise")).to_numpy()
    within = np.abs(held.ions.X - predicted.X) <= 1.645 * std
    assert within[:, always].mean() == pytest.approx(0.9, abs=0.06)
    assert (std[:, (held.ions.var.kind == "zero").to_numpy()] == 0).all()


def test_the_prediction_is_the_mean_over_draws_and_the_same_at_every_call(learned):
    held, model, predicted = learned
    again = model.predict(held.genes[[9, 4]].copy(), context=held.genes)
    np.testing.assert_allclose(again.X, predicted.X[[9, 4]], rtol=1e-5)
    np.testing.assert_allclose(again.layers["std"], predicted.layers["std"][[9, 4]], rtol=1e-4)


def test_many_draws_give_the_expectation():
    features = torch.randn(6, 5)
    few, many = network(64).eval(), network(5_000).eval()
    many.load_state_dict(few.state_dict())
    with torch.no_grad():
        for said, expected in zip(few(features), many(features), strict=True):
            assert (said - expected).abs().max() < 0.35
            assert (few(features)[0] == few(features)[0]).all()
        hidden = few.trunk(features)
        mean, log_variance = few.prior(hidden).chunk(2, dim=1)
        latent = mean + (0.5 * log_variance).exp() * torch.randn(5_000, *mean.shape)
        told, _ = zip(*[few._decoded(few.straight(features), few.inlet(hidden), draw) for draw in latent], strict=True)
        sampled = torch.stack(told)
        assert (sampled.mean(dim=0) - many(features)[0]).abs().max() < 0.1
        spread = (sampled.var(dim=0) + 1).sqrt()  # the noise that is left has deviation 1 at first
        torch.testing.assert_close(many.deviation(features), spread, rtol=0.05, atol=0.05)


def test_the_divergence_is_that_of_torch_and_comes_in_slowly():
    made = network(dropout=0.0)
    features, intensity, present = torch.randn(7, 5), torch.randn(7, 4), torch.randint(0, 2, (7, 2)).float()
    drawn = made(features, intensity, present)
    hidden = made.trunk(features)
    mean, log_variance = made.prior(hidden).chunk(2, dim=1)
    more, wider = made.recogniser(torch.cat([hidden, intensity, present], dim=1)).chunk(2, dim=1)
    prior = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    posterior = torch.distributions.Normal(mean + more, (0.5 * (log_variance + wider)).exp())
    expected = torch.distributions.kl_divergence(posterior, prior).sum(dim=1)
    torch.testing.assert_close(drawn.divergence, expected, rtol=1e-4, atol=1e-4)
    assert float(drawn.warmth) == pytest.approx(1 / WARM_UP)
    assert float(made(features, intensity, present).warmth) == pytest.approx(2 / WARM_UP)


def test_the_bound_is_the_likelihood_of_gauss_and_bernoulli():
    made = network()
    made.log_noise.data = torch.tensor([-1.0, 0.0, 0.5, 1.0])
    rows = torch.arange(7)
    data = {
        "intensity": torch.randn(7, 4),
        "counts": torch.randint(0, 2, (7, 4)).float(),
        "present": torch.randint(0, 2, (7, 2)).float(),
        "n_counts": torch.tensor(1.0),
    }
    drawn = made(torch.randn(7, 5), data["intensity"], data["present"])
    expected = drawn.warmth * drawn.divergence
    gauss = torch.distributions.Normal(drawn.intensity, made.log_noise.exp()).log_prob(data["intensity"])
    expected = expected - (data["counts"] * (gauss + 0.5 * np.log(2 * np.pi))).sum(dim=1)
    expected = expected - torch.distributions.Bernoulli(logits=drawn.odds).log_prob(data["present"]).sum(dim=1)
    torch.testing.assert_close(conditional_bound(drawn, data, rows), expected.mean())


def test_ions_that_vary_together_are_told_by_the_latent_variables():
    torch.manual_seed(0)
    # A cause that no feature tells, shared by all ions.
    intensity = torch.randn(300, 1) + 0.1 * torch.randn(300, 4)
    data = {"intensity": intensity, "counts": torch.ones(300, 4), "n_counts": torch.tensor(4.0)}
    data |= {"features": torch.randn(300, 5), "present": torch.zeros(300, 0)}
    made = ConditionalAutoencoder(5, 4, 0, width=16, depth=0, dropout=0.0, n_latent=2, n_draws=64)
    optimiser = torch.optim.Adam(made.parameters(), lr=1e-2)
    for _ in range(400):
        loss = conditional_bound(made(data["features"], intensity, data["present"]), data, torch.arange(300))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    # Little is left when the latent variables are known, and all is open when they are not.
    assert float(made.log_noise.detach().exp().max()) < 0.4
    with torch.no_grad():
        assert float(made.eval().deviation(data["features"]).mean()) == pytest.approx(1, abs=0.15)


def test_state_comes_back_with_the_spread(learned):
    held, model, predicted = learned
    again = model_class("cvae")(model.recipe).restore(*model.state()).predict(held.genes)
    assert (again.X == predicted.X).all()
    assert (again.layers["std"] == predicted.layers["std"]).all()


def test_a_broken_training_goes_on_to_the_same_model(tmp_path):
    data = planted(n_side=9)
    quick = {"networks": {"epochs": 4}, "model": {"name": "cvae", "ensemble": 1, "width": 16}}
    recipe = Recipe.model_validate(quick)
    unbroken = model_class("cvae")(recipe).fit(data).predict(data.genes)
    seen = []
    with following(checkpoints=tmp_path, told=seen.append), pytest.raises(Cancelled):
        model_class("cvae")(recipe).fit(data, cancelled=lambda: len(seen) >= 2)
    assert list(tmp_path.iterdir())
    with following(checkpoints=tmp_path):
        again = model_class("cvae")(recipe).fit(data)
    assert (again.predict(data.genes).X == unbroken.X).all()
