"""The Train dock: evaluate and fit in the background, keep models, predict sections that have ST only."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QMainWindow, QMessageBox, QPushButton

from napari_st2msi import pipeline
from napari_st2msi.evaluation.search import Search as SearchResult
from napari_st2msi.models.deep.following import Told
from napari_st2msi.models.deep.learner import NetworkLearner
from napari_st2msi.models.registry import model_class, model_names
from napari_st2msi.paired import PairedDataset
from napari_st2msi.recipe import Evaluation, Genes, Intervals, Ions, Model, Recipe, Search
from napari_st2msi.recipe.networks import NETWORKS, trains_networks
from napari_st2msi.section import Section
from napari_st2msi.viewer.docks import train_forms, train_runs, train_search, train_view
from napari_st2msi.viewer.docks.train import TrainDock
from napari_st2msi.viewer.parts.choice_words import words_for
from napari_st2msi.viewer.parts.close_guard import stop_and_close
from napari_st2msi.viewer.parts.group import Group
from napari_st2msi.viewer.state import state_of

# Waiting ends when what is waited for happens; only a machine that does much else needs so long.
PATIENCE_MS = 240_000
QUICK = Recipe(evaluation=Evaluation(n_folds=2), genes=Genes(n_top=30), model=Model(n_alphas=3))


NETWORK = Recipe.model_validate(
    {
        "evaluation": {"n_folds": 2},
        "genes": {"n_top": 30, "neighbourhood": "none"},
        "model": {"name": "mlp", "ensemble": 2, "width": 16, "depth": 1},
        "networks": {"epochs": 3, "device": "cpu"},
    }
)
SLOW = NETWORK.model_copy(
    update={"networks": NETWORK.networks.model_copy(update={"epochs": 10_000, "patience": 10_000})}
)


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where trainings under way are kept: not in the folder of whoever runs the tests."""
    folder = tmp_path / "trainings"
    monkeypatch.setattr(train_runs, "user_folder", lambda: folder)
    return folder


@pytest.fixture(scope="module")
def two() -> list[tuple[Section, PairedDataset]]:
    """Two simulated sections, registered and paired."""
    simulation = pipeline.simulate(
        name="brain", n_spots=260, n_genes=60, ions_per_kind=1, image_px=128, n_sections=2, seed=3
    )
    for section in simulation.sections:
        pipeline.register(section)
    return [(section, pipeline.pair(section)) for section in simulation.sections]


@pytest.fixture
def dock(qtbot: Any, viewer: ViewerModel) -> TrainDock:
    state_of(viewer).recipe = QUICK
    dock = TrainDock(viewer)
    qtbot.addWidget(dock)
    dock.resize(380, 700)
    dock.show()
    return dock


@pytest.fixture
def paired(dock: TrainDock, two: list[tuple[Section, PairedDataset]]) -> Section:
    section, data = two[0]
    dock.state.add_section(section)
    dock.state.set_paired(data, section)
    return section


@pytest.fixture
def st_only(two: list[tuple[Section, PairedDataset]]) -> Section:
    from napari_st2msi.io.build import build_section

    st = two[1][0].st.copy()
    st.obs = st.obs.drop(columns=["region", "instance"])
    return build_section(name="new", st=st, st_xy=st.obsm["spatial"], spot_diameter_um=55.0)


@pytest.fixture
def done(qtbot: Any, dock: TrainDock) -> Callable[[], None]:
    return lambda: qtbot.waitUntil(lambda: not dock.jobs.running, timeout=PATIENCE_MS)


def press(qtbot: Any, dock: TrainDock) -> None:
    qtbot.mouseClick(dock.run_bar.button, Qt.MouseButton.LeftButton)


def test_it_says_what_is_missing(dock: TrainDock, make_section: Callable[..., Section]) -> None:
    assert "Open a section" in dock.empty.label.text()
    assert not dock.run_bar.isVisible()
    dock.state.add_section(make_section("unpaired"))
    assert "not paired yet" in dock.empty.label.text()
    dock.state.add_section(make_section("msi", st=False))
    assert "MSI only" in dock.empty.label.text()
    assert dock.empty.button.text() == "Explore ions"


