"""What transformers attend to, and what is said of models that do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from napari_st2msi.errors import DataProblem, ModelProblem
from napari_st2msi.explain import attention
from napari_st2msi.explain.attention import attention_of, has_attention, mean_attention
from napari_st2msi.models.registry import build
from napari_st2msi.recipe import Recipe
from planted import planted

DATA = planted(n_side=8)


def fitted(name: str) -> Any:
    recipe = {"model": {"name": name, "ensemble": 1}, "networks": {"epochs": 2}, "genes": {"n_components": 8}}
    return build(Recipe.model_validate(recipe)).fit(DATA)


def test_attention_is_of_spots_ions_and_genes() -> None:
    model = fitted("transformer")
    assert has_attention(model)
    found = attention_of(model, DATA.genes, ["linear0", "101.00"], spots=[3, 7, 20])
    assert found.weights.shape == (3, 2, len(model.token_names_))
    np.testing.assert_allclose(found.weights.sum(axis=2), 1.0, atol=1e-5)
    assert list(found.ions) == ["linear0", "linear1"]
    assert list(found.spots) == ["spot3", "spot7", "spot20"]
    np.testing.assert_allclose(found.region()["linear1"], found.of("linear1").mean(axis=0), atol=1e-6)
    # Neighbours are looked up in the whole section, whichever spots are asked for.
    whole = attention_of(model, DATA.genes, ["linear0"])
    np.testing.assert_allclose(found.of("linear0"), whole.of("linear0").iloc[[3, 7, 20]], atol=1e-5)


def test_the_mean_of_many_spots_is_that_of_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    model, ions = fitted("transformer"), ["linear0", "linear1"]
    spots = np.arange(5, 40)
    monkeypatch.setattr(attention, "_ROWS", 10)
    found = mean_attention(model, DATA.genes, ions, spots=spots)
    expected = attention_of(model, DATA.genes, ions, spots=spots).region()
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, atol=1e-6)


def test_models_without_attention_say_so() -> None:
    ridge = fitted("ridge")
    assert not has_attention(ridge)
    with pytest.raises(ModelProblem, match="'ridge' has no attention to show"):
        attention_of(ridge, DATA.genes, ["linear0"])
    with pytest.raises(DataProblem, match="no ion 'nothing'"):
        attention_of(fitted("transformer"), DATA.genes, ["nothing"])


def test_the_map_less_variant_has_none() -> None:
    model = fitted("linear_transformer")
    assert not has_attention(model)
    with pytest.raises(ModelProblem, match="attention"):
        attention_of(model, DATA.genes, ["linear0"])
