import json

import numpy as np
import pytest

from napari_st2msi.errors import DataProblem, ModelProblem
from napari_st2msi.features.design import Design
from napari_st2msi.features.histology import HISTOLOGY, HistologyFeatures
from napari_st2msi.models.registry import build
from napari_st2msi.paired import PairedDataset, dense
from napari_st2msi.recipe import Genes, Model, Recipe
from planted import planted

SEEN = Genes(histology="texture")


def stained(sections: int = 1, seed: int = 0) -> PairedDataset:
    """Return planted spots, of whose `noise` ions the first two follow the stained section and no gene."""
    paired = planted(sections=sections)
    seen = np.random.default_rng(seed).normal(5.0, 2.0, (len(paired), 4)).astype(np.float32)
    paired.genes.obsm[HISTOLOGY] = seen
    values = dense(paired.ions.X).copy()
    values[:, 6] = np.expm1(4 + 0.3 * (seen[:, 0] - 5))
    values[:, 7] = np.expm1(4 - 0.3 * (seen[:, 1] - 5))
    paired.ions.X = values
    return paired


def test_standardised_on_training_spots_alone():
    genes = stained().genes
    train, held = genes[:100].copy(), genes[100:].copy()
    features = HistologyFeatures(SEEN).fit(train)
    np.testing.assert_allclose(features.transform(train).mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(features.transform(train).std(axis=0), 1, atol=1e-5)
    before = features.transform(held)
    assert not np.allclose(before.mean(axis=0), 0, atol=1e-3)
    held.obsm[HISTOLOGY] = held.obsm[HISTOLOGY] * 100
    np.testing.assert_array_equal(HistologyFeatures(SEEN).fit(train).mean_, features.mean_)


def test_per_section_takes_away_what_differs_between_stains():
    genes = stained(sections=2).genes
    second = genes.obs["section"] == "s1"
    darker = genes.copy()
    darker.obsm[HISTOLOGY] = np.where(second.to_numpy()[:, None], 3 * genes.obsm[HISTOLOGY] + 7, genes.obsm[HISTOLOGY])
    choices = SEEN.model_copy(update={"per_section": True})
    features = HistologyFeatures(choices).fit(genes[~second].copy())
    np.testing.assert_allclose(features.transform(darker), features.transform(genes), atol=1e-4)
    # A few spots of a section are standardised as the whole section is.
    some = darker[300:305].copy()
    np.testing.assert_allclose(features.transform(some, darker), features.transform(darker)[300:305], atol=1e-6)


def test_directions_are_those_of_values_standardised_within_sections():
    genes = stained(sections=2).genes
    darker = genes.copy()
    second = (genes.obs["section"] == "s1").to_numpy()[:, None]
    darker.obsm[HISTOLOGY] = np.where(second, 3 * genes.obsm[HISTOLOGY] + 7, genes.obsm[HISTOLOGY])
    choices = Genes(histology="timm", histology_outputs=2, per_section=True)
    before, after = (HistologyFeatures(choices).fit(each).transform(each) for each in (genes, darker))
    np.testing.assert_allclose(np.abs(after), np.abs(before), atol=1e-4)


def test_constant_features_are_zero():
    genes = stained().genes
    genes.obsm[HISTOLOGY][:, 2] = 0.7
    assert (HistologyFeatures(SEEN).fit(genes).transform(genes)[:, 2] == 0).all()


def test_a_design_has_a_band_of_it_and_survives_being_kept():
    genes = stained().genes
    design = Design(SEEN).fit(genes)
    assert list(design.bands) == ["own", "ring1", "ring2", HISTOLOGY]
    features = design.transform(genes)
    np.testing.assert_allclose(features[:, design.bands[HISTOLOGY]].std(axis=0), 1, atol=1e-4)
    facts, arrays = design.state()
    again = Design().restore(json.loads(json.dumps(facts)), arrays)
    np.testing.assert_array_equal(again.transform(genes), features)
    assert HISTOLOGY not in Design(Genes()).fit(genes).bands


def test_spots_beside_the_picture_are_taken_at_the_mean():
    genes = stained().genes
    genes.obsm[HISTOLOGY][:5] = np.nan
    design = Design(SEEN).fit(genes)
    features = design.transform(genes)
    assert np.isfinite(features).all()
    np.testing.assert_allclose(features[:5, design.bands[HISTOLOGY]], 0, atol=1e-5)


def test_spots_may_all_lie_beside_the_picture_of_a_section_that_has_one():
    genes = stained().genes
    features = HistologyFeatures(SEEN).fit(genes)
    context = genes.copy()
    context.obsm[HISTOLOGY][:3] = np.nan
    assert np.isnan(features.transform(context[:3].copy(), context)).all()


@pytest.mark.parametrize("histology", ["texture", "timm"])
def test_training_spots_may_all_lie_beside_the_picture_of_one_of_their_sections(histology):
    context = stained(sections=2).genes
    context.obsm[HISTOLOGY][256:300] = np.nan  # of the second section
    train = context[:300].copy()
    design = Design(Genes(histology=histology)).fit(train, context=context)
    band = design.transform(train, context)[:, design.bands[HISTOLOGY]]
    assert np.isfinite(band).all()
    np.testing.assert_allclose(band[256:], 0, atol=1e-5)
    np.testing.assert_array_equal(design.histology_.mean_, HistologyFeatures(SEEN).fit(train[:256].copy()).mean_)
    with pytest.raises(DataProblem, match="None of the training spots lies on the stained section"):
        Design(Genes(histology=histology)).fit(train[256:].copy(), context=context)


@pytest.mark.parametrize("how", ["none", "one"])
def test_sections_without_histology_are_named(how):
    genes = stained(sections=2).genes
    if how == "none":
        del genes.obsm[HISTOLOGY]
    else:
        genes.obsm[HISTOLOGY][(genes.obs["section"] == "s1").to_numpy()] = np.nan
    with pytest.raises(DataProblem, match="'s1'"):
        Design(SEEN).fit(genes)


def test_another_description_is_refused():
    genes = stained().genes
    design = Design(SEEN).fit(genes)
    genes.obsm[HISTOLOGY] = genes.obsm[HISTOLOGY][:, :3]
    with pytest.raises(ModelProblem, match="3 features"):
        design.transform(genes)


@pytest.mark.parametrize("name", ["ridge", "banded_ridge", "two_stage"])
def test_models_learn_what_only_the_stain_says(name):
    paired = stained()
    train, held = paired.select(np.arange(160)), paired.select(np.arange(160, 256))
    model = build(Recipe(genes=SEEN, model=Model(name=name))).fit(train, context=paired.genes)
    blind = build(Recipe(model=Model(name=name))).fit(train, context=paired.genes)
    truth = np.log1p(dense(held.ions.X))

    def r2(fitted):
        missed = np.log1p(fitted.predict(held.genes, context=paired.genes).X) - truth
        return 1 - (missed**2).sum(axis=0) / np.maximum(((truth - truth.mean(axis=0)) ** 2).sum(axis=0), 1e-9)

    assert (r2(model)[6:8] > 0.8).all()
    assert (r2(blind)[6:8] < 0.1).all()
    assert abs(r2(model)[8]) < 0.1  # still noise
    if name != "two_stage":
        shares = model.predict(held.genes, context=paired.genes).var[f"share_{HISTOLOGY}"]
        assert (shares.iloc[6:8] > 0.8).all()
        assert (shares.iloc[:3] < 0.2).all()