def test_training_scores_and_predicts(qtbot: Any, dock: TrainDock, done: Callable[[], None], paired: Section) -> None:
    assert "260 paired spots" in dock.state_line.text()
    press(qtbot, dock)
    assert dock.trainings.live.isVisible()
    assert dock.groups["genes"].content().isEnabled()
    assert dock.trainings.queue.button.isVisible()
    assert not dock.trainings.curve.isVisible()
    assert not dock.groups["networks"].isVisible()
    done()
    assert len(dock.trainings.live.scores) == 2
    evaluation = dock.state.evaluation
    assert evaluation is not None
    assert dock.state.model is not None
    assert dock.state.prediction is evaluation.prediction
    assert dock.state.prediction.uns["provenance"]["kind"] == "out_of_fold"
    assert paired.predicted is not None
    assert "the best without genes" in dock.messages.text
    assert dock.scores_group.isVisible()
    rows = train_view.score_rows(train_view.quartiles(evaluation.flat(), "two-stage"))
    assert [row[0] for row in rows][:2] == ["two-stage", "training mean"]
    assert {"coordinates: nearest spots", "position in the section"} <= {row[0] for row in rows}


def test_changes_after_training_are_said(
    qtbot: Any, dock: TrainDock, done: Callable[[], None], paired: Section, two: list[tuple[Section, PairedDataset]]
) -> None:
    dock.train()
    done()
    dock.forms["genes"].fields["n_top"].set_value(20)
    assert "choices changed since training. Press Train" in dock.state_line.text()
    dock.state.recipe = QUICK
    assert "changed" not in dock.state_line.text()
    dock.state.set_paired(two[0][1], paired)
    assert "paired again since" in dock.state_line.text()
    dock.state.set_registered(paired)
    assert "Pair again in the Data dock" in dock.state_line.text()


def test_several_sections_are_trained_together(
    dock: TrainDock, done: Callable[[], None], two: list[tuple[Section, PairedDataset]]
) -> None:
    for section, data in two:
        dock.state.add_section(section)
        dock.state.set_paired(data, section)
    assert dock.sections_group.isVisible()
    assert dock.sections.chosen() == [section for section, _ in two]
    dock.state.recipe = QUICK.model_copy(update={"evaluation": Evaluation(protocol="leave_group_out")})
    dock.train()
    done()
    assert dock.messages.level == "good", dock.messages.text
    for section, _ in two:
        work = dock.state.work(section)
        assert work.evaluation is not None
        assert section.predicted is not None
        assert section.predicted.n_obs == 260
    assert dock.state.model.n_spots == 520


