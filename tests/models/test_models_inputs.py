"""Directions that know ions are learned anew in inner folds, and what is learned of them there can be asked of all."""

import numpy as np
import pytest

from napari_st2msi.features.design import Design
from napari_st2msi.models.deep.loop import train
from napari_st2msi.models.inputs import inputs_of
from napari_st2msi.models.registry import build
from napari_st2msi.recipe import Genes, Recipe
from planted import planted

DATA = planted(n_side=24)
HELD = DATA.xy[:, 0] >= 1600
TRAIN, TEST = DATA.select(~HELD), DATA.select(HELD)


def test_directions_of_folds_lie_along_those_of_all_spots():
    ions = np.log1p(TRAIN.ions.X)
    inputs = inputs_of(Design(Genes(reduction="pls", n_components=8)), TRAIN, ions)
    assert len(inputs.folds) > 1
    for fold in inputs.folds:
        for band in inputs.bands.values():
            # Three programs drive the ions; the directions after them are chance.
            own, every = fold.features[fold.held][:, band][:, :3], inputs.features[fold.held][:, band][:, :3]
            alike = [np.corrcoef(a, b)[0, 1] for a, b in zip(own.T, every.T, strict=True)]
            assert min(alike) > 0.8


def test_fewer_spots_than_directions():
    few = planted(n_side=6, genes=40)
    recipe = {"genes": {"reduction": "pls", "n_components": 40}, "model": {"name": "banded_ridge"}}
    inputs = inputs_of(Design(Genes(reduction="pls", n_components=40)), few, np.log1p(few.ions.X))
    assert all(fold.features.shape == inputs.features.shape for fold in inputs.folds)
    assert np.isfinite(build(Recipe.model_validate(recipe)).fit(few).predict(few.genes).X).all()


@pytest.mark.parametrize("intensity", ["mlp", "trees"])
def test_what_is_learned_in_folds_is_asked_of_the_same_directions(intensity):
    def r2(reduction):
        recipe = Recipe.model_validate(
            {
                "genes": {"neighbourhood": "none", "reduction": reduction, "n_components": 10},
                "model": {"intensity": intensity, "ensemble": 2, "width": 32, "depth": 1, "rounds": 40},
                "networks": {"epochs": 12, "device": "cpu"},
            }
        )
        predicted = build(recipe).fit(TRAIN).predict(TEST.genes)
        ions = np.flatnonzero(DATA.ions.var.kind == "linear")
        y, guess = np.log1p(TEST.ions.X[:, ions]), np.log1p(predicted.X[:, ions])
        return 1 - ((y - guess) ** 2).sum(axis=0) / ((y - y.mean(axis=0)) ** 2).sum(axis=0)

    assert (r2("pls") > r2("svd") - 0.05).all()


def test_directions_of_a_fold_do_not_know_the_ions_held_out_there():
    ions = np.log1p(TRAIN.ions.X).astype(float)
    design = Design(Genes(reduction="pls", n_components=6, neighbourhood="none"))
    fold = inputs_of(design, TRAIN, ions).folds[0]
    ions[fold.held] = ions[fold.held][::-1] ** 2
    again = inputs_of(design, TRAIN, ions).folds[0]
    # However they are turned, lengths and angles between spots are the same.
    grams = [of - of.mean(axis=0) for of in (fold.features, again.features)]
    np.testing.assert_allclose(grams[1] @ grams[1].T, grams[0] @ grams[0].T, atol=1e-4)


@pytest.mark.parametrize("name", ["mlp", "cvae", "gcn", "linear_transformer"])
def test_a_network_sees_the_directions_of_its_fold(name, monkeypatch):
    seen = []

    def spy(network, data, *further, **named):
        seen.append(data)
        return train(network, data, *further, **named)

    monkeypatch.setattr("napari_st2msi.models.deep.loop.train", spy)
    recipe = Recipe.model_validate(
        {
            "genes": {"reduction": "pls", "n_components": 6, "neighbourhood": "none"},
            "model": {"name": name, "ensemble": 2, "width": 8, "depth": 1},
            "networks": {"epochs": 1, "device": "cpu"},
        }
    )
    order = np.argsort(TRAIN.genes.obs_names.to_numpy().astype(str), kind="stable")
    ordered = TRAIN.select(order)
    model = build(recipe).fit(TRAIN, context=DATA.genes)
    inputs = inputs_of(Design(model.design_.choices), ordered, model.ions_.forward(ordered.ions), DATA.genes)
    assert len(seen) == 2
    for data, fold in zip(seen, inputs.folds, strict=False):
        # A graph holds all spots of the sections, so those that are heard are seen in the same way.
        expected = fold.design.transform(DATA.genes) if name == "gcn" else fold.features
        np.testing.assert_allclose(data["features"], model.scaled(expected), atol=1e-4)
