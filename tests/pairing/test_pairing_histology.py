from typing import Any

import numpy as np
import pytest
from anndata import AnnData

from napari_st2msi import pipeline
from napari_st2msi.errors import DataProblem
from napari_st2msi.features.histology import HISTOLOGY, SIDE
from napari_st2msi.features.texture import N_FEATURES
from napari_st2msi.io.build import build_section
from napari_st2msi.pairing import histology as module
from napari_st2msi.pairing.histology import describe_spots, with_histology
from napari_st2msi.recipe import Genes, Model, Recipe
from napari_st2msi.section import Section
from planted import planted

SEEN = Genes(histology="texture", n_components=5)
# The columns of the picture run along y and its rows along x, 4 µm a pixel.
TURNED = np.array([[0.0, 4.0, -100.0], [4.0, 0.0, -100.0], [0.0, 0.0, 1.0]])


def grains(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(90, 230, (450, 450, 3)).astype(np.uint8)


def section_of(name: str = "one", image: np.ndarray | None = None, seed: int = 0) -> Section:
    """Return a section with ions on its spots, 16 × 16 of them every 100 µm."""
    paired = planted(seed=seed)
    facts: dict[str, Any] = {} if image is None else {"image": image, "image_to_um": TURNED}
    return build_section(
        name=name,
        st=AnnData(paired.genes.X, var=paired.genes.var, obs=paired.genes.obs[[]]),
        st_xy=paired.xy,
        spot_diameter_um=55.0,
        paired=AnnData(paired.ions.X, var=paired.ions.var, obs=paired.ions.obs[[]]),
        **facts,
    )


def test_spots_are_described_where_they_lie_on_the_picture() -> None:
    image = np.full((450, 450, 3), 235, dtype=np.uint8)
    image[88:112, 213:237] = 90  # around x = 300 µm, y = 800 µm
    section = section_of(image=image)
    describe_spots(section, SEEN)
    found, xy = section.st.obsm[HISTOLOGY], section.st.obsm["spatial"]
    assert found.shape == (256, N_FEATURES)
    assert xy[found[:, 0].argmax()] == pytest.approx([300, 800])
    assert (np.sort(found[:, 0])[:-1] < 0.01).all()


def test_a_section_is_described_once_and_again_for_another_radius(monkeypatch: pytest.MonkeyPatch) -> None:
    section, calls = section_of(image=grains()), []
    real = module.texture
    monkeypatch.setattr(module, "texture", lambda *args, **options: (calls.append(args[3]), real(*args, **options))[1])
    for radius in (30.0, 30.0, 50.0):
        describe_spots(section, SEEN.model_copy(update={"histology_radius": radius}))
    assert calls == [30.0, 50.0]
    describe_spots(section_of(image=grains()), Genes())
    assert len(calls) == 2


def test_paired_spots_have_it_by_name() -> None:
    section = section_of(image=grains())
    stored = pipeline.paired_dataset(section)
    assert HISTOLOGY not in stored.genes.obsm
    some = stored.select(np.arange(40, 20, -1))
    seen = with_histology(some, section, SEEN)
    np.testing.assert_array_equal(seen.genes.obsm[HISTOLOGY], section.st.obsm[HISTOLOGY][40:20:-1])
    assert HISTOLOGY not in some.genes.obsm
    assert with_histology(some, section, Genes()) is some


def test_sections_are_put_together_with_it_and_the_one_without_is_named() -> None:
    recipe = Recipe(genes=SEEN)
    sections = [section_of("one", grains(0)), section_of("two", grains(1), seed=1)]
    both = pipeline.paired_dataset(sections, recipe)
    assert both.genes.obsm[HISTOLOGY].shape == (512, N_FEATURES)
    with pytest.raises(DataProblem, match=r"'bare' has no histology.*choose no histology"):
        pipeline.paired_dataset([sections[0], section_of("bare")], recipe)


def test_a_picture_that_lies_elsewhere_is_told() -> None:
    section = section_of(image=grains()[:20, :20])
    section.st.obsm["spatial"] = section.st.obsm["spatial"] + 5000.0
    with pytest.raises(DataProblem, match="No spot of section 'one' lies on its histology"):
        describe_spots(section, SEEN)


def test_a_model_that_sees_it_is_kept_and_predicts_sections_with_a_picture(tmp_path: Any) -> None:
    recipe = Recipe(genes=SEEN, model=Model(name="ridge"))
    model = pipeline.train(pipeline.paired_dataset(section_of(image=grains()), recipe), recipe)
    model.save(tmp_path / "model")
    again = pipeline.load_model(tmp_path / "model")
    query = section_of("new", grains(2), seed=2)
    predicted = pipeline.predict(again, query)
    assert np.isfinite(predicted.X).all()
    assert f"share_{HISTOLOGY}" in predicted.var
    np.testing.assert_array_equal(predicted.X, model.predict(query.st).X)
    with pytest.raises(DataProblem, match="'bare' has no histology"):
        pipeline.predict(again, section_of("bare", seed=2))
    with pytest.raises(DataProblem, match="there is none for 'bare'"):
        pipeline.predict(again, section_of("bare", seed=2).st)


def test_patches_for_an_encoder_are_kept_small_and_described_anew_for_another_choice() -> None:
    section = section_of(image=grains())
    section.st.obsm["spatial"][3] = -5000.0
    learned = SEEN.model_copy(update={"histology": "learned"})
    describe_spots(section, learned)
    found = section.st.obsm[HISTOLOGY]
    assert (found.shape, found.dtype) == ((256, SIDE * SIDE * 3), np.uint8)
    assert np.flatnonzero(~found.any(axis=1)).tolist() == [3]
    describe_spots(section, SEEN)
    assert section.st.obsm[HISTOLOGY].shape == (256, N_FEATURES)
    section.st.obsm["spatial"][:] = 9e5
    with pytest.raises(DataProblem, match="No spot of section 'one' lies on its histology"):
        describe_spots(section, learned)
    with pytest.raises(DataProblem, match="'bare' has no histology"):
        describe_spots(section_of("bare"), learned)


def test_a_model_with_a_learned_encoder_is_kept_and_predicts(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_st2msi.models.deep.encoding._EPOCHS", 2)
    recipe = Recipe(genes=SEEN.model_copy(update={"histology": "learned"}), model=Model(name="ridge"))
    section = section_of(image=grains())
    model = pipeline.train(pipeline.paired_dataset(section, recipe), recipe)
    card = (model.save(tmp_path / "model") / "card.md").read_text(encoding="utf-8")
    assert "16 numbers of a small network" in card
    assert "Sections stained or scanned in another way" in card
    query = section_of("new", grains(2), seed=2)
    predicted = pipeline.predict(pipeline.load_model(tmp_path / "model"), query)
    np.testing.assert_array_equal(predicted.X, pipeline.predict(model, query).X)