def test_histology_is_chosen_in_the_form_and_a_section_without_is_named(
    dock: TrainDock, done: Callable[[], None], paired: Section, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = dock.forms["genes"].fields
    dock.groups["genes"].expand()
    assert not fields["histology_radius"].isVisible()
    fields["histology"].box.setCurrentText(words_for("texture"))
    assert fields["histology_radius"].isVisible()
    networks = ("histology_outputs", "histology_network", "histology_weights", "histology_fingerprint")
    for how, shown in (("timm", 3), ("learned", 1), ("texture", 0)):
        fields["histology"].box.setCurrentText(words_for(how))
        assert [fields[name].isVisible() for name in networks] == [number < shown for number in range(4)]
    assert dock.state.recipe.genes.histology == "texture"
    dock.train()
    done()
    assert dock.state.model is not None
    assert "histology" in dock.state.model.predictor.design_.bands
    monkeypatch.setattr(paired, "roles", replace(paired.roles, image=None))
    dock.train()
    done()
    assert dock.messages.level == "error"
    assert "has no histology" in dock.messages.text


def test_the_share_of_noise_is_asked_for_where_it_matters(dock: TrainDock, paired: Section) -> None:
    fields = dock.forms["ions"].fields
    dock.groups["ions"].expand()
    assert not fields["noise_quantile"].isVisible()
    fields["presence_rule"].box.setCurrentText(words_for("noise"))
    assert fields["noise_quantile"].isVisible()
    assert dock.state.recipe.ions.presence_rule == "noise"


def test_what_networks_are_made_of_is_asked_for_where_there_are_any(dock: TrainDock, paired: Section) -> None:
    fields = dock.forms["model"].fields
    dock.groups["model"].expand()

    def shown(**model: Any) -> list[str]:
        dock.state.recipe = QUICK.model_copy(update={"model": Model(**model)})
        return [name for name in ("ensemble", "dropout", "width", "depth") if fields[name].isVisible()]

    assert shown(name="ridge") == shown(name="two_stage") == []
    assert shown(name="trees") == ["ensemble"]
    assert shown(name="transformer") == ["ensemble", "dropout"]
    for model in ({"name": "mlp"}, {"name": "stack"}, {"name": "two_stage", "presence": "network"}):
        assert shown(**model) == ["ensemble", "dropout", "width", "depth"]


def test_the_level_of_intervals_matters_where_there_are_any(
    dock: TrainDock, done: Callable[[], None], paired: Section
) -> None:
    fields = dock.forms["intervals"].fields
    assert dock.groups["intervals"].full_title() == "Intervals: 90%, where skill is measured"
    fields["level"].set_value(0.8)
    fields["level"].changed.emit()
    assert dock.state.recipe.intervals.level == 0.8
    assert dock.groups["intervals"].full_title() == "Intervals: 80%, where skill is measured"
    dock.train()
    done()
    assert dock.state.model.intervals.level == 0.8
    dock.groups["intervals"].expand()
    assert fields["level"].isVisible()
    fields["make_intervals"].box.setCurrentText("never")
    assert not fields["level"].isVisible()
    assert "choices changed since training" in dock.state_line.text()


def test_a_search_puts_what_it_found_into_the_forms_and_can_be_undone(
    qtbot: Any, dock: TrainDock, done: Callable[[], None], paired: Section
) -> None:
    start = QUICK.model_copy(update={"search": Search(trials=5), "model": Model(name="ridge", n_alphas=3)})
    dock.state.recipe = start
    assert not dock.groups["search"].isExpanded()
    dock.groups["search"].expand()
    qtbot.mouseClick(dock.search.button, Qt.MouseButton.LeftButton)
    assert dock.jobs.running
    assert not dock.search.button.isEnabled()
    done()
    found = dock.state.recipe
    assert dock.messages.level == "good", dock.messages.text
    assert "All 5 trials were made. Changed: " in dock.messages.text
    assert found != start
    assert found.search == start.search
    assert dock.forms["genes"].value == found.genes
    assert dock.forms["model"].value == found.model
    assert dock.state.model is None, "a search trains nothing"
    dock.messages.action.click()
    assert dock.state.recipe == start
    assert dock.messages.text == ""


def test_a_search_cancelled_keeps_the_best_so_far(
    qtbot: Any, dock: TrainDock, done: Callable[[], None], paired: Section
) -> None:
    dock.state.recipe = QUICK.model_copy(update={"search": Search(trials=10_000), "model": Model(name="ridge")})
    dock.search_settings()
    qtbot.waitUntil(lambda: "best R²" in dock.run_bar.doing.text(), timeout=PATIENCE_MS)
    dock.jobs.cancel()
    done()
    assert dock.messages.level == "good", dock.messages.text
    assert dock.messages.text.startswith("Stopped after ")
    assert "of 10,000 trials" in dock.messages.text


def test_a_search_that_cannot_be_made_is_explained(
    dock: TrainDock, done: Callable[[], None], two: Any, paired: Section
) -> None:
    dock.state.set_paired(two[0][1].select(np.arange(3)), paired)
    dock.search_settings()
    done()
    assert dock.messages.level == "error"
    assert "at least 10 spots" in dock.messages.text
    assert dock.state.recipe == QUICK


def test_what_a_search_found_in_words() -> None:
    history = pd.DataFrame({"r2": [0.2, 0.3], "best": [0.2, 0.3]})
    changed = {"genes.n_components": 1234, "genes.reduction": "none", "model.n_alphas": 7}
    words = train_search.found_in_words(Recipe(), SearchResult(Recipe(), history, changed, "All 2 trials were made."))
    assert words.startswith("All 2 trials were made. Changed: ")
    assert "256 → 1,234" in words
    assert "SVD → none" in words
    assert "0.300 (was 0.200)" in words
    same = train_search.found_in_words(Recipe(), SearchResult(Recipe(), history, {}, "Time was up."))
    assert same == "Time was up. None was better than the settings as they are (mean R² 0.200 on inner folds)."
    none = pd.DataFrame({"r2": [np.nan], "best": [np.nan]})
    assert "None was scored" in train_search.found_in_words(Recipe(), SearchResult(Recipe(), none, {}, "Time was up."))


def test_a_choice_that_does_not_fit_is_explained(dock: TrainDock, done: Callable[[], None], paired: Section) -> None:
    dock.forms["evaluation"].fields["protocol"].box.setCurrentText(words_for("leave_group_out"))
    assert dock.forms["evaluation"].fields["group"].isVisible()
    assert not dock.forms["evaluation"].fields["n_folds"].isVisible()
    dock.train()
    done()
    assert dock.messages.level == "error"
    assert "section" in dock.messages.text
    assert not dock.messages.toggle.isVisible()
    assert dock.state.evaluation is None


def test_what_is_typed_wrong_stops_before_the_work(qtbot: Any, dock: TrainDock, paired: Section) -> None:
    edit = dock.forms["model"].fields["alphas"].edit
    dock.groups["model"].expand()
    edit.clear()
    qtbot.keyClicks(edit, "1 to many")
    press(qtbot, dock)
    assert not dock.jobs.running
    assert "Ridge penalties" in dock.messages.text


def test_missing_values_are_explained(dock: TrainDock, done: Callable[[], None], two: Any, paired: Section) -> None:
    data = two[0][1]
    ions = data.ions.copy()
    ions.X[3, 0] = np.nan
    dock.state.set_paired(PairedDataset(data.genes, ions), paired)
    dock.train()
    done()
    assert dock.messages.level == "error"
    assert "missing" in dock.messages.text
    assert dock.state.model is None


def test_cancelling_keeps_the_model_before(
    qtbot: Any, dock: TrainDock, done: Callable[[], None], paired: Section
) -> None:
    dock.train()
    done()
    model = dock.state.model
    dock.state.recipe = Recipe(evaluation=Evaluation(n_folds=50))
    dock.train()
    qtbot.waitUntil(lambda: dock.run_bar.bar.value() > 0, timeout=PATIENCE_MS)
    qtbot.mouseClick(dock.run_bar.cancel, Qt.MouseButton.LeftButton)
    done()
    assert "Nothing was changed" in dock.messages.text
    assert dock.state.model is model


def test_closing_while_training_is_harmless(viewer: ViewerModel, two: Any) -> None:
    state = state_of(viewer)
    state.recipe = Recipe(evaluation=Evaluation(n_folds=50))
    dock = TrainDock(viewer)
    section, data = two[0]
    state.add_section(section)
    state.set_paired(data, section)
    dock.train()
    QTest.qWait(200)
    dock.jobs.shut()
    dock.close()
    dock.deleteLater()
    QTest.qWait(1000)
    assert state.model is None
    assert state.running == ()


def test_a_section_closed_meanwhile_is_left_alone(dock: TrainDock, done: Callable[[], None], paired: Section) -> None:
    dock.train()
    dock.state.remove_section(paired)
    done()
    assert dock.state.sections == ()
    assert dock.model_part.model is not None


def test_a_model_is_saved_loaded_and_predicts_st_only(
    qtbot: Any, dock: TrainDock, done: Callable[[], None], paired: Section, st_only: Section, tmp_path: Path
) -> None:
    dock.train()
    done()
    dock.model_part.save(tmp_path / "model")
    done()
    assert (tmp_path / "model" / "model.json").is_file()
    dock.model_part.save(tmp_path / "model")
    assert "already there" in dock.messages.text

    dock.state.remove_section(paired)
    dock.model_part.last = None
    dock.state.add_section(st_only)
    assert dock.run_bar.button.text() == "Load a model"
    dock.model_part.load(tmp_path / "model")
    done()
    assert "trained on 260 spots" in dock.model_part.label.text()
    assert dock.run_bar.button.text() == "Predict"
    press(qtbot, dock)
    done()
    assert "100% of the genes" in dock.messages.text
    assert dock.state.prediction.uns["provenance"]["kind"] == "new_section"
    assert st_only.predicted is not None


def test_a_folder_that_is_no_model(dock: TrainDock, done: Callable[[], None], tmp_path: Path) -> None:
    dock.model_part.load(tmp_path)
    done()
    assert dock.messages.level == "error"
    assert not dock.messages.toggle.isVisible()


def test_too_few_genes_are_refused(
    dock: TrainDock, done: Callable[[], None], paired: Section, st_only: Section
) -> None:
    dock.train()
    done()
    table = st_only.sdata.tables["st"]
    table.var_names = [f"other{number}" for number in range(table.n_vars)]
    st_only.forget_caches()
    dock.state.add_section(st_only)
    dock.model_part.predict()
    done()
    assert dock.messages.level == "error"
    assert "genes" in dock.messages.text


def test_the_report_is_written(dock: TrainDock, done: Callable[[], None], paired: Section, tmp_path: Path) -> None:
    dock.train()
    done()
    dock.reporting.write(tmp_path / "report")
    done()
    assert "R²" in (tmp_path / "report.html").read_text(encoding="utf-8")
    dock.reporting.write(tmp_path / "report.html" / "report.html")
    done()
    assert dock.messages.level == "error"
    assert not dock.messages.toggle.isVisible()


def test_groups_are_offered_that_can_be_held_out(two: list[tuple[Section, PairedDataset]]) -> None:
    data = two[0][1].select(np.arange(100))
    data.genes.obs["donor"] = np.repeat(["a", "b"], 50)
    data.genes.obs["name"] = [f"spot {number}" for number in range(100)]
    assert train_view.group_choices([data], Recipe()) == [("donor", "donor (2)")]
    assert train_view.group_choices([], Recipe()) == [("section", "section")]
    both = train_view.group_choices([part for _, part in two], Recipe())
    assert both == [("section", "section (2)")]


def test_choices_in_words() -> None:
    assert train_forms.genes_in_words(Genes()) == "2,000 variable · 256 SVD · rings"
    assert train_forms.genes_in_words(Genes(histology="texture")) == "2,000 variable · 256 SVD · histology · rings"
    learned = train_forms.genes_in_words(Genes(histology="learned"))
    assert learned == "2,000 variable · 256 SVD · learned histology · rings"
    assert train_forms.ions_in_words(Ions(normalisation="tic")) == "TIC · log1p · in 10 spots at least"
    mixture = Ions(presence_rule="mixture")
    assert train_forms.ions_in_words(mixture) == "log1p · present by mixture · in 10 spots at least"
    assert train_forms.model_in_words(Model()) == "two-stage · logistic, ridge · presence × intensity"
    assert train_forms.model_in_words(Model(name="kernel_ridge")) == "kernel ridge"
    assert train_forms.protocol_in_words(Evaluation(block_um=500)) == "blocks of 500 µm in 5 folds"
    assert train_forms.protocol_in_words(Evaluation(protocol="leave_group_out")) == "each section in turn"
    assert train_forms.intervals_in_words(Intervals(level=0.8)) == "80%, where skill is measured"
    assert train_forms.intervals_in_words(Intervals(make_intervals="always")) == "90%"
    assert train_forms.intervals_in_words(Intervals(make_intervals="never")) == "none"
    assert train_forms.search_in_words(Search()) == "none when training"
    assert train_forms.search_in_words(Search(trials=20, minutes=2.5)) == "20 trials or 2.5 min in each fold"


@pytest.mark.parametrize("size", [10, 13])
def test_nothing_is_cut_at_the_least_width(
    qtbot: Any, dock: TrainDock, done: Callable[[], None], paired: Section, size: int
) -> None:
    from napari.settings import get_settings

    dock.train()
    done()
    get_settings().appearance.font_size = size
    for group in dock.findChildren(Group):
        group.expand()
    # What brings the widest fields of the longest form.
    wide = {"signature_mask": "yes", "neighbourhood": "graph_svd", "histology": "texture", "pathway_band": True}
    dock.state.recipe = QUICK.model_copy(update={"genes": Genes.model_validate(wide)})
    assert dock.forms["genes"].fields["signature_file"].isVisible()
    dock.resize(320, 700)
    qtbot.waitUntil(
        lambda: dock.scroll.widget().minimumSizeHint().width() <= dock.scroll.viewport().width(), timeout=PATIENCE_MS
    )


def test_a_network_shows_its_curves_and_keeps_nothing_when_done(
    qtbot: Any,
    dock: TrainDock,
    done: Callable[[], None],
    paired: Section,
    runs: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dock.state.recipe = NETWORK
    assert dock.groups["networks"].isVisible()
    seen: list[Told] = []
    visible, kept, forget = [], [], train_runs.forget

    def hear(value: Any) -> None:
        if isinstance(value, Told):
            seen.append(value)
            visible.append(dock.trainings.curve.isVisible())

    def forget_at_the_end(folder: Path) -> None:
        kept.append(len(list(folder.parent.iterdir())))
        forget(folder)

    monkeypatch.setattr(train_runs, "forget", forget_at_the_end)
    dock.jobs.told.connect(hear)
    press(qtbot, dock)
    done()
    assert all(visible)
    assert kept == [1]
    # Two folds and the fit on all spots, two networks each.
    assert [item.epoch.number for item in seen] == [1, 2, 3] * 6
    assert [item.network for item in seen] == [1, 1, 1, 2, 2, 2] * 3
    assert dock.trainings.curve.held == tuple(item.epoch.validation for item in seen[-3:])
    assert dock.trainings.curve.values == tuple(item.epoch.training for item in seen[-3:])
    assert "Network 2 of 2 · epoch 3" in dock.trainings.curve.label.text()
    curve = dock.trainings.curve
    curve.add_epoch(Told(1, 1, seen[0].epoch, "encoder of histology"))
    qtbot.waitUntil(lambda: "Encoder of histology · epoch 1" in curve.label.text(), timeout=PATIENCE_MS)
    assert not dock.trainings.curve.isVisible()
    assert list(runs.iterdir()) == []
    assert dock.state.model is not None


def test_the_last_fit_stopped_by_the_user_keeps_the_best_epoch(
    qtbot: Any, dock: TrainDock, done: Callable[[], None], paired: Section, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation = pipeline.evaluate(dock.state.paired, NETWORK)
    monkeypatch.setattr(pipeline, "evaluate", lambda *args, **more: evaluation)
    dock.state.recipe = SLOW

    def stop_at_the_fifth(_: Any) -> None:
        if len(dock.trainings.curve.held) > 4:
            dock.jobs.cancel()

    dock.jobs.told.connect(stop_at_the_fifth)
    dock.train()
    done()
    assert 4 < len(dock.trainings.curve.held) < SLOW.networks.epochs
    assert "best epoch so far is kept" in dock.messages.text
    assert dock.state.model is not None
    assert dock.state.model.predictor.networks_
    assert dock.trainings.under_way is None


def test_a_training_that_was_cut_off_is_offered_and_goes_on(
    qtbot: Any, dock: TrainDock, done: Callable[[], None], paired: Section, runs: Path
) -> None:
    dock.state.recipe = NETWORK
    dock.train()
    qtbot.waitUntil(lambda: len(dock.trainings.curve.held) == 3 or not dock.jobs.running, timeout=PATIENCE_MS)
    dock.jobs.cancel()
    done()
    assert dock.state.model is None
    assert dock.cut.isVisible()
    assert paired.name in dock.cut.label.text()
    dock.state.recipe = QUICK
    seen: list[Told] = []
    dock.jobs.told.connect(lambda value: seen.append(value) if isinstance(value, Told) else None)
    qtbot.mouseClick(dock.cut.go_on, Qt.MouseButton.LeftButton)
    assert dock.state.recipe == NETWORK
    done()
    assert 0 < len(seen) < 18
    assert dock.state.model is not None
    assert not dock.cut.isVisible()
    assert list(runs.iterdir()) == []


def test_what_was_cut_off_is_offered_only_where_it_belongs(
    dock: TrainDock, paired: Section, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = train_runs.begin(NETWORK, [paired.name])
    assert train_runs.begin(NETWORK, [paired.name]) == folder
    assert train_runs.cut_off([paired.name]) is None, "nothing was learned yet"
    (folder / "network-0.safetensors").write_bytes(b"something")
    found = train_runs.cut_off([paired.name, "other"])
    assert found is not None
    assert found.recipe == NETWORK
    assert train_runs.cut_off(["other"]) is None
    monkeypatch.setattr(train_runs, "_lives", lambda process: True)
    assert train_runs.cut_off([paired.name]) is None, "another napari trains it"
    monkeypatch.setattr(train_runs, "_lives", lambda process: False)
    dock._refresh()
    assert dock.cut.isVisible()
    dock.cut.discard.click()
    assert not dock.cut.isVisible()
    assert not folder.exists()
    other = train_runs.begin(NETWORK, [paired.name])
    (other / "network-0.safetensors").write_bytes(b"something")
    (other / "run.json").write_text("{not json")
    assert train_runs.cut_off([paired.name]) is None
    os.utime(other / "run.json", (0, 0))
    train_runs.begin(NETWORK, ["another"])
    assert not other.exists(), "forgotten after a month"


def test_a_folder_that_cannot_be_written_is_said(
    dock: TrainDock, paired: Section, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.write_text("in the way")
    dock.state.recipe = NETWORK
    dock.train()
    assert not dock.jobs.running
    assert "cannot be kept" in dock.messages.text


def test_trainings_wait_for_each_other_and_can_be_taken_out(
    qtbot: Any, dock: TrainDock, done: Callable[[], None], paired: Section
) -> None:
    dock.train()
    queue = dock.trainings.queue
    for n_top in (20, 25, 28):
        dock.forms["genes"].fields["n_top"].set_value(n_top)
        dock.forms["genes"].fields["n_top"].changed.emit()
        qtbot.mouseClick(queue.button, Qt.MouseButton.LeftButton)
    assert [one.recipe.genes.n_top for one in queue.waiting] == [20, 25, 28]
    assert dock.trainings.loses().endswith("3 more wait and would be forgotten.")
    outs = [button for row in queue._rows for button in row.findChildren(QPushButton)]
    qtbot.mouseClick(outs[1], Qt.MouseButton.LeftButton)
    assert [one.recipe.genes.n_top for one in queue.waiting] == [20, 28]
    qtbot.waitUntil(lambda: not queue.waiting and not dock.jobs.running, timeout=PATIENCE_MS)
    assert dock._trained[paired][0].genes.n_top == 28
    assert "Median R²" in queue.before.text()
    assert dock.trainings.loses() == ""


def test_cancelling_one_begins_the_next(qtbot: Any, dock: TrainDock, paired: Section) -> None:
    dock.state.recipe = SLOW
    dock.train()
    dock.state.recipe = QUICK
    dock.train()
    assert len(dock.trainings.queue.waiting) == 1
    dock.jobs.cancel()
    qtbot.waitUntil(lambda: dock.state.model is not None, timeout=PATIENCE_MS)
    assert dock._trained[paired][0] == QUICK
    assert "Stopped" in dock.trainings.queue.before.text()


def test_napari_asks_before_it_closes_while_training(qtbot: Any, dock: TrainDock, paired: Section) -> None:
    window = QMainWindow()
    qtbot.addWidget(window)
    window.setCentralWidget(dock)
    window.show()
    asked: list[str] = []
    answers = [False, True]
    guard = dock.trainings.guard
    guard._ask = lambda window, sentence: (asked.append(sentence), answers.pop(0))[1]
    guard.watch(dock)
    dock.state.recipe = SLOW
    dock.train()
    window.close()
    assert window.isVisible()
    assert "What its networks have learned is kept" in asked[0]
    window.close()
    assert not window.isVisible()
    assert len(asked) == 2
    dock.jobs.cancel()
    qtbot.waitUntil(lambda: not dock.jobs.running, timeout=PATIENCE_MS)
    window.show()
    window.close()
    assert not window.isVisible()
    assert len(asked) == 2, "nothing runs, nothing is asked"


def test_waiting_is_what_enter_does(qtbot: Any) -> None:
    window = QMainWindow()
    qtbot.addWidget(window)

    def press_enter() -> None:
        (box,) = window.findChildren(QMessageBox)
        assert box.text() == "Something runs."
        QTest.keyClick(box, Qt.Key.Key_Return)

    QTimer.singleShot(100, press_enter)
    assert stop_and_close(window, "Something runs.") is False


def test_which_models_train_networks() -> None:
    for name in model_names():
        own = issubclass(model_class(name), NetworkLearner)
        assert (name in NETWORKS) == own, name
        assert trains_networks(Model(name=name)) == (own or name == "stack"), name
    assert trains_networks(Model(name="two_stage", intensity="mlp"))
    assert trains_networks(Model(name="two_stage", presence="network"))
    assert not trains_networks(Model(name="stack", stack_mlp=False))
