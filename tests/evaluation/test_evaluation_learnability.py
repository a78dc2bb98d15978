"""Which ions can be learned: agreement with the truth of simulated sections, and what is asked for wrongly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import napari_st2msi as st2msi
from napari_st2msi import Cancelled, PairedDataset, Recipe
from napari_st2msi.errors import DataProblem, FileProblem, RecipeProblem
from napari_st2msi.evaluation import learnability as module
from napari_st2msi.evaluation import nulls
from napari_st2msi.evaluation.learnability import Learnability, learnability
from napari_st2msi.evaluation.properties import PROPERTIES
from napari_st2msi.evaluation.tiers import Tiers
from napari_st2msi.io.sample import Simulation
from napari_st2msi.progress import Progress
from napari_st2msi.recipe import Model

KINDS = {"linear": 8, "presence": 6, "smooth": 8, "noise": 6}
RIDGE = Recipe.model_validate({"model": {"name": "ridge"}, "evaluation": {"n_folds": 3, "seed": 1}})


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return st2msi.simulate(n_spots=400, n_genes=150, ions_per_kind=KINDS, image_px=128, seed=3)


@pytest.fixture(scope="module")
def paired(simulation) -> PairedDataset:
    return simulation.paired()


@pytest.fixture(scope="module")
def found(paired: PairedDataset) -> Learnability:
    return learnability(paired, RIDGE, protocols=("random", "blocks"))


@pytest.fixture(scope="module")
def encoded(simulation) -> pd.Series:
    return ~simulation.truth.ions["kind"].isin(["smooth", "noise"])


def auc(score: pd.Series, positive: pd.Series) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(positive, score))


def test_gain_tells_encoded_from_smooth_and_moran_does_not(found, encoded, simulation) -> None:
    assert auc(found.table["blocks_gain_coordinates"], encoded) >= 0.95
    assert auc(found.table["moran_i"], encoded) < 0.7
    smooth = simulation.truth.ions["kind"] != "noise"
    assert auc(found.table["moran_i"][smooth], encoded[smooth]) < 0.5  # the smoothest are not in the genes


def test_skill_beyond_smoothness_is_told_where_blocks_were_held_out(found, encoded) -> None:
    sure = found.table["blocks_skill_q"] <= 0.05
    assert sure[encoded].mean() >= 0.9
    assert sure[~encoded].mean() <= 0.2
    assert (found.table["blocks_skill_p"].dropna() >= 1e-3).all()  # of 999 images drawn anew


def test_tiers_agree_with_the_truth(found, encoded, simulation) -> None:
    assert ((found.table["tier"] < 3) == encoded).mean() >= 0.9
    noise = simulation.truth.ions["kind"] == "noise"
    assert (found.table["finding"][noise] == "noisy").mean() >= 0.8
    assert not (found.table["finding"][simulation.truth.ions["kind"] == "smooth"] == "noisy").any()
    assert sum(found.counts.values()) == len(found.table)
    for tier, reason in zip(found.table["tier"], found.table["reason"], strict=True):
        assert reason.startswith(f"tier {tier}: ")


def test_random_folds_flatter_coordinates(found) -> None:
    famous = found.famous()
    assert list(famous.index) == ["random", "blocks"]
    assert famous.loc["random", ("coordinates", "r2")] > 0.9
    assert famous.loc["random", ("coordinates", "r2")] > famous.loc["blocks", ("ridge", "gain")] + 0.3


def test_judged_anew_by_other_criteria_without_predicting(found) -> None:
    strict = found.judged(Tiers(least_gain=0.9))
    assert strict.counts == {1: 0, 2: 0, 3: len(found.table)}
    assert strict.criteria.least_gain == 0.9
    by_random = found.judged(by="random")
    assert by_random.judged_by == "random"
    known = by_random.table["relative_r2"].notna()
    share = (found.table["random_r2"] / found.table["ceiling"])[known]
    np.testing.assert_allclose(by_random.table["relative_r2"][known], share)
    with pytest.raises(RecipeProblem, match="random, blocks"):
        found.judged(by="knndm")


def test_saved_and_read_back(found, tmp_path: Path) -> None:
    again = Learnability.load(found.save(tmp_path / "out"))
    pd.testing.assert_frame_equal(again.table, found.table)
    pd.testing.assert_frame_equal(again.famous(), found.famous(), rtol=1e-5)
    assert (again.judged_by, again.model, again.criteria) == (found.judged_by, found.model, found.criteria)
    assert pd.read_csv(tmp_path / "out" / "learnability.csv").shape[0] == len(found.table)
    with pytest.raises(FileProblem, match="no learnability"):
        Learnability.load(tmp_path)


def test_a_full_disk_leaves_what_was_saved_before(found, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    before = {path: path.read_bytes() for path in found.judged(Tiers(least_gain=0.5)).save(tmp_path / "out").iterdir()}
    monkeypatch.setattr(Path, "write_text", full)  # of the last file
    with pytest.raises(FileProblem, match="disk is full"):
        found.save(tmp_path / "out")
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_what_to_expect_of_new_ions(found) -> None:
    new = found.table[list(PROPERTIES)].sample(5, random_state=0)
    said = found.expect(new)
    assert list(said.index) == list(new.index)
    assert np.allclose(said[[f"tier_likely_{tier}" for tier in (1, 2, 3)]].sum(axis=1), 1)
    assert (said["r2_lower"] < said["r2"]).all()
    partly = found.expect(new[["moran_i", "sparsity"]])
    assert partly["r2"].notna().all()


def test_given_evaluations_are_not_done_again(found, paired, monkeypatch) -> None:
    monkeypatch.setattr("napari_st2msi.evaluation.learnability.cross_validate", None)
    again = learnability(paired, RIDGE, protocols=(), evaluations={"blocks": found.evaluations["blocks"]})
    assert list(again.protocols) == ["blocks"]
    assert (again.table["tier"] == found.table["tier"]).all()


def test_refusals(paired, found) -> None:
    for protocols, words in ((("block",), "no protocol 'block'"), ((), "one or more"), (("half", "half"), "each once")):
        with pytest.raises(RecipeProblem, match=words):
            learnability(paired, RIDGE, protocols=protocols)
    with pytest.raises(RecipeProblem, match="no protocol 'random:donor'"):
        learnability(paired, RIDGE, protocols=("random:donor",))
    with pytest.raises(RecipeProblem, match="judged by 'half'"):
        learnability(paired, RIDGE, protocols=("random",), judged_by="half")
    with pytest.raises(Cancelled):
        learnability(paired, RIDGE, cancelled=lambda: True)


def test_evaluations_that_do_not_go_together_are_refused_before_any_work(paired, found, monkeypatch) -> None:
    monkeypatch.setattr("napari_st2msi.evaluation.learnability.ceilings", None)
    known = {"blocks": found.evaluations["blocks"]}
    fewer = PairedDataset(paired.genes, paired.ions[:, 1:].copy())
    with pytest.raises(DataProblem, match="other ions"):
        learnability(fewer, RIDGE, protocols=(), evaluations=known)
    with pytest.raises(DataProblem, match="'blocks' was measured on other spots than the paired spots"):
        learnability(paired.select(np.arange(len(paired)) > 3), RIDGE, protocols=(), evaluations=known)
    for changed in ({"log1p": False}, {"normalisation": "tic"}):
        recipe = RIDGE.model_copy(update={"ions": RIDGE.ions.model_copy(update=changed)})
        with pytest.raises(DataProblem, match=f"another scale of ions.*'ions.{next(iter(changed))}'"):
            learnability(paired, recipe, protocols=(), evaluations=known)
    with pytest.raises(RecipeProblem, match="different models: mean, ridge"):
        learnability(paired, RIDGE.model_copy(update={"model": Model(name="mean")}), evaluations=known)
    both = {"leave_donor": known["blocks"], "leave_group_out:donor": known["blocks"]}
    with pytest.raises(RecipeProblem, match="each once"):
        learnability(paired, RIDGE, protocols=(), evaluations=both)


def test_a_correlation_that_was_not_made_is_named(found) -> None:
    assert found.spearman("blocks", "gain") == found.famous().loc["blocks", ("ridge", "gain")]
    for asked, words in (
        ({"protocol": "nope"}, r"no protocol 'nope'.*random, blocks"),
        ({"outcome": "skill"}, r"no outcome 'skill'.*r2, gain"),
        ({"of": "size"}, r"no property 'size'.*moran_i, ceiling"),
        ({"predictor": "mlp"}, r"no predictor 'mlp'.*ridge, coordinates, position"),
    ):
        with pytest.raises(RecipeProblem, match=words):
            found.spearman(**{"protocol": "blocks", "outcome": "r2", **asked})


def test_waves_are_made_once_for_all_protocols(found, paired, monkeypatch) -> None:
    made = []
    real = module.waves
    for home in (module, nulls):
        monkeypatch.setattr(home, "waves", lambda *given, **how: made.append(given) or real(*given, **how))
    again = learnability(paired, RIDGE, evaluations=found.evaluations)
    assert len(made) == 1
    assert again.table["random_skill_p"].equals(found.table["random_skill_p"])


def test_long_work_says_in_words_what_it_does_and_stops_in_each(paired: PairedDataset) -> None:
    said: list[tuple[float, str]] = []
    labelled = PairedDataset(paired.genes.copy(), paired.ions.copy())
    for table in (labelled.genes, labelled.ions):
        table.obs["tissue_region"] = np.where(table.obsm["spatial"][:, 0] > np.median(paired.xy[:, 0]), "a", "b")
    protocol = "leave_group_out:tissue_region"
    found = learnability(labelled, RIDGE, protocols=[protocol], progress=Progress(lambda *now: said.append(now)))
    assert found.judged_by == "leave_tissue_region"
    words = list(dict.fromkeys(message.partition(":")[0] for _, message in said))
    assert words == [
        "what is reproducible of ions", "what ions are like", "patterns that the tissue can carry",
        "each tissue region", "properties and skill",
    ]  # fmt: skip
    assert np.diff([fraction for fraction, _ in said]).min() >= 0
    for last in words:
        now = []
        with pytest.raises(Cancelled):
            learnability(
                labelled, RIDGE, protocols=[protocol],
                progress=Progress(lambda _, message, now=now: now.append(message.partition(":")[0])),
                cancelled=lambda last=last, now=now: last in now,
            )  # fmt: skip
        assert now[-1] == last


def test_tiers_are_judged_by_whole_sections_before_regions_of_one(paired: PairedDataset) -> None:
    tables = [paired.genes.copy(), paired.ions.copy()]
    right = tables[0].obsm["spatial"][:, 0] > np.median(paired.xy[:, 0])
    below = tables[0].obsm["spatial"][:, 1] > np.median(paired.xy[:, 1])
    for table in tables:
        table.obs["section"], table.obs["region"] = np.where(right, "s", "t"), np.where(below, "above", "below")
    protocols = ("leave_group_out:region", "leave_group_out:section")
    found = learnability(PairedDataset(*tables), RIDGE, protocols=protocols)
    assert found.judged_by == "leave_section"


def test_few_ions_get_tiers_and_no_forecast(paired: PairedDataset) -> None:
    few = PairedDataset(paired.genes, AnnData(paired.ions.X[:, :3], obs=paired.ions.obs, var=paired.ions.var[:3]))
    found = learnability(few, RIDGE, protocols=("blocks",))
    assert len(found.table) == 3
    assert found.forecasts.empty
    assert found.correlations["spearman"].isna().all()
    with pytest.raises(DataProblem, match="fewer than 20"):
        found.expect(found.table[list(PROPERTIES)])
