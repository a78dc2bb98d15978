"""What standardising within sections does is measured on sections that were held out."""

from html import escape

import numpy as np
import pytest

import napari_st2msi as st2msi
from napari_st2msi.errors import RecipeProblem
from napari_st2msi.evaluation.batch import BatchEffect
from napari_st2msi.evaluation.evaluate import cross_validate
from napari_st2msi.recipe import Recipe
from napari_st2msi.report.html import report_page
from napari_st2msi.report.words import penalties, score_lines
from planted import planted


def recipe(**genes):
    return Recipe.model_validate(
        {
            "model": {"name": "ridge", "n_alphas": 4},
            "genes": {"log1p": False, "neighbourhood": "none", "n_top": 30, **genes},
            "evaluation": {"protocol": "leave_group_out"},
        }
    )


def stained():
    """Return sections in which every gene came out on another level, as antibodies do; ions did not."""
    data = planted(n_side=10, sections=3)
    rng = np.random.default_rng(0)
    values = data.genes.X.toarray()
    for label in np.unique(data.sections):
        own = data.sections == label
        values[own] = values[own] * np.exp(rng.normal(0, 1.5, values.shape[1])) + 50 * rng.random(values.shape[1])
    data.genes.X = values
    return data


def test_staining_is_found_and_the_advice_is_to_standardise():
    data = stained()
    effect = st2msi.compare_standardisation(data, recipe())
    linear = effect.r2.index.str.startswith("linear")
    assert (effect.r2["section"] - effect.r2["training"])[linear].min() > 0.2
    assert "turn 'Standardise per section' on" in effect.in_words()
    assert "each 'section' held out" in effect.in_words()


def test_an_evaluation_saves_its_half_and_gives_the_same():
    data, choices = stained(), recipe(per_section=True)
    evaluation = cross_validate(data, choices)
    effect = st2msi.compare_standardisation(data, choices, evaluation=evaluation)
    np.testing.assert_array_equal(effect.r2["section"], evaluation.flat().r2[effect.r2.index])
    other = cross_validate(data, recipe(per_section=False))
    np.testing.assert_allclose(effect.r2["training"], other.flat().r2[effect.r2.index])
    assert "turn" not in effect.in_words()
    assert escape(effect.in_words()) in report_page(evaluation, batch=effect)


def test_where_it_hurts_it_is_said():
    frame = st2msi.compare_standardisation(stained(), recipe()).r2
    swapped = frame.rename(columns={"training": "section", "section": "training"})
    assert "turn it off" in BatchEffect(swapped, True, "each 'section'").in_words()
    assert "turn" not in BatchEffect(swapped, False, "each 'section'").in_words()


def test_one_section_or_nothing_to_compare():
    with pytest.raises(RecipeProblem, match="one section only"):
        st2msi.compare_standardisation(planted(n_side=8), recipe())
    with pytest.raises(RecipeProblem, match="does not standardise"):
        st2msi.compare_standardisation(stained(), recipe(standardise=False))


def test_too_few_sections_for_penalties_are_told():
    two = cross_validate(planted(n_side=10, sections=2), recipe())
    assert two.protocol["training_sections"] == 1
    assert "one section to train on, penalties were chosen on blocks of tissue" in score_lines(two)["penalties"]
    three = cross_validate(planted(n_side=8, sections=3), recipe())
    assert three.protocol["training_sections"] == 2
    assert "by holding out each once, and on blocks of tissue" in score_lines(three)["penalties"]
    four = cross_validate(planted(n_side=6, sections=4), recipe())
    assert four.protocol["training_sections"] == 3
    assert "penalties" not in score_lines(four)
    assert "holding out sections" in penalties(four)
