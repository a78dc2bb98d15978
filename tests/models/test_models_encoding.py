"""An encoder of the stained section, learned inside the training spots."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from napari_st2msi.errors import DataProblem, ModelProblem
from napari_st2msi.features.design import Design
from napari_st2msi.features.histology import HISTOLOGY, SIDE
from napari_st2msi.models.deep import encoding
from napari_st2msi.models.deep.following import Told, following
from napari_st2msi.models.inner import block_folds
from napari_st2msi.models.inputs import inputs_of
from napari_st2msi.models.registry import build
from napari_st2msi.paired import PairedDataset, dense
from napari_st2msi.progress import Cancelled
from napari_st2msi.recipe import Genes, Model, Networks, Recipe
from planted import planted

SEEN = Genes(histology="learned", histology_outputs=4, n_components=5, neighbourhood="none")


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_EPOCHS", 2)


def stained(seed: int = 0, sections: int = 1) -> PairedDataset:
    """Return planted spots with patches, whose darkness is the first direction of the genes, and the rest noise."""
    paired = planted(sections=sections)
    counts = np.log1p(dense(paired.genes.X).astype(float))
    centred = (counts - counts.mean(axis=0)) / np.maximum(counts.std(axis=0), 1e-9)
    first = np.linalg.svd(centred, full_matrices=False)[0][:, 0]
    rng = np.random.default_rng(seed)
    grey = 170 - 35 * first / first.std()
    pictures = grey[:, None, None, None] + 12 * rng.standard_normal((len(paired), SIDE, SIDE, 3))
    paired.genes.obsm[HISTOLOGY] = np.clip(pictures, 1, 255).astype(np.uint8).reshape(len(paired), -1)
    return paired


def ions_of(paired: PairedDataset) -> np.ndarray:
    return np.log1p(dense(paired.ions.X).astype(float))


def test_it_learns_what_the_patches_say_of_genes_and_says_it_of_other_tissue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_EPOCHS", 12)
    paired = stained()
    fold = block_folds(paired)[0]
    train, held = paired.select(fold.fit), paired.select(fold.held)
    design = Design(SEEN)
    inputs = inputs_of(design, train, ions_of(train), paired.genes)
    assert list(design.bands) == ["own", HISTOLOGY]
    assert inputs.features[:, design.bands[HISTOLOGY]].shape == (len(train), 4)
    said = design.transform(held.genes, paired.genes)[:, design.bands[HISTOLOGY]]
    dark = held.genes.obsm[HISTOLOGY].mean(axis=1)
    assert max(abs(np.corrcoef(column, dark)[0, 1]) for column in said.T) > 0.8
    # Turned and mirrored, a patch says nearly the same.
    turned = held.genes.copy()
    pictures = turned.obsm[HISTOLOGY].reshape(-1, SIDE, SIDE, 3)
    turned.obsm[HISTOLOGY] = np.ascontiguousarray(pictures[:, ::-1].transpose(0, 2, 1, 3)).reshape(len(held), -1)
    again = design.transform(turned, turned)[:, design.bands[HISTOLOGY]]
    assert np.abs(again - said).mean() < 0.25 * said.std()


def test_nothing_of_held_out_spots_is_learned_and_no_ion() -> None:
    paired = stained()
    train = paired.select(np.arange(160))

    def learned(context: Any, ions: np.ndarray) -> dict[str, np.ndarray]:
        design = Design(SEEN)
        inputs_of(design, train, ions, context)
        assert design.histology_ is not None
        return design.histology_.state()[1]

    first = learned(paired.genes, ions_of(train))
    other = paired.genes.copy()
    other.obsm[HISTOLOGY][160:] = 255 - other.obsm[HISTOLOGY][160:]
    other.X = dense(other.X).copy()
    other.X[160:] = other.X[160:][::-1]
    second = learned(other, ions_of(train)[::-1])
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])


def test_it_is_kept_with_the_design() -> None:
    paired = stained()
    design = Design(SEEN)
    inputs_of(design, paired, ions_of(paired))
    facts, arrays = design.state()
    again = Design().restore(json.loads(json.dumps(facts)), {name: np.array(v) for name, v in arrays.items()})
    np.testing.assert_array_equal(again.transform(paired.genes), design.transform(paired.genes))
    assert design.histology_ is not None
    assert again.transform(_with(paired, design.histology_.blank(len(paired))).genes).shape == (256, 9)


@pytest.mark.parametrize("damage", ["missing", "size", "nan"])
def test_a_damaged_encoder_is_refused(damage: str) -> None:
    paired = stained()
    design = Design(SEEN)
    inputs_of(design, paired, ions_of(paired))
    facts, arrays = design.state()
    name = "histology.encoder.layers.0.weight"
    if damage == "missing":
        del arrays[name]
    else:
        arrays[name] = arrays[name][:3] if damage == "size" else np.full_like(arrays[name], np.nan)
    with pytest.raises(ModelProblem, match="missing values" if damage == "nan" else "not whole"):
        Design().restore(facts, arrays)


def test_spots_beside_the_picture_are_taken_at_the_mean() -> None:
    paired = stained()
    paired.genes.obsm[HISTOLOGY][::7] = 0
    design = Design(SEEN)
    inputs_of(design, paired, ions_of(paired))
    said = design.transform(paired.genes)[:, design.bands[HISTOLOGY]]
    np.testing.assert_allclose(said[::7], 0, atol=1e-5)
    assert np.isfinite(said).all()


def test_patches_that_are_all_the_same_say_nothing_and_break_nothing() -> None:
    paired = _with(stained(), np.full((256, SIDE * SIDE * 3), 140, dtype=np.uint8))
    design = Design(SEEN)
    inputs_of(design, paired, ions_of(paired))
    np.testing.assert_allclose(design.transform(paired.genes)[:, design.bands[HISTOLOGY]], 0, atol=1e-3)


def test_its_epochs_are_told_as_its_own() -> None:
    told: list[Told] = []
    with following(told=told.append):
        inputs_of(Design(SEEN), stained(), ions_of(stained()))
    assert [each.epoch.number for each in told] == [1, 2]
    assert {each.what for each in told} == {"encoder of histology"}


def test_the_seed_decides() -> None:
    paired = stained()

    def said(seed: int) -> np.ndarray:
        design = Design(SEEN)
        inputs_of(design, paired, ions_of(paired), networks=Networks(seed=seed))
        return design.transform(paired.genes)

    np.testing.assert_array_equal(said(0), said(0))
    assert not np.array_equal(said(0), said(1))


def test_sections_without_and_other_descriptions_are_refused() -> None:
    paired = stained(sections=2)
    ions = ions_of(paired)
    bare = _with(paired, np.where((paired.sections == "s1")[:, None], 0, paired.genes.obsm[HISTOLOGY]).astype(np.uint8))
    with pytest.raises(DataProblem, match="'s1'"):
        inputs_of(Design(SEEN), bare, ions)
    with pytest.raises(ModelProblem, match="described in another"):
        inputs_of(Design(SEEN), _with(paired, np.ones((len(paired), 36), dtype=np.float32)), ions)
    with pytest.raises(ModelProblem, match="described in another"):
        inputs_of(Design(SEEN.model_copy(update={"histology": "texture"})), paired, ions)
    with pytest.raises(ModelProblem, match="learned by a model"):
        Design(SEEN).fit(paired.genes)


def test_too_little_tissue_is_told() -> None:
    few = stained().select(np.arange(12))
    few.genes.obsm[HISTOLOGY][1:] = 0
    with pytest.raises(ModelProblem, match="too few spots on the stained section"):
        inputs_of(Design(SEEN), few, ions_of(few))


def test_cancel() -> None:
    calls = iter([False, False, *[True] * 1000])
    with pytest.raises(Cancelled):
        inputs_of(Design(SEEN), stained(), np.zeros((256, 1)), cancelled=lambda: next(calls))


@pytest.mark.parametrize("name", ["ridge", "two_stage"])
def test_models_learn_with_it_and_predict_the_same_when_taken_back(name: str) -> None:
    paired = stained()
    recipe = Recipe(genes=SEEN, model=Model(name=name))
    model = build(recipe).fit(paired, context=paired.genes)
    facts, arrays = model.state()
    again = build(recipe).restore(json.loads(json.dumps(facts)), arrays)
    np.testing.assert_array_equal(again.predict(paired.genes).X, model.predict(paired.genes).X)


def _with(paired: PairedDataset, seen: np.ndarray) -> PairedDataset:
    genes = paired.genes.copy()
    genes.obsm[HISTOLOGY] = seen
    return PairedDataset(genes, paired.ions)
