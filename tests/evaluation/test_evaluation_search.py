"""A search finds settings inside the training spots, stops when asked, and is told what it is worth."""

from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest

import napari_st2msi as st2msi
from napari_st2msi.errors import ModelProblem
from napari_st2msi.evaluation import search as module
from napari_st2msi.evaluation.evaluate import cross_validate
from napari_st2msi.evaluation.search import search
from napari_st2msi.paired import PairedDataset
from napari_st2msi.progress import Cancelled, Progress
from napari_st2msi.recipe import Recipe
from planted import planted

DATA = planted(n_side=14)


def recipe(trials=8, model="ridge", genes=None, **choices):
    return Recipe.model_validate(
        {
            "model": {"name": model, "n_alphas": 4},
            "genes": genes or {},
            "search": {"trials": trials, **choices.pop("search", {})},
            **choices,
        }
    )


# One gene is far too few for ions that follow two programs: any search must find better.
POOR = {"n_top": 1, "neighbourhood": "none"}


@pytest.fixture(scope="module")
def found():
    return search(DATA, recipe(10, genes=POOR))


def test_it_finds_better_settings_and_says_which(found):
    history = found.history
    assert len(history) == 10
    assert history["best"].iloc[-1] > history["r2"].iloc[0] + 0.1
    assert (history["best"].diff().dropna() >= 0).all()
    assert found.recipe.genes.n_top > 1
    assert found.changed["genes.n_top"] == found.recipe.genes.n_top
    assert found.recipe.search.trials == 0
    assert "genes.n_top" in found.in_words()
    assert "flattered" in found.in_words()


def test_trial_0_is_the_recipe_as_given(found):
    first = found.history.iloc[0]
    assert (first["genes.n_top"], first["genes.neighbourhood"]) == (1, "none")
    assert np.isnan(first["genes.n_rings"])


def test_the_same_seed_gives_the_same_and_another_does_not(found):
    again, other = search(DATA, recipe(10, genes=POOR)), search(DATA, recipe(10, genes=POOR, search={"seed": 1}))
    columns = [name for name in found.history if name != "seconds"]
    assert again.history[columns].equals(found.history[columns])
    assert again.recipe == found.recipe
    assert not other.history["genes.n_top"].equals(found.history["genes.n_top"])


def test_bad_settings_are_given_up_before_all_folds(monkeypatch):
    real, seen = module.build, []

    class Poor:
        def __init__(self, recipe):
            self.model = real(recipe)

        def fit(self, *args, **kwargs):
            self.model.fit(*args, **kwargs)
            seen.append(self)
            return self

        def predict(self, genes, **kwargs):
            guess = self.model.predict(genes, **kwargs)
            guess.X = np.zeros_like(guess.X)
            return guess

    # After six honest trials, all others predict nothing.
    monkeypatch.setattr(
        module, "build", lambda recipe: real(recipe) if len(seen) == 0 and next(turn) < 30 else Poor(recipe)
    )
    turn = iter(range(1000))
    history = search(DATA, recipe(8)).history
    assert list(history["state"]) == ["scored"] * 6 + ["given up"] * 2
    assert list(history["folds"]) == [5] * 6 + [1] * 2


def test_cancel_keeps_the_best_so_far():
    steps = []
    found = search(DATA, recipe(50), cancelled=lambda: len(steps) >= 3, step=steps.append)
    assert len(found.history) == 3
    assert found.ended == "Stopped after 3 of 50 trials."
    assert found.recipe.search.trials == 0
    assert [len(each.history) for each in steps] == [1, 2, 3]
    with pytest.raises(Cancelled):
        search(DATA, recipe(50), cancelled=lambda: True)


def test_time_runs_out(monkeypatch):
    hands = SimpleNamespace(now=0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: hands.now))

    def a_minute_later(_):
        hands.now += 60

    found = search(DATA, recipe(10, search={"minutes": 2.5}), step=a_minute_later)
    assert found.ended == "Time was up after 3 of 10 trials."
    assert list(found.history["state"]) == ["scored"] * 3
    # A second goes by whenever the clock is looked at: time is up inside the first trial, which stops at once.
    clock = count()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    nothing = search(DATA, recipe(10, search={"minutes": 1 / 60}))
    assert list(nothing.history["state"]) == ["stopped"]
    assert nothing.changed == {}
    assert "settings are as they were" in nothing.in_words()


def test_settings_that_cannot_be_fitted_are_told():
    with pytest.raises(ModelProblem, match=r"No settings could be fitted.*no file is chosen"):
        search(DATA, recipe(2, genes={"selection": "listed"}))
    few = planted(n_side=3)
    few.genes.obsm["spatial"][:] = 0
    with pytest.raises(ModelProblem, match="too few"):
        search(few, recipe(2))


def test_a_model_without_settings_is_scored_once():
    found = search(DATA, recipe(5, model="mean"))
    assert list(found.history["state"]) == ["scored"]
    assert "no settings" in found.ended


def test_each_fold_searches_inside_its_training_spots_only():
    choices = recipe(
        3, evaluation={"n_folds": 3, "block_um": 500, "buffer_um": 0}, intervals={"make_intervals": "never"}
    )
    clean = cross_validate(DATA, choices)
    assert set(clean.searches) == {"fold 1", "fold 2", "fold 3"}
    fold = clean.folds[0]
    alone = search(DATA.select(fold.train), choices, context=DATA.genes)
    assert alone.recipe == clean.searches["fold 1"].recipe
    ions = DATA.ions.copy()
    ions.X[fold.test] = 10 * ions.X[np.random.default_rng(0).permutation(fold.test)]
    spoiled = cross_validate(PairedDataset(DATA.genes, ions), choices)
    columns = ["r2", "genes.n_top"]
    assert spoiled.searches["fold 1"].history[columns].equals(clean.searches["fold 1"].history[columns])
    assert set(clean.summary()["searches"]) == {"fold 1", "fold 2", "fold 3"}


def test_training_searches_too_and_progress_goes_on():
    fractions = []
    progress = Progress(lambda fraction, words: fractions.append(fraction))
    model = st2msi.train(DATA, recipe(6, genes=POOR), progress=progress)
    assert model.recipe.genes.n_top > 1
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1)
    assert st2msi.search(DATA, recipe(6, genes=POOR)).recipe == model.recipe
