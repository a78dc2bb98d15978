"""Deletion curves, random weights, agreement of networks: what they say of true and of random rankings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from napari_st2msi.explain.checks import check_attention, check_attribution, random_networks
from napari_st2msi.explain.deletion import deletion_curve
from napari_st2msi.explain.explain import attribution_of
from napari_st2msi.explain.kinds import explainer_for
from napari_st2msi.features.pathways import bundled_sets
from napari_st2msi.models.registry import build
from napari_st2msi.paired import PairedDataset
from napari_st2msi.progress import Cancelled
from napari_st2msi.recipe import Recipe
from planted import planted

DATA = planted(n_side=12)


def explained(name: str, ion: int, **model: Any) -> Any:
    recipe = {
        "genes": {"n_components": 20, "neighbourhood": "none"},
        "model": {"name": name, "width": 16, **model},
        "networks": {"epochs": 5},
    }
    explainer = explainer_for(build(Recipe.model_validate(recipe)).fit(DATA), DATA.genes)
    return explainer, attribution_of(explainer, ion)


def one_by_one(attribution: Any) -> list[list[str]]:
    return [[gene] for gene in attribution.ranked().index]


def test_without_its_strongest_genes_a_prediction_moves_more_than_without_random_ones() -> None:
    explainer, attribution = explained("ridge", 0)
    curve = deletion_curve(explainer, "linear0", one_by_one(attribution))
    assert curve.counts.tolist() == [1, 2, 5, 10, 20, 30]
    assert (curve.top[:4] > curve.random.mean(axis=0)[:4]).all()
    # Without all genes what is left is the prediction at the mean, whatever the order.
    whole = np.abs(attribution.predicted - attribution.baseline).mean()
    np.testing.assert_allclose(curve.top[-1], whole, rtol=1e-4)
    np.testing.assert_allclose(curve.random[:, -1], whole, rtol=1e-4)
    assert curve.advantage > 1
    assert curve.compared == 20
    frame = curve.frame()
    assert (frame["change_random_least"] <= frame["change_random"]).all()


def test_a_ranking_that_says_nothing_has_no_advantage() -> None:
    explainer, attribution = explained("ridge", 0)
    rng = np.random.default_rng(0)
    shuffled = replace(attribution, bands={"own": rng.permuted(attribution.bands["own"], axis=1)})
    even = deletion_curve(explainer, "linear0", one_by_one(shuffled)).top[2]
    true = deletion_curve(explainer, "linear0", one_by_one(attribution)).top[2]
    assert even < 0.8 * true


def test_genes_of_a_pathway_are_taken_away_together() -> None:
    explainer, attribution = explained("ridge", 0)
    ranked = one_by_one(attribution)
    pairs = [[*one, *other] for one, other in zip(ranked[::2], ranked[1::2], strict=True)]
    curve, single = (deletion_curve(explainer, "linear0", own) for own in (pairs, ranked))
    np.testing.assert_allclose(curve.top[0], single.top[1])
    assert curve.counts[-1] == 15


def test_an_ion_that_is_not_predicted_has_a_flat_curve() -> None:
    explainer, attribution = explained("ridge", 9)  # zero everywhere
    checks = check_attribution(explainer, attribution)
    assert not checks.deletion.top.any()
    assert checks.deletion.advantage == 1.0
    assert checks.random_weights is None
    assert checks.agreement is None


def test_networks_agree_with_equal_ones_and_not_with_random_ones() -> None:
    explainer, attribution = explained("mlp", 0, ensemble=2)
    checks = check_attribution(explainer, attribution)
    assert checks.agreement is not None
    assert checks.random_weights is not None
    assert abs(checks.random_weights) < 0.5
    networks = explainer.learner.networks_
    networks[1] = networks[0]
    assert check_attribution(explainer, attribution).agreement == pytest.approx(1.0)
    networks[1] = random_networks(explainer.learner, seed=3)[0]
    agreement = check_attribution(explainer, attribution).agreement
    assert agreement is not None
    assert abs(agreement) < 0.5
    del networks[1]
    assert check_attribution(explainer, attribution).agreement is None


@pytest.mark.parametrize("attend", ["genes", "pathways"])
def test_attention_is_checked_as_attributions_are(attend: str) -> None:
    data = DATA
    if attend == "pathways":
        genes = DATA.genes.copy()
        some = dict.fromkeys(gene for own in bundled_sets().values() for gene in own[:3])
        genes.var_names = list(some)[:30]
        data = PairedDataset(genes, DATA.ions)
    recipe = {
        "genes": {"n_components": 8},
        "model": {"name": "transformer", "ensemble": 2, "attend": attend},
        "networks": {"epochs": 3},
    }
    model = build(Recipe.model_validate(recipe)).fit(data)
    checks = check_attention(model, data.genes, "linear0", spots=np.arange(30))
    assert checks.deletion.counts[-1] == len(model.token_names_)
    assert checks.random_weights is not None
    assert abs(checks.random_weights) < 0.9
    model.networks_[1] = model.networks_[0]
    again = check_attention(model, data.genes, "100.00", spots=np.arange(30))
    assert again.agreement == pytest.approx(1.0)
    # Without all that is attended to, whatever the order.
    np.testing.assert_allclose(again.deletion.random[:, -1], again.deletion.top[-1], rtol=1e-4)


def test_random_networks_are_of_the_size_of_the_trained_ones() -> None:
    explainer, _ = explained("mlp", 0, ensemble=1)
    (trained,), (drawn,) = explainer.learner.networks_, random_networks(explainer.learner)
    for one, other in zip(trained.parameters(), drawn.parameters(), strict=True):
        assert one.shape == other.shape
        if one.numel() > 200:
            assert float(other.detach().std()) == pytest.approx(float(one.detach().std()), rel=0.3)


def test_checks_stop_when_asked() -> None:
    explainer, attribution = explained("ridge", 0)
    with pytest.raises(Cancelled):
        check_attribution(explainer, attribution, cancelled=lambda: True)
