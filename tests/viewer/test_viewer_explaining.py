"""The work behind the pages that explain, without a window."""

from __future__ import annotations

import numpy as np
import pytest

from napari_st2msi import pipeline
from napari_st2msi.explain.perturb import Change
from napari_st2msi.progress import Progress, never
from napari_st2msi.recipe import Genes, Model, Recipe
from napari_st2msi.viewer import explaining


@pytest.mark.parametrize("what", ["explain", "compare", "perturb"])
def test_a_model_that_sees_histology_is_explained_in_a_section_just_opened(what: str) -> None:
    section = pipeline.simulate(n_spots=150, n_genes=40, ions_per_kind=1, image_px=128, seed=3).sections[0]
    pipeline.register(section)
    pipeline.pair(section)
    recipe = Recipe(genes=Genes(histology="texture", n_components=5), model=Model(name="ridge", n_alphas=3))
    model = pipeline.train(pipeline.paired_dataset(section, recipe), recipe)
    section.forget_caches()
    ion, gene = str(model.ions.index[0]), model.genes[0]
    told = {"progress": Progress(), "cancelled": never}
    if what == "explain":
        found = explaining.explain(model, section, ion, None, **told)
        assert found.values.shape == (150, 40)
        assert np.isfinite(found.values).all()
    elif what == "compare":
        explaining.compare(model, section, [ion], None, **told)
    else:
        change = Change((gene,), "knock_out")
        explaining.perturb(model, section, change, None, **told)
    assert "histology" in section.st.obsm
